//! The order desk: who may approve, another proof in an open order, domains validated apart from orders.

use certlife_core::{
    Identifier, Timestamp,
    ca::{DomainValidation, Stage},
    challenge::{AuthorizationStatus, ChallengeKind, Proof},
};

use super::drive::{assert_refused_unsent, dns, finish, intent, later, name, prove, stored};
use crate::ca::CaFixture;

/// How often the authority is asked to look before the suite gives up.
const LOOKS: usize = 20;

/// Contract of `approvers`: e-mail addresses, among them one at the domain.
pub async fn approvers_are_listed_or_refused_unsent(fx: &impl CaFixture) {
    let domain = dns(fx, "approved");
    let product = fx.request(vec![domain.clone()]).product;
    let before = fx.requests();
    let outcome = fx.ca().approvers(&domain, product.as_deref()).await;
    if !fx.ca().capabilities().approvers {
        return assert_refused_unsent(fx, before, outcome, "approvers");
    }
    let approvers = outcome.unwrap();
    let above = |address: &String| {
        let (mailbox, host) = address.split_once('@').unwrap_or_else(|| panic!("{address} is no address"));
        assert!(!mailbox.is_empty() && !host.contains('@'), "{address}");
        host.parse().is_ok_and(|host| name(fx, "approved").to_fqdn().is_within(&host))
    };
    // Each is looked at, not only those up to the first that fits.
    assert!(approvers.iter().filter(|address| above(address)).count() > 0, "{approvers:?}");
}

/// Contract of `revalidate`: the proof is another one from then on, and asking again is harmless.
pub async fn another_proof_is_taken_or_refused_unsent(fx: &impl CaFixture) {
    let capabilities = fx.ca().capabilities();
    let identifier = dns(fx, "changed");
    let intent = intent(fx, vec![identifier.clone()]);
    let mut snapshot = fx.ca().place(&intent).await.unwrap();
    let kinds: Vec<ChallengeKind> = capabilities.challenges.iter().copied().collect();
    if !capabilities.revalidation {
        let proof = kinds.first().copied().unwrap_or(ChallengeKind::DnsTxt).into();
        let order = stored(&intent, &snapshot);
        let before = fx.requests();
        let outcome = fx.ca().revalidate(&order, &identifier, &proof).await;
        return assert_refused_unsent(fx, before, outcome, "another proof");
    }
    assert_eq!(snapshot.stage, Stage::Validating, "an authority that takes another proof asks for one");
    for kind in kinds.into_iter().filter(|kind| kind.suits(&identifier)) {
        let proof = proof(fx, &identifier, kind).await;
        for _ in 0..2 {
            let order = stored(&intent, &snapshot);
            let answer = fx.ca().revalidate(&order, &identifier, &proof).await.unwrap();
            snapshot = later(&snapshot, answer);
        }
        let authorizations = snapshot.authorizations.as_deref().unwrap_or_default();
        let shown = authorizations.iter().find(|open| open.identifier == identifier).unwrap();
        assert!(
            shown.challenges.iter().all(|challenge| challenge.response.kind() == kind),
            "{kind} was asked for: {shown:?}"
        );
    }
    assert_eq!(finish(fx, &intent, snapshot).await.stage, Stage::Issued);
}

/// Contract of `validate_domain`: it says what to show, finds it, and stays content.
pub async fn a_domain_is_validated_apart_from_orders_or_refused_unsent(fx: &impl CaFixture) {
    let capabilities = fx.ca().capabilities();
    let domain = dns(fx, "apart");
    let kinds: Vec<ChallengeKind> = capabilities.domain_challenges.iter().copied().collect();
    if kinds.is_empty() {
        let proof = ChallengeKind::DnsTxt.into();
        let before = fx.requests();
        let outcome = fx.ca().validate_domain(&domain, &proof).await;
        return assert_refused_unsent(fx, before, outcome, "a domain apart from orders");
    }
    let kind = kinds.into_iter().find(|kind| kind.suits(&domain) && *kind != ChallengeKind::Email);
    let kind = kind.expect("an authority that validates domains takes a proof that a program can give");
    let proof = proof(fx, &domain, kind).await;
    let mut validation = fx.ca().validate_domain(&domain, &proof).await.unwrap();
    assert_eq!(validation.authorization.status, AuthorizationStatus::Pending);
    for _ in 0..LOOKS {
        assert_eq!(validation.authorization.identifier, domain);
        // Some authorities take a moment to make up what they want to see.
        if !validation.authorization.challenges.is_empty() {
            prove(fx, std::slice::from_ref(&validation.authorization)).await;
        }
        if let Some(wait) = validation.ask_again {
            fx.wait(wait).await;
        }
        validation = fx.ca().validate_domain(&domain, &proof).await.unwrap();
        if validation.authorization.status == AuthorizationStatus::Valid {
            break;
        }
    }
    assert_validated(fx.now(), &validation);
    assert_validated(fx.now(), &fx.ca().validate_domain(&domain, &proof).await.unwrap());
}

fn assert_validated(now: Timestamp, validation: &DomainValidation) {
    assert_eq!(validation.authorization.status, AuthorizationStatus::Valid, "{validation:?}");
    assert!(validation.authorization.challenges.is_empty(), "{validation:?}");
    assert!(validation.valid_until.is_none_or(|end| end > now), "{validation:?}");
}

/// A proof of this kind, with an approver of whom the authority knows.
async fn proof(fx: &impl CaFixture, identifier: &Identifier, kind: ChallengeKind) -> Proof {
    let asks = kind == ChallengeKind::Email && fx.ca().capabilities().approvers;
    let product = fx.request(vec![identifier.clone()]).product;
    let approver = if asks {
        fx.ca().approvers(identifier, product.as_deref()).await.unwrap().into_iter().next()
    } else {
        None
    };
    Proof { kind, approver }
}
