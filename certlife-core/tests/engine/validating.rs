//! Routes, delegation, visibility, shared records, and everything that can fail between them.

use std::time::Duration;

use certlife_core::{
    ErrorKind, Fqdn, Identifier, Party,
    dns::DnsRecord,
    engine::DnsOptions,
    model::{CertificateSpec, DomainMapping, OrderState, PublicationState, Route, RouteReason},
};

use crate::world::{DAY, World, id, only_order, spec};

fn unrouted(name: &str, identifiers: &[&str]) -> CertificateSpec {
    let mut wish = spec(name, identifiers);
    wish.validation.default = None;
    wish
}

#[tokio::test]
async fn the_longest_domain_mapping_chooses_the_account_and_explain_says_so() {
    let world = World::new();
    let engine = world.engine().await;
    world.dns.add_zone("deep.example.com");
    let deep = world.dns.account(&["deep.example.com"]);
    engine.add_dns("deep".parse().unwrap(), std::sync::Arc::new(deep.reopened()), DnsOptions::default());
    let mapping = |domain: &str, account: &str| {
        DomainMapping::new(domain.parse().unwrap()).route(Route::Dns(account.parse().unwrap()))
    };
    let refused = engine.ensure(unrouted("www", &["a.example.com"])).await.unwrap_err();
    assert_eq!(refused.kind().code(), "no_validation");
    engine.set_mappings(&[mapping("example.com", "dns"), mapping("deep.example.com", "deep")]).await.unwrap();
    engine.ensure(unrouted("www", &["a.example.com", "b.deep.example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Issued);
    let reason = |name: &str| {
        let name: Identifier = name.parse().unwrap();
        let publication = order.publications.iter().find(|p| p.identifiers.contains(&name)).unwrap();
        (publication.route.clone(), publication.because.clone())
    };
    let mapped = |domain: &str| RouteReason::DomainMapping(domain.parse().unwrap());
    assert_eq!(reason("a.example.com"), (Route::Dns("dns".parse().unwrap()), mapped("example.com")));
    assert_eq!(
        reason("b.deep.example.com"),
        (Route::Dns("deep".parse().unwrap()), mapped("deep.example.com"))
    );
    assert_eq!((deep.calls().add, world.account.calls().add), (1, 1));
}

#[tokio::test]
async fn a_delegated_challenge_is_written_where_the_cname_leads() {
    let world = World::new();
    world.dns.add_zone("acme.example.net");
    world.dns.alias("_acme-challenge.example.com", "x.acme.example.net");
    let other = world.dns.account(&["acme.example.net"]);
    let engine = world.engine().await;
    engine.add_dns("net".parse().unwrap(), std::sync::Arc::new(other.reopened()), DnsOptions::default());
    engine
        .set_mappings(&[
            DomainMapping::new("example.com".parse().unwrap()).route(Route::Dns("dns".parse().unwrap())),
            DomainMapping::new("acme.example.net".parse().unwrap()).route(Route::Dns("net".parse().unwrap())),
        ])
        .await
        .unwrap();
    engine.ensure(unrouted("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Issued, "{order:#?}");
    let target: Fqdn = "x.acme.example.net".parse().unwrap();
    assert_eq!(order.publications[0].delegated_to, Some(target));
    assert_eq!((other.calls().add, other.calls().remove, world.account.calls().add), (1, 1, 0));
    assert_eq!(world.records_in_dns(), 1, "only the CNAME itself stays");
}

#[tokio::test]
async fn values_of_others_stay_and_a_value_that_was_there_before_is_not_removed() {
    let world = World::new();
    let name: Fqdn = "_acme-challenge.example.com".parse().unwrap();
    world.dns.insert(DnsRecord::txt(name.clone(), "somebody else's"));
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com", "*.example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(world.dns.txt_values(&name), ["somebody else's"]);
}

#[tokio::test]
async fn a_slow_server_delays_the_answer_and_is_named_meanwhile() {
    let world = World::new();
    world.dns.servers(3);
    world.dns.lag(2, Duration::from_mins(3));
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_mins(1)).await;
    let explanation = engine.explain(&id("www")).await.unwrap();
    assert_eq!(explanation.who_acts, Party::Engine);
    let validation = &explanation.order.unwrap().validations[0];
    assert_eq!(validation.state, PublicationState::Placed);
    assert!(!validation.servers.is_empty());
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);
}

#[tokio::test]
async fn a_record_that_never_shows_ends_the_order_and_is_removed() {
    let world = World::new();
    world.dns.servers(2);
    world.dns.lag(1, 400 * DAY);
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_mins(15)).await;
    let order = &engine.orders(&id("www"), None).await.unwrap().items[0];
    assert_eq!(order.state, OrderState::Failed);
    let failure = order.failure.clone().unwrap();
    assert!(failure.message.as_str().contains("does not have the record yet"), "{failure:?}");
    assert_eq!(world.dns.all_records().len(), 0);
}

#[tokio::test]
async fn a_failing_dns_account_is_retried_and_a_refused_one_stops_with_who_acts() {
    let world = World::new();
    let engine = world.engine().await;
    world.account.fail_next(3, ErrorKind::Unavailable);
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);

    world.account.refuse_credentials(true);
    engine.ensure(spec("two", &["two.example.com"])).await.unwrap();
    world.work(&engine, Duration::from_mins(5)).await;
    let order = only_order(&engine, "two").await;
    assert_eq!(order.state, OrderState::Failed);
    let explanation = engine.explain(&id("two")).await.unwrap();
    assert_eq!(explanation.who_acts, Party::AccountHolder);
    assert!(explanation.next_attempt.is_some(), "it is tried again by itself, ever more slowly");
    world.account.refuse_credentials(false);
    world.work(&engine, DAY).await;
    assert!(engine.certificate(&id("two")).await.unwrap().current.is_some());
}

#[tokio::test]
async fn clean_up_goes_on_until_the_record_is_gone() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    // Let it publish, then break the account for the removals.
    world.dns.servers(1);
    world.dns.lag(0, Duration::from_secs(30));
    world.work(&engine, Duration::from_secs(5)).await;
    assert_eq!(world.account.calls().add, 1);
    world.account.refuse_credentials(true);
    world.work(&engine, Duration::from_mins(2)).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Issued);
    assert!(order.has_leftovers());
    assert_eq!(engine.open_orders(None).await.unwrap().items.len(), 1);
    world.account.refuse_credentials(false);
    world.work(&engine, DAY).await;
    assert!(only_order(&engine, "www").await.is_closed());
    assert_eq!(world.records_in_dns(), 0);
    assert_eq!(engine.open_orders(None).await.unwrap().items.len(), 0);
}

#[tokio::test]
async fn a_disabled_account_waits_and_goes_on_when_it_is_enabled() {
    let world = World::new();
    let engine = world.engine().await;
    engine.set_enabled(&"ca".parse().unwrap(), false).await.unwrap();
    let refused = engine.ensure(spec("www", &["example.com"])).await.unwrap_err();
    assert_eq!(refused.kind().code(), "disabled_account");
    engine.set_enabled(&"ca".parse().unwrap(), true).await.unwrap();
    engine.set_enabled(&"dns".parse().unwrap(), false).await.unwrap();
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_mins(10)).await;
    assert_eq!(world.account.calls().add, 0);
    let infos = engine.accounts().await.unwrap();
    assert!(infos.iter().any(|info| info.name.as_str() == "dns" && !info.enabled));
    engine.set_enabled(&"dns".parse().unwrap(), true).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);
}

#[tokio::test]
async fn a_hundred_names_take_as_many_commits_as_one() {
    use std::sync::Arc;
    let mut commits = Vec::new();
    for names in [1, 10, 100] {
        let world = World::new();
        let counted = Counting::over(world.store.clone());
        let store: Arc<dyn certlife_core::Store> = counted.clone();
        let engine = certlife_core::Engine::builder(store, world.ring.clone())
            .clock(Arc::new(world.clock.clone()))
            .lookup(Arc::new(world.dns.clone()))
            .linger(Duration::ZERO)
            .ca(
                "ca".parse().unwrap(),
                Arc::new(world.ca.clone()),
                certlife_core::engine::CaOptions::default(),
            )
            .dns("dns".parse().unwrap(), Arc::new(world.account.reopened()), DnsOptions::default())
            .build()
            .await
            .unwrap();
        let before = counted.commits();
        let identifiers: Vec<String> = (0..names).map(|n| format!("h{n}.example.com")).collect();
        let mut wish = spec("www", &identifiers.iter().map(String::as_str).collect::<Vec<_>>());
        wish.deploy.clear();
        engine.ensure(wish).await.unwrap();
        world.work(&engine, Duration::from_mins(10)).await;
        assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);
        commits.push(counted.commits() - before);
    }
    assert_eq!(commits, [6, 6, 6], "commits for 1, 10 and 100 names; ARCHITECTURE.md names the figure");
}

/// Counts commits.
#[derive(Debug)]
struct Counting {
    inner: std::sync::Arc<certlife_core::store::MemoryStore>,
    commits: std::sync::atomic::AtomicUsize,
}

impl Counting {
    fn over(inner: std::sync::Arc<certlife_core::store::MemoryStore>) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self { inner, commits: std::sync::atomic::AtomicUsize::new(0) })
    }

    fn commits(&self) -> usize {
        self.commits.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[certlife_core::async_trait]
impl certlife_core::Store for Counting {
    async fn get(
        &self,
        key: &certlife_core::store::Key,
    ) -> certlife_core::Result<Option<certlife_core::store::Record>> {
        self.inner.get(key).await
    }

    async fn list(
        &self,
        query: &certlife_core::store::Query,
    ) -> certlife_core::Result<certlife_core::store::Page<certlife_core::store::Record>> {
        self.inner.list(query).await
    }

    async fn commit(
        &self,
        batch: certlife_core::store::Batch,
    ) -> certlife_core::Result<certlife_core::store::Committed> {
        self.commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.inner.commit(batch).await
    }

    async fn claim(
        &self,
        claim: &certlife_core::store::Claim,
    ) -> certlife_core::Result<certlife_core::store::Claimed> {
        self.inner.claim(claim).await
    }

    async fn extend(
        &self,
        lease: &certlife_core::store::Lease,
        until: certlife_core::Timestamp,
    ) -> certlife_core::Result<certlife_core::store::Lease> {
        self.inner.extend(lease, until).await
    }

    async fn release(&self, lease: &certlife_core::store::Lease) -> certlife_core::Result<()> {
        self.inner.release(lease).await
    }
}
