//! A folder with certificates and a web root, as those see it who read its files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use certlife_core::{
    CertificateId, Chain, Keystore, PrivateKey, Secret, challenge::HttpPath, deploy::Bundle, keystore::Form,
};

use super::super::fixture::Seen;

/// A folder of the target: certificates in `certificates`, challenge files below `web`.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A path in the directory of a certificate.
    pub fn of(&self, certificate: &CertificateId, name: &str) -> PathBuf {
        self.0.join("certificates").join(certificate.as_str()).join(name)
    }

    /// The name of the directory that is live; none if none is.
    pub fn live(&self, certificate: &CertificateId) -> Option<String> {
        let target = fs::read_link(self.of(certificate, "live")).ok()?;
        Some(target.to_str()?.strip_prefix("versions/")?.to_owned())
    }

    /// The names of the directories of versions, sorted.
    pub fn versions(&self, certificate: &CertificateId) -> Vec<String> {
        let entries = fs::read_dir(self.of(certificate, "versions")).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What a server finds that reads the live version, which it can even if it runs as another user of the group.
    pub fn seen(&self, certificate: &CertificateId) -> Option<Seen> {
        let live = self.of(certificate, "").join(fs::read_link(self.of(certificate, "live")).ok()?);
        for directory in [&self.of(certificate, ""), &self.of(certificate, "versions"), &live] {
            assert!(can_be_entered(directory), "{} is closed to servers", directory.display());
        }
        let read = |name: &str| fs::read_to_string(live.join(name)).ok();
        let chain = Chain::from_pem(&read("fullchain.pem")?).unwrap_or_else(|error| panic!("{error}"));
        let key_hash = chain.info().ok()?.key_hash;
        let key_in = |name: &str| {
            let key =
                PrivateKey::from_pem(&Secret::new(read(name)?)).unwrap_or_else(|error| panic!("{error}"));
            Some(key.public_key_hash() == key_hash)
        };
        let combined = key_in("combined.pem");
        let key_fits = key_in("privkey.pem").map(|fits| fits && combined.unwrap_or(true));
        Some(Seen { chain: chain.certificates().cloned().collect(), key_fits })
    }

    /// Writes chain and key of `bundle` over the files of the live version, in those of these further forms that it has.
    pub fn tamper(&self, bundle: &Bundle, further: &[(String, Form)]) {
        let live = self.of(&bundle.certificate, "live");
        let keystore =
            Keystore::new(bundle.chain.clone(), bundle.key.clone()).unwrap_or_else(|error| panic!("{error}"));
        let key = bundle.key.as_ref().map(PrivateKey::to_pkcs8_pem);
        let key = key.map(|pem| pem.unwrap_or_else(|error| panic!("{error}")));
        let key = key.as_ref().map_or("", |pem| pem.expose());
        let write = |name: &str, content: &[u8]| {
            let path = live.join(name);
            if path.exists() {
                fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
        };
        write("fullchain.pem", bundle.chain.pem().as_bytes());
        write("cert.pem", bundle.chain.leaf_pem().as_bytes());
        write("chain.pem", bundle.chain.intermediates_pem().as_bytes());
        write("privkey.pem", key.as_bytes());
        write("combined.pem", format!("{key}{}", bundle.chain.pem()).as_bytes());
        for (name, form) in further {
            let content = keystore.encode(form).unwrap_or_else(|error| panic!("{error}"));
            write(name, content.expose());
        }
    }

    /// What a web server shows at this path.
    pub fn http(&self, path: &HttpPath) -> Option<String> {
        fs::read_to_string(self.path("web").join(&path.as_str()[1..])).ok()
    }

    /// The files with a private key that others than their owner have any right to.
    pub fn exposed_keys(&self) -> Vec<String> {
        let has_key = |path: &Path| {
            let is_store = path.extension().is_some_and(|kind| kind == "pfx" || kind == "jks");
            is_store || fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY"))
        };
        let mut found = entries_below(&self.0);
        found.retain(|path| path.is_file() && is_open_to_others(path) && has_key(path));
        texts(&found)
    }

    /// Everything that is there for certificates and challenges.
    pub fn remains(&self) -> Vec<String> {
        let mut found = entries_below(&self.path("certificates"));
        found.retain(|path| !path.ends_with(".lock"));
        found.extend(entries_below(&self.path("web")));
        texts(&found)
    }

    /// The files whose text contains this.
    pub fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let mut found = entries_below(&self.0);
        found.retain(|path| {
            path.is_file() && fs::read_to_string(path).is_ok_and(|content| content.contains(text))
        });
        found
    }
}

/// Everything below a directory, links not followed. What disappears meanwhile is passed over.
fn entries_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if entry.path().is_dir() && !is_link {
            found.extend(entries_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

fn texts(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// Who may do what with a file, by its number; 0 if it is not there.
#[cfg(unix)]
pub(super) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::symlink_metadata(path).map_or(0, |found| found.mode() & 0o7777)
}

#[cfg(unix)]
fn can_be_entered(directory: &Path) -> bool {
    mode(directory) & 0o050 == 0o050
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> bool {
    mode(path) & 0o077 != 0
}

#[cfg(not(unix))]
pub(super) fn mode(path: &Path) -> u32 {
    panic!("{}: these promises are tested on Unix", path.display())
}

#[cfg(not(unix))]
fn can_be_entered(_: &Path) -> bool {
    true
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}
