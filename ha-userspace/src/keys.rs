//! From a password to the keys that sign heartbeats.
//!
//! argon2id makes the password slow to guess; HKDF-SHA256 makes one key per direction of it. Lives are told apart by the boot
//! nonces inside the signed bytes, not by the key: so a kernel needs no daemon to believe a peer that has just booted.

use std::net::Ipv4Addr;

use anyhow::{Context, anyhow};
use argon2::Argon2;
use ha_common::abi::Key;
use hkdf::Hkdf;
use sha2::Sha256;

/// The key that signs what `sender` sends to `receiver`, under `sender`'s RPC password (an unset one is empty).
///
/// # Errors
/// When the password is longer than argon2 takes (4 GiB).
pub fn heartbeat_key(password: &str, sender: Ipv4Addr, receiver: Ipv4Addr) -> anyhow::Result<Key> {
    let (low, high) = (sender.min(receiver), sender.max(receiver));
    let salt = [b"understudy-rpc".as_slice(), &low.octets(), &high.octets()].concat();
    let mut slow = [0u8; 32];
    Argon2::default()
        .hash_password_into(password.as_bytes(), &salt, &mut slow)
        .map_err(|error| anyhow!("cannot derive a key from the rpcnode password of {sender}: {error}"))?;
    let info = [b"heartbeat".as_slice(), &sender.octets(), &receiver.octets()].concat();
    let mut key = [0u8; 24];
    Hkdf::<Sha256>::new(None, &slow)
        .expand(&info, &mut key)
        .map_err(|_| anyhow!("HKDF cannot give 24 bytes"))
        .context("key")?;
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| key[at + byte]));
    // Zero means "no key".
    Ok(Key { k0: word(0), k1: word(8), id: word(16).max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

    #[test]
    fn each_direction_password_and_pair_has_its_own_key() {
        let keys = [
            heartbeat_key("one", A, B).unwrap(),
            heartbeat_key("one", B, A).unwrap(),
            heartbeat_key("two", A, B).unwrap(),
            heartbeat_key("one", A, Ipv4Addr::new(10, 9, 0, 3)).unwrap(),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[i + 1..] {
                assert_ne!(a, b);
                assert_ne!(a.id, b.id);
            }
        }
    }

    #[test]
    fn both_nodes_derive_the_same() {
        assert_eq!(heartbeat_key("one", A, B).unwrap(), heartbeat_key("one", A, B).unwrap());
    }
}
