//! Whether a file holds what would be written now. Forms with a password are salted, so that bytes tell nothing.

use super::{
    Form, KeyEncoding, Keystore, PemContents,
    encryption::{self, Budget},
};
#[cfg(any(feature = "jks", feature = "pkcs12"))]
use super::{FriendlyName, read::Gathered};
use crate::{pem, secret::Secret};

impl Keystore {
    /// Whether `bytes` are what [`encode`](Self::encode) writes in this form, but for salt: the same certificates in
    /// the same order, the same key, the same name, under the same password and kind of protection.
    ///
    /// With a password it takes as long as [`read`](super::read) does.
    pub fn is_written_in(&self, bytes: &[u8], form: &Form) -> bool {
        let Some(password) = form.password() else {
            return self.encode(form).is_ok_and(|wanted| wanted.expose() == bytes);
        };
        match form {
            Form::Pem { contents, .. } => self.is_encrypted_pem(bytes, *contents, password).unwrap_or(false),
            Form::Der { .. } => self.is_encrypted_key(bytes, password),
            Form::Pkcs7 { .. } => false,
            #[cfg(feature = "pkcs12")]
            Form::Pkcs12 { protection, friendly_name, .. } => {
                let name = friendly_name.as_ref().unwrap_or(self.name()).as_str();
                super::pkcs12::read(bytes, Some(password), &mut Budget::new())
                    .is_ok_and(|(found, its)| its == Some(*protection) && self.is_all_of(&found, name))
            }
            #[cfg(feature = "jks")]
            Form::Jks { alias, .. } => {
                let alias = super::jks::written_alias(alias.as_ref().unwrap_or(self.name()));
                super::jks::read(bytes, Some(password)).is_ok_and(|found| self.is_all_of(&found, &alias))
            }
        }
    }

    fn is_encrypted_pem(&self, bytes: &[u8], contents: PemContents, password: &Secret) -> Option<bool> {
        let plain = self.pem(contents, KeyEncoding::Pkcs8, None).ok()?;
        let wanted = pem::blocks(std::str::from_utf8(plain.expose()).ok()?).ok()?;
        let found = pem::blocks(std::str::from_utf8(bytes).ok()?).ok()?;
        let same = wanted.len() == found.len()
            && wanted.iter().zip(&found).all(|(wanted, found)| match (wanted.label, found.label) {
                ("PRIVATE KEY", label) => {
                    label == "ENCRYPTED PRIVATE KEY" && self.is_encrypted_key(&found.der, password)
                }
                (wanted_label, label) => wanted_label == label && wanted.der == found.der,
            });
        Some(same)
    }

    fn is_encrypted_key(&self, der: &[u8], password: &Secret) -> bool {
        encryption::read_pkcs8(der, Some(password), &mut Budget::new())
            .is_ok_and(|key| self.key() == Some(&key))
    }

    #[cfg(any(feature = "jks", feature = "pkcs12"))]
    fn is_all_of(&self, found: &Gathered, name: &str) -> bool {
        let [(key, its_name)] = &found.keys[..] else { return false };
        self.key() == Some(key)
            && its_name.as_ref().map(FriendlyName::as_str) == Some(name)
            && self.chain().certificates().map(AsRef::as_ref).eq(found.certificates.iter().map(Vec::as_slice))
    }
}
