//! Files on the machine: layout, rights, labels, what is planted there, and disks that do not take them.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use certlife_core::{
    Deployer as _, ErrorKind,
    challenge::{HttpBody, HttpFile, HttpPath},
    deploy::TargetResponse,
};
use certlife_deploy::ssh::{Ssh, Sudo};

use super::{Case, files_below};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn the_layout_is_as_documented() {
    let case = Case::plain();
    let bundle = case.bundle();
    case.ssh.install(&bundle).await.unwrap();
    let read = |name: &str| fs::read_to_string(case.path("live").join(name)).unwrap();
    assert_eq!(read("fullchain.pem"), bundle.chain.pem());
    assert_eq!(read("cert.pem"), bundle.chain.leaf_pem());
    assert_eq!(read("chain.pem"), bundle.chain.intermediates_pem());
    assert_eq!(read("privkey.pem"), bundle.key.unwrap().to_pkcs8_pem().unwrap().expose());
    for (name, rights) in [
        ("", 0o755),
        ("versions", 0o755),
        ("live/", 0o755),
        ("live/privkey.pem", 0o600),
        ("live/fullchain.pem", 0o644),
        ("live/install.json", 0o644),
        ("../.lock", 0o600),
    ] {
        assert_eq!(mode(&case.path(name)), rights, "{name}");
    }
}

#[tokio::test]
async fn what_is_written_gets_the_labels_of_the_policy() {
    let case = Case::new(|machine, ssh| ssh.web_root(machine.inside("web")));
    let bundle = case.bundle();
    case.ssh.install(&bundle).await.unwrap();
    let labelled = case.machine.openssh.labelled();
    // What is below it as well.
    for path in [case.machine.inside("certificates/www"), case.machine.inside("certificates/www/.live-new")] {
        assert!(labelled.contains(&path), "{path} is not among {labelled:?}");
    }
}

#[tokio::test]
async fn owners_and_modes_are_as_asked_for_with_roots_rights_alone() {
    let case = Case::new(|_, ssh| {
        ssh.sudo(Sudo::Everything).owner("www-data").group("deploy").key_mode(0o640).directory_mode(0o750)
    });
    let bundle = case.bundle();
    case.ssh.install(&bundle).await.unwrap();
    let group = case.machine.openssh.user_id;
    for (name, rights, user) in
        [("live/privkey.pem", 0o640, 33), ("live/cert.pem", 0o644, 33), ("live/", 0o750, 0)]
    {
        let found = fs::metadata(case.path(name)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (rights, user, group), "{name}");
    }
    fs::set_permissions(case.path("live/privkey.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .unwrap();
    case.ssh.install(&bundle).await.unwrap();
    assert_eq!(mode(&case.path("live/privkey.pem")), 0o640, "a changed mode is repaired");

    let builder = || Ssh::builder(case.machine.server(), case.machine.inside("other"));
    let error = builder().owner("no-such-user").build().unwrap().probe().await.unwrap_err();
    assert!(error.to_string().contains("no-such-user is not in /etc/passwd"), "{error}");
    let error = builder().owner("www-data").build().unwrap().install(&case.bundle()).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert!(!case.machine.path("other/www/live").exists());
}

#[tokio::test]
async fn old_versions_are_kept_as_told() {
    let case = Case::new(|_, ssh| ssh.keep(1));
    let mut bundles = Vec::new();
    for _ in 0..5 {
        bundles.push(case.bundle());
        case.ssh.install(&bundles[bundles.len() - 1]).await.unwrap();
    }
    let kept: Vec<_> = bundles[2..].iter().map(|bundle| bundle.version.to_string()).collect();
    assert_eq!(case.versions(), kept);
}

#[tokio::test]
async fn what_is_planted_is_refused_and_what_it_leads_to_is_untouched() {
    for planted in ["certificates/www", "certificates/www/versions", "certificates/www/versions/.new"] {
        let case = Case::plain();
        let victim = case.machine.path("victim");
        fs::create_dir(&victim).unwrap();
        fs::write(victim.join("privkey.pem"), "theirs").unwrap();
        let link = case.machine.path(planted);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        case.machine.openssh.run(&format!("true {planted}")).await;
        for directory in ["certificates", "certificates/www", "certificates/www/versions"] {
            if case.machine.path(directory).exists() {
                case.machine.openssh.give(&case.machine.path(directory));
            }
        }
        symlink("../".repeat(planted.matches('/').count()) + "victim", &link).unwrap();
        let error = case.ssh.install(&case.bundle()).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Conflict(words) if words.as_str().contains("symbolic link")),
            "{planted}: {error}"
        );
        let _ = case.ssh.uninstall(&case.www).await;
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 1, "{planted}");
        assert_eq!(fs::read_to_string(victim.join("privkey.pem")).unwrap(), "theirs");
    }
    for target in ["/etc", "../../victim", "versions/../../victim", "versions/foreign"] {
        let case = Case::plain();
        let receipt = case.ssh.install(&case.bundle()).await.unwrap();
        fs::remove_file(case.path("live")).unwrap();
        symlink(target, case.path("live")).unwrap();
        for error in [
            case.ssh.install(&case.bundle()).await.unwrap_err(),
            case.ssh.rollback(&receipt).await.unwrap_err(),
            case.ssh.installed(&case.www).await.unwrap_err(),
            case.ssh.uninstall(&case.www).await.unwrap_err(),
        ] {
            assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{target}: {error}");
        }
        assert_eq!(fs::read_link(case.path("live")).unwrap(), Path::new(target));
    }
}

#[tokio::test]
async fn a_lock_that_leads_elsewhere_is_refused() {
    let case = Case::plain();
    fs::create_dir(case.machine.path("certificates")).unwrap();
    case.machine.openssh.give(&case.machine.path("certificates"));
    symlink("../victim", case.machine.path("certificates/.lock")).unwrap();
    let error = case.ssh.install(&case.bundle()).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Conflict(words) if words.as_str().contains(".lock")),
        "{error}"
    );
    assert!(!case.machine.path("victim").exists());
}

#[tokio::test]
async fn a_disk_without_room_is_told_and_the_old_version_stays() {
    let case = Case::plain();
    let openssh = &case.machine.openssh;
    let directory = format!("{}/certificates", openssh.small_disk());
    // What a run before this one may have left.
    openssh.run(&format!("rm -rf {0}/certificates {0}/filler", openssh.small_disk())).await;
    let ssh = Ssh::builder(case.machine.server(), &directory).build().unwrap();
    let (first, second) = (case.bundle(), case.bundle());
    ssh.install(&first).await.unwrap();
    // From a disk that is full to the last byte to one on which everything fits but the last note.
    let mut refused = 0;
    for pages in 0..6 {
        let filler = format!("{}/filler", openssh.small_disk());
        let fill = format!(
            "dd if=/dev/zero of={filler} bs=4096 2>/dev/null; truncate -s -$(({pages} * 4096)) {filler}"
        );
        openssh.run(&fill).await;
        let outcome = ssh.install(&second).await;
        let installed = ssh.installed(&case.www).await.unwrap().unwrap().version;
        openssh.run(&format!("rm {filler}")).await;
        let Err(error) = outcome else {
            assert_eq!(installed, Some(second.version), "{pages} pages free");
            continue;
        };
        assert!(
            matches!(error.kind(), ErrorKind::Io(words) if words.as_str().contains("no room")),
            "{pages} pages free: {error}"
        );
        if installed == Some(first.version) {
            refused += 1;
        }
    }
    assert!(refused >= 4, "each file of the version was the one that did not fit: {refused}");
    assert_eq!(ssh.install(&second).await.unwrap().replaced, Some(first.version));
    ssh.uninstall(&case.www).await.unwrap();
    openssh.run(&format!("rm -r {directory}")).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_to_is_told() {
    let case = Case::plain();
    let disk = case.machine.openssh.read_only_disk();
    for directory in [format!("{disk}/certificates"), "/etc/certlife-test".to_owned()] {
        let ssh = Ssh::builder(case.machine.server(), &directory).build().unwrap();
        for error in [ssh.probe().await.unwrap_err(), ssh.install(&case.bundle()).await.unwrap_err()] {
            assert!(
                matches!(error.kind(), ErrorKind::Io(words) if words.as_str().contains(&directory)),
                "{directory}: {error}"
            );
        }
    }
    // A directory that was ours and no longer is.
    let (first, second) = (case.bundle(), case.bundle());
    case.ssh.install(&first).await.unwrap();
    case.machine
        .openssh
        .run(&format!("chmod 500 {}", case.machine.inside("certificates/www/versions")))
        .await;
    let error = case.ssh.install(&second).await.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
    assert_eq!(case.live(), Some(first.version.to_string()));
}

#[tokio::test]
async fn challenge_files_of_others_stay_and_ours_go_with_their_directories() {
    let case = Case::new(|machine, ssh| ssh.web_root(machine.inside("web")));
    let response = |body: &str| {
        TargetResponse::Http(HttpFile {
            host: "www.example.org".parse().unwrap(),
            path: HttpPath::new("/.well-known/acme-challenge/token").unwrap(),
            body: HttpBody::new(body).unwrap(),
        })
    };
    let handle = case.ssh.put_challenge(&response("ours")).await.unwrap();
    assert_eq!(mode(&case.machine.path("web/.well-known/acme-challenge/token")), 0o644);
    assert_eq!(mode(&case.machine.path("web/.well-known/acme-challenge")), 0o755);
    let error = case.ssh.put_challenge(&response("others")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    case.ssh.remove_challenge(&handle).await.unwrap();
    assert_eq!(files_below(&case.machine.path("web")).len(), 0);
    assert_eq!(fs::read_dir(case.machine.path("web")).unwrap().count(), 0);
    let nowhere = Ssh::builder(case.machine.server(), case.machine.inside("certificates"));
    let nowhere = nowhere.web_root(case.machine.inside("no-web")).build().unwrap();
    let error = nowhere.put_challenge(&response("ours")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io(_)), "{error}");
    assert!(!case.machine.path("no-web").exists(), "a web root is never made");
}
