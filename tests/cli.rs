//! The command-line program, end to end: on a private CA, an SQLite file and a directory.
#![cfg(all(feature = "private-ca", feature = "sqlite", feature = "local"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use programs::{example, printed};
use serde_json::Value;
use tempfile::TempDir;

/// 32 bytes, as a key file has them.
const KEY: &str = "5f3a1b0c9d8e7f60112233445566778899aabbccddeeff00112233445566a7b8";

/// A directory with a configuration file in it.
struct Place {
    home: TempDir,
}

impl Place {
    /// A file with the usual store and key ring, and `rest`.
    fn with(rest: &str) -> Self {
        let place = Self { home: tempfile::tempdir().unwrap() };
        place.write("key.txt", &format!("{KEY}\n"));
        let store = "[store]\nkind = \"sqlite\"\npath = \"certlife.db\"\n[keyring]\nkey_file = \"key.txt\"\n";
        place.write("certlife.toml", &format!("{store}{rest}"));
        place
    }

    /// A private CA that asks for nothing, a directory, and one certificate for it.
    fn ready() -> Self {
        Self::with(
            r#"
            [ca.house]
            kind = "private"
            [target.web]
            kind = "local"
            directory = "live"
            [certificate.www]
            names = ["www.example.com", "example.com"]
            ca = "house"
            deploy = ["web"]
            "#,
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn change(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("certlife.toml")).unwrap();
        assert!(text.contains(from), "{text}");
        self.write("certlife.toml", &text.replace(from, to));
    }

    /// Runs from another directory, since paths in the file start at the file.
    fn run(&self, arguments: &[&str]) -> Output {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let mut command = Command::new(PROGRAM.get_or_init(|| example("cli")));
        command.arg("--config").arg(self.path("certlife.toml")).args(arguments).current_dir("/");
        let output = command.output().unwrap();
        assert!(!printed(&output).contains(KEY), "the key was printed by {arguments:?}");
        output
    }

    /// Runs and expects an exit code; returns all that was printed.
    #[track_caller]
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    }

    /// Runs with `--json` and expects success; returns the value.
    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", printed(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", printed(&output)))
    }

    fn versions(&self) -> usize {
        self.json(&["show", "www"])["versions"].as_array().unwrap().len()
    }
}

#[test]
fn a_certificate_is_ordered_renewed_reissued_revoked_and_deleted() {
    let place = Place::ready();
    let text = place.expect(0, &["order", "www"]);
    assert!(text.starts_with("www: valid"), "{text}");
    assert!(text.contains("Target web is live"), "{text}");
    let chain = fs::read_to_string(place.path("live/www/live/fullchain.pem")).unwrap();
    assert!(chain.contains("BEGIN CERTIFICATE"));
    place.expect(0, &["order", "www"]);
    assert_eq!(place.versions(), 1, "asking twice orders once");

    assert!(place.expect(0, &["renew", "www"]).contains("valid"));
    assert!(place.expect(0, &["reissue", "www", "--reason", "a new key"]).contains("valid"));
    assert_eq!(place.versions(), 3);
    assert_ne!(fs::read_to_string(place.path("live/www/live/fullchain.pem")).unwrap(), chain);

    place.expect(0, &["revoke", "www", "--reason", "superseded", "--replace"]);
    assert_eq!(place.versions(), 4);
    place.expect(0, &["revoke", "www", "--reason", "keyCompromise"]);
    let shown = place.json(&["show", "www"]);
    assert_eq!(shown["status"], "revoked");
    assert_eq!(shown["versions"][0]["revoked"][1]["reason"], "keyCompromise");

    assert!(place.expect(0, &["delete", "www"]).contains("deleted"));
    assert_eq!(place.json(&["list"]), Value::Array(Vec::new()));
    assert!(place.expect(2, &["show", "www"]).contains("no certificate \"www\""));
}

#[test]
fn every_query_answers_in_text_and_in_json() {
    let place = Place::ready();
    place.expect(0, &["order", "www"]);

    let listed = place.json(&["list"]);
    assert_eq!(listed[0]["spec"]["id"], "www");
    assert!(place.expect(0, &["list"]).contains("example.com"));
    assert_eq!(place.json(&["list", "--expiring", "30d"]), Value::Array(Vec::new()));
    assert_eq!(place.json(&["list", "--expiring", "100d"]).as_array().unwrap().len(), 1);
    assert_eq!(place.json(&["list", "--name", "example.com"]).as_array().unwrap().len(), 1);
    assert_eq!(place.json(&["list", "--name", "example.org"]), Value::Array(Vec::new()));

    let shown = place.json(&["show", "www"]);
    assert_eq!(shown["deployments"][0]["state"], "live");
    assert!(place.expect(0, &["show", "www"]).contains("current"));
    let explained = place.json(&["explain", "www"]);
    assert_eq!(explained["status"], "valid");
    assert_eq!(explained["who_acts"], "engine");
    assert!(place.expect(0, &["explain", "www"]).contains("Renewal is due at"));
    assert_eq!(place.json(&["pending"]), Value::Array(Vec::new()));
    assert_eq!(place.json(&["catalog", "house"])["products"][0]["id"], "client");
    assert!(place.expect(0, &["catalog", "house"]).contains("server"));

    let probed = place.json(&["probe"]);
    assert!(probed.as_array().unwrap().iter().all(|account| account["ok"] == true), "{probed}");
    assert!(place.expect(0, &["probe", "web"]).contains("ok"));
    assert!(place.expect(2, &["probe", "nobody"]).contains("nobody"));

    let events = place.expect(0, &["events", "--json"]);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "certificate_wanted");
    assert_eq!(events[0]["actor"]["named"], "command line");
    let last = events.last().unwrap()["position"].as_u64().unwrap();
    assert_eq!(last, events.len() as u64, "positions have no gaps");
    let later = place.expect(0, &["events", "--after", &(last - 1).to_string()]);
    assert_eq!(later.lines().count(), 1, "{later}");
    assert_eq!(place.expect(0, &["events", "--certificate", "other"]).trim(), "");
}

#[test]
fn every_kind_that_is_built_in_describes_its_settings() {
    let place = Place::ready();
    let kinds = place.json(&["providers"]);
    let kinds = kinds.as_array().unwrap();
    for (role, kind) in [("ca", "private"), ("dns", "manual"), ("target", "local"), ("store", "sqlite")] {
        let found = kinds.iter().find(|found| found["role"] == role && found["kind"] == kind);
        let found = found.unwrap_or_else(|| panic!("{role} {kind} is missing"));
        assert!(found["settings"]["type"] == "object", "{found}");
    }
    assert!(place.expect(0, &["providers", "local"]).contains("web_root"));
    assert!(place.expect(2, &["providers", "apache"]).contains("there are:"));
}

#[test]
fn a_key_leaves_only_to_a_new_file_of_its_own() {
    let place = Place::ready();
    place.expect(0, &["order", "www"]);
    let chain = place.expect(0, &["export", "www"]);
    assert!(chain.starts_with("-----BEGIN CERTIFICATE-----") && !chain.contains("KEY"), "{chain}");

    let (key, file) = (place.path("www.key"), place.path("www.pem"));
    let arguments =
        ["export", "www", "--key", key.to_str().unwrap(), "--chain", file.to_str().unwrap(), "--json"];
    let printed = place.expect(0, &arguments);
    assert!(!printed.contains("BEGIN"), "{printed}");
    assert!(fs::read_to_string(&key).unwrap().contains("BEGIN PRIVATE KEY"));
    assert_eq!(fs::read_to_string(&file).unwrap(), chain);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let refused = place.expect(1, &arguments);
    assert!(refused.contains("www.key"), "an existing file is not written to: {refused}");
    assert!(place.expect(0, &["events"]).contains("exported"));
}

#[test]
fn certificates_ordered_elsewhere_are_taken_over() {
    let place = Place::ready();
    place.expect(0, &["order", "www"]);
    place.expect(0, &["delete", "www"]);
    let report = place.json(&["import", "house"]);
    assert_eq!((&report["listed"], &report["imported"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(place.json(&["import", "house"])["known"], 1);
    let listed = place.json(&["list"]);
    assert!(listed[0]["spec"]["id"].as_str().unwrap().starts_with("imported-"), "{listed}");
}

#[test]
fn a_target_that_lost_its_certificate_is_found_and_put_right() {
    let place = Place::ready();
    place.expect(0, &["order", "www"]);
    fs::remove_dir_all(place.path("live/www")).unwrap();
    place.expect(0, &["check", "www"]);
    assert!(place.path("live/www/live/fullchain.pem").exists());
    assert!(place.expect(0, &["events"]).contains("web has changed"));
}

#[test]
fn a_changed_wish_is_renewed() {
    let place = Place::ready();
    place.expect(0, &["order", "www"]);
    place.change("\"example.com\"]", "\"example.com\", \"new.example.com\"]");
    place.expect(0, &["order", "www"]);
    let shown = place.json(&["show", "www"]);
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2);
    assert!(shown["versions"][0]["info"]["identifiers"].to_string().contains("new.example.com"));
}

#[test]
fn a_key_that_is_brought_is_used_and_not_ordered_for_again() {
    let place = Place::ready();
    place.expect(0, &["order", "www"]);
    let key = place.path("own.key");
    place.expect(0, &["export", "www", "--key", key.to_str().unwrap()]);
    place.change("deploy = [\"web\"]", "deploy = [\"web\"]\nkey = { file = \"own.key\" }");
    place.expect(0, &["order", "www"]);
    let before = place.versions();
    place.expect(0, &["order", "www"]);
    assert_eq!(place.versions(), before);
    let shown = place.json(&["show", "www"]);
    let hashes: Vec<_> =
        shown["versions"].as_array().unwrap().iter().map(|version| &version["info"]["key_hash"]).collect();
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
}

#[test]
fn what_a_person_has_to_publish_is_shown_and_verified() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let place = Place::with(&format!(
        r#"
        [ca.house]
        kind = "private"
        validation = "http"
        http_port = {port}
        default_route = {{ manual = "http" }}
        [certificate.www]
        names = ["localhost"]
        ca = "house"
        "#
    ));
    let text = place.expect(3, &["order", "www"]);
    assert!(text.contains("whoever runs this machine"), "{text}");
    let pending = place.json(&["pending"]);
    assert!(place.expect(0, &["pending"]).contains("certlife verify www"));
    let body = pending[0]["response"]["body"].as_str().unwrap_or_else(|| panic!("{pending}")).to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 2_048]);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    assert!(place.expect(0, &["verify", "www"]).starts_with("www: valid"));
}

#[test]
fn an_order_is_cancelled_and_then_may_be_asked_for_again() {
    let place = Place::with(
        r#"
        [ca.house]
        kind = "private"
        approval = true
        [certificate.www]
        names = ["www.example.com"]
        ca = "house"
        "#,
    );
    place.expect(3, &["order", "www"]);
    place.expect(0, &["cancel", "www"]);
    assert_eq!(place.json(&["show", "www"])["orders"][0]["state"], "cancelled");
    assert!(place.expect(2, &["cancel", "www"]).contains("no order under way"));
    place.expect(3, &["order", "www"]);
    assert!(place.expect(0, &["decide", "www", "approve"]).starts_with("www: valid"));
}

#[test]
fn what_fails_says_why_and_who_acts() {
    let place = Place::ready();
    // A file where a directory has to be.
    place.write("live", "");
    let text = place.expect(1, &["order", "www"]);
    assert!(text.contains("Target web is failing"), "{text}");
    let output = place.run(&["show", "nobody", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["code"], "unknown_object");
    assert_eq!(place.run(&["frobnicate"]).status.code(), Some(2));
}

#[test]
fn mapped_targets_follow_one_another_and_drift_waits_for_a_word() {
    let place = Place::with(
        r#"
        [ca.house]
        kind = "private"
        [target.first]
        kind = "local"
        directory = "first"
        [target.second]
        kind = "local"
        directory = "second"
        on_drift = "tell"
        [[mapping]]
        domain = "example.com"
        deploy = ["first", "second"]
        [certificate.www]
        names = ["www.example.com"]
        ca = "house"
        rollout = { one_by_one = ["first", "second"] }
        "#,
    );
    // A file where a directory has to be.
    place.write("first", "");
    let text = place.expect(1, &["order", "--wait", "60s", "www"]);
    assert!(text.contains("is held, because first failed") && text.contains("second"), "{text}");
    assert!(text.contains("first (as example.com is mapped)"), "{text}");
    assert!(!place.path("second").exists());
    fs::remove_file(place.path("first")).unwrap();
    // The one that failed is tried again when its back-off says so, or when somebody asks.
    let text = place.expect(1, &["continue", "--wait", "60s", "www"]);
    assert!(text.contains("second (as example.com is mapped) is live"), "{text}");
    place.expect(0, &["redeploy", "--wait", "60s", "www", "--target", "first"]);
    assert!(
        place
            .expect(1, &["continue", "--wait", "60s", "www"])
            .contains("no rollout of this certificate is held")
    );

    fs::remove_file(place.path("second/www/live")).unwrap();
    let text = place.expect(3, &["check", "--wait", "60s", "www"]);
    assert!(
        text.contains("until somebody redeploys it")
            && text.contains("whoever runs this machine and the targets"),
        "{text}"
    );
    assert!(!place.path("second/www/live").exists());
    place.expect(0, &["redeploy", "--wait", "60s", "www", "--target", "second"]);
    assert!(place.path("second/www/live/fullchain.pem").exists());
    place.expect(0, &["redeploy", "--wait", "60s", "www"]);
    assert!(place.expect(2, &["redeploy", "--wait", "60s", "www", "--target", "third"]).contains("third"));
}

#[test]
fn another_passphrase_does_not_open_the_store() {
    let place = Place::ready();
    place.write("phrase.txt", "correct horse battery staple\n");
    place.change("key_file = \"key.txt\"", "passphrase_file = \"phrase.txt\"");
    place.expect(0, &["list"]);
    place.write("phrase.txt", "incorrect horse\n");
    let text = place.expect(1, &["list"]);
    assert!(text.contains("check the passphrase") && !text.contains("horse"), "{text}");
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_what_would_be_right() {
    let ready = "[ca.house]\nkind = \"private\"\n[dns.hand]\nkind = \"manual\"\n[target.web]\nkind = \"local\"\n\
                 directory = \"live\"\n";
    let cases: &[(&str, &[&str])] = &[
        ("[ca.x]", &["[ca.x] kind", "is missing"]),
        ("[ca.x]\nkind = \"privat\"", &["[ca.x] kind", "built in are", "private"]),
        (
            "[ca.x]\nkind = \"private\"\nvalidaton = \"http\"",
            &["[ca.x] validaton", "did you mean `validation`?"],
        ),
        ("[ca.x]\nkind = \"private\"\nhttp_port = \"much\"", &["[ca.x]", "invalid type"]),
        ("[ca.x]\nkind = \"private\"\nname = \"\"", &["[ca.x] name", "printable"]),
        ("[ca.house]\nkind = \"private\"", &["line", "duplicate key"]),
        ("[ca.web]\nkind = \"private\"", &["[target.web]", "[ca.web] has that name already"]),
        ("[ca.'a b']\nkind = \"private\"", &["[ca.a b]", "letters, digits"]),
        ("[dns.y]\nkind = \"manual\"\npatience = \"soon\"", &["[dns.y] patience", "90s, 15m, 12h or 30d"]),
        ("[target.z]\nkind = \"local\"", &["[target.z]", "directory"]),
        (
            "[target.z]\nkind = \"local\"\ndirectory = \"z\"\nserved_at = [\"here\"]",
            &["[target.z] served_at", "address"],
        ),
        ("[certificate.a]\nca = \"house\"", &["[certificate.a] names", "is missing"]),
        (
            "[certificate.a]\nnames = [\"a..b\"]\nca = \"house\"",
            &["[certificate.a] names", "no label may be empty"],
        ),
        (
            "[certificate.a]\nnames = [\"a.example\"]\nca = \"hause\"",
            &["[certificate.a] ca", "did you mean \"house\"?"],
        ),
        (
            "[certificate.a]\nnames = [\"a.example\"]\nca = \"house\"\ndeploy = [\"wep\"]",
            &["[certificate.a] deploy", "did you mean \"web\"?"],
        ),
        (
            "[certificate.a]\nnames = [\"a.example\"]\nca = \"house\"\nvalidation = { dsn = \"hand\" }",
            &["[certificate.a.validation]", "dsn", "dns"],
        ),
        (
            "[certificate.a]\nnames = [\"a.example\"]\nca = \"house\"\nrenewal = { befor = { days = 30 } }",
            &["[certificate.a.renewal] befor", "did you mean `before`?"],
        ),
        (
            "[certificate.a]\nnames = [\"a.example\"]\nca = \"house\"\nkey = \"rsa-1024\"",
            &["[certificate.a] key", "rsa"],
        ),
        ("[[mapping]]\ndomain = \"example.com\"", &["[mapping]", "dns = "]),
        ("[[mapping]]\ndomain = \"example.com\"\ndns = \"hant\"", &["[mapping]", "did you mean \"hand\"?"]),
        (
            "[[mapping]]\ndomain = \"example.com\"\ndeploy = [\"wep\"]",
            &["[mapping] deploy", "did you mean \"web\"?"],
        ),
        (
            "[certificate.a]\nnames = [\"a.example\"]\nca = \"house\"\nrollout = { wave = [] }",
            &["[certificate.a] rollout", "waves"],
        ),
        (
            "[target.z]\nkind = \"local\"\ndirectory = \"z\"\non_drift = \"ask\"",
            &["[target.z] on_drift", "repair", "tell"],
        ),
        ("[certficate.a]\nnames = []", &["[certficate]", "did you mean `certificate`?"]),
        ("[lookup]\nresolvers = [\"ns1\"]", &["[lookup] resolvers", "ns1"]),
        ("token = \"s3cr3t-value", &["line"]),
        ("[keyring2]\nkey = { env = \"CERTLIFE_NOT_SET\" }", &["[keyring2]"]),
    ];
    for (wrong, words) in cases {
        let place = Place::with(&format!("{ready}{wrong}\n"));
        let text = place.expect(2, &["list"]);
        assert!(text.contains("certlife.toml: "), "{wrong}: {text}");
        assert!(!text.contains("s3cr3t"), "{text}");
        for word in *words {
            assert!(text.contains(word), "{wrong}: {word} is missing in {text}");
        }
    }
}

#[test]
fn secrets_come_from_text_file_or_environment_and_are_never_shown() {
    let place = Place::ready();
    place.change("key_file = \"key.txt\"", &format!("key = \"{KEY}\""));
    place.expect(0, &["order", "www", "-vv"]);
    for source in ["{ file = \"key.txt\" }", "{ env = \"CERTLIFE_TEST_KEY\" }"] {
        let place_text = fs::read_to_string(place.path("certlife.toml")).unwrap();
        let line = place_text.lines().find(|line| line.starts_with("key = ")).unwrap().to_owned();
        place.change(&line, &format!("key = {source}"));
        let mut command = Command::new(example("cli"));
        command.arg("--config").arg(place.path("certlife.toml")).args(["-vv", "--json", "show", "www"]);
        let output = command.env("CERTLIFE_TEST_KEY", KEY).output().unwrap();
        assert!(output.status.success(), "{}", printed(&output));
        assert!(!printed(&output).contains(KEY) && !printed(&output).contains("PRIVATE KEY"));
    }
    let text = place.expect(2, &["list"]);
    assert!(text.contains("[keyring] key") && text.contains("CERTLIFE_TEST_KEY"), "{text}");
}

#[test]
fn records_go_through_the_account_that_the_mappings_lead_to() {
    let place = Place::with(
        "[dns.hand]\nkind = \"manual\"\n[[mapping]]\ndomain = \"example.com\"\ndns = \"hand\"\n\
         [lookup]\nresolvers = [\"127.0.0.1:9\"]\n",
    );
    let added = place.json(&["dns", "add", "_acme-challenge.example.com", "value"]);
    assert_eq!((&added["account"], &added["existed"]), (&"hand".into(), &false.into()));
    assert!(
        place.expect(0, &["dns", "remove", "_acme-challenge.example.com", "value"]).contains("through hand")
    );
    let text = place.expect(2, &["dns", "add", "example.org", "value"]);
    assert!(text.contains("no domain mapping leads to a DNS account"), "{text}");
    assert!(
        place.expect(2, &["dns", "add", "example.org", "value", "--account", "nobody"]).contains("nobody")
    );
    assert!(place.expect(1, &["dns", "check", "example.com"]).contains("not supported"));
}

#[cfg(unix)]
#[test]
fn run_gets_everything_going_and_ends_in_order_when_told_to() {
    let place = Place::ready();
    let mut command = Command::new(example("cli"));
    command.arg("--config").arg(place.path("certlife.toml")).args(["run", "--json"]);
    let mut running = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let live = events.find(|event| event["event"] == "deployment_live").unwrap();
    assert_eq!(live["target"], "web");
    let told = Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(running.wait().unwrap().code(), Some(0));
    assert_eq!(place.json(&["list"])[0]["spec"]["id"], "www");
}

#[cfg(all(feature = "acme", feature = "rfc2136"))]
#[test]
fn the_file_of_the_manual_is_understood_and_contacts_nobody() {
    let place = Place { home: tempfile::tempdir().unwrap() };
    place.write("keyring.txt", "correct horse battery staple\n");
    place.write("tsig.key", "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=\n");
    let root = rcgen::generate_simple_self_signed(["pebble.example".to_owned()]).unwrap();
    place.write("pebble.pem", &root.cert.pem());
    let directory = place.path("web");
    place.write(
        "certlife.toml",
        &format!(
            r#"
            [store]
            kind = "sqlite"
            path = "certlife.db"
            [keyring]
            passphrase_file = "keyring.txt"
            [ca.le]
            kind = "acme"
            directory = "https://127.0.0.1:14000/dir"
            roots = "pebble.pem"
            [dns.corp]
            kind = "rfc2136"
            server = "127.0.0.1:5353"
            key_name = "certlife."
            key_secret = {{ file = "tsig.key" }}
            [target.web]
            kind = "local"
            directory = {directory:?}
            [[mapping]]
            domain = "example.com"
            dns = "corp"
            [certificate.www]
            names = ["example.com", "*.example.com"]
            ca = "le"
            validation = {{ dns = "corp" }}
            deploy = ["web"]
            "#
        ),
    );
    assert_eq!(place.json(&["list", "--agree-terms"]), Value::Array(Vec::new()));
    place.change("tsig.key", "tsig.kay");
    assert!(place.expect(2, &["list"]).contains("[dns.corp] key_secret"));
}
