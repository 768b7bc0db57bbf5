//! Revocation, in Entrust's vocabulary.

use certlife_core::{Error, ErrorKind, Operation, Result, RevocationReason, ca::Revocation};

use super::{Entrust, NAME, api::Done, wire::RevocationBody};

/// No limit is documented; this is the one of other fields for comments.
const MAX_COMMENT: usize = 254;
const UNSPECIFIED: &str = "unspecified";

impl Entrust {
    pub(super) async fn revoke_certificate(&self, revocation: &Revocation) -> Result<()> {
        const OPERATION: Operation = Operation::Revoke;
        let Some((reason, remark)) = word(revocation.reason) else {
            let what = "a revocation that can be undone (suspend the certificate in its place)";
            return Err(Error::new(NAME, OPERATION, ErrorKind::Unsupported(what.into())));
        };
        let id = self.number_of(OPERATION, &revocation.issued).await?;
        let said = revocation.comment.as_ref().map(certlife_core::VendorText::as_str);
        let body = RevocationBody { crl_reason: reason, revocation_comment: comment(remark, said) };
        let Done::Refused(mut fault) = self.api.revoke(id, &body).await? else { return Ok(()) };
        // One client reports that reasons other than the first two are no longer taken. A compromised key must not
        // be hidden behind another reason.
        if fault.is_about_reason() && !matches!(reason, UNSPECIFIED | "keyCompromise") {
            tracing::warn!(
                order = id,
                reason,
                "the CA does not take the reason, which goes into the comment"
            );
            let comment = comment(Some(reason), said);
            let body = RevocationBody { crl_reason: UNSPECIFIED, revocation_comment: comment };
            match self.api.revoke(id, &body).await? {
                Done::Yes(_) => return Ok(()),
                Done::Refused(again) => fault = again,
            }
        }
        let (now, _) = self.api.certificate(OPERATION, id).await?;
        if now.word() == "REVOKED" {
            return Ok(());
        }
        let words = fault.words().unwrap_or_else(|| "the CA gives no reason".into());
        let words = format!("{words} (the certificate is {})", now.word());
        Err(Error::new(NAME, OPERATION, ErrorKind::Rejected(words.into())))
    }
}

/// The CA's word for a reason, and what is put before the comment if that word says less.
fn word(reason: RevocationReason) -> Option<(&'static str, Option<&'static str>)> {
    Some(match reason {
        RevocationReason::KeyCompromise => ("keyCompromise", None),
        // The subscriber cannot know, but the key is not to be relied on.
        RevocationReason::CaCompromise => ("keyCompromise", Some("cACompromise")),
        RevocationReason::AffiliationChanged => ("affiliationChanged", None),
        RevocationReason::Superseded => ("superseded", None),
        RevocationReason::CessationOfOperation => ("cessationOfOperation", None),
        RevocationReason::PrivilegeWithdrawn => (UNSPECIFIED, Some("privilegeWithdrawn")),
        RevocationReason::AaCompromise => (UNSPECIFIED, Some("aACompromise")),
        // Revocation here is for good.
        RevocationReason::CertificateHold | RevocationReason::RemoveFromCrl => return None,
        _ => (UNSPECIFIED, None),
    })
}

/// A comment is always sent, since some accounts insist.
fn comment(remark: Option<&str>, said: Option<&str>) -> String {
    let said = said.unwrap_or("revoked through certlife");
    let text = remark.map_or_else(|| said.to_owned(), |remark| format!("{remark}: {said}"));
    text.chars().take(MAX_COMMENT).collect()
}
