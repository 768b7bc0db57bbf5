//! What can be told about a request before anything is sent.

use std::{collections::BTreeMap, time::Duration};

use certlife_core::{
    Identifier, InputError, VendorText,
    ca::{Catalog, OrderRequest, Product, Purpose, ValidationStatus},
    challenge::ChallengeKind,
};

use super::{
    Sectigo,
    api::Proofs,
    options::{OrderOptions, bad, is_address, requesters},
    order::Handle,
    proof,
};

/// The key of a product's detail that holds the custom fields: JSON, from name to whether it is mandatory.
pub(super) const CUSTOM_FIELDS: &str = "custom_fields";

/// Which call an order becomes.
pub(super) enum Way {
    Enroll,
    /// Renews the record of this id.
    Renew(u64),
    /// Replaces the certificate of the record of this id.
    Replace(u64),
}

impl Way {
    /// A renewal of what this account did not order is a new order.
    pub(super) fn of(purpose: &Purpose) -> Result<Self, InputError> {
        let record = |of: &certlife_core::ca::IssuedRef| of.handle.as_ref().and_then(Handle::id_of);
        match purpose {
            Purpose::New => Ok(Self::Enroll),
            Purpose::Renewal { of } => Ok(record(of).map_or(Self::Enroll, Self::Renew)),
            Purpose::Reissue { of, .. } => record(of).map(Self::Replace).ok_or_else(|| {
                let rule = "only a certificate that this account ordered or imported can be replaced";
                bad("purpose", "reissue", rule)
            }),
        }
    }
}

/// The days of a validity period.
pub(super) fn days(validity: Duration) -> Result<u64, InputError> {
    let (days, rest) = (validity.as_secs() / 86_400, validity.as_secs() % 86_400);
    if days == 0 || rest != 0 || validity.subsec_nanos() != 0 {
        return Err(bad("validity", &format!("{validity:?}"), "whole days, at least one"));
    }
    Ok(days)
}

/// An id of the catalog, which is a number at Sectigo.
pub(super) fn id(field: &'static str, value: Option<&str>) -> Result<u64, InputError> {
    let value = value.unwrap_or_default();
    value
        .parse()
        .ok()
        .filter(|id| *id > 0)
        .ok_or_else(|| bad(field, value, "the id that the catalog gives, a number; an order needs it"))
}

impl Sectigo {
    pub(super) fn check_request(
        &self,
        request: &OrderRequest,
        catalog: Option<&Catalog>,
    ) -> Result<(), InputError> {
        use certlife_core::CertificateAuthority as _;
        self.capabilities().check(request)?;
        let options = OrderOptions::read(&request.options)?;
        options.check(self.reference_field.as_deref())?;
        Self::requesters(request, &options)?;
        self.proofs(request)?;
        match Way::of(&request.purpose)? {
            Way::Enroll => {
                if let Some(validity) = request.validity {
                    days(validity)?;
                }
                match catalog {
                    Some(catalog) => self.check_enrolment(request, &options, catalog),
                    None => id("product", request.product.as_deref())
                        .and_then(|_| id("organization", request.organization.as_deref()).map(drop)),
                }
            }
            Way::Renew(_) => check_names(request),
            Way::Replace(_) => match catalog {
                Some(catalog) => self.check_domains(request, &options, catalog),
                None => Ok(()),
            },
        }
    }

    /// The external requesters: those of the options and the contacts who are requesters.
    pub(super) fn requesters(
        request: &OrderRequest,
        options: &OrderOptions,
    ) -> Result<Option<String>, InputError> {
        let contacts = request.contacts.iter();
        let contacts = contacts.filter(|contact| contact.role == certlife_core::ca::ContactRole::Requester);
        let addresses: Vec<&str> = contacts.map(|contact| contact.email.as_str()).collect();
        if let Some(wrong) = addresses.iter().find(|address| !is_address(address)) {
            return Err(bad("contacts", wrong, "an e-mail address, such as ops@example.com"));
        }
        requesters(options.external_requesters.iter().map(String::as_str).chain(addresses))
    }

    /// How domains are to be validated with the order, where they are: Sectigo takes one method an order.
    pub(super) fn proofs<'a>(&self, request: &'a OrderRequest) -> Result<Option<Proofs<'a>>, InputError> {
        if !self.order_validation {
            return Ok(None);
        }
        let mut wanted = request.challenges.iter();
        let Some((_, first)) = wanted.next() else { return Ok(None) };
        if let Some((identifier, other)) = wanted.find(|(_, other)| *other != first) {
            let rule = format!("one way for all names of an order, which is {} for the first", first.kind);
            return Err(bad("challenges", &format!("{} for {identifier}", other.kind), rule));
        }
        if let Some(identifier) = request.challenges.keys().find(|name| !first.kind.suits(name)) {
            return Err(bad("challenges", &first.kind.to_string(), format!("it cannot prove {identifier}")));
        }
        let Some(dcv_mode) = proof::mode(first.kind) else {
            return Err(bad("challenges", &first.kind.to_string(), "Sectigo does not offer it"));
        };
        let dcv_email = first.approver.as_deref().filter(|_| first.kind == ChallengeKind::Email);
        if first.kind == ChallengeKind::Email && !dcv_email.is_some_and(is_address) {
            let value = dcv_email.unwrap_or_default();
            return Err(bad("challenges", value, "e-mail needs the address of whoever approves"));
        }
        Ok(Some(Proofs { dcv_mode, dcv_email }))
    }

    fn check_enrolment(
        &self,
        request: &OrderRequest,
        options: &OrderOptions,
        catalog: &Catalog,
    ) -> Result<(), InputError> {
        let wanted = request.product.as_deref().unwrap_or_default();
        let product = catalog.products.iter().find(|product| product.id == wanted && product.available);
        let Some(product) = product else {
            let ids = catalog.products.iter().filter(|product| product.available);
            let rule = format!("this account offers {}", listed(ids.map(|product| &product.id)));
            return Err(bad("product", wanted, rule));
        };
        id("product", Some(wanted))?;
        check_product(request, product)?;
        self.check_fields(options, product)?;

        let wanted = request.organization.as_deref().unwrap_or_default();
        let Some(organization) = catalog.organizations.iter().find(|known| known.id == wanted) else {
            let ids = catalog.organizations.iter().map(|known| &known.id);
            return Err(bad("organization", wanted, format!("this account has {}", listed(ids))));
        };
        id("organization", Some(wanted))?;
        if !options.unvalidated
            && let Some(state) = missing(organization.status)
        {
            let rule =
                format!("its validation is {state}; for a profile that needs none set `options.unvalidated`");
            return Err(bad("organization", wanted, rule));
        }
        self.check_domains(request, options, catalog)
    }

    fn check_fields(&self, options: &OrderOptions, product: &Product) -> Result<(), InputError> {
        let known = product.details.get(CUSTOM_FIELDS).map(VendorText::as_str);
        let known: Option<BTreeMap<String, bool>> = known.and_then(|text| serde_json::from_str(text).ok());
        let Some(known) = known else { return Ok(()) };
        let given = |name: &String| {
            options.custom_fields.contains_key(name) || self.reference_field.as_ref() == Some(name)
        };
        if let Some((name, _)) = known.iter().find(|(name, mandatory)| **mandatory && !given(name)) {
            return Err(bad("options.custom_fields", "", format!("field {name:?} is mandatory")));
        }
        match options.custom_fields.keys().find(|name| !known.contains_key(*name)) {
            Some(name) => {
                let rule = format!("this account has the fields {}", listed(known.keys()));
                Err(bad("options.custom_fields", name, rule))
            }
            None => Ok(()),
        }
    }

    /// Names have to lie in domains that the account is known for, and these have to be validated unless that happens
    /// with the order.
    fn check_domains(
        &self,
        request: &OrderRequest,
        options: &OrderOptions,
        catalog: &Catalog,
    ) -> Result<(), InputError> {
        if catalog.domains.is_empty() || options.unvalidated {
            return Ok(());
        }
        for identifier in &request.identifiers {
            let Some(name) = identifier.base_name().map(certlife_core::DnsName::to_fqdn) else { continue };
            let above = catalog.domains.iter().filter_map(|domain| {
                let base = domain.name.base_name()?.to_fqdn();
                name.is_within(&base).then(|| (base.labels().count(), domain))
            });
            let above: Vec<_> = above.collect();
            let refused = |rule: String| {
                Err(InputError::Identifier { identifier: identifier.to_string(), rule: rule.into() })
            };
            let Some(depth) = above.iter().map(|(depth, _)| *depth).max() else {
                return refused("it lies in no domain of this account".to_owned());
            };
            // A domain and its wildcard are two entries, of which one validation suffices.
            let states: Vec<_> =
                above.iter().filter(|(at, _)| *at == depth).map(|(_, domain)| domain).collect();
            let lacking = states.iter().map(|domain| missing(domain.status)).collect::<Option<Vec<_>>>();
            if let Some(lacking) = lacking.filter(|_| !self.order_validation) {
                let state = lacking.first().copied().unwrap_or("missing");
                return refused(format!(
                    "the validation of domain {} is {state}; for a profile that needs none set `options.unvalidated`",
                    states[0].name
                ));
            }
        }
        Ok(())
    }
}

fn check_product(request: &OrderRequest, product: &Product) -> Result<(), InputError> {
    if let Some(validity) = request.validity
        && !product.validity.is_empty()
        && !product.validity.contains(&validity)
    {
        let terms = product.validity.iter().map(|term| (term.as_secs() / 86_400).to_string());
        let rule = format!("profile {} offers {} days", product.id, listed(terms));
        return Err(bad("validity", &format!("{} days", days(validity)?), rule));
    }
    if let Some(key) = request.key_algorithm
        && !product.key_algorithms.is_empty()
        && !product.key_algorithms.contains(&key)
    {
        let rule = format!("profile {} allows {}", product.id, listed(product.key_algorithms.iter()));
        return Err(bad("key_algorithm", key.as_str(), rule));
    }
    if let Some(limit) = product.max_identifiers
        && request.identifiers.len() > limit
    {
        return Err(InputError::TooManyIdentifiers { count: request.identifiers.len(), limit });
    }
    Ok(())
}

/// A renewal has the names of the record and takes no others.
fn check_names(request: &OrderRequest) -> Result<(), InputError> {
    let info = request.purpose.predecessor().and_then(|of| of.chain.info().ok());
    let Some(info) = info else { return Ok(()) };
    let new = |name: &&Identifier| !info.identifiers.contains(*name);
    match request.identifiers.iter().find(new) {
        Some(name) => Err(InputError::Identifier {
            identifier: name.to_string(),
            rule: "a renewal keeps the names of the certificate; reissue it for others first".into(),
        }),
        None => Ok(()),
    }
}

/// The word for a validation that is known to be missing.
fn missing(status: ValidationStatus) -> Option<&'static str> {
    match status {
        ValidationStatus::Pending => Some("pending"),
        ValidationStatus::Expired => Some("expired"),
        ValidationStatus::Refused => Some("refused"),
        _ => None,
    }
}

fn listed(values: impl Iterator<Item = impl ToString>) -> String {
    let values: Vec<_> = values.map(|value| value.to_string()).collect();
    if values.is_empty() { "none".to_owned() } else { values.join(", ") }
}
