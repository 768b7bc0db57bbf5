//! From the CA's certificate to a stored, current version with its deployments: one commit.

use std::collections::BTreeSet;

use super::{
    certificate,
    order::{Next, Run},
    targets,
};
use crate::{
    error::{Error, ErrorKind, Operation, Result},
    journal::Changes,
    model::{EventKind, OrderState, Version},
    name::Identifier,
    notify::Matter,
    store::AfterCommit,
    x509::{Chain, Expectation, check_issued},
};

impl Run<'_> {
    /// Checks the certificate against key, identifiers and clock, and makes it the current version.
    pub(super) async fn issued(&mut self, chain: Option<Chain>) -> Result<Next> {
        let version = match self.version(chain) {
            Ok(version) => version,
            Err(error) if error.retry() == crate::Retry::Never => {
                return self.end(OrderState::Failed, Some(&error)).await;
            }
            Err(error) => return self.failed(error).await,
        };
        let now = self.context.now();
        self.order.value.end(OrderState::Issued, None, now);
        self.order.value.version = Some(version.id);
        let (fingerprint, not_after) = (version.chain.fingerprint(), version.info.not_after);
        self.event(EventKind::VersionCurrent { version: version.id, fingerprint, not_after });
        loop {
            let mut changes = Changes::under(self.lease, AfterCommit::Keep);
            changes.insert(&version, None);
            if let Some(mut certificate) = self.certificate().await? {
                certificate::became_current(&mut certificate.value, &version, &self.ordered(), now);
                let policy = self.context.policy(&certificate.value.spec.ca).await?;
                // Of a rollout that begins there is nothing to tell people yet.
                targets::settle(self.context, &mut changes, &mut certificate.value).await?;
                let due = certificate::settle(&mut certificate.value, &policy, now);
                changes.replace(&certificate, due);
            }
            if self.commit(changes, Some(now)).await? {
                break;
            }
        }
        metrics::counter!("certlife_versions_total", "provider" => self.provider().to_string()).increment(1);
        self.tell(Matter::Renewed { not_after }).await;
        Ok(Next::Now)
    }

    fn ordered(&self) -> BTreeSet<Identifier> {
        let intent = self.order.value.intent.as_ref();
        intent.map(|intent| intent.request.identifiers.iter().cloned().collect()).unwrap_or_default()
    }

    fn version(&self, chain: Option<Chain>) -> Result<Version> {
        let order = &self.order.value;
        let refuse = |what: &'static str| {
            Error::new(self.provider(), Operation::CheckCertificate, ErrorKind::BadCertificate(what.into()))
        };
        let chain = chain.ok_or_else(|| {
            let kind = ErrorKind::Protocol("the order is issued but came without a certificate".into());
            Error::new(self.provider(), Operation::FetchCertificate, kind)
        })?;
        let intent =
            order.intent.as_ref().ok_or_else(|| refuse("the order has no intent to check it against"))?;
        // CAs add a twin such as www. to what was asked for; a name that is missing is another matter.
        let expectation = Expectation::new(intent.csr.public_key_hash(), self.ordered(), self.context.now())
            .allow_extra(true);
        check_issued(&chain, &expectation)?;
        let info = chain.info().map_err(|_| refuse("the leaf cannot be read"))?;
        Ok(Version {
            id: self.context.new_version_id(),
            certificate: order.certificate.clone(),
            order: Some(order.id),
            purpose: order.purpose,
            ca: order.ca.clone(),
            handle: order.handle.clone(),
            key: order.key,
            target_key: order.target_key.clone(),
            chain,
            info,
            received_at: self.context.now(),
            term_ends: order.term_ends,
            revoked: None,
            suspended: None,
            deactivated: None,
        })
    }
}
