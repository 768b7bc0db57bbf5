//! What each script takes, as its head says: nothing more, and nothing less.

use serde::Deserialize;

use super::super::script::{Rebind, Reference, Refile};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Probe {
    pub(super) store: String,
    pub(super) accounts: Vec<String>,
    pub(super) sites: Vec<String>,
    pub(super) central: Option<String>,
    pub(super) roots: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    pub(super) certificate: String,
    pub(super) marker: String,
    pub(super) stores: Vec<String>,
    pub(super) central: Option<Central>,
    pub(super) files: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Central {
    pub(super) path: String,
    pub(super) password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Import {
    pub(super) store: String,
    pub(super) certificate: String,
    pub(super) authorities: Vec<String>,
    pub(super) pfx: String,
    pub(super) password: String,
    pub(super) name: String,
    pub(super) exportable: bool,
    pub(super) accounts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keep {
    pub(super) certificate: String,
    pub(super) name: String,
    pub(super) pfx: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Switch {
    pub(super) certificate: String,
    pub(super) expects: Option<String>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) show: Vec<Reference>,
    pub(super) hide: Vec<Reference>,
    pub(super) bindings: Vec<Rebind>,
    pub(super) central: Option<String>,
    pub(super) files: Vec<Refile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remove {
    pub(super) certificate: String,
    pub(super) certificates: Vec<Reference>,
    pub(super) kept: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Challenge {
    pub(super) site: String,
    pub(super) segments: Vec<String>,
    pub(super) body: String,
}
