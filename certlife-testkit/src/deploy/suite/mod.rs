//! The promises of [`Deployer`], one function each. [`deployer_conformance!`](crate::deployer_conformance)
//! runs them.
//!
//! Each panics, with what was promised, if it is not kept.
#![expect(clippy::missing_panics_doc, reason = "the module's own documentation says it once for all")]

mod challenges;
mod conduct;
mod crashes;
mod installs;
mod keys;
mod rollbacks;
mod truth;

use std::sync::Arc;

use certlife_core::{
    CertificateId, Deployer, Error, ErrorKind, Identifier, Result,
    deploy::{Bundle, Installed, Receipt},
};

use super::{
    fixture::{DeployFixture, Seen},
    issuer::Issuer,
};

pub use challenges::*;
pub use conduct::*;
pub use crashes::*;
pub use installs::*;
pub use keys::*;
pub use rollbacks::*;
pub use truth::*;

/// The names of all promises. A test compares them with the functions of this module.
#[doc(hidden)]
#[macro_export]
macro_rules! deploy_promises {
    (@tests $fixture:expr) => {
        $crate::deploy_promises! { @crashes $fixture }
        $crate::promises! { deploy::suite, $fixture =>
            an_install_is_served
            a_newer_version_takes_over
            installing_twice_gives_equal_receipts
            an_old_version_can_be_installed_again
            readers_never_see_a_mixture
            an_abandoned_install_leaves_the_target_whole
            concurrent_installs_of_one_certificate_end_in_one_of_them
            concurrent_installs_of_many_certificates_all_count
            awkward_certificate_names_are_kept_apart
            every_kind_of_identifier_is_served
            every_kind_of_key_is_served
            a_certificate_without_its_key_is_installed_or_refused
            a_key_that_does_not_fit_is_refused
            keys_are_readable_by_their_owner_alone
            a_key_that_is_not_offered_is_refused
            a_made_key_is_the_same_when_asked_for_again
            every_name_has_a_key_of_its_own
            every_offered_kind_of_key_is_made
            a_certificate_for_a_made_key_is_served_with_it
            a_made_key_outlives_later_keys_and_installs
            a_made_key_is_never_shown
            an_abandoned_key_is_made_once
            nothing_is_installed_at_first
            installed_follows_what_happens
            tampering_is_noticed_and_repaired
            uninstalling_removes_the_certificate
            uninstalling_twice_is_success
            a_certificate_that_was_uninstalled_can_come_back
            a_rollback_brings_the_previous_version_back
            rolling_back_twice_is_success
            rolling_back_the_first_install_leaves_nothing
            a_receipt_works_after_a_restart
            a_version_that_was_rolled_back_can_be_installed_again
            tampering_is_undone_by_a_rollback
            an_old_receipt_does_not_undo_a_newer_install
            an_unsupported_challenge_is_refused
            a_challenge_file_is_served_as_it_is
            challenge_files_stand_side_by_side
            a_challenge_certificate_is_what_the_ca_wants_to_see
            challenge_certificates_stand_side_by_side
            a_challenge_certificate_changes_nothing_for_others
            placing_a_response_twice_is_success
            removing_a_response_twice_is_success
            removing_a_response_that_never_was_is_success
            a_response_can_be_removed_after_a_restart
            a_handle_made_from_the_response_alone_works
            an_abandoned_response_can_be_removed
            the_target_can_be_tested
            capabilities_and_name_stay
            a_broken_target_is_told
            secrets_are_never_printed
        }
    };
    (@crashes $fixture:expr) => {
        $crate::promises! { deploy::suite, $fixture =>
            an_install_may_crash_at_every_step
            a_first_install_may_crash_at_every_step
            after_a_crashed_install_another_version_can_follow
            a_rollback_may_crash_at_every_step
            an_uninstall_may_crash_at_every_step
            a_key_may_crash_at_every_step_of_its_making
            a_response_may_crash_at_every_step
            a_probe_may_crash_at_every_step
        }
    };
}

/// A deployer and a certificate, of which any number of versions can be made.
struct Case<'a, F> {
    fx: &'a F,
    deployer: Arc<dyn Deployer>,
    issuer: Arc<Issuer>,
    certificate: CertificateId,
    identifiers: Vec<Identifier>,
}

impl<'a, F: DeployFixture> Case<'a, F> {
    /// None if the deployer cannot install, which it then has said.
    async fn new(fx: &'a F) -> Option<Self> {
        let case = Self {
            fx,
            deployer: fx.deployer(),
            issuer: Arc::new(Issuer::new()),
            certificate: name("www"),
            identifiers: vec![identifier("www.example.org")],
        };
        if case.deployer.capabilities().install {
            return Some(case);
        }
        let error = refused(case.deployer.install(&case.bundle()).await);
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{}", error.chain());
        None
    }

    /// Another certificate of the same fixture.
    fn other(&self, certificate: &str, host: &str) -> Self {
        Self {
            fx: self.fx,
            deployer: Arc::clone(&self.deployer),
            issuer: Arc::clone(&self.issuer),
            certificate: name(certificate),
            identifiers: vec![identifier(host)],
        }
    }

    /// The next version, not yet installed.
    fn bundle(&self) -> Bundle {
        self.issuer.bundle(&self.certificate, &self.identifiers)
    }

    async fn install(&self, bundle: &Bundle) -> Receipt {
        let receipt = ok(self.deployer.install(bundle).await);
        assert_eq!((&receipt.certificate, receipt.version), (&bundle.certificate, bundle.version));
        receipt
    }

    /// Installs the next version after `before`.
    async fn install_next(&self, before: Option<&Bundle>) -> (Bundle, Receipt) {
        let bundle = Bundle { replaces: before.map(|bundle| bundle.version), ..self.bundle() };
        let receipt = self.install(&bundle).await;
        (bundle, receipt)
    }

    async fn rollback(&self, receipt: &Receipt) {
        ok(self.deployer.rollback(receipt).await);
    }

    async fn seen(&self) -> Option<Seen> {
        self.fx.seen(&self.certificate, &host_of(&self.identifiers[0])).await
    }

    async fn installed(&self) -> Option<Installed> {
        ok(self.deployer.installed(&self.certificate).await)
    }

    /// Asserts that readers find exactly this version, and that the deployer says the same.
    async fn serves(&self, bundle: &Bundle) {
        assert_eq!(self.seen().await, Some(sight(bundle)), "what a reader of {} sees", self.certificate);
        let installed = self.installed().await.expect("something is installed");
        assert_eq!(installed.fingerprint, bundle.chain.fingerprint());
        assert!(installed.version.is_none_or(|version| version == bundle.version), "{installed:?}");
    }

    /// Asserts that readers find nothing, and that the deployer says the same.
    async fn serves_nothing(&self) {
        assert_eq!(self.seen().await, None, "what a reader of {} sees", self.certificate);
        assert_eq!(self.installed().await, None);
    }
}

/// What a reader sees who finds `bundle` whole.
fn sight(bundle: &Bundle) -> Seen {
    Seen {
        chain: bundle.chain.certificates().cloned().collect(),
        key_fits: bundle.key.as_ref().map(|_| true),
    }
}

/// The host that a client asks for to see a certificate with this identifier.
fn host_of(shown: &Identifier) -> Identifier {
    match shown {
        Identifier::Wildcard(base) => identifier(&format!("any.{base}")),
        host => host.clone(),
    }
}

fn name(text: &str) -> CertificateId {
    CertificateId::new(text).unwrap_or_else(|error| panic!("{error}"))
}

fn identifier(text: &str) -> Identifier {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn ok<T>(outcome: Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{}", error.chain()))
}

pub(super) fn refused<T>(outcome: Result<T>) -> Error {
    match outcome {
        Ok(_) => panic!("it is accepted, but has to be refused"),
        Err(error) => error,
    }
}

/// What a handle or receipt is after it was stored and read again.
fn stored<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    let text = serde_json::to_string(value).expect("it can be stored");
    assert!(text.len() < 16 * 1_024, "what the engine has to store for a deployer is small");
    serde_json::from_str(&text).expect("it reads back")
}

/// Polls `future` this many times and drops it, finished or not.
async fn abandon_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let patience = async {
        for _ in 0..polls {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        value = future => Some(value),
        () = patience => None,
    }
}
