//! Commands about certificates and orders, in somebody's name. Each is one commit; asking twice for the same thing is
//! harmless.

use std::collections::BTreeSet;

use super::{
    Context, Engine,
    certificate::{self, Drafted},
    routes, wish,
};
use crate::{
    ca::{Decision, PurposeKind},
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    id::{AccountName, CertificateId, KeyId, OrderId, VersionId},
    input::InputError,
    journal::{Changes, Stored, StoredKey, lost_race},
    model::{
        Actor, Certificate, CertificateSpec, CertificateState, Deployment, EventKind, Occurrence, Order,
        OrderState, PendingRevocation, RenewalSchedule, RenewalTrigger, Request, Route, Version,
    },
    name::Identifier,
    store::{Field, Kind, Query},
    text::VendorText,
    time::Timestamp,
    x509::RevocationReason,
};

/// An [`Engine`] on behalf of somebody whose name the audit trail shows. Made by [`Engine::by`].
#[derive(Debug, Clone)]
pub struct Principal {
    engine: Engine,
    actor: Actor,
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
            let first =
                Drafted { purpose: PurposeKind::New, trigger: None, reason: None, actor: self.actor.clone() };
            let (order, drafted) = certificate::draft(context, &mut certificate, first).await?;
            let identifiers = spec.identifiers.clone();
            let wanted = self.event(EventKind::CertificateWanted { identifiers }).on(&spec.id);
            let due = certificate::settle(&mut certificate, now);
            let mut changes = Changes::new();
            changes.insert(&certificate, due).insert(&order, Some(now)).event(&wanted).event(&drafted);
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
            if needs_new_version(&old, &spec) && current.is_some() {
                stored.value.schedule = Some(RenewalSchedule::new(now, RenewalTrigger::SpecChanged));
            }
            stored.value.not_before = None;
            let due = certificate::settle(&mut stored.value, now);
            let mut changes = Changes::new();
            let identifiers = spec.identifiers.clone();
            changes.event(&self.event(EventKind::CertificateChanged { identifiers }).on(&spec.id));
            self.change_targets(&mut changes, &stored.value, &old.deploy, now).await?;
            changes.replace(&stored, due);
            match context.journal.commit(changes).await {
                Ok(()) => return Ok(stored.value),
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn change_targets(
        &self,
        changes: &mut Changes,
        certificate: &Certificate,
        before: &BTreeSet<AccountName>,
        now: Timestamp,
    ) -> Result<()> {
        let context = self.context();
        for target in before.union(&certificate.spec.deploy) {
            let wanted = certificate.current.filter(|_| certificate.spec.deploy.contains(target));
            let id = Deployment::key(&certificate.spec.id, target).id;
            match (context.journal.load::<Deployment>(&id).await?, wanted) {
                (Some(mut deployment), Some(version)) => {
                    deployment.value.want(version);
                    changes.replace(&deployment, Some(now));
                }
                (Some(mut deployment), None) if !certificate.spec.deploy.contains(target) => {
                    deployment.value.desired = None;
                    changes.replace(&deployment, Some(now));
                }
                (None, Some(version)) => {
                    let new = Deployment::new(certificate.spec.id.clone(), target.clone(), version);
                    changes.insert(&new, Some(now));
                }
                _ => {}
            }
        }
        Ok(())
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
            let asked = Drafted { purpose, trigger, reason: reason.clone(), actor: self.actor.clone() };
            let (order, drafted) = certificate::draft(context, &mut stored.value, asked).await?;
            if stored.value.state == CertificateState::Revoked {
                stored.value.state = CertificateState::Active;
            }
            let due = certificate::settle(&mut stored.value, now);
            let mut changes = Changes::new();
            changes.replace(&stored, due).insert(&order, Some(now)).event(&drafted);
            match context.journal.commit(changes).await {
                Ok(()) => return Ok(order.id),
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Revokes a version. With `replace` a new one is ordered at once; without, a certificate whose current
    /// version this is stops being renewed. A version that is revoked already is success.
    ///
    /// The engine carries it out and keeps trying for as long as the CA does not answer; what became of it is in
    /// the certificate's [`revocations`](Certificate::revocations), in [`Version::revoked`] and in the feed. Asked
    /// again, it tries again at once.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`]; [`ErrorKind::Unsupported`] if the CA does not revoke.
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
            let due = certificate::settle(&mut certificate.value, now);
            changes.replace(&certificate, due);
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }

    /// Decides on an order: approve, decline, suspend, resume, cancel, deactivate, reactivate. The engine carries
    /// it out and keeps trying; what became of it is in the order.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`], and [`ErrorKind::NotNow`] if the order is over.
    pub async fn decide(&self, order: OrderId, decision: Decision) -> Result<()> {
        self.request(order, Request::Decide(decision)).await
    }

    /// Gives an order up.
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
        routes::proof(context, &route, identifier, &capabilities).map_err(fail)?;
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
            let due = certificate::settle(&mut stored.value, context.now());
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

    /// Removes a certificate here, with its versions, keys, orders and deployments. At the CA nothing is revoked
    /// or cancelled, on the targets nothing changes, and the events stay. It can be ordered or imported again.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`]; [`ErrorKind::NotNow`] while an order is under way or something that it published
    /// is still in place: cancel it and wait for its clean-up first, so that nothing is left behind; and while
    /// a revocation is under way.
    pub async fn delete(&self, id: &CertificateId) -> Result<()> {
        let context = self.context();
        let Some(stored) = context.journal.load::<Certificate>(id).await? else {
            // An interrupted call may have left the rest.
            let left = self.delete_owned(id).await?;
            return if left { Ok(()) } else { Err(unknown("certificate", id)) };
        };
        let owned = |kind| Query::all(kind).having(Field::Owner, id.as_str());
        let orders = context.journal.all::<Order>(owned(Kind::Order)).await?;
        if orders.iter().any(|order| !order.value.is_closed()) {
            return Err(not_now("an order is under way or being cleaned up; cancel it and try again"));
        }
        if stored.value.revocations.iter().any(|pending| pending.next_attempt.is_some()) {
            return Err(not_now("a revocation is under way; try again when the CA has confirmed it"));
        }
        // Keys first would leave versions without them after a crash; so the certificate goes first, alone with
        // the event, and what it owned follows. A repeated call finds the rest by its owner.
        let mut changes = Changes::new();
        changes.delete(crate::store::Key::new(Kind::Certificate, id), stored.revision);
        changes.event(&self.event(EventKind::CertificateDeleted).on(id));
        context.journal.commit(changes).await?;
        self.delete_owned(id).await.map(drop)
    }

    /// Removes what a deleted certificate owned; returns whether there was anything.
    async fn delete_owned(&self, id: &CertificateId) -> Result<bool> {
        let context = self.context();
        let mut found = false;
        let mut keys: BTreeSet<KeyId> = BTreeSet::new();
        for kind in [Kind::Deployment, Kind::Order, Kind::Version] {
            loop {
                let query = Query::all(kind).having(Field::Owner, id.as_str()).limit(200);
                let page = context.journal.store.list(&query).await?;
                if page.items.is_empty() {
                    break;
                }
                found = true;
                let mut changes = Changes::new();
                for record in page.items {
                    match kind {
                        Kind::Order => keys.extend(Stored::<Order>::read(&record)?.value.key),
                        Kind::Version => keys.extend(Stored::<Version>::read(&record)?.value.key),
                        _ => {}
                    }
                    changes.delete(record.key, record.revision);
                }
                context.journal.commit(changes).await?;
            }
        }
        let mut changes = Changes::new();
        for id in keys {
            let Some(key) = context.journal.load::<StoredKey>(id).await? else { continue };
            // A key that the host brought may serve another certificate as well.
            let users = Query::all(Kind::Version).having(Field::KeyHash, key.value.hash.to_string()).limit(1);
            if context.journal.store.list(&users).await?.items.is_empty() {
                changes.delete(crate::store::Key::new(Kind::Key, id), key.revision);
            }
        }
        context.journal.commit(changes).await?;
        Ok(found)
    }

    // ---- helpers ----

    pub(super) fn context(&self) -> &Context {
        &self.engine.context
    }

    pub(super) fn event(&self, kind: EventKind) -> Occurrence {
        Occurrence::new(self.context().now(), self.actor.clone(), kind)
    }

    async fn load(&self, id: &CertificateId) -> Result<Stored<Certificate>> {
        self.context().journal.load(id).await?.ok_or_else(|| unknown("certificate", id))
    }

    async fn current(&self, certificate: &Certificate) -> Result<Option<Version>> {
        match certificate.current {
            Some(id) => Ok(self.context().journal.load::<Version>(id).await?.map(|version| version.value)),
            None => Ok(None),
        }
    }
}

/// Whether a change of the wish calls for another version.
fn needs_new_version(old: &CertificateSpec, new: &CertificateSpec) -> bool {
    let names = |spec: &CertificateSpec| spec.identifiers.iter().cloned().collect::<BTreeSet<_>>();
    names(old) != names(new)
        || old.ca != new.ca
        || old.key.algorithm != new.key.algorithm
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

fn not_now(why: &'static str) -> Error {
    Error::new(ProviderName::ENGINE, Operation::Command, ErrorKind::NotNow(why.into()))
}
