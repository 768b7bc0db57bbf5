//! Keys that are made on the target and never leave it: one file a key, beside the versions of its certificate.
//!
//! A key waits under its name until the certificate for it comes, which finds it by the hash of the public key.
//! It stays as long as a version that is kept has it.

use std::collections::BTreeSet;

use certlife_core::{Csr, ErrorKind, KeyHash, KeyId, PrivateKey, Result, deploy::KeyRequest};

use super::{
    install::Machine,
    place::Place,
    tree::{Rights, Tree, in_the_way, is_real_directory},
    version,
};

const KEYS: &str = "keys";
/// What a call that was interrupted may leave behind; the next one removes it.
const NEW_KEY: &str = "keys/.new";
/// Nobody but the deployer itself reads these; what a server reads is the copy in a version's directory.
const RIGHTS: Rights = Rights { mode: 0o600, user: None, group: None };

/// Makes the key that is wanted, unless it is there, and signs the request with it.
pub(crate) async fn make(machine: &impl Machine, wanted: &KeyRequest) -> Result<Csr, ErrorKind> {
    let (tree, rights) = (machine.tree(), machine.rights().await?);
    let place = Place::create(tree, machine.layout(), &wanted.certificate, &rights).await?;
    let directory = place.below(KEYS);
    if !is_real_directory(tree, &directory).await? {
        tree.make_directory(&directory).await?.surely("make", tree, &directory)?;
        tree.save(place.root()).await?;
    }
    let path = place.below(&file_of(wanted.key));
    let failed = |error: certlife_core::Error| error.kind().clone();
    let key = match read(tree, &path).await? {
        Some(key) if key.algorithm() == wanted.algorithm => key,
        Some(_) => {
            let what = "is a key of another kind than is wanted under this name";
            return Err(in_the_way(&tree.name(&path), what));
        }
        None => {
            let key = PrivateKey::generate_off_thread(wanted.algorithm).await.map_err(failed)?;
            write(&place, &path, &key).await?;
            key
        }
    };
    wanted.template.sign(&key).map_err(failed)
}

/// Finds the key that was made here for a leaf.
pub(super) async fn find<T: Tree>(
    place: &Place<'_, T>,
    leaf_key: KeyHash,
) -> Result<Option<PrivateKey>, ErrorKind> {
    for (_, path) in list(place).await? {
        if let Some(key) = read(place.tree(), &path).await?.filter(|key| key.public_key_hash() == leaf_key) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Removes the keys that no version has any more. One that is newer than the key of `latest` waits for its certificate,
/// and stays.
pub(super) async fn prune<T: Tree>(
    place: &Place<'_, T>,
    used: &BTreeSet<KeyHash>,
    latest: KeyHash,
) -> Result<(), ErrorKind> {
    let mut made = Vec::new();
    for (id, path) in list(place).await? {
        let hash = read(place.tree(), &path).await?.map(|key| key.public_key_hash());
        made.push((id, hash, path));
    }
    let newest = made.iter().filter(|(_, hash, _)| *hash == Some(latest)).map(|(id, ..)| *id).max();
    let Some(newest) = newest else { return Ok(()) };
    for (id, hash, path) in made {
        if id < newest && hash.is_none_or(|hash| !used.contains(&hash)) {
            place.tree().remove_file(&path).await?;
        }
    }
    Ok(())
}

/// Removes all keys of a certificate.
pub(super) async fn remove<T: Tree>(place: &Place<'_, T>) -> Result<(), ErrorKind> {
    let tree = place.tree();
    if !is_real_directory(tree, &place.below(KEYS)).await? {
        return Ok(());
    }
    for (_, path) in list(place).await? {
        tree.remove_file(&path).await?;
    }
    tree.remove_file(&place.below(NEW_KEY)).await?;
    tree.remove_directory(&place.below(KEYS)).await.map(drop)
}

fn file_of(key: KeyId) -> String {
    format!("{KEYS}/{key}.pem")
}

/// The keys of a certificate. Names that are not ours are passed over.
async fn list<T: Tree>(place: &Place<'_, T>) -> Result<Vec<(KeyId, String)>, ErrorKind> {
    let directory = place.below(KEYS);
    if !is_real_directory(place.tree(), &directory).await? {
        return Ok(Vec::new());
    }
    let names = place.tree().list(&directory).await?.into_iter().flatten().map(|(name, _)| name);
    let ids = names.filter_map(|name| {
        let id: KeyId = name.strip_suffix(".pem")?.parse().ok()?;
        // Only the spelling that we write.
        (file_of(id) == format!("{KEYS}/{name}")).then_some(id)
    });
    Ok(ids.map(|id| (id, place.below(&file_of(id)))).collect())
}

async fn read(tree: &impl Tree, path: &str) -> Result<Option<PrivateKey>, ErrorKind> {
    if tree.look(path).await?.is_none() {
        return Ok(None);
    }
    let text = version::read(tree, path).await?.as_ref().and_then(version::text_of);
    let key = text.and_then(|text| PrivateKey::from_pem(&text).ok());
    key.map(Some).ok_or_else(|| in_the_way(&tree.name(path), "is not the private key that it was made as"))
}

/// Writes a key so that it is there whole or not at all, and survives a power cut before anybody hears of it.
async fn write<T: Tree>(place: &Place<'_, T>, path: &str, key: &PrivateKey) -> Result<(), ErrorKind> {
    let (tree, new) = (place.tree(), place.below(NEW_KEY));
    tree.remove_file(&new).await?;
    let pem = key.to_pkcs8_pem().map_err(|error| error.kind().clone())?;
    tree.create(&new, pem.expose().as_bytes(), RIGHTS).await?.surely("write", tree, &new)?;
    tree.rename(&new, path).await?.surely("save", tree, path)?;
    tree.save(&place.below(KEYS)).await
}
