//! The policies of CA accounts: kept in the store, read with each step, and applied to what exists when they change.

use serde::{Deserialize, Serialize};

use super::{Context, Engine, Principal, certificate, commands::check_route_account};
use crate::{
    error::{Error, Operation, Result},
    id::AccountName,
    input::InputError,
    journal::{Changes, Document, Stored, lost_race},
    model::{AccountPolicy, Certificate, EventKind},
    store::{AfterCommit, Cursor, Field, Index, Kind, Lease, Query, Record},
};

/// How many certificates are settled in one commit.
const PAGE: usize = 100;

/// The policy of an account, and how far it is applied. The record is due as long as there are certificates left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredPolicy {
    account: AccountName,
    policy: AccountPolicy,
    /// The last certificate that was settled since the policy changed.
    #[serde(default)]
    after: Option<Cursor>,
}

impl Document for StoredPolicy {
    const KIND: Kind = Kind::Policy;

    fn id(&self) -> String {
        self.account.to_string()
    }

    fn index(&self) -> Index {
        Index::new()
    }
}

impl Context {
    /// The policy of a CA account. Read whenever it is needed: another process may have changed it.
    pub(super) async fn policy(&self, account: &AccountName) -> Result<AccountPolicy> {
        let stored = self.journal.load::<StoredPolicy>(account).await?;
        Ok(stored.map(|stored| stored.value.policy).unwrap_or_default())
    }
}

/// Settles the certificates of an account whose policy has changed, a page at a time. A crash costs one page again.
pub(super) async fn step(context: &Context, record: &Record, lease: &Lease) -> Result<()> {
    let mut stored = Stored::<StoredPolicy>::read(record)?;
    loop {
        let StoredPolicy { account, policy, after } = &stored.value;
        let query = Query::all(Kind::Certificate).having(Field::Account, account.as_str());
        let page = context.journal.page::<Certificate>(query.after(after.clone()).limit(PAGE)).await?;
        let now = context.now();
        let is_last = page.next.is_none();
        let mut changes =
            Changes::under(lease, if is_last { AfterCommit::Release } else { AfterCommit::Keep });
        for mut certificate in page.items {
            let before = (certificate.value.schedule.clone(), certificate.due);
            let due = certificate::settle(&mut certificate.value, policy, now);
            if before != (certificate.value.schedule.clone(), due) {
                changes.replace(&certificate, due);
            }
        }
        stored.value.after = page.next;
        changes.replace(&stored, (!is_last).then_some(now));
        match context.journal.commit(changes).await {
            Ok(()) if is_last => return Ok(()),
            Ok(()) => stored.revision += 1,
            // A certificate was changed meanwhile, or the policy was once more, which begins anew.
            Err(error) if lost_race(&error) => match context.journal.load(&stored.value.account).await? {
                Some(again) => stored = again,
                None => return Ok(()),
            },
            Err(error) => return Err(error),
        }
    }
}

impl Principal {
    /// Sets what holds for the certificates of a CA account that say nothing themselves, for every engine on this
    /// store. Those that exist are settled anew by the engine, page by page; orders under way keep what they began with.
    ///
    /// # Errors
    ///
    /// An [`InputError`] that names the account, or the value and the rule.
    pub async fn set_account_policy(&self, account: &AccountName, policy: AccountPolicy) -> Result<()> {
        let context = self.context();
        check(context, account, &policy).map_err(|input| Error::input(Operation::Command, input))?;
        loop {
            let stored = context.journal.load::<StoredPolicy>(account).await?;
            let here = stored.as_ref().map(|stored| stored.value.policy.clone()).unwrap_or_default();
            if here == policy {
                return Ok(());
            }
            let now = context.now();
            let new = StoredPolicy { account: account.clone(), policy: policy.clone(), after: None };
            let kind = EventKind::AccountPolicyChanged {
                account: account.clone(),
                policy: Box::new(policy.clone()),
            };
            let mut changes = Changes::new();
            match stored {
                Some(stored) => changes.replace(&Stored { value: new, ..stored }, Some(now)),
                None => changes.insert(&new, Some(now)),
            };
            changes.event(&self.event(kind));
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }
}

fn check(context: &Context, account: &AccountName, policy: &AccountPolicy) -> Result<(), InputError> {
    let ca = context.accounts.ca(account)?;
    policy.check()?;
    if let Some(route) = &policy.route {
        check_route_account(context, route)?;
    }
    let known = ca.provider.capabilities().key_algorithms;
    match policy.key_algorithm {
        Some(algorithm) if !known.contains(&algorithm) => {
            let rule = format!("this CA certifies {known:?}");
            let (field, value) = ("key_algorithm".into(), algorithm.to_string().into());
            Err(InputError::Value { field, value, rule: rule.into() })
        }
        _ => Ok(()),
    }
}

impl Engine {
    /// [`Principal::set_account_policy`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_account_policy(&self, account: &AccountName, policy: AccountPolicy) -> Result<()> {
        self.host().set_account_policy(account, policy).await
    }

    /// The policy of a CA account; one that was never set leaves everything open.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn account_policy(&self, account: &AccountName) -> Result<AccountPolicy> {
        self.context.policy(account).await
    }
}
