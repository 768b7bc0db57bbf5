//! The connection is cut under a caller who goes on: in the middle of an install, and between the switch and the reload.

use std::time::Duration;

use certlife_core::{Deployer as _, ErrorKind, deploy::Bundle};
use certlife_deploy::ssh::Ssh;
use certlife_testkit::deploy::DeployFixture as _;

use super::{Case, wire::Wire};

/// A deployer that goes over `wire`, with commands that leave a trace.
fn over(case: &Case, wire: &Wire) -> Ssh {
    let server = case.machine.server().port(wire.address.port());
    let script = |name: &str| {
        vec!["/bin/sh".to_owned(), case.machine.inside(name), case.machine.place.inside().into()]
    };
    let ssh = Ssh::builder(server, case.machine.inside("certificates"));
    ssh.check(script("check")).reload(script("reload")).build().unwrap()
}

#[tokio::test]
async fn wherever_an_install_is_cut_the_target_is_whole_and_the_next_ends_right() {
    let case = Case::plain();
    case.write("check", "exit 0");
    case.write("reload", "exit 0");
    let mut before = case.bundle();
    case.ssh.install(&before).await.unwrap();

    let wire = Wire::to(case.machine.openssh.address);
    let whole = case.bundle();
    over(&case, &wire).install(&whole).await.unwrap();
    before = whole;
    let bytes = wire.sent();
    let (mut old, mut new) = (0, 0);
    // The suite cuts at every packet, where nobody waits any more; here somebody does.
    for after in (0..bytes).step_by(usize::try_from(bytes / 20).unwrap()) {
        let wire = Wire::to(case.machine.openssh.address);
        wire.cut_after(after);
        let bundle = Bundle { replaces: Some(before.version), ..case.bundle() };
        let ssh = over(&case, &wire);
        let outcome = tokio::time::timeout(Duration::from_mins(1), ssh.install(&bundle)).await.unwrap();
        let seen = case.machine.seen(&case.www, &bundle.identifiers[0]).await.unwrap();
        assert_eq!(seen.key_fits, Some(true), "after {after} bytes");
        if seen.chain[0] == *before.chain.leaf() {
            old += 1;
            let kind = outcome.unwrap_err().kind().clone();
            let told = matches!(kind, ErrorKind::Unreachable | ErrorKind::Io(_) | ErrorKind::Unauthorized);
            assert!(told, "after {after} bytes: {kind}");
        } else {
            new += 1;
            assert_eq!(seen.chain[0], *bundle.chain.leaf(), "after {after} bytes");
        }
        let receipt = case.ssh.install(&bundle).await.unwrap();
        assert_eq!(receipt.replaced, Some(before.version), "after {after} bytes");
        assert_eq!(
            case.live(),
            Some(bundle.version.to_string()),
            "after {after} bytes: no copy was left behind"
        );
        before = bundle;
    }
    assert!(old > 5 && new > 0, "cut before the switch {old} times, and after it {new} times");
}

#[tokio::test]
async fn a_cut_between_switch_and_reload_is_made_up_for() {
    let case = Case::plain();
    case.write("check", "exit 0");
    case.write("reload", "exit 0");
    let (first, second) = (case.bundle(), case.bundle());
    let wire = Wire::to(case.machine.openssh.address);
    let ssh = over(&case, &wire);
    ssh.install(&first).await.unwrap();
    case.write("reload", "touch \"$1/reloading\"; sleep 600");
    let reloading = async {
        while !case.machine.path("reloading").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        wire.cut();
    };
    let installing = tokio::time::timeout(Duration::from_mins(1), ssh.install(&second));
    let (outcome, ()) = futures_util::future::join(installing, reloading).await;
    let error = outcome.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io(words) if words.as_str().contains("lost")), "{error}");
    assert_eq!(case.live(), Some(second.version.to_string()));

    // The repeated install knows that the server was not told: if it refuses the version now, the old one is back.
    let wire = Wire::to(case.machine.openssh.address);
    let ssh = over(&case, &wire);
    let refuse =
        format!("case $(readlink \"$1/certificates/www/live\") in *{}*) exit 1;; esac", second.version);
    case.write("reload", &refuse);
    let error = ssh.install(&second).await.unwrap_err();
    assert!(error.to_string().contains("the previous version is back"), "{error}");
    assert_eq!(case.live(), Some(first.version.to_string()));
    case.write("reload", "exit 0");
    assert_eq!(ssh.install(&second).await.unwrap().replaced, Some(first.version));
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_the_lock_back() {
    let case = Case::plain();
    case.write("check", "touch \"$1/checking\"; sleep 600");
    case.write("reload", "exit 0");
    let wire = Wire::to(case.machine.openssh.address);
    let ssh = over(&case, &wire);
    let bundle = case.bundle();
    let checking = async {
        while !case.machine.path("checking").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        outcome = ssh.install(&bundle) => panic!("{outcome:?}"),
        () = checking => {}
    }
    case.write("check", "exit 0");
    tokio::time::timeout(Duration::from_mins(1), ssh.install(&bundle)).await.unwrap().unwrap();
}
