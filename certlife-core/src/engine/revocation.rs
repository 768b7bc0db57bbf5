//! Revocations: stored when they are asked for, then carried out until the CA confirms or refuses.

use super::{
    Context, Principal, accounts,
    backoff::Backoff,
    certificate::{self, event},
    principal::unknown,
};
use crate::{
    ca::{Revocation, Signer},
    error::{Error, ErrorKind, Operation, Result, Retry},
    id::VersionId,
    journal::{Changes, Stored, lost_race},
    model::{
        Certificate, CertificateState, EventKind, Occurrence, PendingRevocation, RenewalSchedule,
        RenewalTrigger, Version,
    },
    notify::Matter,
    text::VendorText,
    time::Timestamp,
    x509::RevocationReason,
};

impl Principal {
    /// Revokes a version. With `replace` a new one is ordered at once; without, a certificate whose current
    /// version this is stops being renewed. A version that is revoked already is success.
    ///
    /// The engine carries it out and keeps trying for as long as the CA does not answer; what became of it is in
    /// the certificate's [`revocations`](Certificate::revocations), in [`Version::revoked`] and in the feed. Asked
    /// again, it tries again at once.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`](crate::InputError::Unknown); [`ErrorKind::Unsupported`] if the CA does not revoke.
    pub async fn revoke(
        &self,
        version: VersionId,
        reason: RevocationReason,
        comment: Option<&str>,
        replace: bool,
    ) -> Result<()> {
        let context = self.context();
        loop {
            let stored = context.journal.load::<Version>(version).await?;
            let stored = stored.ok_or_else(|| unknown("version", &version))?.value;
            let ca =
                context.accounts.ca(&stored.ca).map_err(|input| Error::input(Operation::Revoke, input))?;
            if !ca.provider.capabilities().revocation {
                let kind = ErrorKind::Unsupported("revocation at this CA".into());
                return Err(Error::new(ca.provider.provider(), Operation::Revoke, kind));
            }
            let now = context.now();
            let mut certificate = self.load(&stored.certificate).await?;
            let mut changes = Changes::new();
            if stored.revoked.is_none() {
                certificate.value.revocations.retain(|pending| pending.version != version);
                certificate.value.revocations.push(PendingRevocation {
                    version,
                    reason,
                    comment: comment.map(VendorText::new),
                    replace,
                    actor: self.actor.clone(),
                    attempts: 0,
                    failure: None,
                    next_attempt: Some(now),
                });
                let asked = self.event(EventKind::RevocationAsked { version, reason });
                changes.event(&asked.on(&stored.certificate));
            }
            if replace && certificate.value.current == Some(version) {
                certificate.value.not_before = None;
                certificate.value.schedule = Some(RenewalSchedule::new(now, RenewalTrigger::Revoked));
            }
            let policy = context.policy(&certificate.value.spec.ca).await?;
            let due = certificate::settle(&mut certificate.value, &policy, now);
            changes.replace(&certificate, due);
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }
}

/// What came of the revocations that were due. The caller stores it together with the certificate.
#[derive(Default)]
pub(super) struct Carried {
    pub(super) versions: Vec<Stored<Version>>,
    pub(super) events: Vec<Occurrence>,
    /// What people have to be told of.
    pub(super) refused: Option<Matter>,
}

/// Asks the CA for each revocation that is due. To ask twice, after a crash, is harmless: what is revoked already
/// counts as success.
pub(super) async fn carry_out(context: &Context, certificate: &mut Certificate) -> Result<Carried> {
    let now = context.now();
    let mut carried = Carried::default();
    for mut pending in std::mem::take(&mut certificate.revocations) {
        if pending.next_attempt.is_none_or(|next| next > now) {
            certificate.revocations.push(pending);
            continue;
        }
        let version = context.journal.load::<Version>(pending.version).await?;
        // It may have been deleted, or revoked in another way, meanwhile.
        let Some(mut version) = version.filter(|version| version.value.revoked.is_none()) else { continue };
        let revocation = Revocation {
            issued: version.value.issued_ref(),
            reason: pending.reason,
            comment: pending.comment.clone(),
        };
        match revoke(context, &version.value, &revocation).await.map_err(Error::repeatable) {
            Ok(()) => {
                let kind = EventKind::VersionRevoked { version: pending.version, reason: pending.reason };
                carried.events.push(Occurrence::new(now, pending.actor, kind).on(&certificate.spec.id));
                version.value.revoked = Some((now, revocation));
                carried.versions.push(version);
                let is_last = certificate.current == Some(pending.version) && certificate.order.is_none();
                if is_last && !pending.replace {
                    certificate.state = CertificateState::Revoked;
                }
            }
            Err(error) => {
                let failure = context.failure(&error, &version.value.ca);
                pending.attempts += 1;
                pending.failure = Some(failure.clone());
                pending.next_attempt = next_attempt(&error, &pending, now);
                let kind = if let Some(next) = pending.next_attempt {
                    EventKind::Retrying { failure, next }
                } else {
                    carried.refused = Some(Matter::RevocationRefused { failure: failure.clone() });
                    EventKind::RevocationRefused { version: pending.version, failure }
                };
                carried.events.push(event(certificate, now, kind));
                certificate.revocations.push(pending);
            }
        }
    }
    Ok(carried)
}

/// When the CA is asked again; never once it has refused.
fn next_attempt(error: &Error, pending: &PendingRevocation, now: Timestamp) -> Option<Timestamp> {
    let what = pending.version.to_string();
    (error.retry() != Retry::Never).then(|| Backoff::CALL.next(now, pending.attempts, error.retry(), &what))
}

async fn revoke(context: &Context, version: &Version, revocation: &Revocation) -> Result<()> {
    let ca = context.accounts.ca(&version.ca).map_err(|input| accounts::absent(Operation::Revoke, input))?;
    let key = match version.key {
        Some(id) => Some(context.open_key(id).await?),
        None => None,
    };
    let _place = ca.place().await;
    ca.provider.revoke(revocation, key.as_ref().map(|key| key as &dyn Signer)).await
}
