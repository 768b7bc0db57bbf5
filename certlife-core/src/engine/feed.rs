//! The feed of events: ordered, replayable from a position, and live.

use futures_util::Stream;

use super::Engine;
use crate::{
    error::Result,
    id::CertificateId,
    model::Event,
    store::{Cursor, Field, Kind, Page, Query, event_id},
};

impl Engine {
    /// Reads events after a position, oldest first: at most `limit`, which is kept between 1 and 1,000.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Event>> {
        let after = Cursor { value: String::new(), id: event_id(position) };
        let query = Query::all(Kind::Event).after(Some(after)).limit(limit);
        Ok(self.context.journal.events(query).await?.items)
    }

    /// The position of the newest event; zero if there is none. To follow what happens from now on, ask for it
    /// before the command.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn feed_position(&self) -> Result<u64> {
        let newest = Query::all(Kind::Event).descending().limit(1);
        let events = self.context.journal.events(newest).await?.items;
        Ok(events.first().map_or(0, |event| event.position))
    }

    /// Follows the feed from a position for ever: first what is stored, then what happens, of all engines on this
    /// store. A reader that keeps the last position misses nothing and sees nothing twice. An error ends nothing:
    /// the next item tries again.
    pub fn events(&self, position: u64) -> impl Stream<Item = Result<Event>> + Send + 'static {
        const PAGE: usize = 256;
        let engine = self.clone();
        let state = (engine, position, Vec::<Event>::new().into_iter());
        futures_util::stream::unfold(state, |(engine, mut position, mut page)| async move {
            loop {
                if let Some(event) = page.next() {
                    position = event.position;
                    return Some((Ok(event), (engine, position, page)));
                }
                let mut news = engine.context.journal.feed.subscribe();
                match engine.events_after(position, PAGE).await {
                    Ok(events) if events.is_empty() => {
                        // Word of this process's events comes at once; those of others are found by looking.
                        let look = engine.context.now() + engine.context.settings.poll;
                        tokio::select! {
                            _ = news.changed() => {}
                            () = engine.context.clock.sleep_until(look) => {}
                        }
                    }
                    Ok(events) => page = events.into_iter(),
                    Err(error) => {
                        let look = engine.context.now() + engine.context.settings.poll;
                        engine.context.clock.sleep_until(look).await;
                        return Some((Err(error), (engine, position, page)));
                    }
                }
            }
        })
    }

    /// The audit trail of one certificate, newest first, a page at a time. It outlives the certificate.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn audit(&self, certificate: &CertificateId, page: Option<Cursor>) -> Result<Page<Event>> {
        let query =
            Query::all(Kind::Event).having(Field::Owner, certificate.as_str()).after(page).descending();
        self.context.journal.events(query).await
    }
}
