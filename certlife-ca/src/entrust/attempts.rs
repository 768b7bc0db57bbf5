//! Remembers since when an order is being placed.
//!
//! An order whose answer was lost is looked for by its reference. But the list leaves out orders that are approved
//! and not yet generated, and a server that a gateway has given up on may still be at work. So that nothing is
//! found means that there is nothing only once the CA has had the time to finish. The vault knows when it was asked.
//!
//! A note stays when the answer comes, since it may be lost again before the engine has stored it. Later orders
//! sweep old notes away, so that their number follows the orders under way.

use std::time::Duration;

use certlife_core::{ErrorKind, Result, SecretBytes, Timestamp, Vault};

/// Notes that are this old are of no use: an order is looked for soon after a crash, or the CA shows it.
const OLD: Duration = Duration::from_hours(24 * 7);
/// How many notes an order looks at. More than one, so that they do not pile up.
const SWEPT: usize = 2;
const PREFIX: &str = "placing/";

/// The vault entries of orders that were sent.
pub(super) struct Attempts<'a> {
    pub(super) vault: &'a Vault,
    /// How long after the attempt an order may still come into being.
    pub(super) settles_in: Duration,
}

/// What is known of the last attempt to place an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LastAttempt {
    /// Nothing was sent, or it had no effect.
    None,
    /// The CA has had its time.
    Settled,
    /// It may still come into being within this time.
    Open(Duration),
}

impl Attempts<'_> {
    /// Notes that the order is sent now.
    pub(super) async fn begin(&self, reference: &str, now: Timestamp) -> Result<()> {
        self.sweep(now).await?;
        let replaces = self.vault.read(&entry(reference)).await?.map(|entry| entry.revision);
        let when = SecretBytes::new(now.unix_millis().to_string().into_bytes());
        self.vault.write(&entry(reference), &when, replaces).await.map(drop)
    }

    /// Notes that the attempt had no effect.
    pub(super) async fn undo(&self, reference: &str) {
        // What is left over costs a wait at most.
        if let Err(error) = self.remove(&entry(reference), Timestamp::MAX).await {
            tracing::debug!(%error, reference, "the note of an attempt was not removed");
        }
    }

    pub(super) async fn last(&self, reference: &str, now: Timestamp) -> Result<LastAttempt> {
        let Some(found) = self.vault.read(&entry(reference)).await? else { return Ok(LastAttempt::None) };
        // A note that cannot be read is as good as one of this moment. A clock that was set back must not stretch
        // the wait.
        let began = moment(&found.secret).unwrap_or(now);
        let rest = (began + self.settles_in).since(now).min(self.settles_in);
        Ok(if rest.is_zero() { LastAttempt::Settled } else { LastAttempt::Open(rest) })
    }

    async fn sweep(&self, now: Timestamp) -> Result<()> {
        let oldest = self.vault.entries(None, SWEPT).await?.items;
        for name in oldest.iter().filter(|name| name.starts_with(PREFIX)) {
            self.remove(name, now - OLD).await?;
        }
        Ok(())
    }

    /// Removes a note from before `limit`, unless another process was faster.
    async fn remove(&self, name: &str, limit: Timestamp) -> Result<()> {
        let Some(found) = self.vault.read(name).await? else { return Ok(()) };
        if moment(&found.secret).is_some_and(|began| began >= limit) {
            return Ok(());
        }
        match self.vault.delete(name, found.revision).await {
            Err(error) if *error.kind() == ErrorKind::RevisionConflict => Ok(()),
            outcome => outcome,
        }
    }
}

fn moment(note: &SecretBytes) -> Option<Timestamp> {
    std::str::from_utf8(note.expose()).ok()?.parse().ok().map(Timestamp::from_unix_millis)
}

fn entry(reference: &str) -> String {
    format!("{PREFIX}{reference}")
}
