//! The promises of [`DnsProvider`], one function each. [`dns_conformance!`](crate::dns_conformance) runs them.
//!
//! Each panics, with what was promised, if it is not kept.
#![expect(clippy::missing_panics_doc, reason = "the module's own documentation says it once for all")]
#![expect(clippy::unwrap_used, reason = "a promise that is not kept ends the test")]

mod aliases;
mod conflicts;
mod failures;
mod values;
mod zones;

use std::sync::Arc;

use certlife_core::{
    DnsProvider, Fqdn,
    dns::{Added, DnsRecord, RecordHandle},
};

use super::fixture::{Cannot, DnsFixture};

pub use aliases::*;
pub use conflicts::*;
pub use failures::*;
pub use values::*;
pub use zones::*;

/// The names of all promises. A test compares them with the functions of this module.
#[doc(hidden)]
#[macro_export]
macro_rules! dns_promises {
    (@tests $fixture:expr) => {
        $crate::promises! { dns::suite, $fixture =>
            sibling_values_survive
            neighbours_survive
            apex_and_wildcard_share_a_name
            adding_twice_publishes_once
            existed_tells_who_was_there_first
            removing_twice_is_success
            removing_what_never_was_is_success
            a_handle_works_after_a_restart
            a_handle_made_from_the_record_alone_works
            twenty_concurrent_changes_at_one_name_all_count
            an_addition_by_others_during_ours_survives
            an_addition_by_others_during_a_removal_survives
            values_that_differ_only_in_case_are_two
            awkward_values_come_out_as_they_went_in
            a_value_of_300_bytes_comes_out_in_one_piece
            an_abandoned_change_can_be_repaired
            aliases_come_and_go
            an_alias_to_elsewhere_stands
            an_alias_and_a_value_exclude_each_other
            a_zone_that_the_account_lacks_is_refused
            a_zone_that_only_ends_alike_is_refused
            the_enclosing_zone_is_found
            nested_zones_are_told_apart
            the_last_page_of_zones_is_read
            the_account_can_be_tested
            wrong_credentials_are_unauthorized
            throttling_for_a_stated_time_is_told
            throttling_for_an_unknown_time_is_told
            a_lost_answer_is_repaired_by_asking_again
            a_lost_answer_is_repaired_by_removing
            a_lost_answer_to_a_removal_is_repaired_by_asking_again
            an_error_in_the_body_is_an_error
            secrets_are_never_printed
            distribution_is_honest
        }
    };
}

/// One provider and one name of a fixture.
struct Case<'a, F> {
    fx: &'a F,
    dns: Arc<dyn DnsProvider>,
    name: Fqdn,
}

impl<'a, F: DnsFixture> Case<'a, F> {
    fn new(fx: &'a F, label: &str) -> Self {
        Self { fx, dns: fx.provider(), name: fx.name(label) }
    }

    fn by_hand(&self) -> bool {
        self.dns.capabilities().by_hand
    }

    fn txt(&self, value: &str) -> DnsRecord {
        DnsRecord::txt(self.name.clone(), value)
    }

    async fn add(&self, value: &str) -> Added {
        let record = self.txt(value);
        let added = self.dns.add(&record).await.unwrap_or_else(|error| panic!("{}", error.chain()));
        assert_eq!(added.handle.record, record, "a handle says what was published");
        added
    }

    async fn remove(&self, handle: &RecordHandle) {
        self.dns.remove(handle).await.unwrap_or_else(|error| panic!("{}", error.chain()));
    }

    /// Asserts what is published at the name, in any order. By hand nothing is: a person would do it.
    async fn holds(&self, expected: &[&str]) {
        self.holds_at(&self.name, expected).await;
    }

    async fn holds_at(&self, name: &Fqdn, expected: &[&str]) {
        let mut found = self.fx.txt_values(name).await;
        found.sort();
        let mut expected = if self.by_hand() { Vec::new() } else { expected.to_vec() };
        expected.sort_unstable();
        assert_eq!(found, expected, "TXT values at {name}");
    }
}

/// What must hold where something cannot be staged: there is a reason, and the provider works.
async fn works_all_the_same(fx: &impl DnsFixture, Cannot(reason): Cannot) {
    assert!(reason.len() > 10, "a fixture that cannot stage something says why");
    let case = Case::new(fx, "unstaged");
    let added = case.add("value").await;
    case.holds(&["value"]).await;
    case.remove(&added.handle).await;
    case.holds(&[]).await;
}
