//! When the CA wants a certificate to be renewed (RFC 9773 §4).

use std::time::Duration;

use certlife_core::{
    ErrorKind, Operation, Result,
    ca::{IssuedRef, RenewalWindow},
    x509::ari_certificate_id,
};

use super::{Acme, wire::RenewalInfo};

impl Acme {
    pub(super) async fn suggested_window(&self, issued: &IssuedRef) -> Result<Option<RenewalWindow>> {
        const OPERATION: Operation = Operation::RenewalInfo;
        /// Bounds that RFC 9773 §4.3.2 recommends for `Retry-After`.
        const SOONEST: Duration = Duration::from_mins(1);
        const LATEST: Duration = Duration::from_hours(24);
        let directory = self.session.directory(OPERATION).await?;
        let Some(base) = &directory.renewal_info else { return Ok(None) };
        // A certificate without an authority key identifier has no id to ask by.
        let Ok(id) = ari_certificate_id(issued.chain.leaf()) else { return Ok(None) };
        let mut url = base.clone();
        url.path_segments_mut()
            .map_err(|()| {
                self.session.error(OPERATION, ErrorKind::Protocol("it names no address to ask at".into()))
            })?
            .pop_if_empty()
            .push(&id);
        let answer = match self.session.get(OPERATION, &url).await {
            Ok(answer) => answer,
            // It is not a certificate of this CA, or one that the CA no longer has an opinion on.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_) | ErrorKind::Rejected(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let info: RenewalInfo = answer.json()?;
        let (start, end) = (info.suggested_window.start.into(), info.suggested_window.end.into());
        if end < start {
            return Ok(None);
        }
        let ask_again = answer.retry_after(self.session.now()).map(|wait| wait.clamp(SOONEST, LATEST));
        let explanation = info.explanation_url.map(Into::into);
        Ok(Some(RenewalWindow { start, end, explanation, ask_again }))
    }
}
