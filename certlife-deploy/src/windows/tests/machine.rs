//! A Windows machine: stores, IIS and files, and what readers of them see. The scripts are played in
//! `play`, `play_switch` and `play_web`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
};

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use certlife_core::{CertificateInfo, Chain, Identifier, PrivateKey, Secret, x509::ChainOptions};
use certlife_testkit::deploy::Seen;
use serde_json::Value;

pub(super) const CENTRAL_PATH: &str = r"C:\central";
pub(super) const CENTRAL_PASSWORD: &str = "central store passphrase 4711";

/// A machine; clones are the same one.
#[derive(Clone)]
pub(super) struct Machine(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) world: Mutex<World>,
    /// `Global\certlife`.
    pub(super) mutex: tokio::sync::Mutex<()>,
    pub(super) orders: Mutex<Orders>,
}

/// What goes wrong.
#[derive(Default)]
pub(super) struct Orders {
    /// PowerShell does not get as far as a script.
    pub(super) out_of_memory: bool,
    /// Scripts wait before their next step.
    pub(super) stuck: bool,
    pub(super) answers_to_lose: usize,
    /// Whether a script goes on when nobody waits for it any more.
    pub(super) goes_on: bool,
    /// What is printed instead of an answer.
    pub(super) prints: Option<Vec<u8>>,
    /// What happens before the next switch, once.
    pub(super) before_switch: Option<Intrusion>,
}

/// What somebody else does.
type Intrusion = Box<dyn FnOnce(&mut World) + Send>;

#[derive(Default)]
pub(super) struct World {
    pub(super) stores: BTreeMap<String, Vec<Entry>>,
    pub(super) accounts: BTreeSet<String>,
    /// None if IIS is not installed.
    pub(super) sites: Option<Vec<Site>>,
    /// Keys that no certificate in a store names.
    pub(super) loose_keys: Vec<LooseKey>,
    /// The directory that all scripts have in common.
    pub(super) has_own_directory: bool,
    pub(super) states: BTreeMap<String, String>,
    /// Certificates of which a state is not yet whole.
    pub(super) new_states: BTreeSet<String>,
    pub(super) kept: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(super) central: BTreeMap<String, Vec<u8>>,
    /// Windows Server 2016.
    pub(super) is_old: bool,
    /// Which scripts ran, and with what.
    pub(super) calls: Vec<(&'static str, Value)>,
    /// How often IIS's configuration was committed.
    pub(super) commits: usize,
    opened: BTreeMap<(Vec<u8>, String), Opened>,
}

/// A certificate in a store.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) der: Vec<u8>,
    pub(super) key: Option<PrivateKey>,
    pub(super) name: String,
    pub(super) archived: bool,
    pub(super) exportable: bool,
    pub(super) readers: BTreeSet<String>,
}

impl Entry {
    /// A certificate without a key.
    pub(super) fn new(der: Vec<u8>, name: &str) -> Self {
        Self {
            der,
            key: None,
            name: name.to_owned(),
            archived: false,
            exportable: false,
            readers: BTreeSet::new(),
        }
    }

    /// What is in a PFX.
    pub(super) fn with_key(pfx: &Opened, name: &str) -> Self {
        Self { key: Some(pfx.key.clone()), ..Self::new(pfx.chain.leaf().to_vec(), name) }
    }

    pub(super) fn info(&self) -> CertificateInfo {
        CertificateInfo::read(&self.der).unwrap()
    }

    pub(super) fn fits(&self, key: &PrivateKey) -> bool {
        key.public_key_hash() == self.info().key_hash
    }

    pub(super) fn thumbprint(&self) -> String {
        hex(&SHA1_FOR_LEGACY_USE_ONLY, &self.der)
    }

    pub(super) fn fingerprint(&self) -> String {
        hex(&SHA256, &self.der)
    }
}

/// A key on the machine.
pub(super) struct LooseKey {
    pub(super) key: PrivateKey,
    pub(super) exportable: bool,
}

/// What is in a PFX.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) chain: Chain,
    pub(super) key: PrivateKey,
}

#[derive(Clone, Default)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) bindings: Vec<SiteBinding>,
    /// Directories below the root, by path with `/`.
    pub(super) directories: BTreeMap<String, Directory>,
    /// Files below the root.
    pub(super) files: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SiteBinding {
    pub(super) information: String,
    pub(super) flags: u32,
    pub(super) thumbprint: Option<String>,
    pub(super) store: Option<String>,
}

#[derive(Clone, Default)]
pub(super) struct Directory {
    /// A junction, or another reparse point.
    pub(super) is_link: bool,
}

impl Machine {
    /// A server with IIS and a default site, and nothing else.
    pub(super) fn new() -> Self {
        let world = World {
            stores: ["My", "WebHosting", "CA"].map(|name| (name.to_owned(), Vec::new())).into(),
            accounts: [r"NT SERVICE\MSSQLSERVER", r"IIS AppPool\www"].map(str::to_owned).into(),
            sites: Some(vec![Site { name: "Default Web Site".into(), ..Site::default() }]),
            ..World::default()
        };
        Self(Arc::new(Shared {
            world: Mutex::new(world),
            mutex: tokio::sync::Mutex::default(),
            orders: Mutex::default(),
        }))
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    pub(super) fn orders(&self) -> MutexGuard<'_, Orders> {
        self.0.orders.lock().unwrap()
    }
}

impl World {
    pub(super) fn site(&mut self, name: &str) -> Option<&mut Site> {
        let lower = name.to_lowercase();
        self.sites.as_mut()?.iter_mut().find(|site| site.name.to_lowercase() == lower)
    }

    pub(super) fn add_site(&mut self, name: &str) -> &mut Site {
        let sites = self.sites.get_or_insert_default();
        sites.push(Site { name: name.to_owned(), ..Site::default() });
        sites.last_mut().unwrap()
    }

    pub(super) fn entry(&self, store: &str, thumbprint: &str) -> Option<&Entry> {
        self.stores.get(store)?.iter().find(|entry| entry.thumbprint() == thumbprint)
    }

    pub(super) fn my(&mut self) -> &mut Vec<Entry> {
        self.stores.get_mut("My").unwrap()
    }

    /// Every binding, with the name of its site.
    pub(super) fn bindings(&self) -> Vec<(String, SiteBinding)> {
        let sites = self.sites.iter().flatten();
        sites.flat_map(|site| site.bindings.iter().map(|it| (site.name.clone(), it.clone()))).collect()
    }

    /// Everything of ours, by name. Intermediates stay in the store `CA`, where others may have come to use them.
    pub(super) fn remains(&self) -> Vec<String> {
        let entries = self.stores.iter().filter(|(store, _)| *store != "CA").flat_map(|(_, entries)| entries);
        let entries = entries.map(|entry| entry.name.clone());
        let bindings = self.bindings().into_iter().map(|(_, binding)| binding.information);
        let sites = self.sites.iter().flatten();
        let web = sites.flat_map(|site| site.files.keys().chain(site.directories.keys()).cloned());
        let states = self.states.keys().chain(&self.new_states);
        let files = self.central.keys().chain(self.kept.keys()).chain(states).cloned();
        let keys = self.loose_keys.iter().map(|loose| format!("key {}", loose.key.public_key_hash()));
        entries.chain(bindings).chain(web).chain(files).chain(keys).collect()
    }

    /// How often a script ran.
    pub(super) fn ran(&self, script: &str) -> usize {
        self.calls.iter().filter(|(name, _)| *name == script).count()
    }

    /// Opens a PFX as Windows does; none with another password, or in a form that it does not know.
    pub(super) fn open(&mut self, pfx: &[u8], password: &str) -> Option<Opened> {
        let key = (pfx.to_vec(), password.to_owned());
        if !self.opened.contains_key(&key) {
            let modern = |is_old: bool| (!is_old).then(|| openssl(pfx, password, &[])).flatten();
            let text = openssl(pfx, password, &["-legacy"]).filter(|_| is_legacy(pfx));
            let text = text.or_else(|| modern(self.is_old).filter(|_| !is_legacy(pfx)))?;
            let begin = text.find("-----BEGIN PRIVATE KEY-----")?;
            let end = text.find("-----END PRIVATE KEY-----")? + "-----END PRIVATE KEY-----\n".len();
            let opened = Opened {
                chain: Chain::from_pem(&text).unwrap(),
                key: PrivateKey::from_pem(&Secret::new(&text[begin..end])).unwrap(),
            };
            self.opened.insert(key.clone(), opened);
        }
        self.opened.get(&key).cloned()
    }

    /// What a program sees that uses an entry: what Windows sends along comes from the store `CA`.
    pub(super) fn sight(&self, entry: &Entry) -> Seen {
        let authorities = self.stores["CA"].iter().map(|authority| authority.der.clone());
        let ders = [entry.der.clone()].into_iter().chain(authorities);
        let chain = ChainOptions::default().drop_unrelated(true).from_ders(ders).unwrap().chain;
        assert_eq!(chain.leaf().as_ref(), entry.der, "the leaf comes first");
        let hash = chain.info().unwrap().key_hash;
        let key_fits = entry.key.as_ref().map(|key| key.public_key_hash() == hash);
        Seen { chain: chain.certificates().cloned().collect(), key_fits }
    }

    /// What a TLS client sees that asks for `host`.
    pub(super) fn handshake(&mut self, host: &Identifier) -> Option<Seen> {
        let binding = self.binding_for(host)?;
        if binding.flags & 2 != 0 {
            let wildcard = host.to_string().split_once('.').map(|(_, base)| format!("_.{base}.pfx"));
            let mut names = [Some(format!("{host}.pfx")), wildcard].into_iter().flatten();
            let pfx = names.find_map(|name| self.central.get(&name))?.clone();
            let pfx = self.open(&pfx, CENTRAL_PASSWORD)?;
            let fits = pfx.chain.info().unwrap().key_hash == pfx.key.public_key_hash();
            return Some(Seen { chain: pfx.chain.certificates().cloned().collect(), key_fits: Some(fits) });
        }
        let entry = self.entry(binding.store.as_deref()?, binding.thumbprint.as_deref()?)?;
        Some(self.sight(&entry.clone()))
    }

    /// The binding that answers: of the host's name, of a wildcard that covers it, of the address, or of all.
    fn binding_for(&self, host: &Identifier) -> Option<SiteBinding> {
        let mut found: Vec<_> = self
            .bindings()
            .into_iter()
            .filter_map(|(_, binding)| {
                let (address, name) = binding.information.rsplit_once(":443:")?;
                let rank = match host {
                    Identifier::Ip(ip) => {
                        let spelled = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
                        (name.is_empty() && (address == spelled || address == "*")).then_some(0)
                    }
                    _ if name.is_empty() => Some(2),
                    host => {
                        let shown: Identifier = name.parse().unwrap();
                        if shown == *host { Some(0) } else { shown.covers(host).then_some(1) }
                    }
                };
                Some((rank?, binding))
            })
            .collect();
        found.sort_by_key(|(rank, _)| *rank);
        found.into_iter().next().map(|(_, binding)| binding)
    }
}

impl Site {
    /// What IIS answers at a path: files without an extension only where a web.config gives them a type.
    pub(super) fn get(&self, path: &str) -> Option<String> {
        let path = path.trim_start_matches('/');
        let (mut directory, name) = path.rsplit_once('/')?;
        let body = self.files.get(path)?;
        if name.contains('.') {
            return super::names::is_plain_file(name).then(|| body.clone());
        }
        loop {
            if let Some(text) = self.files.get(&format!("{directory}/web.config")) {
                assert!(text.contains("StaticFileModule") && text.contains("<clear />"));
                return text
                    .contains("<mimeMap fileExtension=\".\" mimeType=\"text/plain\" />")
                    .then(|| body.clone());
            }
            directory = directory.rsplit_once('/')?.0;
        }
    }
}

pub(super) fn hex(algorithm: &'static Algorithm, bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(algorithm, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Whether the key is protected by `pbeWithSHAAnd3-KeyTripleDES-CBC` (RFC 7292 appendix C).
fn is_legacy(pfx: &[u8]) -> bool {
    const ID: [u8; 12] = [0x06, 0x0a, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03];
    pfx.windows(ID.len()).any(|window| window == ID)
}

/// Key and certificates of a PFX as PEM, by the `openssl` command.
fn openssl(pfx: &[u8], password: &str, more: &[&str]) -> Option<String> {
    let mut child = Command::new("openssl")
        .args(["pkcs12", "-in", "/dev/stdin", "-nodes", "-passin", "env:PFX_PASSWORD"])
        .args(more)
        .env("PFX_PASSWORD", password)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need the openssl command; `cargo xtask test` installs it");
    let _ = child.stdin.take().unwrap().write_all(pfx);
    let output = child.wait_with_output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}
