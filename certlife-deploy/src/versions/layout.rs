//! What a host may choose about versions in directories, whatever the machine.

use certlife_core::{ErrorKind, InputError, Result};

use super::{owner::Owner, tree::Rights, version, version::AllRights};
use crate::files::{self, NamedForm};

/// Settings that were checked.
#[derive(Debug)]
pub(crate) struct Layout {
    owner: Option<Owner>,
    group: Option<Owner>,
    key_mode: u32,
    certificate_mode: u32,
    directory_mode: u32,
    /// What every version consists of.
    pub(super) files: Vec<NamedForm>,
    pub(super) keep: usize,
    /// Whether keys can be made on the target.
    pub(super) makes_keys: bool,
}

/// The settings as a host wrote them, under names that all such targets have.
pub(crate) struct LayoutSettings<'a> {
    pub(crate) owner: Option<String>,
    pub(crate) group: Option<String>,
    pub(crate) key_mode: &'a str,
    pub(crate) certificate_mode: &'a str,
    pub(crate) directory_mode: &'a str,
    pub(crate) combined: bool,
    pub(crate) files: Vec<NamedForm>,
    pub(crate) keep: usize,
    pub(crate) makes_keys: bool,
}

impl LayoutSettings<'_> {
    pub(crate) fn check(self) -> Result<Layout, InputError> {
        files::check("files", &self.files, &version::TAKEN)?;
        if self.keep > 100 {
            return Err(InputError::setting("keep", "use 0 to 100"));
        }
        Ok(Layout {
            owner: self.owner.map(|owner| Owner::new("owner", owner)).transpose()?,
            group: self.group.map(|group| Owner::new("group", group)).transpose()?,
            key_mode: mode("key_mode", self.key_mode, 0o400, 0o660)?,
            certificate_mode: mode("certificate_mode", self.certificate_mode, 0o400, 0o664)?,
            directory_mode: mode("directory_mode", self.directory_mode, 0o700, 0o755)?,
            files: version::fixed(self.combined).into_iter().chain(self.files).collect(),
            keep: self.keep,
            makes_keys: self.makes_keys,
        })
    }
}

impl Layout {
    /// Which of the machine's lists of users and groups have to be read.
    pub(crate) fn lists(&self) -> (bool, bool) {
        let is_name = |owner: &Option<Owner>| matches!(owner, Some(Owner::Name(_)));
        (is_name(&self.owner), is_name(&self.group))
    }

    /// Rights on everything that is written, with names looked up in `/etc/passwd` and `/etc/group`.
    pub(crate) fn rights(&self, passwd: &str, group: &str) -> Result<AllRights, ErrorKind> {
        let user = self.owner.as_ref().map(|owner| owner.number("/etc/passwd", passwd)).transpose()?;
        let group = self.group.as_ref().map(|owner| owner.number("/etc/group", group)).transpose()?;
        Ok(AllRights {
            key: Rights { mode: self.key_mode, user, group },
            certificate: Rights { mode: self.certificate_mode, user, group },
            // Who serves the files gets no right to rearrange them.
            directory: Rights { mode: self.directory_mode, user: None, group },
        })
    }
}

/// Reads octal digits that have at least the bits of `least` and at most those of `most`.
fn mode(setting: &'static str, text: &str, least: u32, most: u32) -> Result<u32, InputError> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| octal && mode & !most == 0 && mode & least == least)
        .ok_or_else(|| {
            InputError::setting(
                setting,
                format!("use octal digits from {least:04o} to {most:04o}, such as {most:04o}"),
            )
        })
}
