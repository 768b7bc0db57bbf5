//! Which zone a name belongs to.

use certlife_core::{
    ErrorKind, Fqdn, Retry,
    dns::{DnsRecord, RecordHandle},
};

use super::{super::fixture::DnsFixture, Case, works_all_the_same};

/// Without an enclosing zone nothing is changed, and the error names the name.
pub async fn a_zone_that_the_account_lacks_is_refused(fx: &impl DnsFixture) {
    refused(fx, fx.foreign_name()).await;
}

/// Zones are compared label by label: `notexample.com` is not in `example.com`.
pub async fn a_zone_that_only_ends_alike_is_refused(fx: &impl DnsFixture) {
    let name = fx.lookalike_name();
    assert!(name.as_str().ends_with(fx.zone().as_str()), "the fixture's name ends in the zone's letters");
    assert!(!name.is_within(&fx.zone()));
    refused(fx, name).await;
}

async fn refused(fx: &impl DnsFixture, name: Fqdn) {
    let case = Case::new(fx, "refused");
    let record = DnsRecord::txt(name.clone(), "value");
    if case.by_hand() {
        // Whoever carries it out knows which zones there are.
        assert!(!case.dns.add(&record).await.unwrap().existed);
        return;
    }
    let outcomes = [
        case.dns.zone_of(&name).await.err(),
        case.dns.add(&record).await.err(),
        case.dns.remove(&RecordHandle::unknown(record)).await.err(),
    ];
    for error in outcomes {
        let error = error.expect("a name outside every zone of the account is refused");
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name.clone()), "{}", error.chain());
        assert_eq!(error.retry(), Retry::Never);
    }
    case.holds_at(&name, &[]).await;
}

/// `zone_of` finds the zone for names at, below and far below its apex.
pub async fn the_enclosing_zone_is_found(fx: &impl DnsFixture) {
    let case = Case::new(fx, "enclosing");
    if case.by_hand() {
        let error = case.dns.zone_of(&case.name).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
        return;
    }
    let deep = case.name.child("deep").unwrap().child("very").unwrap();
    for name in [fx.zone(), case.name.clone(), deep] {
        let zone = case.dns.zone_of(&name).await.unwrap();
        assert_eq!(zone.name, fx.zone(), "the zone of {name}");
        assert!(!zone.id.is_empty());
    }
}

/// The zone with the longest name that fits gets the record.
pub async fn nested_zones_are_told_apart(fx: &impl DnsFixture) {
    let nested = match fx.nested_zone() {
        Ok(nested) => nested,
        Err(reason) => return works_all_the_same(fx, reason).await,
    };
    let case = Case::new(fx, "outer");
    assert!(nested != fx.zone() && nested.is_within(&fx.zone()), "the fixture's zone is nested");
    let name = nested.child("_inner").unwrap();
    // The outer zone first, so that a zone which is remembered is not taken for a nested one.
    case.add("outer").await;
    let added = case.dns.add(&DnsRecord::txt(name.clone(), "inner")).await.unwrap();
    assert_eq!(case.dns.zone_of(&name).await.unwrap().name, nested);
    assert_eq!(case.dns.zone_of(&nested).await.unwrap().name, nested);
    case.holds_at(&name, &["inner"]).await;
    case.remove(&added.handle).await;
    case.holds_at(&name, &[]).await;
    case.holds(&["outer"]).await;
}

/// A listing is read to its end.
pub async fn the_last_page_of_zones_is_read(fx: &impl DnsFixture) {
    let name = match fx.name_on_last_page() {
        Ok(name) => name,
        Err(reason) => return works_all_the_same(fx, reason).await,
    };
    let case = Case::new(fx, "pages");
    let added = case.dns.add(&DnsRecord::txt(name.clone(), "value")).await.unwrap();
    case.holds_at(&name, &["value"]).await;
    case.remove(&added.handle).await;
    case.holds_at(&name, &[]).await;
}
