//! The command-line program at a shop that takes money: The SSL Store, played by the fake that its own tests run on.
#![cfg(all(feature = "sslstore", feature = "sqlite", feature = "local"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod programs;
#[path = "../certlife-ca/src/sslstore/fake/mod.rs"]
#[allow(dead_code, reason = "the vendor's own tests use all of it")]
mod shop;

use std::{fs, process::Command, sync::Arc};

use certlife_core::{Identifier, SystemClock, challenge::ChallengeResponse};
use programs::{example, printed};
use serde_json::Value;
use tempfile::TempDir;

/// A directory with a configuration file, and the shop that it names.
struct Place {
    home: TempDir,
    shop: shop::FakeStore,
}

impl Place {
    async fn new() -> Self {
        let shop = shop::FakeStore::start(Arc::new(SystemClock::default())).await;
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("token.txt"), shop::TOKEN).unwrap();
        fs::write(home.path().join("key.txt"), "5f".repeat(32)).unwrap();
        let config = format!(
            r#"
            [store]
            kind = "sqlite"
            path = "certlife.db"
            [keyring]
            key_file = "key.txt"
            [ca.shop]
            kind = "sslstore"
            partner_code = "{}"
            auth_token = {{ file = "token.txt" }}
            base_url = "{}"
            administrator = {{ first_name = "Ada", last_name = "Berg", email = "ada@example.com", phone = "+46 1" }}
            [target.web]
            kind = "local"
            directory = "live"
            [certificate.www]
            names = ["www.example.com"]
            ca = "shop"
            product = "positivessl"
            validation = {{ email = "admin@example.com" }}
            deploy = ["web"]
            "#,
            shop::PARTNER,
            shop.base_url(),
        );
        fs::write(home.path().join("certlife.toml"), config).unwrap();
        Self { home, shop }
    }

    /// Runs and expects an exit code; returns what was printed.
    async fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let config = self.home.path().join("certlife.toml");
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let run = move || {
            let output =
                Command::new(example("cli")).arg("--config").arg(config).args(&arguments).output().unwrap();
            let text = printed(&output);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
            assert!(!text.contains(shop::TOKEN), "the token was printed by {arguments:?}");
            text
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.expect(0, &[arguments, &["--json"]].concat()).await).unwrap()
    }

    fn paid(&self) -> usize {
        self.shop.world().ledger.iter().filter(|line| line.2).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_chosen_bought_once_approved_reissued_imported_and_revoked() {
    let place = Place::new().await;
    assert!(place.expect(0, &["probe", "shop"]).await.contains("ok"));
    let catalog = place.json(&["catalog", "shop"]).await;
    assert!(catalog["products"].as_array().unwrap().iter().any(|product| product["id"] == "positivessl"));
    let product = ["--product", "positivessl"];
    let approvers = place.json(&[&["approvers", "shop", "www.example.com"], &product[..]].concat()).await;
    assert!(approvers.as_array().unwrap().contains(&"webmaster@example.com".into()), "{approvers}");

    // Whoever reads the mail of the first approver is away; another one confirms.
    let waits = place.expect(3, &["order", "www"]).await;
    assert!(waits.contains("mail of admin@example.com has to confirm www.example.com"), "{waits}");
    place
        .expect(
            3,
            &["revalidate", "www", "www.example.com", "--email", "webmaster@example.com", "--wait", "5s"],
        )
        .await;
    let name: Identifier = "www.example.com".parse().unwrap();
    let answered = ChallengeResponse::Email { address: "webmaster@example.com".into() };
    assert!(place.shop.world().show(&name, &answered));
    place.expect(0, &["verify", "www"]).await;
    assert_eq!(place.paid(), 1);
    assert!(place.home.path().join("live/www/live/cert.pem").exists());

    let waits = place.expect(3, &["reissue", "www", "--reason", "the key was shown", "--wait", "5s"]).await;
    assert!(waits.contains("mail of admin@example.com has to confirm www.example.com"), "{waits}");
    let answered = ChallengeResponse::Email { address: "admin@example.com".into() };
    assert!(place.shop.world().show(&name, &answered));
    place.expect(0, &["verify", "www"]).await;
    assert_eq!((place.paid(), place.shop.world().orders.len()), (1, 1), "a reissue is the same order");
    place.expect(0, &["delete", "www"]).await;
    let report = place.json(&["import", "shop"]).await;
    assert_eq!((&report["listed"], &report["imported"]), (&1.into(), &1.into()), "{report}");
    let list = place.json(&["list"]).await;
    let imported = list[0]["name"].as_str().or(list[0]["spec"]["id"].as_str());
    let imported = imported.unwrap_or_else(|| panic!("{list}")).to_owned();
    place.expect(0, &["revoke", &imported, "--reason", "keyCompromise"]).await;
    assert!(place.shop.world().requests.iter().any(|request| request.contains("certificaterevokerequest")));
    assert_eq!(place.paid(), 1);
}
