//! Certificates: what they say, in which order they belong, and whether one is what was asked for.
//!
//! Certificates are kept, hashed and handed on as the bytes that came: encoding a parsed certificate
//! again changes some, and with them signature and fingerprint. Parsers take any bytes from a CA or a
//! target, cap them, and never panic.

mod chain;
mod check;
mod info;
mod names;
mod raw;
mod revocation;
#[cfg(test)]
mod tests;

pub use self::{
    chain::{Assembled, Chain, ChainOptions, Dropped},
    check::{Expectation, check_issued},
    info::{CertificateInfo, ari_certificate_id},
    revocation::RevocationReason,
};
pub(crate) use self::{
    info::{STATUS_REQUEST, TLS_FEATURE, must_staple},
    names::AltNames,
    raw::{Signed, elements},
};
use crate::input::InputError;

/// The largest certificate that is read; the largest in public use have some 10 kB.
pub(crate) const MAX_CERTIFICATE: usize = 64 * 1_024;

fn unusable(rule: impl Into<std::borrow::Cow<'static, str>>) -> InputError {
    InputError::Certificate { rule: rule.into() }
}
