//! The directory of one certificate: its versions, and the pointer to the live one.

use std::collections::BTreeSet;

use certlife_core::{
    CertificateId, ErrorKind, KeyHash, Result, VersionId,
    deploy::{Bundle, Installed, Receipt},
};

use super::{
    keys,
    layout::Layout,
    tree::{Made, Rights, Tree, in_the_way, io_failed, is_real_directory},
    version::{self, AllRights, Files, Record, VersionDir},
};
use crate::files;

const VERSIONS: &str = "versions";
const LIVE: &str = "live";
/// What is made under this name gets its own once it is whole. A call that was interrupted may leave it behind; the next
/// one removes it.
const NEW: &str = ".new";
const NEW_LIVE: &str = ".live-new";
/// Where it is tried what may be done.
const PROBE: &str = ".probe";
/// How many directories of one version are made, each because the one before was spoiled.
const MAX_COPIES: u32 = 1_000;

/// The directory of one certificate, of which no part is a symbolic link but the pointer.
pub(super) struct Place<'a, T> {
    tree: &'a T,
    layout: &'a Layout,
    root: String,
}

/// A version that lies ready to go live.
pub(super) struct Prepared {
    pub(super) dir: VersionDir,
    /// Whether it is live already.
    pub(super) is_live: bool,
    /// What the receipt says.
    pub(super) replaced: Option<VersionId>,
    pub(super) retreat: Retreat,
}

/// Where to go if the server refuses a version.
#[derive(Clone)]
pub(super) enum Retreat {
    /// To the version that was live before.
    To(VersionDir),
    /// To no version, as there was none.
    ToNothing,
    /// Nowhere: the version had been live before, or the one before it is gone.
    Stay,
}

/// Writes the files of a version, so that only the switch is left to do.
pub(super) async fn prepare<T: Tree>(
    tree: &T,
    layout: &Layout,
    rights: &AllRights,
    bundle: &Bundle,
) -> Result<Prepared, ErrorKind> {
    // The key of a bundle is checked before anything is made.
    let brought = files::keystore_of(bundle)?;
    let leaf_key = version::leaf_key(brought.chain())?;
    let made_here = match Place::open(tree, layout, &bundle.certificate).await? {
        Some(place) if layout.makes_keys && brought.key().is_none() => keys::find(&place, leaf_key).await?,
        _ => None,
    };
    let keystore = match made_here {
        Some(key) => files::keystore_of(&Bundle { key: Some(key), ..bundle.clone() })?,
        None => brought,
    };
    let files = Files::of(layout, keystore).await?;
    let place = Place::create(tree, layout, &bundle.certificate, rights).await?;
    place.clean().await?;
    let live = place.live().await?;
    let dir = match place.find(bundle.version, &files, rights).await? {
        Some(dir) => dir,
        None => match place.write(bundle.version, &files, rights).await {
            Ok(dir) => dir,
            Err(kind) => {
                // A full disk needs the room, and a key has no business there. The next install would do it as well.
                let _ = place.clean().await;
                return Err(kind);
            }
        },
    };

    let repeats = live.as_ref().filter(|live| live.version == bundle.version);
    let (replaced, retreat, complete) = match repeats {
        None => {
            let retreat = live.clone().map_or(Retreat::ToNothing, Retreat::To);
            (live.as_ref().map(|live| live.version), retreat, false)
        }
        Some(same) => match version::read_record(tree, &place.path(same)).await? {
            Some(record) if record.complete => (record.replaced, Retreat::Stay, true),
            // The last install ended between the switch and the end of the reload.
            Some(record) => {
                let retreat = match record.replaced {
                    Some(version) => place.find_whole(version).await?.map_or(Retreat::Stay, Retreat::To),
                    None => Retreat::ToNothing,
                };
                (record.replaced, retreat, false)
            }
            // Somebody spoiled it.
            None => (bundle.replaces, Retreat::Stay, false),
        },
    };
    let fingerprint = bundle.chain.fingerprint();
    let record = Record { fingerprint, replaced, complete, keyed: files.has_key(), files: files.further() };
    let path = place.path(&dir);
    if version::read_record(tree, &path).await?.as_ref() != Some(&record) {
        version::write_record(tree, &path, &record, rights).await?;
    }
    tree.label(&place.root).await?;
    let needed: Vec<_> = [Some(&dir), live.as_ref()].into_iter().flatten().collect();
    place.prune(&needed, replaced).await?;
    if layout.makes_keys {
        keys::prune(&place, &place.leaf_keys().await?, leaf_key).await?;
    }
    Ok(Prepared { is_live: live.as_ref() == Some(&dir), dir, replaced, retreat })
}

/// Goes back to what was live before the install; returns the directory of what is live then.
pub(super) async fn roll_back(
    tree: &impl Tree,
    layout: &Layout,
    receipt: &Receipt,
) -> Result<Option<String>, ErrorKind> {
    let missing = |version: VersionId| ErrorKind::NotFound(format!("version {version}").into());
    let Some(place) = Place::open(tree, layout, &receipt.certificate).await? else {
        return receipt.replaced.map_or(Ok(None), |version| Err(missing(version)));
    };
    place.clean().await?;
    let live = place.live().await?;
    let known = [Some(receipt.version), receipt.replaced];
    if live.as_ref().is_some_and(|live| !known.contains(&Some(live.version))) {
        return Err(ErrorKind::NotNow("another version has been installed since".into()));
    }
    let back = match receipt.replaced {
        Some(version) => Some(place.find_whole(version).await?.ok_or_else(|| missing(version))?),
        None => None,
    };
    if back != live {
        place.switch(back.as_ref()).await?;
    }
    Ok(back.map(|dir| place.path(&dir)))
}

fn below(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

/// Makes a directory that has its rights from the moment that it is there.
async fn make_directory(tree: &impl Tree, parent: &str, name: &str, rights: Rights) -> Result<(), ErrorKind> {
    let (new, path) = (below(parent, NEW), below(parent, name));
    tree.remove_directory(&new).await?;
    tree.make_directory(&new).await?.surely("make", tree, &new)?;
    tree.set_directory_rights(&new, rights).await?;
    tree.rename(&new, &path).await?.surely("make", tree, &path)?;
    tree.save(parent).await
}

/// Removes what is left of a certificate whose first install was interrupted before its directory had its name.
pub(super) async fn remove_unnamed(tree: &impl Tree) -> Result<(), ErrorKind> {
    tree.remove_directory(NEW).await.map(drop)
}

/// Tests that a file can be made in the directory, with its rights.
pub(super) async fn probe(tree: &impl Tree, rights: &AllRights) -> Result<(), ErrorKind> {
    // A call that was interrupted may have left it.
    version::remove(tree, PROBE).await?;
    tree.make_directory(PROBE).await?.surely("write to", tree, "")?;
    let mut outcome = tree.set_directory_rights(PROBE, rights.directory).await;
    if outcome.is_ok() {
        outcome = rights.probe(tree, PROBE).await;
    }
    version::remove(tree, PROBE).await?;
    outcome
}

impl<'a, T: Tree> Place<'a, T> {
    /// Opens the directory of a certificate; none if there is none.
    pub(super) async fn open(
        tree: &'a T,
        layout: &'a Layout,
        certificate: &CertificateId,
    ) -> Result<Option<Self>, ErrorKind> {
        let root = certificate.to_string();
        if !is_real_directory(tree, &root).await? {
            return Ok(None);
        }
        // A place of which nothing else is left is none of versions either, but never one of somebody else's.
        is_real_directory(tree, &format!("{root}/{VERSIONS}")).await?;
        Ok(Some(Self { tree, layout, root }))
    }

    /// Opens a place that an install has just made.
    pub(super) async fn existing(
        tree: &'a T,
        layout: &'a Layout,
        certificate: &CertificateId,
    ) -> Result<Self, ErrorKind> {
        let place = Self::open(tree, layout, certificate).await?;
        place.ok_or_else(|| ErrorKind::Io(format!("the directory of {certificate} has disappeared").into()))
    }

    pub(super) async fn create(
        tree: &'a T,
        layout: &'a Layout,
        certificate: &CertificateId,
        rights: &AllRights,
    ) -> Result<Self, ErrorKind> {
        let root = certificate.to_string();
        for (parent, name) in [("", root.as_str()), (root.as_str(), VERSIONS)] {
            if !is_real_directory(tree, &below(parent, name)).await? {
                make_directory(tree, parent, name, rights.directory).await?;
            }
        }
        Ok(Self { tree, layout, root })
    }

    /// Makes a version the live one, or none. The one step that readers notice.
    pub(super) async fn switch(&self, to: Option<&VersionDir>) -> Result<(), ErrorKind> {
        let live = self.below(LIVE);
        // Refuses to replace what is not a pointer of ours.
        let now = self.live().await?;
        match to {
            Some(dir) if now.as_ref() == Some(dir) => return Ok(()),
            Some(dir) => {
                let new = self.below(NEW_LIVE);
                self.tree.remove_file(&new).await?;
                self.tree.make_pointer(&new, &format!("{VERSIONS}/{dir}")).await?;
                self.tree.label(&new).await?;
                self.tree.replace(&new, &live).await?;
            }
            None => self.tree.remove_file(&live).await?,
        }
        self.tree.save(&self.root).await
    }

    /// Notes that the server has been told of a version.
    pub(super) async fn complete(&self, dir: &VersionDir, rights: &AllRights) -> Result<(), ErrorKind> {
        let path = self.path(dir);
        match version::read_record(self.tree, &path).await? {
            Some(record) if !record.complete => {
                let record = Record { complete: true, ..record };
                version::write_record(self.tree, &path, &record, rights).await
            }
            _ => Ok(()),
        }
    }

    /// Reads what is live.
    pub(super) async fn installed(&self) -> Result<Option<Installed>, ErrorKind> {
        // A version may be switched, and the old one removed, while its files are read.
        for _ in 0..5 {
            let Some(live) = self.live().await? else { return Ok(None) };
            let path = self.path(&live);
            let whole = version::whole(self.tree, self.layout, &path).await?;
            if self.live().await? != Some(live.clone()) {
                continue;
            }
            return Ok(whole.map(|whole| Installed {
                fingerprint: whole.leaf,
                version: whole.is_ours.then_some(live.version),
            }));
        }
        Err(ErrorKind::Io("the live version changes all the time".into()))
    }

    /// Removes everything that is ours.
    pub(super) async fn remove(&self) -> Result<(), ErrorKind> {
        self.switch(None).await?;
        self.clean().await?;
        self.tree.remove_directory(&self.below(NEW)).await?;
        for dir in self.versions().await? {
            version::remove(self.tree, &self.path(&dir)).await?;
        }
        if self.layout.makes_keys {
            keys::remove(self).await?;
        }
        // Both stay if something of somebody else is left.
        if self.tree.remove_directory(&self.below(VERSIONS)).await? {
            self.tree.remove_directory(&self.root).await?;
        }
        self.tree.save("").await
    }

    /// The version that the pointer leads to, whether its directory is there or not.
    async fn live(&self) -> Result<Option<VersionDir>, ErrorKind> {
        let path = self.below(LIVE);
        let Some(target) = self.tree.read_pointer(&path).await? else { return Ok(None) };
        let dir = target.strip_prefix(VERSIONS).and_then(|rest| rest.strip_prefix('/'));
        let dir = dir.and_then(|dir| dir.parse().ok());
        dir.map(Some).ok_or_else(|| in_the_way(&self.tree.name(&path), "leads to a place that is not ours"))
    }

    /// The directory of a version.
    pub(super) fn path(&self, dir: &VersionDir) -> String {
        format!("{}/{VERSIONS}/{dir}", self.root)
    }

    pub(super) fn tree(&self) -> &'a T {
        self.tree
    }

    /// Where everything of the certificate is.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    pub(super) fn below(&self, name: &str) -> String {
        below(&self.root, name)
    }

    /// Removes what an interrupted install left.
    async fn clean(&self) -> Result<(), ErrorKind> {
        self.tree.remove_file(&self.below(NEW_LIVE)).await?;
        version::remove(self.tree, &format!("{}/{VERSIONS}/{NEW}", self.root)).await
    }

    async fn write(
        &self,
        version: VersionId,
        files: &Files,
        rights: &AllRights,
    ) -> Result<VersionDir, ErrorKind> {
        let versions = self.below(VERSIONS);
        let new = below(&versions, NEW);
        self.tree.make_directory(&new).await?.surely("make", self.tree, &new)?;
        files.write(self.tree, &new, rights).await?;
        self.tree.set_directory_rights(&new, rights.directory).await?;
        self.tree.save(&new).await?;
        for copy in 0..MAX_COPIES {
            let dir = VersionDir { version, copy };
            let path = self.path(&dir);
            if self.tree.look(&path).await?.is_some() {
                continue;
            }
            match self.tree.rename(&new, &path).await? {
                Made::Exists => {}
                made => {
                    made.surely("save", self.tree, &path)?;
                    self.tree.save(&versions).await?;
                    return Ok(dir);
                }
            }
        }
        Err(io_failed("save", self.tree.name(&versions))("too many spoiled copies of one version"))
    }

    /// Finds a directory of this version that is as it should be.
    async fn find(
        &self,
        version: VersionId,
        files: &Files,
        rights: &AllRights,
    ) -> Result<Option<VersionDir>, ErrorKind> {
        for dir in self.versions().await?.into_iter().filter(|dir| dir.version == version) {
            let path = self.path(&dir);
            if files.are_in(self.tree, &path).await? && files.have_rights(self.tree, &path, rights).await? {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    /// Finds a directory of this version that holds what was installed.
    async fn find_whole(&self, version: VersionId) -> Result<Option<VersionDir>, ErrorKind> {
        for dir in self.versions().await?.into_iter().filter(|dir| dir.version == version) {
            let path = self.path(&dir);
            let whole = version::whole(self.tree, self.layout, &path).await?;
            if whole.is_some_and(|whole| whole.is_ours) {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    /// The public keys of all versions.
    async fn leaf_keys(&self) -> Result<BTreeSet<KeyHash>, ErrorKind> {
        let mut found = BTreeSet::new();
        for dir in self.versions().await? {
            found.extend(version::stored_leaf_key(self.tree, &self.path(&dir)).await?);
        }
        Ok(found)
    }

    /// The directories of versions, oldest first. Names that are not ours are passed over.
    async fn versions(&self) -> Result<BTreeSet<VersionDir>, ErrorKind> {
        let found = self.tree.list(&self.below(VERSIONS)).await?;
        let directories = found.into_iter().flatten().filter(|(_, is_directory)| *is_directory);
        Ok(directories.filter_map(|(name, _)| name.parse().ok()).collect())
    }

    /// Removes old versions, but for the newest of them, those that are needed, and the one to go back to.
    async fn prune(&self, needed: &[&VersionDir], replaced: Option<VersionId>) -> Result<(), ErrorKind> {
        let spare = |dir: &VersionDir| !needed.contains(&dir) && Some(dir.version) != replaced;
        let old: Vec<_> = self.versions().await?.into_iter().filter(spare).collect();
        for dir in old.iter().rev().skip(self.layout.keep) {
            version::remove(self.tree, &self.path(dir)).await?;
        }
        Ok(())
    }
}
