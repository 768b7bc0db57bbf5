//! What has to change so that another version is served: decided here, and carried out by one script.

use certlife_core::{CertificateId, ErrorKind, Identifier, Result, VersionId, deploy::Bundle};

use super::{
    binding::{Hosts, Listener},
    names,
    script::{Bound, Rebind, Reference, Refile, Remove, StoreEntry, Switch},
    settings::{MAX_KEEP, Plan},
    state::{CENTRAL, Endpoint, Found, OriginalBinding, OriginalFile, SNI, State, Version, View, same},
};

/// Where a version is to be shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) bindings: Vec<Endpoint>,
    pub(super) files: Vec<String>,
}

impl Places {
    /// The places that the settings name for a bundle.
    pub(super) fn of(plan: &Plan, bundle: &Bundle) -> Self {
        let mut places = Self::default();
        for listener in &plan.bindings {
            if listener.certificate.as_ref().is_some_and(|named| *named != bundle.certificate) {
                continue;
            }
            match &listener.hosts {
                Hosts::Any => places.add(listener, None),
                Hosts::One(host) => {
                    let covered = bundle.identifiers.iter().any(|identifier| identifier.covers(host));
                    if covered || listener.certificate.is_some() {
                        places.add(listener, Some(host));
                    }
                }
                Hosts::EachOfTheCertificate => {
                    bundle.identifiers.iter().for_each(|identifier| places.add(listener, Some(identifier)));
                }
            }
        }
        places
    }

    fn add(&mut self, listener: &Listener, host: Option<&Identifier>) {
        let (address, host) = match host {
            Some(Identifier::Ip(address)) => (Some(*address), None),
            host => (listener.address, host),
        };
        // The central store is searched by name, and so is what clients name.
        let central = listener.central && host.is_some();
        let sni = listener.sni && host.is_some();
        let flags = if sni { SNI } else { 0 } | if central { CENTRAL } else { 0 };
        let information = names::information(address, listener.port, host);
        let endpoint = Endpoint { site: listener.site.clone(), information, flags };
        if !self.bindings.iter().any(|other| other.is(&endpoint.site, &endpoint.information)) {
            self.bindings.push(endpoint);
        }
        if let Some(host) = host.filter(|_| central) {
            let file = names::central_file(host);
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        }
    }

    /// Whether the certificate has to be in a store of the machine.
    pub(super) fn need_store(&self) -> bool {
        self.bindings.is_empty() || self.bindings.iter().any(|endpoint| endpoint.flags & CENTRAL == 0)
    }

    /// Checks that the places are not somebody else's.
    pub(super) fn check(&self, view: &View) -> Result<(), ErrorKind> {
        if !self.bindings.is_empty() && !view.looked.iis {
            return Err(ErrorKind::NotFound("IIS on the machine".into()));
        }
        for endpoint in &self.bindings {
            let Endpoint { site, information, .. } = endpoint;
            if let Some(bound) = view.bound(endpoint)
                && let Some((other, _)) = bound.name.as_deref().and_then(names::read_friendly_name)
                && other != view.certificate
            {
                let words = format!("the binding {information} of {site} shows the certificate {other}");
                return Err(ErrorKind::Conflict(words.into()));
            }
            let elsewhere =
                |bound: &&Bound| same(&bound.information, information) && !same(&bound.site, site);
            if let Some(bound) = view.looked.bindings.iter().find(elsewhere) {
                let words =
                    format!("the site {} has the binding {information}, which {site} is to have", bound.site);
                return Err(ErrorKind::Conflict(words.into()));
            }
        }
        Ok(())
    }
}

/// Where to go from what is served now.
pub(super) enum Goal<'a> {
    /// To a version.
    Serve(VersionId, &'a Version),
    /// To what was there before the first version, remembering the versions.
    Nothing,
    /// The same, remembering none.
    Forget,
}

/// Decides what has to change; none if nothing has to.
pub(super) fn switch<'a>(view: &'a View, goal: &Goal<'_>, plan: &'a Plan) -> Option<Switch<'a>> {
    let (version, record) = match goal {
        Goal::Serve(version, record) => (Some(*version), Some(*record)),
        Goal::Nothing | Goal::Forget => (None, None),
    };
    let endpoints = record.map_or(&[][..], |record| &record.bindings);
    let names = record.map_or(&[][..], |record| &record.files);

    let mut before = view.state.clone();
    before.live = version;
    if let (Some(version), Some(record)) = (version, record) {
        before.versions.insert(version, record.clone());
    }
    remember_bindings(view, &mut before, endpoints);
    let saves = remember_files(view, &mut before, names);
    let mut after = before.clone();
    after.bindings.retain(|original| endpoints.iter().any(|it| it.is(&original.site, &original.information)));
    after.files.retain(|original| names.contains(&original.name));
    prune(view, &mut after);

    let mut bindings: Vec<_> = endpoints.iter().filter_map(|it| rebind(view, it, record)).collect();
    let given_up = before.bindings.iter().filter(|original| !after.bindings.contains(original));
    bindings.extend(given_up.filter_map(|original| restore(view, original)));

    let kept = version.map(names::kept_file);
    let mut files = Vec::new();
    for (name, save) in names.iter().zip(saves) {
        files.push(Refile { name: name.clone(), kept: kept.clone(), save });
    }
    for original in before.files.iter().filter(|original| !after.files.contains(original)) {
        if view.file(&original.name).is_none_or(|file| view.is_our_file(file)) {
            files.push(Refile { name: original.name.clone(), kept: original.kept.clone(), save: None });
        }
    }

    let target = record.and_then(|record| record.certificate.as_ref());
    let is_target = |reference: &Reference| target == Some(reference);
    let found = view.visible().any(|entry| is_target(&entry.reference()));
    let show: Vec<_> = target.filter(|_| !found).cloned().into_iter().collect();
    // With a binding it is the binding that says which version is served.
    let hides = endpoints.is_empty() && names.is_empty();
    let superfluous = view.visible().filter(|entry| {
        hides && !is_target(&entry.reference()) && !view.is_used_elsewhere(&entry.thumbprint)
    });
    let hide: Vec<_> = superfluous.map(StoreEntry::reference).collect();

    let after = (!matches!(goal, Goal::Forget)).then(|| written(&after));
    let as_it_is = view.looked.state == after
        && show.is_empty()
        && hide.is_empty()
        && bindings.is_empty()
        && files.is_empty();
    (!as_it_is).then(|| Switch {
        certificate: &view.certificate,
        expects: view.looked.state.as_deref(),
        // Before nothing is served, the state has to say what is still served.
        before: record.map(|_| written(&before)),
        after,
        show,
        hide,
        bindings,
        central: plan.central.as_ref().map(|store| store.path.as_str()),
        files,
    })
}

fn written(state: &State) -> String {
    // Maps have ids as keys, so this cannot fail; a test writes each kind of field.
    serde_json::to_string(state).unwrap_or_default()
}

/// Notes what bindings are before they show this certificate for the first time.
fn remember_bindings(view: &View, state: &mut State, endpoints: &[Endpoint]) {
    for endpoint in endpoints {
        if state.bindings.iter().any(|known| endpoint.is(&known.site, &known.information)) {
            continue;
        }
        let now = view.bound(endpoint);
        let foreign = now.filter(|bound| bound.flags & CENTRAL != 0 || !view.is_our_binding(bound));
        let (site, information) = spelled(endpoint, now);
        state.bindings.push(OriginalBinding {
            site,
            information,
            found: foreign.map(|bound| Found {
                flags: bound.flags,
                thumbprint: bound.thumbprint.clone(),
                store: bound.store.clone(),
            }),
        });
    }
}

/// Notes what files are before they hold this certificate for the first time; returns under which names they have
/// to be saved first.
fn remember_files(view: &View, state: &mut State, names: &[String]) -> Vec<Option<String>> {
    let mut saves = Vec::new();
    for name in names {
        let mut save = None;
        if !state.files.iter().any(|known| known.name == *name) {
            let foreign = view.file(name).filter(|file| !view.is_our_file(file));
            save = foreign.map(|file| names::saved_file(&file.digest));
            state.files.push(OriginalFile { name: name.clone(), kept: save.clone() });
        }
        saves.push(save);
    }
    saves
}

/// Drops the records of versions that cannot be served again, and all but the newest of the rest.
fn prune(view: &View, state: &mut State) {
    let replaced = state.live.and_then(|live| state.versions.get(&live)?.replaced);
    let needed = [state.live, view.state.live, replaced];
    let newest: Vec<_> = state.versions.keys().rev().take(MAX_KEEP).copied().collect();
    state.versions.retain(|version, record| {
        needed.contains(&Some(*version)) || newest.contains(version) && view.holds(*version, record)
    });
}

fn rebind(view: &View, endpoint: &Endpoint, record: Option<&Version>) -> Option<Rebind> {
    let reference = record.and_then(|record| record.certificate.as_ref());
    let reference = reference.filter(|_| endpoint.flags & CENTRAL == 0);
    let now = view.bound(endpoint);
    let flags = now.map_or(0, |bound| bound.flags) & !(SNI | CENTRAL) | endpoint.flags;
    let as_it_is = now.is_some_and(|bound| {
        let store = reference.map(|reference| reference.store.as_str());
        let same_store = match (bound.store.as_deref(), store) {
            (Some(one), Some(other)) => same(one, other),
            (_, None) => true,
            (None, Some(_)) => false,
        };
        bound.flags == flags
            && bound.thumbprint.as_ref() == reference.map(|reference| &reference.thumbprint)
            && same_store
    });
    let (site, information) = spelled(endpoint, now);
    (!as_it_is).then(|| Rebind {
        site,
        information,
        present: true,
        flags,
        thumbprint: reference.map(|reference| reference.thumbprint.clone()),
        store: reference.map(|reference| reference.store.clone()),
        or_absent: false,
    })
}

/// Site and binding as IIS spells them, where they exist.
fn spelled(endpoint: &Endpoint, now: Option<&Bound>) -> (String, String) {
    match now {
        Some(bound) => (bound.site.clone(), bound.information.clone()),
        None => (endpoint.site.clone(), endpoint.information.clone()),
    }
}

/// Makes a binding what it was, if it still shows this certificate: else it is somebody else's now.
fn restore(view: &View, original: &OriginalBinding) -> Option<Rebind> {
    let OriginalBinding { site, information, found } = original;
    let endpoint = Endpoint { site: site.clone(), information: information.clone(), flags: 0 };
    if !view.is_our_binding(view.bound(&endpoint)?) {
        return None;
    }
    Some(Rebind {
        site: endpoint.site,
        information: endpoint.information,
        present: found.is_some(),
        flags: found.as_ref().map_or(0, |found| found.flags),
        thumbprint: found.as_ref().and_then(|found| found.thumbprint.clone()),
        store: found.as_ref().and_then(|found| found.store.clone()),
        or_absent: true,
    })
}

/// What is to be removed besides `needed`: all but the newest `keep` of the superseded.
pub(super) fn superseded<'a>(
    view: &'a View,
    needed: &[Option<VersionId>],
    keep: usize,
) -> Option<Remove<'a>> {
    let mut versions: Vec<_> = view.looked.certificates.iter().filter_map(|it| view.version_of(it)).collect();
    versions.extend(view.looked.kept.iter().filter_map(|name| names::read_kept_file(name)));
    versions.sort_unstable();
    versions.dedup();
    versions.retain(|version| !needed.contains(&Some(*version)));
    versions.truncate(versions.len().saturating_sub(keep));
    let old = |version: &VersionId| versions.contains(version);
    let certificates = view.looked.certificates.iter().filter(|entry| {
        view.version_of(entry).as_ref().is_some_and(old) && !view.is_used_elsewhere(&entry.thumbprint)
    });
    let certificates: Vec<_> = certificates.map(StoreEntry::reference).collect();
    let kept: Vec<_> = versions
        .iter()
        .map(|id| names::kept_file(*id))
        .filter(|name| view.looked.kept.contains(name))
        .collect();
    let remove = Remove { certificate: &view.certificate, certificates, kept };
    (!remove.certificates.is_empty() || !remove.kept.is_empty()).then_some(remove)
}

/// All that there is of a certificate.
pub(super) fn everything<'a>(view: &'a View, certificate: &'a CertificateId) -> Option<Remove<'a>> {
    let certificates =
        view.looked.certificates.iter().filter(|entry| !view.is_used_elsewhere(&entry.thumbprint));
    let certificates: Vec<_> = certificates.map(StoreEntry::reference).collect();
    let kept = view.looked.kept.clone();
    (!certificates.is_empty() || !kept.is_empty()).then_some(Remove { certificate, certificates, kept })
}
