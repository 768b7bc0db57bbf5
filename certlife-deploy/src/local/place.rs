//! The directory of one certificate: its versions, and the pointer to the live one.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use certlife_core::{
    CertificateId, ErrorKind, Result, VersionId,
    deploy::{Bundle, Installed, Receipt},
};

use super::{
    in_the_way, io_failed, os,
    settings::Plan,
    version::{self, AllRights, Files, Record, VersionDir},
};

const VERSIONS: &str = "versions";
const LIVE: &str = "live";
/// What an install that was interrupted may leave behind; the next one removes it.
const NEW_VERSION: &str = ".new";
const NEW_LIVE: &str = ".live-new";

/// The directory of one certificate, of which no part is a symbolic link but the pointer.
pub(super) struct Place<'a> {
    plan: &'a Plan,
    root: PathBuf,
}

/// A version that lies ready to go live.
pub(super) struct Prepared {
    pub(super) dir: VersionDir,
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
pub(super) fn prepare(plan: &Plan, bundle: &Bundle) -> Result<Prepared, ErrorKind> {
    let files = Files::of_bundle(plan, bundle)?;
    let rights = AllRights::look_up(plan)?;
    let place = Place::create(plan, &bundle.certificate, &rights)?;
    place.clean()?;
    let live = place.live()?;
    let dir = match place
        .find(bundle.version, |path| Ok(files.are_in(path)? && files.have_rights(path, &rights)))?
    {
        Some(dir) => dir,
        None => place.write(bundle.version, &files, &rights)?,
    };

    let repeats = live.as_ref().filter(|live| live.version == bundle.version);
    let (replaced, retreat, complete) = match repeats {
        None => {
            let retreat = live.clone().map_or(Retreat::ToNothing, Retreat::To);
            (live.as_ref().map(|live| live.version), retreat, false)
        }
        Some(same) => match version::read_record(&place.path(same))? {
            Some(record) if record.complete => (record.replaced, Retreat::Stay, true),
            // The last install ended between the switch and the end of the reload.
            Some(record) => {
                let retreat = match record.replaced {
                    Some(version) => place.find_whole(version)?.map_or(Retreat::Stay, Retreat::To),
                    None => Retreat::ToNothing,
                };
                (record.replaced, retreat, false)
            }
            // Somebody spoiled it.
            None => (bundle.replaces, Retreat::Stay, false),
        },
    };
    let record = Record { fingerprint: bundle.chain.fingerprint(), replaced, complete };
    if version::read_record(&place.path(&dir))?.as_ref() != Some(&record) {
        version::write_record(&place.path(&dir), &record, &rights)?;
    }
    let needed: Vec<_> = [Some(&dir), live.as_ref()].into_iter().flatten().collect();
    place.prune(&needed, replaced)?;
    Ok(Prepared { dir, replaced, retreat })
}

/// Goes back to what was live before the install; returns what is live then.
pub(super) fn roll_back(plan: &Plan, receipt: &Receipt) -> Result<Option<VersionDir>, ErrorKind> {
    let missing = |version: VersionId| ErrorKind::NotFound(format!("version {version}").into());
    let Some(place) = Place::open(plan, &receipt.certificate)? else {
        return receipt.replaced.map_or(Ok(None), |version| Err(missing(version)));
    };
    place.clean()?;
    let live = place.live()?;
    let known = [Some(receipt.version), receipt.replaced];
    if live.as_ref().is_some_and(|live| !known.contains(&Some(live.version))) {
        return Err(ErrorKind::NotNow("another version has been installed since".into()));
    }
    let back = match receipt.replaced {
        Some(version) => Some(place.find_whole(version)?.ok_or_else(|| missing(version))?),
        None => None,
    };
    if back != live {
        place.switch(back.as_ref())?;
    }
    Ok(back)
}

/// Opens a place that an install has just made.
pub(super) fn existing<'a>(plan: &'a Plan, certificate: &CertificateId) -> Result<Place<'a>, ErrorKind> {
    let place = Place::open(plan, certificate)?;
    place.ok_or_else(|| ErrorKind::Io(format!("the directory of {certificate} has disappeared").into()))
}

/// Tests that a file can be made in the directory, with its rights.
pub(super) fn probe(plan: &Plan) -> Result<(), ErrorKind> {
    let rights = AllRights::look_up(plan)?;
    fs::create_dir_all(&plan.directory).map_err(io_failed("make", &plan.directory))?;
    let test = tempfile::Builder::new().prefix(".probe-").tempdir_in(&plan.directory);
    let test = test.map_err(io_failed("write to", &plan.directory))?;
    os::set_directory_rights(test.path(), rights.directory)
        .map_err(io_failed("set the rights of", test.path()))?;
    rights.probe(test.path())
}

impl<'a> Place<'a> {
    /// The directory of a version.
    pub(super) fn path_of(plan: &Plan, certificate: &CertificateId, dir: &VersionDir) -> PathBuf {
        plan.directory.join(certificate.as_str()).join(VERSIONS).join(dir.to_string())
    }

    /// Opens the directory of a certificate; none if there is none.
    pub(super) fn open(plan: &'a Plan, certificate: &CertificateId) -> Result<Option<Self>, ErrorKind> {
        let root = plan.directory.join(certificate.as_str());
        let there = os::is_real_directory(&root)? && os::is_real_directory(&root.join(VERSIONS))?;
        Ok(there.then_some(Self { plan, root }))
    }

    fn create(plan: &'a Plan, certificate: &CertificateId, rights: &AllRights) -> Result<Self, ErrorKind> {
        let root = plan.directory.join(certificate.as_str());
        for directory in [&root, &root.join(VERSIONS)] {
            if !os::is_real_directory(directory)? {
                os::create_private_directory(directory)
                    .and_then(|()| os::set_directory_rights(directory, rights.directory))
                    .map_err(io_failed("make", directory))?;
                save_names_beside(directory)?;
            }
        }
        Ok(Self { plan, root })
    }

    /// Makes a version the live one, or none. The one step that readers notice.
    pub(super) fn switch(&self, to: Option<&VersionDir>) -> Result<(), ErrorKind> {
        let live = self.root.join(LIVE);
        // Refuses to replace what is not a pointer of ours.
        let now = self.live()?;
        match to {
            Some(dir) if now.as_ref() == Some(dir) => return Ok(()),
            Some(dir) => {
                let new = self.root.join(NEW_LIVE);
                os::remove_file(&new)?;
                os::create_pointer(&new, &format!("{VERSIONS}/{dir}"))
                    .and_then(|()| fs::rename(&new, &live))
                    .map_err(io_failed("switch", &live))?;
            }
            None => os::remove_file(&live)?,
        }
        os::sync_directory(&self.root).map_err(io_failed("save", &self.root))
    }

    /// Notes that the server has been told of a version.
    pub(super) fn complete(&self, dir: &VersionDir) -> Result<(), ErrorKind> {
        let path = self.path(dir);
        match version::read_record(&path)? {
            Some(record) if !record.complete => {
                let rights = AllRights::look_up(self.plan)?;
                version::write_record(&path, &Record { complete: true, ..record }, &rights)
            }
            _ => Ok(()),
        }
    }

    /// Reads what is live.
    pub(super) fn installed(&self) -> Result<Option<Installed>, ErrorKind> {
        // A version may be switched, and the old one removed, while its files are read.
        for _ in 0..5 {
            let Some(live) = self.live()? else { return Ok(None) };
            let path = self.path(&live);
            let leaf = version::whole_leaf(self.plan, &path)?;
            let record = version::read_record(&path)?;
            if self.live()? != Some(live.clone()) {
                continue;
            }
            return Ok(leaf.map(|fingerprint| Installed {
                fingerprint,
                version: record
                    .is_some_and(|record| record.fingerprint == fingerprint)
                    .then_some(live.version),
            }));
        }
        Err(ErrorKind::Io("the live version changes all the time".into()))
    }

    /// Removes everything that is ours.
    pub(super) fn remove(&self) -> Result<(), ErrorKind> {
        self.switch(None)?;
        self.clean()?;
        for dir in self.versions()? {
            version::remove(&self.path(&dir))?;
        }
        // Both fail if something of somebody else is left.
        let _ = fs::remove_dir(self.root.join(VERSIONS));
        let _ = fs::remove_dir(&self.root);
        os::sync_directory(&self.plan.directory).map_err(io_failed("save", &self.plan.directory))
    }

    /// The version that the pointer leads to, whether its directory is there or not.
    fn live(&self) -> Result<Option<VersionDir>, ErrorKind> {
        let path = self.root.join(LIVE);
        let Some(target) = os::read_pointer(&path)? else { return Ok(None) };
        let dir = target.strip_prefix(VERSIONS).and_then(|rest| rest.strip_prefix('/'));
        let dir = dir.and_then(|dir| dir.parse().ok());
        dir.map(Some).ok_or_else(|| in_the_way(&path, "leads to a place that is not ours"))
    }

    fn path(&self, dir: &VersionDir) -> PathBuf {
        self.root.join(VERSIONS).join(dir.to_string())
    }

    /// Removes what an interrupted install left.
    fn clean(&self) -> Result<(), ErrorKind> {
        os::remove_file(&self.root.join(NEW_LIVE))?;
        version::remove(&self.root.join(VERSIONS).join(NEW_VERSION))
    }

    fn write(
        &self,
        version: VersionId,
        files: &Files<'_>,
        rights: &AllRights,
    ) -> Result<VersionDir, ErrorKind> {
        let versions = self.root.join(VERSIONS);
        let new = versions.join(NEW_VERSION);
        os::create_private_directory(&new).map_err(io_failed("make", &new))?;
        files.write(&new, rights)?;
        os::set_directory_rights(&new, rights.directory)
            .and_then(|()| os::sync_directory(&new))
            .map_err(io_failed("save", &new))?;
        let taken = |dir: &VersionDir| fs::symlink_metadata(self.path(dir)).is_ok();
        let dir = (0..u32::MAX).map(|copy| VersionDir { version, copy }).find(|dir| !taken(dir));
        let dir = dir.unwrap_or(VersionDir { version, copy: u32::MAX });
        fs::rename(&new, self.path(&dir))
            .and_then(|()| os::sync_directory(&versions))
            .map_err(io_failed("save", &self.path(&dir)))?;
        Ok(dir)
    }

    /// Finds a directory of this version that is as it should be.
    fn find(
        &self,
        version: VersionId,
        suits: impl Fn(&Path) -> Result<bool, ErrorKind>,
    ) -> Result<Option<VersionDir>, ErrorKind> {
        for dir in self.versions()?.into_iter().filter(|dir| dir.version == version) {
            if suits(&self.path(&dir))? {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    /// Finds a directory of this version that holds what was installed.
    fn find_whole(&self, version: VersionId) -> Result<Option<VersionDir>, ErrorKind> {
        self.find(version, |path| {
            let Some(leaf) = version::whole_leaf(self.plan, path)? else { return Ok(false) };
            Ok(version::read_record(path)?.is_some_and(|record| record.fingerprint == leaf))
        })
    }

    /// The directories of versions, oldest first. Names that are not ours are passed over.
    fn versions(&self) -> Result<BTreeSet<VersionDir>, ErrorKind> {
        let path = self.root.join(VERSIONS);
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&path).map_err(io_failed("list", &path))? {
            let entry = entry.map_err(io_failed("list", &path))?;
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let dir = entry.file_name().to_str().and_then(|name| name.parse().ok());
            found.extend(dir.filter(|_| is_directory));
        }
        Ok(found)
    }

    /// Removes old versions, but for the newest of them, those that are needed, and the one to go back to.
    fn prune(&self, needed: &[&VersionDir], replaced: Option<VersionId>) -> Result<(), ErrorKind> {
        let spare = |dir: &VersionDir| !needed.contains(&dir) && Some(dir.version) != replaced;
        let old: Vec<_> = self.versions()?.into_iter().filter(spare).collect();
        for dir in old.iter().rev().skip(self.plan.keep) {
            version::remove(&self.path(dir))?;
        }
        Ok(())
    }
}

fn save_names_beside(path: &Path) -> Result<(), ErrorKind> {
    let parent = path.parent().unwrap_or(path);
    match os::sync_directory(parent) {
        Err(cause) if cause.kind() != io::ErrorKind::PermissionDenied => {
            Err(io_failed("save", parent)(cause))
        }
        // A directory that may be written to but not read cannot be opened; nothing is lost but the guarantee.
        _ => Ok(()),
    }
}
