//! The zone with the longest name that encloses an owner name, found once and remembered for a while.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use certlife_core::{Clock, Error, ErrorKind, Fqdn, Result, Timestamp};

/// The most names that are remembered.
const MAX_NAMES: usize = 10_000;

/// What is known about names that are zones, or are not.
///
/// Each candidate is remembered by itself, also that it is no zone, since a zone that is known says nothing
/// about a smaller one within it.
pub(crate) struct Zones<Z> {
    clock: Arc<dyn Clock>,
    keep: Duration,
    known: Mutex<HashMap<Fqdn, Known<Z>>>,
}

struct Known<Z> {
    zone: Option<Z>,
    until: Timestamp,
}

impl<Z: Clone + Send> Zones<Z> {
    /// Remembers each answer for `keep`.
    pub(crate) fn new(clock: Arc<dyn Clock>, keep: Duration) -> Self {
        Self { clock, keep, known: Mutex::new(HashMap::new()) }
    }

    /// Asks `find` about `name` and the names above it, longest first, until one has a zone.
    ///
    /// What `find` returns for a name has to hold whoever asks; its first failure ends the search.
    pub(crate) async fn enclosing<F, Answer>(&self, name: &Fqdn, find: F) -> Result<Option<Z>>
    where
        F: Fn(Fqdn) -> Answer + Send + Sync,
        Answer: Future<Output = Result<Option<Z>>> + Send,
    {
        for candidate in name.ancestors() {
            let zone = match self.remembered(&candidate) {
                Some(zone) => zone,
                None => self.remember(candidate.clone(), find(candidate).await?),
            };
            if zone.is_some() {
                return Ok(zone);
            }
        }
        Ok(None)
    }

    /// Forgets what is known about `name` and the names above it. Returns whether a zone was among it, so that
    /// searching again may end differently.
    pub(crate) fn forget(&self, name: &Fqdn) -> bool {
        let mut known = self.known();
        let forgotten = name.ancestors().filter_map(|candidate| known.remove(&candidate));
        forgotten.filter(|known| known.zone.is_some()).count() > 0
    }

    #[expect(clippy::option_option, reason = "none means not known; some none means known to be no zone")]
    fn remembered(&self, candidate: &Fqdn) -> Option<Option<Z>> {
        let now = self.clock.now();
        self.known().get(candidate).filter(|known| now < known.until).map(|known| known.zone.clone())
    }

    fn remember(&self, candidate: Fqdn, zone: Option<Z>) -> Option<Z> {
        let now = self.clock.now();
        let mut known = self.known();
        if known.len() >= MAX_NAMES {
            known.retain(|_, known| now < known.until);
        }
        if known.len() < MAX_NAMES {
            known.insert(candidate, Known { zone: zone.clone(), until: now + self.keep });
        }
        zone
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Fqdn, Known<Z>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Z> fmt::Debug for Zones<Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zones").finish_non_exhaustive()
    }
}

/// All zones of an account, listed as a whole and remembered for a while: for vendors who cannot be asked for
/// one by its name.
pub(crate) struct Listing<Z> {
    clock: Arc<dyn Clock>,
    keep: Duration,
    /// Held while one caller lists; the others wait for what comes of it.
    known: tokio::sync::Mutex<Option<(Arc<Vec<Z>>, Timestamp)>>,
}

impl<Z: Send + Sync> Listing<Z> {
    /// Remembers the list for `keep`.
    pub(crate) fn new(clock: Arc<dyn Clock>, keep: Duration) -> Self {
        Self { clock, keep, known: tokio::sync::Mutex::default() }
    }

    /// Returns the list, asking for it if it is not remembered.
    pub(crate) async fn get<Answer>(&self, list: impl FnOnce() -> Answer + Send) -> Result<Arc<Vec<Z>>>
    where
        Answer: Future<Output = Result<Vec<Z>>> + Send,
    {
        let mut known = self.known.lock().await;
        if let Some((zones, until)) = &*known
            && self.clock.now() < *until
        {
            return Ok(zones.clone());
        }
        let zones = Arc::new(list().await?);
        *known = Some((zones.clone(), self.clock.now() + self.keep));
        Ok(zones)
    }

    /// Forgets the list. Returns whether there was one, so that listing again may show something else.
    pub(crate) async fn forget(&self) -> bool {
        self.known.lock().await.take().is_some()
    }

    /// Whether a failure may come from a zone that was listed and is gone; the list is forgotten then.
    pub(crate) async fn was_stale<T: Sync>(&self, outcome: &Result<T>) -> bool {
        let lost = outcome.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound(_)));
        lost && self.forget().await
    }
}

/// Picks from a list the zone with the longest name that encloses `name`.
pub(crate) fn longest<'a, Z>(zones: &'a [Z], name: &Fqdn, apex: impl Fn(&Z) -> &Fqdn) -> Option<&'a Z> {
    let enclosing = zones.iter().filter(|zone| name.is_within(apex(zone)));
    enclosing.max_by_key(|zone| apex(zone).as_str().len())
}

/// The name relative to the apex of its zone, `@` for the apex itself.
pub(crate) fn relative<'a>(name: &'a Fqdn, zone: &Fqdn) -> &'a str {
    name.relative_to(zone).filter(|name| !name.is_empty()).unwrap_or("@")
}

/// Says [`ErrorKind::ZoneNotFound`] where all that the vendor can have missed is the zone or what it is in.
pub(crate) fn zone_not_found(error: Error, name: &Fqdn) -> Error {
    match error.kind() {
        ErrorKind::NotFound(_) => {
            let kind = ErrorKind::ZoneNotFound(name.clone());
            Error::new(error.provider().clone(), error.operation(), kind).because(error)
        }
        _ => error,
    }
}

impl<Z> fmt::Debug for Listing<Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use certlife_testkit::clock::ManualClock;

    use super::*;

    fn name(text: &str) -> Fqdn {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_longest_zone_wins_and_is_remembered_for_a_while() {
        let clock = ManualClock::default();
        let zones = Zones::new(Arc::new(clock.clone()), Duration::from_mins(5));
        let asked = Mutex::new(Vec::new());
        let search = async |text: &str| {
            let find = |candidate: Fqdn| {
                asked.lock().unwrap().push(candidate.to_string());
                let zone = ["example.org", "sub.example.org"].contains(&candidate.as_str());
                async move { Ok(zone.then(|| candidate.to_string())) }
            };
            let found = zones.enclosing(&name(text), find).await.unwrap();
            (found, std::mem::take(&mut *asked.lock().unwrap()))
        };
        let outer = Some("example.org".to_owned());
        assert_eq!(
            search("a.example.org").await,
            (outer.clone(), vec!["a.example.org".into(), "example.org".into()])
        );
        assert_eq!(search("a.example.org").await, (outer.clone(), vec![]));
        assert_eq!(search("b.example.org").await, (outer.clone(), vec!["b.example.org".into()]));
        let inner = Some("sub.example.org".to_owned());
        assert_eq!(search("sub.example.org").await, (inner, vec!["sub.example.org".into()]));
        assert_eq!(search("notexample.org").await.0, None);

        assert!(zones.forget(&name("a.example.org")));
        assert!(!zones.forget(&name("a.example.org")));
        assert_eq!(search("a.example.org").await.1.len(), 2);
        clock.advance(Duration::from_secs(301));
        assert_eq!(search("a.example.org").await.1.len(), 2);
    }
    #[tokio::test]
    async fn a_list_is_asked_for_once_in_a_while() {
        let clock = ManualClock::default();
        let listing = Listing::new(Arc::new(clock.clone()), Duration::from_mins(5));
        let asked = Mutex::new(0);
        let list = async || {
            let answer = || async {
                *asked.lock().unwrap() += 1;
                tokio::task::yield_now().await;
                Ok(vec!["example.org"])
            };
            assert_eq!(*listing.get(answer).await.unwrap(), ["example.org"]);
            *asked.lock().unwrap()
        };
        assert!(!listing.forget().await);
        futures_util::join!(list(), list());
        assert_eq!(list().await, 1, "whoever comes meanwhile waits for the same list");
        clock.advance(Duration::from_secs(301));
        assert_eq!(list().await, 2);
        assert!(listing.forget().await);
        assert_eq!(list().await, 3);
    }
}
