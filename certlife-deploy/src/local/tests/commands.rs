use std::{path::Path, time::Duration};

use certlife_core::{Deployer as _, ErrorKind};

use super::{super::*, Case};

/// Runs a script of the machine, with its root as `$1` and the directory of the version as `$2`.
fn script(root: &Path, name: &str) -> Vec<String> {
    let script = root.join(name).display().to_string();
    vec!["/bin/sh".into(), script, root.display().to_string(), "{directory}".into()]
}

/// A check and a reload command that are scripts; the reload leaves a line on what it found live.
fn scripted() -> Case {
    let case = Case::new(|root| {
        Local::builder(root.join("certificates")).check(script(root, "check")).reload(script(root, "reload"))
    });
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
    case.local.install(&first).await.unwrap();
    case.write(
        "check",
        "cat \"$2/fullchain.pem\" > \"$1/checked\"; readlink \"$1/certificates/www/live\" > \"$1/live\"",
    );
    case.local.install(&second).await.unwrap();
    assert_eq!(case.read("checked"), second.chain.pem());
    assert_eq!(case.read("live"), format!("versions/{}\n", first.version));
    assert_eq!(reloads(&case), [first.version.to_string(), second.version.to_string()]);
}

#[tokio::test]
async fn the_check_of_the_first_version_finds_it_where_the_configuration_says() {
    let case = scripted();
    case.write("check", "test -s \"$1/certificates/www/live/fullchain.pem\" && echo refused && exit 1");
    let first = case.bundle();
    let error = case.local.install(&first).await.unwrap_err();
    assert!(error.to_string().contains("refused; nothing was installed before"), "{error}");
    assert_eq!((case.live(), reloads(&case).len()), (None, 0));
    case.write("check", "test -s \"$1/certificates/www/live/fullchain.pem\"");
    assert_eq!(case.local.install(&first).await.unwrap().replaced, None);
    assert_eq!(reloads(&case), [first.version.to_string()]);
}

#[tokio::test]
async fn a_failed_check_switches_nothing_and_says_why() {
    let case = scripted();
    let (first, second) = (case.bundle(), case.bundle());
    case.local.install(&first).await.unwrap();
    case.write("check", "echo to-stdout; echo to-stderr >&2; exit 3");
    let error = case.local.install(&second).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    for part in ["/bin/sh", "exit status: 3", "to-stdout", "to-stderr"] {
        assert!(words.as_str().contains(part), "{words}");
    }
    assert_eq!(case.live(), Some(first.version.to_string()));
    assert_eq!(reloads(&case).len(), 1, "nothing was reloaded");
    case.write("check", "exit 0");
    assert_eq!(case.local.install(&second).await.unwrap().replaced, Some(first.version));
}

#[tokio::test]
async fn a_failed_reload_brings_the_previous_version_back_and_reloads_it() {
    let case = scripted();
    let (first, second) = (case.bundle(), case.bundle());
    case.local.install(&first).await.unwrap();
    case.write("reload", &format!("{REPORT}case \"$2\" in *{}*) echo broken; exit 1;; esac", second.version));
    let error = case.local.install(&second).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    assert!(words.as_str().contains("broken; the previous version is back"), "{words}");
    let (one, two) = (first.version.to_string(), second.version.to_string());
    assert_eq!(reloads(&case), [&*one, &*two, &*one]);
    assert_eq!(case.local.installed(&case.www).await.unwrap().unwrap().version, Some(first.version));

    case.write("reload", "echo dead; exit 1");
    let error = case.local.install(&second).await.unwrap_err();
    assert!(error.to_string().contains("but reloading it failed too"), "{error}");
    assert_eq!(case.live(), Some(one));

    case.write("reload", REPORT);
    let receipt = case.local.install(&second).await.unwrap();
    assert_eq!((receipt.replaced, case.live()), (Some(first.version), Some(two)));
}

#[tokio::test]
async fn a_failed_reload_of_the_first_version_leaves_nothing_live() {
    let case = scripted();
    case.write("reload", "exit 1");
    let error = case.local.install(&case.bundle()).await.unwrap_err();
    assert!(error.to_string().contains("nothing was installed before"), "{error}");
    assert_eq!((case.live(), case.local.installed(&case.www).await.unwrap()), (None, None));
}

#[tokio::test]
async fn the_same_version_is_reloaded_again_and_stays_if_that_fails() {
    let case = scripted();
    let (first, second) = (case.bundle(), case.bundle());
    case.local.install(&first).await.unwrap();
    let receipt = case.local.install(&second).await.unwrap();
    case.local.install(&second).await.unwrap();
    assert_eq!(reloads(&case).len(), 3);
    case.write("reload", "exit 1");
    let error = case.local.install(&second).await.unwrap_err();
    assert!(error.to_string().contains("stays"), "{error}");
    assert_eq!(case.live(), Some(second.version.to_string()));
    case.write("reload", REPORT);
    assert_eq!(case.local.install(&second).await.unwrap(), receipt);
}

#[tokio::test]
async fn after_a_crash_before_the_reload_a_failed_check_or_reload_still_goes_back() {
    for refusing in ["check", "reload"] {
        let case = scripted();
        let (first, second) = (case.bundle(), case.bundle());
        case.local.install(&first).await.unwrap();
        // Abandoned while the reload command runs, which is after the switch.
        case.write("reload", "touch \"$1/reloading\"; sleep 600");
        let installing = case.local.install(&second);
        let reloading = async {
            while !case.machine.path("reloading").exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            outcome = installing => panic!("{outcome:?}"),
            () = reloading => {}
        }
        assert_eq!(case.live(), Some(second.version.to_string()));
        case.write("reload", REPORT);
        let refuse = format!("{REPORT}case \"$2\" in *{}*) exit 1;; esac", second.version);
        case.write(refusing, &refuse);
        let error = case.local.install(&second).await.unwrap_err();
        assert!(error.to_string().contains("the previous version is back"), "{error}");
        assert_eq!(case.live(), Some(first.version.to_string()));
        assert_eq!(reloads(&case).last(), Some(&first.version.to_string()), "the server was told");
    }
}

#[tokio::test]
async fn a_rollback_reloads_what_it_brings_back() {
    let case = scripted();
    let (first, second) = (case.bundle(), case.bundle());
    let initial = case.local.install(&first).await.unwrap();
    let receipt = case.local.install(&second).await.unwrap();
    case.write("reload", "exit 1");
    let error = case.local.rollback(&receipt).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CommandFailed(_)), "{error}");
    case.write("reload", REPORT);
    case.local.rollback(&receipt).await.unwrap();
    let reloaded = reloads(&case);
    assert_eq!(reloaded.last(), Some(&first.version.to_string()));
    case.local.rollback(&initial).await.unwrap();
    assert_eq!((case.live(), reloads(&case).len()), (None, reloaded.len()));
}

#[tokio::test]
async fn a_command_that_does_not_end_is_stopped() {
    let case = Case::new(|root| {
        let local = Local::builder(root.join("certificates")).check(script(root, "check"));
        local.command_timeout(Duration::from_secs(1))
    });
    case.write("check", "echo started; echo $$ > \"$1/pid\"; exec sleep 600");
    let error = case.local.install(&case.bundle()).await.unwrap_err();
    assert!(error.to_string().contains("stopped after 1 s: started"), "{error}");
    let pid = case.read("pid");
    assert!(!Path::new("/proc").join(pid.trim()).exists(), "it was killed and waited for");
}

#[tokio::test]
async fn what_a_command_leaves_running_is_not_waited_for() {
    let case = scripted();
    case.write("reload", "sleep 30 & echo started");
    let started = std::time::Instant::now();
    case.local.install(&case.bundle()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn output_without_end_is_read_to_its_end_and_cut() {
    let case = scripted();
    case.write(
        "check",
        "head -c 3000000 /dev/zero | tr '\\0' 'x'; printf '\\033[31mthe reason\\n' >&2; exit 1",
    );
    let error = case.local.install(&case.bundle()).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    assert!(words.as_str().contains("the reason") && !words.as_str().contains('\u{1b}'), "{words}");
    assert!(words.as_str().len() < 1_100, "{}", words.as_str().len());
}

#[tokio::test]
async fn the_environment_is_empty_and_no_shell_reads_the_words() {
    let case = Case::new(|root| {
        Local::builder(root.join("certificates")).check(["/usr/bin/env"]).reload([
            "/usr/bin/env",
            "false",
            "$HOME",
            "; touch /tmp/certlife-was-here",
            "{certificate}",
        ])
    });
    case.local.install(&case.bundle()).await.unwrap_err();
    let case = Case::new(|root| {
        Local::builder(root.join("certificates")).check([
            "sh",
            "-c",
            "tr '\\0' ' ' < /proc/$$/environ; printf '%s,' \"$@\"; exit 1",
            "x",
            "$HOME `id`",
            "{certificate}",
        ])
    });
    let error = case.local.install(&case.bundle()).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    let (_, output) = words.as_str().split_once(": ").unwrap();
    let (_, output) = output.split_once(": ").unwrap_or(("", output));
    assert!(
        output.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin $HOME `id`,www,;"),
        "{output}"
    );
    assert_eq!(output.matches('=').count(), 1, "{output}");
}

#[tokio::test]
async fn a_probe_finds_missing_commands() {
    for (command, found) in [
        ("sh", true),
        ("/bin/sh", true),
        ("no-such-program", false),
        ("/no/such/program", false),
        ("/etc/passwd", false),
    ] {
        let case = Case::plain();
        let local = Local::builder(case.machine.certificates()).reload([command]).build().unwrap();
        let outcome = local.probe().await;
        assert_eq!(outcome.is_ok(), found, "{command}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(
                matches!(error.kind(), ErrorKind::CommandFailed(words) if words.as_str().contains(command))
            );
            let error = local.install(&case.bundle()).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::CommandFailed(_)), "{error}");
            assert_eq!(case.live(), None);
        }
    }
}
