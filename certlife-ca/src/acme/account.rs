//! The account at the CA: a key that the vault holds before the CA hears of it, and the URL that the CA
//! gave in return.
//!
//! Every step can be cut off and leads on from what the vault says: a new account is asked for again with
//! the same key and found (RFC 8555 §7.3.1), and of a key change both keys are known until one has won.

use std::{borrow::Cow, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{
    Error, ErrorKind, InputError, KeyAlgorithm, Operation, PrivateKey, Result, Retry, SecretBytes, Vault,
    http::Response, store::Revision,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;
use zeroize::Zeroizing;

use super::{
    NAME,
    jws::{self, By},
    problem::Failure,
    session::{Call, Session},
    wire::{AccountObject, Meta, NewAccount},
};

/// An account that the CA knows.
#[derive(Debug)]
pub(super) struct Account {
    key: PrivateKey,
    /// As the CA wrote it, since signatures repeat it (`kid`).
    url: String,
    thumbprint: String,
}

impl Account {
    fn new(key: PrivateKey, url: String) -> Result<Self> {
        let thumbprint = key.jwk_thumbprint()?;
        Ok(Self { key, url, thumbprint })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn signs(&self) -> By<'_> {
        By::Account { key: &self.key, url: &self.url }
    }

    /// What proves control, together with a token (RFC 8555 §8.1).
    pub(super) fn key_authorization(&self, token: &str) -> String {
        format!("{token}.{}", self.thumbprint)
    }

    fn is(&self, record: &Record) -> bool {
        self.key == record.key && record.url.as_ref() == Some(&self.url)
    }
}

/// What the host says about its account.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// In the form `mailto:…`.
    pub(super) contacts: Vec<String>,
    pub(super) terms_agreed: bool,
    pub(super) external_account: Option<ExternalBinding>,
    /// A key that was brought along.
    pub(super) key: Option<PrivateKey>,
    /// The kind of keys made here; none means ECDSA on P-256, or as before where a key is replaced.
    pub(super) algorithm: Option<KeyAlgorithm>,
}

#[derive(Debug)]
pub(super) struct ExternalBinding {
    pub(super) key_id: String,
    pub(super) mac_key: SecretBytes,
}

/// The account of one [`Acme`](super::Acme), opened when it is first needed.
#[derive(Debug)]
pub(super) struct Accounts {
    wish: Wish,
    vault: Vault,
    entry: String,
    directory: String,
    /// A cache; locked while the account is opened, so that one caller does it.
    current: Mutex<Option<Arc<Account>>>,
}

/// What the vault holds. The members in camel case of instant-acme's credentials have its names and forms, so
/// that either reads what the other wrote.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    directory: Cow<'a, str>,
    /// The account's URL, once the CA has given it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_pkcs8: Cow<'a, str>,
    /// The key that is to take the place of the other.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    next_key_pkcs8: Option<Cow<'a, str>>,
    /// The contacts that the CA was last told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    contacts: Vec<String>,
}

struct Record {
    key: PrivateKey,
    url: Option<String>,
    next: Option<PrivateKey>,
    contacts: Vec<String>,
    /// None if it is not in the vault yet.
    revision: Option<Revision>,
}

impl Accounts {
    /// How often a vault that others write to is read anew.
    const TURNS: usize = 8;

    /// `vault` may hold accounts at other servers, and keys that were brought along before: each has an entry
    /// of its own, and none is ever overwritten by another.
    pub(super) fn new(wish: Wish, vault: Vault, directory: &Url) -> Self {
        let mut named = directory.as_str().as_bytes().to_vec();
        if let Some(key) = &wish.key {
            named.extend_from_slice(key.public_key_der());
        }
        let name = URL_SAFE_NO_PAD.encode(&digest(&SHA256, &named).as_ref()[..12]);
        Self {
            wish,
            vault,
            entry: format!("acme/{name}"),
            directory: directory.to_string(),
            current: Mutex::default(),
        }
    }

    /// The account, opened or registered if need be.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] if the CA wants terms to be agreed to, or an external account, and the settings
    /// have neither; what the CA says; what the vault says.
    pub(super) async fn open(&self, session: &Session) -> Result<Arc<Account>> {
        let mut current = self.current.lock().await;
        match &*current {
            Some(account) => Ok(account.clone()),
            None => self.settle(session, &mut current).await,
        }
    }

    /// Looks whether the account has another key or URL than `stale` by now, and returns it if so. An account
    /// that the CA does not know (`missing`) is registered again.
    pub(super) async fn renewed(
        &self,
        session: &Session,
        stale: &Account,
        missing: bool,
    ) -> Result<Option<Arc<Account>>> {
        let mut current = self.current.lock().await;
        if let Some(account) = &*current
            && (account.key != stale.key || account.url != stale.url)
        {
            return Ok(Some(account.clone()));
        }
        let Some(mut record) = self.read().await? else { return Ok(None) };
        if stale.is(&record) && record.next.is_none() {
            if !missing {
                return Ok(None);
            }
            record.url = None;
            self.write(&mut record).await?;
        }
        *current = None;
        let account = self.settle(session, &mut current).await?;
        Ok((account.key != stale.key || account.url != stale.url || missing).then_some(account))
    }

    /// Replaces the account's key (RFC 8555 §7.3.5).
    pub(super) async fn roll_key(&self, session: &Session) -> Result<()> {
        let mut current = self.current.lock().await;
        *current = None;
        self.settle(session, &mut current).await?;
        let Some(mut record) = self.read().await? else {
            return Err(vault_is_corrupt("the entry of the account is gone"));
        };
        let algorithm = self.wish.algorithm.unwrap_or(record.key.algorithm());
        record.next = Some(PrivateKey::generate_off_thread(algorithm).await?);
        self.write(&mut record).await?;
        *current = None;
        match self.finish_key_change(session, &mut record).await {
            // Another process brought it to its end.
            Err(error) if is_conflict(&error) => {}
            finished => finished?,
        }
        self.settle(session, &mut current).await?;
        Ok(())
    }

    /// Asks the CA about the account, which may have another key or URL by now.
    pub(super) async fn describe(&self, session: &Session) -> Result<(Arc<Account>, AccountObject)> {
        let only_return_existing = NewAccount { only_return_existing: true, ..NewAccount::default() };
        let mut account = self.open(session).await?;
        let mut answered = new_account(session, &account.key, &only_return_existing).await;
        if let Err(failure) = &answered
            && failure.is("accountDoesNotExist")
            && let Some(renewed) = self.renewed(session, &account, true).await?
        {
            account = renewed;
            answered = new_account(session, &account.key, &only_return_existing).await;
        }
        let object = answered?.json()?;
        Ok((account, object))
    }

    /// Goes on from what the vault says until there is an account.
    async fn settle(&self, session: &Session, current: &mut Option<Arc<Account>>) -> Result<Arc<Account>> {
        for _ in 0..Self::TURNS {
            match self.step(session).await {
                Ok(Some(account)) => {
                    let account = Arc::new(account);
                    *current = Some(account.clone());
                    return Ok(account);
                }
                Ok(None) => {}
                // Another process came first; its word counts.
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let kind = ErrorKind::RevisionConflict;
        Err(session.error(Operation::OpenAccount, kind))
    }

    async fn step(&self, session: &Session) -> Result<Option<Account>> {
        let mut record = match self.read().await? {
            Some(record) => record,
            None => self.make().await?,
        };
        let Some(url) = record.url.clone() else {
            // An account that is yet to be made has no key to change.
            record.next = None;
            record.url = Some(self.register(session, &record.key).await?);
            record.contacts.clone_from(&self.wish.contacts);
            self.write(&mut record).await?;
            return Ok(None);
        };
        match self.finish_key_change(session, &mut record).await {
            Err(error) if is_conflict(&error) => return Err(error),
            // The answer was lost once more, which another attempt finds out.
            Err(error) if *error.kind() == ErrorKind::Uncertain => return Err(error.retry_as(Retry::Backoff)),
            // The CA does not want to; the account goes on with the key that it has.
            Err(error) if error.retry() == Retry::Never => {
                tracing::warn!(account = %self.vault.account(), error = %error.chain(), "the account keeps its key");
            }
            finished => finished?,
        }
        let account = Account::new(record.key.clone(), url)?;
        if record.contacts != self.wish.contacts {
            self.tell_contacts(session, &account).await?;
            record.contacts.clone_from(&self.wish.contacts);
            self.write(&mut record).await?;
        }
        Ok(Some(account))
    }

    /// Puts a key into the vault, before the CA hears of it.
    async fn make(&self) -> Result<Record> {
        let key = match &self.wish.key {
            Some(key) => key.clone(),
            None => PrivateKey::generate_off_thread(self.wish.algorithm.unwrap_or_default()).await?,
        };
        let mut record = Record { key, url: None, next: None, contacts: Vec::new(), revision: None };
        self.write(&mut record).await?;
        Ok(record)
    }

    /// Asks for an account with this key and returns its URL. If there is one already, it is that one.
    async fn register(&self, session: &Session, key: &PrivateKey) -> Result<String> {
        let directory = session.directory(Operation::OpenAccount).await?;
        if let Some(missing) = self.missing(&directory.meta) {
            // With an account that exists, nothing has to be agreed to.
            return match known_url(session, key).await? {
                Some(url) => Ok(url),
                None => Err(session.error(Operation::OpenAccount, ErrorKind::Input(missing))),
            };
        }
        let binding = |account: &ExternalBinding| {
            jws::external_binding(&account.key_id, &account.mac_key, key, &directory.new_account)
        };
        let wish = NewAccount {
            contact: &self.wish.contacts,
            terms_of_service_agreed: self.wish.terms_agreed,
            only_return_existing: false,
            external_account_binding: self.wish.external_account.as_ref().map(binding).transpose()?,
        };
        let answer = new_account(session, key, &wish).await?;
        account_url(session, &answer)
    }

    /// What the CA wants and the settings lack.
    fn missing(&self, meta: &Meta) -> Option<InputError> {
        if let Some(terms) = meta.terms_of_service.as_ref().filter(|_| !self.wish.terms_agreed) {
            let rule =
                format!("the CA asks for agreement to its terms of service, {terms}; set it to `true`");
            return Some(InputError::setting("terms_agreed", rule));
        }
        (meta.external_account_required && self.wish.external_account.is_none()).then(|| {
            let rule =
                "the CA binds each account to one that you have there; give its key id and its HMAC key";
            InputError::setting("eab", rule)
        })
    }

    async fn tell_contacts(&self, session: &Session, account: &Account) -> Result<()> {
        let url = resource(&account.url)?;
        let wish = json!({ "contact": self.wish.contacts });
        let told = session.post(&Call::send(Operation::OpenAccount, &url, &wish)?, account.signs()).await;
        match told {
            // Whoever needs the account finds that out, and mends it.
            Err(failure) if failure.is("accountDoesNotExist") => Ok(()),
            told => Ok(told.map(|_| ())?),
        }
    }

    /// Brings a key change to its end, whether it was sent before or not, and notes that end in the vault.
    async fn finish_key_change(&self, session: &Session, record: &mut Record) -> Result<()> {
        let (Some(url), Some(next)) = (record.url.clone(), record.next.clone()) else { return Ok(()) };
        let took_over = async || Ok::<_, Error>(known_url(session, &next).await?.as_ref() == Some(&url));
        if !took_over().await?
            && let Err(failure) = change_key(session, &record.key, &next, &url).await
        {
            let error = Error::from(failure);
            // Its answer may be lost, or another process may have been faster. Whoever is first has sent the
            // same key, so that the CA tells who is right.
            if !took_over().await? {
                if error.retry() == Retry::Never && *error.kind() != ErrorKind::Uncertain {
                    record.next = None;
                    self.write(record).await?;
                }
                return Err(error);
            }
        }
        record.key = next;
        record.next = None;
        self.write(record).await
    }

    async fn read(&self) -> Result<Option<Record>> {
        let Some(entry) = self.vault.read(&self.entry).await? else { return Ok(None) };
        let stored: Stored<'_> = serde_json::from_slice(entry.secret.expose())
            .map_err(|_| vault_is_corrupt("the entry of the account has an unknown form"))?;
        Ok(Some(Record {
            key: read_key(&stored.key_pkcs8)?,
            url: stored.id.map(Cow::into_owned),
            next: stored.next_key_pkcs8.as_deref().map(read_key).transpose()?,
            contacts: stored.contacts,
            revision: Some(entry.revision),
        }))
    }

    async fn write(&self, record: &mut Record) -> Result<()> {
        let key = written_key(&record.key)?;
        let next = record.next.as_ref().map(written_key).transpose()?;
        let stored = Stored {
            directory: Cow::Borrowed(&self.directory),
            id: record.url.as_deref().map(Cow::Borrowed),
            key_pkcs8: Cow::Borrowed(&key),
            next_key_pkcs8: next.as_ref().map(|next| Cow::Borrowed(next.as_str())),
            contacts: record.contacts.clone(),
        };
        let secret = serde_json::to_vec(&stored)
            .map_err(|_| vault_is_corrupt("the entry of the account cannot be written"))?;
        let revision = self.vault.write(&self.entry, &SecretBytes::new(secret), record.revision).await?;
        record.revision = Some(revision);
        Ok(())
    }
}

async fn new_account(
    session: &Session,
    key: &PrivateKey,
    wish: &NewAccount<'_>,
) -> Result<Response, Failure> {
    let directory = session.directory(Operation::OpenAccount).await?;
    let call = Call::send(Operation::OpenAccount, &directory.new_account, wish)?;
    session.post(&call, By::Key(key)).await
}

/// The URL of the account with this key, if the CA knows one (RFC 8555 §7.3.1).
async fn known_url(session: &Session, key: &PrivateKey) -> Result<Option<String>> {
    let only_return_existing = NewAccount { only_return_existing: true, ..NewAccount::default() };
    match new_account(session, key, &only_return_existing).await {
        Ok(answer) => account_url(session, &answer).map(Some),
        Err(failure) if failure.is("accountDoesNotExist") => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// The URL of the account in an answer, letter by letter if it stands alone there.
fn account_url(session: &Session, answer: &Response) -> Result<String> {
    let url = session.location(Operation::OpenAccount, answer)?;
    let text = answer.header("location").filter(|text| Url::parse(text).is_ok());
    Ok(text.map_or_else(|| url.to_string(), str::to_owned))
}

async fn change_key(
    session: &Session,
    old: &PrivateKey,
    new: &PrivateKey,
    account: &str,
) -> Result<(), Failure> {
    const OPERATION: Operation = Operation::RollAccountKey;
    let directory = session.directory(OPERATION).await?;
    let Some(url) = &directory.key_change else {
        let kind = ErrorKind::Unsupported("replacing an account key at this CA".into());
        return Err(session.error(OPERATION, kind).into());
    };
    let consent = jws::key_change(old, new, account, url)?;
    let call = Call::send(OPERATION, url, &consent)?.once();
    session.post(&call, By::Account { key: old, url: account }).await.map(|_| ())
}

fn resource(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|_| vault_is_corrupt("the account has no URL"))
}

fn written_key(key: &PrivateKey) -> Result<Zeroizing<String>> {
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(key.to_pkcs8_der()?.expose())))
}

fn read_key(text: &str) -> Result<PrivateKey> {
    let der = URL_SAFE_NO_PAD.decode(text).map(SecretBytes::new).ok();
    der.and_then(|der| PrivateKey::from_der(&der).ok())
        .ok_or_else(|| vault_is_corrupt("the key of the account is unreadable"))
}

fn is_conflict(error: &Error) -> bool {
    *error.kind() == ErrorKind::RevisionConflict
}

fn vault_is_corrupt(what: &'static str) -> Error {
    Error::new(NAME, Operation::OpenAccount, ErrorKind::Corrupt(what.into()))
}
