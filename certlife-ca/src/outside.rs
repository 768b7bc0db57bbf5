//! What lies around a CA and a host.

use std::sync::Arc;

use certlife_core::{
    Deployer, DnsProvider, EngineBuilder,
    challenge::HttpPath,
    engine::{DnsOptions, TargetOptions},
};
use certlife_testkit::{
    clock::LeapClock,
    crash::{CrashPlan, Crashing},
    deploy::MemoryTarget,
    dns::{MemoryAccount, MemoryDns},
};

/// DNS and a web server, as the engine changes them and a CA sees them.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) dns: MemoryDns,
    pub(crate) web: MemoryTarget,
    account: MemoryAccount,
}

impl Outside {
    pub(crate) fn new(clock: &LeapClock, zone: &str) -> Self {
        let dns = MemoryDns::with_clock(Arc::new(clock.clone()));
        let account = dns.account(&[zone]);
        Self { dns, web: MemoryTarget::with_clock(Arc::new(clock.clone())), account }
    }

    /// Adds the DNS account `dns` and the target `web`.
    pub(crate) fn added_to(&self, builder: EngineBuilder, plan: &Arc<CrashPlan>) -> EngineBuilder {
        let dns: Arc<dyn DnsProvider> = Arc::new(self.account.reopened());
        let web: Arc<dyn Deployer> = Arc::new(self.web.reopened());
        builder
            .lookup(Arc::new(self.dns.clone()))
            .dns("dns".parse().unwrap(), Crashing::new(dns, plan), DnsOptions::default())
            .target("web".parse().unwrap(), Crashing::new(web, plan), TargetOptions::default())
    }

    /// Whether a proof can be seen, by its kind (`TXT`, `CNAME`, `HTTP`), place and value.
    #[cfg(any(feature = "entrust", feature = "sectigo"))]
    pub(crate) fn sees(&self, kind: &str, place: &str, value: &str) -> bool {
        match kind {
            "TXT" => self.has_txt(place, value),
            "CNAME" => self.has_cname(place, value),
            "HTTP" => self.serves(place, value),
            _ => false,
        }
    }

    pub(crate) fn has_txt(&self, name: &str, value: &str) -> bool {
        self.dns.txt_values(&name.parse().unwrap()).iter().any(|there| there == value)
    }

    #[cfg(any(feature = "sectigo", feature = "sslstore"))]
    pub(crate) fn has_cname(&self, name: &str, target: &str) -> bool {
        self.dns.cname(&name.parse().unwrap()) == Some(target.parse().unwrap())
    }

    /// Whether `http://host/path` serves this.
    pub(crate) fn serves(&self, url: &str, content: &str) -> bool {
        let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).unwrap();
        let path = HttpPath::new(&format!("/{path}")).unwrap();
        self.web.http(&host.parse().unwrap(), &path).as_deref() == Some(content)
    }
}
