use std::{collections::BTreeSet, time::Duration};

use certlife_core::{
    CertificateId, Deployer as _, ErrorKind, Operation, Retry,
    challenge::ChallengeKind,
    deploy::{Bundle, DeployCapabilities, Installed},
};

use super::*;

mod promises {
    crate::deployer_conformance!(crate::deploy::MemoryFixture::new());
}

mod promises_of_a_target_that_serves_files_only {
    use certlife_core::{challenge::ChallengeKind, deploy::DeployCapabilities};

    use crate::deploy::{MemoryFixture, MemoryTarget};

    fn files_only() -> MemoryFixture {
        let target = MemoryTarget::new();
        target.limit_to(DeployCapabilities {
            install: false,
            challenges: [ChallengeKind::Http].into(),
            volatile: false,
            keys: [].into(),
        });
        MemoryFixture::with(target)
    }

    crate::deployer_conformance!(files_only());
}

#[test]
fn every_promise_of_the_suites_is_run() {
    let deployers = [
        include_str!("suite/challenges.rs"),
        include_str!("suite/conduct.rs"),
        include_str!("suite/crashes.rs"),
        include_str!("suite/installs.rs"),
        include_str!("suite/keys.rs"),
        include_str!("suite/rollbacks.rs"),
        include_str!("suite/truth.rs"),
    ];
    let directories = [
        include_str!("directories/commands.rs"),
        include_str!("directories/files.rs"),
        include_str!("directories/web.rs"),
    ];
    for (sources, list) in [
        (&deployers[..], include_str!("suite/mod.rs")),
        (&directories[..], include_str!("directories/mod.rs")),
    ] {
        let written: BTreeSet<&str> = sources
            .iter()
            .flat_map(|source| source.lines())
            .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
            .collect();
        let lists = list.split("$fixture =>").skip(1).map(|list| list.split('}').next().unwrap());
        let listed: BTreeSet<&str> = lists.flat_map(str::split_whitespace).collect();
        assert_eq!(written, listed);
    }
}

fn bundle() -> Bundle {
    Issuer::new().bundle(&CertificateId::new("www").unwrap(), &["www.example.org".parse().unwrap()])
}

#[tokio::test]
async fn failures_are_told_apart_by_operation_and_end() {
    let (target, bundle) = (MemoryTarget::new(), bundle());
    let later = Retry::After(Duration::from_secs(7));
    target.fail_next_of(Operation::Install, 2, ErrorKind::Unreachable);
    target.fail_next_as(Operation::Inspect, 1, ErrorKind::Timeout, later);
    target.probe().await.unwrap();
    assert_eq!(target.installed(&bundle.certificate).await.unwrap_err().retry(), later);
    for _ in 0..2 {
        assert_eq!(*target.install(&bundle).await.unwrap_err().kind(), ErrorKind::Unreachable);
    }
    target.install(&bundle).await.unwrap();
    let calls = target.calls();
    assert_eq!((calls.probe, calls.install, calls.installed), (1, 3, 1));
    assert_eq!(target.history(&bundle.certificate), [bundle.version]);
    target.fail_next(1, ErrorKind::Unauthorized);
    target.recover();
    target.probe().await.unwrap();
}

#[tokio::test]
async fn a_lost_answer_has_had_its_effect() {
    let (target, bundle) = (MemoryTarget::new(), bundle());
    target.lose_next_answers(1);
    assert_eq!(*target.install(&bundle).await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(target.served_version(&bundle.certificate), Some(bundle.version));
    target.install(&bundle).await.unwrap();
}

#[tokio::test]
async fn a_target_can_ignore_and_lie() {
    let (target, bundle) = (MemoryTarget::new(), bundle());
    target.ignore_installs(true);
    target.install(&bundle).await.unwrap();
    assert_eq!(target.installed(&bundle.certificate).await.unwrap(), None);
    let lie = Installed { fingerprint: bundle.chain.fingerprint(), version: Some(bundle.version) };
    target.confirm_instead(&bundle.certificate, Some(lie.clone()));
    assert_eq!(target.installed(&bundle.certificate).await.unwrap(), Some(lie));
    target.recover();
    target.install(&bundle).await.unwrap();
    target.wipe();
    assert_eq!(target.installed(&bundle.certificate).await.unwrap(), None);
}

#[tokio::test]
async fn calls_under_way_are_counted_even_when_dropped() {
    let (target, bundle) = (MemoryTarget::new(), bundle());
    target.delay(Duration::from_hours(1));
    let abandoned = tokio::time::timeout(Duration::from_millis(1), target.install(&bundle)).await;
    assert!(abandoned.is_err());
    target.recover();
    target.install(&bundle).await.unwrap();
    assert_eq!(target.calls().most_at_once, 1);
    target.limit_to(DeployCapabilities {
        install: true,
        challenges: [ChallengeKind::Http].into(),
        volatile: false,
        keys: BTreeSet::new(),
    });
    assert_eq!(target.capabilities().challenges, [ChallengeKind::Http].into());
}
