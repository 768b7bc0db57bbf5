//! Deleting a certificate here, with everything that it owns.

use std::collections::BTreeSet;

use super::{
    Principal,
    principal::{not_now, unknown},
};
use crate::{
    error::Result,
    id::{CertificateId, KeyId},
    journal::{Changes, Stored, StoredKey},
    model::{Certificate, EventKind, Order, Version},
    store::{Field, Kind, Query},
};

impl Principal {
    /// Removes a certificate here, with its versions, keys, orders and deployments. At the CA nothing is revoked
    /// or cancelled, on the targets nothing changes, and the events stay. It can be ordered or imported again.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`](crate::InputError::Unknown); [`ErrorKind::NotNow`](crate::ErrorKind::NotNow) while an
    /// order is under way or something that it published is still in place: cancel it and wait for its clean-up first,
    /// so that nothing is left behind; and while a revocation or a decision is under way.
    pub async fn delete(&self, id: &CertificateId) -> Result<()> {
        let context = self.context();
        let Some(stored) = context.journal.load::<Certificate>(id).await? else {
            // An interrupted call may have left the rest.
            let left = self.delete_owned(id).await?;
            return if left { Ok(()) } else { Err(unknown("certificate", id)) };
        };
        let owned = |kind| Query::all(kind).having(Field::Owner, id.as_str());
        let orders = context.journal.all::<Order>(owned(Kind::Order)).await?;
        if orders.iter().any(|order| !order.value.is_closed()) {
            return Err(not_now("an order is under way or being cleaned up; cancel it and try again"));
        }
        if stored.value.revocations.iter().any(|pending| pending.next_attempt.is_some()) {
            return Err(not_now("a revocation is under way; try again when the CA has confirmed it"));
        }
        if stored.value.decisions.iter().any(|pending| pending.next_attempt.is_some()) {
            return Err(not_now("a decision is under way; try again when the CA has confirmed it"));
        }
        // Keys first would leave versions without them after a crash; so the certificate goes first, alone with
        // the event, and what it owned follows. A repeated call finds the rest by its owner.
        let mut changes = Changes::new();
        changes.delete(crate::store::Key::new(Kind::Certificate, id), stored.revision);
        changes.event(&self.event(EventKind::CertificateDeleted).on(id));
        context.journal.commit(changes).await?;
        self.delete_owned(id).await.map(drop)
    }

    /// Removes what a deleted certificate owned; returns whether there was anything.
    async fn delete_owned(&self, id: &CertificateId) -> Result<bool> {
        let context = self.context();
        let mut found = false;
        let mut keys: BTreeSet<KeyId> = BTreeSet::new();
        for kind in [Kind::Deployment, Kind::Order, Kind::Version] {
            loop {
                let query = Query::all(kind).having(Field::Owner, id.as_str()).limit(200);
                let page = context.journal.store.list(&query).await?;
                if page.items.is_empty() {
                    break;
                }
                found = true;
                let mut changes = Changes::new();
                for record in page.items {
                    match kind {
                        Kind::Order => keys.extend(Stored::<Order>::read(&record)?.value.key),
                        Kind::Version => keys.extend(Stored::<Version>::read(&record)?.value.key),
                        _ => {}
                    }
                    changes.delete(record.key, record.revision);
                }
                context.journal.commit(changes).await?;
            }
        }
        let mut changes = Changes::new();
        for id in keys {
            let Some(key) = context.journal.load::<StoredKey>(id).await? else { continue };
            // A key that the host brought may serve another certificate as well.
            let users = Query::all(Kind::Version).having(Field::KeyHash, key.value.hash.to_string()).limit(1);
            if context.journal.store.list(&users).await?.items.is_empty() {
                changes.delete(crate::store::Key::new(Kind::Key, id), key.revision);
            }
        }
        context.journal.commit(changes).await?;
        Ok(found)
    }
}
