//! PKCS#7 that carries certificates and signs nothing: a degenerate `SignedData` (RFC 5652 §5.1).

use const_oid::db::rfc5911::{ID_DATA, ID_SIGNED_DATA};

use super::tlv;
use crate::x509::Chain;

/// The label of its PEM block (RFC 7468 §8).
pub(super) const LABEL: &str = "PKCS7";

/// Writes the certificates, leaf first: readers that expect one certificate take the first.
pub(super) fn write(chain: &Chain) -> Vec<u8> {
    let certificates: Vec<&[u8]> = chain.certificates().map(AsRef::as_ref).collect();
    let no_set = tlv::element(tlv::SET, &[]);
    let signed = tlv::sequence(&[
        &tlv::integer(1),
        &no_set,
        &tlv::sequence(&[&tlv::oid(ID_DATA)]),
        &tlv::element(tlv::CONTEXT_0, &certificates),
        &no_set,
    ]);
    tlv::sequence(&[&tlv::oid(ID_SIGNED_DATA), &tlv::explicit(&signed)]).to_vec()
}
