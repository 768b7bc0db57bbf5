//! Placing orders, and finding them again: where money is spent.

use std::time::Duration;

use certlife_core::{
    Error, ErrorKind, Identifier, Operation, Result, Retry,
    ca::{Found, OrderIntent, OrderSnapshot, Purpose, Stage},
};
use futures_util::future::try_join_all;

use super::{
    SslStore,
    api::Which,
    check::{product_code, refused, sans},
    error,
    follow::Delivery,
    handle,
    options::{OrderOptions, Vendor},
    order::{Handle, Method, Order, Standing},
    party::is_email,
    request::{NewOrder, Parties, Reissue, unique_value},
    unknown_order,
};

/// The mailboxes that may confirm for a domain without being listed (BR §3.2.2.4.4).
const MAILBOXES: [&str; 5] = ["admin", "administrator", "hostmaster", "webmaster", "postmaster"];
/// Addresses in the vendor's lists that nobody reads.
const UNREAD: [&str; 2] = ["support@geotrust.com", "support_preprod@geotrust.com"];

const OPERATION: Operation = Operation::PlaceOrder;

/// How long the vendor gets to book an order before it counts as never placed. No source says how long it takes.
pub(super) const SETTLES_IN: Duration = Duration::from_mins(1);

impl SslStore {
    pub(super) async fn place_order(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        let (order, ours) = match &intent.request.purpose {
            Purpose::Reissue { of, .. } => {
                let order = of.handle.as_ref().ok_or_else(|| unknown_order(OPERATION))?;
                let of = handle(OPERATION, order)?;
                let order = self.reissue(intent, &of).await?;
                // The order keeps its number, and mostly its first reference too.
                let ours = order.number().as_ref() == Some(&of.order);
                (order, ours)
            }
            purpose => {
                // What this account does not know is followed by a first order.
                let related = purpose.predecessor().and_then(|of| Handle::read(of.handle.as_ref()?));
                let approvers = self.choose_approvers(intent).await?;
                let body = NewOrder::new(self, intent, approvers, related.map(|handle| handle.order));
                let order = self.api.new_order(&body.map_err(input)?).await?;
                let ours = order.reference().is_none_or(|reference| reference == intent.reference);
                (order, ours)
            }
        };
        let Some(number) = order.number().filter(|_| ours) else {
            return Err(error(OPERATION, ErrorKind::Uncertain).because("the answer is about another order"));
        };
        let handle = Handle::placed(number.clone(), Method::wanted(&intent.request));
        // The order stands, whatever else cannot be read or fetched now: the next question shows it.
        let snapshot = self.snapshot(OPERATION, &order, &handle, Some(intent)).await;
        Ok(snapshot.unwrap_or_else(|_| OrderSnapshot {
            number: Some(number.into()),
            details: order.details(),
            ..OrderSnapshot::new(handle.write(), Stage::Processing)
        }))
    }

    async fn reissue(&self, intent: &OrderIntent, of: &Handle) -> Result<Order> {
        let before = self.read(OPERATION, of).await?;
        match before.standing() {
            Standing::Issued => {}
            Standing::Reissuing => {
                return Err(error(
                    OPERATION,
                    ErrorKind::NotNow("another reissue of the order is open".into()),
                ));
            }
            _ => {
                let words = before.message().unwrap_or_default();
                return Err(error(OPERATION, ErrorKind::NotNow(format!("the order is: {words}").into())));
            }
        }
        let email = before.object.object("AdminContact").and_then(|contact| contact.text("Email"));
        let email = match email.filter(|email| is_email(email)) {
            Some(email) => email,
            None => {
                let options = OrderOptions::read(&intent.request.options).map_err(input)?;
                Parties::of(self, &intent.request, &options).map_err(input)?.administrator.email
            }
        };
        let mut names = before.names();
        if names.is_empty() {
            let predecessor = intent.request.purpose.predecessor();
            let info = predecessor.and_then(|of| of.chain.info().ok());
            names = info.map(|info| info.identifiers.into_iter().collect()).unwrap_or_default();
        }
        let approvers = self.choose_approvers(intent).await?;
        let body = Reissue::new(self, intent, of.order.clone(), &names, email, approvers).map_err(input)?;
        self.api.reissue(&body).await
    }

    /// Looks for the order of an intent. That it does not exist is said only if the vendor, who accepts the login,
    /// knows no order of the reference, and the whole list shows none either: the words of its refusal are not
    /// documented, so they alone mean nothing.
    ///
    /// An order in doubt is not given up because it cannot be looked for now: every error is for later.
    pub(super) async fn find_order(&self, intent: &OrderIntent) -> Result<Found> {
        self.look_for(intent).await.map_err(|error| match (error.kind(), error.retry()) {
            (_, Retry::Never) => error.retry_as(Retry::Backoff),
            _ => error,
        })
    }

    async fn look_for(&self, intent: &OrderIntent) -> Result<Found> {
        match &intent.request.purpose {
            Purpose::Reissue { of, .. } => match of.handle.as_ref().and_then(Handle::read) {
                Some(handle) => self.find_reissue(intent, &handle).await,
                None => Ok(Found::Nothing),
            },
            _ => self.find_new(intent).await,
        }
    }

    async fn find_new(&self, intent: &OrderIntent) -> Result<Found> {
        const OPERATION: Operation = Operation::FindOrder;
        let is_ours = |order: &Order| order.reference().as_ref() == Some(&intent.reference);
        let another = match self.api.status(OPERATION, Which::Reference(&intent.reference)).await {
            Ok(order) if is_ours(&order) => return self.found(&order, intent).await,
            Ok(_) => true,
            Err(refused) if is_refusal(&refused) => false,
            Err(error) => return Err(error),
        };
        if self.api.login.is_token() {
            // Its one order is paid for; as long as nobody has configured it, nothing was placed.
            let token = self.api.validate_token(OPERATION).await?;
            let status = token.object("OrderStatus").and_then(|status| status.text("MajorStatus"));
            let status = status.or_else(|| token.text("OrderStatus")).unwrap_or_default();
            let fresh = status.eq_ignore_ascii_case("initial") && !another;
            return Ok(if fresh { Found::Nothing } else { Found::CannotTell });
        }
        match self.listed(OPERATION, is_ours).await {
            Ok(Some(order)) => self.found(&order, intent).await,
            Ok(None) => Ok(if another { Found::CannotTell } else { Found::Nothing }),
            Err(refused) if is_refusal(&refused) => Ok(Found::CannotTell),
            Err(error) => Err(error),
        }
    }

    /// Looks whether the order that is to be reissued shows signs of this very reissue: our reference, our unique
    /// value in what it asks for, our request, or a new certificate for our key.
    async fn find_reissue(&self, intent: &OrderIntent, of: &Handle) -> Result<Found> {
        const OPERATION: Operation = Operation::FindOrder;
        let order = match self.read(OPERATION, of).await {
            Err(gone) if matches!(gone.kind(), ErrorKind::NotFound(_)) => return Ok(Found::CannotTell),
            other => other?,
        };
        if order.reference().as_ref() == Some(&intent.reference)
            || asks_for(&order, &unique_value(&intent.reference))
        {
            return self.found(&order, intent).await;
        }
        match order.standing() {
            Standing::Issued => match self.delivery(&of.order, None).await? {
                Delivery::Chain(chain) => {
                    let predecessor = intent.request.purpose.predecessor();
                    let is_old = predecessor.is_some_and(|of| of.chain.fingerprint() == chain.fingerprint());
                    let key = chain.info().ok().map(|info| info.key_hash);
                    if is_old {
                        Ok(Found::Nothing)
                    } else if key == Some(intent.csr.public_key_hash()) {
                        self.found(&order, intent).await
                    } else {
                        Ok(Found::CannotTell)
                    }
                }
                Delivery::NotYet(_) => Ok(Found::CannotTell),
            },
            Standing::Reissuing => match self.api.csr(&of.order).await {
                Ok(Some(csr)) if csr.public_key_hash() == intent.csr.public_key_hash() => {
                    self.found(&order, intent).await
                }
                Ok(_) => Ok(Found::CannotTell),
                Err(refused) if is_refusal(&refused) => Ok(Found::CannotTell),
                Err(error) => Err(error),
            },
            // Nothing is reissued from such an order.
            Standing::Over(_) => Ok(Found::Nothing),
            _ => Ok(Found::CannotTell),
        }
    }

    async fn found(&self, order: &Order, intent: &OrderIntent) -> Result<Found> {
        let Some(number) = order.number() else { return Ok(Found::CannotTell) };
        let handle = Handle::placed(number, Method::wanted(&intent.request));
        let snapshot = self.snapshot(Operation::FindOrder, order, &handle, Some(intent)).await?;
        Ok(Found::Order(Box::new(snapshot)))
    }

    /// Lists who may confirm.
    pub(super) async fn list_approvers(
        &self,
        domain: &Identifier,
        product: Option<&str>,
    ) -> Result<Vec<String>> {
        const OPERATION: Operation = Operation::ListApprovers;
        let input = |rule| error(OPERATION, ErrorKind::Input(rule));
        let base = domain.base_name().ok_or_else(|| {
            input(refused("domain", &domain.to_string(), "nobody has a mailbox at an address"))
        })?;
        let product = product.ok_or_else(|| {
            input(refused("product", "", "the list depends on the product; name one by its code"))
        })?;
        let mut listed = self.api.approvers(OPERATION, product, base.as_str()).await?;
        let mut seen = std::collections::BTreeSet::new();
        listed.retain(|address| {
            is_email(address)
                && !UNREAD.contains(&address.as_str())
                && seen.insert(address.to_ascii_lowercase())
        });
        Ok(listed)
    }

    /// Says who confirms each domain, common name first, as one text. Where nobody is asked the field wants an
    /// address all the same.
    async fn choose_approvers(&self, intent: &OrderIntent) -> Result<String> {
        let request = &intent.request;
        let options = OrderOptions::read(&request.options).map_err(input)?;
        let product = product_code(request).map_err(input)?;
        let mut names: Vec<_> = request.identifiers.first().into_iter().collect();
        names.extend(sans(&request.identifiers, options.auto_www));
        if options.vendor_of(product) == Vendor::DigiCert {
            names.truncate(1);
        }
        let asked = Method::wanted(request) == Method::Email;
        let choose = names.into_iter().map(|name| {
            let own = request.challenges.get(name).and_then(|proof| proof.approver.clone());
            let stated = own.or_else(|| options.approver_email.clone());
            self.choose_approver(name, product, stated, asked)
        });
        Ok(try_join_all(choose).await?.join(","))
    }

    /// Takes who was stated, if that is one of the five mailboxes or the CA lists it, else the first of its list.
    pub(super) async fn choose_approver(
        &self,
        name: &Identifier,
        product: &str,
        stated: Option<String>,
        asked: bool,
    ) -> Result<String> {
        let base = name.base_name().map(ToString::to_string).unwrap_or_default();
        match stated {
            Some(address) if is_mailbox(&address, name) => return Ok(address),
            _ if !asked => return Ok(format!("admin@{base}")),
            _ => {}
        }
        let listed = self.list_approvers(name, Some(product)).await?;
        let preferred = listed.iter().find(|address| is_mailbox(address, name)).or(listed.first());
        let chosen = match &stated {
            Some(address) => listed.iter().find(|known| known.eq_ignore_ascii_case(address)),
            None => preferred,
        };
        chosen.cloned().ok_or_else(|| {
            let rule = format!("for {name} the CA asks {}", listed.join(", "));
            input(refused("approver", stated.as_deref().unwrap_or_default(), rule))
        })
    }
}

/// Whether the vendor itself refused, in words that mean nothing to a program.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Rejected(_))
}

fn input(rule: certlife_core::InputError) -> Error {
    error(OPERATION, ErrorKind::Input(rule))
}

/// Whether an address is one of the five at the name or at a domain above it.
pub(super) fn is_mailbox(address: &str, name: &Identifier) -> bool {
    let Some((user, host)) = address.split_once('@') else { return false };
    let Ok(host) = host.parse::<certlife_core::Fqdn>() else { return false };
    let base = name.base_name().map(certlife_core::DnsName::to_fqdn);
    MAILBOXES.contains(&user.to_ascii_lowercase().as_str())
        && host.parent().is_some()
        && base.is_some_and(|base| base.is_within(&host))
}

/// Whether a proof that an order asks for holds this value.
fn asks_for(order: &Order, unique: &str) -> bool {
    let mut told: Vec<String> =
        ["AuthFileContent", "CNAMEAuthValue"].iter().filter_map(|name| order.object.verbatim(name)).collect();
    for domain in order.status.objects("DomainAuthVettingStatus") {
        told.extend(["FileContents", "DNSEntry"].iter().filter_map(|name| domain.verbatim(name)));
    }
    told.iter().any(|text| text.to_ascii_lowercase().contains(unique))
}
