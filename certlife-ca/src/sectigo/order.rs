//! Orders from the intent to the record at Sectigo, and what is decided about them.

use certlife_core::{
    Csr, Error, ErrorKind, Identifier, InputError, Operation, Result, Retry, VendorText,
    ca::{Decision, Found, OrderHandle, OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose, Stage},
    challenge::ChallengeId,
};
use serde::{Deserialize, Serialize};

use super::{
    NAME, Sectigo,
    api::{Enrolment, Notes, Renewal, Replacement},
    check::{self, Way},
    options::{self, OrderOptions},
    unsupported,
    wire::{Details, FieldValue},
};

/// The longest signing request ("Enrol" in Sectigo's REST reference), and the longest common name.
const MAX_CSR: usize = 32_767;

/// The durable handle of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    pub(super) ssl_id: u64,
    /// The serial number of the certificate that this order replaces: the record keeps its id, so until another one is
    /// there the order is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<String>,
}

impl Handle {
    pub(super) fn new(ssl_id: u64) -> Self {
        Self { ssl_id, replaces: None }
    }

    pub(super) fn read(operation: Operation, handle: &OrderHandle) -> Result<Self> {
        Self::deserialize(&handle.0).map_err(|error| {
            let kind = ErrorKind::Corrupt("the handle is not that of a Sectigo order".into());
            Error::new(NAME, operation, kind).retry_as(Retry::Never).because(error)
        })
    }

    pub(super) fn id_of(handle: &OrderHandle) -> Option<u64> {
        Self::deserialize(&handle.0).ok().map(|handle| handle.ssl_id)
    }

    pub(super) fn written(&self) -> OrderHandle {
        // Two plain members can always be written.
        OrderHandle(serde_json::to_value(self).unwrap_or_default())
    }
}

impl Sectigo {
    pub(super) async fn place_order(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        use certlife_core::CertificateAuthority as _;
        let capabilities = self.capabilities();
        capabilities.require(NAME, &intent.request)?;
        if intent.csr.key_algorithm().is_some_and(|key| !capabilities.key_algorithms.contains(&key)) {
            return Err(unsupported(Operation::PlaceOrder, "the key in the request"));
        }
        let refused = |input| Error::input(Operation::PlaceOrder, input);
        self.check(&intent.request, None).map_err(refused)?;
        check_intent(intent).map_err(refused)?;
        let options = OrderOptions::read(&intent.request.options).map_err(refused)?;
        let handle = match Way::of(&intent.request.purpose).map_err(refused)? {
            Way::Enroll => self.enroll(intent, &options).await?,
            Way::Renew(id) => match self.renew(intent, &options, id).await? {
                Some(handle) => handle,
                // Renewed, but not told as what. Whatever keeps it from being found now, it is paid for.
                None => match self.seek(intent).await {
                    Ok(Found::Order(order)) => return Ok(*order),
                    Ok(_) => return Err(Error::new(NAME, Operation::PlaceOrder, ErrorKind::Uncertain)),
                    Err(error) => {
                        let uncertain = Error::new(NAME, Operation::PlaceOrder, ErrorKind::Uncertain);
                        return Err(uncertain.because(error));
                    }
                },
            },
            Way::Replace(id) => self.replace(intent, &options, id).await?,
        };
        // The order stands; what cannot be read of it now is read at the next poll.
        match self.look(Operation::PlaceOrder, &handle, Some(intent)).await {
            Ok(snapshot) => Ok(snapshot),
            Err(error) => {
                tracing::debug!(error = %error.chain(), "a new order could not be read");
                Ok(super::snapshot::bare(&handle, Stage::Processing))
            }
        }
    }

    async fn enroll(&self, intent: &OrderIntent, options: &OrderOptions) -> Result<Handle> {
        let request = &intent.request;
        let refused = |input| Error::input(Operation::PlaceOrder, input);
        let org_id = check::id("organization", request.organization.as_deref()).map_err(refused)?;
        let cert_type = check::id("product", request.product.as_deref()).map_err(refused)?;
        let term_days = match request.validity {
            Some(validity) => check::days(validity).map_err(refused)?,
            None => self.usual_term(cert_type, org_id).await?,
        };
        let body = Enrolment {
            org_id,
            csr: intent.csr.pem(),
            cert_type,
            term_days,
            subj_alt_names: alt_names(intent),
            notes: self.notes(intent, options, &[]).map_err(refused)?,
            dcv: self.proofs(request).map_err(refused)?,
        };
        self.api.enroll(&body).await.map(Handle::new)
    }

    /// The first term that the profile offers, which is what the vendor's own connectors take.
    async fn usual_term(&self, profile: u64, organization: u64) -> Result<u64> {
        let offered = self.api.profiles(Operation::PlaceOrder, Some(organization)).await?;
        let found = offered.iter().find(|one| one.id.and_then(|id| u64::try_from(id).ok()) == Some(profile));
        let term = found.and_then(|one| one.terms_days.iter().find_map(|days| u64::try_from(*days).ok()));
        term.filter(|days| *days > 0).ok_or_else(|| {
            let rule = "this organization is not offered the profile, or it has no terms";
            let input = options::bad("product", &profile.to_string(), rule);
            Error::input(Operation::PlaceOrder, input)
        })
    }

    async fn renew(&self, intent: &OrderIntent, options: &OrderOptions, id: u64) -> Result<Option<Handle>> {
        let refused = |input| Error::input(Operation::PlaceOrder, input);
        let dcv = self.proofs(&intent.request).map_err(refused)?;
        let notes = self.notes(intent, options, &[]).map_err(refused)?;
        let Some(renewed) = self.api.renew(id, &Renewal { csr: intent.csr.pem(), dcv }).await? else {
            return Ok(None);
        };
        // The call takes no comments. Without them the order is as good, but only its key tells whose it is.
        if let Err(error) = self.api.update(renewed, &notes).await {
            tracing::warn!(order = renewed, error = %error.chain(), "the reference was not noted at the CA");
        }
        Ok(Some(Handle::new(renewed)))
    }

    /// Notes the reference first, so that a replacement that is under way can be told for ours.
    async fn replace(&self, intent: &OrderIntent, options: &OrderOptions, id: u64) -> Result<Handle> {
        let refused = |input| Error::input(Operation::PlaceOrder, input);
        let request = &intent.request;
        let known = self.api.details(Operation::PlaceOrder, id).await?;
        let mut notes = self.notes(intent, options, &known.custom_fields).map_err(refused)?;
        if options.comments.is_none() && self.reference_field.is_none() {
            notes.comments = Some(options::marked(known.comments.as_deref(), &intent.reference));
        }
        match self.api.update(id, &notes).await {
            Ok(()) => {}
            Err(error) if error.retry() == Retry::Never => {
                tracing::warn!(order = id, error = %error.chain(), "the reference was not noted at the CA");
            }
            Err(error) => return Err(error),
        }
        let reason = match &request.purpose {
            Purpose::Reissue { reason: Some(reason), .. } if !reason.is_empty() => reason.as_str(),
            _ => "another key or other names",
        };
        let body = Replacement {
            csr: intent.csr.pem(),
            reason: reason.chars().take(options::MAX_REASON).collect(),
            common_name: common_name(&intent.csr, &request.identifiers).map(ToString::to_string),
            subject_alternative_names: request.identifiers.iter().map(ToString::to_string).collect(),
            dcv: self.proofs(request).map_err(refused)?,
        };
        self.api.replace(id, &body).await?;
        Ok(Handle { ssl_id: id, replaces: known.serial() })
    }

    /// What people read of the record, with the reference. `known` are the custom fields that it has already.
    fn notes(
        &self,
        intent: &OrderIntent,
        options: &OrderOptions,
        known: &[FieldValue],
    ) -> Result<Notes, InputError> {
        let OrderIntent { reference, request, .. } = intent;
        let mut fields: Vec<(&str, &str)> =
            options.custom_fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let comments = match &self.reference_field {
            Some(field) => {
                fields.push((field, reference));
                options.comments.clone()
            }
            None => Some(options::marked(options.comments.as_deref(), reference)),
        };
        let mut custom_fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| FieldValue {
                name: Some((*name).to_owned()),
                value: Some((*value).to_owned()),
            })
            .collect();
        // A list that is sent stands for all, so what was there goes with it.
        if !custom_fields.is_empty() {
            let ours =
                |field: &&FieldValue| fields.iter().any(|(name, _)| Some(*name) == field.name.as_deref());
            custom_fields.extend(known.iter().filter(|field| !ours(field)).cloned());
        }
        Ok(Notes { comments, external_requester: Self::requesters(request, options)?, custom_fields })
    }

    /// Whether a record carries the reference of an intent.
    pub(super) fn carries(&self, record: &Details, reference: &str) -> bool {
        match &self.reference_field {
            Some(wanted) => record.custom_fields.iter().any(|field| {
                field.name.as_ref() == Some(wanted) && field.value.as_deref() == Some(reference)
            }),
            None => record.comments.as_deref().is_some_and(|text| options::carries(text, reference)),
        }
    }

    pub(super) async fn look_at(&self, operation: Operation, order: &OrderRef) -> Result<OrderSnapshot> {
        let handle = Handle::read(operation, &order.handle)?;
        self.look(operation, &handle, order.intent.as_ref()).await
    }

    pub(super) async fn have_checked(
        &self,
        order: &OrderRef,
        ready: &[ChallengeId],
    ) -> Result<OrderSnapshot> {
        let handle = Handle::read(Operation::Respond, &order.handle)?;
        if self.order_validation && !ready.is_empty() {
            match self.api.recheck(handle.ssl_id).await {
                Ok(()) => {}
                // Nothing is left to be checked, as the details will show.
                Err(error) if matches!(error.kind(), ErrorKind::Rejected(_) | ErrorKind::Conflict(_)) => {
                    tracing::debug!(error = %error.chain(), "nothing to check again");
                }
                Err(error) => return Err(error),
            }
        }
        self.look(Operation::Respond, &handle, order.intent.as_ref()).await
    }

    pub(super) async fn carry_out(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        let verb = match decision {
            Decision::Approve => "approve",
            Decision::Decline => "decline",
            _ => return Err(unsupported(Operation::Decide, "anything but to approve or to decline")),
        };
        let handle = Handle::read(Operation::Decide, &order.handle)?;
        let decided = self.api.decide(verb, handle.ssl_id).await;
        let snapshot = match &decided {
            // A conflict may mean that it is decided already, as after a lost answer.
            Ok(()) => self.look(Operation::Decide, &handle, order.intent.as_ref()).await?,
            Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => {
                self.look(Operation::Decide, &handle, order.intent.as_ref()).await?
            }
            Err(_) => return decided.map(|()| super::snapshot::bare(&handle, Stage::Processing)),
        };
        let is_so = match decision {
            Decision::Approve => !snapshot.stage.is_lost() && snapshot.stage != Stage::AwaitingApproval,
            _ => snapshot.stage == Stage::Rejected,
        };
        if is_so { Ok(snapshot) } else { decided.map(|()| snapshot) }
    }
}

fn check_intent(intent: &OrderIntent) -> Result<(), InputError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let reference = &intent.reference;
    if !(1..=64).contains(&reference.len()) || !reference.bytes().all(plain) {
        return Err(options::bad("reference", reference, "1 to 64 lower-case letters, digits or hyphens"));
    }
    if intent.csr.pem().len() > MAX_CSR {
        return Err(InputError::Csr { rule: "Sectigo takes at most 32767 characters".into() });
    }
    let OrderRequest { identifiers, .. } = &intent.request;
    intent.csr.check_against(&identifiers.iter().cloned().collect(), None)
}

/// The names as enrolment wants them. A sole name that is the common name is left out: a profile for a single domain
/// may count it twice.
fn alt_names(intent: &OrderIntent) -> Option<String> {
    let identifiers = &intent.request.identifiers;
    if identifiers.len() == 1 && common_name(&intent.csr, identifiers).is_some() {
        return None;
    }
    let names: Vec<_> = identifiers.iter().map(ToString::to_string).collect();
    Some(names.join(","))
}

/// The identifier that the request has as its common name.
pub(super) fn common_name<'a>(csr: &Csr, identifiers: &'a [Identifier]) -> Option<&'a Identifier> {
    let subject: &VendorText = csr.subject();
    let names: Vec<Identifier> = subject
        .as_str()
        .split(',')
        .filter_map(|part| part.trim().strip_prefix("CN=")?.parse().ok())
        .collect();
    identifiers.iter().find(|identifier| names.contains(identifier))
}
