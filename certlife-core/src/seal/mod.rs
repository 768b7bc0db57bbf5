//! Sealing: secrets leave this process encrypted, each under a random key of its own that a
//! [`KeyRing`] wraps.
//!
//! So a key management service sees 32 bytes a secret and never the secret, and rotating the
//! key-encryption key wraps those 32 bytes again without touching the rest. What is sealed is bound
//! to its record by a [`Binding`]: a sealed secret moved to another record does not open.

mod aead;
mod local;
mod passphrase;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::{local::LocalKeyRing, passphrase::PassphraseCost};
use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    secret::SecretBytes,
    text::VendorText,
};

/// Wraps and unwraps data keys with key-encryption keys that never leave it.
///
/// Implement it over a key management service, or use [`LocalKeyRing`].
///
/// # Contract
///
/// * **Authentic.** Unwrapping fails unless wrapped bytes, key id and context are those of the wrapping.
/// * **Rotating.** [`wrap`](Self::wrap) uses the current key; [`unwrap`](Self::unwrap) goes by
///   [`Wrapped::key_id`], for as long as secrets under an older key exist.
/// * **Concurrent.** Calls overlap.
/// * **Abandonable.** Dropping a call has no effect.
///
/// # Errors
///
/// [`ErrorKind::Unsealable`] if the key is unknown or what was wrapped has changed; otherwise what the
/// service answered, with [`Error::retry`] set, so that a service that is away does not look like a
/// lost key.
#[async_trait]
pub trait KeyRing: fmt::Debug + Send + Sync + 'static {
    /// Names the key that [`wrap`](Self::wrap) uses, in at most 512 characters. Not secret.
    fn current_key_id(&self) -> String;

    /// Wraps a data key of 32 bytes under the current key. `context` is authenticated, not hidden.
    async fn wrap(&self, data_key: &SecretBytes, context: &[u8]) -> Result<Wrapped>;

    /// Returns the data key that was wrapped with that context.
    async fn unwrap(&self, wrapped: &Wrapped, context: &[u8]) -> Result<SecretBytes>;
}

/// A data key under a key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "key rings of third parties construct it")]
pub struct Wrapped {
    /// Names the key-encryption key.
    pub key_id: String,
    /// The key ring's own format; at most 8 KiB.
    pub bytes: Vec<u8>,
}

/// What a sealed secret belongs to: it opens only with the same kind and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding(Vec<u8>);

impl Binding {
    /// Binds to the record of that kind and id, such as `key` and a [`KeyId`](crate::KeyId).
    pub fn new(kind: &str, id: impl fmt::Display) -> Self {
        // The length keeps ("ab", "c") and ("a", "bc") apart; the prefix leaves room for other formats.
        Self(format!("certlife sealed v1\0{}\0{kind}{id}", kind.len()).into_bytes())
    }

    fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A sealed secret, as it is stored. Serializes as an object with Base64 texts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    version: u8,
    key_id: String,
    #[serde(with = "base64_text")]
    wrapped_key: Vec<u8>,
    #[serde(with = "base64_text")]
    nonce: Vec<u8>,
    #[serde(with = "base64_text")]
    ciphertext: Vec<u8>,
}

impl Sealed {
    /// AES-256-GCM under a wrapped data key.
    const VERSION: u8 = 1;
    /// The longest wrapped key that is handed to a key ring.
    const MAX_WRAPPED: usize = 8 * 1_024;
    /// The longest key id that is handed to a key ring.
    const MAX_KEY_ID: usize = 512;

    /// Names the key-encryption key that it is under.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    fn wrapped(&self) -> Result<Wrapped> {
        if self.version != Self::VERSION {
            return Err(unsealable(format!("format {} is unknown to this version", self.version)));
        }
        if self.wrapped_key.len() > Self::MAX_WRAPPED || self.key_id.len() > Self::MAX_KEY_ID {
            return Err(unsealable("its wrapped key is too long"));
        }
        Ok(Wrapped { key_id: self.key_id.clone(), bytes: self.wrapped_key.clone() })
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes under {:?})", self.ciphertext.len(), VendorText::new(&self.key_id))
    }
}

/// Seals and opens secrets with the keys of one [`KeyRing`]. Cloning shares the ring.
#[derive(Debug, Clone)]
pub struct Sealer {
    ring: Arc<dyn KeyRing>,
}

impl Sealer {
    /// Seals with the keys of `ring`.
    pub fn new(ring: Arc<dyn KeyRing>) -> Self {
        Self { ring }
    }

    /// Seals `secret` for the record that `binding` names.
    ///
    /// # Errors
    ///
    /// Those of the key ring, and [`ErrorKind::Crypto`].
    pub async fn seal(&self, secret: &SecretBytes, binding: &Binding) -> Result<Sealed> {
        let key = aead::random_key()?;
        let (nonce, ciphertext) = aead::seal(&key, secret.expose(), binding.as_bytes())?;
        let wrapped = self.ring.wrap(&key, binding.as_bytes()).await?;
        Ok(Sealed {
            version: Sealed::VERSION,
            key_id: wrapped.key_id,
            wrapped_key: wrapped.bytes,
            nonce: nonce.to_vec(),
            ciphertext,
        })
    }

    /// Opens what was sealed for the record that `binding` names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsealable`] if the key ring lacks the key, or any bit of the sealed secret or of the
    /// binding is another; otherwise the key ring's.
    pub async fn open(&self, sealed: &Sealed, binding: &Binding) -> Result<SecretBytes> {
        let key = self.ring.unwrap(&sealed.wrapped()?, binding.as_bytes()).await?;
        aead::open(&key, &sealed.nonce, &sealed.ciphertext, binding.as_bytes())
            .ok_or_else(|| unsealable("its bytes were changed, or it belongs to another record"))
    }

    /// Wraps the data key again if it is not under the current key; the secret itself stays sealed.
    /// Returns none if there is nothing to do.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), except that changes to the secret itself go unnoticed.
    pub async fn reseal(&self, sealed: &Sealed, binding: &Binding) -> Result<Option<Sealed>> {
        if sealed.key_id == self.ring.current_key_id() {
            return Ok(None);
        }
        let key = self.ring.unwrap(&sealed.wrapped()?, binding.as_bytes()).await?;
        // A ring may settle on the first key that proves to be its own.
        if sealed.key_id == self.ring.current_key_id() {
            return Ok(None);
        }
        let wrapped = self.ring.wrap(&key, binding.as_bytes()).await?;
        Ok(Some(Sealed { key_id: wrapped.key_id, wrapped_key: wrapped.bytes, ..sealed.clone() }))
    }
}

fn unsealable(reason: impl Into<Cow<'static, str>>) -> Error {
    Error::new(ProviderName::ENGINE, Operation::Seal, ErrorKind::Unsealable(reason.into()))
}

fn crypto_failed() -> Error {
    Error::new(ProviderName::ENGINE, Operation::Seal, ErrorKind::Crypto)
}

mod base64_text {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
