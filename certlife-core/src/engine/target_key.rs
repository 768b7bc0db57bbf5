//! Keys that are made on a target: which key is asked for, what comes back, and whether it is still there.
//!
//! The name of the key is stored before the target is asked, and asking again for that name brings the same key. So
//! a crash after the question ends with one key, not two.

use std::collections::BTreeSet;

use super::{
    accounts::{TargetAccount, absent},
    order::{self, Run},
};
use crate::{
    csr::{Csr, CsrTemplate},
    deploy::KeyRequest,
    error::{Error, ErrorKind, Operation, ProviderName, Result, Retry},
    id::{CertificateId, KeyId},
    model::{CertificateSpec, KeyChange, KeySource, TargetKey, Version},
    name::Identifier,
};

impl Run<'_> {
    /// Chooses the key that a target is to make, where the wish says so. Returns whether that has to be stored.
    pub(super) async fn choose_target_key(&mut self) -> Result<bool> {
        let spec = self.wished().await?.value.spec;
        let KeySource::OnTarget(target) = &spec.key.source else {
            return Ok(self.order.value.target_key.take().is_some());
        };
        let algorithm = self.context.policy(&self.order.value.ca).await?.key_algorithm(&spec);
        let fits = |made: &TargetKey| made.target == *target && made.algorithm == algorithm;
        if self.order.value.target_key.as_ref().is_some_and(fits) {
            return Ok(false);
        }
        let kept = match spec.key.on_renewal {
            KeyChange::Keep => self.predecessor().await?.and_then(|version| version.target_key).filter(fits),
            KeyChange::Rotate => None,
        };
        self.order.value.target_key = Some(kept.unwrap_or_else(|| TargetKey {
            target: target.clone(),
            key: KeyId::new(self.context.now(), self.context.entropy.bytes()),
            algorithm,
        }));
        Ok(true)
    }

    /// Has the target make the key that was chosen, and a signing request with it.
    pub(super) async fn target_csr(&self, spec: &CertificateSpec) -> Result<Csr> {
        let made = self.order.value.target_key.as_ref().ok_or_else(|| {
            let kind =
                ErrorKind::Corrupt("an order whose key is to be made on a target, without its name".into());
            Error::new(ProviderName::ENGINE, Operation::MakeKey, kind)
        })?;
        self.context.check_enabled(&made.target).await?;
        let target =
            self.context.accounts.target(&made.target).map_err(|input| absent(Operation::MakeKey, input))?;
        ask(&target, &self.order.value.certificate, made, order::template(spec)).await
    }
}

/// Checks that a version can be installed on a target: its key was made elsewhere than on another target, and is
/// still on this one.
pub(super) async fn still_there(target: &TargetAccount, version: &Version) -> Result<()> {
    let Some(made) = &version.target_key else { return Ok(()) };
    let refuse = |kind| Err(Error::new(target.provider.provider(), Operation::Install, kind));
    if made.target != target.name {
        return refuse(ErrorKind::NotNow(
            format!("its private key is on {} and never leaves it", made.target).into(),
        ));
    }
    let names: BTreeSet<Identifier> = version.info.identifiers.clone();
    let csr = ask(target, &version.certificate, made, CsrTemplate::new(names)).await?;
    if csr.public_key_hash() == version.info.key_hash {
        return Ok(());
    }
    tracing::warn!(certificate = %version.certificate, target = %target.name, "the target has lost the private key");
    refuse(ErrorKind::NotFound(
        "the private key of this version on the target (a reissue makes another)".into(),
    ))
}

/// Asks a target for a key, and believes nothing of the answer but what can be checked.
async fn ask(
    target: &TargetAccount,
    certificate: &CertificateId,
    made: &TargetKey,
    template: CsrTemplate,
) -> Result<Csr> {
    let names = template.identifiers.clone();
    let wanted =
        KeyRequest { certificate: certificate.clone(), key: made.key, algorithm: made.algorithm, template };
    let csr = {
        let _place = target.place().await;
        target.provider.make_key(&wanted).await?
    };
    let broken = |what: &'static str| {
        let kind = ErrorKind::Protocol(what.into());
        Error::new(target.provider.provider(), Operation::MakeKey, kind).retry_as(Retry::Backoff)
    };
    if csr.key_algorithm() != Some(made.algorithm) {
        return Err(broken("the key that the target made is of another kind than was asked for"));
    }
    if csr.must_staple() != wanted.template.must_staple {
        return Err(broken("the signing request of the target asks for other extensions than it should"));
    }
    csr.check_against(&names, None)
        .map_err(|input| broken("the signing request of the target is for other names").because(input))?;
    Ok(csr)
}
