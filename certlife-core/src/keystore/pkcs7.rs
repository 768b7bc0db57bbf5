//! PKCS#7 that carries certificates and signs nothing: a degenerate `SignedData` (RFC 5652 §5.1).

use const_oid::db::rfc5911::{ID_DATA, ID_SIGNED_DATA};

use der::{
    Reader as _, SliceReader, Tag, Tagged as _,
    asn1::{AnyRef, ObjectIdentifier},
};

use super::{ber, encryption::broken, tlv};
use crate::{
    input::InputError,
    x509::{Chain, elements},
};

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

/// Reads the certificates, in the order that they stand in. Signatures are of no interest.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, InputError> {
    let der = ber::to_der(bytes).ok_or_else(|| broken("its PKCS#7 structure is broken"))?;
    certificates(&der).map_err(|_| broken("it is PKCS#7, but holds no certificates"))
}

fn certificates(der: &[u8]) -> der::Result<Vec<Vec<u8>>> {
    let mut info = elements(der)?;
    if info.decode::<ObjectIdentifier>()? != ID_SIGNED_DATA {
        return Err(Tag::ObjectIdentifier.value_error().into());
    }
    let mut signed = elements(info.decode::<AnyRef<'_>>()?.value())?;
    // Version, digest algorithms, content.
    for _ in 0..3 {
        signed.decode::<AnyRef<'_>>()?;
    }
    let set = signed.decode::<AnyRef<'_>>()?;
    set.tag().assert_eq(CERTIFICATES)?;
    let mut set = SliceReader::new(set.value())?;
    let mut found = Vec::new();
    // One more than a chain can have, so that too many are noticed.
    while !set.is_finished() && found.len() <= Chain::MAX_CERTIFICATES {
        found.push(set.tlv_bytes()?.to_vec());
    }
    Ok(found)
}

const CERTIFICATES: Tag = Tag::ContextSpecific { constructed: true, number: der::TagNumber(0) };
