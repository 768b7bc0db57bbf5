//! Orders: placed, looked for, asked after, decided on.

use certlife_core::{
    Error, ErrorKind, Operation, Result, Retry,
    ca::{
        Decision, Found, IssuedRef, OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose, PurposeKind,
    },
    http::Response,
};

use super::{
    Entrust, NAME,
    api::Done,
    check::Whose,
    options::{CustomValue, OrderOptions, SignatureAlgorithm, last_day, period},
    product::{self, PRIVATE_DEDICATED},
    settings::ValidityAs,
    snapshot::{Handle, common_name},
    wire::{Certificate, Operate, OrderBody, TrackingBody},
};

/// The decisions that orders take.
pub(super) const DECISIONS: [Decision; 6] = [
    Decision::Approve,
    Decision::Decline,
    Decision::Suspend,
    Decision::Resume,
    Decision::Deactivate,
    Decision::Reactivate,
];

impl Entrust {
    pub(super) async fn place_order(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        let (body, of) = self.order_body(intent).await?;
        let placed = match (&intent.request.purpose, of) {
            (Purpose::Renewal { .. }, Some(of)) => self.api.renew(of, &body).await,
            (Purpose::Reissue { .. }, Some(of)) => self.api.reissue(of, &body).await,
            _ => self.api.order(&body).await,
        }?;
        let handle = Handle { order: placed.tracking_id.unwrap_or_default(), client: body.client_id };
        // An order whose certificate cannot be read exists all the same.
        let snapshot = placed.snapshot(handle, self.clock.now()).or_else(|unreadable| {
            let bare = Certificate { end_entity_cert: None, ..placed.clone() };
            tracing::warn!(order = handle.order, error = %unreadable, "the certificate in the answer is not usable");
            bare.snapshot(handle, self.clock.now())
        });
        snapshot.map_err(|input| Error::new(NAME, Operation::PlaceOrder, ErrorKind::Input(input)))
    }

    /// Puts an order together, with the number of the order that it follows.
    async fn order_body(&self, intent: &OrderIntent) -> Result<(OrderBody, Option<i64>)> {
        const OPERATION: Operation = Operation::PlaceOrder;
        let wrong = |input| Error::new(NAME, OPERATION, ErrorKind::Input(input));
        let request = &intent.request;
        let options = OrderOptions::read(&request.options).map_err(wrong)?;
        let of = match request.purpose.predecessor() {
            Some(issued) => Some(self.number_of(OPERATION, issued).await?),
            None => None,
        };
        let organization = request.organization.as_deref().map(Whose::read).transpose().map_err(wrong)?;
        let whose = match (organization, self.client_of(request), of) {
            (Some(whose), ..) => Some(whose),
            (None, Some(client), _) => Some(Whose { client, organization: None }),
            (None, None, Some(of)) => self.whose(of).await?,
            (None, None, None) => None,
        };
        let kind = request.purpose.kind();
        let is_new = kind == PurposeKind::New;
        let (cert_expiry_date, cert_lifetime) =
            if kind == PurposeKind::Reissue { (None, None) } else { self.term(request, &options) };
        let product = request.product.as_deref();
        // Organizations of other units follow from the unit, and naming them is refused.
        let may_name = |whose: &&Whose| whose.client == 1 || product == Some(PRIVATE_DEDICATED);
        let named = whose.as_ref().filter(may_name).and_then(|whose| whose.organization.clone());
        let body = OrderBody {
            cert_type: product.filter(|_| is_new).map(str::to_owned),
            client_id: whose.map(|whose| whose.client),
            org: named,
            csr: intent.csr.pem(),
            subject_alt_name: alt_names(intent),
            signing_alg: Some(options.signature_algorithm.unwrap_or(SignatureAlgorithm::Sha2).word()),
            eku: options.extended_key_usage.map(super::ExtendedKeyUsage::word),
            ct_log: options.ct_log,
            cert_expiry_date,
            cert_lifetime,
            queue_for_approval: is_new.then_some(options.queue_for_approval),
            tracking: self.tracking(intent, &options).map_err(wrong)?,
        };
        Ok((body, of))
    }

    /// The last day, or the period.
    fn term(&self, request: &OrderRequest, options: &OrderOptions) -> (Option<String>, Option<String>) {
        match (request.validity, self.validity_as) {
            (Some(validity), ValidityAs::ExpiryDate) => (Some(last_day(self.clock.now(), validity)), None),
            (Some(validity), ValidityAs::Lifetime) => (None, Some(period(validity))),
            (None, _) => (options.expiry_date.clone(), options.lifetime.clone()),
        }
    }

    fn tracking(
        &self,
        intent: &OrderIntent,
        options: &OrderOptions,
    ) -> std::result::Result<TrackingBody, certlife_core::InputError> {
        let requester = self.requester_of(&intent.request, options)?;
        let reference = &intent.reference;
        let friendly = options.friendly_name.as_deref().map(str::trim);
        let custom = options.custom_fields.iter().map(|(name, value)| {
            let value = match value {
                CustomValue::Text(text) => text.as_str().into(),
                CustomValue::Number(number) => serde_json::Value::Number(number.clone()),
            };
            (name.clone(), value)
        });
        Ok(TrackingBody {
            tracking_info: friendly.map_or_else(|| reference.clone(), |name| format!("{name} / {reference}")),
            requester_name: requester.name,
            requester_email: requester.email,
            requester_phone: requester.phone,
            additional_emails: options.additional_emails.clone(),
            custom_fields: custom.collect(),
        })
    }

    /// The company unit that an order is for, where it is known here.
    fn client_of(&self, request: &OrderRequest) -> Option<i64> {
        let stated = request.organization.as_deref().and_then(|id| Whose::read(id).ok());
        let earlier = || match request.purpose.predecessor() {
            Some(issued) => {
                let handle = issued.handle.as_ref()?;
                Handle::read(Operation::PlaceOrder, handle).ok()?.client
            }
            None => Some(self.client_id),
        };
        stated.map(|whose| whose.client).or_else(earlier)
    }

    /// Who an earlier order was for, where it was not placed from here: its organization tells, if only one unit has
    /// an organization of that name. Otherwise the choice is the CA's.
    async fn whose(&self, of: i64) -> Result<Option<Whose>> {
        const OPERATION: Operation = Operation::PlaceOrder;
        let (earlier, _) = self.api.certificate(OPERATION, of).await?;
        let Some(name) = earlier.org else { return Ok(None) };
        let known = self.api.organizations(OPERATION).await?;
        let mut clients: Vec<i64> = known
            .iter()
            .filter(|known| known.name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(&name)))
            .filter_map(|known| known.client_id)
            .collect();
        clients.sort_unstable();
        clients.dedup();
        Ok(match clients[..] {
            [client] => Some(Whose { client, organization: Some(name) }),
            _ => None,
        })
    }

    /// The number of the order that a certificate came from: from its handle, or found by the serial number.
    pub(super) async fn number_of(&self, operation: Operation, issued: &IssuedRef) -> Result<i64> {
        let fail = |kind| Error::new(NAME, operation, kind);
        if let Some(handle) = &issued.handle {
            return Handle::read(operation, handle).map(|handle| handle.order);
        }
        let info = issued.chain.info().map_err(|input| fail(ErrorKind::Input(input)))?;
        // Upper case and without leading zeros, or nothing is found.
        let serial = info.serial.trim_start_matches('0').to_ascii_uppercase();
        let found = self.api.search(operation, &[("serialNumber", &serial)]).await?;
        // Those that the CA found elsewhere have the number 0; private authorities may repeat a serial number.
        let own: Vec<i64> = found.iter().filter_map(|one| one.tracking_id).filter(|id| *id > 0).collect();
        match own[..] {
            [id] => Ok(id),
            [] => Err(fail(ErrorKind::NotFound("an order with this certificate".into()))),
            _ => {
                let words = format!("{} orders have certificates with the serial number {serial}", own.len());
                Err(fail(ErrorKind::Conflict(words.into())))
            }
        }
    }

    /// Looks for an order by the reference in its tracking text.
    pub(super) async fn find_order(&self, intent: &OrderIntent) -> Result<Found> {
        match self.look_for(intent).await {
            // What the CA refuses to answer, it cannot tell; the order may exist all the same.
            Err(error) if error.retry() == Retry::Never => {
                tracing::warn!(error = %error.chain(), reference = intent.reference, "the order cannot be looked for");
                Ok(Found::CannotTell)
            }
            outcome => outcome,
        }
    }

    async fn look_for(&self, intent: &OrderIntent) -> Result<Found> {
        const OPERATION: Operation = Operation::FindOrder;
        // A server that knew no such filter would list everything, so that each is looked at.
        let containing = format!("con:{}", intent.reference);
        let listed = self.api.search(OPERATION, &[("tracking.trackingInfo", &containing)]).await?;
        let mut ours: Vec<i64> = Vec::new();
        for order in listed {
            let Some(id) = order.tracking_id.filter(|id| *id > 0) else { continue };
            match &order.tracking {
                Some(tracking) if is_ours(tracking.info.as_deref(), &intent.reference) => ours.push(id),
                Some(_) => {}
                // It is not shown which order that is.
                None => return Ok(Found::CannotTell),
            }
        }
        ours.sort_unstable();
        ours.dedup();
        let id = match ours[..] {
            [id] => id,
            [] => return self.found_nothing(intent).await,
            // Such as one that was reissued at the portal: its reference went along.
            _ => return Ok(Found::CannotTell),
        };
        let handle = Handle { order: id, client: self.client_of(&intent.request) };
        let (order, answer) = self.api.certificate(OPERATION, id).await?;
        let snapshot = self.read(handle, &order, &answer)?;
        Ok(Found::Order(Box::new(snapshot)))
    }

    /// Says what it means that the list has no such order.
    async fn found_nothing(&self, intent: &OrderIntent) -> Result<Found> {
        const OPERATION: Operation = Operation::FindOrder;
        if let Some(issued) = intent.request.purpose.predecessor() {
            let of = self.number_of(OPERATION, issued).await?;
            let (earlier, _) = self.api.certificate(OPERATION, of).await?;
            // It has a successor, which does not carry our reference or does not show.
            if matches!(earlier.word().as_str(), "RENEWING" | "RENEWED" | "REISSUING" | "REISSUED") {
                return Ok(Found::CannotTell);
            }
        }
        Ok(Found::Nothing)
    }

    /// Asks how an order is.
    pub(super) async fn ask(&self, operation: Operation, order: &OrderRef) -> Result<OrderSnapshot> {
        let handle = Handle::read(operation, &order.handle)?;
        let (certificate, answer) = self.api.certificate(operation, handle.order).await?;
        self.read(handle, &certificate, &answer)
    }

    pub(super) fn read(
        &self,
        handle: Handle,
        order: &Certificate,
        answer: &Response,
    ) -> Result<OrderSnapshot> {
        let snapshot = order.snapshot(handle, self.clock.now());
        snapshot.map_err(|input| answer.unexpected(format!("its certificate is not usable: {input}")))
    }

    /// Carries a decision out, and reads what became of the order. One that was carried out already is refused by the
    /// CA; the status tells that from a refusal.
    pub(super) async fn decide_on(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        const OPERATION: Operation = Operation::Decide;
        let handle = Handle::read(OPERATION, &order.handle)?;
        let operate = |operation| Operate {
            operation,
            decline_reason: (operation == "DECLINE").then_some("declined through certlife"),
        };
        let sent = match decision {
            Decision::Approve => self.api.operate(handle.order, &operate("APPROVE")).await,
            Decision::Decline => self.api.operate(handle.order, &operate("DECLINE")).await,
            Decision::Suspend => self.api.operate(handle.order, &operate("SUSPEND")).await,
            Decision::Resume => self.api.operate(handle.order, &operate("UNSUSPEND")).await,
            Decision::Deactivate => self.api.manage(handle.order, "deactivations").await,
            Decision::Reactivate => self.reactivate(handle.order).await,
            _ => {
                let what = format!("{decision:?} at Entrust").to_lowercase();
                return Err(Error::new(NAME, OPERATION, ErrorKind::Unsupported(what.into())));
            }
        };
        let refusal = match sent {
            Ok(Done::Yes(answer)) => {
                let made: Option<Certificate> = answer.json().ok();
                if let Some(made) = made.filter(|made| made.end_entity_cert.is_some()) {
                    return self.read(handle, &made, &answer);
                }
                None
            }
            Ok(Done::Refused(fault)) => {
                Some(fault.words().unwrap_or_else(|| "the CA gives no reason".into()))
            }
            // Nothing that is decided twice does harm, but the answer was lost: look before saying so.
            Err(error) if *error.kind() == ErrorKind::Uncertain => {
                let (now, answer) = self.api.certificate(OPERATION, handle.order).await?;
                if !is_carried_out(decision, &now) {
                    return Err(error);
                }
                return self.read(handle, &now, &answer);
            }
            Err(error) => return Err(error),
        };
        let (now, answer) = self.api.certificate(OPERATION, handle.order).await?;
        match refusal {
            Some(words) if !is_carried_out(decision, &now) => {
                let what = format!("the order is {}, and the CA says: {words}", now.word());
                Err(Error::new(NAME, OPERATION, ErrorKind::NotNow(what.into())))
            }
            _ => self.read(handle, &now, &answer),
        }
    }

    /// Takes an order back into management, which not every version of the API offers.
    async fn reactivate(&self, id: i64) -> Result<Done> {
        let outcome = self.api.manage(id, "reactivations").await;
        let Err(error) = &outcome else { return outcome };
        let not_there = matches!(error.kind(), ErrorKind::NotFound(_) | ErrorKind::Rejected(_));
        if !not_there {
            return outcome;
        }
        // It is the order that does not exist, or the call.
        self.api.certificate(Operation::Decide, id).await?;
        let what = "reactivating by this account or version of the API (the Entrust portal can)";
        Err(Error::new(NAME, Operation::Decide, ErrorKind::Unsupported(what.into())))
    }
}

/// Whether an order shows that a decision has been carried out.
fn is_carried_out(decision: Decision, order: &Certificate) -> bool {
    let word = order.word();
    let word = word.as_str();
    match decision {
        Decision::Approve => !matches!(word, "PENDING" | "DECLINED" | "" | "NA" | "UNKNOWN"),
        Decision::Decline => word == "DECLINED",
        Decision::Suspend => word == "SUSPENDED",
        Decision::Resume => matches!(word, "ACTIVE" | "READY"),
        Decision::Deactivate => order.is_deactivated(),
        Decision::Reactivate => matches!(word, "ACTIVE" | "READY") && !order.is_deactivated(),
        _ => false,
    }
}

/// The names as the CA wants them: all, but for the standard product, which takes the common name from the CSR alone.
fn alt_names(intent: &OrderIntent) -> Vec<String> {
    let request = &intent.request;
    let is_standard = request.product.as_deref() == Some(product::STANDARD);
    let common = common_name(intent.csr.subject().as_str()).filter(|_| is_standard);
    let names = request.identifiers.iter().map(ToString::to_string);
    names.filter(|name| Some(name.as_str()) != common).collect()
}

/// Whether a tracking text holds the reference, and not merely one that begins like it.
fn is_ours(text: Option<&str>, reference: &str) -> bool {
    let belongs =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
    text.is_some_and(|text| text.split(|character| !belongs(character)).any(|word| word == reference))
}
