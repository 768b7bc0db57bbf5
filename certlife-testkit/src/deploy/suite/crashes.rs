//! A process that dies at any step of what it is told, and the one that comes after it.
//!
//! The same call is made with a crash at its first step, at its second, and so on until it comes through. Each time
//! the target is whole, and the same call by a new process ends where it would have ended.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Deployer,
    deploy::{Bundle, ChallengeHandle},
};

use super::{
    super::fixture::DeployFixture,
    Case,
    challenges::{offered, shown, sibling},
    keys::offering,
    ok, sight, stored,
};
use crate::crash::CrashPlan;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Wherever an install of a newer version dies, readers find the old version or the new one, whole, and the same
/// install brings the new one.
pub async fn an_install_may_crash_at_every_step(fx: &impl DeployFixture) {
    let Some(case) = crashing(fx).await else { return };
    let (mut before, _) = case.install_next(None).await;
    for step in 1.. {
        let bundle = Bundle { replaces: Some(before.version), ..case.bundle() };
        let crashed = crashes(fx, step, async |deployer| drop(ok(deployer.install(&bundle).await))).await;
        case.serves_one_of(&[Some(&before), Some(&bundle)], step).await;
        let receipt = ok(fx.deployer().install(&bundle).await);
        assert_eq!(receipt.replaced, Some(before.version), "step {step}");
        case.serves(&bundle).await;
        before = bundle;
        if !crashed {
            return came_through(step);
        }
    }
}

/// Wherever the first install dies, readers find nothing or the new version, whole; the same install brings it, and
/// nothing is left of it when it is uninstalled.
pub async fn a_first_install_may_crash_at_every_step(fx: &impl DeployFixture) {
    let Some(case) = crashing(fx).await else { return };
    for step in 1.. {
        let bundle = case.bundle();
        let crashed = crashes(fx, step, async |deployer| drop(ok(deployer.install(&bundle).await))).await;
        case.serves_one_of(&[None, Some(&bundle)], step).await;
        let receipt = ok(fx.deployer().install(&bundle).await);
        assert_eq!(receipt.replaced, None, "step {step}");
        case.serves(&bundle).await;
        ok(case.deployer.uninstall(&case.certificate).await);
        case.serves_nothing().await;
        nothing_remains(fx, step).await;
        if !crashed {
            return came_through(step);
        }
    }
}

/// The engine need not repeat an install that died: another version replaces what is served then, and can be rolled
/// back to it.
pub async fn after_a_crashed_install_another_version_can_follow(fx: &impl DeployFixture) {
    let Some(case) = crashing(fx).await else { return };
    let (mut before, _) = case.install_next(None).await;
    for step in 1.. {
        let died = Bundle { replaces: Some(before.version), ..case.bundle() };
        let crashed = crashes(fx, step, async |deployer| drop(ok(deployer.install(&died).await))).await;
        let served = case.serves_one_of(&[Some(&before), Some(&died)], step).await;
        let served = if served == 0 { &before } else { &died };
        let next = Bundle { replaces: Some(served.version), ..case.bundle() };
        let receipt = ok(fx.deployer().install(&next).await);
        assert_eq!(receipt.replaced, Some(served.version), "step {step}");
        case.serves(&next).await;
        case.rollback(&receipt).await;
        case.serves(served).await;
        before = served.clone();
        if !crashed {
            return came_through(step);
        }
    }
}

/// Wherever a rollback dies, readers find the one version or the other, whole, or nothing where there was nothing
/// before; the same rollback ends it.
pub async fn a_rollback_may_crash_at_every_step(fx: &impl DeployFixture) {
    let Some(case) = crashing(fx).await else { return };
    for to_nothing in [false, true] {
        for step in 1.. {
            let (first, initial) = case.install_next(None).await;
            let (from, to, receipt) = if to_nothing {
                (first, None, initial)
            } else {
                let (second, receipt) = case.install_next(Some(&first)).await;
                (second, Some(first), receipt)
            };
            let crashed = crashes(fx, step, async |deployer| ok(deployer.rollback(&receipt).await)).await;
            case.serves_one_of(&[Some(&from), to.as_ref()], step).await;
            ok(fx.deployer().rollback(&stored(&receipt)).await);
            match &to {
                Some(bundle) => case.serves(bundle).await,
                None => case.serves_nothing().await,
            }
            ok(case.deployer.uninstall(&case.certificate).await);
            nothing_remains(fx, step).await;
            if !crashed {
                came_through(step);
                break;
            }
        }
    }
}

/// Wherever an uninstall dies, readers find the certificate whole or nothing, and the same uninstall leaves nothing.
pub async fn an_uninstall_may_crash_at_every_step(fx: &impl DeployFixture) {
    let Some(case) = crashing(fx).await else { return };
    for step in 1.. {
        let (first, _) = case.install_next(None).await;
        let (second, _) = case.install_next(Some(&first)).await;
        let uninstall = async |deployer: Arc<dyn Deployer>| ok(deployer.uninstall(&case.certificate).await);
        let crashed = crashes(fx, step, uninstall).await;
        case.serves_one_of(&[Some(&second), None], step).await;
        uninstall(fx.deployer()).await;
        case.serves_nothing().await;
        nothing_remains(fx, step).await;
        if !crashed {
            return came_through(step);
        }
    }
}

/// Wherever the making of a key dies, asking again brings one key that stays the same, and a certificate for it is
/// served.
pub async fn a_key_may_crash_at_every_step_of_its_making(fx: &impl DeployFixture) {
    let Some(case) = crashing(fx).await else { return };
    let Some((_, algorithm)) = offering(fx).await else { return };
    for step in 1.. {
        let wanted = case.key_request(step, algorithm);
        let crashed = crashes(fx, step, async |deployer| drop(ok(deployer.make_key(&wanted).await))).await;
        let made = ok(fx.deployer().make_key(&wanted).await).public_key_hash();
        assert_eq!(case.make(step, algorithm).await.public_key_hash(), made, "step {step}");
        case.serves_nothing().await;
        let bundle = case.bundle_for(step, algorithm).await;
        case.install(&bundle).await;
        case.serves_with_made_key(&bundle).await;
        ok(case.deployer.uninstall(&case.certificate).await);
        nothing_remains(fx, step).await;
        if !crashed {
            return came_through(step);
        }
    }
}

/// Wherever placing or removing a response dies, it can be placed, and removed by what the engine had stored before
/// it asked; then nothing of it is left, and its neighbour is untouched.
pub async fn a_response_may_crash_at_every_step(fx: &impl DeployFixture) {
    if !can_crash(fx) {
        return;
    }
    for (deployer, response) in offered(fx) {
        let neighbour = ok(deployer.put_challenge(&sibling(&response)).await);
        let handle = stored(&ChallengeHandle::unknown(response.clone()));
        for step in 1.. {
            let placing = async |it: Arc<dyn Deployer>| drop(ok(it.put_challenge(&response).await));
            let removing = async |it: Arc<dyn Deployer>| ok(it.remove_challenge(&handle).await);
            let mut crashed = crashes(fx, step, placing).await;
            removing(fx.deployer()).await;
            assert_eq!(shown(fx, &response).await, None, "step {step}");
            placing(fx.deployer()).await;
            crashed |= crashes(fx, step, removing).await;
            removing(fx.deployer()).await;
            assert_eq!(shown(fx, &response).await, None, "step {step}");
            assert!(shown(fx, &neighbour.response).await.is_some(), "step {step}");
            if !crashed {
                came_through(step);
                break;
            }
        }
        ok(deployer.remove_challenge(&neighbour).await);
    }
    nothing_remains(fx, 0).await;
}

/// A probe may try what it may do on the target, but wherever it dies, the next one leaves nothing of that.
pub async fn a_probe_may_crash_at_every_step(fx: &impl DeployFixture) {
    if !can_crash(fx) {
        return;
    }
    for step in 1.. {
        let crashed = crashes(fx, step, async |deployer| drop(ok(deployer.probe().await))).await;
        ok(fx.deployer().probe().await);
        nothing_remains(fx, step).await;
        if !crashed {
            break;
        }
    }
}

/// A case whose process can be made to die; none if the fixture cannot, which it then has said.
async fn crashing<F: DeployFixture>(fx: &F) -> Option<Case<'_, F>> {
    let case = Case::new(fx).await?;
    can_crash(fx).then_some(case)
}

/// Whether the fixture can; else it has said why not.
fn can_crash(fx: &impl DeployFixture) -> bool {
    let Err(reason) = fx.crashing(&CrashPlan::never()) else { return true };
    assert!(reason.0.len() > 10, "a fixture that cannot stage something says why");
    false
}

/// Lets a process work that dies at this step of the work; returns whether it got there.
async fn crashes(fx: &impl DeployFixture, step: usize, work: impl AsyncFnOnce(Arc<dyn Deployer>)) -> bool {
    let plan = CrashPlan::freeze_at(step);
    let deployer = fx.crashing(&plan).unwrap_or_else(|reason| panic!("{}", reason.0));
    let working = tokio::time::timeout(PATIENCE, plan.interrupts(work(deployer)));
    working.await.unwrap_or_else(|_| panic!("it hangs before step {step}"))
}

/// Asserts that there was a step to crash at before the call that came through.
fn came_through(step: usize) {
    assert!(step > 1, "the fixture passes no point of the plan");
}

impl<F: DeployFixture> Case<'_, F> {
    /// Asserts that readers find one of these, whole, or nothing if that is among them; returns which.
    async fn serves_one_of(&self, expected: &[Option<&Bundle>], step: usize) -> usize {
        let seen = self.seen().await;
        let found = expected.iter().position(|bundle| seen == bundle.map(sight));
        found.unwrap_or_else(|| panic!("after a crash at step {step} a reader sees {seen:?}"))
    }
}

/// Asserts that of what was removed nothing is left on the target.
async fn nothing_remains(fx: &impl DeployFixture, step: usize) {
    match fx.remains().await {
        Ok(remains) => assert_eq!(remains, Vec::<String>::new(), "after a crash at step {step}"),
        Err(reason) => assert!(reason.0.len() > 10, "a fixture that cannot tell says why"),
    }
}
