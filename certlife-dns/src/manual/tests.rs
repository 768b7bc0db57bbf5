use std::{sync::Arc, time::Duration};

use certlife_testkit::dns::{Cannot, Change, DnsFixture, MemoryDns};

use super::*;

/// A world that nobody changes, since nobody was told to.
struct Desk(MemoryDns);

const NO_VENDOR: Cannot = Cannot("there is no vendor that could do this: a person makes the changes");

impl DnsFixture for Desk {
    fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(Manual::from_settings(Settings {}).unwrap())
    }

    fn name(&self, label: &str) -> Fqdn {
        format!("_acme-challenge.{label}.example.org").parse().unwrap()
    }

    async fn txt_values(&self, name: &Fqdn) -> Vec<String> {
        self.0.txt_values(name)
    }

    async fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        self.0.cname(name)
    }

    fn zone(&self) -> Fqdn {
        "example.org".parse().unwrap()
    }

    fn nested_zone(&self) -> Result<Fqdn, Cannot> {
        Err(NO_VENDOR)
    }

    fn foreign_name(&self) -> Fqdn {
        "_acme-challenge.example.net".parse().unwrap()
    }

    fn name_on_last_page(&self) -> Result<Fqdn, Cannot> {
        Err(NO_VENDOR)
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        Err(NO_VENDOR)
    }

    fn throttle(&self, _: Option<Duration>) -> Result<(), Cannot> {
        Err(NO_VENDOR)
    }

    fn lose_next_answer(&self) -> Result<(), Cannot> {
        Err(NO_VENDOR)
    }

    fn intrude(&self, _: Change, _: &Fqdn, _: &str) -> Result<(), Cannot> {
        Err(NO_VENDOR)
    }

    fn fail_in_body(&self) -> Result<(), Cannot> {
        Err(NO_VENDOR)
    }

    fn recover(&self) {}

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Err(NO_VENDOR)
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", Settings {})
    }
}

certlife_testkit::dns_conformance!(Desk(MemoryDns::new()));

#[test]
fn settings_that_mean_nothing_are_refused() {
    assert!(serde_json::from_str::<Settings>("{}").is_ok());
    assert!(serde_json::from_str::<Settings>(r#"{"token":"x"}"#).is_err());
}
