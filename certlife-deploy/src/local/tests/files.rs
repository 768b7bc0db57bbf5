use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use certlife_core::{Deployer as _, ErrorKind, deploy::Bundle};
use serde_json::{Value, json};

use super::{super::*, Case};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn the_combined_form_holds_key_and_chain() {
    let case = Case::new(|root| Local::builder(root.join("certificates")).combined(true));
    let bundle = case.bundle();
    case.local.install(&bundle).await.unwrap();
    let combined = fs::read_to_string(case.path("live/combined.pem")).unwrap();
    let key = bundle.key.clone().unwrap().to_pkcs8_pem().unwrap();
    assert_eq!(combined, format!("{}{}", key.expose(), bundle.chain.pem()));
    assert_eq!(mode(&case.path("live/combined.pem")), 0o600);
    let keyless = Bundle { key: None, ..case.bundle() };
    assert!(matches!(case.local.install(&keyless).await.unwrap_err().kind(), ErrorKind::Unsupported(_)));
    // Without the setting no copy of the key stays behind.
    let plain = Local::builder(case.machine.certificates()).keep(0).build().unwrap();
    plain.install(&bundle).await.unwrap();
    assert!(!case.path("live/combined.pem").exists());
}

#[tokio::test]
async fn rights_and_owners_are_as_asked_for_and_repaired() {
    let case = Case::plain();
    // Only root may give files away; others give them to themselves.
    fs::write(case.machine.path("mine"), "").unwrap();
    let mine = fs::metadata(case.machine.path("mine")).unwrap();
    let (user, group) = if mine.uid() == 0 { (12_345, 54_321) } else { (mine.uid(), mine.gid()) };
    let local = Local::builder(case.machine.certificates())
        .owner(user.to_string())
        .group(group.to_string())
        .key_mode(0o640)
        .certificate_mode(0o440)
        .directory_mode(0o750)
        .build()
        .unwrap();
    let bundle = case.bundle();
    local.install(&bundle).await.unwrap();
    let check = || {
        for (name, rights) in [("live/privkey.pem", 0o640), ("live/cert.pem", 0o440)] {
            let found = fs::metadata(case.path(name)).unwrap();
            assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (rights, user, group), "{name}");
        }
        let live = fs::metadata(case.path("live/")).unwrap();
        assert_eq!((live.mode() & 0o7777, live.uid(), live.gid()), (0o750, mine.uid(), group));
    };
    check();
    fs::set_permissions(case.path("live/privkey.pem"), fs::Permissions::from_mode(0o666)).unwrap();
    local.install(&bundle).await.unwrap();
    check();

    let nobody = Local::builder(case.machine.certificates()).owner("no-such-user").build().unwrap();
    for error in [nobody.probe().await.unwrap_err(), nobody.install(&case.bundle()).await.unwrap_err()] {
        assert!(error.to_string().contains("no-such-user is not in /etc/passwd"), "{error}");
    }
    Local::builder(case.machine.path("other")).owner("root").group("root").build().unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_directory_that_nobody_may_write_to_is_told() {
    let local = Local::builder("/proc/certlife").build().unwrap();
    for error in [local.probe().await.unwrap_err(), local.install(&Case::plain().bundle()).await.unwrap_err()]
    {
        assert!(
            matches!(error.kind(), ErrorKind::Io(words) if words.as_str().contains("/proc/certlife")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    let case = Case::plain();
    let summary = case.local.probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), case.machine.certificates().to_str().unwrap());
    assert_eq!(case.machine.folder.remains(), Vec::<String>::new());
}

#[test]
fn bad_settings_are_named() {
    for (setting, value) in [
        ("directory", json!("certificates")),
        ("directory", json!("/")),
        ("directory", json!("/srv/../etc")),
        ("web_root", json!("htdocs")),
        ("key_mode", json!("0644")),
        ("key_mode", json!("600 ")),
        ("key_mode", json!("0200")),
        ("certificate_mode", json!("0666")),
        ("certificate_mode", json!("+644")),
        ("directory_mode", json!("0777")),
        ("directory_mode", json!("0600")),
        ("owner", json!("a:b")),
        ("group", json!("")),
        ("keep", json!(101)),
        ("command_timeout_seconds", json!(0)),
        ("check", json!(["bin/check"])),
        ("reload", json!([""])),
        ("reload", json!(["systemctl", "reload\u{0}"])),
    ] {
        let mut settings = json!({ "directory": "/srv/certificates" });
        settings[setting] = value.clone();
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let error = Local::from_settings(settings).unwrap_err();
        assert!(error.to_string().starts_with(&format!("setting `{setting}`")), "{value}: {error}");
    }
    serde_json::from_value::<Settings>(json!({ "directory": "/srv", "shell": true })).unwrap_err();
    serde_json::from_value::<Settings>(json!({})).unwrap_err();
}

#[test]
fn settings_and_builder_say_the_same() {
    let built = Local::builder("/srv/certificates")
        .owner("root")
        .group("ssl-cert")
        .key_mode(0o640)
        .keep(5)
        .check(["nginx", "-t"])
        .reload(["systemctl", "reload", "nginx"])
        .command_timeout(std::time::Duration::from_millis(1_500))
        .web_root("/srv/web")
        .build()
        .unwrap();
    let stored: Settings = serde_json::from_value(json!({
        "directory": "/srv/certificates", "owner": "root", "group": "ssl-cert", "key_mode": "0640", "keep": 5,
        "check": ["nginx", "-t"], "reload": ["systemctl", "reload", "nginx"],
        "command_timeout_seconds": 2, "web_root": "/srv/web",
    }))
    .unwrap();
    assert_eq!(format!("{built:?}"), format!("{:?}", Local::from_settings(stored).unwrap()));
}

#[test]
fn the_kind_is_registered_with_its_schema() {
    let mut registry = certlife_core::Registry::new();
    crate::register(&mut registry);
    let kinds = registry.kinds();
    let kind = kinds.iter().find(|kind| kind.kind == "local").unwrap();
    let properties = kind.settings["properties"].as_object().unwrap();
    assert!(properties.values().all(|property| property["description"].is_string()), "{properties:?}");
    assert_eq!(kind.settings["required"], json!(["directory"]));
    assert_eq!(kind.settings["additionalProperties"], Value::Bool(false));
}
