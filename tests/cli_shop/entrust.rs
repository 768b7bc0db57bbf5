//! Entrust: domains are proven once for all orders, and an administrator approves what was queued for it.

use std::sync::Arc;

use certlife_core::SystemClock;

use crate::journey::{Approval, Place, Shop};

#[path = "../../certlife-ca/src/entrust/fake/mod.rs"]
#[allow(dead_code, reason = "the vendor's own tests use all of it")]
mod fake;

impl Shop for fake::Fake {
    const SECRET: &'static str = fake::KEY;
    const DOMAIN: &'static str = "suite.example";
    const PRODUCT: &'static str = "UC_SSL";
    const WISH: &'static str = "options = { queue_for_approval = true }";

    fn settings(&self) -> String {
        format!(
            r#"
            kind = "entrust"
            username = "{}"
            api_key = {{ file = "secret.txt" }}
            base_url = "{}"
            requester = {{ name = "PKI", email = "pki@suite.example", phone = "1" }}
            "#,
            fake::USER,
            self.base_url(),
        )
    }

    fn ledger(&self) -> Vec<(String, bool)> {
        self.world().ledger.iter().map(|line| (line.order.to_string(), line.paid)).collect()
    }

    fn revoked(&self) -> Vec<String> {
        let world = self.world();
        let revoked = world.orders.iter().filter(|order| order.status == "REVOKED");
        revoked.map(|order| order.id.to_string()).collect()
    }
}

/// Has a domain validated apart from orders by an account of the program.
async fn validate(place: &Place<fake::Fake>, domain: &str, by: [&str; 2]) {
    let arguments = ["validate-domain", "shop", domain, by[0], by[1], "--wait", "5m"];
    let told = place.expect(0, &arguments).await;
    assert!(told.contains(domain) && told.contains("valid"), "{told}");
}

/// Has a domain validated by hand: the program says what to put in place, and a person does.
async fn validate_by_hand(place: &Place<fake::Fake>, domain: &str) {
    let arguments = ["validate-domain", "shop", domain, "--manual", "dns-txt"];
    let told = place.expect(3, &arguments).await;
    let (owner, value) = (format!("_pki-validation.{domain}"), place.shop.world().domain(domain).value());
    assert!(told.contains(&owner) && told.contains(&value), "{value} is not in {told}");
    place.expect(0, &["dns", "add", &owner, &value, "--account", "cloud"]).await;
    let told = place.expect(0, &arguments).await;
    assert!(told.starts_with(&format!("{domain} is validated until ")), "{told}");
    place.expect(0, &["dns", "remove", &owner, &value, "--account", "cloud"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lives_from_the_order_to_its_import() {
    let place = Place::new(fake::Fake::start(Arc::new(SystemClock::default())).await, "").await;
    let outside = place.outside.clone();
    place.shop.world().eyes = Some(Arc::new(move |kind, place, value| outside.sees(kind, place, value)));
    place.is_open().await;
    validate(&place, "by-dns.suite.example", ["--dns", "cloud"]).await;
    validate(&place, "by-file.suite.example", ["--http", "web"]).await;
    validate_by_hand(&place, "by-hand.suite.example").await;
    place.is_tidy(&["HTTP", "TXT"]);
    place.order("by-dns", Approval::Wanted).await;
    place.order("by-file", Approval::Wanted).await;
    // A renewal cannot be queued.
    place.renew("by-dns", Approval::Nobody).await;
    place.reissue("by-dns").await;
    place.revoke("by-dns").await;
    place.delete_and_import("by-file").await;
    assert_eq!((place.paid(), place.shop.world().orders.len()), (3, 4));
}
