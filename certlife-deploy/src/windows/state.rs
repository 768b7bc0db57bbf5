//! What is known about a certificate on a machine: what was written there, and what was seen there.
//!
//! The state on the machine is what a rollback needs after a crash, and after a lost receipt. Friendly names say
//! once more which version each certificate is, so that a lost state is found again by them.

use std::collections::BTreeMap;

use certlife_core::{CertificateId, ErrorKind, Fingerprint, Result, VersionId, deploy::Installed};
use serde::{Deserialize, Serialize};

use super::{
    names,
    script::{Bound, CentralFile, Looked, Reference, StoreEntry, Thumbprint},
};

/// The bits of a binding's `sslFlags` that are ours to choose; IIS keeps more there.
///
/// <https://learn.microsoft.com/en-us/iis/configuration/system.applicationhost/sites/site/bindings/binding>
pub(super) const SNI: u32 = 1;
pub(super) const CENTRAL: u32 = 2;

/// What is written on the machine about one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Which version is to be served.
    pub(super) live: Option<VersionId>,
    pub(super) versions: BTreeMap<VersionId, Version>,
    /// What bindings and files were before they showed this certificate.
    pub(super) bindings: Vec<OriginalBinding>,
    pub(super) files: Vec<OriginalFile>,
}

/// A version that was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    pub(super) fingerprint: Fingerprint,
    /// Where it is in a store; none if it is in the central store alone.
    pub(super) certificate: Option<Reference>,
    /// What was served before it.
    pub(super) replaced: Option<VersionId>,
    pub(super) bindings: Vec<Endpoint>,
    pub(super) files: Vec<String>,
}

/// A binding that shows a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) site: String,
    pub(super) information: String,
    /// [`SNI`] and [`CENTRAL`].
    pub(super) flags: u32,
}

impl Endpoint {
    pub(super) fn is(&self, site: &str, information: &str) -> bool {
        same(&self.site, site) && same(&self.information, information)
    }
}

/// What a binding was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginalBinding {
    pub(super) site: String,
    pub(super) information: String,
    /// None if there was no such binding.
    pub(super) found: Option<Found>,
}

/// What a binding showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Found {
    pub(super) flags: u32,
    pub(super) thumbprint: Option<Thumbprint>,
    pub(super) store: Option<String>,
}

/// What a file of the central store was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OriginalFile {
    pub(super) name: String,
    /// Under which name it is kept; none if there was no such file.
    pub(super) kept: Option<String>,
}

/// A machine as it was when it was looked at.
#[derive(Debug)]
pub(super) struct View {
    pub(super) certificate: CertificateId,
    pub(super) state: State,
    pub(super) looked: Looked,
}

impl View {
    /// Reads what was looked at.
    pub(super) fn new(certificate: &CertificateId, mut looked: Looked) -> Result<Self, ErrorKind> {
        // These names go back to where they came from, so they are none but ours.
        looked.kept.retain(|name| names::is_kept_file(name));
        let mut view = Self { certificate: certificate.clone(), state: State::default(), looked };
        view.state = match &view.looked.state {
            Some(text) => serde_json::from_str(text).map_err(|_| {
                ErrorKind::Corrupt(format!("the state of {certificate} on the machine").into())
            })?,
            None => view.recovered(),
        };
        Ok(view)
    }

    /// Makes up the state from friendly names and bindings, where it was lost.
    fn recovered(&self) -> State {
        let mut state = State::default();
        for entry in &self.looked.certificates {
            let Some(version) = self.version_of(entry) else { continue };
            let shows = |bound: &&Bound| bound.thumbprint.as_ref() == Some(&entry.thumbprint);
            let bindings = self.looked.bindings.iter().filter(shows).map(|bound| Endpoint {
                site: bound.site.clone(),
                information: bound.information.clone(),
                flags: bound.flags & (SNI | CENTRAL),
            });
            let bindings: Vec<_> = bindings.collect();
            let originals = bindings.iter().map(|endpoint| OriginalBinding {
                site: endpoint.site.clone(),
                information: endpoint.information.clone(),
                found: None,
            });
            state.bindings.extend(originals);
            let record = Version {
                fingerprint: entry.fingerprint,
                certificate: Some(entry.reference()),
                replaced: None,
                bindings,
                files: Vec::new(),
            };
            state.versions.insert(version, record);
        }
        let bound = state.versions.iter().rev().find(|(_, record)| !record.bindings.is_empty());
        let found = |record: &Version| self.visible().any(|entry| entry.fingerprint == record.fingerprint);
        let live = bound.or_else(|| state.versions.iter().rev().find(|(_, record)| found(record)));
        state.live = live.map(|(version, _)| *version);
        state
    }

    /// The version that is to be served.
    pub(super) fn live(&self) -> Option<(VersionId, &Version)> {
        let version = self.state.live?;
        Some((version, self.state.versions.get(&version)?))
    }

    /// What the machine shows now, whatever the state says is to be shown.
    pub(super) fn shown(&self) -> Option<Installed> {
        let (_, live) = self.live()?;
        let fingerprint = if live.bindings.is_empty() && live.files.is_empty() {
            self.shown_by_store(live)?
        } else {
            self.shown_by_places(live)?
        };
        Some(Installed { fingerprint, version: self.version_with(&fingerprint) })
    }

    /// What programs find that look for the certificate.
    fn shown_by_store(&self, live: &Version) -> Option<Fingerprint> {
        let found = self.visible().filter(|entry| entry.has_key).map(|entry| entry.fingerprint);
        found.min_by_key(|found| (*found != live.fingerprint, *found))
    }

    /// What bindings and files show: the version if all of them do, else what one of the others shows.
    fn shown_by_places(&self, live: &Version) -> Option<Fingerprint> {
        let mut shown = Vec::new();
        for endpoint in &live.bindings {
            let bound = self.bound(endpoint)?;
            match endpoint.flags & CENTRAL {
                0 => shown.push(bound.fingerprint.filter(|_| bound.has_key)?),
                // What it shows is told by its file.
                _ if bound.flags & CENTRAL != 0 => {}
                _ => return None,
            }
        }
        for name in &live.files {
            shown.push(self.file_shows(self.file(name)?)?);
        }
        shown.into_iter().min_by_key(|found| *found == live.fingerprint)
    }

    fn version_with(&self, fingerprint: &Fingerprint) -> Option<VersionId> {
        let mut versions = self.state.versions.iter();
        versions.find(|(_, record)| record.fingerprint == *fingerprint).map(|(version, _)| *version)
    }

    /// Which version of this certificate a friendly name says.
    pub(super) fn version_of(&self, entry: &StoreEntry) -> Option<VersionId> {
        let (certificate, version) = names::read_friendly_name(&entry.name)?;
        (certificate == self.certificate).then_some(version)
    }

    /// The certificates that programs find.
    pub(super) fn visible(&self) -> impl Iterator<Item = &StoreEntry> {
        self.looked.certificates.iter().filter(|entry| !entry.archived)
    }

    /// Whether a version can be served again.
    pub(super) fn holds(&self, version: VersionId, record: &Version) -> bool {
        let stored = record.certificate.as_ref().is_none_or(|wanted| {
            let mut entries = self.looked.certificates.iter();
            entries.any(|entry| {
                entry.has_key && entry.fingerprint == record.fingerprint && entry.reference() == *wanted
            })
        });
        stored && (record.files.is_empty() || self.looked.kept.contains(&names::kept_file(version)))
    }

    /// The binding at an endpoint.
    pub(super) fn bound(&self, endpoint: &Endpoint) -> Option<&Bound> {
        self.looked.bindings.iter().find(|bound| endpoint.is(&bound.site, &bound.information))
    }

    /// A file of the central store.
    pub(super) fn file(&self, name: &str) -> Option<&CentralFile> {
        self.looked.files.iter().find(|file| file.name == name)
    }

    /// Which certificate a file of the central store holds.
    fn file_shows(&self, file: &CentralFile) -> Option<Fingerprint> {
        let kept = file.kept.as_deref().and_then(names::read_kept_file);
        let record = kept.and_then(|version| self.state.versions.get(&version));
        record.map(|record| record.fingerprint).or(file.fingerprint)
    }

    /// Whether a file of the central store holds a version of this certificate.
    pub(super) fn is_our_file(&self, file: &CentralFile) -> bool {
        self.file_shows(file).is_some_and(|found| self.version_with(&found).is_some())
    }

    /// Whether a binding shows a version of this certificate.
    pub(super) fn is_our_binding(&self, bound: &Bound) -> bool {
        match bound.flags & CENTRAL {
            0 => bound.thumbprint.as_ref().is_some_and(|thumbprint| {
                let known = self.state.versions.values().filter_map(|record| record.certificate.as_ref());
                let named = self.looked.certificates.iter().map(|entry| &entry.thumbprint);
                known.map(|reference| &reference.thumbprint).chain(named).any(|ours| ours == thumbprint)
            }),
            // It names no certificate; that it was made for this one is all that is known.
            _ => true,
        }
    }

    /// Whether a binding that is not among those of this certificate shows it all the same.
    pub(super) fn is_used_elsewhere(&self, thumbprint: &Thumbprint) -> bool {
        let ours = |bound: &Bound| {
            let is = |site: &str, information: &str| {
                same(site, &bound.site) && same(information, &bound.information)
            };
            self.state.bindings.iter().any(|original| is(&original.site, &original.information))
        };
        let mut bindings = self.looked.bindings.iter();
        bindings.any(|bound| bound.thumbprint.as_ref() == Some(thumbprint) && !ours(bound))
    }
}

impl StoreEntry {
    pub(super) fn reference(&self) -> Reference {
        Reference { store: self.store.clone(), thumbprint: self.thumbprint.clone() }
    }
}

/// As IIS compares names of sites and bindings.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
