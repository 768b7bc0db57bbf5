//! Rollouts: one wave after the other, held at the first failure, continued on command, whatever happens meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use certlife_core::{
    AccountName, Deployer, Engine, EngineBuilder, ErrorKind, Operation, Party, VersionId,
    engine::{OnDrift, TargetOptions},
    model::{CertificateSpec, DeploymentState, EventKind, Rollout},
};
use certlife_testkit::{
    crash::{CrashPlan, Crashing},
    deploy::{Issuer, MemoryTarget},
};

use crate::world::{DAY, World, certificate, events, id, spec};

const HOUR: Duration = Duration::from_hours(1);

/// A world with targets by name.
struct Site {
    world: World,
    targets: BTreeMap<&'static str, MemoryTarget>,
}

fn name(target: &str) -> AccountName {
    target.parse().unwrap()
}

impl Site {
    fn new(targets: &[&'static str]) -> Self {
        let world = World::new();
        let clock = Arc::new(world.clock.clone());
        let targets =
            targets.iter().map(|target| (*target, MemoryTarget::with_clock(clock.clone()))).collect();
        Self { world, targets }
    }

    fn builder(&self, plan: &Arc<CrashPlan>, options: &TargetOptions) -> EngineBuilder {
        self.targets.iter().fold(self.world.builder(plan), |builder, (target, provider)| {
            let provider: Arc<dyn Deployer> = Arc::new(provider.clone());
            builder.target(name(target), Crashing::new(provider, plan), options.clone())
        })
    }

    async fn engine(&self) -> Engine {
        self.builder(&CrashPlan::never(), &TargetOptions::default()).build().await.unwrap()
    }

    async fn work(&self, engine: &Engine, horizon: Duration) {
        self.world.work(engine, horizon).await;
    }

    /// Which targets serve this version.
    fn serving(&self, version: VersionId) -> Vec<&'static str> {
        let serves = |target: &MemoryTarget| target.served_version(&id("www")) == Some(version);
        self.targets.iter().filter(|(_, target)| serves(target)).map(|(name, _)| *name).collect()
    }

    fn fail(&self, target: &str, installs: usize) {
        self.targets[target].fail_next_of(Operation::Install, installs, ErrorKind::Io("disk full".into()));
    }
}

fn wish(targets: &[&str], rollout: Rollout) -> CertificateSpec {
    let mut wish = spec("www", &["example.com"]).rollout(rollout);
    wish.deploy = targets.iter().map(|target| name(target)).collect();
    wish
}

fn waves(waves: &[&[&str]]) -> Rollout {
    Rollout::Waves(waves.iter().map(|wave| wave.iter().map(|target| name(target)).collect()).collect())
}

async fn current(engine: &Engine) -> VersionId {
    certificate(engine, "www").await.current.unwrap()
}

/// In which order targets became live.
async fn order(engine: &Engine) -> Vec<String> {
    let live = |kind: &EventKind| match kind {
        EventKind::DeploymentLive { target, .. } => Some(target.to_string()),
        _ => None,
    };
    events(engine).await.iter().filter_map(|event| live(&event.occurrence.kind)).collect()
}

async fn count(engine: &Engine, kind: impl Fn(&EventKind) -> bool) -> usize {
    events(engine).await.iter().filter(|event| kind(&event.occurrence.kind)).count()
}

fn is_held(kind: &EventKind) -> bool {
    matches!(kind, EventKind::RolloutHeld { .. })
}

#[tokio::test]
async fn targets_follow_one_another_in_the_given_order_and_the_rest_by_name() {
    let site = Site::new(&["a", "b", "c", "d"]);
    let engine = site.engine().await;
    let one_by_one = Rollout::OneByOne(vec![name("c"), name("a")]);
    engine.ensure(wish(&["a", "b", "c", "d"], one_by_one)).await.unwrap();
    site.work(&engine, HOUR).await;
    assert_eq!(order(&engine).await, ["c", "a", "b", "d"]);
    assert_eq!(certificate(&engine, "www").await.rollout, None, "nothing waits any more");
    assert_eq!(count(&engine, |kind| matches!(kind, EventKind::WaveStarted { of: 4, .. })).await, 4);
    let idle = engine.pass().await.unwrap();
    assert_eq!(idle.steps, 0, "a rollout that is over costs nothing");
}

#[tokio::test]
async fn a_failure_holds_what_comes_after_it_until_somebody_continues() {
    let site = Site::new(&["canary", "east", "west"]);
    let engine = site.engine().await;
    engine.ensure(wish(&["canary", "east", "west"], waves(&[&["canary"]]))).await.unwrap();
    site.work(&engine, HOUR).await;
    let first = current(&engine).await;
    assert_eq!(site.serving(first), ["canary", "east", "west"]);

    site.fail("canary", 100);
    engine.renew(&id("www")).await.unwrap();
    site.work(&engine, 2 * DAY).await;
    let second = current(&engine).await;
    assert_eq!(site.serving(first), ["canary", "east", "west"]);
    let explanation = engine.explain(&id("www")).await.unwrap();
    assert_eq!(explanation.who_acts, Party::Operator);
    let rollout = explanation.rollout.unwrap();
    assert_eq!((rollout.version, rollout.waiting.len()), (second, 2));
    assert_eq!(rollout.held.unwrap().target, name("canary"));
    let sentence = explanation.sentences.iter().find(|sentence| sentence.contains("is held")).unwrap();
    assert!(sentence.contains("disk full") && sentence.contains("east, west"), "{sentence}");
    assert_eq!(count(&engine, is_held).await, 1, "told once, however often it is tried again");
    // What waits is still looked after, with the version that it has.
    let east = engine.deployments(&id("www")).await.unwrap().into_iter().find(|d| d.target == name("east"));
    assert!(east.unwrap().evidence.unwrap().at >= certlife_core::Clock::now(&site.world.clock) - DAY);

    // It comes round by itself, but nobody has said yet that the others may follow.
    site.work(&engine, 3 * DAY).await;
    assert_eq!(site.serving(second), ["canary"]);
    engine.by("carol").continue_rollout(&id("www")).await.unwrap();
    site.work(&engine, HOUR).await;
    assert_eq!(site.serving(second), ["canary", "east", "west"]);
    assert_eq!(certificate(&engine, "www").await.rollout, None);
    let refused = engine.continue_rollout(&id("www")).await.unwrap_err();
    assert_eq!(refused.kind().code(), "not_now");
}

#[tokio::test]
async fn continuing_goes_past_what_fails_and_the_next_failure_holds_again() {
    let site = Site::new(&["a", "b", "c"]);
    let engine = site.engine().await;
    site.fail("a", 1_000);
    site.fail("b", 1_000);
    let order = Rollout::OneByOne(vec![name("a"), name("b"), name("c")]);
    engine.ensure(wish(&["a", "b", "c"], order)).await.unwrap();
    site.work(&engine, HOUR).await;
    let version = current(&engine).await;
    for held_by in ["a", "b"] {
        let rollout = certificate(&engine, "www").await.rollout.unwrap();
        assert_eq!(rollout.held.unwrap().target, name(held_by));
        assert!(site.serving(version).is_empty());
        engine.continue_rollout(&id("www")).await.unwrap();
        site.work(&engine, 2 * HOUR).await;
    }
    assert_eq!(site.serving(version), ["c"]);
    assert_eq!(count(&engine, is_held).await, 2);
    site.targets["a"].recover();
    site.work(&engine, DAY).await;
    assert_eq!(site.serving(version), ["a", "c"], "what was passed is still tried");
}

#[tokio::test]
async fn a_rolled_back_target_holds_as_well() {
    let site = Site::new(&["a", "b"]);
    let engine = site.engine().await;
    engine.ensure(wish(&["a", "b"], waves(&[&["a"], &["b"]]))).await.unwrap();
    site.work(&engine, HOUR).await;
    let first = current(&engine).await;
    site.targets["a"].ignore_installs(true);
    engine.renew(&id("www")).await.unwrap();
    site.work(&engine, HOUR).await;
    assert_eq!(site.serving(first), ["a", "b"]);
    let held = certificate(&engine, "www").await.rollout.unwrap().held.unwrap();
    assert!(held.failure.message.as_str().contains("does not confirm"), "{held:?}");
    assert!(count(&engine, |kind| matches!(kind, EventKind::RolledBack { .. })).await > 0);
}

#[tokio::test]
async fn a_newer_version_starts_anew_from_the_first_wave() {
    let site = Site::new(&["a", "b"]);
    let engine = site.engine().await;
    site.fail("a", 4);
    engine.ensure(wish(&["a", "b"], waves(&[&["a"], &["b"]]))).await.unwrap();
    site.work(&engine, HOUR).await;
    let first = current(&engine).await;
    assert!(certificate(&engine, "www").await.rollout.unwrap().held.is_some());
    engine.renew(&id("www")).await.unwrap();
    site.work(&engine, HOUR).await;
    let second = current(&engine).await;
    assert_eq!(site.serving(second), ["a", "b"]);
    assert!(!site.targets["b"].history(&id("www")).contains(&first), "b never had its turn for the first");
}

#[tokio::test]
async fn targets_that_come_and_go_meanwhile_find_their_wave() {
    let site = Site::new(&["a", "b", "c", "d"]);
    let engine = site.engine().await;
    site.fail("a", 1_000);
    let three = waves(&[&["a", "d"], &["b"], &["c"]]);
    engine.ensure(wish(&["a", "b", "c"], three.clone())).await.unwrap();
    site.work(&engine, HOUR).await;
    let version = current(&engine).await;
    // One more in the wave that has started gets it; those of later waves still wait.
    engine.update(wish(&["a", "b", "c", "d"], three.clone())).await.unwrap();
    site.work(&engine, HOUR).await;
    assert_eq!(site.serving(version), ["d"]);
    // Without the one that fails there is nothing to wait for.
    engine.update(wish(&["b", "c", "d"], three)).await.unwrap();
    site.work(&engine, HOUR).await;
    assert_eq!(site.serving(version), ["b", "c", "d"]);
    assert_eq!(order(&engine).await, ["d", "b", "c"]);
    assert_eq!(site.world.ca.orders_placed(), 1);
}

#[tokio::test]
async fn a_target_without_waves_becomes_the_first_of_several() {
    let site = Site::new(&["a", "b"]);
    let engine = site.engine().await;
    site.fail("a", 3);
    engine.ensure(wish(&["a"], Rollout::AllAtOnce)).await.unwrap();
    site.work(&engine, Duration::from_secs(1)).await;
    engine.update(wish(&["a", "b"], waves(&[&["a"], &["b"]]))).await.unwrap();
    site.work(&engine, HOUR).await;
    let version = current(&engine).await;
    assert_eq!(site.serving(version), ["a"]);
    engine.continue_rollout(&id("www")).await.unwrap();
    site.work(&engine, HOUR).await;
    assert_eq!(site.serving(version), ["a", "b"]);
}

#[tokio::test]
async fn a_disabled_target_keeps_others_waiting_without_being_a_failure() {
    let site = Site::new(&["a", "b", "c"]);
    let engine = site.engine().await;
    engine.set_enabled(&name("a"), false).await.unwrap();
    engine.ensure(wish(&["a", "b", "c"], waves(&[&["a"], &["b"], &["c"]]))).await.unwrap();
    site.work(&engine, 2 * HOUR).await;
    let version = current(&engine).await;
    assert!(site.serving(version).is_empty());
    assert_eq!(count(&engine, is_held).await, 0);
    engine.continue_rollout(&id("www")).await.unwrap();
    site.work(&engine, 2 * HOUR).await;
    assert_eq!(site.serving(version), ["b", "c"]);
    engine.set_enabled(&name("a"), true).await.unwrap();
    site.work(&engine, 2 * HOUR).await;
    assert_eq!(site.serving(version), ["a", "b", "c"]);
}

#[tokio::test]
async fn drift_that_is_only_told_holds_a_rollout() {
    let site = Site::new(&["a", "b", "c"]);
    let options = TargetOptions::default().on_drift(OnDrift::Tell);
    let engine = site.builder(&CrashPlan::never(), &options).build().await.unwrap();
    site.fail("b", 1);
    engine.ensure(wish(&["a", "b", "c"], waves(&[&["a"], &["b"], &["c"]]))).await.unwrap();
    site.work(&engine, HOUR).await;
    let version = current(&engine).await;
    assert_eq!(certificate(&engine, "www").await.rollout.unwrap().held.unwrap().target, name("b"));
    site.targets["a"].tamper(&Issuer::new().bundle(&id("www"), &["example.com".parse().unwrap()]));
    site.work(&engine, 2 * DAY).await;
    // Both have to be passed, and are.
    engine.continue_rollout(&id("www")).await.unwrap();
    site.work(&engine, HOUR).await;
    assert_eq!(site.serving(version), ["b", "c"]);
}

#[tokio::test]
async fn a_target_without_news_costs_no_step_of_the_certificate() {
    let site = Site::new(&["a", "b"]);
    let engine = site.engine().await;
    let mut wish = wish(&["a", "b"], waves(&[&["a"], &["b"]]));
    // Nothing else is due at the certificate for a month.
    wish.renewal.follow_ca = false;
    engine.ensure(wish).await.unwrap();
    site.work(&engine, HOUR).await;
    // Thirty daily looks at two targets: nothing is told, and no certificate step comes of it.
    let mut steps = 0;
    for _ in 0..30 {
        site.world.clock.advance(DAY);
        steps += engine.pass().await.unwrap().steps;
    }
    assert_eq!(steps, 30 * 2);
}

/// Crashes at each point of a rollout in two waves, the first of which fails once; a second engine goes on.
#[tokio::test]
async fn whatever_the_point_of_a_crash_every_wave_comes_after_the_one_before() {
    let mut at = 1;
    loop {
        let site = Site::new(&["a", "b", "c"]);
        let engine = site.engine().await;
        engine.ensure(wish(&["a", "b", "c"], waves(&[&["a"], &["b"], &["c"]]))).await.unwrap();
        site.work(&engine, HOUR).await;
        drop(engine);
        let first = site.targets["a"].served_version(&id("www")).unwrap();

        site.fail("b", 1);
        let plan = CrashPlan::freeze_at(at);
        let www = id("www");
        let journey = async {
            let engine = site.builder(&plan, &TargetOptions::default()).build().await.unwrap();
            engine.renew(&www).await.unwrap();
            site.work(&engine, HOUR).await;
            engine.continue_rollout(&www).await.unwrap();
            site.work(&engine, HOUR).await;
        };
        let crashed = plan.interrupts(journey).await;
        let engine = site.engine().await;
        site.world.clock.advance(Duration::from_mins(2));
        if current(&engine).await == first {
            // The command may not have been heard.
            engine.renew(&www).await.unwrap();
        }
        site.work(&engine, HOUR).await;
        let second = current(&engine).await;
        assert_ne!(second, first, "point {at}");
        let kinds: Vec<_> = events(&engine).await.into_iter().map(|event| event.occurrence.kind).collect();
        let position = |target: &str| {
            kinds.iter().position(|kind| {
                matches!(kind, EventKind::DeploymentLive { target: t, version, .. } if *t == name(target) && *version == second)
            })
        };
        assert!(position("a").is_some(), "point {at}: the first wave is not live");
        if let Some(held) = certificate(&engine, "www").await.rollout {
            assert_eq!(held.held.unwrap().target, name("b"), "point {at}");
            assert_eq!(position("c"), None, "point {at}: a wave started past a failure");
            engine.continue_rollout(&www).await.unwrap();
            site.work(&engine, HOUR).await;
        }
        assert_eq!(site.serving(second), ["a", "b", "c"], "point {at}");
        let deployments = engine.deployments(&www).await.unwrap();
        assert!(deployments.iter().all(|d| d.state == DeploymentState::Live), "point {at}: {deployments:#?}");
        assert!(
            !kinds.iter().any(is_held) || kinds.iter().filter(|kind| is_held(kind)).count() == 1,
            "point {at}: held twice"
        );
        if !crashed {
            break;
        }
        at += 1;
    }
    assert!(at > 40, "only {at} points were tried");
}
