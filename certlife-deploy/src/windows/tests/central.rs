//! The central certificate store.

use certlife_core::{Deployer as _, ErrorKind};

use super::{super::*, Binding, Case, SITE, machine::*};

fn windows(case: &Case) -> Windows {
    case.windows(|it| {
        it.binding(Binding::new(SITE).each_name(true).central(true))
            .central_store(CentralStore::new(CENTRAL_PATH, CENTRAL_PASSWORD))
    })
}

#[tokio::test]
async fn there_is_a_file_for_each_name_and_nothing_in_the_store() {
    let case = Case::new();
    let bundle = case.bundle_for(&["www.example.org", "*.example.org", "192.0.2.1"]);
    windows(&case).install(&bundle).await.unwrap();
    {
        let mut world = case.machine.world();
        assert_eq!(world.central.keys().collect::<Vec<_>>(), ["_.example.org.pfx", "www.example.org.pfx"]);
        let shown: Vec<_> = world
            .bindings()
            .into_iter()
            .map(|(_, it)| (it.information, it.flags, it.thumbprint.is_some()))
            .collect();
        let row = |text: &str, flags, bound| (text.to_owned(), flags, bound);
        // An address is nothing to search the central store by.
        let wanted = [
            row("*:443:www.example.org", 3, false),
            row("*:443:*.example.org", 3, false),
            row("192.0.2.1:443:", 0, true),
        ];
        assert_eq!(shown, wanted);
        assert_eq!(world.my().len(), 1);
    }
    let next = case.bundle();
    windows(&case).install(&next).await.unwrap();
    assert!(case.entry(&next).is_none(), "no binding shows it from the store");
    assert_eq!(case.machine.world().central.keys().collect::<Vec<_>>(), ["www.example.org.pfx"]);
}

#[tokio::test]
async fn a_file_of_somebody_else_comes_back() {
    for give_up in [true, false] {
        let case = Case::new();
        let theirs = b"their PFX, under their password".to_vec();
        case.machine.world().central.insert("www.example.org.pfx".into(), theirs.clone());
        let windows = windows(&case);
        let receipt = windows.install(&case.bundle()).await.unwrap();
        let (next, last) = (case.bundle(), case.bundle());
        let second = windows.install(&next).await.unwrap();
        let third = windows.install(&last).await.unwrap();
        assert_eq!(case.served("www.example.org"), Some(last.chain.fingerprint()));
        if give_up {
            windows.uninstall(&case.www).await.unwrap();
            assert!(case.machine.world().kept.is_empty() && case.machine.world().states.is_empty());
        } else {
            for receipt in [third, second, receipt] {
                windows.rollback(&receipt).await.unwrap();
            }
        }
        assert_eq!(case.machine.world().central["www.example.org.pfx"], theirs);
        assert_eq!(case.machine.world().bindings(), []);
    }
}

#[tokio::test]
async fn a_new_password_reaches_what_is_installed() {
    let case = Case::new();
    let bundle = case.bundle();
    let other = case.windows(|it| {
        it.binding(Binding::new(SITE).each_name(true).central(true))
            .central_store(CentralStore::new(CENTRAL_PATH, "the password before"))
    });
    let receipt = other.install(&bundle).await.unwrap();
    let file = case.machine.world().central["www.example.org.pfx"].clone();
    assert!(case.machine.world().open(&file, CENTRAL_PASSWORD).is_none());
    assert_eq!(windows(&case).install(&bundle).await.unwrap(), receipt);
    assert_eq!(case.served("www.example.org"), Some(bundle.chain.fingerprint()));
}

#[tokio::test]
async fn superseded_files_are_removed_on_request() {
    let case = Case::new();
    let windows = case.windows(|it| {
        it.keep(0)
            .binding(Binding::new(SITE).each_name(true).central(true))
            .central_store(CentralStore::new(CENTRAL_PATH, CENTRAL_PASSWORD))
    });
    let mut versions = Vec::new();
    for _ in 0..4 {
        let bundle = case.bundle();
        windows.install(&bundle).await.unwrap();
        versions.push(names::kept_file(bundle.version));
    }
    assert_eq!(case.machine.world().kept["www"].keys().cloned().collect::<Vec<_>>(), versions[2..]);
}

#[tokio::test]
async fn the_central_store_has_to_be_stated_as_long_as_something_is_in_it() {
    let case = Case::new();
    windows(&case).install(&case.bundle()).await.unwrap();
    let error = case.windows(|it| it).installed(&case.www).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Input(_)), "{error}");
    assert!(error.to_string().contains("`central_store`"), "{error}");
}
