//! What is told about the target, and taking a certificate away.

use certlife_core::deploy::Bundle;

use super::{super::fixture::DeployFixture, Case, ok, sight};

/// An empty target holds nothing.
pub async fn nothing_is_installed_at_first(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    case.serves_nothing().await;
}

/// *Truthful*: what one deployer does another is told of.
pub async fn installed_follows_what_happens(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let witness = fx.deployer();
    let told = async || ok(witness.installed(&case.certificate).await).map(|installed| installed.fingerprint);
    assert_eq!(told().await, None);
    let (first, _) = case.install_next(None).await;
    assert_eq!(told().await, Some(first.chain.fingerprint()));
    let (second, receipt) = case.install_next(Some(&first)).await;
    assert_eq!(told().await, Some(second.chain.fingerprint()));
    case.rollback(&receipt).await;
    assert_eq!(told().await, Some(first.chain.fingerprint()));
    ok(case.deployer.uninstall(&case.certificate).await);
    assert_eq!(told().await, None);
}

/// *Truthful*: a certificate that somebody else put there is told as what it is, and installing again brings
/// the right one back.
pub async fn tampering_is_noticed_and_repaired(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let (second, _) = case.install_next(Some(&first)).await;
    let foreign = case.bundle();
    fx.tamper(&foreign).await;
    assert_eq!(case.seen().await, Some(sight(&foreign)), "the fixture tampers with what is served");
    for deployer in [&case.deployer, &fx.deployer()] {
        let installed = ok(deployer.installed(&case.certificate).await).expect("something is there");
        assert_eq!(installed.fingerprint, foreign.chain.fingerprint());
        assert_ne!(installed.version, Some(second.version), "another certificate is not that version");
    }
    case.install(&Bundle { replaces: Some(first.version), ..second.clone() }).await;
    case.serves(&second).await;
}

/// What is uninstalled is gone for readers, and others stay.
pub async fn uninstalling_removes_the_certificate(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    case.install_next(Some(&first)).await;
    let sibling = case.other("mail", "mail.example.org");
    let (kept, _) = sibling.install_next(None).await;
    ok(case.deployer.uninstall(&case.certificate).await);
    case.serves_nothing().await;
    sibling.serves(&kept).await;
}

/// *Idempotent*: removing what is gone, or never was, is success.
pub async fn uninstalling_twice_is_success(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    ok(case.deployer.uninstall(&case.certificate).await);
    case.install_next(None).await;
    ok(case.deployer.uninstall(&case.certificate).await);
    ok(case.deployer.uninstall(&case.certificate).await);
    ok(fx.deployer().uninstall(&case.certificate).await);
    case.serves_nothing().await;
}

/// Uninstalling leaves nothing behind that stands in the way of a new install.
pub async fn a_certificate_that_was_uninstalled_can_come_back(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    ok(case.deployer.uninstall(&case.certificate).await);
    let receipt = case.install(&first).await;
    assert_eq!(receipt.replaced, None);
    case.serves(&first).await;
    let (second, _) = case.install_next(Some(&first)).await;
    case.serves(&second).await;
}
