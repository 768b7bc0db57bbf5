//! Installing: whole, repeatable, and every kind of certificate.

use std::sync::atomic::{AtomicBool, Ordering};

use certlife_core::{ErrorKind, Identifier, KeyAlgorithm, deploy::Bundle};
use futures_util::future::join_all;

use super::{super::fixture::DeployFixture, Case, abandon_after, host_of, identifier, ok, refused, sight};

/// What is installed is what readers find: the whole chain, and its key.
pub async fn an_install_is_served(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (bundle, receipt) = case.install_next(None).await;
    assert_eq!(receipt.replaced, None);
    case.serves(&bundle).await;
}

/// The later of two versions is served, and its receipt says what was there before.
pub async fn a_newer_version_takes_over(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (second, receipt) = case.install_next(Some(&first)).await;
    assert_eq!(receipt.replaced, Some(first.version));
    case.serves(&second).await;
}

/// *Idempotent*: the same install again succeeds, changes nothing, and gives an equal receipt, after a restart
/// as well.
pub async fn installing_twice_gives_equal_receipts(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (second, receipt) = case.install_next(Some(&first)).await;
    assert_eq!(case.install(&second).await, receipt);
    assert_eq!(ok(fx.deployer().install(&second).await), receipt);
    case.serves(&second).await;
}

/// A version that a newer one replaced can be put back by installing it.
pub async fn an_old_version_can_be_installed_again(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (second, _) = case.install_next(Some(&first)).await;
    let again = Bundle { replaces: Some(second.version), ..first.clone() };
    let receipt = case.install(&again).await;
    assert_eq!(receipt.replaced, Some(second.version));
    case.serves(&first).await;
    case.rollback(&receipt).await;
    case.serves(&second).await;
}

/// *Atomic*: a reader that looks all the time during fifty installs never finds a certificate beside the key
/// of another, nor half a chain.
pub async fn readers_never_see_a_mixture(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let bundles: Vec<_> = (0..50).map(|_| case.bundle()).collect();
    let sights: Vec<_> = bundles.iter().map(|bundle| Some(sight(bundle))).collect();
    case.install(&bundles[0]).await;
    let installing = async {
        for bundle in &bundles {
            case.install(bundle).await;
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let mut latest = 0;
        let mut looks = 0;
        loop {
            let seen = case.seen().await;
            let version = sights.iter().position(|sight| *sight == seen);
            let version = version.unwrap_or_else(|| panic!("a mixture after {looks} looks: {seen:?}"));
            assert!(version >= latest, "an older version came back by itself");
            latest = version;
            looks += 1;
            if latest == sights.len() - 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
        looks
    };
    let ((), looks) = futures_util::future::join(installing, reading).await;
    assert!(looks > 1, "the reader got its turn");
    case.serves(&bundles[49]).await;
}

/// *Abandonable*: wherever an install is dropped, the target has the old version or the new one, whole, and
/// the same install succeeds afterwards.
pub async fn an_abandoned_install_leaves_the_target_whole(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (mut before, _) = case.install_next(None).await;
    for polls in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610] {
        let bundle = Bundle { replaces: Some(before.version), ..case.bundle() };
        abandon_after(polls, case.deployer.install(&bundle)).await;
        let seen = case.seen().await;
        assert!(
            seen == Some(sight(&before)) || seen == Some(sight(&bundle)),
            "after {polls} polls: {seen:?}"
        );
        let receipt = ok(fx.deployer().install(&bundle).await);
        assert_eq!(receipt.replaced, Some(before.version), "after {polls} polls");
        case.serves(&bundle).await;
        before = bundle;
    }
}

/// Of several versions that are installed at once, one is served whole in the end.
pub async fn concurrent_installs_of_one_certificate_end_in_one_of_them(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let bundles: Vec<_> = (0..8).map(|_| case.bundle()).collect();
    // Each by a deployer of its own, as several processes would.
    let deployers: Vec<_> = bundles.iter().map(|_| fx.deployer()).collect();
    for outcome in
        join_all(bundles.iter().zip(&deployers).map(|(bundle, deployer)| deployer.install(bundle))).await
    {
        ok(outcome);
    }
    let seen = case.seen().await;
    let winner = bundles.iter().find(|bundle| seen == Some(sight(bundle)));
    case.serves(winner.expect("one of the versions is served whole")).await;
}

/// Certificates that are installed at once are all served.
pub async fn concurrent_installs_of_many_certificates_all_count(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let cases: Vec<_> =
        (0..20).map(|n| case.other(&format!("host-{n}"), &format!("host-{n}.example.org"))).collect();
    let installed = join_all(cases.iter().map(|case| case.install_next(None))).await;
    for (case, (bundle, _)) in cases.iter().zip(&installed) {
        case.serves(bundle).await;
    }
}

/// Names that mean something to file systems, shells or the deployer itself are names like all others.
pub async fn awkward_certificate_names_are_kept_apart(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let longest = "n".repeat(100);
    let names =
        ["live", "versions", "0", "a", "a.b", "a..b", "a-b", "a_b", "privkey.pem", "new", "tmp", &longest];
    let mut installed = Vec::new();
    for (number, name) in names.into_iter().enumerate() {
        let case = case.other(name, &format!("host-{number}.example.org"));
        let (bundle, _) = case.install_next(None).await;
        installed.push((case, bundle));
    }
    for (case, bundle) in &installed {
        case.serves(bundle).await;
    }
    ok(case.deployer.uninstall(&super::name("a")).await);
    for (case, bundle) in installed.iter().filter(|(case, _)| case.certificate.as_str() != "a") {
        case.serves(bundle).await;
    }
}

/// Host names, internationalized and internal ones too, wildcards and addresses are served alike, and a
/// certificate may change from one to the other.
pub async fn every_kind_of_identifier_is_served(fx: &impl DeployFixture) {
    let Some(mut case) = Case::new(fx).await else { return };
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    for text in
        ["example.org", "bücher.example", "intranet", "*.example.org", "192.0.2.1", "2001:db8::1", &longest]
    {
        let before: Option<Identifier> = case.identifiers.first().cloned();
        case.identifiers = vec![identifier(text)];
        let (bundle, _) = case.install_next(None).await;
        case.serves(&bundle).await;
        let gone = before.filter(|before| host_of(before) != host_of(&case.identifiers[0]));
        if let Some(gone) = gone {
            let seen = fx.seen(&case.certificate, &host_of(&gone)).await;
            assert!(seen.is_none_or(|seen| seen == sight(&bundle)), "{gone} is not served the old version");
        }
    }
}

/// RSA and every NIST curve are served. Ed25519, which not every system knows in certificates, is served or refused
/// as unsupported without a change.
pub async fn every_kind_of_key_is_served(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let issue = |algorithm| case.issuer.bundle_with(&case.certificate, &case.identifiers, algorithm);
    let mut latest = case.bundle();
    for algorithm in
        [KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384, KeyAlgorithm::EcdsaP521, KeyAlgorithm::Rsa2048]
    {
        latest = issue(algorithm);
        case.install(&latest).await;
        case.serves(&latest).await;
    }
    let bundle = issue(KeyAlgorithm::Ed25519);
    match case.deployer.install(&bundle).await {
        Ok(_) => case.serves(&bundle).await,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{}", error.chain());
            case.serves(&latest).await;
        }
    }
}

/// A certificate whose key is elsewhere is installed as it is, or refused as unsupported without a change.
pub async fn a_certificate_without_its_key_is_installed_or_refused(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let keyless = Bundle { key: None, ..case.bundle() };
    match case.deployer.install(&keyless).await {
        Ok(_) => case.serves(&keyless).await,
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{}", error.chain());
            case.serves(&first).await;
        }
    }
}

/// A bundle whose key is another certificate's is refused, and nothing changes.
pub async fn a_key_that_does_not_fit_is_refused(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let mixed = Bundle { key: case.bundle().key, ..case.bundle() };
    let error = refused(case.deployer.install(&mixed).await);
    assert!(matches!(error.kind(), ErrorKind::BadCertificate(_)), "{}", error.chain());
    case.serves(&first).await;
}

/// No key can be read by others than its owner, at any moment of an install.
pub async fn keys_are_readable_by_their_owner_alone(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    if let Err(reason) = fx.exposed_keys().await {
        assert!(reason.0.len() > 10, "a fixture that cannot tell says why");
        return case.serves(&first).await;
    }
    let done = AtomicBool::new(false);
    let installing = async {
        for _ in 0..10 {
            case.install_next(Some(&first)).await;
        }
        done.store(true, Ordering::Relaxed);
    };
    let watching = async {
        while !done.load(Ordering::Relaxed) {
            assert_eq!(fx.exposed_keys().await, Ok(Vec::new()));
            tokio::task::yield_now().await;
        }
    };
    futures_util::future::join(installing, watching).await;
    assert_eq!(fx.exposed_keys().await, Ok(Vec::new()));
}
