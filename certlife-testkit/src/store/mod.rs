//! The conformance suite of [`Store`]: one function a promise of its contract, one test a function.
//!
//! A store's tests say `certlife_testkit::store_conformance!(fixture)`, where `fixture` makes a
//! [`StoreFixture`] over empty data; every case runs on a fixture of its own. The crate needs `tokio` with
//! `macros` and `rt-multi-thread` among its dev-dependencies. Which ties a store breaks how is left to it.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a failed call is a failed test")]

mod batches;
mod claims;
mod events;
mod leases;
mod listings;
mod model;
mod restarts;
mod samples;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use certlife_core::Store;

pub use self::{batches::*, claims::*, events::*, leases::*, listings::*, model::*, restarts::*};

/// What a store supplies to be tested.
pub trait StoreFixture: Sync {
    /// Opens a store with no memory of earlier ones over the same data, as after a restart.
    ///
    /// The data is empty when the fixture is made, and several stores may be open at once.
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send;
}

/// Makes one test a case from an expression that makes a [`StoreFixture`](crate::store::StoreFixture).
///
/// The expression is evaluated for each case, inside an async function, so it may await.
#[macro_export]
macro_rules! store_conformance {
    (@cases $fixture:expr; $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            let fixture = $fixture;
            $crate::store::$case(&fixture).await;
        }
    )*};
    ($fixture:expr) => {
        $crate::store_conformance! { @cases $fixture;
            a_record_reads_back_as_written
            one_failing_write_undoes_the_batch
            a_batch_happens_as_a_whole
            insert_needs_a_free_key
            only_the_current_revision_is_replaced_or_deleted
            one_of_concurrent_writers_wins
            events_are_numbered_from_one
            a_follower_misses_no_event
            each_due_record_goes_to_one_worker
            the_earliest_due_come_first
            every_kind_and_moment_is_claimed
            next_says_when_to_come_back
            due_times_follow_the_record
            a_lease_keeps_others_away_until_it_ends
            a_former_holder_cannot_write
            an_unclaimed_lease_outlives_its_end
            a_lease_is_extended
            a_released_record_is_free
            a_commit_keeps_or_releases_its_lease
            a_failed_commit_keeps_its_lease
            a_lease_survives_a_new_due_time
            a_lease_ends_with_its_record
            one_lost_lease_stops_the_batch
            an_invented_lease_is_lost
            records_are_listed_by_id
            the_last_page_says_so
            a_limit_out_of_range_is_kept_in_range
            a_filter_lists_by_value
            ranges_admit_what_lies_within
            a_record_is_found_by_each_of_its_values
            index_values_follow_the_record
            a_listing_survives_changes_between_pages
            a_hostile_cursor_stays_within_the_filter
            records_survive_a_restart
            leases_survive_a_restart
            two_stores_share_their_data
            large_bodies_come_back_whole
            an_abandoned_commit_is_whole_or_absent
            random_operations_match_the_reference
        }
    };
}
