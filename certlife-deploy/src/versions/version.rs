//! One version as files: what they contain, how they are written, and whether they are whole.

use std::{collections::BTreeSet, fmt, str::FromStr};

use certlife_core::{
    Chain, ErrorKind, Fingerprint, KeyHash, Keystore, PrivateKey, Result, Secret, SecretBytes, VersionId,
    keystore::PemContents,
};
use futures_util::future::{try_join, try_join_all};
use serde::{Deserialize, Serialize, de::IntoDeserializer as _};

use super::{
    layout::Layout,
    tree::{Kind, Rights, Tree, is_real_directory},
};
use crate::files::{self, Class, FileName, NamedForm};

const FULL_CHAIN: &str = "fullchain.pem";
const CERTIFICATE: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
const KEY: &str = "privkey.pem";
const COMBINED: &str = "combined.pem";
const RECORD: &str = "install.json";
const NEW_RECORD: &str = ".install.json-new";
/// The files that a version can have, apart from the record and those of the host's choice.
const CONTENTS: [&str; 5] = [FULL_CHAIN, CERTIFICATE, CHAIN, KEY, COMBINED];
/// Names that the host cannot choose.
pub(super) const TAKEN: [&str; 6] = [FULL_CHAIN, CERTIFICATE, CHAIN, KEY, COMBINED, RECORD];

/// The files that every version has, and the combined one if it is asked for.
pub(super) fn fixed(combined: bool) -> Vec<NamedForm> {
    let files = [
        (COMBINED, PemContents::KeyAndFullChain),
        (KEY, PemContents::Key),
        (CERTIFICATE, PemContents::Certificate),
        (CHAIN, PemContents::Intermediates),
        (FULL_CHAIN, PemContents::FullChain),
    ];
    let files = files.into_iter().filter(|(name, _)| combined || *name != COMBINED);
    files.map(|(name, contents)| NamedForm::pem(name, contents)).collect()
}

/// The most of a file that is read.
pub(crate) const MAX_FILE: usize = 2 * 1_024 * 1_024;

/// The name of a version's directory: its id, and a number if an earlier directory of that id was spoiled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VersionDir {
    pub(super) version: VersionId,
    pub(super) copy: u32,
}

impl fmt::Display for VersionDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.copy {
            0 => write!(f, "{}", self.version),
            copy => write!(f, "{}.{copy}", self.version),
        }
    }
}

impl FromStr for VersionDir {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (version, copy) = text.split_once('.').unwrap_or((text, "0"));
        let dir = Self { version: version.parse().map_err(|_| ())?, copy: copy.parse().map_err(|_| ())? };
        // Only the spelling that we write: there is one name for one directory.
        if dir.to_string() == text { Ok(dir) } else { Err(()) }
    }
}

/// What the deployer has to know about a version, beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The leaf that was installed.
    pub(super) fingerprint: Fingerprint,
    /// What was live before this version went live.
    pub(super) replaced: Option<VersionId>,
    /// Whether the server has been told since it went live.
    pub(super) complete: bool,
    /// Whether the private key was there, so that it can be missed.
    #[serde(default)]
    pub(super) keyed: bool,
    /// The files of the host's choice. Names are plain, so that none leads out of the directory.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) files: BTreeSet<FileName>,
}

/// The files of one version.
pub(super) struct Files {
    keystore: Keystore,
    wanted: Vec<NamedForm>,
    rendered: Vec<File>,
}

/// A file ready to be written.
struct File {
    name: FileName,
    class: Class,
    content: SecretBytes,
}

impl Files {
    /// Renders a version, with the key wherever it was made.
    pub(super) async fn of(layout: &Layout, keystore: Keystore) -> Result<Self, ErrorKind> {
        let wanted = wanted(layout, &keystore);
        let (forms, key) = (wanted.clone(), keystore.clone());
        let rendered = calculating(move || {
            let rendered = files::render(&forms, &key)?.into_iter();
            let rendered = rendered.map(|file| File {
                name: file.name.clone(),
                class: file.class,
                content: file.content,
            });
            Ok(rendered.collect())
        });
        Ok(Self { rendered: rendered.await?, keystore, wanted })
    }

    /// The names beside those that every version has.
    pub(super) fn further(&self) -> BTreeSet<FileName> {
        let names = self.wanted.iter().map(|file| &file.name);
        names.filter(|name| !CONTENTS.contains(&name.as_str())).cloned().collect()
    }

    /// Whether the private key is among them.
    pub(super) fn has_key(&self) -> bool {
        self.keystore.key().is_some()
    }

    /// Writes all files into an empty directory, so that they survive a power cut. The record comes first: without it
    /// nobody would know which further files are ours.
    pub(super) async fn write(
        &self,
        tree: &impl Tree,
        directory: &str,
        rights: &AllRights,
    ) -> Result<(), ErrorKind> {
        let record = Record {
            fingerprint: self.keystore.chain().fingerprint(),
            replaced: None,
            complete: false,
            keyed: self.has_key(),
            files: self.further(),
        };
        write_record(tree, directory, &record, rights).await?;
        for file in &self.rendered {
            let path = format!("{directory}/{}", file.name);
            let made = tree.create(&path, file.content.expose(), rights.of(file.class)).await?;
            made.surely("write", tree, &path)?;
        }
        Ok(())
    }

    /// Whether a directory holds exactly this: what was written, and no file of ours besides.
    pub(super) async fn are_in(&self, tree: &impl Tree, directory: &str) -> Result<bool, ErrorKind> {
        all_in(tree, directory, &self.wanted, &self.keystore).await
    }

    /// Whether the files in a directory have their rights.
    pub(super) async fn have_rights(
        &self,
        tree: &impl Tree,
        directory: &str,
        rights: &AllRights,
    ) -> Result<bool, ErrorKind> {
        for file in &self.rendered {
            let found = tree.look(&format!("{directory}/{}", file.name)).await?;
            if !found.is_some_and(|found| found.has(rights.of(file.class))) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What a version consists of. A key that is elsewhere leaves its own file out; a file that was asked for with the key
/// is refused when it is rendered.
fn wanted(layout: &Layout, keystore: &Keystore) -> Vec<NamedForm> {
    let has_key = keystore.key().is_some();
    layout.files.iter().filter(|file| has_key || file.name.as_str() != KEY).cloned().collect()
}

async fn all_in(
    tree: &impl Tree,
    directory: &str,
    wanted: &[NamedForm],
    keystore: &Keystore,
) -> Result<bool, ErrorKind> {
    let further = read_record(tree, directory).await?.map(|record| record.files).unwrap_or_default();
    let further = further.iter().map(FileName::as_str);
    let is_wanted = |name: &str| wanted.iter().any(|file| file.name.as_str() == name);
    let unwanted = CONTENTS.into_iter().chain(further).filter(|name| !is_wanted(name));
    let unwanted = unwanted.map(|name| read_below(tree, directory, name));
    let found = wanted.iter().map(|file| read_below(tree, directory, file.name.as_str()));
    let (found, unwanted) = try_join(try_join_all(found), try_join_all(unwanted)).await?;
    if unwanted.iter().any(Option::is_some) {
        return Ok(false);
    }
    let (wanted, keystore) = (wanted.to_vec(), keystore.clone());
    calculating(move || {
        let mut pairs = wanted.iter().zip(found);
        Ok(pairs
            .all(|(file, found)| found.is_some_and(|found| files::holds(found.expose(), file, &keystore))))
    })
    .await
}

/// Calculates on a thread that may take its time, as forms with a password want.
async fn calculating<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ErrorKind> + Send + 'static,
) -> Result<T, ErrorKind> {
    let working = tokio::task::spawn_blocking(work).await;
    working.unwrap_or_else(|_| Err(ErrorKind::Io("the work on files was interrupted".into())))
}

/// Rights on everything that is written, with names looked up.
#[derive(Debug)]
pub(crate) struct AllRights {
    pub(super) key: Rights,
    pub(super) certificate: Rights,
    pub(super) directory: Rights,
}

impl AllRights {
    /// Tests that files can be made in `directory` with these rights, and removes them.
    pub(super) async fn probe(&self, tree: &impl Tree, directory: &str) -> Result<(), ErrorKind> {
        for (name, rights) in [(KEY, self.key), (CERTIFICATE, self.certificate)] {
            let path = format!("{directory}/{name}");
            tree.create(&path, b"", rights).await?.surely("write", tree, &path)?;
            tree.remove_file(&path).await?;
        }
        Ok(())
    }

    fn of(&self, class: Class) -> Rights {
        match class {
            Class::Open => self.certificate,
            Class::Secret => self.key,
        }
    }
}

/// A version whose files are all there and belong together.
pub(super) struct Whole {
    pub(super) leaf: Fingerprint,
    /// Whether it is what was installed, and not somebody else's doing.
    pub(super) is_ours: bool,
}

/// Reads the version that a directory holds; none if it is not whole.
pub(super) async fn whole(
    tree: &impl Tree,
    layout: &Layout,
    directory: &str,
) -> Result<Option<Whole>, ErrorKind> {
    let Some(keystore) = read_keystore(tree, directory).await? else { return Ok(None) };
    let record = read_record(tree, directory).await?;
    if keystore.key().is_none() && record.as_ref().is_some_and(|record| record.keyed) {
        return Ok(None);
    }
    let leaf = keystore.chain().fingerprint();
    let is_ours = record.is_some_and(|record| record.fingerprint == leaf);
    let is_whole = all_in(tree, directory, &wanted(layout, &keystore), &keystore).await?;
    Ok(is_whole.then_some(Whole { leaf, is_ours }))
}

async fn read_keystore(tree: &impl Tree, directory: &str) -> Result<Option<Keystore>, ErrorKind> {
    let text = read_below(tree, directory, FULL_CHAIN).await?;
    let Some(text) = text.as_ref().and_then(text_of) else { return Ok(None) };
    // As it was written: a root that was kept stays.
    let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        text.expose().into_deserializer();
    let Ok(chain) = Chain::deserialize(deserializer) else { return Ok(None) };
    let key = match read_below(tree, directory, KEY).await? {
        None => None,
        Some(bytes) => match text_of(&bytes).and_then(|text| PrivateKey::from_pem(&text).ok()) {
            Some(key) => Some(key),
            None => return Ok(None),
        },
    };
    Ok(Keystore::new(chain, key).ok())
}

/// Reads the record of a version; none if there is none that can be read.
pub(super) async fn read_record(tree: &impl Tree, directory: &str) -> Result<Option<Record>, ErrorKind> {
    let bytes = read_below(tree, directory, RECORD).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(bytes.expose()).ok()))
}

/// Replaces the record of a version at once.
pub(super) async fn write_record(
    tree: &impl Tree,
    directory: &str,
    record: &Record,
    rights: &AllRights,
) -> Result<(), ErrorKind> {
    let new = format!("{directory}/{NEW_RECORD}");
    tree.remove_file(&new).await?;
    let text = serde_json::to_vec(record).unwrap_or_default();
    tree.create(&new, &text, rights.certificate).await?.surely("write", tree, &new)?;
    tree.replace(&new, &format!("{directory}/{RECORD}")).await?;
    tree.save(directory).await
}

/// Removes a version's directory with what we wrote. Files of others stay, and the directory with them.
pub(super) async fn remove(tree: &impl Tree, directory: &str) -> Result<(), ErrorKind> {
    if !is_real_directory(tree, directory).await? {
        return Ok(());
    }
    let further = read_record(tree, directory).await?.map(|record| record.files).unwrap_or_default();
    let further = further.iter().map(FileName::as_str);
    // The record goes last: it knows the names.
    for name in CONTENTS.into_iter().chain(further).chain([NEW_RECORD, RECORD]) {
        tree.remove_file(&format!("{directory}/{name}")).await?;
    }
    tree.remove_directory(directory).await.map(drop)
}

/// The public key of a leaf.
pub(super) fn leaf_key(chain: &Chain) -> Result<KeyHash, ErrorKind> {
    let info = chain.info().map_err(|_| ErrorKind::BadCertificate("the leaf cannot be read".into()))?;
    Ok(info.key_hash)
}

/// The public key of the leaf in a version's directory; none if it cannot be read.
pub(super) async fn stored_leaf_key(tree: &impl Tree, directory: &str) -> Result<Option<KeyHash>, ErrorKind> {
    let text = read_below(tree, directory, CERTIFICATE).await?.as_ref().and_then(text_of);
    let chain = text.and_then(|text| Chain::from_pem(text.expose()).ok());
    Ok(chain.and_then(|chain| leaf_key(&chain).ok()))
}

async fn read_below(tree: &impl Tree, directory: &str, name: &str) -> Result<Option<SecretBytes>, ErrorKind> {
    read(tree, &format!("{directory}/{name}")).await
}

/// Reads a file; none if it does not exist, is not a plain file, or is larger than any of ours.
pub(super) async fn read(tree: &impl Tree, path: &str) -> Result<Option<SecretBytes>, ErrorKind> {
    let Some(found) = tree.look(path).await? else { return Ok(None) };
    match usize::try_from(found.length) {
        Ok(length) if found.kind == Kind::File && length <= MAX_FILE => tree.read(path, length).await,
        _ => Ok(None),
    }
}

pub(super) fn text_of(bytes: &SecretBytes) -> Option<Secret> {
    std::str::from_utf8(bytes.expose()).ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_one_spelling() {
        let id = "019b6f0e-7c1a-7000-8000-0123456789ab";
        for good in [id.to_owned(), format!("{id}.1"), format!("{id}.12")] {
            assert_eq!(good.parse::<VersionDir>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "..",
            ".new",
            &id[1..],
            &id.to_uppercase(),
            &format!("{id}.0"),
            &format!("{id}.01"),
            &format!("{id}/.."),
        ] {
            assert!(bad.parse::<VersionDir>().is_err(), "{bad}");
        }
    }
}
