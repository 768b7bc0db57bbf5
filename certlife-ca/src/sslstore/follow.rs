//! What becomes of an order: its state, its proofs, its certificate, and its end.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use certlife_core::{
    CertificateInfo, Chain, ErrorKind, Operation, Result, Retry, RevocationReason, VendorText,
    ca::{OrderIntent, OrderRef, OrderSnapshot, Purpose, Revocation, Stage},
    challenge::{Authorization, AuthorizationStatus, ChallengeId, ChallengeResponse},
    x509::ChainOptions,
};
use futures_util::future::join_all;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    SslStore,
    api::Which,
    challenge, error, handle,
    options::{OrderOptions, Vendor},
    order::{Handle, Order, Standing},
    place::is_refusal,
    unknown_order, unsupported,
    wire::{self, Object},
};

/// While the CA looks at records and files, which takes minutes. Nobody publishes a limit for questions; one a
/// minute and order is what clients in the field ask.
const SOON: Duration = Duration::from_mins(1);
/// While a person is to answer a message.
const LATER: Duration = Duration::from_mins(15);
/// While people look at documents.
const SLOWLY: Duration = Duration::from_hours(6);
const DAILY: Duration = Duration::from_hours(24);

/// What came of a download.
pub(super) enum Delivery {
    Chain(Chain),
    /// Not there, or not the one that is waited for; in words.
    NotYet(VendorText),
}

impl SslStore {
    /// Reads an order. A refusal without more is not believed to mean that there is none: the list decides.
    pub(super) async fn read(&self, operation: Operation, handle: &Handle) -> Result<Order> {
        let refusal = match self.api.status(operation, Which::Number(&handle.order)).await {
            Ok(order) if order.number().is_some_and(|number| number != handle.order) => {
                return Err(error(
                    operation,
                    ErrorKind::Protocol("the answer is about another order".into()),
                ));
            }
            Err(refusal) if is_refusal(&refusal) => refusal,
            other => return other,
        };
        // An order that was paid for is not given up for words that nobody explains.
        if self.api.login.is_token() {
            return Err(refusal.retry_as(Retry::Backoff));
        }
        match self.listed(operation, |order| order.number().as_ref() == Some(&handle.order)).await {
            Ok(Some(_)) => Err(error(operation, ErrorKind::Unavailable).because(refusal)),
            Ok(None) => Err(unknown_order(operation).because(refusal)),
            Err(refused) if is_refusal(&refused) => Err(refusal.retry_as(Retry::Backoff)),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn follow(&self, operation: Operation, order: &OrderRef) -> Result<OrderSnapshot> {
        let handle = handle(operation, &order.handle)?;
        let seen = self.read(operation, &handle).await?;
        self.snapshot(operation, &seen, &handle, order.intent.as_ref()).await
    }

    /// Sectigo looks by itself; DigiCert is told to look now. What it then says shows in the order.
    pub(super) async fn answer(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        const OPERATION: Operation = Operation::Respond;
        let handle = handle(OPERATION, &order.handle)?;
        if vendor_of(order) == Some(Vendor::DigiCert) {
            let looks = ready.iter().filter_map(challenge::subject).map(|name| {
                let number = &handle.order;
                async move { self.api.check_proof(OPERATION, number, &name.to_string()).await }
            });
            for look in join_all(looks).await {
                look.or_else(|error| if is_refusal(&error) { Ok(()) } else { Err(error) })?;
            }
        }
        self.follow(OPERATION, order).await
    }

    /// Says how an order is, with its certificate if there is one.
    pub(super) async fn snapshot(
        &self,
        operation: Operation,
        order: &Order,
        handle: &Handle,
        intent: Option<&OrderIntent>,
    ) -> Result<OrderSnapshot> {
        let mut snapshot = OrderSnapshot {
            message: order.message(),
            number: Some(handle.order.as_str().into()),
            details: order.details(),
            ..OrderSnapshot::new(handle.write(), Stage::Processing)
        };
        if intent.is_none() {
            snapshot.identifiers = order.names();
        }
        let reissue = intent.is_some_and(|intent| matches!(intent.request.purpose, Purpose::Reissue { .. }));
        match order.standing() {
            Standing::Over(stage) => snapshot.stage = stage,
            Standing::Unconfigured | Standing::Unknown => snapshot.ask_again = Some(DAILY),
            Standing::Reissuing if !reissue => self.deliver(&mut snapshot, order, handle, intent).await?,
            Standing::Issued => self.deliver(&mut snapshot, order, handle, intent).await?,
            Standing::Open | Standing::Reissuing => open(&mut snapshot, operation, order, handle, intent)?,
        }
        Ok(snapshot)
    }

    async fn deliver(
        &self,
        snapshot: &mut OrderSnapshot,
        order: &Order,
        handle: &Handle,
        intent: Option<&OrderIntent>,
    ) -> Result<()> {
        match self.delivery(&handle.order, intent).await? {
            Delivery::NotYet(words) => {
                snapshot.message = Some(words);
                snapshot.ask_again = Some(SOON);
            }
            Delivery::Chain(chain) => {
                let info = chain.info().map_err(|rule| {
                    error(Operation::FetchCertificate, ErrorKind::Protocol(rule.to_string().into()))
                })?;
                let over = self.clock.now() > info.not_after;
                snapshot.stage = if over { Stage::Expired } else { Stage::Issued };
                snapshot.term_ends = order.ends().filter(|end| *end > info.not_after);
                if intent.is_none() && !info.identifiers.is_empty() {
                    snapshot.identifiers = info.identifiers.into_iter().collect();
                }
                snapshot.certificate = Some(chain);
            }
        }
        Ok(())
    }

    /// Fetches the certificate of an order; for a reissue only the one that belongs to it.
    pub(super) async fn delivery(&self, number: &str, intent: Option<&OrderIntent>) -> Result<Delivery> {
        let files = match self.api.download(Operation::FetchCertificate, number).await {
            Ok(files) => files,
            Err(refusal) if is_refusal(&refusal) => {
                return Ok(Delivery::NotYet(VendorText::new(&refusal.to_string())));
            }
            Err(error) => return Err(error),
        };
        let ders = certificates(&files);
        if ders.is_empty() {
            return Ok(Delivery::NotYet("the certificate is not delivered yet".into()));
        }
        let key = intent.map(|intent| intent.csr.public_key_hash());
        let has_key = |der: &Vec<u8>| CertificateInfo::read(der).is_ok_and(|info| Some(info.key_hash) == key);
        let mut options = ChainOptions::default().drop_unrelated(true);
        let replaced = intent.and_then(|intent| match &intent.request.purpose {
            Purpose::Reissue { of, .. } => Some(&of.chain),
            _ => None,
        });
        match key.filter(|_| ders.iter().any(has_key)) {
            Some(key) => options = options.leaf_key(key),
            None if replaced.is_some() => return Ok(Delivery::NotYet(STILL_OLD.into())),
            None => {}
        }
        Ok(match options.from_ders(ders) {
            Ok(found) if replaced.is_some_and(|old| old.fingerprint() == found.chain.fingerprint()) => {
                Delivery::NotYet(STILL_OLD.into())
            }
            Ok(found) => Delivery::Chain(found.chain),
            Err(rule) => Delivery::NotYet(VendorText::new(&rule.to_string())),
        })
    }

    /// Cancels an order by asking for the money back. Only `issued` orders that a person means are touched.
    pub(super) async fn give_back(
        &self,
        handle: &Handle,
        intent: Option<&OrderIntent>,
        reason: &str,
        issued: bool,
    ) -> Result<OrderSnapshot> {
        const OPERATION: Operation = Operation::Decide;
        let order = self.read(OPERATION, handle).await?;
        let over = match order.standing() {
            Standing::Issued | Standing::Reissuing if !issued => {
                let words =
                    "a certificate is issued, which a refund would revoke; ask for one if that is meant";
                return Err(error(OPERATION, ErrorKind::NotNow(words.into())));
            }
            Standing::Over(_) => true,
            _ => false,
        };
        match order.refund() {
            _ if over => {}
            Some(refund) => _ = self.api.refund_status(&handle.order, &refund).await?,
            None => self.api.refund(&handle.order, reason).await?,
        }
        let seen = if over { order } else { self.read(OPERATION, handle).await? };
        self.snapshot(OPERATION, &seen, handle, intent).await
    }

    pub(super) async fn revoke_certificate(&self, revocation: &Revocation) -> Result<()> {
        const OPERATION: Operation = Operation::Revoke;
        let reason = words_of(revocation)?;
        let order = revocation.issued.handle.as_ref().ok_or_else(|| unknown_order(OPERATION))?;
        let handle = handle(OPERATION, order)?;
        let info = revocation.issued.chain.info();
        let info = info.map_err(|rule| error(OPERATION, ErrorKind::Input(rule)))?;
        match self.api.revoke(&handle.order, &info.serial, &reason).await {
            Err(refusal) if is_refusal(&refusal) => match self.read(OPERATION, &handle).await?.standing() {
                // Nothing is left to revoke.
                Standing::Over(Stage::Revoked | Stage::Cancelled) => Ok(()),
                _ => Err(refusal),
            },
            other => other,
        }
    }
}

const STILL_OLD: &str = "the certificate that is delivered is still the previous one";

/// The vendor that an order was placed with; none for one that was placed elsewhere.
pub(super) fn vendor_of(order: &OrderRef) -> Option<Vendor> {
    let request = &order.intent.as_ref()?.request;
    let options = OrderOptions::read(&request.options).ok()?;
    Some(options.vendor_of(request.product.as_deref()?))
}

pub(super) fn authorizations(
    operation: Operation,
    order: &Order,
    handle: &Handle,
    intent: Option<&OrderIntent>,
) -> Result<Vec<Authorization>> {
    challenge::authorizations(order, handle, intent).map_err(|rule| {
        error(operation, ErrorKind::Protocol(format!("what it asks to be shown cannot be: {rule}").into()))
    })
}

/// Fills in what an order waits for.
fn open(
    snapshot: &mut OrderSnapshot,
    operation: Operation,
    order: &Order,
    handle: &Handle,
    intent: Option<&OrderIntent>,
) -> Result<()> {
    let asked = authorizations(operation, order, handle, intent)?;
    let pending = || asked.iter().filter(|one| one.status == AuthorizationStatus::Pending);
    let by_mail = pending().any(|one| {
        one.challenges.iter().all(|challenge| matches!(challenge.response, ChallengeResponse::Email { .. }))
    });
    let waits = pending().next().is_some();
    // Whoever gives an order up wants nothing proven for it any more.
    if waits && order.refund().is_none() {
        snapshot.stage = Stage::Validating;
    }
    snapshot.ask_again = Some(match (waits, by_mail) {
        (true, true) => LATER,
        (false, _) if order.refund().is_some() => DAILY,
        (false, _) if order.is_vetted() => SLOWLY,
        _ => SOON,
    });
    snapshot.authorizations = (!asked.is_empty()).then_some(asked);
    Ok(())
}

/// The certificates among the files, whatever they are called: PEM, several in a file, or Base64 without a frame.
fn certificates(files: &Object) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for file in files.objects("Certificates") {
        let Some(mut text) = file.verbatim("FileContent") else { continue };
        if text.contains("%20") || text.contains("%0") || text.contains("%2B") {
            text = wire::percent_decoded(&text);
        }
        if text.contains("-----BEGIN") {
            let blocks = CertificateDer::pem_slice_iter(text.as_bytes()).map_while(Result::ok);
            found.extend(blocks.map(|der| der.to_vec()));
        } else {
            text.retain(|character| !character.is_whitespace());
            found.extend(BASE64.decode(text).ok());
        }
    }
    // A file of another form, such as PKCS#7, says nothing more.
    found.retain(|der| CertificateInfo::read(der).is_ok());
    found
}

/// The reason as the vendor takes it: free text. Reasons that a subscriber may not give (BR §7.2.2) are not sent.
fn words_of(revocation: &Revocation) -> Result<String> {
    use RevocationReason::{
        AffiliationChanged, CessationOfOperation, KeyCompromise, Superseded, Unspecified,
    };
    let reason = match revocation.reason {
        Unspecified => "Unspecified",
        KeyCompromise => "Key compromise",
        AffiliationChanged => "Affiliation changed",
        Superseded => "Superseded",
        CessationOfOperation => "Cessation of operation",
        _ => return Err(unsupported(Operation::Revoke, "this reason")),
    };
    let words = match &revocation.comment {
        Some(comment) => format!("{reason}: {comment}"),
        None => reason.to_owned(),
    };
    Ok(words.chars().take(250).collect())
}
