//! Writes DER (X.690): an element is its tag, its length and its content. Every buffer is wiped, because private keys
//! pass through.

use const_oid::ObjectIdentifier;
use zeroize::Zeroizing;

/// DER that may hold a private key.
pub(super) type Element = Zeroizing<Vec<u8>>;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const OCTET_STRING: u8 = 0x04;
/// `[0]`, constructed: an explicit tag, or an implicit one on a SET.
pub(super) const CONTEXT_0: u8 = 0xa0;
/// `[0]`, primitive: an implicit tag on an OCTET STRING.
#[cfg(feature = "pkcs12")]
pub(super) const CONTEXT_0_PRIMITIVE: u8 = 0x80;
#[cfg(feature = "pkcs12")]
pub(super) const BMP_STRING: u8 = 0x1e;

/// `NULL`.
pub(super) const NULL: &[u8] = &[0x05, 0x00];

/// Writes one element whose content is these parts, one after the other.
pub(super) fn element(tag: u8, parts: &[&[u8]]) -> Element {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let octets = length.to_be_bytes();
    let octets = significant(&octets);
    let mut der = Zeroizing::new(Vec::with_capacity(2 + octets.len() + length));
    der.push(tag);
    match (octets, u8::try_from(octets.len())) {
        ([short @ 0..=0x7f], _) => der.push(*short),
        (_, Ok(count)) => {
            der.push(0x80 | count);
            der.extend_from_slice(octets);
        }
        (_, Err(_)) => unreachable!("a length has at most eight octets"),
    }
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

pub(super) fn sequence(parts: &[&[u8]]) -> Element {
    element(SEQUENCE, parts)
}

pub(super) fn octets(content: &[u8]) -> Element {
    element(OCTET_STRING, &[content])
}

pub(super) fn explicit(content: &[u8]) -> Element {
    element(CONTEXT_0, &[content])
}

pub(super) fn oid(id: ObjectIdentifier) -> Element {
    element(0x06, &[id.as_bytes()])
}

/// Writes an `INTEGER` that is not negative.
pub(super) fn integer(number: u32) -> Element {
    let octets = number.to_be_bytes();
    let octets = significant(&octets);
    // The first bit is the sign.
    let sign: &[u8] = if octets[0] < 0x80 { &[] } else { &[0] };
    element(0x02, &[sign, octets])
}

/// An `AlgorithmIdentifier` (RFC 5280 §4.1.1.2).
pub(super) fn algorithm(id: ObjectIdentifier, parameters: &[u8]) -> Element {
    sequence(&[&oid(id), parameters])
}

/// The octets without leading zeros, but never none.
fn significant(octets: &[u8]) -> &[u8] {
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    &octets[start..]
}

#[cfg(test)]
mod tests {
    use der::{Decode as _, Encode as _, asn1::OctetStringRef};

    use super::*;

    #[test]
    fn lengths_and_numbers_are_those_of_the_der_crate() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            assert_eq!(*octets(&content), OctetStringRef::new(&content).unwrap().to_der().unwrap());
        }
        for number in [0, 1, 127, 128, 255, 256, 32_768, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
            assert_eq!(*integer(number), number.to_der().unwrap());
        }
        let id = const_oid::db::rfc5911::ID_DATA;
        assert_eq!(ObjectIdentifier::from_der(&oid(id)).unwrap(), id);
    }
}
