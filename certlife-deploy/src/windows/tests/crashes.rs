//! A script that is killed at any of its steps, answers that are lost, and calls that race.

use certlife_core::{
    Deployer as _, Retry,
    challenge::HttpPath,
    deploy::{Bundle, ChallengeHandle, TargetResponse},
};
use certlife_testkit::deploy::DeployFixture as _;

use super::{super::*, Fixture, Kind, machine::*};
use certlife_testkit::deploy::{Issuer, Seen};

const KINDS: [Kind; 3] = [Kind::Store, Kind::Bindings, Kind::Central];

/// A machine with one version installed.
struct Crash {
    fixture: Fixture,
    issuer: Issuer,
    www: CertificateId,
    first: Bundle,
    initial: certlife_core::deploy::Receipt,
}

impl Crash {
    async fn new(kind: Kind) -> Self {
        let (fixture, issuer, www) = (Fixture::new(kind), Issuer::new(), CertificateId::new("www").unwrap());
        let first = issuer.bundle(&www, &["www.example.org".parse().unwrap()]);
        let initial = fixture.windows().install(&first).await.unwrap();
        Self { fixture, issuer, www, first, initial }
    }

    /// A version with one more name.
    fn next(&self) -> Bundle {
        let names = ["www.example.org", "new.example.org"].map(|name| name.parse().unwrap());
        self.issuer.bundle(&self.www, &names)
    }

    fn cut_after(&self, steps: Option<usize>) {
        self.fixture.machine.orders().steps_left = steps;
    }

    async fn seen(&self) -> Option<Seen> {
        self.fixture.seen(&self.www, &"www.example.org".parse().unwrap()).await
    }

    /// Asserts that a reader finds this version or nothing, and that the evidence says the same.
    async fn serves(&self, bundle: Option<&Bundle>) {
        let wanted = bundle.map(|bundle| Seen {
            chain: bundle.chain.certificates().cloned().collect(),
            key_fits: Some(true),
        });
        assert_eq!(self.seen().await, wanted, "{:?}", self.fixture.kind);
        let installed = self.fixture.windows().installed(&self.www).await.unwrap();
        let version = installed.map(|installed| installed.version);
        assert_eq!(version, bundle.map(|bundle| Some(bundle.version)), "{:?}", self.fixture.kind);
    }

    /// Which of these a reader finds, whole.
    async fn one_of(&self, bundles: &[Option<&Bundle>]) -> usize {
        let seen = self.seen().await;
        let leaf = |bundle: &Bundle| bundle.chain.certificates().cloned().collect::<Vec<_>>();
        let found = bundles.iter().position(|bundle| {
            seen.as_ref().map(|seen| (&seen.chain, seen.key_fits))
                == bundle.map(leaf).as_ref().map(|chain| (chain, Some(true)))
        });
        found.unwrap_or_else(|| panic!("{:?}: a mixture: {seen:?}", self.fixture.kind))
    }
}

#[tokio::test]
async fn an_install_may_be_cut_at_any_step_and_repeated() {
    for kind in KINDS {
        let mut steps = 0;
        loop {
            let crash = Crash::new(kind).await;
            let next = crash.next();
            crash.cut_after(Some(steps));
            let outcome = crash.fixture.windows().install(&next).await;
            crash.cut_after(None);
            crash.one_of(&[Some(&crash.first), Some(&next)]).await;
            let receipt = crash.fixture.windows().install(&next).await.unwrap();
            assert_eq!(receipt.replaced, Some(crash.first.version));
            crash.serves(Some(&next)).await;
            crash.fixture.windows().rollback(&receipt).await.unwrap();
            crash.serves(Some(&crash.first)).await;
            crash.fixture.windows().rollback(&crash.initial).await.unwrap();
            crash.serves(None).await;
            assert!(crash.fixture.machine.world().bindings().is_empty());
            assert!(crash.fixture.machine.world().central.is_empty());
            if outcome.is_ok() {
                break;
            }
            assert_eq!(outcome.unwrap_err().retry(), Retry::Backoff);
            steps += 1;
        }
        assert!(steps >= 6, "{kind:?} took {steps} steps");
    }
}

#[tokio::test]
async fn after_a_cut_install_another_version_replaces_what_is_served() {
    for kind in KINDS {
        let mut steps = 0;
        loop {
            let crash = Crash::new(kind).await;
            let (next, third) = (crash.next(), crash.next());
            crash.cut_after(Some(steps));
            let outcome = crash.fixture.windows().install(&next).await;
            crash.cut_after(None);
            let installed = crash.fixture.windows().installed(&crash.www).await.unwrap();
            let receipt = crash.fixture.windows().install(&third).await.unwrap();
            let before = installed.map_or(next.version, |installed| installed.version.unwrap());
            assert_eq!(receipt.replaced, Some(before), "{kind:?} after {steps} steps");
            crash.serves(Some(&third)).await;
            crash.fixture.windows().rollback(&receipt).await.unwrap();
            let both = [&crash.first, &next];
            crash.serves(both.into_iter().find(|bundle| bundle.version == before)).await;
            if outcome.is_ok() {
                break;
            }
            steps += 1;
        }
    }
}

#[tokio::test]
async fn a_rollback_may_be_cut_at_any_step_and_repeated() {
    for kind in KINDS {
        for to_nothing in [false, true] {
            let mut steps = 0;
            loop {
                let crash = Crash::new(kind).await;
                let next = crash.next();
                let windows = crash.fixture.windows();
                let (receipt, from, to) = if to_nothing {
                    (crash.initial.clone(), &crash.first, None)
                } else {
                    (windows.install(&next).await.unwrap(), &next, Some(&crash.first))
                };
                crash.cut_after(Some(steps));
                let outcome = windows.rollback(&receipt).await;
                crash.cut_after(None);
                crash.one_of(&[Some(from), to]).await;
                windows.rollback(&receipt).await.unwrap();
                crash.serves(to).await;
                if outcome.is_ok() {
                    break;
                }
                steps += 1;
            }
            assert!(steps >= 2, "{kind:?} took {steps} steps");
        }
    }
}

#[tokio::test]
async fn an_uninstall_may_be_cut_at_any_step_and_repeated() {
    for kind in KINDS {
        let mut steps = 0;
        loop {
            let crash = Crash::new(kind).await;
            let next = crash.next();
            crash.fixture.windows().install(&next).await.unwrap();
            crash.cut_after(Some(steps));
            let outcome = crash.fixture.windows().uninstall(&crash.www).await;
            crash.cut_after(None);
            crash.one_of(&[Some(&next), None]).await;
            crash.fixture.windows().uninstall(&crash.www).await.unwrap();
            crash.serves(None).await;
            {
                let mut world = crash.fixture.machine.world();
                assert!(world.my().is_empty() && world.bindings().is_empty() && world.central.is_empty());
                assert!(world.states.is_empty() && world.kept.is_empty());
            }
            if outcome.is_ok() {
                break;
            }
            steps += 1;
        }
        assert!(steps >= 4, "{kind:?} took {steps} steps");
    }
}

#[tokio::test]
async fn a_challenge_may_be_cut_at_any_step_and_repeated() {
    let path = HttpPath::new("/.well-known/acme-challenge/token").unwrap();
    let response = TargetResponse::Http(certlife_core::challenge::HttpFile {
        host: "www.example.org".parse().unwrap(),
        path: path.clone(),
        body: certlife_core::challenge::HttpBody::new("token.thumbprint").unwrap(),
    });
    let mut steps = 0;
    loop {
        let fixture = Fixture::new(Kind::Bindings);
        let windows = fixture.windows();
        fixture.machine.orders().steps_left = Some(steps);
        let placed = windows.put_challenge(&response).await;
        let removed = windows.remove_challenge(&ChallengeHandle::unknown(response.clone())).await;
        fixture.machine.orders().steps_left = None;
        windows.put_challenge(&response).await.unwrap();
        assert!(fixture.http(&"www.example.org".parse().unwrap(), &path).await.is_some());
        windows.remove_challenge(&ChallengeHandle::unknown(response.clone())).await.unwrap();
        let mut world = fixture.machine.world();
        let site = world.site(super::SITE).unwrap();
        assert!(site.files.is_empty() && site.directories.is_empty(), "after {steps} steps");
        if placed.is_ok() && removed.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps >= 4, "{steps}");
}

#[tokio::test]
async fn a_lost_answer_changes_nothing_about_the_outcome() {
    for kind in KINDS {
        let crash = Crash::new(kind).await;
        let next = crash.next();
        let windows = crash.fixture.windows();
        let mut receipt = None;
        for _ in 0..10 {
            crash.fixture.machine.orders().answers_to_lose = 1;
            let _ = windows.install(&next).await;
            crash.fixture.machine.orders().answers_to_lose = 0;
            receipt = Some(windows.install(&next).await.unwrap());
        }
        assert_eq!(receipt.unwrap().replaced, Some(crash.first.version));
        crash.serves(Some(&next)).await;
    }
}

#[tokio::test]
async fn a_change_in_between_is_noticed_and_the_decision_made_anew() {
    for kind in KINDS {
        let crash = Crash::new(kind).await;
        let windows = crash.fixture.windows();
        let (second, third) = (crash.next(), crash.next());
        // Another process installs the second version between our look and our switch.
        let other = crash.fixture.machine.clone();
        let saved = {
            let world = other.world();
            (
                world.states.clone(),
                world.sites.clone(),
                world.stores.clone(),
                world.central.clone(),
                world.kept.clone(),
            )
        };
        windows.install(&second).await.unwrap();
        {
            let mut world = other.world();
            let after = (
                std::mem::replace(&mut world.states, saved.0),
                std::mem::replace(&mut world.sites, saved.1),
                std::mem::replace(&mut world.stores, saved.2),
                std::mem::replace(&mut world.central, saved.3),
                std::mem::replace(&mut world.kept, saved.4),
            );
            drop(world);
            other.orders().before_switch = Some(Box::new(move |world: &mut World| {
                (world.states, world.sites, world.central, world.kept) = (after.0, after.1, after.3, after.4);
                world.stores = after.2;
            }));
        }
        let receipt = windows.install(&third).await.unwrap();
        assert_eq!(receipt.replaced, Some(second.version), "{kind:?}");
        crash.serves(Some(&third)).await;
    }
}

/// An abandoned script goes on by itself, as one on another machine does.
mod promises_where_scripts_go_on {
    use super::*;

    fn fixture() -> Fixture {
        let fixture = Fixture::new(Kind::Bindings);
        fixture.machine.orders().goes_on = true;
        fixture
    }

    #[tokio::test]
    async fn an_abandoned_install_leaves_the_target_whole() {
        certlife_testkit::deploy::suite::an_abandoned_install_leaves_the_target_whole(&fixture()).await;
    }

    #[tokio::test]
    async fn concurrent_installs_of_one_certificate_end_in_one_of_them() {
        certlife_testkit::deploy::suite::concurrent_installs_of_one_certificate_end_in_one_of_them(&fixture())
            .await;
    }
}
