//! The steps of an order, from the draft to the version, each repeatable after a crash.
//!
//! What is published lives in [`publish`](super::publish), what becomes of a certificate in
//! [`issue`](super::issue), what people ask in [`requests`](super::requests), failures in [`ending`](super::ending), and
//! how it gets to the CA in [`placing`](super::placing);
//! this module decides which comes next and commits it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Context, accounts::CaAccount, routes};
use crate::{
    ca::{OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose, PurposeKind, Stage},
    csr::{Csr, CsrTemplate},
    error::{Error, ErrorKind, Failure, Operation, ProviderName, Result},
    id::{KeyId, OrderId},
    journal::{Changes, Stored, StoredKey, lost_race},
    key::{KeyAlgorithm, PrivateKey},
    model::{
        Actor, Certificate, CertificateSpec, EventKind, KeyChange, KeySource, Occurrence, Order, OrderState,
        Publication, PublicationState, Version,
    },
    name::Identifier,
    notify::{Matter, Notice},
    store::{AfterCommit, Lease, Record},
    time::Timestamp,
};

/// Takes an order as far as it goes now.
pub(super) async fn step(context: &Context, record: &Record, lease: &Lease) -> Result<()> {
    let order = Stored::read(record)?;
    let run = Run { context, lease, order, events: Vec::new(), sure: false, lingered: Duration::ZERO };
    run.finish().await
}

/// One worker's run over one order, under its lease.
pub(super) struct Run<'a> {
    pub(super) context: &'a Context,
    pub(super) lease: &'a Lease,
    pub(super) order: Stored<Order>,
    /// Events of the next commit.
    pub(super) events: Vec<Occurrence>,
    /// Whether this run itself stored the present intents, so that nothing can have happened for them yet.
    /// After a crash the record looks the same, but the effect may be there.
    pub(super) sure: bool,
    lingered: Duration,
}

/// What comes after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next step, at once.
    Now,
    /// The next step, not before this moment.
    At(Timestamp),
    /// Nothing until somebody asks for something.
    Asked,
}

impl Run<'_> {
    /// Waits in one run add up to at most this; then they are stored, so that requests are noticed.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn finish(mut self) -> Result<()> {
        loop {
            let next = match self.next_request() {
                Some(request) => self.carry_out(request).await?,
                None => self.advance().await?,
            };
            let due = match next {
                Next::Now => continue,
                Next::At(moment) => Some(moment),
                Next::Asked => None,
            };
            if let Some(moment) = due
                && self.linger(moment).await
            {
                continue;
            }
            if self.save(due, AfterCommit::Release).await? {
                return Ok(());
            }
        }
    }

    /// Waits under the lease if the wait is short; otherwise it has to be stored.
    async fn linger(&mut self, until: Timestamp) -> bool {
        let wait = until.since(self.context.now());
        let budget = self.context.settings.linger.min(Self::PATIENCE.saturating_sub(self.lingered));
        if wait > budget || self.context.settings.linger.is_zero() {
            return false;
        }
        self.context.clock.sleep_until(until).await;
        self.lingered += wait;
        true
    }

    async fn advance(&mut self) -> Result<Next> {
        match self.order.value.state {
            OrderState::Drafted => self.prepare().await,
            OrderState::Placing => self.place().await,
            OrderState::InDoubt => Ok(Next::Asked),
            OrderState::Validating => self.validate().await,
            OrderState::AwaitingApproval | OrderState::Suspended | OrderState::Processing => {
                self.poll().await
            }
            _ => self.withdraw().await,
        }
    }

    // ---- draft → intent ----

    /// Makes key and signing request, unless an earlier attempt did, and stores them with the intent, before the CA
    /// hears of anything.
    async fn prepare(&mut self) -> Result<Next> {
        let mut new_key = None;
        if self.order.value.intent.is_some() {
            if let Err(error) = self.context.check_enabled(&self.order.value.ca).await {
                return self.failed(error).await;
            }
        } else {
            match self.choose_target_key().await {
                Ok(true) => _ = self.save(Some(self.context.now()), AfterCommit::Keep).await?,
                Ok(false) => {}
                Err(error) => return self.failed(error).await,
            }
            let made = match self.intent().await {
                Ok(made) => made,
                Err(error) => return self.failed(error).await,
            };
            let reference = made.0.reference.clone();
            (self.order.value.intent, self.order.value.key, new_key) = (Some(made.0), made.1, made.2);
            self.order.value.attempts = 0;
            self.event(EventKind::OrderPlacing { reference });
        }
        self.order.value.state = OrderState::Placing;
        self.order.value.asked_at = Some(self.context.now());
        self.save_with(Some(self.context.now()), AfterCommit::Keep, |changes| {
            if let Some(key) = &new_key {
                changes.insert(key, None);
            }
        })
        .await?;
        self.sure = true;
        Ok(Next::Now)
    }

    async fn intent(&self) -> Result<(OrderIntent, Option<KeyId>, Option<StoredKey>)> {
        let order = &self.order.value;
        let certificate = self.wished().await?;
        let spec = &certificate.value.spec;
        let predecessor = self.predecessor().await?;
        let ca = self.ca()?;
        self.context.check_enabled(&order.ca).await?;
        let mappings = self.context.mappings().await?;
        let capabilities = ca.provider.capabilities();
        let policy = self.context.policy(&order.ca).await?;
        let default = policy.route.as_ref().or(ca.options.default_route.as_ref());
        let proofs = routes::check(self.context, spec, &mappings, default, &capabilities)
            .map_err(|input| Error::input(Operation::PlanValidation, input))?;
        let (csr, key, new_key) = self.csr(spec, policy.key_algorithm(spec), predecessor.as_ref()).await?;
        let purpose = match (order.purpose, &predecessor) {
            (PurposeKind::Reissue, Some(version)) => {
                Purpose::Reissue { of: Box::new(version.issued_ref()), reason: order.reason.clone() }
            }
            (PurposeKind::Renewal, Some(version)) => Purpose::Renewal { of: Box::new(version.issued_ref()) },
            _ => Purpose::New,
        };
        let request = OrderRequest {
            purpose,
            identifiers: spec.identifiers.clone(),
            key_algorithm: csr.key_algorithm(),
            validity: spec.validity,
            product: spec.product.clone(),
            organization: spec.organization.clone(),
            contacts: policy.contacts(spec),
            challenges: BTreeMap::new(),
            options: spec.options.clone(),
        };
        let request = super::catalog::admit(self.context, &ca, request, &proofs)
            .await?
            .map_err(|input| Error::input(Operation::PlaceOrder, input))?;
        Ok((OrderIntent { reference: reference(order.id), request, csr }, key, new_key))
    }

    pub(super) async fn wished(&self) -> Result<Stored<Certificate>> {
        let gone = || {
            let kind = ErrorKind::NotFound("the certificate".into());
            Error::new(ProviderName::ENGINE, Operation::PlaceOrder, kind)
        };
        self.certificate().await?.ok_or_else(gone)
    }

    pub(super) async fn predecessor(&self) -> Result<Option<Version>> {
        let Some(id) = self.order.value.predecessor else { return Ok(None) };
        Ok(self.context.journal.load::<Version>(id).await?.map(|version| version.value))
    }

    /// The signing request, the id of its key, and the key if it is new.
    async fn csr(
        &self,
        spec: &CertificateSpec,
        algorithm: KeyAlgorithm,
        predecessor: Option<&Version>,
    ) -> Result<(Csr, Option<KeyId>, Option<StoredKey>)> {
        let kept = match (&spec.key.source, spec.key.on_renewal) {
            (KeySource::Elsewhere(csr), _) => {
                let names = spec.identifiers.iter().cloned().collect();
                csr.check_against(&names, None).map_err(|input| Error::input(Operation::MakeKey, input))?;
                return Ok(((**csr).clone(), None, None));
            }
            (KeySource::OnTarget(_), _) => return Ok((self.target_csr(spec).await?, None, None)),
            (KeySource::Brought(id), _) => Some(*id),
            (KeySource::Generated, KeyChange::Keep) => predecessor.and_then(|version| version.key),
            (KeySource::Generated, KeyChange::Rotate) => None,
        };
        let (key, id, new) = match kept {
            Some(id) => (self.context.open_key(id).await?, id, None),
            None => {
                let key = PrivateKey::generate_off_thread(algorithm).await?;
                let stored = self.context.seal_key(&key).await?;
                (key, stored.id, Some(stored))
            }
        };
        Ok((template(spec).sign(&key)?, Some(id), new))
    }

    // ---- what the CA says ----

    /// Takes over what the CA says, plans what it newly asks for, and stores both before anything is done for it.
    pub(super) async fn absorb(&mut self, snapshot: OrderSnapshot) -> Result<Next> {
        let order = &mut self.order.value;
        let known = (order.stage, order.message.clone());
        order.handle = Some(snapshot.handle);
        order.stage = Some(snapshot.stage);
        order.message = snapshot.message;
        order.number = snapshot.number.or(order.number.take());
        order.expires = snapshot.expires.or(order.expires);
        order.term_ends = snapshot.term_ends.or(order.term_ends);
        let news = known != (order.stage, order.message.clone());
        if news {
            order.polls = 0;
            let kind = EventKind::OrderStage { stage: snapshot.stage, message: order.message.clone() };
            self.event(kind);
        } else {
            order.polls += 1;
        }
        let before = self.order.value.state;
        self.order.value.state = match snapshot.stage {
            Stage::Validating => OrderState::Validating,
            Stage::AwaitingApproval => OrderState::AwaitingApproval,
            Stage::Processing => OrderState::Processing,
            Stage::Suspended => OrderState::Suspended,
            Stage::Issued => return self.issued(snapshot.certificate).await,
            Stage::Rejected => return self.lost(OrderState::Rejected).await,
            Stage::Cancelled | Stage::Revoked => return self.lost(OrderState::Cancelled).await,
            Stage::Expired => return self.lost(OrderState::Expired).await,
        };
        let planned = match snapshot.authorizations {
            Some(authorizations) => match self.plan(authorizations).await {
                Ok(planned) => planned,
                Err(error) => return self.failed(error).await,
            },
            None => false,
        };
        if planned || before != self.order.value.state {
            self.save(Some(self.context.now()), AfterCommit::Keep).await?;
            self.sure = planned;
        }
        let pending = |publication: &Publication| publication.state <= PublicationState::Visible;
        if self.order.value.publications.iter().any(pending) && snapshot.stage == Stage::Validating && planned
        {
            return Ok(Next::Now);
        }
        Ok(Next::At(self.ask_at(snapshot.ask_again)))
    }

    /// Plans publications for authorizations that have none; returns whether there are new ones.
    async fn plan(&mut self, authorizations: Vec<crate::challenge::Authorization>) -> Result<bool> {
        let planned = if self.order.value.state == OrderState::Validating {
            let Some(certificate) = self.certificate().await? else { return Ok(false) };
            let ca = self.ca()?;
            let policy = self.context.policy(&self.order.value.ca).await?;
            let default = policy.route.as_ref().or(ca.options.default_route.as_ref());
            let spec = &certificate.value.spec;
            routes::plan(self.context, &self.order.value, spec, default, &authorizations).await?
        } else {
            Vec::new()
        };
        self.order.value.authorizations = authorizations;
        for publication in &planned {
            let identifiers: Vec<_> = publication.identifiers.iter().cloned().collect();
            let (route, because) = (publication.route.clone(), publication.because.clone());
            self.event(EventKind::ValidationPlanned { identifiers: identifiers.clone(), route, because });
            if publication.state == PublicationState::ByHand {
                self.event(EventKind::PublicationByHand { identifiers });
            }
        }
        let any = !planned.is_empty();
        if planned.iter().any(|publication| publication.state == PublicationState::ByHand) {
            self.tell(Matter::OrderNeedsPerson { failure: None }).await;
        }
        self.order.value.publications.extend(planned);
        Ok(any)
    }

    /// When to ask the CA again: early at first, then as it says, then ever more slowly, at least daily.
    fn ask_at(&self, ask_again: Option<Duration>) -> Timestamp {
        const SOON: Duration = Duration::from_secs(10);
        let polls = self.order.value.polls;
        let own = match polls {
            0 => Duration::from_millis(200),
            1 => Duration::from_millis(500),
            2 => Duration::from_secs(1),
            _ => Duration::from_secs(2).mul_f64(1.5_f64.powi(i32::try_from(polls.min(30)).unwrap_or(30) - 3)),
        }
        .min(Duration::from_hours(24));
        let delay = match ask_again {
            Some(Duration::ZERO) => Duration::ZERO,
            Some(wait) if wait <= SOON && polls < 3 => own.min(wait),
            Some(wait) => wait.max(own / 8),
            None => own,
        };
        self.context.now() + delay
    }

    pub(super) async fn poll(&mut self) -> Result<Next> {
        let Some(at_ca) = self.order.value.at_ca() else {
            return self.corrupt("a placed order without handle").await;
        };
        let polled = match self.ca() {
            Ok(ca) => {
                let _place = ca.place().await;
                ca.provider.poll(&at_ca).await
            }
            Err(error) => Err(error),
        };
        match polled {
            Ok(snapshot) => {
                self.order.value.attempts = 0;
                self.order.value.failure = None;
                self.absorb(snapshot).await
            }
            Err(error) => self.failed(error).await,
        }
    }

    // ---- small helpers ----

    pub(super) fn event(&mut self, kind: EventKind) {
        let order = &self.order.value;
        let occurrence = Occurrence::new(self.context.now(), Actor::Engine, kind);
        self.events.push(occurrence.on(&order.certificate).in_order(order.id));
    }

    pub(super) async fn tell(&self, matter: Matter) {
        let notice = Notice::new(self.order.value.certificate.clone(), self.context.now(), matter);
        self.context.tell(&notice).await;
    }

    pub(super) fn ca(&self) -> Result<Arc<CaAccount>> {
        let name = &self.order.value.ca;
        self.context.accounts.ca(name).map_err(|input| super::accounts::absent(Operation::PollOrder, input))
    }

    pub(super) fn provider(&self) -> ProviderName {
        self.ca().map_or(ProviderName::ENGINE, |ca| ca.provider.provider())
    }

    pub(super) fn at_ca(&self) -> Option<OrderRef> {
        self.order.value.at_ca()
    }

    pub(super) async fn certificate(&self) -> Result<Option<Stored<Certificate>>> {
        self.context.journal.load(&self.order.value.certificate).await
    }

    /// Stores the order. Returns false if the host asked for something meanwhile, which then comes first.
    pub(super) async fn save(&mut self, due: Option<Timestamp>, after: AfterCommit) -> Result<bool> {
        self.save_with(due, after, |_| {}).await
    }

    async fn save_with(
        &mut self,
        due: Option<Timestamp>,
        after: AfterCommit,
        more: impl Fn(&mut Changes) + Send + Sync,
    ) -> Result<bool> {
        loop {
            let mut changes = Changes::under(self.lease, after);
            more(&mut changes);
            let asked = self.order.value.requests.len();
            if self.commit(changes, due).await? {
                return Ok(true);
            }
            if after == AfterCommit::Release && self.order.value.requests.len() > asked {
                return Ok(false);
            }
        }
    }

    /// Commits the order with other changes. Returns false, with the host's requests taken over, if it lost a
    /// race and the changes have to be made again.
    pub(super) async fn commit(&mut self, mut changes: Changes, due: Option<Timestamp>) -> Result<bool> {
        changes.replace(&self.order, due).events(&self.events);
        match self.context.journal.commit(changes).await {
            Ok(()) => {
                self.order.revision += 1;
                self.events.clear();
                Ok(true)
            }
            Err(error) if lost_race(&error) => {
                let stored = self.context.journal.load::<Order>(self.order.value.id).await?;
                let gone = || Error::new(ProviderName::ENGINE, Operation::WriteStore, ErrorKind::LeaseLost);
                let stored = stored.ok_or_else(gone)?;
                self.order.value.adopt_requests(&stored.value);
                self.order.revision = stored.revision;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn failure(&self, error: &Error) -> Failure {
        self.context.failure(error, &self.order.value.ca)
    }
}

pub(super) fn is_our_store(error: &Error) -> bool {
    matches!(error.operation(), Operation::ReadStore | Operation::WriteStore)
}

/// Our own reference of an order: 45 characters, so that there is room for a number behind it.
pub(super) fn reference(id: OrderId) -> String {
    format!("certlife-{id}")
}

/// What a signing request for this wish asks for.
pub(super) fn template(spec: &CertificateSpec) -> CsrTemplate {
    let mut template = CsrTemplate::new(spec.identifiers.iter().cloned());
    template.common_name = common_name(&spec.identifiers);
    template.must_staple = spec.must_staple;
    template
}

/// The first identifier that fits into a common name (64 characters, RFC 5280 appendix A.1).
fn common_name(identifiers: &[Identifier]) -> Option<Identifier> {
    identifiers.iter().find(|identifier| identifier.to_string().len() <= 64).cloned()
}
