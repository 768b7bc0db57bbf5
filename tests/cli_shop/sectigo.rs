//! Sectigo: names are proven with each order, and an administrator approves what costs money.

use std::sync::Arc;

use certlife_core::SystemClock;

use crate::journey::{Approval, Place, Shop};

#[path = "../../certlife-ca/src/sectigo/fake/mod.rs"]
mod fake;

impl Shop for fake::FakeSectigo {
    const SECRET: &'static str = fake::CLIENT_SECRET;
    const DOMAIN: &'static str = fake::DOMAIN;
    const PRODUCT: &'static str = "3188";
    const WISH: &'static str = "organization = \"20417\"\noptions = { comments = \"For the relaunch\" }";

    fn settings(&self) -> String {
        let uri = self.server.uri();
        format!(
            r#"
            kind = "sectigo"
            client_id = "{}"
            client_secret = {{ file = "secret.txt" }}
            token_url = "{uri}/token"
            base_url = "{uri}"
            order_validation = true
            "#,
            fake::CLIENT_ID,
        )
    }

    fn ledger(&self) -> Vec<(String, bool)> {
        self.world().ledger.iter().map(|line| (line.id.to_string(), line.paid)).collect()
    }

    fn revoked(&self) -> Vec<String> {
        let world = self.world();
        let revoked = world.records.iter().filter(|(_, record)| record.status == "Revoked");
        revoked.map(|(id, _)| id.to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lives_from_the_order_to_its_import() {
    let clock = Arc::new(SystemClock::default());
    let place = Place::new(fake::FakeSectigo::start(fake::Scheme::OAuth, clock).await, "").await;
    let outside = place.outside.clone();
    {
        let mut world = place.shop.world();
        (world.prevalidation, world.approval, world.polls) = (false, true, 0);
        world.eyes = Some(Arc::new(move |kind, place, value| outside.sees(kind, place, value)));
    }
    place.is_open().await;
    place.order("by-dns", Approval::Wanted).await;
    place.order("by-file", Approval::Wanted).await;
    place.is_tidy(&["HTTP", "TXT"]);
    place.renew("by-dns", Approval::Wanted).await;
    place.reissue("by-dns").await;
    assert_eq!(place.shop.world().reasons, ["the key was shown"]);
    place.revoke("by-dns").await;
    place.delete_and_import("by-file").await;
    assert_eq!((place.paid(), place.shop.world().records.len()), (3, 3), "a reissue keeps its record");
    place.is_tidy(&["HTTP", "TXT"]);
}
