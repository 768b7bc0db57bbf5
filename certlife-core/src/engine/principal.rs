//! Commands about certificates and orders, in somebody's name. Each is one commit; asking twice for the same thing is
//! harmless.

use std::collections::BTreeSet;

use super::{
    Context, Engine,
    certificate::{self, Drafted},
    routes, targets, wish,
};
use crate::{
    ca::{Decision, PurposeKind},
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    id::{AccountName, CertificateId, OrderId},
    input::InputError,
    journal::{Changes, Stored, lost_race},
    model::{
        AccountPolicy, Actor, Certificate, CertificateSpec, CertificateState, Deployment, EventKind,
        Occurrence, Order, OrderState, RenewalSchedule, RenewalTrigger, Request, Route, Version,
    },
    name::Identifier,
    notify::Notice,
    text::VendorText,
    time::Timestamp,
};

/// An [`Engine`] on behalf of somebody whose name the audit trail shows. Made by [`Engine::by`].
#[derive(Debug, Clone)]
pub struct Principal {
    engine: Engine,
    pub(super) actor: Actor,
}

impl Engine {
    /// Gives commands in the name of a person or program: the audit trail shows it.
    pub fn by(&self, name: &str) -> Principal {
        Principal { engine: self.clone(), actor: Actor::Named(VendorText::new(name)) }
    }

    /// The host itself, which is who asks unless a name is given.
    pub(super) fn host(&self) -> Principal {
        Principal { engine: self.clone(), actor: Actor::Host }
    }
}

impl Principal {
    /// Wants a certificate: the first order starts at once. Asked again with the same wish it changes nothing.
    ///
    /// Everything that can be known locally is checked before anything is stored or sent.
    ///
    /// # Errors
    ///
    /// An [`InputError`] that names the value and the rule; [`InputError::AlreadyExists`] if there is a
    /// certificate of that name with another wish.
    pub async fn ensure(&self, spec: CertificateSpec) -> Result<Certificate> {
        let context = self.context();
        loop {
            if let Some(stored) = context.journal.load::<Certificate>(&spec.id).await? {
                if stored.value.spec == spec {
                    return Ok(stored.value);
                }
                let input = InputError::AlreadyExists { id: spec.id.to_string() };
                return Err(Error::input(Operation::Ensure, input));
            }
            let now = context.now();
            let mut certificate = Certificate::wanted(spec.clone(), now);
            let first = Drafted {
                purpose: PurposeKind::New,
                trigger: None,
                decided_by: None,
                reason: None,
                actor: self.actor.clone(),
            };
            let (order, drafted) = certificate::draft(context, &mut certificate, first).await?;
            let identifiers = spec.identifiers.clone();
            let wanted = self.event(EventKind::CertificateWanted { identifiers }).on(&spec.id);
            let mut changes = Changes::new();
            changes.event(&wanted);
            targets::settle(context, &mut changes, &mut certificate).await?;
            let due = certificate::settle(&mut certificate, &context.policy(&spec.ca).await?, now);
            changes.insert(&certificate, due).insert(&order, Some(now)).event(&drafted);
            match context.journal.commit(changes).await {
                Ok(()) => return Ok(certificate),
                // Somebody else asked for it in the same moment.
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Changes what is wanted. If the current version does not meet the new wish, a renewal is due at once;
    /// targets that are added get the current version, targets that are left out lose theirs. An order under
    /// way goes on; what it brings is renewed again if it does not fit.
    ///
    /// # Errors
    ///
    /// As [`ensure`](Self::ensure), and [`InputError::Unknown`] if there is no such certificate.
    pub async fn update(&self, spec: CertificateSpec) -> Result<Certificate> {
        let context = self.context();
        wish::check(context, &spec, PurposeKind::New).await?;
        loop {
            let mut stored = self.load(&spec.id).await?;
            if stored.value.spec == spec {
                return Ok(stored.value);
            }
            let now = context.now();
            let old = std::mem::replace(&mut stored.value.spec, spec.clone());
            let current = self.current(&stored.value).await?;
            let policy = context.policy(&spec.ca).await?;
            if needs_new_version(&old, &spec, &policy) && current.is_some() {
                stored.value.schedule = Some(RenewalSchedule::new(now, RenewalTrigger::SpecChanged));
            }
            stored.value.not_before = None;
            let mut changes = Changes::new();
            let identifiers = spec.identifiers.clone();
            changes.event(&self.event(EventKind::CertificateChanged { identifiers }).on(&spec.id));
            let told = targets::settle(context, &mut changes, &mut stored.value).await?;
            let due = certificate::settle(&mut stored.value, &policy, now);
            changes.replace(&stored, due);
            match context.journal.commit(changes).await {
                Ok(()) => {
                    if let Some(matter) = told {
                        context.tell(&Notice::new(spec.id, now, matter)).await;
                    }
                    return Ok(stored.value);
                }
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Orders the next term now, whatever the schedule says. While an order is under way its id is returned.
    ///
    /// # Errors
    ///
    /// As [`ensure`](Self::ensure), and [`InputError::Unknown`] if there is no such certificate.
    pub async fn renew(&self, certificate: &CertificateId) -> Result<OrderId> {
        self.order(certificate, PurposeKind::Renewal, None).await
    }

    /// Has the CA issue the current version again, with a new key (or as the key policy says), in the same order.
    ///
    /// # Errors
    ///
    /// As [`renew`](Self::renew); [`ErrorKind::Unsupported`] if the CA does not reissue, and
    /// [`ErrorKind::NotNow`] if there is no version yet or it was not ordered from here.
    pub async fn reissue(&self, certificate: &CertificateId, reason: Option<&str>) -> Result<OrderId> {
        self.order(certificate, PurposeKind::Reissue, reason.map(VendorText::new)).await
    }

    async fn order(
        &self,
        id: &CertificateId,
        purpose: PurposeKind,
        reason: Option<VendorText>,
    ) -> Result<OrderId> {
        let context = self.context();
        loop {
            let mut stored = self.load(id).await?;
            if let Some(order) = stored.value.order {
                return Ok(order);
            }
            let current = self.current(&stored.value).await?;
            let purpose = match (&current, purpose) {
                (None, PurposeKind::Reissue) => return Err(not_now("there is no version to reissue")),
                (None, _) => PurposeKind::New,
                (Some(current), PurposeKind::Reissue)
                    if current.order.is_none() || current.handle.is_none() =>
                {
                    return Err(not_now("the current version was not ordered from here; renew it instead"));
                }
                _ => purpose,
            };
            let ca = context
                .accounts
                .ca(&stored.value.spec.ca)
                .map_err(|i| Error::input(Operation::Command, i))?;
            if !ca.provider.capabilities().purposes.contains(&purpose) {
                let what = format!("{purpose:?} at this CA").to_lowercase();
                let kind = ErrorKind::Unsupported(what.into());
                return Err(Error::new(ca.provider.provider(), Operation::PlaceOrder, kind));
            }
            let now = context.now();
            let trigger = (purpose != PurposeKind::New).then_some(RenewalTrigger::Requested);
            let (reason, actor) = (reason.clone(), self.actor.clone());
            let asked = Drafted { purpose, trigger, decided_by: None, reason, actor };
            let (order, drafted) = certificate::draft(context, &mut stored.value, asked).await?;
            if stored.value.state == CertificateState::Revoked {
                stored.value.state = CertificateState::Active;
            }
            let policy = context.policy(&stored.value.spec.ca).await?;
            let due = certificate::settle(&mut stored.value, &policy, now);
            let mut changes = Changes::new();
            changes.replace(&stored, due).insert(&order, Some(now)).event(&drafted);
            match context.journal.commit(changes).await {
                Ok(()) => return Ok(order.id),
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Decides on an order: approve, decline, suspend, resume, cancel, deactivate, reactivate. The engine carries
    /// it out and keeps trying; what became of it is in the order.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`], and [`ErrorKind::NotNow`] if the order is over: what was issued is decided on by
    /// [`decide_version`](Self::decide_version).
    pub async fn decide(&self, order: OrderId, decision: Decision) -> Result<()> {
        self.request(order, Request::Decide(decision)).await
    }

    /// Gives an order up. One that the CA has not heard of ends at once; one of which that is not known is looked for
    /// first, and cancelled there if it exists. One that the CA cannot tell is left in doubt.
    ///
    /// # Errors
    ///
    /// As [`decide`](Self::decide).
    pub async fn cancel(&self, order: OrderId) -> Result<()> {
        self.decide(order, Decision::Cancel).await
    }

    /// Says that what had to be published by hand is in place: the engine looks, and tells the CA.
    ///
    /// # Errors
    ///
    /// As [`decide`](Self::decide).
    pub async fn verify(&self, order: OrderId) -> Result<()> {
        self.request(order, Request::Verify).await
    }

    /// Has an identifier of an open order proven by another route. With the route that it has already, the CA looks, or
    /// sends its message, once more. The engine carries it out and keeps trying.
    ///
    /// # Errors
    ///
    /// As [`decide`](Self::decide); [`ErrorKind::Unsupported`] if the CA takes no other proof, and an [`InputError`]
    /// if the route does not suit the identifier, the CA or the account.
    pub async fn revalidate(&self, order: OrderId, identifier: &Identifier, route: Route) -> Result<()> {
        let context = self.context();
        let fail = |input| Error::input(Operation::Revalidate, input);
        let stored = context.journal.load::<Order>(order).await?.ok_or_else(|| unknown("order", &order))?;
        let ca = context.accounts.ca(&stored.value.ca).map_err(fail)?;
        let capabilities = ca.provider.capabilities();
        if !capabilities.revalidation {
            let kind = ErrorKind::Unsupported("another proof in the same order".into());
            return Err(Error::new(ca.provider.provider(), Operation::Revalidate, kind));
        }
        let intent = stored.value.intent.as_ref();
        if !intent.is_some_and(|intent| intent.request.identifiers.contains(identifier)) {
            return Err(unknown("identifier", identifier));
        }
        routes::proof(context, &route, identifier, &capabilities.challenges).map_err(fail)?;
        self.request(order, Request::Revalidate { identifier: identifier.clone(), route }).await
    }

    /// Says that an order in doubt does not exist at the CA, so that it is placed anew. This may cost money.
    ///
    /// # Errors
    ///
    /// As [`decide`](Self::decide); [`ErrorKind::NotNow`] unless the order is in doubt.
    pub async fn place_again(&self, order: OrderId) -> Result<()> {
        self.request(order, Request::PlaceAgain).await
    }

    /// Gives an order in doubt up.
    ///
    /// # Errors
    ///
    /// As [`place_again`](Self::place_again).
    pub async fn abandon(&self, order: OrderId) -> Result<()> {
        self.request(order, Request::Abandon).await
    }

    async fn request(&self, id: OrderId, request: Request) -> Result<()> {
        let context = self.context();
        loop {
            let mut stored = context.journal.load::<Order>(id).await?.ok_or_else(|| unknown("order", &id))?;
            let state = stored.value.state;
            if state.is_over() {
                return Err(not_now("the order is over"));
            }
            let about_doubt = matches!(request, Request::PlaceAgain | Request::Abandon);
            if about_doubt && state != OrderState::InDoubt {
                return Err(not_now("the order is not in doubt"));
            }
            if !stored.value.requests.insert(request.clone()) {
                return Ok(());
            }
            let asked = self.event(EventKind::OrderRequested { request: request.clone() });
            let mut changes = Changes::new();
            changes
                .replace(&stored, Some(context.now()))
                .event(&asked.on(&stored.value.certificate).in_order(id));
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }

    /// Pauses a certificate, so that nothing is ordered by itself, or lets it go on.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`] if there is no such certificate.
    pub async fn set_paused(&self, id: &CertificateId, paused: bool, remark: Option<&str>) -> Result<()> {
        let context = self.context();
        loop {
            let mut stored = self.load(id).await?;
            let state = if paused { CertificateState::Paused } else { CertificateState::Active };
            if stored.value.state == state {
                return Ok(());
            }
            stored.value.state = state;
            stored.value.remark = remark.map(VendorText::new);
            let policy = context.policy(&stored.value.spec.ca).await?;
            let due = certificate::settle(&mut stored.value, &policy, context.now());
            let mut changes = Changes::new();
            changes.replace(&stored, due).event(&self.event(EventKind::CertificatePaused { paused }).on(id));
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }

    /// Checks a target now instead of at its next look.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`] if the certificate is not deployed there.
    pub async fn check_target(&self, id: &CertificateId, target: &AccountName) -> Result<()> {
        let context = self.context();
        loop {
            let key = Deployment::key(id, target).id;
            let mut stored =
                context.journal.load::<Deployment>(&key).await?.ok_or_else(|| unknown("deployment", &key))?;
            stored.value.evidence = stored
                .value
                .evidence
                .take()
                .map(|evidence| crate::model::Evidence { at: Timestamp::MIN, ..evidence });
            let mut changes = Changes::new();
            changes.replace(&stored, Some(context.now()));
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }

    /// Lets a rollout that is held go on past the targets at which it failed; those are tried again as always. One that
    /// waits for a target whose account is disabled, or in another process, goes on past that as well.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`] if there is no such certificate; [`ErrorKind::NotNow`] if no rollout is held.
    pub async fn continue_rollout(&self, id: &CertificateId) -> Result<()> {
        let context = self.context();
        loop {
            let mut stored = self.load(id).await?;
            let version = stored.value.rollout.as_ref().map(|rollout| rollout.version);
            let past = targets::go_past(context, &mut stored.value).await?;
            let Some((version, past)) = version.zip(past) else {
                return Err(not_now("no rollout of this certificate is held"));
            };
            let mut changes = Changes::new();
            changes.event(&self.event(EventKind::RolloutContinued { version, past }).on(id));
            let told = targets::settle(context, &mut changes, &mut stored.value).await?;
            let now = context.now();
            let policy = context.policy(&stored.value.spec.ca).await?;
            let due = certificate::settle(&mut stored.value, &policy, now);
            changes.replace(&stored, due);
            match context.journal.commit(changes).await {
                Ok(()) => {
                    if let Some(matter) = told {
                        context.tell(&Notice::new(id.clone(), now, matter)).await;
                    }
                    return Ok(());
                }
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Installs the version that a target should have once more, whatever it has: after drift that is only told, or now
    /// instead of when the back-off allows.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`] if the certificate is not deployed there; [`ErrorKind::NotNow`] if it is being taken away.
    pub async fn redeploy(&self, id: &CertificateId, target: &AccountName) -> Result<()> {
        let context = self.context();
        loop {
            let key = Deployment::key(id, target).id;
            let mut stored =
                context.journal.load::<Deployment>(&key).await?.ok_or_else(|| unknown("deployment", &key))?;
            if stored.value.desired.is_none() {
                return Err(not_now("the certificate is to be gone from this target"));
            }
            if std::mem::replace(&mut stored.value.redeploy, true) {
                return Ok(());
            }
            let asked = self.event(EventKind::RedeployAsked { target: target.clone() });
            let mut changes = Changes::new();
            changes.replace(&stored, Some(context.now())).event(&asked.on(id));
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }

    // ---- helpers ----

    pub(super) fn context(&self) -> &Context {
        &self.engine.context
    }

    pub(super) fn event(&self, kind: EventKind) -> Occurrence {
        Occurrence::new(self.context().now(), self.actor.clone(), kind)
    }

    pub(super) async fn load(&self, id: &CertificateId) -> Result<Stored<Certificate>> {
        self.context().journal.load(id).await?.ok_or_else(|| unknown("certificate", id))
    }

    async fn current(&self, certificate: &Certificate) -> Result<Option<Version>> {
        match certificate.current {
            Some(id) => Ok(self.context().journal.load::<Version>(id).await?.map(|version| version.value)),
            None => Ok(None),
        }
    }
}

/// Whether a change of the wish calls for another version. What it leaves open goes by `policy`.
fn needs_new_version(old: &CertificateSpec, new: &CertificateSpec, policy: &AccountPolicy) -> bool {
    let names = |spec: &CertificateSpec| spec.identifiers.iter().cloned().collect::<BTreeSet<_>>();
    names(old) != names(new)
        || old.ca != new.ca
        || policy.key_algorithm(old) != policy.key_algorithm(new)
        || old.key.source != new.key.source
        || old.product != new.product
        || old.organization != new.organization
        || old.must_staple != new.must_staple
        || old.validity != new.validity
        || old.options != new.options
}

pub(super) fn unknown(kind: &'static str, id: &dyn std::fmt::Display) -> Error {
    Error::input(Operation::Command, InputError::Unknown { kind, id: id.to_string() })
}

pub(super) fn not_now(why: &'static str) -> Error {
    Error::new(ProviderName::ENGINE, Operation::Command, ErrorKind::NotNow(why.into()))
}
