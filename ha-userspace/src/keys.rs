//! From a password to the keys that sign heartbeats, or a witness's frames.
//!
//! argon2id makes the password slow to guess; HKDF-SHA256 makes one key per direction of it. Lives are told apart by the boot
//! nonces inside the signed bytes, not by the key: so a kernel needs no daemon to believe a peer that has just booted.

use std::net::Ipv4Addr;

use anyhow::{Context, anyhow};
use argon2::Argon2;
use ha_common::abi::Key;
use ha_common::witness::Keys;
use hkdf::Hkdf;
use sha2::Sha256;

/// The key that signs what `sender` sends to `receiver`, under `sender`'s RPC password (an unset one is empty).
///
/// # Errors
/// When the password is longer than argon2 takes (4 GiB).
pub fn heartbeat_key(password: &str, sender: Ipv4Addr, receiver: Ipv4Addr) -> anyhow::Result<Key> {
    let (low, high) = (sender.min(receiver), sender.max(receiver));
    let salt = [b"understudy-rpc".as_slice(), &low.octets(), &high.octets()].concat();
    let slow = slow(password, &salt).with_context(|| format!("cannot derive a key from the rpcnode password of {sender}"))?;
    let info = [b"heartbeat".as_slice(), &sender.octets(), &receiver.octets()].concat();
    let [k0, k1, id] = words(&slow, &info)?;
    // Zero means "no key".
    Ok(Key { k0, k1, id: id.max(1) })
}

/// The keys of a witness's password: the same for every pair that shares it, so that a witness slows down once per password and
/// not once per pair.
///
/// # Errors
/// When the password is longer than argon2 takes (4 GiB).
pub fn witness_keys(password: &str) -> anyhow::Result<Keys> {
    let slow = slow(password, b"understudy-witness").context("cannot derive keys from the password of the witness")?;
    let [id, ..] = words(&slow, b"witness: name")?;
    let key = |info: &[u8]| words(&slow, info).map(|[k0, k1, _]| Key { k0, k1, id: id.max(1) });
    Ok(Keys { question: key(b"witness: question")?, answer: key(b"witness: answer")? })
}

fn slow(password: &str, salt: &[u8]) -> anyhow::Result<[u8; 32]> {
    let mut slow = [0; 32];
    Argon2::default().hash_password_into(password.as_bytes(), salt, &mut slow).map_err(|error| anyhow!("{error}"))?;
    Ok(slow)
}

fn words(slow: &[u8; 32], info: &[u8]) -> anyhow::Result<[u64; 3]> {
    let mut bytes = [0; 24];
    Hkdf::<Sha256>::new(None, slow).expand(info, &mut bytes).map_err(|_| anyhow!("HKDF cannot give 24 bytes"))?;
    Ok(std::array::from_fn(|word| u64::from_le_bytes(std::array::from_fn(|byte| bytes[word * 8 + byte]))))
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

    #[test]
    fn a_witness_has_a_key_for_questions_and_another_for_answers_under_one_name() {
        let [one, two] = ["one", "two"].map(|password| witness_keys(password).unwrap());
        assert_eq!(one, witness_keys("one").unwrap());
        assert_eq!(one.question.id, one.answer.id);
        assert_ne!((one.question.k0, one.question.k1), (one.answer.k0, one.answer.k1));
        assert_ne!(one.question.id, two.question.id);
    }
}
