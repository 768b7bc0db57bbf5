//! Whether an order exists although the answer to placing it was lost.
//!
//! Money hangs on "nothing", so it is said only after every record that could be the order was looked at, and the engine
//! looks again once the CA has had its time. What cannot be told for certain is left to a person.

use std::{collections::BTreeSet, time::Duration};

use certlife_core::{
    Error, ErrorKind, Identifier, Operation, Result, Retry,
    ca::{Found, OrderIntent, Purpose},
};

use super::{
    NAME, Sectigo,
    api::{PAGE, next_position},
    check::Way,
    order::{Handle, common_name},
    snapshot::Status,
    wire::{self, Details, Entry},
};

const FIND: Operation = Operation::FindOrder;
/// The most pages that are looked through: 200,000 records.
const MAX_PAGES: usize = 1_000;
/// How long the certificate of a record is waited for that may be ours, from the start of the day of its request. The day
/// is the CA's, so this is a day and a half at least.
const PATIENCE: Duration = Duration::from_hours(60);

/// The records that could be an order.
struct Candidates {
    ids: BTreeSet<u64>,
    /// Whether every record was listed for certain.
    complete: bool,
}

impl Sectigo {
    pub(super) async fn find_order(&self, intent: &OrderIntent) -> Result<Found> {
        match self.seek(intent).await {
            // The order may be there all the same, so this must not look as if it was over.
            Err(error) if error.retry() == Retry::Never => {
                tracing::warn!(error = %error.chain(), "the CA does not let the order be looked for");
                Ok(Found::CannotTell)
            }
            found => found,
        }
    }

    pub(super) async fn seek(&self, intent: &OrderIntent) -> Result<Found> {
        match Way::of(&intent.request.purpose) {
            Ok(Way::Enroll) => self.seek_enrolled(intent).await,
            Ok(Way::Renew(of)) => self.seek_renewed(intent, of).await,
            Ok(Way::Replace(id)) => self.seek_replaced(intent, id).await,
            // Refused by `place` before anything is sent.
            Err(_) => Ok(Found::Nothing),
        }
    }

    /// By the reference: first among the records of the common name, then among all of the organization, since how the
    /// filter compares names is not documented.
    async fn seek_enrolled(&self, intent: &OrderIntent) -> Result<Found> {
        let request = &intent.request;
        let organization = request.organization.clone().unwrap_or_default();
        let common_name = common_name(&intent.csr, &request.identifiers).map(ToString::to_string);
        let filters =
            [common_name.as_deref().map(|name| ("commonName", name)), Some(("orgId", &organization))];
        let mut refuted = BTreeSet::new();
        let mut complete = true;
        for filter in filters.into_iter().flatten() {
            let candidates = self.candidates(&[filter], &request.identifiers).await?;
            for id in candidates.ids {
                if refuted.contains(&id) {
                    continue;
                }
                if let Some(details) = self.existing(id).await?
                    && self.carries(&details, &intent.reference)
                {
                    return self.found(&Handle::new(id), intent, &details).await;
                }
                refuted.insert(id);
            }
            complete = candidates.complete;
        }
        Ok(if complete { Found::Nothing } else { Found::CannotTell })
    }

    /// By the reference, which may not have been noted any more, or by the key of the certificate. Renewing makes a
    /// newer record and flags the old one.
    async fn seek_renewed(&self, intent: &OrderIntent, of: u64) -> Result<Found> {
        let old = self.api.details(FIND, of).await?;
        let organization = old.org_id.map(|id| id.to_string());
        let filter = organization.as_deref().map(|id| ("orgId", id));
        let filter: Vec<_> = filter.into_iter().collect();
        let candidates = self.candidates(&filter, &intent.request.identifiers).await?;
        let mut certain = candidates.complete && !old.renewed;
        let mut under_way = false;
        for id in candidates.ids.into_iter().filter(|id| *id > of) {
            let Some(details) = self.existing(id).await? else { continue };
            let handle = Handle::new(id);
            if self.carries(&details, &intent.reference) {
                return self.found(&handle, intent, &details).await;
            }
            match Status::of(&details) {
                Status::Certified(_) => {
                    if let Some(found) = self.with_our_key(&handle, intent, &details).await? {
                        return Ok(found);
                    }
                }
                // No certificate, no reference: it may be ours, or another's. The certificate will tell, if it comes.
                Status::Open(_) if self.is_fresh(&details) => under_way = true,
                _ => certain = false,
            }
        }
        if under_way {
            let what =
                "a renewal without a reference is under way, and its certificate will tell whose it is";
            let wait = Retry::After(Duration::from_mins(5));
            return Err(Error::new(NAME, FIND, ErrorKind::NotNow(what.into())).retry_as(wait));
        }
        Ok(if certain { Found::Nothing } else { Found::CannotTell })
    }

    /// Replacing keeps the record, so it is its certificate that tells, or its reference while there is none yet.
    async fn seek_replaced(&self, intent: &OrderIntent, id: u64) -> Result<Found> {
        let details = self.api.details(FIND, id).await?;
        let replaced = match &intent.request.purpose {
            Purpose::Reissue { of, .. } => of.chain.info().ok().map(|info| wire::folded_serial(&info.serial)),
            _ => None,
        };
        let handle = Handle { ssl_id: id, replaces: replaced };
        match Status::of(&details) {
            Status::Certified(_) if details.serial() == handle.replaces => Ok(Found::Nothing),
            Status::Certified(_) => {
                Ok(self.with_our_key(&handle, intent, &details).await?.unwrap_or(Found::CannotTell))
            }
            Status::Open(_) if self.carries(&details, &intent.reference) => {
                self.found(&handle, intent, &details).await
            }
            _ => Ok(Found::CannotTell),
        }
    }

    async fn found(&self, handle: &Handle, intent: &OrderIntent, details: &Details) -> Result<Found> {
        Ok(Found::Order(Box::new(self.describe(FIND, handle, Some(intent), details).await?)))
    }

    /// The order, if the certificate of a record has the key of the intent.
    async fn with_our_key(
        &self,
        handle: &Handle,
        intent: &OrderIntent,
        details: &Details,
    ) -> Result<Option<Found>> {
        let snapshot = self.describe(FIND, handle, Some(intent), details).await?;
        let info = snapshot.certificate.as_ref().and_then(|chain| chain.info().ok());
        let ours = info.is_some_and(|info| info.key_hash == intent.csr.public_key_hash());
        Ok(ours.then(|| Found::Order(Box::new(snapshot))))
    }

    /// Whether a record was requested so lately that its certificate is worth waiting for.
    fn is_fresh(&self, details: &Details) -> bool {
        let asked = details.requested.as_deref().and_then(wire::moment);
        asked.is_some_and(|asked| self.clock.now() < asked + PATIENCE)
    }

    /// The details of a record; none if it has gone since it was listed.
    async fn existing(&self, id: u64) -> Result<Option<Details>> {
        match self.api.details(FIND, id).await {
            Ok(details) => Ok(Some(details)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists every record that the filter leaves and that could have these names.
    async fn candidates(&self, filter: &[(&str, &str)], names: &[Identifier]) -> Result<Candidates> {
        let mut listed = BTreeSet::new();
        let mut ids = BTreeSet::new();
        let mut position = 0;
        for page in 1..=MAX_PAGES {
            let part = self.api.list(FIND, filter, position, PAGE).await?;
            let count = part.entries.len();
            for entry in &part.entries {
                let Some(id) = entry.ssl_id.and_then(|id| u64::try_from(id).ok()) else { continue };
                listed.insert(id);
                if could_have(entry, names) {
                    ids.insert(id);
                }
            }
            match next_position(position, count, PAGE, part.total) {
                Some(next) => position = next,
                // Records that vanish meanwhile move others to pages that were read already.
                None => {
                    let complete = match part.total {
                        Some(total) => listed.len() >= total,
                        None => page == 1,
                    };
                    return Ok(Candidates { ids, complete });
                }
            }
        }
        Ok(Candidates { ids, complete: false })
    }
}

/// Whether a line of the listing, which may lack all names, could be a record for these.
fn could_have(entry: &Entry, names: &[Identifier]) -> bool {
    let is_ours = |text: &String| text.parse().is_ok_and(|name| names.contains(&name));
    match entry.common_name.as_ref() {
        // A request that has a common name has one of the names, or a person's.
        Some(name) if name.parse::<Identifier>().is_ok() => is_ours(name),
        _ => {
            let others = &entry.subject_alternative_names;
            others.is_empty() || others.iter().any(is_ours)
        }
    }
}
