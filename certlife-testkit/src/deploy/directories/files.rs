//! The files of certificates: where they are, what is done about those that are not ours or not whole.

use std::{fs, path::Path};

use certlife_core::ErrorKind;

use super::{super::suite::ok, Case, DirectoryFixture, DirectorySettings, folder};

/// The files of a version have their documented names, contents and rights.
pub async fn the_layout_is_as_documented(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let bundle = case.bundle();
    case.install(&bundle).await;
    let read = |name: &str| case.read(&format!("certificates/www/live/{name}"));
    assert_eq!(read("fullchain.pem"), bundle.chain.pem());
    assert_eq!(read("cert.pem"), bundle.chain.leaf_pem());
    assert_eq!(read("chain.pem"), bundle.chain.intermediates_pem());
    let key = bundle.key.as_ref().map(certlife_core::PrivateKey::to_pkcs8_pem);
    assert_eq!(read("privkey.pem"), key.expect("a key").expect("a key in PEM").expose());
    assert!(!case.path("live/combined.pem").exists());
    assert_eq!(case.live(), Some(bundle.version.to_string()));
    for (name, rights) in [
        ("", 0o755),
        ("versions", 0o755),
        ("live/", 0o755),
        ("live/privkey.pem", 0o600),
        ("live/cert.pem", 0o644),
        ("live/chain.pem", 0o644),
        ("live/fullchain.pem", 0o644),
        ("live/install.json", 0o644),
        ("../.lock", 0o600),
    ] {
        assert_eq!(folder::mode(&case.path(name)), rights, "{name}");
    }
}

/// As many old versions are kept as were asked for, besides the live one and the one that it replaced.
pub async fn old_versions_are_kept_as_told(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings { keep: 1, ..DirectorySettings::default() });
    let mut bundles = Vec::new();
    for _ in 0..5 {
        bundles.push(case.bundle());
        case.install(&bundles[bundles.len() - 1]).await;
    }
    let kept: Vec<_> = bundles[2..].iter().map(|bundle| bundle.version.to_string()).collect();
    assert_eq!(fx.folder().versions(&case.www), kept);
    // The one to go back to is kept however old it is.
    assert_eq!(case.install(&bundles[2]).await.replaced, Some(bundles[4].version));
    case.install(&case.bundle()).await;
    assert!(fx.folder().versions(&case.www).contains(&bundles[2].version.to_string()));
}

/// Whatever an earlier install left unfinished is removed or passed over.
pub async fn what_an_interrupted_install_left_is_no_obstacle(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let (first, second) = (case.bundle(), case.bundle());
    case.install(&first).await;
    case.make_directory("certificates/www/versions/.new");
    case.write("certificates/www/versions/.new/privkey.pem", "half a k");
    link("versions/nowhere", &case.path(".live-new"));
    // A version that was written but not switched to, and one of which only half was removed.
    let unfinished = format!("certificates/www/versions/{}", second.version);
    case.make_directory(&unfinished);
    case.write(&format!("{unfinished}/cert.pem"), &second.chain.leaf_pem());
    let receipt = case.install(&second).await;
    assert_eq!(receipt.replaced, Some(first.version));
    assert_eq!(case.live(), Some(format!("{}.1", second.version)));
    for left in ["versions/.new", ".live-new"] {
        assert!(fs::symlink_metadata(case.path(left)).is_err(), "{left}");
    }
    assert_eq!(case.installed().await.and_then(|installed| installed.version), Some(second.version));
    ok(case.deployer.rollback(&receipt).await);
    assert_eq!(case.live(), Some(first.version.to_string()));
}

/// A version with a file that is gone, damaged or another's is not held, and the same install mends it.
pub async fn a_live_version_that_is_spoiled_is_not_held(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let bundle = case.bundle();
    let receipt = case.install(&bundle).await;
    let mend = async |how: &str| {
        assert_eq!(case.installed().await, None, "{how}");
        assert_eq!(case.install(&bundle).await, receipt, "{how}");
        assert!(case.installed().await.is_some(), "{how}");
    };
    let other = case.bundle().key.expect("a key").to_pkcs8_pem().expect("a key in PEM");
    for (file, text) in [
        ("privkey.pem", ""),
        ("privkey.pem", "garbage"),
        ("cert.pem", "garbage"),
        ("chain.pem", ""),
        ("fullchain.pem", "\u{0}"),
        ("privkey.pem", other.expose()),
    ] {
        case.write(&format!("certificates/www/live/{file}"), text);
        mend(&format!("{file} is {} bytes", text.len())).await;
    }
    let live = case.path(&format!("versions/{}", case.live().expect("it is live")));
    fs::remove_dir_all(live).unwrap_or_else(|error| panic!("{error}"));
    mend("the link leads nowhere").await;
}

/// A link where a directory of ours is to be, or in place of the lock, leads nobody astray.
pub async fn planted_links_are_refused_and_what_they_lead_to_is_untouched(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    case.make_directory("victim");
    case.write("victim/privkey.pem", "theirs");
    for planted in [
        "certificates/.lock",
        "certificates/www",
        "certificates/www/versions",
        "certificates/www/versions/.new",
    ] {
        let (parent, _) = planted.rsplit_once('/').expect("it is in a directory");
        case.make_directory(parent);
        let path = fx.folder().path(planted);
        link(&format!("{}victim", "../".repeat(planted.matches('/').count())), &path);
        let error = case.refusal(&case.bundle()).await;
        let ErrorKind::Conflict(words) = error.kind() else { panic!("{planted}: {error}") };
        assert!(planted == "certificates/.lock" || words.as_str().contains("symbolic link"), "{words}");
        let _ = case.deployer.uninstall(&case.www).await;
        let entries = fs::read_dir(fx.folder().path("victim")).into_iter().flatten().count();
        assert_eq!((entries, case.read("victim/privkey.pem").as_str()), (1, "theirs"), "{planted}");
        fs::remove_file(&path).unwrap_or_else(|error| panic!("{planted}: {error}"));
        let _ = fs::remove_dir_all(case.path(""));
    }
}

/// What is in place of the pointer to the live version, or leads elsewhere, is not replaced.
pub async fn a_foreign_live_is_refused(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let (first, second) = (case.bundle(), case.bundle());
    let receipt = case.install(&first).await;
    for target in ["/etc", "../../victim", "versions/../../victim", "versions/foreign", "versions/"] {
        fs::remove_file(case.path("live")).unwrap_or_else(|error| panic!("{error}"));
        link(target, &case.path("live"));
        for error in [
            case.deployer.install(&second).await.err(),
            case.deployer.rollback(&receipt).await.err(),
            case.deployer.installed(&case.www).await.err(),
            case.deployer.uninstall(&case.www).await.err(),
        ] {
            let kind = error.as_ref().map(certlife_core::Error::kind);
            assert!(matches!(kind, Some(ErrorKind::Conflict(_))), "{target}: {error:?}");
        }
        assert_eq!(fs::read_link(case.path("live")).ok().as_deref(), Some(Path::new(target)));
    }
    fs::remove_file(case.path("live")).unwrap_or_else(|error| panic!("{error}"));
    case.make_directory("certificates/www/live");
    let error = case.refusal(&second).await;
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    assert!(case.path("live").is_dir());
}

/// Files that somebody put beside ours stay, and are no obstacle afterwards.
pub async fn files_of_others_survive_an_uninstall(fx: &impl DirectoryFixture) {
    let case = Case::new(fx, DirectorySettings::default());
    let bundle = case.bundle();
    case.install(&bundle).await;
    let version = format!("certificates/www/versions/{}", bundle.version);
    case.write(&format!("{version}/dhparam.pem"), "theirs");
    case.write("certificates/www/README", "theirs");
    ok(case.deployer.uninstall(&case.www).await);
    assert_eq!(case.installed().await, None);
    for kept in [format!("{version}/dhparam.pem"), "certificates/www/README".to_owned()] {
        assert_eq!(case.read(&kept), "theirs");
    }
    assert!(case.read(&format!("{version}/privkey.pem")).is_empty() && case.live().is_none());
    case.install(&bundle).await;
    assert!(case.installed().await.is_some());
}

/// Makes a symbolic link.
pub(super) fn link(target: &str, path: &Path) {
    #[cfg(unix)]
    std::os::unix::fs::symlink(target, path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    #[cfg(not(unix))]
    panic!("{} -> {target}: these promises are tested on Unix", path.display());
}
