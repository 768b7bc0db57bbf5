//! The steps of a certificate's life that are the same at every shop.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, OnceLock},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::programs::{example, printed};

#[path = "../../certlife-dns/src/cloudflare/fake.rs"]
#[allow(dead_code, reason = "the vendor's own tests use all of it")]
mod cloudflare;

/// A shop seen past its interface.
pub(crate) trait Shop: Sync {
    /// What nobody may print.
    const SECRET: &'static str;
    /// The domain that all names lie in.
    const DOMAIN: &'static str;
    const PRODUCT: &'static str;
    /// What the certificates want besides, as lines of their tables.
    const WISH: &'static str;

    /// The lines of `[ca.shop]`; the file `secret.txt` holds the secret.
    fn settings(&self) -> String;

    /// Every order, renewal and reissue in the order of their coming: its number, and whether it cost money.
    fn ledger(&self) -> Vec<(String, bool)>;

    /// The numbers of the orders whose certificates are revoked.
    fn revoked(&self) -> Vec<String>;
}

/// Whether somebody at the shop has to let an order through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approval {
    Wanted,
    Nobody,
}

/// DNS at Cloudflare, and the web server that shows one directory under every name.
#[derive(Clone)]
pub(crate) struct Outside {
    dns: Arc<cloudflare::FakeCloudflare>,
    web_root: PathBuf,
    /// The kinds of proof that were found.
    seen: Arc<Mutex<BTreeSet<String>>>,
}

impl Outside {
    async fn new(home: &TempDir, zone: &str) -> Self {
        let web_root = home.path().join("www");
        fs::create_dir(&web_root).unwrap();
        let dns = cloudflare::FakeCloudflare::start(&[zone]).await;
        Self { dns: Arc::new(dns), web_root, seen: Arc::default() }
    }

    /// Looks for a proof, as a CA does.
    pub(crate) fn sees(&self, kind: &str, place: &str, value: &str) -> bool {
        let held = |wanted: &str| self.dns.world().contents(kind, place).iter().any(|there| there == wanted);
        let found = match kind {
            "TXT" => held(&format!("\"{value}\"")),
            "CNAME" => held(value),
            "HTTP" => {
                let (_, path) = place.strip_prefix("http://").unwrap().split_once('/').unwrap();
                fs::read_to_string(self.web_root.join(path)).is_ok_and(|served| served == value)
            }
            _ => false,
        };
        if found {
            self.seen.lock().unwrap().insert(kind.to_owned());
        }
        found
    }

    fn files(&self) -> usize {
        let mut open = vec![self.web_root.clone()];
        let mut files = 0;
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() { open.push(entry.path()) } else { files += 1 }
            }
        }
        files
    }
}

/// A directory with a configuration file, and what it names: the shop, a DNS account, a web server. `by-dns` and
/// `by-file` are certificates that are proven so.
pub(crate) struct Place<S> {
    home: TempDir,
    pub(crate) shop: S,
    pub(crate) outside: Outside,
}

impl<S: Shop> Place<S> {
    /// `more` goes to the end of the file.
    pub(crate) async fn new(shop: S, more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let outside = Outside::new(&home, S::DOMAIN).await;
        let place = Self { home, shop, outside };
        place.write("secret.txt", S::SECRET);
        place.write("token.txt", cloudflare::TOKEN);
        place.write("key.txt", &"5f".repeat(32));
        let certificate = |name: &str, route: &str| {
            let (domain, wish, product) = (S::DOMAIN, S::WISH, S::PRODUCT);
            format!(
                "[certificate.{name}]\nnames = [\"{name}.{domain}\"]\nca = \"shop\"\nproduct = \"{product}\"\n\
                 deploy = [\"web\"]\nvalidation = {{ {route} }}\n{wish}\n"
            )
        };
        let config = format!(
            r#"
            [store]
            kind = "sqlite"
            path = "certlife.db"
            [keyring]
            key_file = "key.txt"
            [lookup]
            resolvers = ["127.0.0.1:9"]
            [dns.cloud]
            kind = "cloudflare"
            api_token = {{ file = "token.txt" }}
            base_url = "{}"
            visibility = "none"
            follow_cnames = false
            [target.web]
            kind = "local"
            directory = "live"
            web_root = "www"
            [ca.shop]
            {}
            {}
            {}
            {more}
            "#,
            place.outside.dns.base_url(),
            place.shop.settings(),
            certificate("by-dns", r#"dns = "cloud""#),
            certificate("by-file", r#"http = "web""#),
        );
        place.write("certlife.toml", &config);
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.home.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.path().join(name)).unwrap()
    }

    /// Runs the program and expects an exit code; returns what was printed.
    pub(crate) async fn expect(&self, code: i32, arguments: &[&str]) -> String {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let config = self.home.path().join("certlife.toml");
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let run = move || {
            let program = PROGRAM.get_or_init(|| example("cli"));
            let output = Command::new(program).arg("--config").arg(config).args(&arguments).output().unwrap();
            let text = printed(&output);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
            for secret in [S::SECRET, cloudflare::TOKEN, "PRIVATE KEY"] {
                assert!(!text.contains(secret), "a secret was printed by {arguments:?}");
            }
            text
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.expect(0, &[arguments, &["--json"]].concat()).await).unwrap()
    }

    pub(crate) fn paid(&self) -> usize {
        self.shop.ledger().iter().filter(|(_, paid)| *paid).count()
    }

    /// The account lets us in and offers what is wanted.
    pub(crate) async fn is_open(&self) {
        assert!(self.expect(0, &["probe", "shop"]).await.contains("ok"));
        let catalog = self.json(&["catalog", "shop"]).await;
        let products = catalog["products"].as_array().unwrap();
        assert!(products.iter().any(|product| product["id"] == S::PRODUCT), "{catalog}");
    }

    /// Buys a certificate, which is issued and deployed. To ask once more buys nothing.
    pub(crate) async fn order(&self, name: &str, approval: Approval) {
        self.carry_out(name, &["order", name], approval, true).await;
        let ledger = self.shop.ledger();
        self.expect(0, &["order", name]).await;
        assert_eq!(self.shop.ledger(), ledger);
    }

    /// Buys the next term.
    pub(crate) async fn renew(&self, name: &str, approval: Approval) {
        self.carry_out(name, &["renew", name], approval, true).await;
    }

    /// Has the certificate issued again, which is free.
    pub(crate) async fn reissue(&self, name: &str) {
        let arguments = ["reissue", name, "--reason", "the key was shown"];
        self.carry_out(name, &arguments, Approval::Nobody, false).await;
    }

    /// Carries one intent out: the shop has one more line in its books, whose number the person is shown, and what it
    /// issued is on the target.
    async fn carry_out(&self, name: &str, arguments: &[&str], approval: Approval, paid: bool) {
        let before = self.shop.ledger();
        if approval == Approval::Wanted {
            let waits = self.expect(3, arguments).await;
            assert!(waits.contains("an approver has to act"), "{waits}");
            self.expect(0, &["decide", name, "approve"]).await;
        } else {
            self.expect(0, arguments).await;
        }
        let ledger = self.shop.ledger();
        let (number, is_paid) = ledger.last().unwrap();
        assert_eq!((ledger.len(), *is_paid), (before.len() + 1, paid), "{arguments:?}: {ledger:?}");
        let shown = self.expect(0, &["show", name]).await;
        assert!(shown.contains(&format!(" at shop as {number}: issued")), "{number} is not in {shown}");
        assert!(shown.contains("deployment   web is live"), "{shown}");
        let live = self.read(&format!("live/{name}/live/fullchain.pem"));
        assert_eq!(live, self.expect(0, &["export", name]).await, "the newest version is on the target");
    }

    /// Revokes the newest certificate, which nobody but the shop has to hear of.
    pub(crate) async fn revoke(&self, name: &str) {
        let (ledger, shown) = (self.shop.ledger(), self.json(&["show", name]).await);
        let number = shown["orders"][0]["number"].as_str().unwrap_or_else(|| panic!("no number in {shown}"));
        self.expect(0, &["revoke", name, "--reason", "superseded"]).await;
        assert_eq!(self.shop.revoked(), [number]);
        assert!(self.expect(0, &["explain", name]).await.starts_with(&format!("{name}: revoked")));
        assert_eq!(self.shop.ledger(), ledger, "nothing is ordered in its place");
    }

    /// Forgets a certificate here and takes it over again from the shop, which neither of the two notices.
    pub(crate) async fn delete_and_import(&self, name: &str) {
        let (ledger, chain) = (self.shop.ledger(), self.expect(0, &["export", name]).await);
        self.expect(0, &["delete", name]).await;
        self.expect(2, &["show", name]).await;
        let identifier = format!("{name}.{}", S::DOMAIN);
        let arguments = ["import", "shop", "--name", &identifier];
        let report = self.json(&arguments).await;
        assert_eq!((&report["imported"], &report["known"]), (&1.into(), &0.into()), "{report}");
        let report = self.json(&arguments).await;
        assert_eq!((&report["imported"], &report["known"]), (&0.into(), &1.into()), "{report}");
        let listed = self.json(&["list", "--name", &identifier]).await;
        let imported = listed[0]["spec"]["id"].as_str().unwrap_or_else(|| panic!("{listed}"));
        assert_eq!(self.expect(0, &["export", imported]).await, chain);
        assert_eq!(self.shop.ledger(), ledger);
    }

    /// Nothing that proved a name is left, though the shop found it in all these ways.
    pub(crate) fn is_tidy(&self, found: &[&str]) {
        let seen: Vec<_> = self.outside.seen.lock().unwrap().iter().cloned().collect();
        assert_eq!(seen, found);
        assert_eq!((self.outside.dns.world().records.len(), self.outside.files()), (0, 0));
    }
}
