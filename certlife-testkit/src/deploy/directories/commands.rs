//! The commands that check and reload: what they see, what they say, and what happens when they fail.

use std::{fs, path::Path, time::Duration};

use certlife_core::ErrorKind;

use super::{
    super::suite::{ok, refused},
    Case, DirectoryFixture, DirectorySettings,
};

/// The line that a reload leaves on what it found live.
const REPORT: &str = "readlink \"$1/certificates/www/live\" >> \"$1/reloads\"\n";
/// How long a test waits for something that has to happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// A version is checked before it goes live, in its own directory, and then the server is told.
pub async fn the_check_sees_the_new_version_before_it_goes_live(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    let (first, second) = (case.bundle(), case.bundle());
    case.install(&first).await;
    let look =
        "cat \"$2/fullchain.pem\" > \"$1/checked\"; readlink \"$1/certificates/www/live\" > \"$1/was-live\"";
    case.write("check", look);
    case.install(&second).await;
    assert_eq!(case.read("checked"), second.chain.pem());
    assert_eq!(case.read("was-live"), format!("versions/{}\n", first.version));
    assert_eq!(case.reloads(), [first.version.to_string(), second.version.to_string()]);
}

/// A server whose configuration names the files already passes its check, and if it does not, nothing is live.
pub async fn the_check_of_the_first_version_finds_it_live(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    let first = case.bundle();
    let look = "test -s \"$1/certificates/www/live/fullchain.pem\"";
    case.write("check", &format!("{look} && echo refused && exit 1"));
    let error = case.refusal(&first).await;
    assert!(error.to_string().contains("refused; nothing was installed before"), "{error}");
    assert_eq!((case.live(), case.reloads().len()), (None, 0));
    case.write("check", look);
    assert_eq!(case.install(&first).await.replaced, None);
    assert_eq!(case.reloads(), [first.version.to_string()]);
}

/// A version that does not pass changes nothing, and what the check said is told.
pub async fn a_failed_check_switches_nothing_and_says_why(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    let (first, second) = (case.bundle(), case.bundle());
    case.install(&first).await;
    case.write("check", "echo to-stdout; echo to-stderr >&2; exit 3");
    let error = case.refusal(&second).await;
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    for part in ["/bin/sh", "exit status: 3", "to-stdout", "to-stderr"] {
        assert!(words.as_str().contains(part), "{words}");
    }
    assert_eq!(case.live(), Some(first.version.to_string()));
    assert_eq!(case.reloads().len(), 1, "nothing was reloaded");
    case.write("check", "exit 0");
    assert_eq!(case.install(&second).await.replaced, Some(first.version));
}

/// A version that the server does not take is replaced by the one before, which the server is told of.
pub async fn a_failed_reload_brings_the_previous_version_back_and_reloads_it(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    let (first, second) = (case.bundle(), case.bundle());
    case.install(&first).await;
    case.write("reload", &format!("{REPORT}case \"$2\" in *{}*) echo broken; exit 1;; esac", second.version));
    let error = case.refusal(&second).await;
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    assert!(words.as_str().contains("broken; the previous version is back"), "{words}");
    let (one, two) = (first.version.to_string(), second.version.to_string());
    assert_eq!(case.reloads(), [&*one, &*two, &*one]);
    assert_eq!(case.installed().await.and_then(|installed| installed.version), Some(first.version));

    case.write("reload", "echo dead; exit 1");
    let error = case.refusal(&second).await;
    assert!(error.to_string().contains("but reloading it failed too"), "{error}");
    assert_eq!(case.live(), Some(one));

    case.write("reload", REPORT);
    assert_eq!(case.install(&second).await.replaced, Some(first.version));
    assert_eq!(case.live(), Some(two));
}

/// Where there was nothing before, there is nothing after.
pub async fn a_failed_reload_of_the_first_version_leaves_nothing_live(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    case.write("reload", "exit 1");
    let error = case.refusal(&case.bundle()).await;
    assert!(error.to_string().contains("nothing was installed before"), "{error}");
    assert_eq!((case.live(), case.installed().await), (None, None));
}

/// A version that was installed before is not taken away because the server fails now.
pub async fn the_same_version_is_reloaded_again_and_stays_if_that_fails(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    let (first, second) = (case.bundle(), case.bundle());
    case.install(&first).await;
    let receipt = case.install(&second).await;
    case.install(&second).await;
    assert_eq!(case.reloads().len(), 3);
    case.write("reload", "exit 1");
    let error = case.refusal(&second).await;
    assert!(error.to_string().contains("stays"), "{error}");
    assert_eq!(case.live(), Some(second.version.to_string()));
    case.write("reload", REPORT);
    assert_eq!(case.install(&second).await, receipt);
}

/// A version that is live without the server's knowledge goes like one that has just been switched to.
pub async fn after_a_crash_before_the_reload_a_failed_check_or_reload_still_goes_back(
    fx: &impl DirectoryFixture,
) {
    let case = scripted(fx);
    let first = case.bundle();
    case.install(&first).await;
    for refusing in ["check", "reload"] {
        let second = case.bundle();
        case.write("check", "exit 0");
        case.write("reload", "touch \"$1/reloading\"; sleep 600");
        tokio::select! {
            outcome = case.deployer.install(&second) => panic!("{outcome:?}"),
            () = case.file_appears("reloading") => {}
        }
        fs::remove_file(fx.folder().path("reloading")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(case.live(), Some(second.version.to_string()));
        case.write("reload", REPORT);
        case.write(refusing, &format!("{REPORT}case \"$2\" in *{}*) exit 1;; esac", second.version));
        let error = case.refusal(&second).await;
        assert!(error.to_string().contains("the previous version is back"), "{error}");
        assert_eq!(case.live(), Some(first.version.to_string()));
        assert_eq!(case.reloads().last(), Some(&first.version.to_string()), "the server was told");
    }
}

/// A rollback tells the server as well, but not where nothing is left to read.
pub async fn a_rollback_reloads_what_it_brings_back(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    let (first, second) = (case.bundle(), case.bundle());
    let initial = case.install(&first).await;
    let receipt = case.install(&second).await;
    case.write("reload", "exit 1");
    let error = refused(case.deployer.rollback(&receipt).await);
    assert!(matches!(error.kind(), ErrorKind::CommandFailed(_)), "{error}");
    case.write("reload", REPORT);
    for receipt in [&receipt, &initial] {
        ok(case.deployer.rollback(receipt).await);
        assert_eq!(case.reloads().last(), Some(&first.version.to_string()));
    }
    assert_eq!((case.live(), case.reloads().len()), (None, 3));
}

/// A command gets its time and no more, and then nothing of it goes on.
pub async fn a_command_that_does_not_end_is_stopped(fx: &impl DirectoryFixture) {
    let settings = DirectorySettings {
        check: script(fx, "check"),
        command_timeout: Duration::from_secs(1),
        ..DirectorySettings::default()
    };
    let case = Case::new(fx, settings);
    case.write("check", "echo started; while :; do echo x >> \"$1/beats\"; sleep 0.05; done");
    let error = case.refusal(&case.bundle()).await;
    assert!(error.to_string().contains("stopped after 1 s: started"), "{error}");
    let standing_still = async {
        loop {
            let beats = case.read("beats").len();
            tokio::time::sleep(Duration::from_millis(500)).await;
            if case.read("beats").len() == beats {
                return beats;
            }
        }
    };
    let beats = tokio::time::timeout(PATIENCE, standing_still).await.expect("it is ended");
    assert!(beats > 0);
}

/// A daemon that a command starts may hold its output open.
pub async fn what_a_command_leaves_running_is_not_waited_for(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    case.write("reload", "sleep 300 & echo started");
    tokio::time::timeout(PATIENCE, case.install(&case.bundle())).await.expect("it is not waited for");
}

/// Of what a command prints the end is told, without what a terminal would obey.
pub async fn output_without_end_is_read_to_its_end_and_cut(fx: &impl DirectoryFixture) {
    let case = scripted(fx);
    case.write(
        "check",
        "head -c 3000000 /dev/zero | tr '\\0' 'x'; printf '\\033[31mthe reason\\n' >&2; exit 1",
    );
    let error = case.refusal(&case.bundle()).await;
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    assert!(words.as_str().contains("the reason") && !words.as_str().contains('\u{1b}'), "{words}");
    assert!(words.as_str().len() < 1_100, "{}", words.as_str().len());
}

/// Arguments arrive as they are, in an environment of `PATH` alone, at the root of the file system.
pub async fn the_environment_is_empty_and_no_shell_reads_the_words(fx: &impl DirectoryFixture) {
    let odd = "$HOME `id` $(id) ' \" \\ ; touch /tmp/certlife-was-here";
    let check = [
        "sh",
        "-c",
        "tr '\\0' ' ' < /proc/$$/environ; printf '%s,' \"$PWD\" \"$@\"; exit 1",
        "x",
        odd,
        "{certificate}",
    ];
    let check = check.map(str::to_owned).to_vec();
    let case = Case::new(fx, DirectorySettings { check, ..DirectorySettings::default() });
    let error = case.refusal(&case.bundle()).await;
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    let wanted = format!("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /,{odd},www,;");
    assert!(words.as_str().contains(&wanted), "{words}");
    assert_eq!(words.as_str().matches('=').count(), 1, "{words}");
    assert!(!Path::new("/tmp/certlife-was-here").exists());
}

/// A command that is not there is told by the probe, and nothing goes live.
pub async fn a_probe_finds_missing_commands(fx: &impl DirectoryFixture) {
    for (command, found) in [
        ("sh", true),
        ("/bin/sh", true),
        ("no-such-program", false),
        ("/no/such/program", false),
        ("/etc/passwd", false),
        ("-v", false),
    ] {
        let reload = vec![command.to_owned()];
        let case = Case::new(fx, DirectorySettings { reload, ..DirectorySettings::default() });
        let outcome = case.deployer.probe().await;
        assert_eq!(outcome.is_ok(), found, "{command}: {outcome:?}");
        let Err(error) = outcome else { continue };
        for error in [error, case.refusal(&case.bundle()).await] {
            let told =
                matches!(error.kind(), ErrorKind::CommandFailed(words) if words.as_str().contains(command));
            assert!(told, "{error}");
        }
        assert_eq!(case.live(), None);
    }
}

/// A script of the test's, with the folder as `$1` and the directory of the version as `$2`.
fn script(fx: &impl DirectoryFixture, name: &str) -> Vec<String> {
    let folder = fx.inside();
    vec!["/bin/sh".to_owned(), format!("{folder}/{name}"), folder, "{directory}".to_owned()]
}

/// A deployer whose check accepts and whose reload leaves a line, until the scripts are written anew.
fn scripted<F: DirectoryFixture>(fx: &F) -> Case<'_, F> {
    let (check, reload) = (script(fx, "check"), script(fx, "reload"));
    let case = Case::new(fx, DirectorySettings { check, reload, ..DirectorySettings::default() });
    case.write("check", "exit 0");
    case.write("reload", REPORT);
    case
}

impl<F: DirectoryFixture> Case<'_, F> {
    /// The versions that were live at each reload.
    fn reloads(&self) -> Vec<String> {
        self.read("reloads").lines().map(|line| line.replace("versions/", "")).collect()
    }

    async fn file_appears(&self, name: &str) {
        let looking = async {
            while !self.fx.folder().path(name).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let appeared = tokio::time::timeout(PATIENCE, looking).await;
        assert!(appeared.is_ok(), "{name} does not appear");
    }
}
