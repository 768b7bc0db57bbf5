//! Which certificates are revoked, and the list that says so (RFC 5280 §5).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{
    Error, ErrorKind, Operation, Result, RevocationReason, SecretBytes, Timestamp, Vault, store::Revision,
};
use der::{asn1::Uint, pem::LineEnding};
use serde::{Deserialize, Serialize};
use x509_cert::ext::pkix::{CrlNumber, CrlReason};

use super::{
    PROVIDER,
    encode::{self, ListTemplate, Revoked},
    issuer::Issuer,
    settings::{Settings, days},
};

/// A signed revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crl {
    /// The list in DER, as a web server hands it out (`application/pkix-crl`, RFC 5280 §4.2.1.13).
    pub der: Vec<u8>,
    /// Grows with every list (RFC 5280 §5.2.3).
    pub number: u64,
    /// When it was signed.
    pub this_update: Timestamp,
    /// Until when it is good.
    pub next_update: Timestamp,
}

impl Crl {
    /// The list in PEM: `-----BEGIN X509 CRL-----`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadCertificate`] if it cannot be encoded, which no list that was signed here can be.
    pub fn pem(&self) -> Result<String> {
        der::pem::encode_string("X509 CRL", LineEnding::LF, &self.der)
            .map_err(|error| encode::unwritable(error.into()))
    }
}

/// The revocations of one issuing key, as the vault keeps them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Revocations {
    number: u64,
    entries: Vec<Entry>,
    /// The last list, in Base64.
    list: String,
    this_update: Option<Timestamp>,
    next_update: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The serial number in Base64.
    serial: String,
    at: Timestamp,
    reason: RevocationReason,
    not_after: Timestamp,
}

/// A certificate to be revoked.
pub(super) struct Subject<'a> {
    pub(super) serial: &'a [u8],
    pub(super) not_after: Timestamp,
}

impl Revocations {
    fn entry_name(issuer: &Issuer) -> String {
        format!("crl/{}", issuer.key.public_key_hash())
    }

    /// Reads what is revoked; the revision is for the next write.
    pub(super) async fn read(vault: &Vault, issuer: &Issuer) -> Result<(Self, Option<Revision>)> {
        let Some(entry) = vault.read(&Self::entry_name(issuer)).await? else {
            return Ok((Self::default(), None));
        };
        let stored =
            serde_json::from_slice(entry.secret.expose()).map_err(|error| corrupt().because(error))?;
        Ok((stored, Some(entry.revision)))
    }

    /// Why the certificate with this serial number is revoked, if it is.
    pub(super) fn reason(&self, serial: &[u8]) -> Option<RevocationReason> {
        let serial = STANDARD.encode(unsigned(serial));
        self.entries.iter().find(|entry| entry.serial == serial).map(|entry| entry.reason)
    }

    /// Revokes, and signs a new list in the same write. What is revoked already stays as it is.
    pub(super) async fn revoke(
        vault: &Vault,
        issuer: &Issuer,
        settings: &Settings,
        subject: &Subject<'_>,
        reason: RevocationReason,
        now: Timestamp,
    ) -> Result<()> {
        loop {
            let (mut stored, revision) = Self::read(vault, issuer).await?;
            if stored.reason(subject.serial).is_some() {
                return Ok(());
            }
            let serial = STANDARD.encode(unsigned(subject.serial));
            stored.entries.push(Entry { serial, at: now, reason, not_after: subject.not_after });
            stored.sign(issuer, settings, now)?;
            if stored.write(vault, issuer, revision).await? {
                return Ok(());
            }
        }
    }

    /// The list, signed anew once half of its time is over.
    pub(super) async fn list(
        vault: &Vault,
        issuer: &Issuer,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Crl> {
        loop {
            let (mut stored, revision) = Self::read(vault, issuer).await?;
            if let Some(fresh) = stored.fresh(now)? {
                return Ok(fresh);
            }
            stored.sign(issuer, settings, now)?;
            // After a conflict another process has signed one that will do.
            stored.write(vault, issuer, revision).await?;
        }
    }

    /// The last list, if at least half of its time is left and the clock was not set back.
    fn fresh(&self, now: Timestamp) -> Result<Option<Crl>> {
        let (Some(this_update), Some(next_update)) = (self.this_update, self.next_update) else {
            return Ok(None);
        };
        let half = next_update.since(this_update) / 2;
        if now < this_update || now > this_update + half {
            return Ok(None);
        }
        let der = STANDARD.decode(&self.list).map_err(|error| corrupt().because(error))?;
        Ok(Some(Crl { der, number: self.number, this_update, next_update }))
    }

    fn sign(&mut self, issuer: &Issuer, settings: &Settings, now: Timestamp) -> Result<()> {
        // A certificate leaves after the first list that is signed beyond its end (RFC 5280 §3.3).
        let grace = days(settings.crl_validity_days);
        self.entries.retain(|entry| entry.not_after + grace > now);
        self.number += 1;
        let now = Timestamp::from_unix_seconds(now.unix_seconds());
        let next_update = now + days(settings.crl_validity_days);
        let number = CrlNumber(Uint::new(&self.number.to_be_bytes()).map_err(encode::unwritable)?);
        let template = ListTemplate {
            this_update: now,
            next_update,
            revoked: self.entries.iter().map(Entry::line).collect::<Result<_>>()?,
            extensions: vec![issuer.authority_key_id()?, encode::extension(false, &number)?],
        };
        self.list = STANDARD.encode(encode::revocation_list(template, &issuer.name, &issuer.key)?);
        (self.this_update, self.next_update) = (Some(now), Some(next_update));
        Ok(())
    }

    /// Writes, and returns whether nobody came first.
    async fn write(&self, vault: &Vault, issuer: &Issuer, replaces: Option<Revision>) -> Result<bool> {
        let bytes = serde_json::to_vec(self).map_err(|error| corrupt().because(error))?;
        match vault.write(&Self::entry_name(issuer), &SecretBytes::new(bytes), replaces).await {
            Ok(_) => Ok(true),
            Err(error) if *error.kind() == ErrorKind::RevisionConflict => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Entry {
    fn line(&self) -> Result<Revoked> {
        let serial = STANDARD.decode(&self.serial).map_err(|error| corrupt().because(error))?;
        // Without a reason the extension is left out (RFC 5280 §5.3.1).
        let extensions = match reason_code(self.reason) {
            Some(reason) => Some(vec![encode::extension(false, &reason)?]),
            None => None,
        };
        Ok(Revoked {
            serial: Uint::new(&serial).map_err(encode::unwritable)?,
            at: encode::time(self.at).map_err(encode::unwritable)?,
            extensions,
        })
    }
}

fn reason_code(reason: RevocationReason) -> Option<CrlReason> {
    Some(match reason {
        RevocationReason::KeyCompromise => CrlReason::KeyCompromise,
        RevocationReason::CaCompromise => CrlReason::CaCompromise,
        RevocationReason::AffiliationChanged => CrlReason::AffiliationChanged,
        RevocationReason::Superseded => CrlReason::Superseded,
        RevocationReason::CessationOfOperation => CrlReason::CessationOfOperation,
        RevocationReason::CertificateHold => CrlReason::CertificateHold,
        RevocationReason::PrivilegeWithdrawn => CrlReason::PrivilegeWithdrawn,
        RevocationReason::AaCompromise => CrlReason::AaCompromise,
        _ => return None,
    })
}

/// A serial number without the octets that only carry the sign.
fn unsigned(serial: &[u8]) -> &[u8] {
    let start = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    &serial[start..]
}

fn corrupt() -> Error {
    Error::new(PROVIDER, Operation::ReadStore, ErrorKind::Corrupt("the revocations".into()))
}
