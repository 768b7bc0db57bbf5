//! What CA accounts may order: read once a week and on demand, kept, and asked about every wish before it is sent.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Context, Engine,
    accounts::CaAccount,
    backoff::{Backoff, fraction},
    routes::Proofs,
};
use crate::{
    ca::{Catalog, OrderRequest},
    error::{Error, Operation, Result},
    id::AccountName,
    input::InputError,
    journal::{Changes, Document, Stored, lost_race},
    store::{AfterCommit, Index, Kind, Lease, Record},
    time::Timestamp,
};

const WEEKLY: Duration = Duration::from_hours(7 * 24);
/// How often an account is looked for that another process may have.
const ABSENT: Duration = Duration::from_hours(1);
/// A catalog as young as this is not read again because a wish does not fit it.
const FRESH: Duration = Duration::from_hours(1);

/// The catalog of an account as last read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredCatalog {
    account: AccountName,
    #[serde(default)]
    catalog: Option<Catalog>,
    #[serde(default)]
    read_at: Option<Timestamp>,
    /// Attempts to read it that failed since the last that did not.
    #[serde(default)]
    attempts: u32,
}

impl Document for StoredCatalog {
    const KIND: Kind = Kind::Catalog;

    fn id(&self) -> String {
        self.account.to_string()
    }

    fn index(&self) -> Index {
        Index::new()
    }
}

impl StoredCatalog {
    fn unread(account: AccountName) -> Self {
        Self { account, catalog: None, read_at: None, attempts: 0 }
    }

    /// Takes over what was read, and tells when to read again: not all accounts at once.
    fn read(&mut self, catalog: Catalog, now: Timestamp) -> Timestamp {
        (self.catalog, self.read_at, self.attempts) = (Some(catalog), Some(now), 0);
        now + WEEKLY + (WEEKLY / 7).mul_f64(fraction(self.account.as_str(), 2))
    }
}

/// Puts accounts that were added, and have a catalog, on the schedule.
pub(super) async fn schedule(context: &Context) -> Result<()> {
    for account in context.accounts.unscheduled() {
        if context.journal.load::<StoredCatalog>(&account).await?.is_none() {
            let mut changes = Changes::new();
            changes.insert(&StoredCatalog::unread(account.clone()), Some(context.now()));
            match context.journal.commit(changes).await {
                // Another engine has just done it.
                Err(error) if lost_race(&error) => {}
                outcome => outcome?,
            }
        }
        context.accounts.scheduled(&account);
    }
    Ok(())
}

/// Reads a catalog that is due. One that cannot be read stays as it is.
pub(super) async fn step(context: &Context, record: &Record, lease: &Lease) -> Result<()> {
    let mut stored = Stored::<StoredCatalog>::read(record)?;
    let due = match context.accounts.ca(&stored.value.account) {
        Err(_) => context.now() + ABSENT,
        Ok(ca) => match ask(&ca).await {
            Ok(catalog) => stored.value.read(catalog, context.now()),
            Err(error) => {
                tracing::warn!(account = %stored.value.account, error = %error.chain(), "the catalog was not read");
                stored.value.attempts += 1;
                let (attempts, what) = (stored.value.attempts, stored.value.account.as_str());
                Backoff::ORDER.next(context.now(), attempts, error.retry(), what)
            }
        },
    };
    let mut changes = Changes::under(lease, AfterCommit::Release);
    changes.replace(&stored, Some(due));
    context.journal.commit(changes).await
}

async fn ask(ca: &CaAccount) -> Result<Catalog> {
    let _place = ca.place().await;
    ca.provider.catalog().await
}

/// Reads a catalog now and keeps it.
async fn refresh(context: &Context, ca: &CaAccount) -> Result<Catalog> {
    let catalog = ask(ca).await?;
    loop {
        let mut changes = Changes::new();
        match context.journal.load::<StoredCatalog>(&ca.name).await? {
            Some(mut stored) => {
                let due = stored.value.read(catalog.clone(), context.now());
                changes.replace(&stored, Some(due));
            }
            None => {
                let mut new = StoredCatalog::unread(ca.name.clone());
                let due = new.read(catalog.clone(), context.now());
                changes.insert(&new, Some(due));
            }
        }
        match context.journal.commit(changes).await {
            Err(error) if lost_race(&error) => {}
            outcome => return outcome.map(|()| catalog),
        }
    }
}

/// Chooses the proofs of a request so that the CA takes it for its product, and checks the whole. Returns the request with
/// its proofs.
///
/// # Errors
///
/// As [`check`].
pub(super) async fn admit(
    context: &Context,
    ca: &CaAccount,
    mut request: OrderRequest,
    proofs: &Proofs,
) -> Result<Result<OrderRequest, InputError>> {
    request.challenges = proofs.preferred();
    let Err(refused) = check(context, ca, &request).await? else { return Ok(Ok(request)) };
    if let Some(others) = proofs.others() {
        request.challenges = others;
        if check(context, ca, &request).await?.is_ok() {
            return Ok(Ok(request));
        }
    }
    Ok(Err(refused))
}

/// Checks a request locally and against the catalog. One that does not fit a catalog which is not fresh has it read
/// again: a product may be new.
///
/// # Errors
///
/// [`InputError`] in the inner result; what the store says in the outer one.
async fn check(context: &Context, ca: &CaAccount, request: &OrderRequest) -> Result<Result<(), InputError>> {
    let stored = context.journal.load::<StoredCatalog>(&ca.name).await?.map(|stored| stored.value);
    let read_at = stored.as_ref().and_then(|stored| stored.read_at);
    let catalog = stored.and_then(|stored| stored.catalog);
    let checked = ca.provider.check(request, catalog.as_ref());
    let is_fresh = read_at.is_none_or(|moment| context.now().since(moment) < FRESH);
    if checked.is_ok() || catalog.is_none() || is_fresh {
        return Ok(checked);
    }
    match refresh(context, ca).await {
        Ok(catalog) => Ok(ca.provider.check(request, Some(&catalog))),
        // Whatever the CA says now, it was asked about a wish that does not fit what is known.
        Err(_) => Ok(checked),
    }
}

impl Engine {
    /// Reads what a CA account may order, and keeps it: later wishes are checked against it. The engine does so by itself
    /// once a week.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the CA has no catalog, and what it says.
    pub async fn refresh_catalog(&self, account: &AccountName) -> Result<Catalog> {
        let ca =
            self.context.accounts.ca(account).map_err(|input| Error::input(Operation::Catalog, input))?;
        refresh(&self.context, &ca).await
    }

    /// The catalog of a CA account as last read; none if it was never read.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn catalog(&self, account: &AccountName) -> Result<Option<Catalog>> {
        let stored = self.context.journal.load::<StoredCatalog>(account).await?;
        Ok(stored.and_then(|stored| stored.value.catalog))
    }
}
