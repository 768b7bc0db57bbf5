//! The agent's own directory: its certificate with the key, whom it trusts as the hub, and outcomes to be reported.
//!
//! Each file is replaced as a whole, so that a crash leaves the old one or the new. What else it leaves goes when the
//! directory is opened next.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use certlife_core::{
    Error, ErrorKind, KeyAlgorithm, Operation, PrivateKey, Result, Secret, Timestamp, VendorText,
    x509::CertificateInfo,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::super::{
    AGENT,
    wire::{Outcome, WorkId},
};

const IDENTITY: &str = "identity.pem";
const NEXT_KEY: &str = "next-key.pem";
const AUTHORITY: &str = "hub.pem";
const OUTCOMES: &str = "outcomes";
const LOCK: &str = "lock";
/// What the name of a file begins with that is being written.
const UNFINISHED: &str = ".new-";
/// The most of a file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Who the agent is: a certificate with its key, as one PEM text.
pub(super) struct Identity {
    pub(super) pem: Secret,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// The agent's directory.
#[derive(Debug, Clone)]
pub(super) struct Home(PathBuf);

impl Home {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Makes the directory, or checks that nobody else may enter it and that no other agent works over it, which could do
    /// old work after newer work was done. Removes what a crash has left. It is this agent's until the file is closed.
    pub(super) fn open(&self) -> Result<File> {
        for directory in [self.0.clone(), self.0.join(OUTCOMES)] {
            match private::create_directory(&directory) {
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                made => made.map_err(|cause| failed("make", &directory, cause))?,
            }
        }
        let open = private::is_open(&self.0).map_err(|cause| failed("look at", &self.0, cause))?;
        if open {
            let what = format!("others may enter {}; it is to have mode 0700", self.0.display());
            return Err(Error::new(AGENT, Operation::Configure, ErrorKind::Forbidden(what.into())));
        }
        let alone = self.lock()?;
        remove_unfinished(&self.0)?;
        remove_unfinished(&self.0.join(OUTCOMES))?;
        self.finish_certification()?;
        Ok(alone)
    }

    fn lock(&self) -> Result<File> {
        let path = self.0.join(LOCK);
        let file = File::create(&path).map_err(|cause| failed("make", &path, cause))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                let what = format!("another agent works over {}; give each its own", self.0.display());
                Err(Error::new(AGENT, Operation::Configure, ErrorKind::Conflict(what.as_str().into())))
            }
            Err(TryLockError::Error(cause)) => Err(failed("lock", &path, cause)),
        }
    }

    /// Removes the next key if it is the present one already: the next certificate would be for the same.
    fn finish_certification(&self) -> Result<()> {
        let key = |pem: &Secret| PrivateKey::from_pem(pem).ok().map(|key| key.public_key_hash());
        let next = self.read(NEXT_KEY)?.as_ref().and_then(key);
        if next.is_some() && next == self.read(IDENTITY)?.as_ref().and_then(key) {
            remove(&self.0.join(NEXT_KEY))?;
        }
        Ok(())
    }

    /// Who the agent is; none before it has enrolled.
    pub(super) fn identity(&self) -> Result<Option<Identity>> {
        let Some(pem) = self.read(IDENTITY)? else { return Ok(None) };
        let certificate = CertificateDer::from_pem_slice(pem.expose().as_bytes()).ok();
        let info = certificate.and_then(|certificate| CertificateInfo::read(&certificate).ok());
        let info = info.ok_or_else(|| {
            let kind = ErrorKind::Corrupt(
                format!("{} is no certificate with its key", self.0.join(IDENTITY).display()).into(),
            );
            Error::new(AGENT, Operation::Configure, kind)
        })?;
        Ok(Some(Identity { pem, not_before: info.not_before, not_after: info.not_after }))
    }

    /// The key for the next certificate. It is kept before anybody is asked to certify it, so that asking again after a
    /// lost answer is asking for the same.
    pub(super) fn next_key(&self) -> Result<PrivateKey> {
        if let Some(key) = self.read(NEXT_KEY)?.and_then(|pem| PrivateKey::from_pem(&pem).ok()) {
            return Ok(key);
        }
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
        self.write(NEXT_KEY, key.to_pkcs8_pem()?.expose())?;
        Ok(key)
    }

    /// Becomes who the certificate says, with the next key.
    pub(super) fn become_certified(&self, certificate: &str, key: &PrivateKey) -> Result<()> {
        let key = key.to_pkcs8_pem()?;
        let mut pem = String::with_capacity(certificate.len() + key.expose().len() + 1);
        pem.push_str(certificate.trim_end());
        pem.push('\n');
        pem.push_str(key.expose());
        self.write(IDENTITY, Secret::new(pem).expose())?;
        remove(&self.0.join(NEXT_KEY))
    }

    /// The CA that is trusted as the hub's, in PEM.
    pub(super) fn authority(&self) -> Result<Option<String>> {
        Ok(self.read(AUTHORITY)?.map(|pem| pem.expose().to_owned()))
    }

    pub(super) fn trust(&self, authority: &str) -> Result<()> {
        self.write(AUTHORITY, authority)
    }

    // ---- outcomes that the hub has not confirmed ----

    /// Keeps an outcome until it is reported. There are no secrets in it.
    pub(super) fn keep_outcome(&self, id: &WorkId, outcome: &Outcome) -> Result<()> {
        let text = serde_json::to_string(outcome).unwrap_or_default();
        self.write(&outcome_file(id), &text)
    }

    pub(super) fn forget_outcome(&self, id: &WorkId) -> Result<()> {
        remove(&self.0.join(outcome_file(id)))
    }

    /// What is left to report. A file that cannot be read is forgotten: its work will be asked for again.
    pub(super) fn outcomes(&self) -> Result<Vec<(WorkId, Outcome)>> {
        let directory = self.0.join(OUTCOMES);
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory).map_err(|cause| failed("list", &directory, cause))? {
            let name = entry.map_err(|cause| failed("list", &directory, cause))?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|id| id.parse().ok());
            let Some(id) = id else { continue };
            let text = self.read(&outcome_file(&id))?;
            match text.and_then(|text| serde_json::from_str(text.expose()).ok()) {
                Some(outcome) => found.push((id, outcome)),
                None => self.forget_outcome(&id)?,
            }
        }
        Ok(found)
    }

    fn read(&self, name: &str) -> Result<Option<Secret>> {
        let path = self.0.join(name);
        match fs::metadata(&path) {
            Ok(found) if found.len() <= MAX_FILE => {}
            Ok(_) => return Err(failed("read", &path, io::ErrorKind::FileTooLarge.into())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed("look at", &path, cause)),
        }
        fs::read_to_string(&path)
            .map(|text| Some(Secret::new(text)))
            .map_err(|cause| failed("read", &path, cause))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        let directory = path.parent().unwrap_or(&self.0);
        let write = || {
            // Readable by its owner alone from the start.
            let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(directory)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            private::sync_directory(directory)
        };
        write().map_err(|cause| failed("write", &path, cause))
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, cause)),
        _ => Ok(()),
    }
}

/// Removes what was being written when the agent died: it may hold a key, and nothing else knows its name.
fn remove_unfinished(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(|cause| failed("list", directory, cause))? {
        let entry = entry.map_err(|cause| failed("list", directory, cause))?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn outcome_file(id: &WorkId) -> String {
    format!("{OUTCOMES}/{id}.json")
}

pub(super) fn failed(doing: &str, path: &Path, cause: io::Error) -> Error {
    let what = VendorText::new(&format!("cannot {doing} {}: {cause}", path.display()));
    Error::new(AGENT, Operation::Configure, ErrorKind::Io(what)).because(cause)
}

#[cfg(unix)]
mod private {
    use std::{
        fs::{self, DirBuilder, File},
        io,
        os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
        path::Path,
    };

    pub(super) fn create_directory(path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    /// Whether others than the owner have any right.
    pub(super) fn is_open(path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.mode() & 0o077 != 0)
    }

    pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Rights are inherited from the directory above, which is where an installer sets them.
#[cfg(not(unix))]
mod private {
    use std::{fs, io, path::Path};

    pub(super) fn create_directory(path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    pub(super) fn is_open(_: &Path) -> io::Result<bool> {
        Ok(false)
    }

    pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
        Ok(())
    }
}
