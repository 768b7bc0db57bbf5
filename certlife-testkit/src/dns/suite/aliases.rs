//! What happens to CNAMEs, which some CAs ask for in place of TXT.

use certlife_core::{
    ErrorKind, Retry,
    dns::{DnsRecord, RecordHandle},
};

use super::{super::fixture::DnsFixture, Case};

/// CNAMEs are published and withdrawn like values, or not at all if the capabilities say so.
pub async fn aliases_come_and_go(fx: &impl DnsFixture) {
    let case = Case::new(fx, "alias");
    let target = "7a4e.dcv.example.net".parse().unwrap();
    let record = DnsRecord::cname(case.name.clone(), target);
    if !case.dns.capabilities().cname {
        let error = case.dns.add(&record).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
        assert_eq!(error.retry(), Retry::Never);
        return;
    }
    let expected = (!case.by_hand()).then(|| "7a4e.dcv.example.net".parse().unwrap());
    let added = case.dns.add(&record).await.unwrap();
    assert!(!added.existed);
    assert_eq!(fx.cname(&case.name).await, expected);
    assert_eq!(fx.provider().add(&record).await.unwrap().existed, !case.by_hand());
    case.remove(&added.handle).await;
    assert_eq!(fx.cname(&case.name).await, None);
    case.remove(&added.handle).await;

    case.dns.add(&record).await.unwrap();
    fx.provider().remove(&RecordHandle::unknown(record)).await.unwrap();
    assert_eq!(fx.cname(&case.name).await, None);
}

/// *Additive* and *exact*: a CNAME with another target is neither replaced nor removed.
pub async fn an_alias_to_elsewhere_stands(fx: &impl DnsFixture) {
    let case = Case::new(fx, "elsewhere");
    if !case.dns.capabilities().cname || case.by_hand() {
        return aliases_come_and_go(fx).await;
    }
    let ours = DnsRecord::cname(case.name.clone(), "ours.example.net".parse().unwrap());
    let theirs = DnsRecord::cname(case.name.clone(), "theirs.example.net".parse().unwrap());
    case.dns.add(&theirs).await.unwrap();
    let error = case.dns.add(&ours).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
    assert_eq!(error.retry(), Retry::Never);
    case.remove(&RecordHandle::unknown(ours)).await;
    assert_eq!(fx.cname(&case.name).await, Some("theirs.example.net".parse().unwrap()));
}

/// A name that has a CNAME has nothing else (RFC 1034 §3.6.2), and a provider says so rather than pretend.
pub async fn an_alias_and_a_value_exclude_each_other(fx: &impl DnsFixture) {
    let case = Case::new(fx, "exclusive");
    if !case.dns.capabilities().cname || case.by_hand() {
        return aliases_come_and_go(fx).await;
    }
    let alias = DnsRecord::cname(case.name.clone(), "target.example.net".parse().unwrap());
    let handle = case.dns.add(&alias).await.unwrap().handle;
    let error = case.dns.add(&case.txt("value")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
    assert_eq!(fx.cname(&case.name).await, Some("target.example.net".parse().unwrap()));
    case.remove(&handle).await;

    case.add("value").await;
    let error = case.dns.add(&alias).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
    assert_eq!(fx.cname(&case.name).await, None);
    case.holds(&["value"]).await;
}
