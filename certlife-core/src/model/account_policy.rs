//! What holds for the certificates of a CA account that say nothing themselves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    certificate::CertificateSpec,
    policy::{RenewBefore, Route},
};
use crate::{ca::Contact, id::CertificateId, input::InputError, key::KeyAlgorithm};

/// What holds for the certificates of a CA account that say nothing themselves. Everything may be left open.
///
/// What a certificate's spec states comes first, then this, then what is built in. It is kept in the store, so that a
/// host's user interface can change it while the engine runs; see
/// [`set_account_policy`](crate::Engine::set_account_policy).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it with struct update syntax")]
pub struct AccountPolicy {
    /// Whether the engine renews by itself. Built in: yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic: Option<bool>,
    /// Which certificates it renews by itself; those left out are not renewed unless their spec says so. Defaults to
    /// all.
    pub only: Selection,
    /// Whether certificates that are imported from now on are among them. Unless they are, an import states in their
    /// spec that they are not renewed by themselves. Defaults to no.
    pub imported: bool,
    /// When, where the CA does not say (RFC 9773). Built in: a third of the validity period before expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<RenewBefore>,
    /// How identifiers are validated that neither the certificate nor a domain mapping speaks of. Comes before
    /// [`CaOptions::default_route`](crate::engine::CaOptions::default_route).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The algorithm of new keys. Built in: ECDSA P-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_algorithm: Option<KeyAlgorithm>,
    /// People that the CA may write to about certificates that name nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Contact>,
}

/// Some of the certificates of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "all, some, or all but some")]
pub enum Selection {
    /// All of them.
    #[default]
    All,
    /// These.
    Listed(BTreeSet<CertificateId>),
    /// All but these.
    AllBut(BTreeSet<CertificateId>),
}

impl Selection {
    /// Whether a certificate is among them.
    pub fn includes(&self, certificate: &CertificateId) -> bool {
        match self {
            Self::All => true,
            Self::Listed(these) => these.contains(certificate),
            Self::AllBut(these) => !these.contains(certificate),
        }
    }
}

/// Who decided something about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the three whose word counts")]
pub enum DecidedBy {
    /// Its own spec.
    Certificate,
    /// The policy of its CA account.
    Account,
    /// Nobody, so that the built-in rule holds.
    Default,
}

impl AccountPolicy {
    /// Whether the engine renews a certificate by itself, and who says so.
    pub fn automatic(&self, spec: &CertificateSpec) -> (bool, DecidedBy) {
        match (spec.renewal.automatic, self.automatic, &self.only) {
            (Some(stated), ..) => (stated, DecidedBy::Certificate),
            (None, None, Selection::All) => (true, DecidedBy::Default),
            (None, stated, only) => (stated.unwrap_or(true) && only.includes(&spec.id), DecidedBy::Account),
        }
    }

    /// How long before expiry a certificate is renewed, and who says so.
    pub fn before(&self, spec: &CertificateSpec) -> (RenewBefore, DecidedBy) {
        match (spec.renewal.before, self.before) {
            (Some(stated), _) => (stated, DecidedBy::Certificate),
            (None, Some(stated)) => (stated, DecidedBy::Account),
            (None, None) => (RenewBefore::default(), DecidedBy::Default),
        }
    }

    /// The algorithm of new keys for a certificate.
    pub fn key_algorithm(&self, spec: &CertificateSpec) -> KeyAlgorithm {
        spec.key.algorithm.or(self.key_algorithm).unwrap_or_default()
    }

    /// Whom the CA may write to about a certificate.
    pub fn contacts(&self, spec: &CertificateSpec) -> Vec<Contact> {
        if spec.contacts.is_empty() { self.contacts.clone() } else { spec.contacts.clone() }
    }

    /// Checks what can be known of it without the accounts.
    pub(crate) fn check(&self) -> Result<(), InputError> {
        self.before.map_or(Ok(()), RenewBefore::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: &str) -> CertificateSpec {
        CertificateSpec::new(id.parse().unwrap(), "ca".parse().unwrap())
    }

    #[test]
    fn the_certificate_comes_first_then_the_account_then_the_default() {
        let silent = AccountPolicy::default();
        assert_eq!(silent.automatic(&spec("a")), (true, DecidedBy::Default));
        assert_eq!(silent.before(&spec("a")), (RenewBefore::Percent(33), DecidedBy::Default));

        let listed = Selection::Listed(["a".parse().unwrap()].into());
        let account = AccountPolicy {
            only: listed,
            before: Some(RenewBefore::Days(20)),
            key_algorithm: Some(KeyAlgorithm::Rsa3072),
            ..AccountPolicy::default()
        };
        assert_eq!(account.automatic(&spec("a")), (true, DecidedBy::Account));
        assert_eq!(account.automatic(&spec("b")), (false, DecidedBy::Account));
        assert_eq!(account.before(&spec("b")), (RenewBefore::Days(20), DecidedBy::Account));
        assert_eq!(account.key_algorithm(&spec("b")), KeyAlgorithm::Rsa3072);

        let mut own = spec("b");
        (own.renewal.automatic, own.renewal.before) = (Some(true), Some(RenewBefore::Days(5)));
        own.key.algorithm = Some(KeyAlgorithm::EcdsaP384);
        assert_eq!(account.automatic(&own), (true, DecidedBy::Certificate));
        assert_eq!(account.before(&own), (RenewBefore::Days(5), DecidedBy::Certificate));
        assert_eq!(account.key_algorithm(&own), KeyAlgorithm::EcdsaP384);

        let off = AccountPolicy { automatic: Some(false), ..AccountPolicy::default() };
        assert_eq!(off.automatic(&spec("a")), (false, DecidedBy::Account));
        let all_but = AccountPolicy {
            only: Selection::AllBut(["a".parse().unwrap()].into()),
            ..AccountPolicy::default()
        };
        assert!(!all_but.automatic(&spec("a")).0 && all_but.automatic(&spec("b")).0);
    }

    #[test]
    fn what_was_stored_before_accounts_had_a_word_reads_as_stated() {
        let stored = r#"{"id":"a","identifiers":["a.example"],"ca":"ca","key":{"algorithm":"rsa-3072"},
            "renewal":{"automatic":false,"before":{"days":7},"follow_ca":true,"notice_days":[1]}}"#;
        let stored: CertificateSpec = serde_json::from_str(stored).unwrap();
        assert_eq!(stored.renewal.automatic, Some(false));
        assert_eq!(stored.renewal.before, Some(RenewBefore::Days(7)));
        assert_eq!(stored.key.algorithm, Some(KeyAlgorithm::Rsa3072));
        let open: CertificateSpec =
            serde_json::from_str(r#"{"id":"a","identifiers":["a.example"],"ca":"ca"}"#).unwrap();
        assert_eq!((open.renewal.automatic, open.renewal.before, open.key.algorithm), (None, None, None));
    }
}
