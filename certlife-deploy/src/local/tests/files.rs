use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use certlife_core::{Deployer as _, ErrorKind, deploy::Bundle};
use serde_json::{Value, json};

use super::{super::*, Case};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn the_layout_is_as_documented() {
    let case = Case::plain();
    let bundle = case.bundle();
    case.local.install(&bundle).await.unwrap();
    let read = |name: &str| fs::read_to_string(case.path("live").join(name)).unwrap();
    assert_eq!(read("fullchain.pem"), bundle.chain.pem());
    assert_eq!(read("cert.pem"), bundle.chain.leaf_pem());
    assert_eq!(read("chain.pem"), bundle.chain.intermediates_pem());
    assert_eq!(read("privkey.pem"), bundle.key.unwrap().to_pkcs8_pem().unwrap().expose());
    assert!(!case.path("live/combined.pem").exists());
    assert_eq!(
        fs::read_link(case.path("live")).unwrap(),
        Path::new("versions").join(bundle.version.to_string())
    );
    for (name, rights) in [
        ("", 0o755),
        ("versions", 0o755),
        ("live/", 0o755),
        ("live/privkey.pem", 0o600),
        ("live/cert.pem", 0o644),
        ("live/chain.pem", 0o644),
        ("live/fullchain.pem", 0o644),
        ("live/install.json", 0o644),
    ] {
        assert_eq!(mode(&case.path(name)), rights, "{name}");
    }
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

#[tokio::test]
async fn old_versions_are_kept_as_told() {
    let case = Case::new(|root| Local::builder(root.join("certificates")).keep(1));
    let mut bundles = Vec::new();
    for _ in 0..5 {
        bundles.push(case.bundle());
        case.local.install(&bundles[bundles.len() - 1]).await.unwrap();
    }
    // The live one, the one that it replaced, and one more.
    let kept: Vec<_> = bundles[2..].iter().map(|bundle| bundle.version.to_string()).collect();
    assert_eq!(case.versions(), kept);
    // The one to go back to is kept however old it is.
    let receipt = case.local.install(&bundles[2]).await.unwrap();
    assert_eq!(receipt.replaced, Some(bundles[4].version));
    case.local.install(&case.bundle()).await.unwrap();
    assert!(case.versions().contains(&bundles[2].version.to_string()));
}

#[tokio::test]
async fn what_an_interrupted_install_left_is_no_obstacle() {
    let case = Case::plain();
    let (first, second) = (case.bundle(), case.bundle());
    case.local.install(&first).await.unwrap();
    let new = case.path("versions/.new");
    fs::create_dir(&new).unwrap();
    fs::write(new.join("privkey.pem"), "half a k").unwrap();
    symlink("versions/nowhere", case.path(".live-new")).unwrap();
    // A version that was written but not switched to, and one of which only half was removed.
    let unfinished = case.path("versions").join(second.version.to_string());
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("cert.pem"), second.chain.leaf_pem()).unwrap();
    let receipt = case.local.install(&second).await.unwrap();
    assert_eq!(receipt.replaced, Some(first.version));
    assert_eq!(case.live().unwrap(), format!("{}.1", second.version));
    assert!(!new.exists() && fs::symlink_metadata(case.path(".live-new")).is_err());
    let installed = case.local.installed(&case.www).await.unwrap().unwrap();
    assert_eq!(installed.version, Some(second.version));
    case.local.rollback(&receipt).await.unwrap();
    assert_eq!(case.live().unwrap(), first.version.to_string());
}

#[tokio::test]
async fn a_live_version_that_is_spoiled_is_not_held() {
    for (file, text) in [
        ("privkey.pem", ""),
        ("privkey.pem", "garbage"),
        ("cert.pem", "garbage"),
        ("chain.pem", ""),
        ("fullchain.pem", "\u{0}"),
    ] {
        let case = Case::plain();
        let bundle = case.bundle();
        let receipt = case.local.install(&bundle).await.unwrap();
        fs::write(case.path("live").join(file), text).unwrap();
        assert_eq!(case.local.installed(&case.www).await.unwrap(), None, "{file} is {text:?}");
        assert_eq!(case.local.install(&bundle).await.unwrap(), receipt);
        assert!(case.local.installed(&case.www).await.unwrap().is_some());
    }
    let case = Case::plain();
    let bundle = case.bundle();
    case.local.install(&bundle).await.unwrap();
    fs::write(case.path("live/privkey.pem"), case.bundle().key.unwrap().to_pkcs8_pem().unwrap().expose())
        .unwrap();
    assert_eq!(case.local.installed(&case.www).await.unwrap(), None, "another key");
    fs::remove_dir_all(case.path("versions").join(bundle.version.to_string())).unwrap();
    assert_eq!(case.local.installed(&case.www).await.unwrap(), None, "the link leads nowhere");
    case.local.install(&bundle).await.unwrap();
    assert!(case.local.installed(&case.www).await.unwrap().is_some());
}

#[tokio::test]
async fn planted_links_are_refused_and_what_they_lead_to_is_untouched() {
    for planted in ["certificates/www", "certificates/www/versions", "certificates/www/versions/.new"] {
        let case = Case::plain();
        let victim = case.machine.path("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("privkey.pem"), "theirs").unwrap();
        let link = case.machine.path(planted);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&victim, &link).unwrap();
        let error = case.local.install(&case.bundle()).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Conflict(words) if words.as_str().contains("symbolic link")),
            "{error}"
        );
        let _ = case.local.uninstall(&case.www).await;
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1, "{planted}");
        assert_eq!(fs::read_to_string(victim.join("privkey.pem")).unwrap(), "theirs");
    }
}

#[tokio::test]
async fn a_foreign_live_is_refused() {
    for target in ["/etc", "../../victim", "versions/../../victim", "versions/foreign", "versions/"] {
        let case = Case::plain();
        let (first, second) = (case.bundle(), case.bundle());
        let receipt = case.local.install(&first).await.unwrap();
        fs::remove_file(case.path("live")).unwrap();
        symlink(target, case.path("live")).unwrap();
        for error in [
            case.local.install(&second).await.unwrap_err(),
            case.local.rollback(&receipt).await.unwrap_err(),
            case.local.installed(&case.www).await.unwrap_err(),
            case.local.uninstall(&case.www).await.unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{target}: {error}");
        }
        assert_eq!(fs::read_link(case.path("live")).unwrap(), Path::new(target));
    }
    let case = Case::plain();
    fs::create_dir_all(case.path("live")).unwrap();
    let error = case.local.install(&case.bundle()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    assert!(case.path("live").is_dir());
}

#[tokio::test]
async fn the_lock_file_is_not_followed_elsewhere() {
    let case = Case::plain();
    fs::create_dir(case.machine.certificates()).unwrap();
    symlink(case.machine.path("victim"), case.machine.path("certificates/.lock")).unwrap();
    assert!(case.local.install(&case.bundle()).await.is_err());
    assert!(!case.machine.path("victim").exists());
}

#[tokio::test]
async fn files_of_others_survive_an_uninstall() {
    let case = Case::plain();
    let bundle = case.bundle();
    case.local.install(&bundle).await.unwrap();
    let version = case.path("versions").join(bundle.version.to_string());
    fs::write(version.join("dhparam.pem"), "theirs").unwrap();
    fs::write(case.path("README"), "theirs").unwrap();
    case.local.uninstall(&case.www).await.unwrap();
    assert_eq!(case.local.installed(&case.www).await.unwrap(), None);
    assert!(version.join("dhparam.pem").exists() && case.path("README").exists());
    assert!(!version.join("privkey.pem").exists() && case.live().is_none());
    case.local.install(&bundle).await.unwrap();
    assert!(case.local.installed(&case.www).await.unwrap().is_some());
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
    assert_eq!(fs::read_dir(case.machine.certificates()).unwrap().count(), 0);
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
