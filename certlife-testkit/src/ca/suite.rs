//! The conformance suite: one case for each promise of [`CertificateAuthority`](certlife_core::CertificateAuthority).
//!
//! A capability that an authority lacks is no reason to skip a case: the case then asserts the refusal.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a suite tells what is wrong by panicking"
)]

mod desk;
mod drive;
mod failing;
mod limits;
mod listing;
mod ordering;

pub use self::{desk::*, failing::*, limits::*, listing::*, ordering::*};

/// Makes one `#[tokio::test]` for each promise of
/// [`CertificateAuthority`](certlife_core::CertificateAuthority).
///
/// The expression makes a [`CaFixture`](crate::ca::CaFixture); it is evaluated anew for each test and may
/// await. The crate needs `tokio` with `macros` and `rt`.
#[macro_export]
macro_rules! ca_conformance {
    ($fixture:expr) => {
        $crate::ca_conformance! { @cases $fixture,
            an_order_is_issued_for_its_key_and_names,
            several_names_share_a_certificate,
            wildcards_are_issued_or_refused_unsent,
            addresses_are_issued_or_refused_unsent,
            every_key_is_certified_or_refused_unsent,
            a_stored_handle_suffices_for_a_new_provider,
            responding_and_polling_may_be_repeated_in_every_stage,
            abandoned_calls_do_no_harm,
            orders_overlap,
            renewals_and_reissues_are_issued_or_refused_unsent,
            revoking_twice_is_success,
            decisions_are_carried_out_or_refused_unsent,
            what_is_put_aside_comes_back,
            approvers_are_listed_or_refused_unsent,
            another_proof_is_taken_or_refused_unsent,
            a_domain_is_validated_apart_from_orders_or_refused_unsent,
            a_lost_place_answer_is_found_again,
            an_order_that_was_never_placed_is_not_found,
            lost_answers_to_repeatable_calls_do_no_harm,
            a_failed_proof_rejects_the_order_in_words,
            a_throttled_call_says_when_to_call_again,
            a_fault_of_the_authority_may_pass,
            nonsense_is_no_answer,
            a_slow_answer_is_an_answer,
            too_many_names_are_refused_unsent,
            what_is_missing_is_refused_unsent,
            bad_requests_are_named,
            an_unknown_order_is_not_found,
            nothing_secret_is_printed,
            the_account_can_be_tested,
            a_catalog_is_shown_or_refused,
            a_listing_shows_every_order_once_and_ends,
            a_listing_keeps_to_its_filter,
            a_renewal_window_lies_in_the_validity_period,
        }
    };
    (@cases $fixture:expr, $($case:ident,)*) => {
        $(
            #[::tokio::test]
            async fn $case() {
                let fixture = $fixture;
                $crate::ca::suite::$case(&fixture).await;
            }
        )*
    };
}
