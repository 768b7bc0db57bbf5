//! The reference fixture.

use std::{sync::Arc, time::Duration};

use certlife_core::{DnsProvider, Fqdn};

use super::{
    account::MemoryAccount,
    fixture::{Cannot, Change, DnsFixture},
    memory::MemoryDns,
};

/// [`MemoryDns`] as a fixture of the suite: an example to start from, and the suite's own test.
#[derive(Debug)]
pub struct MemoryFixture {
    world: MemoryDns,
    account: MemoryAccount,
}

impl MemoryFixture {
    /// A fresh world.
    pub fn new() -> Self {
        let world = MemoryDns::new();
        world.add_zone("example.net");
        let account = world.account(&["example.org", "sub.example.org"]);
        Self { world, account }
    }
}

impl Default for MemoryFixture {
    fn default() -> Self {
        Self::new()
    }
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

impl DnsFixture for MemoryFixture {
    fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(self.account.reopened())
    }

    fn name(&self, label: &str) -> Fqdn {
        name(&format!("_acme-challenge.{label}.example.org"))
    }

    async fn txt_values(&self, name: &Fqdn) -> Vec<String> {
        self.world.txt_values(name)
    }

    async fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        self.world.cname(name)
    }

    fn zone(&self) -> Fqdn {
        name("example.org")
    }

    fn nested_zone(&self) -> Result<Fqdn, Cannot> {
        Ok(name("sub.example.org"))
    }

    fn foreign_name(&self) -> Fqdn {
        name("_acme-challenge.example.net")
    }

    fn name_on_last_page(&self) -> Result<Fqdn, Cannot> {
        Err(Cannot("zones in memory are looked up, not listed"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        let refused = self.world.account(&["example.org"]);
        refused.refuse_credentials(true);
        Ok(Arc::new(refused))
    }

    fn throttle(&self, retry_after: Option<Duration>) -> Result<(), Cannot> {
        self.account.throttle(retry_after);
        Ok(())
    }

    fn lose_next_answer(&self) -> Result<(), Cannot> {
        self.account.lose_next_answers(1);
        Ok(())
    }

    fn intrude(&self, _: Change, _: &Fqdn, _: &str) -> Result<(), Cannot> {
        Err(Cannot("records in memory are read and changed in one step"))
    }

    fn fail_in_body(&self) -> Result<(), Cannot> {
        Err(Cannot("nothing in memory has a body or a status"))
    }

    fn recover(&self) {
        self.account.recover();
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Err(Cannot("an account in memory has no credentials"))
    }

    fn debug_of_builder(&self) -> String {
        String::new()
    }
}
