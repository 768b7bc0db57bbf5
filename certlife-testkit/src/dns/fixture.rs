//! What a vendor supplies to be tested.

use std::{sync::Arc, time::Duration};

use certlife_core::{DnsProvider, Fqdn};

/// Why a fixture cannot stage something: a full sentence, for whoever reads the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is nothing but the reason")]
pub struct Cannot(pub &'static str);

/// A change that a provider makes to the records at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a provider makes no others")]
pub enum Change {
    /// A value more.
    Addition,
    /// A value less.
    Removal,
}

/// A provider under test, and a second view of the world behind it.
///
/// The world holds a zone for [`name`](Self::name), and everything else that the methods name. What can be
/// staged is staged for the one account that all [`provider`](Self::provider)s of a fixture share.
#[expect(clippy::missing_errors_doc, reason = "the only error is `Cannot`, which says everything")]
pub trait DnsFixture: Sync {
    /// A provider with no memory of earlier ones, as after a restart.
    fn provider(&self) -> Arc<dyn DnsProvider>;

    /// An owner name, at which nothing is, that this run alone uses.
    fn name(&self, label: &str) -> Fqdn;

    /// The TXT values at `name`, read past the provider under test.
    fn txt_values(&self, name: &Fqdn) -> impl Future<Output = Vec<String>> + Send;

    /// The target of the CNAME at `name`, read past the provider under test.
    fn cname(&self, name: &Fqdn) -> impl Future<Output = Option<Fqdn>> + Send;

    /// The zone that [`name`](Self::name)s are in.
    fn zone(&self) -> Fqdn;

    /// A zone of the same account that lies within [`zone`](Self::zone).
    fn nested_zone(&self) -> Result<Fqdn, Cannot>;

    /// A name in none of the account's zones.
    fn foreign_name(&self) -> Fqdn;

    /// A name that ends in the letters of [`zone`](Self::zone) but lies outside: `notexample.com`.
    fn lookalike_name(&self) -> Fqdn {
        format!("_acme-challenge.not{}", self.zone()).parse().unwrap_or_else(|_| self.foreign_name())
    }

    /// A name in a zone that an account's listing shows on its last page only.
    fn name_on_last_page(&self) -> Result<Fqdn, Cannot>;

    /// A provider like [`provider`](Self::provider) but with credentials that the vendor refuses.
    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot>;

    /// Throttles every request from now on, saying for how long or not, until [`recover`](Self::recover).
    fn throttle(&self, retry_after: Option<Duration>) -> Result<(), Cannot>;

    /// Lets the answer to the next change get lost after the change was made.
    fn lose_next_answer(&self) -> Result<(), Cannot>;

    /// Has another writer add `value` to the TXT values at `name` between the question and the write of the next
    /// `change` there, so that what the provider knows of the name is old when it writes.
    ///
    /// Cannot be staged where a value is a record of its own, or where the vendor itself adds to a set and takes from
    /// it, and need not be where the vendor cannot notice; the provider's documentation then says what gets lost.
    fn intrude(&self, change: Change, name: &Fqdn, value: &str) -> Result<(), Cannot>;

    /// Refuses every change from now on by an error in the body of an answer whose status says success, until
    /// [`recover`](Self::recover).
    fn fail_in_body(&self) -> Result<(), Cannot>;

    /// Ends what [`throttle`](Self::throttle) and [`fail_in_body`](Self::fail_in_body) began.
    fn recover(&self);

    /// Why the vendor cannot hold this TXT value; the provider then has to refuse it.
    fn cannot_hold(&self, _value: &str) -> Option<Cannot> {
        None
    }

    /// The secrets that the provider was built with, in every spelling in which they could leak.
    fn secrets(&self) -> Result<Vec<String>, Cannot>;

    /// What `{:?}` of the provider's builder and settings prints, with the secrets set.
    fn debug_of_builder(&self) -> String;
}
