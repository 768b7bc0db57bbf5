//! Certificates in directories of versions: one set of rules for every machine whose files can be reached.
//!
//! ```text
//! <directory>/www/versions/019b…/…    the files of a version, which never change
//!                               /install.json
//! <directory>/www/keys/019b….pem       keys that were made there
//! <directory>/www/live -> versions/019b…
//! ```
//!
//! What happens in which order is decided here (`install`); how a file is written or a command run is what a
//! target brings along ([`Tree`], [`Machine`]). After a crash between any two steps the same call ends in the
//! same place.

mod command;
pub(crate) mod defaults;
mod install;
#[cfg_attr(not(feature = "local"), expect(dead_code, reason = "over SSH no keys are made"))]
mod keys;
mod layout;
mod owner;
mod place;
mod tree;
mod version;
mod web;

#[cfg(feature = "local")]
pub(crate) use self::keys::make as make_key;
pub(crate) use self::{
    command::{Command, PATH, Slots},
    install::{Machine, Step, install, installed, probe, roll_back, uninstall},
    layout::{Layout, LayoutSettings},
    tree::{Found, Kind, Made, Rights, Tree, in_the_way, io_failed},
    version::AllRights,
    web::{probe as probe_web, put as put_challenge, remove as remove_challenge},
};
