//! Keys that are made here and never leave: one file a key, beside the versions of its certificate.
//!
//! A key waits under its name until the certificate for it comes, which finds it by the hash of the public key.
//! It stays as long as a version that is kept has it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use certlife_core::{Csr, ErrorKind, KeyHash, KeyId, PrivateKey, Result, deploy::KeyRequest};

use super::{
    in_the_way, io_failed,
    os::{self, Rights},
    place::Place,
    settings::Plan,
    version::{self, AllRights},
};

const KEYS: &str = "keys";
/// What a call that was interrupted may leave behind; the next one removes it.
const NEW_KEY: &str = ".new";
/// Nobody but the process itself reads these; what a server reads is the copy in a version's directory.
const RIGHTS: Rights = Rights { mode: 0o600, user: None, group: None };

/// Makes the key that is wanted, unless it is there, and signs the request with it.
pub(super) fn make(plan: &Plan, wanted: &KeyRequest) -> Result<Csr, ErrorKind> {
    let rights = AllRights::look_up(plan)?;
    let place = Place::create(plan, &wanted.certificate, &rights)?;
    let directory = directory_of(&place);
    if !os::is_real_directory(&directory)? {
        os::create_private_directory(&directory).map_err(io_failed("make", &directory))?;
        os::sync_directory(place.root()).map_err(io_failed("save", place.root()))?;
    }
    let path = directory.join(file_name(wanted.key));
    let key = match read(&path)? {
        Some(key) if key.algorithm() == wanted.algorithm => key,
        Some(_) => return Err(in_the_way(&path, "is a key of another kind than is wanted under this name")),
        None => {
            let key = PrivateKey::generate(wanted.algorithm).map_err(|error| error.kind().clone())?;
            write(&directory, &path, &key)?;
            key
        }
    };
    wanted.template.sign(&key).map_err(|error| error.kind().clone())
}

/// Finds the key that was made here for a leaf.
pub(super) fn find(place: &Place<'_>, leaf_key: KeyHash) -> Result<Option<PrivateKey>, ErrorKind> {
    for (_, path) in list(place)? {
        if let Some(key) = read(&path)?.filter(|key| key.public_key_hash() == leaf_key) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Removes the keys that no version has any more. One that is newer than the key of `latest` waits for its certificate,
/// and stays.
pub(super) fn prune(place: &Place<'_>, used: &BTreeSet<KeyHash>, latest: KeyHash) -> Result<(), ErrorKind> {
    let mut made = Vec::new();
    for (id, path) in list(place)? {
        made.push((id, read(&path)?.map(|key| key.public_key_hash()), path));
    }
    let Some(newest) = made.iter().filter(|(_, hash, _)| *hash == Some(latest)).map(|(id, ..)| *id).max()
    else {
        return Ok(());
    };
    for (id, hash, path) in made {
        if id < newest && hash.is_none_or(|hash| !used.contains(&hash)) {
            os::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes all keys of a certificate.
pub(super) fn remove(place: &Place<'_>) -> Result<(), ErrorKind> {
    let directory = directory_of(place);
    for (_, path) in list(place)? {
        os::remove_file(&path)?;
    }
    os::remove_file(&directory.join(NEW_KEY))?;
    // Fails if there is none, or something else is in it.
    let _ = fs::remove_dir(&directory);
    Ok(())
}

fn directory_of(place: &Place<'_>) -> PathBuf {
    place.root().join(KEYS)
}

fn file_name(key: KeyId) -> String {
    format!("{key}.pem")
}

/// The keys of a certificate. Names that are not ours are passed over.
fn list(place: &Place<'_>) -> Result<Vec<(KeyId, PathBuf)>, ErrorKind> {
    let directory = directory_of(place);
    if !os::is_real_directory(&directory)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(io_failed("list", &directory))? {
        let path = entry.map_err(io_failed("list", &directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let id = name.and_then(|name| name.strip_suffix(".pem")).and_then(|id| id.parse().ok());
        found.extend(id.filter(|id| name == Some(file_name(*id).as_str())).map(|id| (id, path.clone())));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Option<PrivateKey>, ErrorKind> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let text = version::read(path)?.as_ref().and_then(version::text_of);
    let key = text.and_then(|text| PrivateKey::from_pem(&text).ok());
    key.map(Some).ok_or_else(|| in_the_way(path, "is not the private key that it was made as"))
}

/// Writes a key so that it is there whole or not at all, and survives a power cut before anybody hears of it.
fn write(directory: &Path, path: &Path, key: &PrivateKey) -> Result<(), ErrorKind> {
    let new = directory.join(NEW_KEY);
    os::remove_file(&new)?;
    let pem = key.to_pkcs8_pem().map_err(|error| error.kind().clone())?;
    version::write_new(&new, pem.expose().as_bytes(), RIGHTS)?;
    fs::rename(&new, path).and_then(|()| os::sync_directory(directory)).map_err(io_failed("save", path))
}
