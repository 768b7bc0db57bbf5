//! The login by the token of one order.

use certlife_core::{
    ErrorKind, InputError,
    ca::{Decision, Found, ImportFilter, PurposeKind},
};
use serde_json::json;

use super::{super::fake::ORDER_SECRET, *};
use crate::sslstore::Settings;

fn settings(desk: &Desk, value: Value) -> Result<SslStore, InputError> {
    let mut settings: Settings = serde_json::from_value(value).unwrap();
    settings.base_url = Some(desk.fake.base_url());
    SslStore::from_settings(settings, Arc::new(desk.clock.clone()))
}

#[tokio::test]
async fn a_token_configures_its_order_once_and_pays_nothing() {
    let desk = Desk::start().await;
    let number = desk.fake.world().invite("positivessl");
    let token = desk.fake.world().order(&number).token();
    let ca = || desk.aimed(SslStore::builder_with_token(token.clone())).build().unwrap();
    assert!(ca().probe().await.unwrap().identity.unwrap().as_str().contains("positivessl"));
    let catalog = ca().catalog().await.unwrap();
    assert_eq!((catalog.products.len(), catalog.products[0].id.as_str()), (1, "positivessl"));
    let ordered = simple();
    ca().check(&ordered.request, Some(&catalog)).unwrap();

    assert_eq!(ca().find(&ordered).await.unwrap(), Found::Nothing);
    let placed = ca().place(&ordered).await.unwrap();
    assert!(matches!(ca().find(&ordered).await.unwrap(), Found::Order(_)));
    let another = simple();
    assert_eq!(ca().find(&another).await.unwrap(), Found::CannotTell, "its order is taken");
    assert!(ca().place(&another).await.is_err());

    let ready = desk.prove(&placed);
    let issued = ca().respond(&order_ref(&ordered, &placed), &ready).await.unwrap();
    assert_eq!(issued.stage, Stage::Issued);
    assert_eq!(desk.fake.world().ledger.iter().filter(|line| line.2).count(), 1);
    assert!(!format!("{:?}", ca()).contains(ORDER_SECRET));
}

#[tokio::test]
async fn what_a_token_cannot_do_is_declared() {
    let desk = Desk::start().await;
    let number = desk.fake.world().invite("positivessl");
    let ca =
        settings(&desk, json!({ "token_id": format!("id-{number}"), "token_code": ORDER_SECRET })).unwrap();
    let capabilities = ca.capabilities();
    assert!(!capabilities.import && capabilities.decisions.is_empty());
    assert!(!capabilities.purposes.contains(&PurposeKind::Renewal));
    ca.probe().await.unwrap();
    desk.calls();
    let unsupported = |error: certlife_core::Error| matches!(error.kind(), ErrorKind::Unsupported(_));
    assert!(unsupported(ca.orders(&ImportFilter::default(), None).await.unwrap_err()));
    let placed =
        OrderRef { intent: None, handle: certlife_core::ca::OrderHandle(json!({ "order": number })) };
    assert!(unsupported(ca.decide(&placed, Decision::Cancel).await.unwrap_err()));
    assert!(desk.calls().is_empty());
    // An order that nobody has configured is told as it is.
    let seen = ca.poll(&placed).await.unwrap();
    assert_eq!((seen.stage, seen.message.unwrap().as_str().contains("Initial")), (Stage::Processing, true));
    assert!(seen.identifiers.is_empty(), "its common name is words");

    let wrong = settings(&desk, json!({ "token": "id-1#!mistaken-code" })).unwrap();
    assert_eq!(*wrong.probe().await.unwrap_err().kind(), ErrorKind::Unauthorized);
}
