//! The command-line program hands certificates out in every form, and takes over what exists already.
#![cfg(all(
    feature = "private-ca",
    feature = "sqlite",
    feature = "local",
    feature = "pkcs12",
    feature = "jks"
))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;

use std::{fs, process::Command};

use certlife::{
    Secret,
    keystore::{self, Format},
};
use programs::{example, printed};
use serde_json::Value;
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

/// A directory with a configuration file, a private CA and a target that serves Java and Windows as well.
struct Place {
    home: TempDir,
}

impl Place {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("key.txt"), "5f".repeat(32)).unwrap();
        fs::write(home.path().join("password.txt"), format!("{PASSWORD}\n")).unwrap();
        let config = r#"
            [store]
            kind = "sqlite"
            path = "certlife.db"
            [keyring]
            key_file = "key.txt"
            [ca.house]
            kind = "private"
            [target.web]
            kind = "local"
            directory = "live"
            files = [
                { name = "site.pfx", form = { format = "pkcs12", password = { file = "password.txt" } } },
                { name = "chain.p7b", form = { format = "pkcs7" } },
            ]
            [certificate.www]
            names = ["www.example.com", "example.com"]
            ca = "house"
            deploy = ["web"]
            "#;
        fs::write(home.path().join("certlife.toml"), config).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs and expects an exit code; returns what was printed.
    #[track_caller]
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let mut command = Command::new(example("cli"));
        command.arg("--config").arg(self.path("certlife.toml")).args(arguments).current_dir(self.home.path());
        let output = command.output().unwrap();
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(!text.contains(PASSWORD) && !text.contains("PRIVATE KEY"), "{arguments:?}: {text}");
        text
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.expect(0, &[arguments, &["--json"]].concat())).unwrap()
    }

    fn read(&self, name: &str) -> keystore::Contents {
        let bytes = fs::read(self.path(name)).unwrap();
        keystore::read(&bytes, Some(&Secret::new(PASSWORD))).unwrap()
    }
}

#[test]
fn a_version_is_written_in_every_form_and_the_password_comes_from_a_file() {
    let place = Place::new();
    place.expect(0, &["order", "www"]);
    let live = place.read("live/www/live/privkey.pem").key;
    for (format, recognised, with_key) in [
        ("pem-certificate", Format::Pem, false),
        ("pem-root-first", Format::Pem, false),
        ("pem-key", Format::Pem, true),
        ("pem-key-and-full-chain", Format::Pem, true),
        ("der-certificate", Format::DerCertificate, false),
        ("der-key", Format::DerKey, true),
        ("pkcs7", Format::Pem, false),
        ("pkcs7-der", Format::Pkcs7, false),
        ("pkcs12", Format::Pkcs12, true),
        ("pkcs12-legacy", Format::Pkcs12, true),
        ("jks", Format::Jks, true),
    ] {
        let mut arguments = vec!["export", "www", "--format", format, "--out", format];
        if with_key {
            arguments.extend(["--password-file", "password.txt"]);
        }
        place.expect(0, &arguments);
        let found = place.read(format);
        assert_eq!((found.format, found.key.is_some()), (recognised, with_key), "{format}");
        assert!(found.key.is_none() || found.key == live, "{format}");
        if with_key {
            let refused = place.expect(1, &arguments);
            assert!(refused.contains(format), "an existing file is not written to: {refused}");
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                assert_eq!(fs::metadata(place.path(format)).unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
    }
    let alias = ["--alias", "Shop", "--password-file", "password.txt"];
    place.expect(0, &[&["export", "www", "--format", "jks", "--out", "named"][..], &alias].concat());
    assert_eq!(place.read("named").name.unwrap().as_str(), "shop");
    assert!(place.expect(0, &["events"]).contains("exported"));

    for (arguments, words) in [
        (&["--format", "jks", "--out", "no"][..], "--password-file"),
        (&["--format", "pem-certificate", "--out", "no", "--password-file", "password.txt"], "no key"),
        (&["--format", "pem-certificate", "--out", "no", "--alias", "a"], "friendly_name"),
    ] {
        let refused = place.expect(2, &[&["export", "www"], arguments].concat());
        assert!(refused.contains(words), "{refused}");
    }
    assert!(!fs::exists(place.path("no")).unwrap());
}

#[test]
fn the_target_holds_what_its_settings_say() {
    let place = Place::new();
    place.expect(0, &["order", "www"]);
    let key = place.read("live/www/live/privkey.pem").key;
    assert_eq!(place.read("live/www/live/site.pfx").key, key);
    assert!(place.read("live/www/live/chain.p7b").key.is_none());
    place.expect(0, &["check", "www"]);
}

#[test]
fn what_exists_already_is_adopted_from_files() {
    let elsewhere = Place::new();
    elsewhere.expect(0, &["order", "www"]);
    let store =
        ["export", "www", "--format", "pkcs12", "--out", "site.pfx", "--password-file", "password.txt"];
    elsewhere.expect(0, &store);
    elsewhere.expect(0, &["export", "www", "--chain", "chain.pem", "--key", "key.pem"]);
    let (store, password) = (elsewhere.path("site.pfx"), elsewhere.path("password.txt"));
    let (chain, key) = (elsewhere.path("chain.pem"), elsewhere.path("key.pem"));

    for files in [&[&*store, "--password-file", &password][..], &[&chain, &key]] {
        let place = Place::new();
        let arguments = [&["adopt", "www"], files].concat();
        for _ in 0..2 {
            place.expect(0, &arguments);
        }
        let shown = place.json(&["show", "www"]);
        assert_eq!(shown["versions"].as_array().unwrap().len(), 1, "{shown}");
        assert!(shown["orders"].as_array().unwrap().is_empty(), "{shown}");
        assert_eq!(place.read("live/www/live/site.pfx").key, elsewhere.read("key.pem").key);
        place.expect(0, &["order", "www"]);
        assert_eq!(place.json(&["show", "www"])["versions"].as_array().unwrap().len(), 1);
        assert!(place.expect(0, &["events"]).contains("adopted with its key for"));
    }

    let place = Place::new();
    fs::write(place.path("wrong.txt"), "wrong").unwrap();
    for (files, words) in [
        (&[&*store][..], "give its password"),
        (&[&store, "--password-file", "wrong.txt"], "does not open the key store"),
        (&[&key], "no certificate"),
        (&["key.txt"], "its form is unknown"),
    ] {
        let refused = place.expect(2, &[&["adopt", "www"], files].concat());
        assert!(refused.contains(words), "{refused}");
    }
}
