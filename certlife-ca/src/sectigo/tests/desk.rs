//! Approvals, domains apart from orders, and who may confirm by e-mail.

use certlife_core::{
    ErrorKind, Retry,
    ca::{Decision, DomainValidation},
    challenge::{AuthorizationStatus, Proof},
};

use super::*;

const APART: &str = "apart.example";

fn apart() -> Identifier {
    APART.parse().unwrap()
}

fn shown(validation: &DomainValidation) -> &ChallengeResponse {
    &validation.authorization.challenges[0].response
}

#[tokio::test]
async fn approving_and_declining_may_be_repeated() {
    let fx = Fixture::with_approval().await;
    for (decision, stage) in [(Decision::Approve, Stage::Processing), (Decision::Decline, Stage::Rejected)] {
        let intent = fx.intent(&["www.suite.example"]);
        let placed = fx.sectigo().place(&intent).await.unwrap();
        assert_eq!(placed.stage, Stage::AwaitingApproval);
        for _ in 0..2 {
            let seen = fx.sectigo().decide(&order(&intent, &placed), decision).await.unwrap();
            assert!(seen.stage == stage || seen.stage == Stage::Issued, "{seen:?}");
        }
    }
}

#[tokio::test]
async fn a_decision_that_comes_too_late_is_told() {
    let fx = Fixture::start().await;
    let intent = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&intent).await;
    let error = fx.sectigo().decide(&order(&intent, &issued), Decision::Decline).await.unwrap_err();
    assert!(error.to_string().contains("current state (-1112)"), "{error}");
    fx.fake.befall(Step::Decide, Mishap::refuse(-1140, "The requester may not approve"));
    let error = fx.sectigo().decide(&order(&intent, &issued), Decision::Approve).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{error}");
}

#[tokio::test]
async fn a_domain_is_validated_by_each_method_at_both_hosts() {
    for scheme in [Scheme::Password, Scheme::OAuth] {
        for kind in
            [ChallengeKind::DnsTxt, ChallengeKind::DnsCname, ChallengeKind::Http, ChallengeKind::Email]
        {
            let fx = Fixture::with(scheme).await;
            let validate = || async { fx.sectigo().validate_domain(&apart(), &kind.into()).await.unwrap() };
            let first = validate().await;
            assert_eq!(shown(&first).kind(), kind);
            // Asked again, it wants the same.
            assert_eq!(shown(&validate().await), shown(&first), "{kind}");
            fx.prove(&apart(), shown(&first)).await;
            let mut last = validate().await;
            if last.authorization.status == AuthorizationStatus::Pending {
                last = validate().await;
            }
            assert_eq!(last.authorization.status, AuthorizationStatus::Valid, "{kind}");
            assert!(last.valid_until.unwrap() > fx.clock.now() && last.ask_again.is_none());
            fx.requests();
            validate().await;
            assert_eq!(fx.requests().iter().filter(|request| request.contains("/dcv/")).count(), 1);
        }
    }
}

#[tokio::test]
async fn another_method_or_approver_begins_anew() {
    let fx = Fixture::start().await;
    let ca = fx.sectigo();
    let by = |kind| Proof { kind, approver: None };
    let txt = ca.validate_domain(&apart(), &by(ChallengeKind::DnsTxt)).await.unwrap();
    let cname = ca.validate_domain(&apart(), &by(ChallengeKind::DnsCname)).await.unwrap();
    assert_ne!(shown(&txt).kind(), shown(&cname).kind());
    let mail = |address: &str| Proof { kind: ChallengeKind::Email, approver: Some(address.into()) };
    for address in ["hostmaster@apart.example", "registrant@apart.example", "postmaster@apart.example"] {
        let asked = ca.validate_domain(&apart(), &mail(address)).await;
        if address.starts_with("registrant") {
            // Offered by the CA, refused by its own rules: its words come through.
            assert!(asked.unwrap_err().to_string().contains("(-1601)"));
            continue;
        }
        assert_eq!(shown(&asked.unwrap()), &ChallengeResponse::Email { address: address.into() });
    }
    let error = ca.validate_domain(&apart(), &mail("boss@apart.example")).await.unwrap_err();
    assert!(error.to_string().contains("hostmaster@apart.example"), "{error}");
    // A rejected one begins anew, too.
    fx.fake.world().domains.get_mut(APART).unwrap().order_status = "REJECTED";
    ca.validate_domain(&apart(), &by(ChallengeKind::Http)).await.unwrap();
    assert_eq!(fx.fake.world().domains[APART].order_status, "AWAITING_SUBMISSION");
}

#[tokio::test]
async fn a_status_that_tells_little_is_enough() {
    let fx = Fixture::start().await;
    let proof = Proof::from(ChallengeKind::DnsCname);
    let validate = || async { fx.sectigo().validate_domain(&apart(), &proof).await.unwrap() };
    let first = validate().await;
    let bare = |state| Mishap::error(200, json!({ "status": "NOT_VALIDATED", "orderStatus": state }));
    fx.fake.befall(Step::Dcv, bare("Awaiting submission"));
    let second = validate().await;
    assert_eq!(shown(&second).kind(), shown(&first).kind());
    assert_eq!(fx.fake.world().domains[APART].order_status, "SUBMITTED");
    fx.fake.befall(Step::Dcv, bare("SUBMITTED"));
    let third = validate().await.authorization;
    assert_eq!((third.status, third.challenges.len()), (AuthorizationStatus::Pending, 0));
    fx.prove(&apart(), shown(&second)).await;
    fx.fake.befall(Step::Dcv, bare("Submitted"));
    assert_eq!(validate().await.authorization.status, AuthorizationStatus::Valid);
}

#[tokio::test]
async fn a_lost_submission_is_noticed_by_the_next_look() {
    let fx = Fixture::start().await;
    let proof = Proof::from(ChallengeKind::DnsTxt);
    fx.fake.befall(Step::Submit, Mishap::lose());
    let error = fx.sectigo().validate_domain(&apart(), &proof).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Backoff));
    let validation = fx.sectigo().validate_domain(&apart(), &proof).await.unwrap();
    fx.prove(&apart(), shown(&validation)).await;
    let validation = fx.sectigo().validate_domain(&apart(), &proof).await.unwrap();
    assert_eq!(validation.authorization.status, AuthorizationStatus::Valid);
}

#[tokio::test]
async fn domains_that_cannot_be_validated_are_told() {
    let fx = Fixture::start().await;
    let ca = fx.sectigo();
    let by = Proof::from;
    for (domain, proof, code) in [
        ("www.apart.example", by(ChallengeKind::DnsTxt), "rejected"),
        ("foreign.test", by(ChallengeKind::DnsTxt), "not_found"),
        ("192.0.2.1", by(ChallengeKind::Http), "unsupported"),
        ("*.apart.example", by(ChallengeKind::Http), "unsupported"),
        ("apart.example", by(ChallengeKind::TlsAlpn), "unsupported"),
    ] {
        let error = ca.validate_domain(&domain.parse().unwrap(), &proof).await.unwrap_err();
        assert_eq!(error.kind().code(), code, "{domain}: {error}");
    }
    let wildcard: Identifier = "*.apart.example".parse().unwrap();
    let validation = ca.validate_domain(&wildcard, &by(ChallengeKind::DnsTxt)).await.unwrap();
    assert_eq!(validation.authorization.identifier, wildcard);
    fx.fake.befall(Step::Dcv, Mishap::refuse(-1608, "DCV is not enabled"));
    let error = ca.validate_domain(&apart(), &by(ChallengeKind::DnsTxt)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotEligible(_)), "{error}");
    let hostile = json!({
        "status": "NOT_VALIDATED", "orderStatus": "AWAITING_SUBMISSION", "orderMode": "CNAME",
        "host": "_x.victim.example.", "point": "a.example.",
    });
    fx.fake.world().domains.get_mut(APART).unwrap().order_status = "AWAITING_SUBMISSION";
    fx.fake.world().domains.get_mut(APART).unwrap().mode = Some("CNAME".into());
    fx.fake.befall(Step::Dcv, Mishap::error(200, hostile));
    let error = ca.validate_domain(&apart(), &by(ChallengeKind::DnsCname)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error}");
}

#[tokio::test]
async fn approvers_are_listed_once_and_end_no_other_validation() {
    let fx = Fixture::start().await;
    let approvers = fx.sectigo().approvers(&apart(), None).await.unwrap();
    assert_eq!(approvers.len(), 6, "{approvers:?}");
    assert!(approvers.contains(&"registrant@apart.example".to_owned()));
    fx.sectigo().approvers(&apart(), None).await.unwrap();
    let txt = Proof::from(ChallengeKind::DnsTxt);
    fx.sectigo().validate_domain(&apart(), &txt).await.unwrap();
    let error = fx.sectigo().approvers(&apart(), None).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotNow(_)), "{error}");
    assert_eq!(fx.fake.world().domains[APART].mode.as_deref(), Some("TXT"));
}
