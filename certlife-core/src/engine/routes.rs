//! Who proves control of which identifier, and how: the order's own choice, the certificate's, then the longest
//! domain mapping, then the default of the CA account.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use crate::{
    ca::CaCapabilities,
    challenge::{Authorization, AuthorizationStatus, Challenge, ChallengeKind, ChallengeResponse, Proof},
    error::{Error, Operation, Result},
    id::AccountName,
    input::InputError,
    model::{CertificateSpec, DomainMapping, Order, Publication, PublicationState, Route, RouteReason},
    name::{Fqdn, Identifier},
};

/// Chooses the route of an identifier.
///
/// `effective` is the owner name that a DNS challenge finally writes, where CNAMEs lead away from the identifier.
pub(crate) fn choose<'a>(
    of_order: &'a BTreeMap<Identifier, Route>,
    spec: &'a CertificateSpec,
    mappings: &'a [DomainMapping],
    account_default: Option<&'a Route>,
    identifier: &Identifier,
    effective: Option<&Fqdn>,
) -> Option<(&'a Route, RouteReason)> {
    if let Some(route) = of_order.get(identifier) {
        return Some((route, RouteReason::OrderRoute));
    }
    if let Some(route) = spec.validation.routes.get(identifier) {
        return Some((route, RouteReason::IdentifierRoute));
    }
    if let Some(route) = &spec.validation.default {
        return Some((route, RouteReason::CertificateRoute));
    }
    let own = identifier.base_name().map(crate::DnsName::to_fqdn);
    let longest = |name: &Fqdn| {
        let mapping =
            DomainMapping::longest(mappings.iter().filter(|mapping| mapping.route.is_some()), name)?;
        Some((mapping.route.as_ref()?, RouteReason::DomainMapping(mapping.domain.clone())))
    };
    let mapped = effective.and_then(longest).or_else(|| own.as_ref().and_then(longest));
    if mapped.is_some() {
        return mapped;
    }
    account_default.map(|route| (route, RouteReason::AccountDefault))
}

/// The proofs that the routes of a certificate can give, for each identifier the preferred one first.
pub(crate) struct Proofs(BTreeMap<Identifier, Vec<Proof>>);

impl Proofs {
    /// The preferred ones.
    pub(crate) fn preferred(&self) -> BTreeMap<Identifier, Proof> {
        let first =
            |(name, proofs): (&Identifier, &Vec<Proof>)| Some((name.clone(), proofs.first()?.clone()));
        self.0.iter().filter_map(first).collect()
    }

    /// The others, where a route has one: a DNS route answers with a record of either type, and which of them is asked
    /// for may depend on the product.
    pub(crate) fn others(&self) -> Option<BTreeMap<Identifier, Proof>> {
        let last = |(name, proofs): (&Identifier, &Vec<Proof>)| Some((name.clone(), proofs.last()?.clone()));
        let any = self.0.values().any(|proofs| proofs.len() > 1);
        any.then(|| self.0.iter().filter_map(last).collect())
    }
}

/// Checks, before anything is sent, that every identifier has a route that suits it, its CA and its account.
/// Returns the proofs to ask for. Where a CA validates domains apart from orders, an identifier may go without a route:
/// its domain is expected to be validated.
pub(crate) fn check(
    context: &Context,
    spec: &CertificateSpec,
    mappings: &[DomainMapping],
    account_default: Option<&Route>,
    capabilities: &CaCapabilities,
) -> Result<Proofs, InputError> {
    let mut found = BTreeMap::new();
    if capabilities.challenges.is_empty() {
        return Ok(Proofs(found));
    }
    let of_order = BTreeMap::new();
    for identifier in &spec.identifiers {
        match choose(&of_order, spec, mappings, account_default, identifier, None) {
            Some((route, _)) => {
                let proofs = proofs(context, route, identifier, &capabilities.challenges)?;
                found.insert(identifier.clone(), proofs);
            }
            None if !capabilities.domain_challenges.is_empty() => {}
            None => {
                return Err(InputError::NoValidation {
                    identifier: identifier.to_string(),
                    rule: "give the certificate a route, map its domain, or give the CA account a default"
                        .into(),
                });
            }
        }
    }
    Ok(Proofs(found))
}

/// The proof that a route stands for, if it suits the identifier, the CA and the account.
pub(crate) fn proof(
    context: &Context,
    route: &Route,
    identifier: &Identifier,
    offered: &BTreeSet<ChallengeKind>,
) -> Result<Proof, InputError> {
    proofs(context, route, identifier, offered).map(|mut proofs| proofs.swap_remove(0))
}

/// The proofs that a route stands for, at least one.
fn proofs(
    context: &Context,
    route: &Route,
    identifier: &Identifier,
    offered: &BTreeSet<ChallengeKind>,
) -> Result<Vec<Proof>, InputError> {
    let none =
        |rule: String| InputError::NoValidation { identifier: identifier.to_string(), rule: rule.into() };
    let possible: BTreeSet<_> = offered.iter().copied().filter(|kind| route.answers(*kind)).collect();
    if possible.is_empty() {
        return Err(none(format!("the CA does not offer a challenge that {route:?} answers")));
    }
    let approver = match route {
        Route::Email(address) => Some(address.clone()),
        _ => None,
    };
    let (mut found, mut refused) = (Vec::new(), None);
    for kind in possible.into_iter().filter(|kind| kind.suits(identifier)) {
        match check_account(context, route, kind) {
            Ok(()) => found.push(Proof { kind, approver: approver.clone() }),
            Err(input) => refused = refused.or(Some(input)),
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    Err(refused.unwrap_or_else(|| match identifier {
        Identifier::Wildcard(_) => none("a wildcard is validated by a DNS record or by e-mail".to_owned()),
        _ => none("an IP address is validated by http or tls-alpn".to_owned()),
    }))
}

fn check_account(context: &Context, route: &Route, kind: ChallengeKind) -> Result<(), InputError> {
    match route {
        Route::Dns(account) => {
            let found = context.accounts.dns(account)?;
            if kind == ChallengeKind::DnsCname && !found.provider.capabilities().cname {
                return Err(InputError::setting(
                    account.to_string(),
                    "this DNS account cannot publish CNAME records",
                ));
            }
        }
        Route::Http(account) | Route::TlsAlpn(account) => {
            let found = context.accounts.target(account)?;
            if !found.provider.capabilities().challenges.contains(&kind) {
                let rule = format!("this target cannot answer {kind} challenges");
                return Err(InputError::setting(account.to_string(), rule));
            }
        }
        Route::Email(_) | Route::Manual(_) => {}
    }
    Ok(())
}

/// Plans a publication for every authorization that still needs one. Equal responses become one publication.
pub(crate) async fn plan(
    context: &Context,
    order: &Order,
    spec: &CertificateSpec,
    ca_default: Option<&Route>,
    authorizations: &[Authorization],
) -> Result<Vec<Publication>> {
    let mappings = context.mappings().await?;
    // One that was withdrawn from an open order has made room for another.
    let kept = order.publications.iter().filter(|other| other.state != PublicationState::Withdrawn);
    let covered: BTreeSet<_> = kept.flat_map(|publication| &publication.identifiers).collect();
    let rules = Rules { of_order: &order.routes, spec, mappings: &mappings, ca_default };
    let open: Vec<_> = authorizations
        .iter()
        .filter(|a| a.status == AuthorizationStatus::Pending && !covered.contains(&a.identifier))
        .collect();
    let plans = futures_util::future::join_all(
        open.iter().map(|authorization| plan_one(context, &rules, authorization)),
    )
    .await;
    let mut publications: Vec<Publication> = Vec::new();
    let mut accounts = BTreeSet::new();
    for plan in plans {
        let plan = plan?;
        accounts.extend(plan.route.account().cloned());
        let twin = publications
            .iter_mut()
            .find(|other| other.response == plan.response && other.route == plan.route);
        match twin {
            Some(twin) => {
                twin.identifiers.extend(plan.identifiers);
                twin.challenges.extend(plan.challenges);
            }
            None => publications.push(plan),
        }
    }
    for account in &accounts {
        context.check_enabled(account).await?;
    }
    Ok(publications)
}

/// What [`choose`] goes by.
struct Rules<'a> {
    of_order: &'a BTreeMap<Identifier, Route>,
    spec: &'a CertificateSpec,
    mappings: &'a [DomainMapping],
    ca_default: Option<&'a Route>,
}

impl Rules<'_> {
    fn choose(&self, identifier: &Identifier, effective: Option<&Fqdn>) -> Option<(&Route, RouteReason)> {
        choose(self.of_order, self.spec, self.mappings, self.ca_default, identifier, effective)
    }
}

async fn plan_one(
    context: &Context,
    rules: &Rules<'_>,
    authorization: &Authorization,
) -> Result<Publication> {
    let identifier = &authorization.identifier;
    let fail = |input| Error::input(Operation::PlanValidation, input);
    let none = |rule: &'static str| {
        fail(InputError::NoValidation { identifier: identifier.to_string(), rule: rule.into() })
    };
    // A certificate covers an identifier that the CA names in another form, such as one without its wildcard.
    let wanted = rules.spec.identifiers.iter().find(|wanted| *wanted == identifier).unwrap_or(identifier);
    let effective = effective_name(context, rules, wanted, &authorization.challenges).await?;
    let (route, because) = rules.choose(wanted, effective.as_ref()).ok_or_else(|| {
        none("give the certificate a route, map its domain, or give the CA account a default")
    })?;
    publication(context, authorization, route.clone(), because, effective)
}

/// Plans how the proof of a domain apart from orders is published; none if the CA asks for nothing yet.
pub(crate) async fn plan_domain(
    context: &Context,
    authorization: &Authorization,
    route: &Route,
) -> Result<Option<Publication>> {
    if authorization.challenges.is_empty() {
        return Ok(None);
    }
    let name = authorization.challenges.iter().find_map(|challenge| match &challenge.response {
        ChallengeResponse::DnsTxt { name, .. } => Some(name),
        _ => None,
    });
    let effective = match (name, route) {
        (Some(name), Route::Dns(account)) if follows(context, account) => Some(follow(context, name).await),
        (name, _) => name.cloned(),
    };
    publication(context, authorization, route.clone(), RouteReason::DomainRoute, effective).map(Some)
}

fn publication(
    context: &Context,
    authorization: &Authorization,
    route: Route,
    because: RouteReason,
    effective: Option<Fqdn>,
) -> Result<Publication> {
    let identifier = &authorization.identifier;
    let fail = |input| Error::input(Operation::PlanValidation, input);
    let challenge = authorization
        .challenges
        .iter()
        .find(|challenge| route.answers(challenge.response.kind()))
        .ok_or_else(|| {
            let rule = "the CA offers no challenge that the planned route answers".into();
            fail(InputError::NoValidation { identifier: identifier.to_string(), rule })
        })?;
    check_account(context, &route, challenge.response.kind())
        .map_err(|input| super::accounts::absent(Operation::PlanValidation, input))?;
    let by_hand = match &route {
        Route::Manual(_) | Route::Email(_) => true,
        Route::Dns(account) => {
            let dns = context.accounts.dns(account).map_err(fail)?;
            dns.provider.capabilities().by_hand
        }
        _ => false,
    };
    let delegated_to = match &challenge.response {
        ChallengeResponse::DnsTxt { name, .. } => effective.filter(|effective| effective != name),
        _ => None,
    };
    Ok(Publication {
        identifiers: [identifier.clone()].into(),
        challenges: [challenge.id.clone()].into(),
        response: challenge.response.clone(),
        route,
        because,
        delegated_to,
        state: if by_hand { PublicationState::ByHand } else { PublicationState::Placing },
        foreign: false,
        handle: None,
        since: None,
        attempts: 0,
        retry_at: None,
        failure: None,
        servers: Vec::new(),
    })
}

/// Follows CNAMEs from the owner name of a TXT challenge to the name that is written, unless the account that
/// would be used without following says not to. A resolver that cannot be asked means that nothing is followed.
async fn effective_name(
    context: &Context,
    rules: &Rules<'_>,
    identifier: &Identifier,
    challenges: &[Challenge],
) -> Result<Option<Fqdn>> {
    let Some(name) = challenges.iter().find_map(|challenge| match &challenge.response {
        ChallengeResponse::DnsTxt { name, .. } => Some(name),
        _ => None,
    }) else {
        return Ok(None);
    };
    let unfollowed = rules.choose(identifier, Some(name));
    let follows = match unfollowed.as_ref().map(|(route, _)| *route) {
        Some(Route::Dns(account)) => follows(context, account),
        Some(_) => false,
        None => true,
    };
    if !follows {
        return Ok(Some(name.clone()));
    }
    Ok(Some(follow(context, name).await))
}

async fn follow(context: &Context, name: &Fqdn) -> Fqdn {
    match context.lookup.effective_name(name).await {
        Ok(effective) => effective,
        Err(error) => {
            tracing::debug!(%name, error = %error.chain(), "CNAMEs could not be followed; the name itself is used");
            name.clone()
        }
    }
}

fn follows(context: &Context, account: &AccountName) -> bool {
    context.accounts.dns(account).is_ok_and(|dns| dns.options.follow_cnames)
}
