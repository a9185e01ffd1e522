//! What can a driver do for XDP? The kernel tells by generic netlink, family `netdev`, from Linux 6.3.

use std::{
    io::{self, Read as _},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const DEV_GET: u8 = 1;
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;

/// Lengths of the netlink and generic netlink headers and of an attribute's, in bytes.
const HEADERS: usize = 16 + 4;
const ATTRIBUTE: usize = 4;

/// How long an answer may take; the kernel answers within the call.
const PATIENCE: Duration = Duration::from_secs(1);

/// The `NETDEV_XDP_ACT_*` bits of an interface; `None` if the kernel does not know the question.
pub fn xdp_features(ifindex: u32) -> Option<u64> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_GENERIC))).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    let answer = ask(&socket, CONTROLLER, GET_FAMILY, FAMILY_NAME, b"netdev\0").ok()?;
    let family = u16::from_ne_bytes(attribute(&answer, FAMILY_ID)?.try_into().ok()?);
    let answer = ask(&socket, family, DEV_GET, DEV_IFINDEX, &ifindex.to_ne_bytes()).ok()?;
    let features = attribute(&answer, DEV_XDP_FEATURES)?;
    Some(u64::from_ne_bytes(features.try_into().ok()?))
}

/// Sends a request with one attribute; returns the attributes of the answer.
fn ask(mut socket: &Socket, family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(&request(family, command, kind, value))?;
    let mut buffer = [0; 8192];
    let len = socket.read(&mut buffer)?;
    let answer = &buffer[..len];
    let is_answer = answer.get(4..6).is_some_and(|kind| kind == family.to_ne_bytes());
    match answer.get(HEADERS..) {
        Some(attributes) if is_answer => Ok(attributes.to_vec()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn request(family: u16, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let padded = value.len().next_multiple_of(4);
    let total = u32::try_from(HEADERS + ATTRIBUTE + padded).expect("a short value");
    let own = u16::try_from(ATTRIBUTE + value.len()).expect("a short value");
    let mut bytes = Vec::with_capacity(HEADERS + ATTRIBUTE + padded);
    bytes.extend(total.to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    bytes.extend([0; 8]); // sequence and sender: one question at a time
    bytes.extend([command, 1, 0, 0]);
    bytes.extend(own.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(HEADERS + ATTRIBUTE + padded, 0);
    bytes
}

/// The value of the first attribute of `kind`.
fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while attributes.len() >= ATTRIBUTE {
        let len = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        let found = u16::from_ne_bytes([attributes[2], attributes[3]]);
        let value = attributes.get(ATTRIBUTE..len)?;
        if found == kind {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attributes of an answer about a veth, recorded on Linux 6.18 (little endian).
    #[cfg(target_endian = "little")]
    const RECORDED: [u8; 20] = [8, 0, 1, 0, 2, 0, 0, 0, 12, 0, 3, 0, 0x23, 0, 0, 0, 0, 0, 0, 0];

    #[cfg(target_endian = "little")]
    #[test]
    fn an_attribute_is_found_behind_others() {
        assert_eq!(attribute(&RECORDED, DEV_XDP_FEATURES), Some(&[0x23, 0, 0, 0, 0, 0, 0, 0][..]));
        assert_eq!(attribute(&RECORDED, 9), None);
    }

    #[test]
    fn broken_attributes_end_the_search() {
        assert_eq!(attribute(&[0, 0, 1, 0, 0, 0, 0, 0], 1), None);
        assert_eq!(attribute(&[255, 255, 2, 0], 1), None);
        assert_eq!(attribute(&[8, 0, 1], 1), None);
    }

    #[test]
    fn a_request_is_padded_and_its_length_is_told() {
        let bytes = request(CONTROLLER, GET_FAMILY, FAMILY_NAME, b"netdev\0");
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..4], 32_u32.to_ne_bytes());
        assert_eq!(bytes[20..22], 11_u16.to_ne_bytes());
    }
}
