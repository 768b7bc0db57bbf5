//! Files on the machine: labels, owners, and disks that do not take them.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use certlife_core::{Deployer as _, ErrorKind};
use certlife_deploy::ssh::{Ssh, Sudo};

use super::Case;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
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
