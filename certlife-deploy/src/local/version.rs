//! One version as files: what they contain, how they are written, and whether they are whole.

use std::{
    fmt,
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    str::FromStr,
};

use certlife_core::{
    Chain, ErrorKind, Fingerprint, Keystore, PrivateKey, Result, Secret, SecretBytes, VersionId,
    deploy::Bundle, keystore::PemContents,
};
use serde::{Deserialize, Serialize, de::IntoDeserializer as _};

use super::{
    io_failed,
    os::{self, Rights},
    settings::Plan,
};
use crate::files::{self, Class, NamedForm, Rendered};

const FULL_CHAIN: &str = "fullchain.pem";
const CERTIFICATE: &str = "cert.pem";
const CHAIN: &str = "chain.pem";
const KEY: &str = "privkey.pem";
const COMBINED: &str = "combined.pem";
const RECORD: &str = "install.json";
const NEW_RECORD: &str = ".install.json-new";
/// The files that a version can have, apart from the record.
const CONTENTS: [&str; 5] = [FULL_CHAIN, CERTIFICATE, CHAIN, KEY, COMBINED];

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
const MAX_FILE: u64 = 2 * 1_024 * 1_024;

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
}

/// The files of one version.
pub(super) struct Files<'a>(Vec<Rendered<'a>>);

impl<'a> Files<'a> {
    /// Renders a bundle, after checking that its key is the leaf's.
    pub(super) fn of_bundle(plan: &'a Plan, bundle: &Bundle) -> Result<Self, ErrorKind> {
        Self::render(plan, &files::keystore_of(bundle)?)
    }

    fn render(plan: &'a Plan, keystore: &Keystore) -> Result<Self, ErrorKind> {
        // A key that is elsewhere leaves its own file out; a file that was asked for with the key is refused.
        let wanted = plan.files.iter().filter(|file| keystore.key().is_some() || file.name.as_str() != KEY);
        files::render(wanted, keystore).map(Self)
    }

    /// Writes all files into an empty directory, so that they survive a power cut.
    pub(super) fn write(&self, directory: &Path, rights: &AllRights) -> Result<(), ErrorKind> {
        for file in &self.0 {
            write_new(&directory.join(file.name), file.content.expose(), rights.of(file.class))?;
        }
        Ok(())
    }

    /// Whether a directory holds exactly this: what was written, and no file of ours besides.
    pub(super) fn are_in(&self, directory: &Path) -> Result<bool, ErrorKind> {
        for name in CONTENTS {
            let wanted = self.0.iter().find(|wanted| wanted.name.as_str() == name);
            let found = read(&directory.join(name))?;
            if wanted.map(|file| file.content.expose()) != found.as_ref().map(SecretBytes::expose) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the files in a directory have their rights.
    pub(super) fn have_rights(&self, directory: &Path, rights: &AllRights) -> bool {
        self.0.iter().all(|file| os::has_rights(&directory.join(file.name), rights.of(file.class)))
    }
}

/// Rights on everything that is written, with names looked up.
pub(super) struct AllRights {
    key: Rights,
    certificate: Rights,
    pub(super) directory: Rights,
}

impl AllRights {
    pub(super) fn look_up(plan: &Plan) -> Result<Self, ErrorKind> {
        let user = plan.owner.as_ref().map(|owner| owner.number(Path::new("/etc/passwd"))).transpose()?;
        let group = plan.group.as_ref().map(|group| group.number(Path::new("/etc/group"))).transpose()?;
        Ok(Self {
            key: Rights { mode: plan.key_mode, user, group },
            certificate: Rights { mode: plan.certificate_mode, user, group },
            // Who serves the files gets no right to rearrange them.
            directory: Rights { mode: plan.directory_mode, user: None, group },
        })
    }

    /// Tests that files can be made in `directory` with these rights.
    pub(super) fn probe(&self, directory: &Path) -> Result<(), ErrorKind> {
        write_new(&directory.join(KEY), b"", self.key)?;
        write_new(&directory.join(CERTIFICATE), b"", self.certificate)
    }

    fn of(&self, class: Class) -> Rights {
        match class {
            Class::Open => self.certificate,
            Class::Secret => self.key,
        }
    }
}

/// Reads the leaf that a directory holds, if all of its files belong together and the key is the leaf's.
pub(super) fn whole_leaf(plan: &Plan, directory: &Path) -> Result<Option<Fingerprint>, ErrorKind> {
    let Some(text) = read(&directory.join(FULL_CHAIN))?.as_ref().and_then(text_of) else { return Ok(None) };
    // As it was written: a root that was kept stays.
    let deserializer: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        text.expose().into_deserializer();
    let Ok(chain) = Chain::deserialize(deserializer) else { return Ok(None) };
    let key = match read(&directory.join(KEY))? {
        None => None,
        Some(bytes) => match text_of(&bytes).and_then(|text| PrivateKey::from_pem(&text).ok()) {
            Some(key) => Some(key),
            None => return Ok(None),
        },
    };
    let fingerprint = chain.fingerprint();
    let Ok(keystore) = Keystore::new(chain, key) else { return Ok(None) };
    Ok(Files::render(plan, &keystore)?.are_in(directory)?.then_some(fingerprint))
}

/// Reads the record of a version; none if there is none that can be read.
pub(super) fn read_record(directory: &Path) -> Result<Option<Record>, ErrorKind> {
    let bytes = read(&directory.join(RECORD))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(bytes.expose()).ok()))
}

/// Replaces the record of a version at once.
pub(super) fn write_record(directory: &Path, record: &Record, rights: &AllRights) -> Result<(), ErrorKind> {
    let (new, path) = (directory.join(NEW_RECORD), directory.join(RECORD));
    os::remove_file(&new)?;
    let text = serde_json::to_vec(record).unwrap_or_default();
    write_new(&new, &text, rights.certificate)?;
    fs::rename(&new, &path).map_err(io_failed("write", &path))?;
    os::sync_directory(directory).map_err(io_failed("save", directory))
}

/// Removes a version's directory with what we wrote. Files of others stay, and the directory with them.
pub(super) fn remove(directory: &Path) -> Result<(), ErrorKind> {
    if !os::is_real_directory(directory)? {
        return Ok(());
    }
    for name in CONTENTS.into_iter().chain([RECORD, NEW_RECORD]) {
        os::remove_file(&directory.join(name))?;
    }
    // Fails if something else is in it.
    let _ = fs::remove_dir(directory);
    Ok(())
}

fn write_new(path: &Path, content: &[u8], rights: Rights) -> Result<(), ErrorKind> {
    os::create_private(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            os::set_file_rights(&file, rights)?;
            file.sync_all()
        })
        .map_err(io_failed("write", path))
}

/// Reads a file; none if it does not exist, is not a plain file, or is larger than any of ours.
fn read(path: &Path) -> Result<Option<SecretBytes>, ErrorKind> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() <= MAX_FILE => {}
        Ok(_) => return Ok(None),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(io_failed("look at", path)(cause)),
    }
    let read = File::open(path).and_then(|file| {
        let length = file.metadata()?.len().min(MAX_FILE);
        // With room for all, nothing is left behind unwiped when the buffer grows.
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
        file.take(length).read_to_end(&mut bytes)?;
        Ok(SecretBytes::new(bytes))
    });
    match read {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(io_failed("read", path)),
    }
}

fn text_of(bytes: &SecretBytes) -> Option<Secret> {
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
