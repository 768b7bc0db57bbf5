//! Commands with the rights of another user, and those of presets.

use certlife_core::{Deployer as _, ErrorKind};
use certlife_deploy::ssh::{Preset, Ssh, Sudo};

use super::Case;

#[tokio::test]
async fn sudo_runs_the_commands_as_root_and_the_files_stay_the_users() {
    let case = Case::new(|machine, ssh| {
        let whoami = vec!["sh".to_owned(), "-c".to_owned(), format!("id -un > {}", machine.inside("who"))];
        ssh.check(whoami.clone()).reload(whoami).sudo(Sudo::Commands)
    });
    case.ssh.probe().await.unwrap();
    case.ssh.install(&case.bundle()).await.unwrap();
    assert_eq!(case.read("who"), "root\n");
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(case.path("live/privkey.pem")).unwrap());
    assert_eq!(owner, case.machine.openssh.user_id);
}

#[tokio::test]
async fn sudo_that_asks_for_a_password_is_refused_and_told() {
    let case = Case::plain();
    let mut server = case.machine.server();
    server.user.clone_from(&case.machine.openssh.limited_user);
    // A directory that this user may write to.
    std::fs::set_permissions(case.machine.path(""), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .unwrap();
    let ssh = Ssh::builder(server, case.machine.inside("theirs")).check(["true"]).sudo(Sudo::Commands);
    let ssh = ssh.build().unwrap();
    for error in [ssh.probe().await.unwrap_err(), ssh.install(&case.bundle()).await.unwrap_err()] {
        let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
        assert!(words.as_str().contains("password"), "{words}");
    }
    assert!(!case.machine.path("theirs/www/live").exists());
}

#[tokio::test]
async fn a_program_that_root_alone_sees_is_found_with_roots_rights_alone() {
    let case = Case::plain();
    let (folder, hidden) = (case.machine.inside("hidden"), case.machine.inside("hidden/program"));
    let make = format!("sudo -n sh -c 'mkdir -m 700 {folder} && cp /bin/true {hidden}'");
    case.machine.openssh.run(&make).await;
    let missing = case.machine.inside("hidden/nothing");
    for (program, sudo, found) in
        [(&hidden, Sudo::Commands, true), (&hidden, Sudo::No, false), (&missing, Sudo::Commands, false)]
    {
        let ssh = Ssh::builder(case.machine.server(), case.machine.inside("certificates"));
        let outcome = ssh.reload([program]).sudo(sudo).build().unwrap().probe().await;
        assert_eq!(outcome.is_ok(), found, "{program}, {sudo:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_preset_names_programs_that_can_be_replaced() {
    let case = Case::plain();
    let ssh = Ssh::builder(case.machine.server(), case.machine.inside("certificates")).preset(Preset::Nginx);
    // The machine has nginx, and need not have systemd.
    let ssh = ssh.reload(["true"]).build().unwrap();
    ssh.probe().await.unwrap();
}
