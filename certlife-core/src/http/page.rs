//! Follows cursors, so that a listing is complete and ends.

use std::{collections::HashSet, hash::Hash};

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};

use crate::error::{Error, ErrorKind, Operation, ProviderName, Result, Retry};

/// One page of a listing, and where the next one begins.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "vendors build it")]
pub struct Paged<T, C> {
    /// What is on the page. May be empty.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` after the last one.
    pub next: Option<C>,
}

/// Reads a listing page by page. Made by [`Client::pages`](super::Client::pages).
#[derive(Debug, Clone)]
#[must_use = "call `stream` or `collect`"]
pub struct Pages {
    provider: ProviderName,
    operation: Operation,
    limit: usize,
}

impl Pages {
    /// Reads as `operation` of `provider`, which is how errors name it.
    pub fn new(provider: ProviderName, operation: Operation) -> Self {
        Self { provider, operation, limit: 1_000 }
    }

    /// Allows this many pages, after which a listing that goes on is an error. Defaults to 1000.
    pub fn limit(mut self, pages: usize) -> Self {
        self.limit = pages;
        self
    }

    /// Returns the items one by one, asking for a page when the one before is used up.
    ///
    /// `fetch` gets `None` for the first page, then each cursor in turn. A page number is as good a cursor
    /// as a token. Dropping the stream stops the listing.
    ///
    /// # Errors
    ///
    /// Ends with what `fetch` returned, or with [`ErrorKind::Protocol`] if a cursor comes a second time or
    /// the listing goes on after the limit.
    pub fn stream<T, C, F, Fut>(self, fetch: F) -> impl Stream<Item = Result<T>> + Send
    where
        T: Send,
        C: Clone + Eq + Hash + Send,
        F: FnMut(Option<C>) -> Fut + Send,
        Fut: Future<Output = Result<Paged<T, C>>> + Send,
    {
        let walk = Walk { pages: self, seen: HashSet::new(), fetch, next: Next::First };
        stream::try_unfold(walk, Walk::step).map_ok(|items| stream::iter(items).map(Ok)).try_flatten()
    }

    /// Returns all items.
    ///
    /// # Errors
    ///
    /// As [`stream`](Self::stream).
    pub async fn collect<T, C, F, Fut>(self, fetch: F) -> Result<Vec<T>>
    where
        T: Send,
        C: Clone + Eq + Hash + Send,
        F: FnMut(Option<C>) -> Fut + Send,
        Fut: Future<Output = Result<Paged<T, C>>> + Send,
    {
        self.stream(fetch).try_collect().await
    }
}

struct Walk<C, F> {
    pages: Pages,
    /// Every cursor that was followed.
    seen: HashSet<C>,
    fetch: F,
    next: Next<C>,
}

enum Next<C> {
    First,
    At(C),
    End,
}

impl<C, F> Walk<C, F> {
    async fn step<T, Fut>(mut self) -> Result<Option<(Vec<T>, Self)>>
    where
        C: Clone + Eq + Hash,
        F: FnMut(Option<C>) -> Fut,
        Fut: Future<Output = Result<Paged<T, C>>>,
    {
        let cursor = match std::mem::replace(&mut self.next, Next::End) {
            Next::First => None,
            Next::At(cursor) => Some(cursor),
            Next::End => return Ok(None),
        };
        let page = (self.fetch)(cursor).await?;
        if let Some(next) = page.next {
            if self.seen.len() + 1 >= self.pages.limit {
                return Err(self.broken("the listing has more pages than allowed"));
            }
            if !self.seen.insert(next.clone()) {
                return Err(self.broken("the listing leads back to a page that it already gave"));
            }
            self.next = Next::At(next);
        }
        Ok(Some((page.items, self)))
    }

    fn broken(&self, what: &'static str) -> Error {
        Error::new(self.pages.provider.clone(), self.pages.operation, ErrorKind::Protocol(what.into()))
            .retry_as(Retry::Never)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        Pages::new(ProviderName::new("test"), Operation::ListOrders)
    }

    #[tokio::test]
    async fn cursors_are_followed_to_the_end() {
        let listed = pages()
            .collect(|cursor: Option<u32>| async move {
                let page = cursor.unwrap_or(0);
                let items = if page == 1 { vec![] } else { vec![page * 10, page * 10 + 1] };
                Ok(Paged { items, next: (page < 2).then_some(page + 1) })
            })
            .await;
        assert_eq!(listed.unwrap(), [0, 1, 20, 21]);
    }

    #[tokio::test]
    async fn a_cursor_seen_twice_is_an_error() {
        let mut asked = 0;
        let failed = pages()
            .collect(|cursor: Option<&str>| {
                asked += 1;
                let next = if cursor == Some("a") { "b" } else { "a" };
                async move { Ok(Paged { items: vec![()], next: Some(next) }) }
            })
            .await
            .unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Protocol(_)), "{failed:?}");
        assert_eq!((failed.retry(), asked), (Retry::Never, 3));
    }

    #[tokio::test]
    async fn a_listing_without_end_is_an_error() {
        let mut asked = 0_u32;
        let endless = |cursor: Option<u32>| {
            asked += 1;
            async move { Ok(Paged { items: vec![()], next: Some(cursor.unwrap_or(0) + 1) }) }
        };
        assert!(pages().limit(7).collect(endless).await.is_err());
        assert_eq!(asked, 7);
    }

    #[tokio::test]
    async fn a_dropped_stream_asks_for_no_further_page() {
        let mut asked = 0_u32;
        let items: Vec<u32> = pages()
            .stream(|cursor: Option<u32>| {
                asked += 1;
                async move { Ok(Paged { items: vec![1, 2], next: Some(cursor.unwrap_or(0) + 1) }) }
            })
            .take(3)
            .try_collect()
            .await
            .unwrap();
        assert_eq!((items, asked), (vec![1, 2, 1], 2));
    }
}
