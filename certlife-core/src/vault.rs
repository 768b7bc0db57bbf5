//! A sealed place for what a provider must remember, such as the key of an ACME account.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    id::AccountName,
    input::InputError,
    seal::{Binding, Sealed, Sealer},
    secret::SecretBytes,
    store::{Batch, Cursor, Draft, Field, Key, Kind, Page, Query, Revision, Store, Write},
};

/// The sealed entries of one account.
///
/// A provider may be dropped and rebuilt between any two calls, so what it must not lose lives here. Each
/// entry is sealed by itself and bound to its name; writes compare revisions, so that two processes that
/// share an account notice each other.
#[derive(Debug, Clone)]
pub struct Vault {
    store: Arc<dyn Store>,
    sealer: Sealer,
    account: AccountName,
}

/// What an entry holds.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "a pair")]
pub struct VaultEntry {
    /// The secret.
    pub secret: SecretBytes,
    /// What the next write has to name.
    pub revision: Revision,
}

#[derive(Serialize, Deserialize)]
struct Body {
    sealed: Sealed,
}

impl Vault {
    /// Opens the vault of `account` in `store`.
    pub fn new(store: Arc<dyn Store>, sealer: Sealer, account: AccountName) -> Self {
        Self { store, sealer, account }
    }

    /// The account whose vault this is.
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsealable`] if the key ring cannot open it, and what the store says.
    pub async fn read(&self, entry: &str) -> Result<Option<VaultEntry>> {
        let key = self.key(entry)?;
        let Some(record) = self.store.get(&key).await? else { return Ok(None) };
        let body: Body = serde_json::from_str(&record.body).map_err(|error| {
            Error::new(ProviderName::ENGINE, Operation::ReadStore, ErrorKind::Corrupt("a vault entry".into()))
                .because(error)
        })?;
        let secret = self.sealer.open(&body.sealed, &binding(&key)).await?;
        Ok(Some(VaultEntry { secret, revision: record.revision }))
    }

    /// Writes an entry and returns its revision. `replaces` is the revision that was read, or none if the
    /// entry must not exist yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RevisionConflict`] if another writer came first.
    pub async fn write(
        &self,
        entry: &str,
        secret: &SecretBytes,
        replaces: Option<Revision>,
    ) -> Result<Revision> {
        let key = self.key(entry)?;
        let sealed = self.sealer.seal(secret, &binding(&key)).await?;
        let index = [(Field::Owner, self.account.to_string())].into();
        let body = serde_json::to_string(&Body { sealed }).map_err(|error| {
            Error::new(
                ProviderName::ENGINE,
                Operation::WriteStore,
                ErrorKind::Corrupt("a vault entry".into()),
            )
            .because(error)
        })?;
        let draft = Draft { key, body, due: None, index };
        let write = match replaces {
            None => Write::Insert(draft),
            Some(revision) => Write::Replace(draft, revision),
        };
        self.store.commit(Batch { leases: Vec::new(), writes: vec![write] }).await?;
        Ok(replaces.unwrap_or(0) + 1)
    }

    /// Removes an entry whose revision is the one given.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RevisionConflict`] if another writer came first.
    pub async fn delete(&self, entry: &str, revision: Revision) -> Result<()> {
        let write = Write::Delete(self.key(entry)?, revision);
        self.store.commit(Batch { leases: Vec::new(), writes: vec![write] }).await?;
        Ok(())
    }

    /// Lists the names of the entries, a page at a time.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn entries(&self, after: Option<Cursor>, limit: usize) -> Result<Page<String>> {
        let query =
            Query::all(Kind::Vault).having(Field::Owner, self.account.as_str()).after(after).limit(limit);
        let page = self.store.list(&query).await?;
        let prefix = format!("{}/", self.account);
        page.try_map(|record| Ok(record.key.id.strip_prefix(&prefix).unwrap_or(&record.key.id).to_owned()))
    }

    fn key(&self, entry: &str) -> Result<Key> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        if entry.is_empty() || entry.len() > 120 || !entry.bytes().all(plain) {
            let rule = "1 to 120 letters, digits, `-`, `_`, `.` or `/`".into();
            let input = InputError::Value { field: "vault entry".into(), value: entry.into(), rule };
            return Err(Error::input(Operation::WriteStore, input));
        }
        Ok(Key::new(Kind::Vault, format_args!("{}/{entry}", self.account)))
    }
}

fn binding(key: &Key) -> Binding {
    Binding::new(key.kind.as_str(), &key.id)
}
