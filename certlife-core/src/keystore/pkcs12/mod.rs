//! PKCS#12 (RFC 7292): certificates and a key in bags, bags in safes, and a MAC over all.

mod derivation;
mod read;
mod write;

use const_oid::ObjectIdentifier;

pub(super) use self::{read::read, write::write};

/// Kinds of bags (RFC 7292 §4.2).
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERT_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const SAFE_CONTENTS_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.6");
/// The one kind of certificate in use (RFC 7292 §4.2.3).
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
