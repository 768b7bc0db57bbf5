//! Checks a request before anything is sent: what is refused here costs nothing.

use std::collections::BTreeSet;

use certlife_core::{
    Identifier, InputError,
    ca::{Catalog, OrderRequest, Product, Purpose, PurposeKind, ValidationStatus},
    challenge::ChallengeKind,
};

use super::{
    SslStore,
    catalog::{self, LEVEL, REISSUABLE, VENDOR, WILDCARD_ONLY},
    challenge::is_covered,
    options::{OrderOptions, ValidationLevel, Vendor, refused as option_refused},
    order::{Handle, Method},
    party::{OrganizationDetails, Person, is_email},
    request::Parties,
};

/// Checks everything but the capabilities, which all CAs share.
pub(super) fn check(
    ca: &SslStore,
    request: &OrderRequest,
    catalog: Option<&Catalog>,
) -> Result<(), InputError> {
    let options = OrderOptions::read(&request.options)?;
    let code = product_code(request)?;
    let vendor = options.vendor_of(code);
    if let Some(only) = ca.vendor.filter(|only| *only != vendor) {
        return Err(refused(
            "product",
            code,
            format!("this account orders products of {} only", only.as_str()),
        ));
    }
    options.check(vendor)?;
    check_common_name(request)?;
    check_proofs(request, vendor)?;
    check_reserved(request, &options, vendor)?;
    check_term(request, ca.term_months)?;
    let parties = Parties::of(ca, request, &options)?;
    for (field, person) in [("administrator", &parties.administrator), ("technical", &parties.technical)] {
        person
            .check()
            .map_err(|(member, value, rule)| refused(&format!("{field}.{member}"), &value, rule))?;
    }
    check_organization(request, &options, vendor, catalog)?;
    check_reissue(request)?;
    let product = match catalog {
        Some(catalog) => Some(find_product(catalog, code)?),
        None => None,
    };
    let known = product.and_then(|product| Vendor::named(product.details.get(VENDOR)?.as_str()));
    check_kinds(request, code, known.unwrap_or(vendor))?;
    let stated = product.and_then(|product| level(product.details.get(LEVEL)?.as_str()));
    if let Some(product) = product {
        check_product(request, &options, product, stated)?;
        let months = wanted_months(request, ca.term_months);
        let offered: Vec<_> = product.validity.iter().filter_map(|term| catalog::months(*term)).collect();
        if let Some(months) = months.filter(|months| !offered.is_empty() && !offered.contains(months)) {
            let rule = format!("{code} is offered for {} months", list(&offered));
            return Err(refused("validity", &format!("{months} months"), rule));
        }
    }
    check_parties(request, &parties, vendor, stated.or(options.validation_level))
}

/// The code of the product, without which nothing can be ordered.
pub(super) fn product_code(request: &OrderRequest) -> Result<&str, InputError> {
    let code = request.product.as_deref().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&code.len()) && code.bytes().all(plain) {
        return Ok(code);
    }
    Err(refused("product", code, "name a product by its code in the catalog, such as positivessl"))
}

/// The term to order, in months; none if it is no number of months.
pub(super) fn wanted_months(request: &OrderRequest, usual: u32) -> Option<u32> {
    request.validity.map_or(Some(usual), catalog::months)
}

fn check_term(request: &OrderRequest, usual: u32) -> Result<(), InputError> {
    match (wanted_months(request, usual), request.validity) {
        (None, Some(validity)) => {
            let days = format!("{} days", validity.as_secs() / 86_400);
            Err(refused("validity", &days, "terms are whole months; a year is 365 days"))
        }
        _ => Ok(()),
    }
}

/// The first name becomes the common name (RFC 5280 appendix A.1).
fn check_common_name(request: &OrderRequest) -> Result<(), InputError> {
    let first = request.identifiers.first().map(ToString::to_string).unwrap_or_default();
    if first.len() <= 64 {
        return Ok(());
    }
    let rule = "the first name is the common name, which has at most 64 characters; put a shorter one first";
    Err(InputError::Identifier { identifier: first, rule: rule.into() })
}

/// An order is proven in one way, with one switch for all of its names.
fn check_proofs(request: &OrderRequest, vendor: Vendor) -> Result<(), InputError> {
    let method = Method::wanted(request);
    let mut approvers = Vec::new();
    for (identifier, proof) in &request.challenges {
        let kind = proof.kind;
        if !kind.suits(identifier) {
            return Err(refused(
                "challenges",
                kind.as_str(),
                format!("it cannot prove {identifier} (BR §3.2.2.4)"),
            ));
        }
        if Method::of(kind) != method {
            let rule = format!("all names of an order are proven in one way; others by {}", method.as_str());
            return Err(refused("challenges", kind.as_str(), rule));
        }
        if let Some(address) = &proof.approver {
            if !is_email(address) {
                return Err(refused("challenges", address, "give the approver's e-mail address"));
            }
            approvers.push(address);
        }
    }
    approvers.dedup();
    if vendor == Vendor::DigiCert && approvers.len() > 1 {
        return Err(refused("challenges", approvers[1], "DigiCert asks one approver for the whole order"));
    }
    Ok(())
}

/// Which kinds of proof there are depends on the vendor of the product, while the account may offer several.
fn check_kinds(request: &OrderRequest, code: &str, vendor: Vendor) -> Result<(), InputError> {
    let offered = kinds(Some(vendor));
    let other = request.challenges.values().map(|proof| proof.kind).find(|kind| !offered.contains(kind));
    other.map_or(Ok(()), |kind| {
        let list = offered.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let rule = format!("{code} is of {}, whose names are proven by {list}", vendor.as_str());
        Err(refused("challenges", kind.as_str(), rule))
    })
}

/// Names can be paid for beyond those of the order, not less.
fn check_reserved(request: &OrderRequest, options: &OrderOptions, vendor: Vendor) -> Result<(), InputError> {
    let (plain, wildcards) = paid_names(&sans(&request.identifiers, options.auto_www), vendor);
    for (field, own, needed) in [
        ("reserved_sans", options.reserved_sans, plain),
        ("reserved_wildcard_sans", options.reserved_wildcard_sans, wildcards),
    ] {
        if let Some(own) = own.filter(|own| usize::try_from(*own).is_ok_and(|own| own < needed)) {
            return Err(option_refused_because(field, &own.to_string(), format!("the order has {needed}")));
        }
    }
    Ok(())
}

/// How many names are paid for as such and as wildcards: DigiCert's flex products count them apart.
pub(super) fn paid_names(listed: &[&Identifier], vendor: Vendor) -> (usize, usize) {
    let wildcards = listed.iter().filter(|name| name.is_wildcard()).count();
    let apart = if vendor == Vendor::DigiCert { wildcards } else { 0 };
    (listed.len() - apart, apart)
}

fn check_organization(
    request: &OrderRequest,
    options: &OrderOptions,
    vendor: Vendor,
    catalog: Option<&Catalog>,
) -> Result<(), InputError> {
    let Some(id) = &request.organization else { return Ok(()) };
    if id.parse::<u32>().map_or(true, |id| id == 0) {
        return Err(refused("organization", id, "give the number of an organization in the catalog"));
    }
    if vendor != Vendor::DigiCert {
        let rule = "only DigiCert knows organizations by number; describe it in `options.organization`";
        return Err(refused("organization", id, rule));
    }
    if let Some(details) = &options.organization {
        return Err(option_refused("organization", &details.name, "stands alone, without `organization`"));
    }
    let Some(catalog) = catalog else { return Ok(()) };
    match catalog.organizations.iter().find(|known| known.id == *id) {
        None => Err(refused("organization", id, "the account has no organization of that number")),
        Some(known) => match known.status {
            ValidationStatus::Valid | ValidationStatus::Unknown => Ok(()),
            status => {
                Err(refused("organization", id, format!("its validation is {status:?}").to_lowercase()))
            }
        },
    }
}

/// A reissue goes by the order's number, and only for orders that were placed from here.
fn check_reissue(request: &OrderRequest) -> Result<(), InputError> {
    let Purpose::Reissue { of, .. } = &request.purpose else { return Ok(()) };
    let handle = of.handle.as_ref().and_then(Handle::read);
    match handle {
        Some(handle) if handle.imported => {
            let rule = "it was placed elsewhere and imported; only orders placed from here are reissued, so renew it";
            Err(refused("purpose", &format!("reissue of {}", handle.order), rule))
        }
        Some(_) => Ok(()),
        None => {
            Err(refused("purpose", "reissue", "the certificate is of no order of this account; renew it"))
        }
    }
}

fn find_product<'a>(catalog: &'a Catalog, code: &str) -> Result<&'a Product, InputError> {
    let known = catalog.products.iter().find(|product| product.id == code);
    known.filter(|product| product.available).ok_or_else(|| {
        let some: Vec<_> = catalog.products.iter().map(|product| product.id.as_str()).take(60).collect();
        refused("product", code, format!("the account offers {}", some.join(", ")))
    })
}

fn check_product(
    request: &OrderRequest,
    options: &OrderOptions,
    product: &Product,
    stated: Option<ValidationLevel>,
) -> Result<(), InputError> {
    let detail = |name: &str| product.details.get(name).map(certlife_core::VendorText::as_str);
    if let (Some(wanted), Some(of)) = (options.vendor, detail(VENDOR))
        && wanted.as_str() != of
    {
        return Err(option_refused_because("vendor", wanted.as_str(), format!("{} is of {of}", product.id)));
    }
    if let (Some(wanted), Some(of)) = (options.validation_level, stated)
        && wanted != of
    {
        let rule = format!("{} is {}", product.id, of.as_str());
        return Err(option_refused_because("validation_level", wanted.as_str(), rule));
    }
    if request.purpose.kind() == PurposeKind::Reissue && detail(REISSUABLE) == Some("no") {
        return Err(refused("purpose", "reissue", format!("{} cannot be reissued", product.id)));
    }
    let names = &request.identifiers;
    if let Some(wildcard) =
        names.iter().find(|name| name.is_wildcard()).filter(|_| product.wildcards == Some(false))
    {
        let rule = format!("{} holds no wildcards", product.id);
        return Err(InputError::Identifier { identifier: wildcard.to_string(), rule: rule.into() });
    }
    if detail(WILDCARD_ONLY) == Some("yes")
        && let Some(first) = names.first().filter(|first| !first.is_wildcard())
    {
        let rule = format!("{} is for wildcards; name one first", product.id);
        return Err(InputError::Identifier { identifier: first.to_string(), rule: rule.into() });
    }
    let count = 1 + sans(names, options.auto_www).len();
    match product.max_identifiers {
        Some(limit) if count > limit => Err(InputError::TooManyIdentifiers { count, limit }),
        Some(limit) if limit > 1 && options.auto_www => Err(option_refused(
            "auto_www",
            "true",
            "only products for one name cover the other by themselves",
        )),
        _ => Ok(()),
    }
}

/// The names that are listed and paid for besides the common name: not the one under a wildcard that stands first,
/// and not the `www.` name if the product adds it.
pub(super) fn sans(names: &[Identifier], auto_www: bool) -> Vec<&Identifier> {
    let twin = names.first().filter(|_| auto_www).and_then(Identifier::base_name);
    let twin = twin.map(|base| match base.as_str().strip_prefix("www.") {
        Some(bare) => bare.to_owned(),
        None => format!("www.{base}"),
    });
    let is_twin = |name: &Identifier| twin.as_ref().is_some_and(|twin| name.to_string() == *twin);
    names.iter().skip(1).filter(|name| !is_twin(name) && !is_covered(name, names)).collect()
}

/// What each class of product needs to know. More does no harm.
fn check_parties(
    request: &OrderRequest,
    parties: &Parties,
    vendor: Vendor,
    level: Option<ValidationLevel>,
) -> Result<(), InputError> {
    let Some(level) = level.filter(|level| *level != ValidationLevel::Dv) else { return Ok(()) };
    let missing = |field: &str, text: &str| -> Result<(), InputError> {
        if text.trim().is_empty() {
            return Err(refused(
                field,
                text,
                format!("{} certificates of {} need it", level.as_str(), vendor.as_str()),
            ));
        }
        Ok(())
    };
    if request.organization.is_none() {
        let none = OrganizationDetails::default();
        let organization = parties.organization.as_ref().unwrap_or(&none);
        let address = &organization.address;
        missing("organization.name", &organization.name)?;
        missing("organization.address.line_1", &address.line_1)?;
        missing("organization.address.region", &address.region)?;
        missing("organization.address.postal_code", &address.postal_code)?;
        missing("organization.address.country", &address.country)?;
        missing("organization.phone", &organization.phone)?;
        if vendor == Vendor::Sectigo {
            if level == ValidationLevel::Ev {
                missing("organization.jurisdiction_country", &organization.jurisdiction_country)?;
            }
        } else {
            missing("organization.address.city", &address.city)?;
        }
    }
    if vendor == Vendor::Sectigo {
        return Ok(());
    }
    let Person { first_name, last_name, phone, title, .. } = &parties.administrator;
    missing("administrator.first_name", first_name)?;
    missing("administrator.last_name", last_name)?;
    missing("administrator.phone", phone)?;
    if level == ValidationLevel::Ev {
        missing("administrator.title", title)?;
        missing("technical.title", &parties.technical.title)?;
    }
    Ok(())
}

fn level(text: &str) -> Option<ValidationLevel> {
    [ValidationLevel::Dv, ValidationLevel::Ov, ValidationLevel::Ev]
        .into_iter()
        .find(|level| level.as_str() == text)
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn refused(field: &str, value: &str, rule: impl Into<String>) -> InputError {
    InputError::Value { field: field.to_owned().into(), value: value.into(), rule: rule.into().into() }
}

fn option_refused_because(option: &str, value: &str, rule: String) -> InputError {
    refused(&format!("options.{option}"), value, rule)
}

/// How names can be proven. Sectigo knows records of one type only; orders have one switch for both.
pub(super) fn kinds(vendor: Option<Vendor>) -> BTreeSet<ChallengeKind> {
    let mut kinds = BTreeSet::from([ChallengeKind::DnsCname, ChallengeKind::Http, ChallengeKind::Email]);
    if vendor != Some(Vendor::Sectigo) {
        kinds.insert(ChallengeKind::DnsTxt);
    }
    kinds
}
