//! Going back.

use certlife_core::deploy::Bundle;

use super::{super::fixture::DeployFixture, Case, ok, refused, stored};

/// *Reversible*: what was there before is served again, whole.
pub async fn a_rollback_brings_the_previous_version_back(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (_, receipt) = case.install_next(Some(&first)).await;
    case.rollback(&receipt).await;
    case.serves(&first).await;
}

/// *Idempotent*: rolling back what is rolled back is success.
pub async fn rolling_back_twice_is_success(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, initial) = case.install_next(None).await;
    let (_, receipt) = case.install_next(Some(&first)).await;
    case.rollback(&receipt).await;
    case.rollback(&receipt).await;
    case.serves(&first).await;
    case.rollback(&initial).await;
    case.rollback(&initial).await;
    case.serves_nothing().await;
}

/// Before the first install there was nothing.
pub async fn rolling_back_the_first_install_leaves_nothing(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (_, receipt) = case.install_next(None).await;
    case.rollback(&receipt).await;
    case.serves_nothing().await;
    let (next, _) = case.install_next(None).await;
    case.serves(&next).await;
}

/// *Durable*: a receipt that was stored and read by a new process is all that a rollback needs.
pub async fn a_receipt_works_after_a_restart(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (_, receipt) = case.install_next(Some(&first)).await;
    let read_back = stored(&receipt);
    assert_eq!(read_back, receipt);
    ok(fx.deployer().rollback(&read_back).await);
    case.serves(&first).await;
}

/// A version that did not stay may be installed again, and rolled back again.
pub async fn a_version_that_was_rolled_back_can_be_installed_again(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (second, receipt) = case.install_next(Some(&first)).await;
    for _ in 0..3 {
        case.rollback(&receipt).await;
        case.serves(&first).await;
        assert_eq!(case.install(&second).await, receipt);
        case.serves(&second).await;
    }
}

/// Whatever somebody else put there meanwhile, a rollback brings back what was there before.
pub async fn tampering_is_undone_by_a_rollback(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (_, receipt) = case.install_next(Some(&first)).await;
    fx.tamper(&case.bundle()).await;
    case.rollback(&receipt).await;
    case.serves(&first).await;
}

/// A receipt that a later install has overtaken is refused and changes nothing: a worker that woke up late
/// must not take the newest certificate away.
pub async fn an_old_receipt_does_not_undo_a_newer_install(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (second, overtaken) = case.install_next(Some(&first)).await;
    let third = Bundle { replaces: Some(second.version), ..case.bundle() };
    let receipt = case.install(&third).await;
    refused(case.deployer.rollback(&overtaken).await);
    case.serves(&third).await;
    case.rollback(&receipt).await;
    case.serves(&second).await;
}
