//! A key ring in this process: from a passphrase or from a raw key.

use std::{
    fmt,
    sync::{PoisonError, RwLock},
};

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::{
    KeyRing, PassphraseCost, Wrapped,
    aead::{self, KEY_LEN},
    passphrase::{DerivedKeyId, Passphrase},
    unsealable,
};
use crate::{
    digest::{from_hex, to_hex},
    error::{Error, Operation, Result},
    input::InputError,
    secret::{Secret, SecretBytes},
    text::VendorText,
};

/// Key-encryption keys held in this process: one that wraps, and older ones that only unwrap.
///
/// A passphrase is turned into a key by Argon2id, which costs time once a salt. So a ring that has
/// sealed nothing yet goes on with the salt of the first secret that it opens, if that stands for at
/// least the work it asks for: open one before you seal, as the engine does, and restarts add no salts.
pub struct LocalKeyRing {
    current: Current,
    /// Everything that unwraps, the current one first.
    sources: Vec<Source>,
}

enum Current {
    Raw(String),
    Derived(RwLock<Salted>),
}

/// The current key id of a passphrase.
struct Salted {
    id: DerivedKeyId,
    /// Whether the id stays: something was sealed under it, or it was taken over from before.
    settled: bool,
}

enum Source {
    Raw { id: String, key: SecretBytes },
    Passphrase(Passphrase),
}

impl LocalKeyRing {
    /// Derives the key from `passphrase`, at the first use and on a blocking thread.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`](crate::InputError) if the passphrase is empty, and
    /// [`ErrorKind::Crypto`](crate::ErrorKind::Crypto).
    pub fn from_passphrase(passphrase: Secret, cost: PassphraseCost) -> Result<Self> {
        if passphrase.is_empty() {
            return Err(bad_setting("passphrase", "it must not be empty"));
        }
        let id = DerivedKeyId::random(cost)?;
        Ok(Self {
            current: Current::Derived(RwLock::new(Salted { id, settled: false })),
            sources: vec![Source::Passphrase(Passphrase::new(passphrase))],
        })
    }

    /// Takes 32 random bytes as the key.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`](crate::InputError) if there are not exactly 32.
    pub fn from_key(key: SecretBytes) -> Result<Self> {
        if key.expose().len() != KEY_LEN {
            return Err(bad_setting("key", "a key has exactly 32 bytes"));
        }
        let digest = digest(&SHA256, &[b"certlife key id\0", key.expose()].concat());
        let id = format!("raw:{}", to_hex(&digest.as_ref()[..8]));
        Ok(Self { current: Current::Raw(id.clone()), sources: vec![Source::Raw { id, key }] })
    }

    /// Takes 32 random bytes, written in hexadecimal digits or Base64, as the key.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`](crate::InputError) if the text is neither, or not 32 bytes long.
    pub fn from_key_text(text: &Secret) -> Result<Self> {
        let bytes = key_bytes(text.expose().trim());
        let bytes =
            bytes.ok_or_else(|| bad_setting("key", "use 64 hexadecimal digits, or 32 bytes in Base64"))?;
        Self::from_key(SecretBytes::new(bytes))
    }

    /// Opens what `older` sealed too, and seals nothing under it. Resealing then moves everything over.
    #[must_use]
    pub fn also_opens(mut self, older: Self) -> Self {
        self.sources.extend(older.sources);
        self
    }

    /// Goes on sealing under an earlier key id of the same passphrase, without opening a secret first.
    ///
    /// Nothing tells here whether the passphrase is still the same. After a change of passphrase, make
    /// a ring from the new one, let it [`also_open`](Self::also_opens) the old one, and do not adopt.
    ///
    /// # Errors
    ///
    /// [`InputError`](crate::InputError) if this ring seals under a raw key, or if the id is malformed or
    /// stands for less work than this ring asks for.
    pub fn adopt(&self, key_id: &str) -> Result<()> {
        let Current::Derived(current) = &self.current else {
            return Err(bad_setting("key_id", "a ring with a raw key has no other id"));
        };
        let adopted: DerivedKeyId = key_id.parse().map_err(|error| Error::input(Operation::Seal, error))?;
        let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
        if !adopted.cost.is_at_least(current.id.cost) {
            return Err(bad_setting(
                "key_id",
                "it stands for less work than this ring asks for; reseal instead",
            ));
        }
        *current = Salted { id: adopted, settled: true };
        Ok(())
    }

    /// The key of one source that goes by that id.
    async fn key(source: &Source, id: &KeyRef) -> Result<Option<SecretBytes>> {
        match (source, id) {
            (Source::Raw { id: known, key }, KeyRef::Raw(id)) if known == id => Ok(Some(key.clone())),
            (Source::Passphrase(passphrase), KeyRef::Derived(id)) => passphrase.key(id).await.map(Some),
            _ => Ok(None),
        }
    }

    fn current(&self) -> KeyRef {
        match &self.current {
            Current::Raw(id) => KeyRef::Raw(id.clone()),
            Current::Derived(current) => {
                KeyRef::Derived(current.read().unwrap_or_else(PoisonError::into_inner).id.clone())
            }
        }
    }

    /// The current key, from now on for good.
    fn settle(&self) -> KeyRef {
        if let Current::Derived(current) = &self.current {
            current.write().unwrap_or_else(PoisonError::into_inner).settled = true;
        }
        self.current()
    }

    /// Takes over the salt of a secret that the current passphrase has just opened.
    fn take_over(&self, opened: DerivedKeyId) {
        let Current::Derived(current) = &self.current else { return };
        let mut current = current.write().unwrap_or_else(PoisonError::into_inner);
        if !current.settled && opened.cost.is_at_least(current.id.cost) {
            *current = Salted { id: opened, settled: true };
        }
    }

    /// How often a key was derived from a passphrase.
    #[cfg(test)]
    pub(super) fn derivations(&self) -> usize {
        let count = |source: &Source| match source {
            Source::Raw { .. } => 0,
            Source::Passphrase(passphrase) => passphrase.derivations(),
        };
        self.sources.iter().map(count).sum()
    }
}

/// A key id, parsed.
enum KeyRef {
    Raw(String),
    Derived(DerivedKeyId),
}

impl KeyRef {
    fn read(id: &str) -> Result<Self> {
        if !id.starts_with("argon2id:") {
            return Ok(Self::Raw(id.to_owned()));
        }
        // A stored id could ask for any amount of memory; reading it checks the limits.
        id.parse().map(Self::Derived).map_err(|error| unsealable("its key id is malformed").because(error))
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raw(id) => f.write_str(id),
            Self::Derived(id) => fmt::Display::fmt(id, f),
        }
    }
}

#[async_trait]
impl KeyRing for LocalKeyRing {
    fn current_key_id(&self) -> String {
        self.current().to_string()
    }

    async fn wrap(&self, data_key: &SecretBytes, context: &[u8]) -> Result<Wrapped> {
        let id = self.settle();
        let source = self.sources.first().ok_or_else(|| unsealable("the key ring is empty"))?;
        let key =
            Self::key(source, &id).await?.ok_or_else(|| unsealable("the key ring has no current key"))?;
        let bytes = aead::wrap(&key, data_key.expose(), context)?;
        Ok(Wrapped { key_id: id.to_string(), bytes })
    }

    async fn unwrap(&self, wrapped: &Wrapped, context: &[u8]) -> Result<SecretBytes> {
        let id = KeyRef::read(&wrapped.key_id)?;
        let mut tried = false;
        for (position, source) in self.sources.iter().enumerate() {
            let Some(key) = Self::key(source, &id).await? else { continue };
            if let Some(data_key) = aead::unwrap(&key, &wrapped.bytes, context) {
                if let (0, KeyRef::Derived(id)) = (position, id) {
                    self.take_over(id);
                }
                return Ok(data_key);
            }
            tried = true;
        }
        Err(match (tried, id) {
            (false, id) => {
                unsealable(format!("the key ring has no key {}", VendorText::new(&id.to_string())))
            }
            (true, KeyRef::Derived(_)) => unsealable(
                "another passphrase sealed it, its bytes were changed, or it belongs to another record",
            ),
            (true, KeyRef::Raw(_)) => unsealable("its bytes were changed, or it belongs to another record"),
        })
    }
}

impl fmt::Debug for LocalKeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKeyRing")
            .field("current", &self.current_key_id())
            .field("opens", &self.sources.len())
            .finish_non_exhaustive()
    }
}

/// Base64 in both alphabets, padded or not.
fn key_bytes(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    if text.len() == 2 * KEY_LEN {
        return from_hex(text);
    }
    let standard = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
    let plain = Zeroizing::new(text.replace('-', "+").replace('_', "/"));
    standard.decode(plain.as_bytes()).ok()
}

fn bad_setting(setting: &'static str, rule: &'static str) -> Error {
    Error::input(Operation::Seal, InputError::setting(setting, rule))
}
