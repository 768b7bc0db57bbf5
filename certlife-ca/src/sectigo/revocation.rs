//! Revocation, by the serial number: the id of a record stands for whatever certificate the record has now.

use certlife_core::{
    Error, ErrorKind, Operation, Result, RevocationReason,
    ca::{Revocation, Stage},
};

use super::{NAME, Sectigo, options::MAX_REASON, order::Handle, snapshot::Status, unsupported, wire};

const REVOKE: Operation = Operation::Revoke;

impl Sectigo {
    pub(super) async fn revoke_certificate(&self, revocation: &Revocation) -> Result<()> {
        let Some((code, words)) = vocabulary(revocation.reason) else {
            return Err(unsupported(REVOKE, "a revocation that can be taken back"));
        };
        let info = revocation.issued.chain.info().map_err(|input| Error::input(REVOKE, input))?;
        let serial = with_colons(&info.serial);
        let comment = revocation.comment.as_ref().map(certlife_core::VendorText::as_str);
        let comment = comment.filter(|comment| !comment.is_empty()).unwrap_or(words);
        // Sectigo wants a reason in words too.
        let reason: String = comment.chars().take(MAX_REASON).collect();
        match self.api.revoke(&serial, code, &reason).await {
            // Revoked already, or not issued: the same code.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => {
                if self.is_revoked(revocation, &serial).await? { Ok(()) } else { Err(error) }
            }
            outcome => outcome,
        }
    }

    async fn is_revoked(&self, revocation: &Revocation, serial: &str) -> Result<bool> {
        let id = match revocation.issued.handle.as_ref().and_then(Handle::id_of) {
            Some(id) => Some(id),
            None => {
                let listed = self.api.list(REVOKE, &[("serialNumber", serial)], 0, 2).await?;
                match &listed.entries[..] {
                    [entry] => entry.ssl_id.and_then(|id| u64::try_from(id).ok()),
                    [] => None,
                    _ => {
                        let what = "two records have the same serial number";
                        return Err(Error::new(NAME, REVOKE, ErrorKind::Conflict(what.into())));
                    }
                }
            }
        };
        let Some(id) = id else { return Ok(false) };
        let details = self.api.details(REVOKE, id).await?;
        let same = details.serial().is_none_or(|told| told == wire::folded_serial(serial));
        Ok(same && Status::of(&details) == Status::Over(Stage::Revoked))
    }
}

/// The reason in Sectigo's vocabulary ("Revoke" in its REST reference), and words for it. Reasons that it does not have
/// are given as unspecified, and told in words.
fn vocabulary(reason: RevocationReason) -> Option<(u8, &'static str)> {
    match reason {
        RevocationReason::KeyCompromise => Some((1, "key compromise")),
        RevocationReason::AffiliationChanged => Some((3, "affiliation changed")),
        RevocationReason::Superseded => Some((4, "superseded")),
        RevocationReason::CessationOfOperation => Some((5, "cessation of operation")),
        RevocationReason::CaCompromise => Some((0, "CA compromise")),
        RevocationReason::PrivilegeWithdrawn => Some((0, "privilege withdrawn")),
        RevocationReason::AaCompromise => Some((0, "attribute authority compromise")),
        RevocationReason::CertificateHold | RevocationReason::RemoveFromCrl => None,
        _ => Some((0, "unspecified")),
    }
}

/// A serial number as Sectigo writes it: pairs of capital hexadecimal digits, joined by colons.
fn with_colons(serial: &str) -> String {
    let padded = if serial.len().is_multiple_of(2) { serial.to_owned() } else { format!("0{serial}") };
    let pairs: Vec<String> =
        padded.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_ascii_uppercase()).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_written_in_pairs() {
        assert_eq!(with_colons("5c0a913e"), "5C:0A:91:3E");
        assert_eq!(with_colons("c0a"), "0C:0A");
    }
}
