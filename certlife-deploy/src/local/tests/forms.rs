//! Files in forms of the host's choice.

use std::{fs, os::unix::fs::PermissionsExt as _};

use certlife_core::{Deployer as _, ErrorKind, InputError, Secret, deploy::Bundle, keystore};
use serde_json::{Value, json};

use super::{super::*, Case, Machine, stores};

const PASSWORD: &str = "correct horse";

/// A target with these files beside the usual ones.
fn local(case: &Case, files: &Value) -> Result<Local, InputError> {
    let settings = json!({ "directory": case.machine.certificates(), "files": files });
    Local::from_settings(serde_json::from_value(settings).unwrap())
}

fn mode(case: &Case, name: &str) -> u32 {
    fs::metadata(case.path("live").join(name)).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn each_file_has_its_form_and_its_rights_and_is_written_once() {
    let case = Case::new(|root| (Machine::with_stores().describe)(root));
    let bundle = case.bundle();
    case.local.install(&bundle).await.unwrap();
    for (name, rights, with_key) in
        [("site.pfx", 0o600, true), ("keystore.jks", 0o600, true), ("chain.p7b", 0o644, false)]
    {
        let bytes = fs::read(case.path("live").join(name)).unwrap();
        let found = keystore::read(&bytes, Some(&Secret::new(PASSWORD))).unwrap();
        assert_eq!(found.key, bundle.key.clone().filter(|_| with_key), "{name}");
        assert_eq!((found.chain.as_ref(), mode(&case, name)), (Some(&bundle.chain), rights), "{name}");
    }
    // Salt differs each time, and yet nothing is written again.
    let before = fs::read(case.path("live/site.pfx")).unwrap();
    case.machine.local().install(&bundle).await.unwrap();
    assert_eq!(case.versions(), [bundle.version.to_string()]);
    assert_eq!(fs::read(case.path("live/site.pfx")).unwrap(), before);
    case.local.uninstall(&case.www).await.unwrap();
    assert!(!case.path("").exists());
}

#[tokio::test]
async fn other_settings_make_another_copy_without_what_is_left_out() {
    let case = Case::plain();
    let bundle = case.bundle();
    let jks = |password: &str, alias: &str| json!([{ "name": "a.jks", "form": { "format": "jks", "password": password, "alias": alias } }]);
    let encrypted = json!([
        { "name": "haproxy.pem", "form": { "format": "pem", "contents": "key-and-full-chain", "password": PASSWORD } },
    ]);
    let settings =
        [jks(PASSWORD, "one"), jks("another horse", "one"), jks(PASSWORD, "two"), encrypted, json!([])];
    for (copies, files) in settings.into_iter().enumerate() {
        let local = local(&case, &files).unwrap();
        for _ in 0..2 {
            local.install(&bundle).await.unwrap();
            let name =
                if copies == 0 { bundle.version.to_string() } else { format!("{}.{copies}", bundle.version) };
            assert_eq!(case.live().unwrap(), name, "{files}");
            assert!(local.installed(&case.www).await.unwrap().is_some());
        }
    }
    assert!(!case.path("live/haproxy.pem").exists() && !case.path("live/a.jks").exists());
    case.local.uninstall(&case.www).await.unwrap();
    assert!(!case.path("").exists(), "copies under other settings are removed with all that was written");
}

#[tokio::test]
async fn a_spoiled_file_is_noticed_and_replaced() {
    let case = Case::new(|root| (Machine::with_stores().describe)(root));
    let (bundle, other) = (case.bundle(), case.bundle());
    case.local.install(&other).await.unwrap();
    let foreign = fs::read(case.path("live/keystore.jks")).unwrap();
    case.local.install(&bundle).await.unwrap();
    for spoiled in [foreign, b"junk".to_vec()] {
        fs::write(case.path("live/keystore.jks"), &spoiled).unwrap();
        assert_eq!(case.local.installed(&case.www).await.unwrap(), None);
        case.local.install(&bundle).await.unwrap();
        let installed = case.local.installed(&case.www).await.unwrap().unwrap();
        assert_eq!(installed.version, Some(bundle.version));
    }
}

#[tokio::test]
async fn what_an_interrupted_install_left_under_other_names_is_no_obstacle() {
    let case = Case::plain();
    let old = local(&case, &json!([{ "name": "old.p7b", "form": { "format": "pkcs7" } }])).unwrap();
    let first = case.bundle();
    old.install(&first).await.unwrap();
    // As it is while the next version is being written.
    fs::rename(case.path("versions").join(first.version.to_string()), case.path("versions/.new")).unwrap();
    let second = case.bundle();
    case.local.install(&second).await.unwrap();
    assert_eq!(case.versions(), [second.version.to_string()]);
}

#[tokio::test]
async fn a_missing_key_is_refused_by_the_name_of_the_file() {
    let case = Case::new(|root| (Machine::with_stores().describe)(root));
    let keyless = Bundle { key: None, ..case.bundle() };
    let refused = case.local.install(&keyless).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Unsupported(_)), "{refused}");
    assert!(refused.to_string().contains("site.pfx without the private key"), "{refused}");
    assert!(!case.path("").exists());
    let open = local(&case, &json!([{ "name": "chain.p7b", "form": { "format": "pkcs7" } }])).unwrap();
    open.install(&keyless).await.unwrap();
    assert_eq!(stores().len(), 3);
    assert!(case.path("live/chain.p7b").exists() && !case.path("live/privkey.pem").exists());
}

#[test]
fn settings_are_refused_by_entry_and_rule() {
    let case = Case::plain();
    let (p7b, jks) = (json!({ "format": "pkcs7" }), json!({ "format": "jks", "password": "12345" }));
    for (files, setting, rule) in [
        (json!([{ "name": "PrivKey.pem", "form": p7b }]), "files[0].name", "has a file of that name"),
        (json!([{ "name": "install.json", "form": p7b }]), "files[0].name", "has a file of that name"),
        (json!([{ "name": "a", "form": p7b }, { "name": "A", "form": p7b }]), "files[1].name", "one name"),
        (
            json!([{ "name": "a", "form": p7b }, { "name": "b", "form": jks }]),
            "files[1].form.password",
            "6 to 1024",
        ),
    ] {
        let refused = local(&case, &files).unwrap_err();
        let InputError::Setting { setting: found, rule: said } = &refused else { panic!("{refused:?}") };
        assert!(found == setting && said.contains(rule), "{refused}");
    }
    for bad in ["../a", "a/b", ".hidden", ""] {
        let settings = json!({ "directory": "/c", "files": [{ "name": bad, "form": p7b }] });
        assert!(serde_json::from_value::<Settings>(settings).is_err(), "{bad}");
    }
}

#[test]
fn debug_output_shows_no_password() {
    let case = Case::new(|root| (Machine::with_stores().describe)(root));
    assert!(
        !format!("{:?}{:?}", case.local, (case.machine.describe)(case.machine.root.path()))
            .contains(PASSWORD)
    );
}
