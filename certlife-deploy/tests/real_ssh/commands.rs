//! Commands on the machine: what they see, what they say, and what happens when they fail.

use std::time::Duration;

use certlife_core::{Deployer as _, ErrorKind};
use certlife_deploy::ssh::{Preset, Ssh, Sudo};

use super::{Case, Machine};

/// Runs a script of the machine, with its place as `$1` and the directory of the version as `$2`.
fn script(machine: &Machine, name: &str) -> Vec<String> {
    vec!["/bin/sh".into(), machine.inside(name), machine.place.inside().into(), "{directory}".into()]
}

/// A check and a reload command that are scripts; the reload leaves a line on what it found live.
fn scripted() -> Case {
    let case =
        Case::new(|machine, ssh| ssh.check(script(machine, "check")).reload(script(machine, "reload")));
    case.write("check", "exit 0");
    case.write("reload", REPORT);
    case
}

const REPORT: &str = "readlink \"$1/certificates/www/live\" >> \"$1/reloads\"\n";

fn reloads(case: &Case) -> Vec<String> {
    case.read("reloads").lines().map(|line| line.replace("versions/", "")).collect()
}

#[tokio::test]
async fn the_check_sees_the_new_version_before_it_goes_live() {
    let case = scripted();
    let (first, second) = (case.bundle(), case.bundle());
    case.ssh.install(&first).await.unwrap();
    case.write(
        "check",
        "cat \"$2/fullchain.pem\" > \"$1/checked\"; readlink \"$1/certificates/www/live\" > \"$1/live\"",
    );
    case.ssh.install(&second).await.unwrap();
    assert_eq!(case.read("checked"), second.chain.pem());
    assert_eq!(case.read("live"), format!("versions/{}\n", first.version));
    assert_eq!(reloads(&case), [first.version.to_string(), second.version.to_string()]);
}

#[tokio::test]
async fn a_failed_check_switches_nothing_and_says_why() {
    let case = scripted();
    let (first, second) = (case.bundle(), case.bundle());
    case.ssh.install(&first).await.unwrap();
    case.write("check", "echo to-stdout; echo to-stderr >&2; exit 3");
    let error = case.ssh.install(&second).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    for part in ["/bin/sh", "exit status: 3", "to-stdout", "to-stderr"] {
        assert!(words.as_str().contains(part), "{words}");
    }
    assert_eq!(case.live(), Some(first.version.to_string()));
    assert_eq!(reloads(&case).len(), 1, "nothing was reloaded");
    case.write("check", "exit 0");
    assert_eq!(case.ssh.install(&second).await.unwrap().replaced, Some(first.version));
}

#[tokio::test]
async fn a_failed_reload_brings_the_previous_version_back_and_reloads_it() {
    let case = scripted();
    let (first, second) = (case.bundle(), case.bundle());
    case.ssh.install(&first).await.unwrap();
    case.write("reload", &format!("{REPORT}case \"$2\" in *{}*) echo broken; exit 1;; esac", second.version));
    let error = case.ssh.install(&second).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    assert!(
        words.as_str().contains("broken") && words.as_str().contains("the previous version is back"),
        "{words}"
    );
    let (one, two) = (first.version.to_string(), second.version.to_string());
    assert_eq!(reloads(&case), [&*one, &*two, &*one]);
    assert_eq!(case.ssh.installed(&case.www).await.unwrap().unwrap().version, Some(first.version));

    case.write("reload", "echo dead; exit 1");
    let error = case.ssh.install(&second).await.unwrap_err();
    assert!(error.to_string().contains("but reloading it failed too"), "{error}");
    assert_eq!(case.live(), Some(one));

    case.write("reload", REPORT);
    let receipt = case.ssh.install(&second).await.unwrap();
    assert_eq!((receipt.replaced, case.live()), (Some(first.version), Some(two)));
}

#[tokio::test]
async fn a_command_that_does_not_end_is_stopped() {
    let case =
        Case::new(|machine, ssh| ssh.check(script(machine, "check")).command_timeout(Duration::from_secs(1)));
    case.write("check", "echo started; echo $$ > \"$1/pid\"; exec sleep 600");
    let error = case.ssh.install(&case.bundle()).await.unwrap_err();
    assert!(error.to_string().contains("stopped after 1 s: started"), "{error}");
    let script =
        format!("while kill -0 {} 2>/dev/null; do sleep 0.1; done; echo gone", case.read("pid").trim());
    let gone = tokio::time::timeout(Duration::from_secs(20), case.machine.openssh.run(&script)).await;
    assert_eq!(gone.unwrap(), "gone\n", "it was killed");
}

#[tokio::test]
async fn what_a_command_leaves_running_is_not_waited_for() {
    let case = scripted();
    case.write("reload", "sleep 300 & echo started");
    tokio::time::timeout(Duration::from_mins(1), case.ssh.install(&case.bundle())).await.unwrap().unwrap();
}

#[tokio::test]
async fn output_without_end_is_read_to_its_end_and_cut() {
    let case = scripted();
    case.write(
        "check",
        "head -c 3000000 /dev/zero | tr '\\0' 'x'; printf '\\033[31mthe reason\\n' >&2; exit 1",
    );
    let error = case.ssh.install(&case.bundle()).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    assert!(words.as_str().contains("the reason") && !words.as_str().contains('\u{1b}'), "{words}");
    assert!(words.as_str().len() < 1_100, "{}", words.as_str().len());
}

#[tokio::test]
async fn the_environment_is_empty_and_no_shell_reads_the_words() {
    let case = Case::new(|_, ssh| {
        ssh.check([
            "sh",
            "-c",
            "tr '\\0' ' ' < /proc/$$/environ; printf '%s,' \"$PWD\" \"$@\"; exit 1",
            "x",
            "$HOME `id` $(id) ' \" \\ ; touch /tmp/certlife-was-here",
            "{certificate}",
        ])
    });
    let error = case.ssh.install(&case.bundle()).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    let wanted = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /,\
                  $HOME `id` $(id) ' \" \\ ; touch /tmp/certlife-was-here,www,";
    assert!(words.as_str().contains(wanted), "{words}");
    assert_eq!(words.as_str().matches('=').count(), 1, "{words}");
}

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
async fn a_probe_finds_missing_commands() {
    let case = Case::plain();
    for (command, found) in [
        ("sh", true),
        ("/bin/sh", true),
        ("no-such-program", false),
        ("/no/such/program", false),
        ("-v", false),
    ] {
        let ssh = Ssh::builder(case.machine.server(), case.machine.inside("certificates")).reload([command]);
        let outcome = ssh.build().unwrap().probe().await;
        assert_eq!(outcome.is_ok(), found, "{command}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(
                matches!(error.kind(), ErrorKind::CommandFailed(words) if words.as_str().contains(command)),
                "{error}"
            );
        }
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
