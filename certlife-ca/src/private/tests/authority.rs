//! How the authority comes to be, lasts, and is shared.

use std::{collections::BTreeSet, time::Duration};

use certlife_core::{
    CertificateAuthority as _, CertificateInfo, Clock as _, ErrorKind, KeyAlgorithm, RevocationReason,
    ca::{Found, IssuedRef, OrderIntent, OrderRef, Revocation, Stage},
    x509::{Expectation, check_issued},
};
use futures_util::future::join_all;

use super::{Ground, intent, request};

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn processes_that_start_together_agree_on_one_root() {
    let ground = Ground::new();
    let starts = (0..8).map(|_| {
        let ca = ground.ca();
        tokio::spawn(async move { ca.root_pem().await.unwrap() })
    });
    let roots: BTreeSet<_> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(roots.len(), 1);
}

#[tokio::test]
async fn the_issuing_certificate_is_made_anew_before_it_cuts_certificates_short() {
    let ground = Ground::new();
    let (ca, root) = (ground.ca(), ground.ca().root_pem().await.unwrap());
    let early = ca.place(&intent("early", request(&["a.example"]))).await.unwrap().certificate.unwrap();
    let first = ca.chain().await.unwrap();
    // Within the last 397 days of five years.
    ground.clock.advance(DAY * (1_825 - 396));
    let late = ca.place(&intent("late", request(&["a.example"]))).await.unwrap().certificate.unwrap();
    let second = ca.chain().await.unwrap();
    let (old, new) = (first.info().unwrap(), second.info().unwrap());
    assert!(new.not_after > old.not_after + DAY * 1_000);
    assert_eq!((new.key_hash, &new.subject), (old.key_hash, &old.subject));
    assert_eq!(ground.ca().root_pem().await.unwrap(), root);
    // The old leaf's own chain still holds with the new issuing certificate.
    let anchors: Vec<_> = second.certificates().last().cloned().into_iter().collect();
    for leaf in [early, late] {
        let info = leaf.info().unwrap();
        let chain = certlife_core::Chain::from_ders([leaf.leaf().to_vec(), second.leaf().to_vec()]).unwrap();
        let at = info.not_after.max(new.not_before);
        let expectation = Expectation::new(info.key_hash, ["a.example".parse().unwrap()].into(), at);
        if info.is_valid_at(at) {
            check_issued(&chain, &expectation.trust(anchors.clone())).unwrap();
        }
        assert_eq!(chain.intermediates().len(), 1);
    }
    assert_eq!(ca.probe().await.unwrap().warnings, []);
}

#[tokio::test]
async fn at_the_end_of_the_root_certificates_end_with_it_and_the_test_of_the_account_warns() {
    let ground = Ground::new();
    let ca = ground.ca();
    ca.root_pem().await.unwrap();
    ground.clock.advance(DAY * (7_300 - 30));
    let chain = ca.place(&intent("last", request(&["a.example"]))).await.unwrap().certificate.unwrap();
    let root = ca.chain().await.unwrap();
    let root = CertificateInfo::read(root.certificates().last().unwrap()).unwrap();
    assert_eq!(chain.info().unwrap().not_after, root.not_after);
    let warnings = ca.probe().await.unwrap().warnings;
    assert!(warnings.iter().any(|words| words.as_str().contains("Root CA ends at")), "{warnings:?}");
}

#[tokio::test]
async fn placing_twice_is_placing_once_even_at_the_same_time() {
    let ground = Ground::new();
    let intent = intent("twice", request(&["a.example"]));
    let placed = join_all((0..4).map(|_| {
        let (ca, intent) = (ground.ca(), intent.clone());
        tokio::spawn(async move { ca.place(&intent).await.unwrap().certificate.unwrap() })
    }))
    .await;
    let serials: BTreeSet<_> =
        placed.into_iter().map(|chain| chain.unwrap().info().unwrap().serial).collect();
    assert_eq!(serials.len(), 1);
}

#[tokio::test]
async fn a_reference_stays_with_its_key() {
    let ground = Ground::new();
    ground.ca().place(&intent("taken", request(&["a.example"]))).await.unwrap();
    let other = intent("taken", request(&["a.example"]));
    assert_eq!(ground.ca().find(&other).await.unwrap(), Found::Nothing);
    let error = ground.ca().place(&other).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    let odd = OrderIntent { reference: "../authority".to_owned(), ..other };
    assert!(matches!(ground.ca().place(&odd).await.unwrap_err().kind(), ErrorKind::Input(_)));
}

#[tokio::test]
async fn revocations_that_overlap_are_all_on_the_list() {
    let ground = Ground::new();
    let mut chains = Vec::new();
    for number in 0..6 {
        let intent = intent(&format!("r{number}"), request(&["a.example"]));
        chains.push(ground.ca().place(&intent).await.unwrap().certificate.unwrap());
    }
    join_all(chains.iter().map(|chain| {
        let (ca, issued) = (ground.ca(), IssuedRef { handle: None, chain: chain.clone() });
        let reason = RevocationReason::Unspecified;
        async move { ca.revoke(&Revocation { issued, reason, comment: None }, None).await.unwrap() }
    }))
    .await;
    let crl = ground.ca().crl().await.unwrap();
    assert_eq!(crl.number, 6);
    for number in 0..6 {
        let handle = crate::private::order::handle(&format!("r{number}"));
        let order = OrderRef { intent: None, handle };
        assert_eq!(ground.ca().poll(&order).await.unwrap().stage, Stage::Revoked);
    }
}

#[tokio::test]
async fn the_list_is_signed_anew_in_time_and_forgets_what_has_expired() {
    let ground = Ground::new();
    // Its signatures have one length, so that the length of the list tells what is on it.
    let ca = ground.builder().issuing_key(KeyAlgorithm::Ed25519).build().unwrap();
    let chain = ca.place(&intent("r", request(&["a.example"]))).await.unwrap().certificate.unwrap();
    let issued = IssuedRef { handle: None, chain };
    let revocation = Revocation { issued, reason: RevocationReason::Superseded, comment: None };
    ca.revoke(&revocation, None).await.unwrap();
    let first = ca.crl().await.unwrap();
    ground.clock.advance(DAY * 3);
    assert_eq!(ca.crl().await.unwrap(), first);
    ground.clock.advance(DAY);
    let second = ground.ca().crl().await.unwrap();
    assert_eq!(second.number, first.number + 1);
    assert!(second.next_update > ground.clock.now() + DAY * 6);
    assert_eq!(second.der.len(), first.der.len());
    ground.clock.advance(DAY * 100);
    assert!(ca.crl().await.unwrap().der.len() < first.der.len());
}

#[tokio::test]
async fn foreign_certificates_are_not_revoked_here() {
    let (ground, elsewhere) = (Ground::new(), Ground::new());
    let foreign = elsewhere.ca().place(&intent("f", request(&["a.example"]))).await.unwrap();
    let own = ground.ca().chain().await.unwrap();
    for chain in [foreign.certificate.unwrap(), own] {
        let issued = IssuedRef { handle: None, chain };
        let revocation = Revocation { issued, reason: RevocationReason::Superseded, comment: None };
        let error = ground.ca().revoke(&revocation, None).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error}");
    }
}
