//! Random operations, carried out on the store under test and on the reference beside it.

use certlife_core::{
    ErrorKind, Result, Store,
    store::{
        AfterCommit, Batch, Claim, Cursor, Draft, Field, Filter, Index, Key, Kind, Lease, MemoryStore, Query,
        Write, event_id,
    },
};

use super::{
    StoreFixture,
    samples::{at, event, list_all, worker, write},
};

const STEPS: u32 = 600;
const KINDS: [Kind; 3] = [Kind::Certificate, Kind::Order, Kind::Deployment];
const FIELDS: [Field; 3] = [Field::State, Field::Name, Field::Expires];

/// Random batches, claims, leases and listings have the same outcome as on [`MemoryStore`].
pub async fn random_operations_match_the_reference(fx: &impl StoreFixture) {
    for seed in 1..=3 {
        let store = fx.open().await;
        // The first round leaves its records behind, so each keeps to ids of its own.
        if seed > 1 {
            clear(&*store).await;
        }
        let mut tale = Tale { dice: Dice(seed), reference: MemoryStore::new(), leases: Vec::new(), now: 0 };
        tale.skip_events(&*store).await;
        for step in 0..STEPS {
            tale.step(&*store, &format!("seed {seed}, step {step}")).await;
        }
        tale.compare_everything(&*store).await;
    }
}

async fn clear(store: &dyn Store) {
    for kind in KINDS.into_iter().chain([Kind::Event]) {
        for record in list_all(store, &Query::all(kind)).await {
            write(store, vec![Write::Delete(record.key, record.revision)]).await.unwrap();
        }
    }
}

struct Tale {
    dice: Dice,
    reference: MemoryStore,
    /// Leases that were given out at some time, by the store under test and by the reference.
    leases: Vec<(Lease, Lease)>,
    now: i64,
}

impl Tale {
    /// Brings the reference to the position that the store has reached.
    async fn skip_events(&self, store: &dyn Store) {
        let position = write(store, vec![event("mark")]).await.unwrap().position.unwrap();
        for position in 1..=position {
            write(&self.reference, vec![event("mark")]).await.unwrap();
            if store.get(&Key::new(Kind::Event, event_id(position))).await.unwrap().is_none() {
                let gone = Key::new(Kind::Event, event_id(position));
                write(&self.reference, vec![Write::Delete(gone, 1)]).await.unwrap();
            }
        }
    }

    async fn step(&mut self, store: &dyn Store, place: &str) {
        self.now += self.dice.signed(3);
        match self.dice.below(10) {
            0..5 => self.commit(store, place).await,
            5 => self.claim(store, place).await,
            6 => self.use_lease(store, place).await,
            _ => {
                let query = self.query();
                let (found, expected) = (store.list(&query).await, self.reference.list(&query).await);
                assert_eq!(found.unwrap(), expected.unwrap(), "{place}: {query:?}");
            }
        }
    }

    async fn commit(&mut self, store: &dyn Store, place: &str) {
        let mut keys: Vec<Key> = Vec::new();
        let mut writes = Vec::new();
        for _ in 0..self.dice.below(4) {
            let key = self.key();
            if keys.contains(&key) {
                continue;
            }
            keys.push(key.clone());
            let current = self.reference.get(&key).await.unwrap().map_or(1, |record| record.revision);
            let revision = if self.dice.below(12) == 0 { current + 1 } else { current };
            let draft = self.draft(key.clone());
            writes.push(match self.dice.below(6) {
                0..2 => Write::Insert(draft),
                2..4 => Write::Replace(draft, revision),
                4 => Write::Delete(key, revision),
                _ => Write::Append { body: draft.body, index: draft.index },
            });
        }
        let mut under = Batch { leases: Vec::new(), writes };
        let mut expected_under = under.clone();
        if self.dice.below(3) == 0
            && let Some((lease, expected)) = self.lease()
        {
            let after = if self.dice.below(2) == 0 { AfterCommit::Keep } else { AfterCommit::Release };
            under.leases.push((lease, after));
            expected_under.leases.push((expected, after));
        }
        let found = outcome(store.commit(under.clone()).await);
        assert_eq!(found, outcome(self.reference.commit(expected_under).await), "{place}: {under:?}");
    }

    /// Claims everything that is due: which of several that are due at once come first is left to the store.
    async fn claim(&mut self, store: &dyn Store, place: &str) {
        let who = u8::try_from(self.dice.below(3)).unwrap();
        let (now, until) = (at(self.now), at(self.now + self.dice.signed(20)));
        let wish = Claim { worker: worker(who), now, until, limit: 1_000 };
        let (found, expected) =
            (store.claim(&wish).await.unwrap(), self.reference.claim(&wish).await.unwrap());
        assert_eq!(found.next, expected.next, "{place}: {wish:?}");
        let sorted = |mut work: Vec<certlife_core::store::Leased>| {
            work.sort_by(|a, b| a.record.key.cmp(&b.record.key));
            work
        };
        let (found, expected) = (sorted(found.work), sorted(expected.work));
        let records = |work: &[certlife_core::store::Leased]| {
            work.iter().map(|leased| leased.record.clone()).collect::<Vec<_>>()
        };
        assert_eq!(records(&found), records(&expected), "{place}: {wish:?}");
        self.leases.extend(found.into_iter().zip(expected).map(|(a, b)| (a.lease, b.lease)));
    }

    async fn use_lease(&mut self, store: &dyn Store, place: &str) {
        let Some((lease, expected)) = self.lease() else { return };
        if self.dice.below(2) == 0 {
            let until = at(self.now + self.dice.signed(20));
            let found = outcome(store.extend(&lease, until).await.map(|lease| lease.until));
            let expected = outcome(self.reference.extend(&expected, until).await.map(|lease| lease.until));
            assert_eq!(found, expected, "{place}: extend {lease:?}");
        } else {
            store.release(&lease).await.unwrap();
            self.reference.release(&expected).await.unwrap();
        }
    }

    async fn compare_everything(&self, store: &dyn Store) {
        for kind in KINDS.into_iter().chain([Kind::Event]) {
            let fields = FIELDS.map(|field| {
                Query::all(kind).between(field, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded)
            });
            for query in fields.into_iter().chain([Query::all(kind)]) {
                assert_eq!(list_all(store, &query).await, list_all(&self.reference, &query).await);
            }
        }
    }

    fn key(&mut self) -> Key {
        Key::new(self.dice.one_of(&KINDS), self.dice.below(8))
    }

    fn draft(&mut self, key: Key) -> Draft {
        let due = (self.dice.below(3) > 0).then(|| at(self.now + self.dice.signed(30)));
        let index: Index =
            (0..self.dice.below(4)).map(|_| (self.dice.one_of(&FIELDS), self.value())).collect();
        Draft { key, body: format!("{{\"n\":{}}}", self.dice.below(1_000)), due, index }
    }

    fn value(&mut self) -> String {
        self.dice.one_of(&["", "a", "a\0", "aa", "ab", "b", "é", "'"]).to_owned()
    }

    /// One of the latest leases, most of which are still held.
    fn lease(&mut self) -> Option<(Lease, Lease)> {
        let back = usize::try_from(self.dice.below(12)).unwrap();
        self.leases.iter().rev().nth(back).cloned()
    }

    fn query(&mut self) -> Query {
        let kind = if self.dice.below(5) == 0 { Kind::Event } else { self.dice.one_of(&KINDS) };
        let mut query = Query::all(kind).limit(usize::try_from(self.dice.below(6)).unwrap());
        query.descending = self.dice.below(2) == 0;
        if self.dice.below(3) > 0 {
            let field = self.dice.one_of(&FIELDS);
            query.filter = Some(Filter { field, from: self.bound(), to: self.bound() });
        }
        if self.dice.below(2) == 0 {
            let value = if query.filter.is_some() { self.value() } else { String::new() };
            query.after = Some(Cursor { value, id: self.dice.below(9).to_string() });
        }
        query
    }

    fn bound(&mut self) -> std::ops::Bound<String> {
        match self.dice.below(3) {
            0 => std::ops::Bound::Included(self.value()),
            1 => std::ops::Bound::Excluded(self.value()),
            _ => std::ops::Bound::Unbounded,
        }
    }
}

/// What a caller acts on.
fn outcome<T>(result: Result<T>) -> Result<T, ErrorKind> {
    result.map_err(|error| error.kind().clone())
}

/// `SplitMix64` (Steele, Lea, Flood 2014): enough chance for a test, and the same at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, not including, `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// A number between `-size / 2` and `size`.
    fn signed(&mut self, size: i64) -> i64 {
        self.roll().cast_signed().rem_euclid(size + size / 2 + 1) - size / 2
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()]
    }
}
