//! Orders: placed, proven, finalized, told (RFC 8555 §7.4, §7.5).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{
    Error, ErrorKind, Identifier, InputError, Operation, Result, Retry, Timestamp, VendorText,
    ca::{OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose, Stage},
    challenge::ChallengeId,
    http::Response,
    x509::{ChainOptions, ari_certificate_id},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use instant_acme::{ChallengeStatus, OrderStatus};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{
    Acme,
    account::Account,
    handle::Handle,
    nonce::Nonces,
    problem::Failure,
    session::Call,
    wire::{AuthorizationObject, Directory, NewOrder, Order, Status},
};

/// An order as an answer shows it.
struct Told {
    order: Order,
    /// When the CA wants to be asked again.
    ask_again: Option<Duration>,
}

impl Acme {
    pub(super) async fn place_order(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        const OPERATION: Operation = Operation::PlaceOrder;
        let request = &intent.request;
        let mut directory = self.session.directory(OPERATION).await?;
        if self.check_profile(&directory, request).is_err() {
            // The CA may have it since the directory was read.
            directory = self.session.fresh_directory(OPERATION).await?;
            self.check_profile(&directory, request)?;
        }
        let account = self.accounts.open(&self.session).await?;
        let mut wish = NewOrder {
            identifiers: wire_identifiers(&request.identifiers),
            not_after: request.validity.map(|validity| (self.session.now() + validity).to_string()),
            profile: request.product.as_deref(),
            replaces: replaced(&directory, &account, &request.purpose),
        };
        let mut answered = self.signed(&Call::send(OPERATION, &directory.new_order, &wish)?.once()).await;
        // Naming the predecessor is a courtesy (RFC 9773 §5), and whatever a CA has against it, the renewal
        // is worth more.
        if let Err(failure) = &answered
            && wish.replaces.is_some()
            && is_a_refusal(failure)
        {
            wish.replaces = None;
            answered = self.signed(&Call::send(OPERATION, &directory.new_order, &wish)?.once()).await;
        }
        let answer = answered?;
        // The order exists. An answer that does not show it is as good as a lost one.
        let lost = |cause: Error| self.session.error(OPERATION, ErrorKind::Uncertain).because(cause);
        if answer.header("location").is_none() {
            return Err(lost(answer.unexpected("it does not say where the order is")));
        }
        let order: Order = answer.json().map_err(lost)?;
        let handle = Handle {
            order: self.session.location(OPERATION, &answer)?,
            account: self.accounts.open(&self.session).await?.url().to_owned(),
            untold: matches!(order.status, Status::Known(OrderStatus::Pending)),
        };
        let ask_again = match order.status {
            Status::Known(OrderStatus::Ready) => Some(Duration::ZERO),
            _ => answer.retry_after(self.session.now()),
        };
        let told = Told { order, ask_again };
        match self.snapshot(OPERATION, &handle, &told, Some(intent)).await {
            // The order must not be lost over what asking again will bring.
            Err(error) if error.retry() != Retry::Never => {
                let mut snapshot = bare_snapshot(&handle, &told, Stage::Validating);
                snapshot.ask_again = match error.retry() {
                    Retry::After(wait) => Some(wait),
                    _ => None,
                };
                snapshot.message = Some(VendorText::new(&error.chain()));
                Ok(snapshot)
            }
            snapshot => snapshot,
        }
    }

    pub(super) async fn answer_challenges(
        &self,
        order: &OrderRef,
        ready: &[ChallengeId],
    ) -> Result<OrderSnapshot> {
        let handle = Handle::read(Operation::Respond, &order.handle)?;
        let answers = in_waves(ready.iter().map(|challenge| self.answer_challenge(challenge))).await?;
        let waiting = answers.iter().any(|answer| matches!(answer, Answered::Waiting));
        let refusal = answers.into_iter().find_map(|answer| match answer {
            Answered::Refused(error) => Some(error),
            Answered::Waiting | Answered::Over => None,
        });
        if waiting && refusal.is_none() {
            return Ok(OrderSnapshot {
                number: handle.number().map(VendorText::from),
                ..OrderSnapshot::new(handle.written(), Stage::Validating)
            });
        }
        // Nothing waits, or something is refused, so the order may have moved on; only the CA can say to where.
        let snapshot = self.poll_order(order).await?;
        match refusal {
            Some(error) if snapshot.stage == Stage::Validating => Err(error),
            _ => Ok(snapshot),
        }
    }

    /// Tells the CA that one response is in place. CAs refuse that for a challenge that is over.
    async fn answer_challenge(&self, challenge: &ChallengeId) -> Result<Answered> {
        const OPERATION: Operation = Operation::Respond;
        let url = Url::parse(&challenge.0).map_err(|_| {
            let kind = ErrorKind::Corrupt("the id of a challenge is not that of an ACME challenge".into());
            self.session.error(OPERATION, kind)
        })?;
        self.session.admit(OPERATION, &url)?;
        let refusal = match self.signed(&Call::send(OPERATION, &url, &json!({}))?).await {
            Ok(answer) => return Ok(answer.json::<ChallengeState>()?.into()),
            Err(Failure::Other(error)) => return Err(error),
            Err(refusal) => Error::from(refusal),
        };
        if refusal.retry() != Retry::Never {
            return Err(refusal);
        }
        match self.signed(&Call::ask(OPERATION, &url)).await {
            Ok(answer) => match answer.json::<ChallengeState>()?.status {
                Status::Known(ChallengeStatus::Pending) => Ok(Answered::Refused(refusal)),
                _ => Ok(answer.json::<ChallengeState>()?.into()),
            },
            Err(Failure::Refused(_)) => Ok(Answered::Refused(refusal)),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    pub(super) async fn poll_order(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        const OPERATION: Operation = Operation::PollOrder;
        let handle = Handle::read(OPERATION, &order.handle)?;
        let mut told = self.ask(OPERATION, &handle).await?;
        if let Status::Known(OrderStatus::Ready) = told.order.status {
            told = self.finalize(&handle, told, order.intent.as_ref()).await?;
        }
        self.snapshot(OPERATION, &handle, &told, order.intent.as_ref()).await
    }

    async fn ask(&self, operation: Operation, handle: &Handle) -> Result<Told> {
        self.session.admit(operation, &handle.order)?;
        let answer = self.signed(&Call::ask(operation, &handle.order)).await.map_err(Error::from);
        let answer = answer.map_err(|error| match error.kind() {
            ErrorKind::NotFound(_) => {
                self.session.error(operation, ErrorKind::NotFound("the order".into())).because(error)
            }
            _ => error,
        })?;
        self.told(&answer)
    }

    fn told(&self, answer: &Response) -> Result<Told> {
        Ok(Told { order: answer.json()?, ask_again: answer.retry_after(self.session.now()) })
    }

    /// Sends the request for the certificate.
    async fn finalize(&self, handle: &Handle, told: Told, intent: Option<&OrderIntent>) -> Result<Told> {
        const OPERATION: Operation = Operation::PollOrder;
        let Some(intent) = intent else {
            let kind = ErrorKind::NotNow("the request of this order is not known here".into());
            return Err(self.session.error(OPERATION, kind));
        };
        let url = &told.order.finalize;
        self.session.admit(OPERATION, url)?;
        let wish = json!({ "csr": URL_SAFE_NO_PAD.encode(intent.csr.der()) });
        match self.signed(&Call::send(OPERATION, url, &wish)?).await {
            Ok(answer) => self.told(&answer),
            // It was sent already: by another process, or by us when the answer was lost.
            Err(failure) if failure.is("orderNotReady") => self.ask(OPERATION, handle).await,
            Err(failure) => Err(failure.into()),
        }
    }

    /// Says what the CA said, and reads what belongs to it.
    async fn snapshot(
        &self,
        operation: Operation,
        handle: &Handle,
        told: &Told,
        intent: Option<&OrderIntent>,
    ) -> Result<OrderSnapshot> {
        let bare = |stage| bare_snapshot(handle, told, stage);
        match &told.order.status {
            Status::Known(OrderStatus::Pending) if handle.untold => {
                let handle = Handle { untold: false, ..handle.clone() };
                let authorizations = self.authorizations(operation, &told.order, intent).await?;
                let snapshot = bare_snapshot(&handle, told, Stage::Validating);
                Ok(OrderSnapshot { authorizations: Some(authorizations), ..snapshot })
            }
            Status::Known(OrderStatus::Pending) => Ok(bare(Stage::Validating)),
            Status::Known(OrderStatus::Ready | OrderStatus::Processing) => Ok(bare(Stage::Processing)),
            Status::Known(OrderStatus::Valid) => {
                let url = told.order.certificate.as_ref().ok_or_else(|| {
                    let kind = ErrorKind::Protocol("a valid order comes without its certificate".into());
                    self.session.error(operation, kind)
                })?;
                let mut options = ChainOptions::default().drop_unrelated(true);
                if let Some(intent) = intent {
                    options = options.leaf_key(intent.csr.public_key_hash());
                }
                let certificate = self.certificate(url, options).await?;
                Ok(OrderSnapshot { certificate: Some(certificate), ask_again: None, ..bare(Stage::Issued) })
            }
            Status::Known(OrderStatus::Invalid) => self.lost(operation, handle, told, intent).await,
            Status::Unknown(word) => {
                let message = Some(format!("the CA says {word:?}").into());
                Ok(OrderSnapshot { message, ..bare(Stage::Processing) })
            }
        }
    }

    /// Says why an order is invalid, identifier by identifier.
    async fn lost(
        &self,
        operation: Operation,
        handle: &Handle,
        told: &Told,
        intent: Option<&OrderIntent>,
    ) -> Result<OrderSnapshot> {
        let authorizations = match self.authorizations(operation, &told.order, intent).await {
            Ok(authorizations) => Some(authorizations),
            // What the CA no longer tells does not change that the order is over.
            Err(error) if error.retry() == Retry::Never => None,
            Err(error) => return Err(error),
        };
        let said = told.order.error.as_ref().map(super::problem::Problem::words);
        let failed = authorizations.iter().flatten().any(|authorization| authorization.problem.is_some());
        let over = expiry(&told.order).is_some_and(|expires| expires <= self.session.now());
        let (stage, message) = match said {
            Some(words) => (Stage::Rejected, words),
            None if over && !failed => (Stage::Expired, "the order has expired".into()),
            None => (Stage::Rejected, "control was not proven for every identifier".into()),
        };
        let snapshot = bare_snapshot(handle, told, stage);
        Ok(OrderSnapshot { authorizations, message: Some(message), ask_again: None, ..snapshot })
    }

    /// Reads every authorization of an order, as many at a time as there may be nonces.
    async fn authorizations(
        &self,
        operation: Operation,
        order: &Order,
        intent: Option<&OrderIntent>,
    ) -> Result<Vec<certlife_core::challenge::Authorization>> {
        let hostile = |what: &'static str| {
            self.session.error(operation, ErrorKind::Protocol(what.into())).retry_as(Retry::Never)
        };
        if order.authorizations.len() > 2 * super::MAX_IDENTIFIERS {
            return Err(hostile("it asks for more authorizations than an order can have identifiers"));
        }
        let account = &self.accounts.open(&self.session).await?;
        let urls = order.authorizations.iter();
        let authorizations = in_waves(urls.map(|url| self.authorization(operation, url, account))).await?;
        if let Some(intent) = intent {
            let ordered: BTreeSet<&Identifier> = intent.request.identifiers.iter().collect();
            if authorizations.iter().any(|authorization| !ordered.contains(&authorization.identifier)) {
                return Err(hostile("it asks for proof of an identifier that was not ordered"));
            }
        }
        Ok(authorizations)
    }

    async fn authorization(
        &self,
        operation: Operation,
        url: &Url,
        account: &Arc<Account>,
    ) -> Result<certlife_core::challenge::Authorization> {
        self.session.admit(operation, url)?;
        let answer = self.signed(&Call::ask(operation, url)).await?;
        let authorization: AuthorizationObject = answer.json()?;
        for challenge in &authorization.challenges {
            if let Ok(url) = Url::parse(&challenge.url) {
                self.session.admit(operation, &url)?;
            }
        }
        super::challenge::read(&authorization, account).map_err(|fault| {
            self.session
                .error(operation, ErrorKind::Protocol(fault.to_string().into()))
                .retry_as(Retry::Never)
        })
    }

    /// Looks a profile up before the CA does, since some take any name and issue something else.
    fn check_profile(&self, directory: &Directory, request: &OrderRequest) -> Result<()> {
        let Some(wanted) = &request.product else { return Ok(()) };
        let offered = directory.meta.profiles.iter().flatten();
        let names: Vec<_> = offered.map(|(name, _)| name.as_str()).collect();
        if names.contains(&wanted.as_str()) {
            return Ok(());
        }
        let rule = if names.is_empty() {
            "this CA offers no profiles".to_owned()
        } else {
            format!("this CA offers the profiles {}", names.join(", "))
        };
        let input = InputError::Value {
            field: "product".into(),
            value: wanted.as_str().into(),
            rule: VendorText::new(&rule).as_str().to_owned().into(),
        };
        Err(self.session.error(Operation::PlaceOrder, ErrorKind::Input(input)))
    }
}

/// What became of telling the CA that a response is in place.
enum Answered {
    /// The CA will check, or is checking.
    Waiting,
    /// The challenge is valid or invalid already.
    Over,
    Refused(Error),
}

/// The part of a challenge that tells how far it is.
#[derive(Deserialize)]
struct ChallengeState {
    status: Status<ChallengeStatus>,
}

impl From<ChallengeState> for Answered {
    fn from(challenge: ChallengeState) -> Self {
        match challenge.status {
            Status::Known(ChallengeStatus::Valid | ChallengeStatus::Invalid) => Self::Over,
            Status::Known(ChallengeStatus::Pending | ChallengeStatus::Processing) | Status::Unknown(_) => {
                Self::Waiting
            }
        }
    }
}

/// Runs as many calls at a time as there may be nonces, and gives their results in order.
async fn in_waves<T>(calls: impl Iterator<Item = impl Future<Output = Result<T>> + Send>) -> Result<Vec<T>> {
    // Collected first: calls that the stream itself made would have to do with any lifetime.
    let calls: Vec<_> = calls.collect();
    stream::iter(calls).buffered(Nonces::MOST).try_collect().await
}

/// The certificate that an order follows, if this account ordered it and the CA takes the hint.
fn replaced(directory: &Directory, account: &Account, purpose: &Purpose) -> Option<String> {
    directory.renewal_info.as_ref()?;
    let predecessor = purpose.predecessor()?;
    let handle = Handle::read(Operation::PlaceOrder, predecessor.handle.as_ref()?).ok()?;
    if handle.account != account.url() {
        return None;
    }
    ari_certificate_id(predecessor.chain.leaf()).ok()
}

/// Whether the CA answered, and not with a call for fewer requests.
fn is_a_refusal(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(refusal) => *refusal.error().kind() != ErrorKind::RateLimited,
        Failure::Other(error) => {
            let exchange = std::error::Error::source(error)
                .and_then(|source| source.downcast_ref::<certlife_core::http::FailedExchange>());
            exchange.is_some_and(|exchange| exchange.status().is_some_and(|status| status.as_u16() == 500))
        }
    }
}

/// Each identifier once; a wildcard is a DNS identifier here (RFC 8555 §7.1.3).
fn wire_identifiers(identifiers: &[Identifier]) -> Vec<instant_acme::Identifier> {
    let mut seen = BTreeSet::new();
    let once = identifiers.iter().filter(|identifier| seen.insert(*identifier));
    once.map(|identifier| match identifier {
        Identifier::Ip(address) => instant_acme::Identifier::Ip(*address),
        name => instant_acme::Identifier::Dns(name.to_string()),
    })
    .collect()
}

fn bare_snapshot(handle: &Handle, told: &Told, stage: Stage) -> OrderSnapshot {
    OrderSnapshot {
        ask_again: told.ask_again,
        expires: expiry(&told.order),
        number: handle.number().map(VendorText::from),
        ..OrderSnapshot::new(handle.written(), stage)
    }
}

fn expiry(order: &Order) -> Option<Timestamp> {
    Timestamp::parse(order.expires.as_deref()?).ok()
}
