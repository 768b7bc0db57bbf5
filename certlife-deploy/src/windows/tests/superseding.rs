//! What becomes of versions that a newer one replaced.

use certlife_core::{Deployer as _, VersionId, deploy::Bundle};

use super::{super::*, Binding, Case, SITE, machine::*};

/// Installs versions one after the other.
async fn install(case: &Case, windows: &Windows, versions: usize) -> Vec<Bundle> {
    let mut bundles: Vec<Bundle> = Vec::new();
    for _ in 0..versions {
        bundles.push(case.bundle());
        windows.install(&bundles[bundles.len() - 1]).await.unwrap();
    }
    bundles
}

fn held(case: &Case) -> Vec<VersionId> {
    let mut versions: Vec<_> =
        case.machine.world().my().iter().map(|it| names::read_friendly_name(&it.name).unwrap().1).collect();
    versions.sort();
    versions
}

#[tokio::test]
async fn nothing_is_removed_unless_asked() {
    let case = Case::new();
    let bundles = install(&case, &case.windows(|it| it), 5).await;
    assert_eq!(held(&case), bundles.iter().map(|bundle| bundle.version).collect::<Vec<_>>());
    assert_eq!(case.machine.world().ran("remove"), 0);
}

#[tokio::test]
async fn superseded_versions_are_removed_on_request() {
    for (keep, left) in [(0, 2), (1, 3), (2, 4)] {
        let case = Case::new();
        let windows = case.windows(|it| it.keep(keep).binding(Binding::new(SITE).each_name(true)));
        let bundles = install(&case, &windows, 6).await;
        let newest: Vec<_> = bundles[6 - left..].iter().map(|bundle| bundle.version).collect();
        assert_eq!(held(&case), newest, "the newest, the one that it replaced, and {keep} more");
    }
}

#[tokio::test]
async fn what_another_binding_shows_is_not_removed() {
    let case = Case::new();
    let windows = case.windows(|it| it.keep(0).binding(Binding::new(SITE).each_name(true)));
    let first = case.bundle();
    windows.install(&first).await.unwrap();
    let thumbprint = case.entry(&first).unwrap().thumbprint();
    case.machine.world().add_site("by hand").bindings.push(SiteBinding {
        information: "*:8443:".into(),
        flags: 0,
        thumbprint: Some(thumbprint),
        store: Some("My".into()),
    });
    install(&case, &windows, 3).await;
    assert!(case.entry(&first).is_some());
    windows.uninstall(&case.www).await.unwrap();
    assert_eq!(held(&case), [first.version]);
    assert_eq!(case.machine.world().bindings().len(), 1);
}

#[tokio::test]
async fn without_a_binding_the_store_shows_the_newest_alone() {
    let case = Case::new();
    let windows = case.windows(|it| it);
    let (first, second) = (case.bundle(), case.bundle());
    windows.install(&first).await.unwrap();
    let receipt = windows.install(&second).await.unwrap();
    let archived = |bundle: &Bundle| case.entry(bundle).unwrap().archived;
    assert_eq!((archived(&first), archived(&second)), (true, false));
    windows.rollback(&receipt).await.unwrap();
    assert_eq!((archived(&first), archived(&second)), (false, true));
    // What others put into the store is not ours to hide.
    let mut foreign = case.entry(&second).unwrap();
    "www".clone_into(&mut foreign.name);
    foreign.archived = false;
    foreign.der = case.bundle().chain.leaf().to_vec();
    case.machine.world().my().push(foreign.clone());
    windows.install(&second).await.unwrap();
    windows.uninstall(&case.www).await.unwrap();
    let left: Vec<_> = case.machine.world().my().iter().map(|it| (it.der.clone(), it.archived)).collect();
    assert_eq!(left, [(foreign.der, false)]);
}

#[tokio::test]
async fn the_state_stays_small() {
    let case = Case::new();
    let windows = case.windows(|it| it.binding(Binding::new(SITE).each_name(true)));
    install(&case, &windows, 30).await;
    assert!(case.machine.world().states["www"].len() < 16 * 1_024);
}
