//! Crashes where more changes than the suite changes, and where it never gets: at a machine that knows nothing yet, and
//! in directories of others. Then scripts that are killed, answers that are lost, and calls that race.

use std::time::Duration;

use certlife_core::{
    Deployer as _, Retry,
    challenge::{HttpBody, HttpFile, HttpPath},
    deploy::{Bundle, ChallengeHandle, Receipt, TargetResponse},
};
use certlife_testkit::{
    crash::CrashPlan,
    deploy::{DeployFixture as _, Issuer, Seen},
};

use super::{super::*, Fixture, Kind, SITE, Way, machine::*};

const KINDS: [Kind; 3] = [Kind::Store, Kind::Bindings, Kind::Central];

/// Lets a deployer work that dies at this step; returns whether it did.
async fn dies(fixture: &Fixture, step: usize, work: impl AsyncFnOnce(Windows)) -> bool {
    let plan = CrashPlan::freeze_at(step);
    let working = plan.interrupts(work(fixture.mortal(&plan)));
    tokio::time::timeout(Duration::from_mins(1), working).await.expect("it does not hang")
}

fn two_names(issuer: &Issuer, certificate: &CertificateId) -> Bundle {
    issuer.bundle(certificate, &["www.example.org", "new.example.org"].map(|name| name.parse().unwrap()))
}

/// A machine with one version installed.
struct Crash {
    fixture: Fixture,
    issuer: Issuer,
    www: CertificateId,
    first: Bundle,
    initial: Receipt,
}

impl Crash {
    async fn new(kind: Kind) -> Self {
        Self::by(kind, Way::Directly).await
    }

    async fn by(kind: Kind, way: Way) -> Self {
        let (fixture, issuer, www) =
            (Fixture::new(kind, way), Issuer::new(), CertificateId::new("www").unwrap());
        let first = issuer.bundle(&www, &["www.example.org".parse().unwrap()]);
        let initial = fixture.windows().install(&first).await.unwrap();
        Self { fixture, issuer, www, first, initial }
    }

    /// A version with one more name.
    fn next(&self) -> Bundle {
        two_names(&self.issuer, &self.www)
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
async fn a_machine_that_knew_nothing_has_all_or_nothing_in_the_end() {
    for kind in KINDS {
        for repeated in [true, false] {
            for step in 1.. {
                let (fixture, issuer, www) =
                    (Fixture::new(kind, Way::Directly), Issuer::new(), CertificateId::new("www").unwrap());
                let bundle = two_names(&issuer, &www);
                let died = dies(&fixture, step, async |it| drop(it.install(&bundle).await.unwrap())).await;
                let windows = fixture.windows();
                if repeated {
                    assert_eq!(windows.install(&bundle).await.unwrap().replaced, None);
                    for host in ["www.example.org", "new.example.org"] {
                        let seen = fixture.seen(&www, &host.parse().unwrap()).await.unwrap();
                        assert_eq!(seen.chain, bundle.chain.certificates().cloned().collect::<Vec<_>>());
                    }
                }
                windows.uninstall(&www).await.unwrap();
                let remains = fixture.machine.world().remains();
                assert_eq!(remains, Vec::<String>::new(), "{kind:?}, after a crash at step {step}");
                if !died {
                    assert!(step > 9, "{kind:?} took {step} steps");
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_install_with_one_more_name_may_crash_at_every_step() {
    for kind in KINDS {
        for step in 1.. {
            let crash = Crash::new(kind).await;
            let next = crash.next();
            let died = dies(&crash.fixture, step, async |it| drop(it.install(&next).await.unwrap())).await;
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
            if !died {
                assert!(step > 6, "{kind:?} took {step} steps");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_rollback_from_one_more_name_may_crash_at_every_step() {
    for kind in KINDS {
        for step in 1.. {
            let crash = Crash::new(kind).await;
            let next = crash.next();
            let receipt = crash.fixture.windows().install(&next).await.unwrap();
            let died = dies(&crash.fixture, step, async |it| it.rollback(&receipt).await.unwrap()).await;
            crash.one_of(&[Some(&next), Some(&crash.first)]).await;
            crash.fixture.windows().rollback(&receipt).await.unwrap();
            crash.serves(Some(&crash.first)).await;
            if !died {
                assert!(step > 4, "{kind:?} took {step} steps");
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_uninstall_of_two_names_may_crash_at_every_step() {
    for kind in KINDS {
        for step in 1.. {
            let crash = Crash::new(kind).await;
            let next = crash.next();
            crash.fixture.windows().install(&next).await.unwrap();
            let died = dies(&crash.fixture, step, async |it| it.uninstall(&crash.www).await.unwrap()).await;
            crash.one_of(&[Some(&next), None]).await;
            crash.fixture.windows().uninstall(&crash.www).await.unwrap();
            crash.serves(None).await;
            let remains = crash.fixture.machine.world().remains();
            assert_eq!(remains, Vec::<String>::new(), "{kind:?}, after a crash at step {step}");
            if !died {
                assert!(step > 6, "{kind:?} took {step} steps");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_challenge_leaves_what_was_there_wherever_it_crashes() {
    let path = HttpPath::new("/.well-known/acme-challenge/token").unwrap();
    let response = TargetResponse::Http(HttpFile {
        host: "www.example.org".parse().unwrap(),
        path: path.clone(),
        body: HttpBody::new("token.thumbprint").unwrap(),
    });
    let handle = ChallengeHandle::unknown(response.clone());
    // How many of the directories are others'.
    for theirs in 0..=2 {
        let fixture = Fixture::new(Kind::Bindings, Way::Directly);
        let mut before = Vec::new();
        for directory in [".well-known", ".well-known/acme-challenge"].into_iter().take(theirs) {
            let mut world = fixture.machine.world();
            let site = world.site(SITE).unwrap();
            site.directories.insert(directory.into(), Directory::default());
            let types = "<clear /> StaticFileModule <mimeMap fileExtension=\".\" mimeType=\"text/plain\" />";
            site.files.insert(format!("{directory}/web.config"), types.into());
            before = world.remains();
        }
        for step in 1.. {
            let windows = fixture.windows();
            let mut died =
                dies(&fixture, step, async |it| drop(it.put_challenge(&response).await.unwrap())).await;
            windows.remove_challenge(&handle).await.unwrap();
            assert_eq!(fixture.machine.world().remains(), before, "placing, {theirs} theirs, step {step}");
            windows.put_challenge(&response).await.unwrap();
            assert!(fixture.http(&"www.example.org".parse().unwrap(), &path).await.is_some());
            died |= dies(&fixture, step, async |it| it.remove_challenge(&handle).await.unwrap()).await;
            windows.remove_challenge(&handle).await.unwrap();
            assert_eq!(fixture.machine.world().remains(), before, "removing, {theirs} theirs, step {step}");
            if !died {
                assert!(step > 3, "{step}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_killed_script_is_told_and_can_be_repeated() {
    for way in [Way::Directly, Way::Ssh] {
        let crash = Crash::by(Kind::Bindings, way).await;
        let next = crash.next();
        for step in 1.. {
            let outcome = crash.fixture.mortal(&CrashPlan::freeze_at(step)).install(&next).await;
            crash.fixture.windows().uninstall(&crash.www).await.unwrap();
            let Err(error) = outcome else {
                assert!(step > 6, "{step} steps");
                break;
            };
            assert!(matches!(error.kind(), ErrorKind::CommandFailed(_)), "{}", error.chain());
            assert_eq!(error.retry(), Retry::Backoff);
        }
    }
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

/// Here each poll may be the last, where a connection takes most of them for itself.
#[tokio::test]
async fn an_install_that_is_abandoned_without_a_connection_leaves_the_target_whole() {
    for kind in KINDS {
        let fixture = Fixture::new(kind, Way::Directly);
        certlife_testkit::deploy::suite::an_abandoned_install_leaves_the_target_whole(&fixture).await;
    }
}

/// An abandoned script goes on by itself, as one on another machine does.
mod promises_where_scripts_go_on {
    use super::*;

    fn fixture() -> Fixture {
        let fixture = Fixture::new(Kind::Bindings, Way::Directly);
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
