//! Revoking (RFC 8555 §7.6).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{
    ErrorKind, Operation, Result, RevocationReason,
    ca::{Revocation, Signer},
    http::Response,
};
use serde_json::json;

use super::{Acme, handle::Handle, jws::By, problem::Failure, session::Call};

const OPERATION: Operation = Operation::Revoke;

impl Acme {
    /// Revokes by the account that ordered the certificate. If that is another one or is not known, or the CA
    /// finds this one not entitled, the certificate's own key has its say where there is one.
    pub(super) async fn revoke_certificate(
        &self,
        revocation: &Revocation,
        key: Option<&dyn Signer>,
    ) -> Result<()> {
        let directory = self.session.directory(OPERATION).await?;
        let Some(url) = &directory.revoke_cert else {
            let kind = ErrorKind::Unsupported("revoking at this CA".into());
            return Err(self.session.error(OPERATION, kind));
        };
        let mut wish = json!({ "certificate": URL_SAFE_NO_PAD.encode(revocation.issued.chain.leaf()) });
        if revocation.reason != RevocationReason::Unspecified {
            wish["reason"] = revocation.reason.code().into();
        }
        let call = Call::send(OPERATION, url, &wish)?;
        let Some(key) = key else { return Ok(done(self.signed(&call).await)?) };
        let by_key = async || done(self.session.post(&call, By::Key(key)).await);
        if !self.is_ours(revocation).await? {
            return match by_key().await {
                // Some CAs hear accounts only.
                Err(Failure::Refused(_)) => Ok(done(self.signed(&call).await)?),
                answered => Ok(answered?),
            };
        }
        match done(self.signed(&call).await) {
            Err(refused @ Failure::Refused(_)) if refused.is("unauthorized") => Ok(by_key().await?),
            answered => Ok(answered?),
        }
    }

    async fn is_ours(&self, revocation: &Revocation) -> Result<bool> {
        let Some(handle) = &revocation.issued.handle else { return Ok(false) };
        let Ok(handle) = Handle::read(OPERATION, handle) else { return Ok(false) };
        Ok(handle.account == self.accounts.open(&self.session).await?.url())
    }
}

/// One that is revoked already is revoked.
fn done(answered: Result<Response, Failure>) -> Result<(), Failure> {
    match answered {
        Err(failure) if failure.is("alreadyRevoked") => Ok(()),
        answered => answered.map(|_| ()),
    }
}
