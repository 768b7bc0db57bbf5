//! Certificate, chain and key in the forms that servers and people keep them in.
//!
//! A [`Keystore`] is what a version is made of; [`Keystore::encode`] writes it in a [`Form`], which is what settings
//! carry. PEM, DER, PKCS#7 and encrypted PKCS#8 are always there; PKCS#12 and JKS are features of this crate.
//!
//! PKCS#12 and JKS are written and read by this module instead of a crate. `p12-keystore` gives the certificate no
//! friendly name but its subject, which is what Windows then shows, and derives as often as a file asks for; `jks`
//! panics on broken files, reserves what a file claims, and reads the system clock.

mod ber;
mod compare;
mod encryption;
mod form;
#[cfg(feature = "jks")]
mod jks;
mod name;
#[cfg(feature = "pkcs12")]
mod pkcs12;
mod pkcs7;
mod read;
#[cfg(test)]
mod tests;
mod tlv;

use std::borrow::Cow;

use zeroize::Zeroizing;

#[cfg(feature = "pkcs12")]
pub use self::form::Protection;
pub use self::{
    form::{DerContents, Form, KeyEncoding, PemContents, Pkcs7Encoding},
    name::FriendlyName,
    read::{Contents, Format, Missing, read},
};
use crate::{
    input::InputError,
    key::PrivateKey,
    pem,
    secret::{Secret, SecretBytes},
    x509::Chain,
};

/// A certificate with its chain, its private key if it is here, and a name for people.
#[derive(Debug, Clone)]
pub struct Keystore {
    chain: Chain,
    key: Option<PrivateKey>,
    name: FriendlyName,
}

impl Keystore {
    /// Puts a chain and the key of its leaf together. The name becomes the leaf's first identifier.
    ///
    /// # Errors
    ///
    /// [`InputError::PrivateKey`] if the key is another certificate's, [`InputError::Certificate`] if the leaf
    /// cannot be read.
    pub fn new(chain: Chain, key: Option<PrivateKey>) -> Result<Self, InputError> {
        let leaf = chain.info()?;
        if key.as_ref().is_some_and(|key| key.public_key_hash() != leaf.key_hash) {
            return Err(InputError::PrivateKey { rule: "it is not the key of the certificate".into() });
        }
        let name = leaf.identifiers.first().map(ToString::to_string);
        let name = name.and_then(|name| FriendlyName::new(name).ok()).unwrap_or_default();
        Ok(Self { chain, key, name })
    }

    /// Names the entry: the friendly name in PKCS#12, the alias in JKS. A name in a [`Form`] goes before it.
    #[must_use]
    pub fn named(mut self, name: FriendlyName) -> Self {
        self.name = name;
        self
    }

    /// Leaf and intermediates.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The leaf's private key, if it is here.
    pub fn key(&self) -> Option<&PrivateKey> {
        self.key.as_ref()
    }

    /// The name for people.
    pub fn name(&self) -> &FriendlyName {
        &self.name
    }

    /// Writes everything in one form. [`Form::holds_key`] tells whether the bytes are secret.
    ///
    /// Forms with a password are salted: no two calls give the same bytes. With a password it takes up to a tenth
    /// of a second of one core.
    ///
    /// # Errors
    ///
    /// Those of [`Form::check`], and [`InputError::PrivateKey`] if the form needs a key and there is none, or it has
    /// no such form.
    pub fn encode(&self, form: &Form) -> Result<SecretBytes, InputError> {
        form.check()?;
        match form {
            Form::Pem { contents, key, password } => self.pem(*contents, *key, password.as_ref()),
            Form::Der { contents: DerContents::Certificate, .. } => {
                Ok(SecretBytes::new(self.chain.leaf().to_vec()))
            }
            Form::Der { contents: DerContents::Key, password } => self.der_key(password.as_ref()),
            Form::Pkcs7 { encoding } => {
                let der = pkcs7::write(&self.chain);
                Ok(SecretBytes::new(match encoding {
                    Pkcs7Encoding::Der => der,
                    Pkcs7Encoding::Pem => pem::encode(pkcs7::LABEL, &der).into_bytes(),
                }))
            }
            #[cfg(feature = "pkcs12")]
            Form::Pkcs12 { password, protection, friendly_name } => {
                let name = friendly_name.as_ref().unwrap_or(&self.name);
                pkcs12::write(&self.chain, self.needed_key()?, name, password, *protection)
            }
            #[cfg(feature = "jks")]
            Form::Jks { password, alias } => {
                let alias = alias.as_ref().unwrap_or(&self.name);
                jks::write(&self.chain, self.needed_key()?, alias, password)
            }
        }
    }

    fn pem(
        &self,
        contents: PemContents,
        encoding: KeyEncoding,
        password: Option<&Secret>,
    ) -> Result<SecretBytes, InputError> {
        let text = match contents {
            PemContents::Certificate => Zeroizing::new(self.chain.leaf_pem()),
            PemContents::Intermediates => Zeroizing::new(self.chain.intermediates_pem()),
            PemContents::FullChain => Zeroizing::new(self.chain.pem()),
            PemContents::RootFirst => Zeroizing::new(self.root_first()),
            PemContents::Key => self.pem_key(encoding, password)?,
            PemContents::KeyAndFullChain => joined(&self.pem_key(encoding, password)?, &self.chain.pem()),
            PemContents::FullChainAndKey => joined(&self.chain.pem(), &self.pem_key(encoding, password)?),
        };
        Ok(SecretBytes::new(text.as_bytes().to_vec()))
    }

    fn root_first(&self) -> String {
        let mut certificates: Vec<_> = self.chain.certificates().collect();
        certificates.reverse();
        certificates.into_iter().map(|der| pem::encode("CERTIFICATE", der)).collect()
    }

    fn pem_key(
        &self,
        encoding: KeyEncoding,
        password: Option<&Secret>,
    ) -> Result<Zeroizing<String>, InputError> {
        let key = self.needed_key()?;
        let text = match (encoding, password) {
            (KeyEncoding::Pkcs8, None) => pem::encode("PRIVATE KEY", pkcs8(key)?.expose()),
            (KeyEncoding::Pkcs8, Some(password)) => pem::encode(
                "ENCRYPTED PRIVATE KEY",
                encryption::write_pkcs8(&pkcs8(key)?, password)?.expose(),
            ),
            (KeyEncoding::Traditional, _) => {
                let (label, der) = key
                    .to_traditional_der()
                    .map_err(|_| not_encoded())?
                    .ok_or_else(|| unusable(format!("{} keys have no form but PKCS#8", key.algorithm())))?;
                pem::encode(label, der.expose())
            }
        };
        Ok(Zeroizing::new(text))
    }

    fn der_key(&self, password: Option<&Secret>) -> Result<SecretBytes, InputError> {
        let der = pkcs8(self.needed_key()?)?;
        match password {
            None => Ok(der),
            Some(password) => encryption::write_pkcs8(&der, password),
        }
    }

    fn needed_key(&self) -> Result<&PrivateKey, InputError> {
        self.key.as_ref().ok_or_else(|| unusable("this form holds the private key, which is not here"))
    }
}

fn joined(first: &str, second: &str) -> Zeroizing<String> {
    // With room for both, nothing is left behind unwiped when the text grows.
    let mut text = Zeroizing::new(String::with_capacity(first.len() + second.len()));
    text.push_str(first);
    text.push_str(second);
    text
}

fn pkcs8(key: &PrivateKey) -> Result<SecretBytes, InputError> {
    key.to_pkcs8_der().map_err(|_| not_encoded())
}

fn not_encoded() -> InputError {
    unusable("the cryptographic library could not encode it")
}

fn unusable(rule: impl Into<Cow<'static, str>>) -> InputError {
    InputError::PrivateKey { rule: rule.into() }
}
