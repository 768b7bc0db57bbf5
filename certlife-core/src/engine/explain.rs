//! Why a certificate is as it is, who has to act, and when something happens next.

use serde::{Deserialize, Serialize};

use super::{Engine, principal::unknown};
use crate::{
    error::{Failure, Party, Result},
    id::{AccountName, CertificateId, OrderId, VersionId},
    journal::Stored,
    lookup::ServerReport,
    model::{
        AccountPolicy, Certificate, CertificateStatus, DecidedBy, Deployment, DeploymentState, Evidence,
        HeldBy, Order, OrderState, PendingDecision, PendingRevocation, Publication, PublicationState,
        RenewalSchedule, RolloutProgress, Route, RouteReason, TargetReason,
    },
    name::{Fqdn, Identifier},
    store::{Field, Kind, Query},
    text::VendorText,
    time::Timestamp,
};

/// Why a certificate is as it is. The answer to "why is it not renewed?".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The certificate.
    pub certificate: CertificateId,
    /// What it looks like, in one word.
    pub status: CertificateStatus,
    /// What the current version covers in time.
    pub validity: Option<(Timestamp, Timestamp)>,
    /// When the next renewal is due, and why then.
    pub renewal: Option<RenewalSchedule>,
    /// Whether it is renewed by itself when that is due.
    pub automatic: bool,
    /// Who says so.
    pub decided_by: DecidedBy,
    /// Orders that failed in a row.
    pub failed_orders: u32,
    /// Why the last order failed.
    pub failure: Option<Failure>,
    /// The order under way, or one that is over and has not removed all that it published.
    pub order: Option<OrderStatus>,
    /// Revocations that the CA has not confirmed.
    pub revocations: Vec<PendingRevocation>,
    /// Decisions on versions that the CA has not confirmed.
    pub decisions: Vec<PendingDecision>,
    /// Each target that has the certificate or is to have it now.
    pub deployments: Vec<DeploymentStatus>,
    /// How far the rollout of the current version is, while targets wait for others.
    pub rollout: Option<RolloutProgress>,
    /// Who has to act before it goes on; [`Party::Engine`] if nobody has to.
    pub who_acts: Party,
    /// When the engine does something next; none if it waits for somebody.
    pub next_attempt: Option<Timestamp>,
    /// The whole in sentences, most important first.
    pub sentences: Vec<String>,
}

/// How far an order is and what it waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OrderStatus {
    /// Its id.
    pub id: OrderId,
    /// How far it is.
    pub state: OrderState,
    /// The CA account.
    pub ca: AccountName,
    /// The number at the CA.
    pub number: Option<VendorText>,
    /// The CA's words.
    pub message: Option<VendorText>,
    /// Attempts of the present step that failed.
    pub attempts: u32,
    /// Why the last one failed.
    pub failure: Option<Failure>,
    /// When the engine goes on with it.
    pub next_attempt: Option<Timestamp>,
    /// How each identifier is validated, and how far that is.
    pub validations: Vec<ValidationStatus>,
}

/// How an identifier is validated, and how far that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ValidationStatus {
    /// The identifiers.
    pub identifiers: Vec<Identifier>,
    /// How.
    pub route: Route,
    /// Why that way.
    pub because: RouteReason,
    /// The owner name that is written, where CNAMEs lead elsewhere.
    pub delegated_to: Option<Fqdn>,
    /// How far it is.
    pub state: PublicationState,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// What each server said, while it is not visible everywhere.
    pub servers: Vec<ServerReport>,
}

/// What a target should have, what it has, and how that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeploymentStatus {
    /// The target.
    pub target: AccountName,
    /// Why it gets the certificate; none if it is to give it up.
    pub because: Option<TargetReason>,
    /// How far it is.
    pub state: DeploymentState,
    /// What it should have.
    pub desired: Option<VersionId>,
    /// What it last confirmed.
    pub actual: Option<VersionId>,
    /// What it last confirmed, when, and how we know.
    pub evidence: Option<Evidence>,
    /// Whether it was found with something else since.
    pub drifted: bool,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// When the engine goes on with it.
    pub next_attempt: Option<Timestamp>,
}

impl DeploymentStatus {
    /// Whether it has something else than it should and the policy leaves that to people
    /// ([`OnDrift::Tell`](super::OnDrift::Tell)).
    pub fn waits_for_person(&self) -> bool {
        self.drifted && self.state == DeploymentState::Live && self.actual == self.desired
    }
}

impl Engine {
    /// Explains a certificate.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`](crate::InputError::Unknown) if there is no such certificate.
    pub async fn explain(&self, id: &CertificateId) -> Result<Explanation> {
        let journal = &self.context.journal;
        let certificate = journal.load::<Certificate>(id).await?.ok_or_else(|| unknown("certificate", id))?;
        let order = match certificate.value.order {
            Some(order) => journal.load::<Order>(order).await?,
            // An order that is over may still have something to remove.
            None => {
                let newest = Query::all(Kind::Order).having(Field::Owner, id.as_str()).descending().limit(1);
                let newest = journal.page::<Order>(newest).await?.items.into_iter().next();
                newest.filter(|order| !order.value.is_closed())
            }
        };
        let owned = Query::all(Kind::Deployment).having(Field::Owner, id.as_str());
        let deployments = journal.all::<Deployment>(owned).await?;
        let now = self.context.now();
        let policy = self.context.policy(&certificate.value.spec.ca).await?;
        Ok(explain(&certificate, &policy, order.as_ref(), &deployments, now))
    }
}

fn explain(
    certificate: &Stored<Certificate>,
    policy: &AccountPolicy,
    order: Option<&Stored<Order>>,
    deployments: &[Stored<Deployment>],
    now: Timestamp,
) -> Explanation {
    let status = certificate.value.status(now);
    let (automatic, decided_by) = policy.automatic(&certificate.value.spec);
    let because = |target: &AccountName| certificate.value.targets.get(target).cloned();
    let deployments: Vec<_> = deployments
        .iter()
        .map(|deployment| deployment_status(deployment, because(&deployment.value.target)))
        .collect();
    let order_status = order.map(order_status);
    let next_attempt = [certificate.due, order.and_then(|order| order.due)]
        .into_iter()
        .flatten()
        .chain(deployments.iter().filter_map(|deployment| deployment.next_attempt))
        .min();
    let mut explanation = Explanation {
        certificate: certificate.value.spec.id.clone(),
        status,
        validity: certificate.value.validity,
        renewal: certificate.value.schedule.clone(),
        automatic,
        decided_by,
        failed_orders: certificate.value.failed_orders,
        failure: certificate.value.failure.clone(),
        order: order_status,
        revocations: certificate.value.revocations.clone(),
        decisions: certificate.value.decisions.clone(),
        deployments,
        rollout: certificate.value.rollout.clone(),
        who_acts: Party::Engine,
        next_attempt,
        sentences: Vec::new(),
    };
    explanation.who_acts = who_acts(&explanation);
    explanation.sentences = sentences(&explanation, &certificate.value, now);
    explanation
}

fn order_status(order: &Stored<Order>) -> OrderStatus {
    let value = &order.value;
    OrderStatus {
        id: value.id,
        state: value.state,
        ca: value.ca.clone(),
        number: value.number.clone(),
        message: value.message.clone(),
        attempts: value.attempts,
        failure: value.failure.clone(),
        next_attempt: order.due,
        validations: value.publications.iter().map(validation_status).collect(),
    }
}

fn validation_status(publication: &Publication) -> ValidationStatus {
    ValidationStatus {
        identifiers: publication.identifiers.iter().cloned().collect(),
        route: publication.route.clone(),
        because: publication.because.clone(),
        delegated_to: publication.delegated_to.clone(),
        state: publication.state,
        failure: publication.failure.clone(),
        servers: publication.servers.clone(),
    }
}

fn deployment_status(deployment: &Stored<Deployment>, because: Option<TargetReason>) -> DeploymentStatus {
    let value = &deployment.value;
    DeploymentStatus {
        target: value.target.clone(),
        because,
        state: value.state,
        desired: value.desired,
        actual: value.actual,
        evidence: value.evidence.clone(),
        drifted: value.drifted,
        failure: value.failure.clone(),
        next_attempt: deployment.due,
    }
}

fn who_acts(explanation: &Explanation) -> Party {
    if let Some(order) = &explanation.order {
        let by_hand = order.validations.iter().any(|validation| validation.state == PublicationState::ByHand);
        if by_hand {
            return Party::Operator;
        }
        match order.state {
            OrderState::InDoubt | OrderState::AwaitingApproval | OrderState::Suspended => {
                return Party::Approver;
            }
            _ => {}
        }
        let stuck = order.validations.iter().filter_map(|validation| validation.failure.as_ref());
        if let Some(failure) =
            order.failure.iter().chain(stuck).find(|failure| failure.who_acts != Party::Engine)
        {
            return failure.who_acts;
        }
        return Party::Engine;
    }
    let is_held = explanation.rollout.as_ref().is_some_and(|rollout| rollout.held.is_some());
    if is_held || explanation.deployments.iter().any(DeploymentStatus::waits_for_person) {
        return Party::Operator;
    }
    let revocations = explanation.revocations.iter().filter_map(|pending| pending.failure.as_ref());
    let deployments = explanation.deployments.iter().filter_map(|deployment| deployment.failure.as_ref());
    let decisions = explanation.decisions.iter().filter_map(|pending| pending.failure.as_ref());
    let failures = explanation.failure.iter().chain(revocations).chain(decisions).chain(deployments);
    failures.map(|failure| failure.who_acts).find(|party| *party != Party::Engine).unwrap_or(Party::Engine)
}

fn sentences(explanation: &Explanation, certificate: &Certificate, now: Timestamp) -> Vec<String> {
    let mut sentences = vec![headline(explanation, now)];
    if let Some(failure) = &explanation.failure {
        sentences.push(format!("The last order failed at {}: {}.", failure.at, failure.message));
    }
    if let Some(order) = &explanation.order {
        describe_order(order, &mut sentences);
    } else if let Some(earliest) = certificate.not_before.filter(|earliest| *earliest > now) {
        sentences.push(if earliest == Timestamp::MAX {
            "No order is placed by itself until somebody asks for one.".to_owned()
        } else {
            format!("The next order is placed at {earliest}.")
        });
    }
    if !explanation.automatic && explanation.order.is_none() {
        sentences.push(format!("It is not renewed by itself: {} say so.", explanation.decided_by));
    }
    for pending in &explanation.revocations {
        let why =
            pending.failure.as_ref().map(|failure| format!(": {}", failure.message)).unwrap_or_default();
        let version = pending.version;
        sentences.push(match pending.next_attempt {
            Some(next) => format!("Version {version} is to be revoked; the CA is asked at {next}{why}."),
            None => format!("Version {version} was to be revoked, and the CA refused{why}."),
        });
    }
    for PendingDecision { version, decision, failure, next_attempt, .. } in &explanation.decisions {
        let why = failure.as_ref().map(|failure| format!(": {}", failure.message)).unwrap_or_default();
        sentences.push(match next_attempt {
            Some(next) => format!("The CA is asked to {decision} version {version} at {next}{why}."),
            None => format!("The CA was asked to {decision} version {version}, and refused{why}."),
        });
    }
    if certificate.deactivated.is_some() {
        sentences.push(
            "The current version is out of the CA's management; nothing is ordered by itself.".to_owned(),
        );
    }
    sentences.extend(explanation.rollout.as_ref().map(describe_rollout));
    sentences.extend(explanation.deployments.iter().map(describe_deployment));
    sentences
}

fn describe_rollout(rollout: &RolloutProgress) -> String {
    let waiting = rollout.waiting.iter().map(AccountName::as_str).collect::<Vec<_>>().join(", ");
    let version = rollout.version;
    match &rollout.held {
        Some(HeldBy { target, failure }) => format!(
            "The rollout of version {version} is held, because {target} failed at {}: {}. Somebody has to continue it; \
             {waiting} and what follows wait.",
            failure.at, failure.message
        ),
        None => {
            format!("Version {version} is rolled out in waves; {waiting} wait until those before have it.")
        }
    }
}

fn describe_deployment(deployment: &DeploymentStatus) -> String {
    let state = deployment.state;
    // What the certificate itself names needs no explanation.
    let target = match &deployment.because {
        None | Some(TargetReason::Certificate) => deployment.target.to_string(),
        Some(because) => format!("{} ({because})", deployment.target),
    };
    let again = |doing: &str| {
        deployment.next_attempt.map(|next| format!(" The engine {doing} at {next}.")).unwrap_or_default()
    };
    match (&deployment.failure, &deployment.evidence) {
        (Some(failure), _) if deployment.waits_for_person() => format!(
            "Target {target} has changed: {}. It stays so until somebody redeploys it or puts it right.{}",
            failure.message,
            again("looks again")
        ),
        (Some(failure), _) if deployment.drifted => format!(
            "Target {target} has changed and is put right; it is {state}: {}.{}",
            failure.message,
            again("goes on with it")
        ),
        (Some(failure), _) => {
            format!("Target {target} is {state}: {}.{}", failure.message, again("tries again"))
        }
        (None, Some(evidence)) => {
            let how = match evidence.served_at {
                Some(address) => format!("by the handshake at {address}"),
                None => "by what it holds".to_owned(),
            };
            format!("Target {target} is {state}, confirmed at {} {how}.{}", evidence.at, again("looks again"))
        }
        (None, None) => format!("Target {target} is {state}."),
    }
}

fn headline(explanation: &Explanation, now: Timestamp) -> String {
    let until = explanation.validity.map(|(_, not_after)| not_after);
    let renewal = explanation.renewal.as_ref().map(|schedule| {
        let why = schedule.trigger;
        let when = if schedule.at <= now { "now" } else { &format!("at {}", schedule.at) };
        format!(" Renewal is due {when}, because {why}.")
    });
    let renewal = renewal.unwrap_or_default();
    match (explanation.status, until) {
        (CertificateStatus::Valid, Some(until)) => {
            format!("The certificate is valid until {until}.{renewal}")
        }
        (CertificateStatus::Renewing, Some(until)) => {
            format!("The certificate is valid until {until} and is being renewed.")
        }
        (CertificateStatus::Expired, Some(until)) => format!("The certificate expired at {until}.{renewal}"),
        (CertificateStatus::Failing, Some(until)) => {
            format!("The certificate is valid until {until}, but its renewal has failed.")
        }
        (CertificateStatus::Failing, None) => "No version has been issued: the order failed.".to_owned(),
        (CertificateStatus::Paused, _) => {
            "The certificate is paused: nothing is ordered by itself.".to_owned()
        }
        (CertificateStatus::Suspended, _) => {
            "The current version is on hold at the CA until somebody resumes it; nothing is ordered by itself.".to_owned()
        }
        (CertificateStatus::Revoked, _) => "The current version is revoked and is not renewed.".to_owned(),
        _ => "The first version is on its way.".to_owned(),
    }
}

fn describe_order(order: &OrderStatus, sentences: &mut Vec<String>) {
    let id = order.id;
    sentences.push(match order.state {
        OrderState::InDoubt => format!(
            "Order {id}: the CA cannot say whether it exists, and a second one would cost money; look there, then \
             place it again or abandon it."
        ),
        OrderState::AwaitingApproval => format!("Order {id} waits for an approval."),
        OrderState::Suspended => format!("Order {id} is suspended until somebody resumes it."),
        state if state.is_over() => format!("Order {id} is over; what it published is being removed."),
        state => format!("Order {id} is {}.", format!("{state:?}").to_lowercase()),
    });
    if let Some(message) = &order.message {
        sentences.push(format!("The CA says: {message}."));
    }
    if let Some(failure) = &order.failure {
        sentences.push(format!("The last attempt failed: {}.", failure.message));
    }
    for validation in &order.validations {
        let names = validation.identifiers.iter().map(Identifier::to_string).collect::<Vec<_>>().join(", ");
        if validation.state == PublicationState::ByHand {
            sentences.push(match &validation.route {
                Route::Email(address) => {
                    format!("Whoever reads the mail of {address} has to confirm {names}, as the CA's message says.")
                }
                _ => format!("The response for {names} has to be published by hand, then verified."),
            });
        }
        if let Some(failure) = &validation.failure {
            sentences.push(format!("Publishing for {names} failed: {}.", failure.message));
        }
        for server in &validation.servers {
            sentences.push(format!("For {names}: {server}."));
        }
    }
    if let Some(next) = order.next_attempt {
        sentences.push(format!("The engine goes on with it at {next}."));
    }
}
