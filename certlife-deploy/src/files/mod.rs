//! A version as named files: what each contains, and who may read it.
//!
//! Targets that keep certificates in files share this. Where the files go, with which rights and how they come into
//! place at once is each target's own affair.

mod name;

use certlife_core::{
    ErrorKind, InputError, Keystore, SecretBytes,
    deploy::Bundle,
    keystore::{Form, PemContents},
};
use schemars::JsonSchema;
use serde::Deserialize;

pub use self::name::FileName;

/// A file to write for each version, in a form of the host's choice: `{"name": "site.pfx", "form": {"format": "pkcs12",
/// "password": "…"}}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NamedForm {
    /// The name of the file, without a directory.
    pub name: FileName,
    /// What it contains.
    pub form: Form,
}

impl NamedForm {
    /// A file of this name in this form.
    pub fn new(name: FileName, form: Form) -> Self {
        Self { name, form }
    }

    pub(crate) fn pem(name: &'static str, contents: PemContents) -> Self {
        Self { name: FileName::ours(name), form: Form::pem(contents) }
    }
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Everybody: certificates alone.
    Open,
    /// Those who serve the certificate: it holds the private key, encrypted or not.
    Secret,
}

/// One file of a version, ready to be written.
#[derive(Debug)]
pub(crate) struct Rendered<'a> {
    pub(crate) name: &'a FileName,
    pub(crate) class: Class,
    pub(crate) content: SecretBytes,
}

/// Puts what a bundle holds together.
///
/// # Errors
///
/// [`ErrorKind::BadCertificate`] if the key is not the leaf's.
pub(crate) fn keystore_of(bundle: &Bundle) -> Result<Keystore, ErrorKind> {
    Keystore::new(bundle.chain.clone(), bundle.key.clone())
        .map_err(|error| ErrorKind::BadCertificate(error.to_string().into()))
}

/// Renders every file.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] names the file that needs a key which is not here, or a form that the key does not have.
pub(crate) fn render<'a>(
    files: impl IntoIterator<Item = &'a NamedForm>,
    keystore: &Keystore,
) -> Result<Vec<Rendered<'a>>, ErrorKind> {
    files.into_iter().map(|file| render_one(file, keystore)).collect()
}

fn render_one<'a>(file: &'a NamedForm, keystore: &Keystore) -> Result<Rendered<'a>, ErrorKind> {
    let NamedForm { name, form } = file;
    if form.holds_key() && keystore.key().is_none() {
        return Err(ErrorKind::Unsupported(format!("{name} without the private key").into()));
    }
    let content = keystore
        .encode(form)
        .map_err(|error| ErrorKind::Unsupported(format!("writing {name}: {error}").into()))?;
    Ok(Rendered { name, class: if form.holds_key() { Class::Secret } else { Class::Open }, content })
}

/// Whether a file holds what would be written now. Forms with a password are salted, so that it is read instead of
/// compared.
pub(crate) fn holds(found: &[u8], file: &NamedForm, keystore: &Keystore) -> bool {
    keystore.is_written_in(found, &file.form)
}

/// Checks the files of a setting: forms that can be written, each name once, and none that the target takes itself.
///
/// # Errors
///
/// [`InputError::Setting`] names the entry and the rule.
pub(crate) fn check(setting: &str, files: &[NamedForm], taken: &[&str]) -> Result<(), InputError> {
    for (place, file) in files.iter().enumerate() {
        let entry = format!("{setting}[{place}]");
        file.form.check().map_err(|error| match error {
            InputError::Setting { setting, rule } => {
                InputError::Setting { setting: format!("{entry}.form.{setting}").into(), rule }
            }
            other => other,
        })?;
        let same = |other: &str| other.eq_ignore_ascii_case(file.name.as_str());
        if taken.iter().any(|taken| same(taken)) {
            return Err(InputError::setting(
                format!("{entry}.name"),
                "choose another: the target has a file of that name",
            ));
        }
        // Some file systems ignore case.
        if files[..place].iter().any(|earlier| same(earlier.name.as_str())) {
            return Err(InputError::setting(
                format!("{entry}.name"),
                "choose another: two files cannot have one name",
            ));
        }
    }
    Ok(())
}
