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

/// All zones of an account, listed by one caller for all and remembered for a while.
pub(crate) struct ZoneList<Z> {
    clock: Arc<dyn Clock>,
    keep: Duration,
    /// Held while the zones are listed: that is what makes others wait.
    known: tokio::sync::Mutex<Option<(Arc<[Z]>, Timestamp)>>,
}

impl<Z: Send + Sync> ZoneList<Z> {
    /// Remembers a listing for `keep`.
    pub(crate) fn new(clock: Arc<dyn Clock>, keep: Duration) -> Self {
        Self { clock, keep, known: tokio::sync::Mutex::default() }
    }

    /// Returns the zones, as `list` tells them if it is time to ask again.
    pub(crate) async fn get<Answer>(&self, list: impl FnOnce() -> Answer + Send) -> Result<Arc<[Z]>>
    where
        Answer: Future<Output = Result<Vec<Z>>> + Send,
    {
        let mut known = self.known.lock().await;
        if let Some((zones, until)) = &*known
            && self.clock.now() < *until
        {
            return Ok(zones.clone());
        }
        let zones: Arc<[Z]> = list().await?.into();
        *known = Some((zones.clone(), self.clock.now() + self.keep));
        Ok(zones)
    }

    /// Forgets the zones. Returns whether there was something to forget, so that asking again may end
    /// differently.
    pub(crate) async fn forget(&self) -> bool {
        self.known.lock().await.take().is_some()
    }

    /// Whether a failure may come from a zone that was listed and is gone; the list is forgotten then.
    pub(crate) async fn was_stale<T: Sync>(&self, outcome: &Result<T>) -> bool {
        is_gone(outcome) && self.forget().await
    }
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

impl<Z> fmt::Debug for ZoneList<Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZoneList").finish_non_exhaustive()
    }
}

/// Those of `zones` with the longest name that encloses `name`. More than one is ambiguous.
pub(crate) fn longest<'a, Z>(zones: &'a [Z], name: &Fqdn, apex: impl Fn(&Z) -> &Fqdn) -> Vec<&'a Z> {
    let around = || zones.iter().filter(|zone| name.is_within(apex(zone)));
    let most = around().map(|zone| apex(zone).labels().count()).max().unwrap_or_default();
    around().filter(|zone| apex(zone).labels().count() == most).collect()
}

/// Whether a call failed because what it was about is gone, such as the zone.
pub(crate) fn is_gone<T>(outcome: &Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound(_)))
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
    async fn a_list_is_asked_for_once_by_all_until_it_is_old_or_forgotten() {
        let clock = ManualClock::default();
        let list = ZoneList::new(Arc::new(clock.clone()), Duration::from_mins(5));
        let asked = Mutex::new(0);
        let get = async || {
            let ask = || async {
                tokio::task::yield_now().await;
                *asked.lock().unwrap() += 1;
                Ok(vec![name("example.org")])
            };
            assert_eq!(list.get(ask).await.unwrap()[..], [name("example.org")]);
            *asked.lock().unwrap()
        };
        assert_eq!(futures_util::join!(get(), get()), (1, 1));
        clock.advance(Duration::from_mins(5));
        assert_eq!(get().await, 2);
        assert!(list.forget().await);
        assert!(!list.forget().await);
        assert_eq!(get().await, 3);
    }

    #[test]
    fn the_longest_of_several_zones_encloses_a_name() {
        let zones = ["example.org", "sub.example.org", "sub.example.org", "notexample.org"].map(name);
        let found = |text: &str| longest(&zones, &name(text), |zone| zone).len();
        assert_eq!([found("a.example.org"), found("a.sub.example.org"), found("a.example.net")], [1, 2, 0]);
    }
}
