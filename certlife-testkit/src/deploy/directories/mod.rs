//! The promises of deployers that keep certificates as files in directories of versions, with commands that check
//! and reload, and challenge files under a web root. [`directory_conformance!`](crate::directory_conformance) runs them.
//!
//! Each panics, with what was promised, if it is not kept.
#![expect(clippy::missing_panics_doc, reason = "the module's own documentation says it once for all")]

mod commands;
mod files;
mod folder;
mod web;

use std::{fs, path::Path, sync::Arc, time::Duration};

use certlife_core::{
    CertificateId, Deployer,
    deploy::{Bundle, Receipt},
};

use super::{
    fixture::DeployFixture,
    issuer::Issuer,
    suite::{ok, refused},
};

pub use commands::*;
pub use files::*;
pub use folder::Folder;
pub use web::*;

/// What a directory of versions supplies to be tested, besides what every target does.
pub trait DirectoryFixture: DeployFixture {
    /// The folder on the target that the test has for itself.
    fn folder(&self) -> &Folder;

    /// The path of the same folder as commands on the target see it.
    fn inside(&self) -> String;

    /// A deployer with these settings, and with the defaults otherwise, that keeps its certificates in `certificates`
    /// in the folder, and answers HTTP challenges under `web` there.
    fn configured(&self, settings: DirectorySettings) -> Arc<dyn Deployer>;

    /// Gives a file or directory that a test made to whom the deployer works as.
    fn give(&self, path: &Path);
}

/// What a test sets.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "fixtures outside this crate read all of it")]
pub struct DirectorySettings {
    /// The command that says whether a version may go live; empty for none.
    pub check: Vec<String>,
    /// The command that makes the server read what is live; empty for none.
    pub reload: Vec<String>,
    /// How long a command may take.
    pub command_timeout: Duration,
    /// How many old versions are kept.
    pub keep: usize,
}

impl Default for DirectorySettings {
    fn default() -> Self {
        Self { check: Vec::new(), reload: Vec::new(), command_timeout: Duration::from_mins(1), keep: 3 }
    }
}

/// The names of all promises. A test compares them with the functions of this module.
#[doc(hidden)]
#[macro_export]
macro_rules! directory_promises {
    (@tests $fixture:expr) => {
        $crate::promises! { deploy::directories, $fixture =>
            the_check_sees_the_new_version_before_it_goes_live
            the_check_of_the_first_version_finds_it_live
            a_failed_check_switches_nothing_and_says_why
            a_failed_reload_brings_the_previous_version_back_and_reloads_it
            a_failed_reload_of_the_first_version_leaves_nothing_live
            the_same_version_is_reloaded_again_and_stays_if_that_fails
            after_a_crash_before_the_reload_a_failed_check_or_reload_still_goes_back
            a_rollback_reloads_what_it_brings_back
            a_command_that_does_not_end_is_stopped
            what_a_command_leaves_running_is_not_waited_for
            output_without_end_is_read_to_its_end_and_cut
            the_environment_is_empty_and_no_shell_reads_the_words
            a_probe_finds_missing_commands
            the_layout_is_as_documented
            old_versions_are_kept_as_told
            what_an_interrupted_install_left_is_no_obstacle
            a_live_version_that_is_spoiled_is_not_held
            planted_links_are_refused_and_what_they_lead_to_is_untouched
            a_foreign_live_is_refused
            files_of_others_survive_an_uninstall
            our_directories_come_and_go_and_others_stay
            directories_are_removed_by_whoever_is_last
            files_of_others_are_neither_overwritten_nor_removed
            planted_links_under_the_web_root_are_not_followed
            many_responses_at_once_by_several_processes_are_all_served
            a_web_root_is_never_made
        }
    };
}

/// A deployer, a certificate, and the means to issue versions of it.
struct Case<'a, F> {
    fx: &'a F,
    deployer: Arc<dyn Deployer>,
    issuer: Issuer,
    www: CertificateId,
}

impl<'a, F: DirectoryFixture> Case<'a, F> {
    fn new(fx: &'a F, settings: DirectorySettings) -> Self {
        let www = CertificateId::new("www").unwrap_or_else(|error| panic!("{error}"));
        Self { fx, deployer: fx.configured(settings), issuer: Issuer::new(), www }
    }

    fn bundle(&self) -> Bundle {
        let host = "www.example.org".parse().unwrap_or_else(|error| panic!("{error}"));
        self.issuer.bundle(&self.www, &[host])
    }

    async fn install(&self, bundle: &Bundle) -> Receipt {
        ok(self.deployer.install(bundle).await)
    }

    /// Why an install fails.
    async fn refusal(&self, bundle: &Bundle) -> certlife_core::Error {
        refused(self.deployer.install(bundle).await)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.fx.folder().path(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.fx.give(&path);
    }

    /// The text of a file; empty if there is none.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.fx.folder().path(name)).unwrap_or_default()
    }

    /// A path in the directory of the certificate.
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.fx.folder().of(&self.www, name)
    }

    /// The directory of what is live.
    fn live(&self) -> Option<String> {
        self.fx.folder().live(&self.www)
    }

    async fn installed(&self) -> Option<certlife_core::deploy::Installed> {
        ok(self.deployer.installed(&self.www).await)
    }

    /// Makes a directory of the test's own, with those above it.
    fn make_directory(&self, name: &str) {
        let mut path = self.fx.folder().path("");
        for part in name.split('/') {
            path.push(part);
            if !path.exists() {
                fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                self.fx.give(&path);
            }
        }
    }
}
