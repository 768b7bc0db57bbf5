//! The examples do what they say.
#![cfg(all(
    feature = "acme",
    feature = "private-ca",
    feature = "sqlite",
    feature = "local",
    feature = "rustls"
))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use programs::{example, printed};

/// Runs an example with a temporary directory of its own, in which nothing may be left.
fn run(name: &str, arguments: &[&str]) -> (Output, Duration) {
    let program = example(name);
    let home = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output =
        Command::new(program).args(arguments).current_dir(&home).env("TMPDIR", home.path()).output().unwrap();
    let took = started.elapsed();
    assert!(output.status.success(), "{}", printed(&output));
    let left: Vec<_> = std::fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(!printed(&output).contains("PRIVATE KEY"), "{}", printed(&output));
    (output, took)
}

#[test]
fn the_quickstart_shows_a_renewal_going_live_and_leaves_nothing_behind() {
    let (output, took) = run("quickstart", &[]);
    let text = printed(&output);
    let served: Vec<_> = text.lines().filter(|line| line.starts_with("On the wire")).collect();
    assert_eq!(served.len(), 2, "{text}");
    assert_ne!(served[0], served[1], "{text}");
    for step in
        ["is validated by a file on server", "files confirms version", "renewal is due", "valid until"]
    {
        assert!(text.contains(step), "{step} is missing in\n{text}");
    }
    // Ten seconds are promised; machines under load get some more.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn a_web_server_gets_its_own_certificate_and_serves_by_it() {
    let (output, _) = run("embed_axum", &["--once"]);
    let text = printed(&output);
    assert!(text.contains("self confirms version"), "{text}");
    assert!(text.contains("served with a certificate of our own"), "{text}");
}

#[test]
fn a_web_server_serves_the_same_certificate_after_a_restart() {
    let program = example("embed_axum");
    let home = tempfile::tempdir().unwrap();
    let passphrase = home.path().join("passphrase");
    std::fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    let start = || {
        let mut command = Command::new(&program);
        command.arg("--once").arg("--state").arg(home.path()).arg("--passphrase-file").arg(&passphrase);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", printed(&output));
        printed(&output)
    };
    let confirmed = |text: &str| {
        let line = text.lines().find(|line| line.contains("self confirms version")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text}"))
    };
    let (first, second) = (start(), start());
    assert_eq!(confirmed(&first), confirmed(&second));
    assert!(!second.contains("order"), "{second}");
}

#[cfg(feature = "agent")]
#[test]
fn an_agent_enrols_makes_its_key_and_installs() {
    let (output, _) = run("agent_hub", &[]);
    let text = printed(&output);
    for step in ["has invited web1", "has enrolled", "The agent confirms version", "the host has none"] {
        assert!(text.contains(step), "{step} is missing in\n{text}");
    }
}
