//! Commands that change something and let the engine work on it.

use std::{collections::BTreeSet, path::PathBuf};

use certlife::{
    AccountName, CertificateId, Identifier, OrderId, RevocationReason, Timestamp, VersionId,
    ca::ImportFilter, keystore,
};

use super::Session;
use crate::{
    Failure, Outcome,
    args::{One, Verdict, Wait},
    forms::{self, Protection},
    work::Looked,
};

impl Session<'_> {
    pub(super) async fn order(&self, names: &[CertificateId], wait: Wait) -> Result<Outcome, Failure> {
        for name in names {
            let known = self.host.want(name).await?;
            // Asked for by a person, it is tried again now and not when the back-off allows.
            if known.failed_orders > 0 && known.order.is_none() {
                self.host.caller.renew(name).await?;
            }
        }
        self.settle_all(names, wait, None).await
    }

    pub(super) async fn adopt(
        &self,
        one: One,
        files: &[PathBuf],
        protection: &Protection,
    ) -> Result<Outcome, Failure> {
        let found = keystore::read(forms::read_all(files)?.expose(), protection.password()?.as_ref())?;
        for missing in &found.missing {
            tracing::warn!("{missing} is missing");
        }
        self.host.adopt(&one.name, found).await?;
        self.settle(one, None).await
    }

    pub(super) async fn verify(&self, one: One) -> Result<Outcome, Failure> {
        let order = self.order_under_way(&one.name).await?;
        self.host.caller.verify(order).await?;
        self.settle(one, None).await
    }

    pub(super) async fn check(&self, one: One) -> Result<Outcome, Failure> {
        let looked = Looked { since: self.host.clock.now(), targets: self.targets(&one.name).await? };
        for target in &looked.targets {
            self.host.caller.check_target(&one.name, target).await?;
        }
        self.settle(one, Some(&looked)).await
    }

    pub(super) async fn redeploy(&self, one: One, target: Option<AccountName>) -> Result<Outcome, Failure> {
        let targets = match target {
            Some(target) => [target].into(),
            None => self.targets(&one.name).await?,
        };
        let looked = Looked { since: self.host.clock.now(), targets };
        for target in &looked.targets {
            self.host.caller.redeploy(&one.name, target).await?;
        }
        self.settle(one, Some(&looked)).await
    }

    /// The targets that have the certificate or are to have it now.
    async fn targets(&self, name: &CertificateId) -> Result<BTreeSet<AccountName>, Failure> {
        let deployments = self.host.engine.deployments(name).await?;
        let wanted = deployments.into_iter().filter(|deployment| deployment.desired.is_some());
        Ok(wanted.map(|deployment| deployment.target).collect())
    }

    pub(super) async fn continue_rollout(&self, one: One) -> Result<Outcome, Failure> {
        self.host.caller.continue_rollout(&one.name).await?;
        self.settle(one, None).await
    }

    pub(super) async fn renew(&self, one: One) -> Result<Outcome, Failure> {
        self.host.caller.renew(&one.name).await?;
        self.settle(one, None).await
    }

    pub(super) async fn reissue(&self, one: One, reason: Option<&str>) -> Result<Outcome, Failure> {
        self.host.caller.reissue(&one.name, reason).await?;
        self.settle(one, None).await
    }

    pub(super) async fn revoke(
        &self,
        one: One,
        version: Option<VersionId>,
        reason: RevocationReason,
        comment: Option<&str>,
        replace: bool,
    ) -> Result<Outcome, Failure> {
        let version = self.version(&one.name, version).await?;
        self.host.caller.revoke(version, reason, comment, replace).await?;
        self.settle(one, None).await
    }

    pub(super) async fn decide(
        &self,
        one: One,
        version: Option<VersionId>,
        verdict: Verdict,
    ) -> Result<Outcome, Failure> {
        let issued = version.is_some() || self.certificate(&one.name).await?.order.is_none();
        if let (true, Some(decision)) = (issued, verdict.at_ca()) {
            let version = self.version(&one.name, version).await?;
            self.host.caller.decide_version(version, decision).await?;
            return self.settle(one, None).await;
        }
        let order = self.order_under_way(&one.name).await?;
        match (verdict.at_ca(), verdict) {
            (Some(decision), _) => self.host.caller.decide(order, decision).await?,
            (None, Verdict::PlaceAgain) => self.host.caller.place_again(order).await?,
            (None, _) => self.host.caller.abandon(order).await?,
        }
        self.settle(one, None).await
    }

    pub(super) async fn cancel(&self, one: One) -> Result<Outcome, Failure> {
        let order = self.order_under_way(&one.name).await?;
        self.host.caller.cancel(order).await?;
        // The certificate fails by this; the command has succeeded if the order is over.
        self.settle(one, None).await?;
        let over = self.host.engine.order(order).await?.is_closed();
        Ok(if over { Outcome::Done } else { Outcome::Unfinished })
    }

    pub(super) async fn delete(&self, name: &CertificateId) -> Result<Outcome, Failure> {
        self.host.caller.delete(name).await?;
        self.output.result(&serde_json::json!({ "deleted": name }), || format!("{name} is deleted here"));
        Ok(Outcome::Done)
    }

    pub(super) async fn import(
        &self,
        account: &AccountName,
        all: bool,
        names: Vec<Identifier>,
        placed_after: Option<Timestamp>,
    ) -> Result<Outcome, Failure> {
        let filter = ImportFilter {
            skip_expired: !all,
            skip_revoked: !all,
            skip_cancelled: true,
            placed_after,
            names: names.into_iter().collect(),
            ..ImportFilter::default()
        };
        let report = self.host.engine.import(account, &filter).await?;
        self.output.result(&report, || {
            format!(
                "{} orders listed: {} certificates taken over, {} known, {} orders without a certificate",
                report.listed, report.imported, report.known, report.without_certificate
            )
        });
        Ok(Outcome::Done)
    }

    pub(super) async fn order_under_way(&self, name: &CertificateId) -> Result<OrderId, Failure> {
        let certificate = self.certificate(name).await?;
        certificate.order.ok_or_else(|| Failure::Usage(format!("{name} has no order under way")))
    }

    /// The version that was named, or the current one.
    pub(super) async fn version(
        &self,
        name: &CertificateId,
        named: Option<VersionId>,
    ) -> Result<VersionId, Failure> {
        let certificate = self.certificate(name).await?;
        let version = named.or(certificate.current);
        version.ok_or_else(|| Failure::Usage(format!("{name} has no version yet")))
    }
}
