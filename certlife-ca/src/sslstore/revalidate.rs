//! Another proof for a name of an open order, another approver, or another look.

use certlife_core::{
    Error, ErrorKind, Identifier, Operation, Result,
    ca::{OrderRef, OrderSnapshot},
    challenge::{AuthorizationStatus, ChallengeKind, ChallengeResponse, Proof},
};

use super::{
    SslStore, challenge, check,
    follow::{authorizations, vendor_of},
    handle,
    options::{OrderOptions, Vendor},
    order::{Method, Order, Standing},
    unsupported,
};

const OPERATION: Operation = Operation::Revalidate;

/// What the calls about one name have in common.
struct Name<'a> {
    identifier: &'a Identifier,
    order: String,
    domain: String,
    product: String,
    digicert: bool,
    over_https: bool,
}

impl SslStore {
    /// Has a name proven in another way, by somebody else, or looked at once more.
    pub(super) async fn prove_anew(
        &self,
        order: &OrderRef,
        identifier: &Identifier,
        proof: &Proof,
    ) -> Result<OrderSnapshot> {
        if !check::kinds(self.vendor).contains(&proof.kind) || !proof.kind.suits(identifier) {
            return Err(unsupported(OPERATION, "this proof for this name"));
        }
        let mut handle = handle(OPERATION, &order.handle)?;
        let intent = order.intent.as_ref();
        let seen = self.read(OPERATION, &handle).await?;
        check_open(&seen)?;
        let names = intent.map_or_else(|| seen.names(), |intent| intent.request.identifiers.clone());
        if !names.contains(identifier) {
            return Err(error(ErrorKind::NotFound(format!("{identifier} in the order").into())));
        }
        let known = authorizations(OPERATION, &seen, &handle, intent)?;
        let known = known.into_iter().find(|known| known.identifier == *identifier);
        if known.as_ref().is_some_and(|known| known.status == AuthorizationStatus::Valid) {
            return self.snapshot(OPERATION, &seen, &handle, intent).await;
        }
        let shown = known.and_then(|known| known.challenges.into_iter().next()).map(|shown| shown.response);
        let options = intent.and_then(|intent| OrderOptions::read(&intent.request.options).ok());
        let product = intent.and_then(|intent| intent.request.product.clone()).or(seen.product());
        let name = Name {
            identifier,
            order: handle.order.clone(),
            domain: identifier.to_string(),
            product: product.unwrap_or_default(),
            digicert: vendor_of(order).or(seen.vendor()) == Some(Vendor::DigiCert),
            over_https: options.is_some_and(|options| options.file_over_https),
        };
        let method = Method::of(proof.kind);
        // A change that was made already, but whose answer was lost, sends no second message.
        let known = handle.approver(identifier).map(str::to_owned).or_else(|| {
            intent.and_then(|intent| intent.request.challenges.get(identifier)?.approver.clone())
        });
        let is_made = match (&shown, &proof.approver) {
            (Some(ChallengeResponse::Email { address }), Some(wanted)) if address == wanted => {
                handle.method(identifier).is_some_and(|known| known != Method::Email)
                    || known.is_some_and(|known| known != *wanted)
            }
            _ => false,
        };
        let present = shown.as_ref().map(|shown| Method::of(shown.kind())).or(handle.method(identifier));
        // DigiCert has records of both types; the others have the one that they have.
        let other_type = name.digicert && shown.as_ref().is_some_and(|shown| shown.kind() != proof.kind);
        if is_made {
            tracing::debug!(order = handle.order, %identifier, "the change of the approver had its effect before");
        } else if present == Some(method) && !other_type {
            self.prove_again(&name, proof, shown.as_ref()).await?;
        } else {
            self.prove_otherwise(&name, proof).await?;
        }
        let seen = self.read(OPERATION, &handle).await?;
        // What the vendor does not know it passes over without a sound, so only the order tells.
        if challenge::stated(&seen, identifier).is_some_and(|stated| stated != method) {
            let words = format!("{identifier} is still not proven by {}", method.as_str());
            return Err(error(ErrorKind::Rejected(words.into())));
        }
        handle.change(identifier, method);
        if let (ChallengeKind::Email, Some(approver)) = (proof.kind, &proof.approver) {
            handle.ask(identifier, approver);
        }
        self.snapshot(OPERATION, &seen, &handle, intent).await
    }

    /// The same way once more: a message is sent again, or to somebody else; DigiCert looks now. Sectigo looks by
    /// itself.
    async fn prove_again(
        &self,
        name: &Name<'_>,
        proof: &Proof,
        shown: Option<&ChallengeResponse>,
    ) -> Result<()> {
        let Name { identifier, order, domain, product, digicert, .. } = name;
        if proof.kind != ChallengeKind::Email {
            return if *digicert { self.api.check_proof(OPERATION, order, domain).await } else { Ok(()) };
        }
        let asked = match shown {
            Some(ChallengeResponse::Email { address }) => Some(address),
            _ => None,
        };
        match &proof.approver {
            Some(wanted) if asked != Some(wanted) => {
                let wanted = self.choose_approver(identifier, product, Some(wanted.clone()), true).await?;
                self.api.change_approver(order, domain, &wanted).await
            }
            _ => self.api.resend(order, domain).await,
        }
    }

    async fn prove_otherwise(&self, name: &Name<'_>, proof: &Proof) -> Result<()> {
        let Name { identifier, order, domain, product, digicert, over_https } = name;
        let asked = proof.kind == ChallengeKind::Email;
        let approver = self.choose_approver(identifier, product, proof.approver.clone(), asked).await?;
        let word = match proof.kind {
            ChallengeKind::Email if *digicert => "EMAIL",
            ChallengeKind::Email => "Email",
            ChallengeKind::Http if *over_https => "HTTPS",
            ChallengeKind::Http => "HTTP",
            ChallengeKind::DnsCname if *digicert => "dns_cname_token",
            _ => "DNS",
        };
        if !digicert {
            return self.api.change_method(order, domain, word, &approver).await;
        }
        self.api.set_method(order, domain, word).await?;
        // That call says nothing of who is asked.
        if asked { self.api.change_approver(order, domain, &approver).await } else { Ok(()) }
    }
}

fn check_open(order: &Order) -> Result<()> {
    if matches!(order.standing(), Standing::Open | Standing::Reissuing) {
        return Ok(());
    }
    let words = order.message().unwrap_or_default();
    Err(error(ErrorKind::NotNow(format!("the order is: {words}").into())))
}

fn error(kind: ErrorKind) -> Error {
    super::error(OPERATION, kind)
}
