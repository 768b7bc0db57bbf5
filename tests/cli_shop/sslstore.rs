//! The SSL Store: names are proven with each order; whoever approves reads mail.

use std::sync::Arc;

use certlife_core::{Identifier, SystemClock, challenge::ChallengeResponse};

use crate::journey::{Approval, Place, Shop};

#[path = "../../certlife-ca/src/sslstore/fake/mod.rs"]
#[allow(dead_code, reason = "the vendor's own tests use all of it")]
mod fake;

impl Shop for fake::FakeStore {
    const SECRET: &'static str = fake::TOKEN;
    const DOMAIN: &'static str = "northwind.example";
    const PRODUCT: &'static str = "positivessl";
    const WISH: &'static str = "";

    fn settings(&self) -> String {
        format!(
            r#"
            kind = "sslstore"
            partner_code = "{}"
            auth_token = {{ file = "secret.txt" }}
            base_url = "{}"
            administrator = {{ first_name = "Ada", last_name = "Berg", email = "ada@example.com", phone = "+46 1" }}
            "#,
            fake::PARTNER,
            self.base_url(),
        )
    }

    fn ledger(&self) -> Vec<(String, bool)> {
        self.world().ledger.iter().map(|(_, number, paid)| (number.clone(), *paid)).collect()
    }

    fn revoked(&self) -> Vec<String> {
        let world = self.world();
        let revoked = world.orders.iter().filter(|order| order.minor == "REVOKED");
        revoked.map(|order| order.number.clone()).collect()
    }
}

const BY_MAIL: &str = r#"
    [certificate.by-mail]
    names = ["by-mail.northwind.example"]
    ca = "shop"
    product = "positivessl"
    validation = { email = "admin@northwind.example" }
    deploy = ["web"]
"#;

async fn place() -> Place<fake::FakeStore> {
    let place = Place::new(fake::FakeStore::start(Arc::new(SystemClock::default())).await, BY_MAIL).await;
    let outside = place.outside.clone();
    place.shop.world().eyes = Some(Arc::new(move |line| match line.split_once(' ').unwrap() {
        ("mail", _) => false,
        (kind @ ("TXT" | "CNAME"), record) => {
            record.split_once(' ').is_some_and(|(name, value)| outside.sees(kind, name, value))
        }
        (url, body) => outside.sees("HTTP", url, body),
    }));
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lives_from_the_order_to_its_import() {
    let place = place().await;
    place.is_open().await;
    place.order("by-dns", Approval::Nobody).await;
    place.order("by-file", Approval::Nobody).await;
    place.is_tidy(&["CNAME", "HTTP"]);
    place.renew("by-dns", Approval::Nobody).await;
    place.reissue("by-dns").await;
    place.revoke("by-dns").await;
    place.delete_and_import("by-file").await;
    assert_eq!((place.paid(), place.shop.world().orders.len()), (3, 3), "a reissue is the same order");
    place.is_tidy(&["CNAME", "HTTP"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_confirms_by_mail_in_place_of_another() {
    let place = place().await;
    let name = "by-mail.northwind.example";
    let approvers = place.json(&["approvers", "shop", name, "--product", "positivessl"]).await;
    let stand_in = "webmaster@by-mail.northwind.example";
    assert!(approvers.as_array().unwrap().contains(&stand_in.into()), "{approvers}");
    let confirms = |address: &str| {
        let answered = ChallengeResponse::Email { address: address.into() };
        assert!(place.shop.world().show(&name.parse::<Identifier>().unwrap(), &answered));
    };

    // Whoever reads the mail of the first approver is away; another one confirms.
    let waits = place.expect(3, &["order", "by-mail"]).await;
    assert!(waits.contains(&format!("mail of admin@northwind.example has to confirm {name}")), "{waits}");
    let arguments = ["revalidate", "by-mail", name, "--email", stand_in, "--wait", "5s"];
    place.expect(3, &arguments).await;
    confirms(stand_in);
    place.expect(0, &["verify", "by-mail"]).await;
    assert_eq!(place.paid(), 1);

    let waits = place.expect(3, &["reissue", "by-mail", "--wait", "5s"]).await;
    assert!(waits.contains(&format!("mail of admin@northwind.example has to confirm {name}")), "{waits}");
    confirms("admin@northwind.example");
    place.expect(0, &["verify", "by-mail"]).await;
    assert_eq!((place.paid(), place.shop.world().orders.len()), (1, 1), "a reissue is the same order");
}
