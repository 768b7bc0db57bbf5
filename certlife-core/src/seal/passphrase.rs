//! Keys from passphrases through Argon2id (RFC 9106), each derived once a process.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::sync::Semaphore;

use super::{aead::KEY_LEN, crypto_failed, unsealable};
use crate::{
    error::Result,
    input::InputError,
    secret::{Secret, SecretBytes},
};

/// How much work it is to turn a passphrase into a key (RFC 9106 §3.1). Part of the key id.
///
/// Defaults to 64 MiB, three passes and one lane, the second recommended option of RFC 9106 §4 with
/// fewer lanes: about a quarter of a second, once a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassphraseCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl PassphraseCost {
    /// The least work there is: for tests only.
    pub const WEAKEST: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    /// What a key id from the store may make us spend.
    const MOST: Self = Self { memory_kib: 1_024 * 1_024, passes: 16, lanes: 16 };

    /// Sets memory in KiB, passes over it, and lanes.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] unless memory is 8 KiB a lane to 1 GiB, passes are 1 to 16 and lanes 1 to 16.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, InputError> {
        let within = (1..=Self::MOST.lanes).contains(&lanes)
            && (1..=Self::MOST.passes).contains(&passes)
            && (8 * lanes..=Self::MOST.memory_kib).contains(&memory_kib);
        within.then_some(Self { memory_kib, passes, lanes }).ok_or_else(|| {
            InputError::setting(
                "passphrase_cost",
                "memory is 8 KiB a lane to 1 GiB, passes are 1 to 16 and lanes 1 to 16",
            )
        })
    }

    /// Whether no part of this is below `floor`.
    pub(super) fn is_at_least(self, floor: Self) -> bool {
        self.memory_kib >= floor.memory_kib && self.passes >= floor.passes
    }
}

impl Default for PassphraseCost {
    fn default() -> Self {
        Self { memory_kib: 64 * 1_024, passes: 3, lanes: 1 }
    }
}

/// The id of a key derived from a passphrase: all that is needed to derive it again, except the
/// passphrase. As text: `argon2id:m=65536,t=3,p=1:<salt in Base64url>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DerivedKeyId {
    pub(super) cost: PassphraseCost,
    salt: Vec<u8>,
}

impl DerivedKeyId {
    /// The length of a salt (RFC 9106 §3.1).
    const SALT_LEN: usize = 16;

    /// Makes an id with a random salt.
    pub(super) fn random(cost: PassphraseCost) -> Result<Self> {
        let mut salt = vec![0; Self::SALT_LEN];
        rand::fill(&mut salt).map_err(|_| crypto_failed())?;
        Ok(Self { cost, salt })
    }
}

impl fmt::Display for DerivedKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PassphraseCost { memory_kib, passes, lanes } = self.cost;
        write!(f, "argon2id:m={memory_kib},t={passes},p={lanes}:{}", URL_SAFE_NO_PAD.encode(&self.salt))
    }
}

impl FromStr for DerivedKeyId {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let malformed = || InputError::Value {
            field: "key id".into(),
            value: text.into(),
            rule: "it reads argon2id:m=<KiB>,t=<passes>,p=<lanes>:<salt of 16 bytes in Base64url>".into(),
        };
        let (costs, salt) =
            text.strip_prefix("argon2id:").and_then(|rest| rest.split_once(':')).ok_or_else(malformed)?;
        let mut numbers = costs
            .split(',')
            .zip(["m=", "t=", "p="])
            .map(|(part, name)| part.strip_prefix(name)?.parse().ok());
        let mut number = || numbers.next().flatten().ok_or_else(malformed);
        let cost = PassphraseCost::new(number()?, number()?, number()?)?;
        let salt = URL_SAFE_NO_PAD.decode(salt).ok().filter(|salt| salt.len() == Self::SALT_LEN);
        let id = Self { cost, salt: salt.ok_or_else(malformed)? };
        // One text an id, so that texts can be compared.
        if id.to_string() == text { Ok(id) } else { Err(malformed()) }
    }
}

/// The most derived keys that are kept.
const MAX_DERIVED: usize = 256;

/// Derived keys by their ids.
type Derived = BTreeMap<String, SecretBytes>;

/// A passphrase and the keys derived from it so far.
pub(super) struct Passphrase {
    secret: Secret,
    derived: Arc<Mutex<Derived>>,
    /// One derivation at a time: each holds its memory for as long as it runs.
    turn: Arc<Semaphore>,
    #[cfg(test)]
    derivations: std::sync::atomic::AtomicUsize,
}

impl Passphrase {
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            secret,
            derived: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
            #[cfg(test)]
            derivations: std::sync::atomic::AtomicUsize::default(),
        }
    }

    /// The key of that id, derived on a blocking thread unless it is known.
    pub(super) async fn key(&self, id: &DerivedKeyId) -> Result<SecretBytes> {
        let text = id.to_string();
        if let Some(key) = self.known(&text) {
            return Ok(key);
        }
        // Held by the thread rather than by this future, which may be dropped while the thread works.
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| crypto_failed())?;
        if let Some(key) = self.known(&text) {
            return Ok(key);
        }
        #[cfg(test)]
        self.derivations.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (secret, id, derived) = (self.secret.clone(), id.clone(), self.derived.clone());
        tokio::task::spawn_blocking(move || {
            let key = derive(&secret, &id)?;
            remember(&derived, text, key.clone());
            // Only now may the next one look.
            drop(turn);
            Ok(key)
        })
        .await
        .map_err(|stopped| crypto_failed().because(stopped))?
    }

    fn known(&self, id: &str) -> Option<SecretBytes> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// How often a key was derived.
    #[cfg(test)]
    pub(super) fn derivations(&self) -> usize {
        self.derivations.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Keeps a derived key, in place of another if there are too many.
fn remember(derived: &Mutex<Derived>, id: String, key: SecretBytes) {
    let mut derived = derived.lock().unwrap_or_else(PoisonError::into_inner);
    if derived.len() >= MAX_DERIVED {
        derived.pop_first();
    }
    derived.insert(id, key);
}

fn derive(secret: &Secret, id: &DerivedKeyId) -> Result<SecretBytes> {
    let PassphraseCost { memory_kib, passes, lanes } = id.cost;
    let parameters = Params::new(memory_kib, passes, lanes, Some(KEY_LEN))
        .map_err(|_| unsealable("its key id has costs that Argon2id does not allow"))?;
    let mut key = zeroize::Zeroizing::new(vec![0; KEY_LEN]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(secret.expose().as_bytes(), &id.salt, &mut key)
        .map_err(|_| crypto_failed())?;
    Ok(SecretBytes::new(key.to_vec()))
}
