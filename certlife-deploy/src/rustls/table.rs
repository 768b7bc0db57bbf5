//! What the server shows: certificates by name, and responses to challenges.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use ::rustls::{SignatureScheme, crypto::CryptoProvider, sign::CertifiedKey};
use certlife_core::{
    CertificateId, ErrorKind, Fingerprint, Identifier, Result, VersionId,
    challenge::{HttpFile, HttpPath, TlsAlpnResponse},
    deploy::{Bundle, Installed, Receipt},
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;

use super::alpn;

/// How many old versions are kept besides the live one and the one that it replaced.
const KEEP: usize = 3;

pub(super) struct Table {
    places: BTreeMap<CertificateId, Place>,
    /// The live certificates by DNS name, wildcards as `*.example.org`; the newest first.
    names: HashMap<String, Vec<Arc<Served>>>,
    /// The live certificates that have an address; the newest first.
    addressed: Vec<Arc<Served>>,
    default: Option<CertificateId>,
    files: HashMap<HttpPath, Vec<HttpFile>>,
    /// By the name that a validator asks for; the latest last.
    responses: HashMap<String, Vec<(TlsAlpnResponse, Arc<CertifiedKey>)>>,
}

/// Where one certificate is installed.
#[derive(Default)]
struct Place {
    live: Option<VersionId>,
    kept: BTreeMap<VersionId, Kept>,
}

struct Kept {
    served: Arc<Served>,
    replaced: Option<VersionId>,
}

/// One version, ready for handshakes.
pub(super) struct Served {
    certificate: CertificateId,
    version: VersionId,
    fingerprint: Fingerprint,
    names: Vec<String>,
    addressed: bool,
    key: Arc<CertifiedKey>,
}

impl Served {
    /// Loads a bundle, and checks that its key is the leaf's.
    pub(super) fn new(bundle: &Bundle, provider: &CryptoProvider) -> Result<Self, ErrorKind> {
        let Some(key) = &bundle.key else {
            return Err(ErrorKind::Unsupported("serving a certificate without its private key".into()));
        };
        let info = bundle.chain.info().map_err(ErrorKind::Input)?;
        if info.key_hash != key.public_key_hash() {
            return Err(ErrorKind::BadCertificate("the key is another certificate's".into()));
        }
        let der = key.to_pkcs8_der().map_err(|error| error.kind().clone())?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.expose()));
        let signing = provider.key_provider.load_private_key(der.clone_key());
        let signing =
            signing.map_err(|_| ErrorKind::BadCertificate("rustls does not take its kind of key".into()))?;
        let names = info.identifiers.iter().filter(|identifier| identifier.base_name().is_some());
        Ok(Self {
            certificate: bundle.certificate.clone(),
            version: bundle.version,
            fingerprint: bundle.chain.fingerprint(),
            // What the certificate says counts, whatever was ordered.
            names: names.map(ToString::to_string).collect(),
            addressed: info.identifiers.iter().any(|identifier| matches!(identifier, Identifier::Ip(_))),
            key: Arc::new(CertifiedKey::new(bundle.chain.certificates().cloned().collect(), signing)),
        })
    }
}

impl Table {
    pub(super) fn new(default: Option<CertificateId>) -> Self {
        Self {
            places: BTreeMap::new(),
            names: HashMap::new(),
            addressed: Vec::new(),
            default,
            files: HashMap::new(),
            responses: HashMap::new(),
        }
    }

    /// Picks the certificate for a client that asks for `name`, or for none, and takes these signatures.
    pub(super) fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let wildcard = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
            self.names.get(name).or_else(wildcard)
        });
        if let Some(candidates) = named {
            return best(candidates, schemes);
        }
        if let Some(served) = self.default.as_ref().and_then(|default| self.places.get(default)?.served()) {
            return Some(Arc::clone(&served.key));
        }
        if name.is_some() {
            return None;
        }
        if !self.addressed.is_empty() {
            return best(&self.addressed, schemes);
        }
        let mut live = self.places.values().filter_map(Place::served);
        live.next().filter(|_| live.next().is_none()).map(|only| Arc::clone(&only.key))
    }

    pub(super) fn install(&mut self, served: Served) -> Receipt {
        let (certificate, version) = (served.certificate.clone(), served.version);
        self.withdraw(&certificate);
        let place = self.places.entry(certificate.clone()).or_default();
        let replaced = match place.kept.get(&version) {
            Some(kept) if place.live == Some(version) => kept.replaced,
            _ => place.live,
        };
        place.kept.insert(version, Kept { served: Arc::new(served), replaced });
        place.live = Some(version);
        place.prune();
        self.announce(&certificate);
        Receipt { certificate, version, replaced, vendor: Value::Null }
    }

    /// Serves something else as the live version, as nobody can but a test.
    #[cfg(test)]
    pub(super) fn spoil(&mut self, served: Served) {
        let certificate = served.certificate.clone();
        self.withdraw(&certificate);
        let place = self.places.get_mut(&certificate).unwrap();
        place.kept.get_mut(&place.live.unwrap()).unwrap().served = Arc::new(served);
        self.announce(&certificate);
    }

    /// The keys of everything that is held, as a test wants to know it.
    #[cfg(test)]
    pub(super) fn remains(&self) -> Vec<String> {
        let places = self.places.keys().map(ToString::to_string);
        let indexes =
            self.names.keys().cloned().chain(self.addressed.iter().map(|it| format!("{:?}", it.names)));
        let challenges =
            self.files.keys().map(|path| path.as_str().to_owned()).chain(self.responses.keys().cloned());
        places.chain(indexes).chain(challenges).collect()
    }

    pub(super) fn installed(&self, certificate: &CertificateId) -> Option<Installed> {
        let served = self.places.get(certificate)?.served()?;
        Some(Installed { fingerprint: served.fingerprint, version: Some(served.version) })
    }

    pub(super) fn roll_back(&mut self, receipt: &Receipt) -> Result<(), ErrorKind> {
        let place = self.places.get(&receipt.certificate);
        let live = place.and_then(|place| place.live);
        if live.is_some() && live != Some(receipt.version) && live != receipt.replaced {
            return Err(ErrorKind::NotNow("another version has been installed since".into()));
        }
        let kept = |version: &VersionId| place.is_some_and(|place| place.kept.contains_key(version));
        if let Some(missing) = receipt.replaced.filter(|version| !kept(version)) {
            return Err(ErrorKind::NotFound(format!("version {missing}").into()));
        }
        self.withdraw(&receipt.certificate);
        if let Some(place) = self.places.get_mut(&receipt.certificate) {
            place.live = receipt.replaced;
        }
        self.announce(&receipt.certificate);
        Ok(())
    }

    pub(super) fn uninstall(&mut self, certificate: &CertificateId) {
        self.withdraw(certificate);
        self.places.remove(certificate);
    }

    /// The file at `path` of `host`. Of a host that is not known, because a proxy in front changed it, the file
    /// that all hosts have at that path.
    pub(super) fn file(&self, host: Option<&Identifier>, path: &HttpPath) -> Option<&HttpFile> {
        let files = self.files.get(path)?;
        let of_host = files.iter().rev().find(|file| Some(&file.host) == host);
        let first = files.first()?;
        of_host.or_else(|| files.iter().all(|file| file.body == first.body).then_some(first))
    }

    pub(super) fn put_file(&mut self, file: HttpFile) {
        self.remove_file(&file);
        self.files.entry(file.path.clone()).or_default().push(file);
    }

    pub(super) fn remove_file(&mut self, file: &HttpFile) {
        if let Some(files) = self.files.get_mut(&file.path) {
            files.retain(|placed| placed != file);
            if files.is_empty() {
                self.files.remove(&file.path);
            }
        }
    }

    /// The certificate for a validator that asks for `name`.
    pub(super) fn response(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.responses.get(name)?.last().map(|(_, shown)| Arc::clone(shown))
    }

    pub(super) fn put_alpn(&mut self, response: TlsAlpnResponse, shown: Arc<CertifiedKey>) {
        self.remove_alpn(&response);
        self.responses.entry(alpn::server_name(&response.identifier)).or_default().push((response, shown));
    }

    pub(super) fn remove_alpn(&mut self, response: &TlsAlpnResponse) {
        let name = alpn::server_name(&response.identifier);
        if let Some(responses) = self.responses.get_mut(&name) {
            responses.retain(|(placed, _)| placed != response);
            if responses.is_empty() {
                self.responses.remove(&name);
            }
        }
    }

    /// Takes what is live of a certificate out of the indexes.
    fn withdraw(&mut self, certificate: &CertificateId) {
        let Some(served) = self.places.get(certificate).and_then(Place::served) else { return };
        for name in &served.names {
            if let Some(candidates) = self.names.get_mut(name) {
                candidates.retain(|candidate| candidate.certificate != *certificate);
                if candidates.is_empty() {
                    self.names.remove(name);
                }
            }
        }
        self.addressed.retain(|candidate| candidate.certificate != *certificate);
    }

    /// Puts what is live of a certificate into the indexes.
    fn announce(&mut self, certificate: &CertificateId) {
        let Some(served) = self.places.get(certificate).and_then(Place::served) else { return };
        for name in &served.names {
            insert(self.names.entry(name.clone()).or_default(), served);
        }
        if served.addressed {
            insert(&mut self.addressed, served);
        }
    }
}

impl Place {
    fn served(&self) -> Option<&Arc<Served>> {
        Some(&self.kept.get(&self.live?)?.served)
    }

    fn prune(&mut self) {
        let replaced = self.live.and_then(|live| self.kept.get(&live)?.replaced);
        let spare = |version: &&VersionId| Some(**version) != self.live && Some(**version) != replaced;
        let old: Vec<_> = self.kept.keys().filter(spare).rev().skip(KEEP).copied().collect();
        for version in old {
            self.kept.remove(&version);
        }
    }
}

/// Puts the newest version first: ids of versions sort by age.
fn insert(candidates: &mut Vec<Arc<Served>>, served: &Arc<Served>) {
    let place = candidates.partition_point(|candidate| candidate.version > served.version);
    candidates.insert(place, Arc::clone(served));
}

/// The first whose key makes a signature that the client takes, or else the first.
fn best(candidates: &[Arc<Served>], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
    let usable = candidates.iter().find(|candidate| candidate.key.key.choose_scheme(schemes).is_some());
    usable.or(candidates.first()).map(|served| Arc::clone(&served.key))
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.places.iter().map(|(certificate, place)| (certificate, place.live));
        f.debug_map().entries(live).finish()
    }
}
