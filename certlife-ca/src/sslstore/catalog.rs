//! Products and organizations, in terms that all CAs share.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use certlife_core::{
    VendorText,
    ca::{Organization, Product, ValidationStatus},
};

use super::{
    options::{ValidationLevel, Vendor},
    wire::Object,
};

// What `check` needs again of a product, by the names under which it stands in its details.
pub(super) const VENDOR: &str = "vendor";
pub(super) const LEVEL: &str = "validation_level";
pub(super) const REISSUABLE: &str = "reissuable";
pub(super) const WILDCARD_ONLY: &str = "wildcard_only";

const DAY: Duration = Duration::from_hours(24);

/// The length of a term: twelve months are 365 days.
pub(super) fn term(months: u32) -> Duration {
    DAY * (months * 365 / 12)
}

/// The months of a term; none if it is no number of months within three days.
pub(super) fn months(term: Duration) -> Option<u32> {
    let days = term.as_secs() / DAY.as_secs();
    // The longest term is that of the settings.
    let months = (days.checked_mul(12)? + 182) / 365;
    let fits = (1..=120).contains(&months) && days.abs_diff(months * 365 / 12) <= 3;
    u32::try_from(months).ok().filter(|_| fits)
}

/// A product that certifies TLS servers; none for signing, scanning and mail.
pub(super) fn product(object: &Object) -> Option<Product> {
    let id = object.text("ProductCode")?;
    // The numbers of other kinds: scan, PCI scan, code signing, S/MIME, documents.
    let other = object.number("ProductType").is_some_and(|kind| matches!(kind, 5 | 6 | 8 | 11 | 12));
    if other || object.is("isCodeSigning") || object.is("isScanProduct") {
        return None;
    }
    let level = level(object);
    let flex = object.is("isFlexProduct");
    // The vendor's own documents misspell it.
    let wildcard =
        object.is("isWildcard") || object.is("isWlidcard") || object.number("ProductType") == Some(4);
    let multi = object.is("IsSanEnable") || flex;
    let count = |name: &str| object.number(name).and_then(|count| usize::try_from(count).ok());
    let included = count("MinSan").unwrap_or(0);
    let names = if multi { count("MaxSan").map(|most| 1 + most.max(included)) } else { Some(1) };
    let prices = object.objects("PricingInfo");
    let terms: BTreeSet<u32> = prices
        .iter()
        .filter_map(|price| price.number("NumberOfMonths"))
        .filter_map(|months| u32::try_from(months).ok().filter(|months| (1..=120).contains(months)))
        .collect();
    let mut details = BTreeMap::new();
    let mut detail = |name: &str, value: Option<VendorText>| {
        details.extend(value.map(|value| (name.to_owned(), value)));
    };
    let vendor = object.text("VendorName");
    let known = vendor.as_deref().map_or_else(|| Some(Vendor::of_product(&id)), Vendor::named);
    detail(VENDOR, known.map(|vendor| vendor.as_str().into()).or(vendor.map(VendorText::from)));
    detail(LEVEL, level.map(|level| level.as_str().into()));
    detail(REISSUABLE, object.flag("CanbeReissued").map(yes_or_no));
    detail(WILDCARD_ONLY, Some(yes_or_no(wildcard && !flex)));
    detail("flex", Some(yes_or_no(flex)));
    detail("included_sans", Some(included.to_string().into()));
    detail("unlimited_servers", object.flag("IsNoOfServerFree").map(yes_or_no));
    detail("currency", object.words("CurrencyCode"));
    for price in &prices {
        if let (Some(months), Some(amount)) = (price.number("NumberOfMonths"), price.words("Price")) {
            detail(&format!("price_{months}_months"), Some(amount));
        }
    }
    Some(Product {
        name: object.words("ProductName").unwrap_or_else(|| id.as_str().into()),
        available: true,
        validity: terms.into_iter().map(term).collect(),
        key_algorithms: BTreeSet::new(),
        max_identifiers: names,
        wildcards: Some((wildcard || flex) && level != Some(ValidationLevel::Ev)),
        details,
        id,
    })
}

fn level(object: &Object) -> Option<ValidationLevel> {
    let by_flag = [
        ("isEVProduct", ValidationLevel::Ev),
        ("isOVProduct", ValidationLevel::Ov),
        ("isDVProduct", ValidationLevel::Dv),
    ];
    if let Some((_, level)) = by_flag.iter().find(|(flag, _)| object.is(flag)) {
        return Some(*level);
    }
    // The main class, as a number or by name; note that 2 is EV and 3 is OV.
    match object.text("ProductType")?.to_ascii_uppercase().as_str() {
        "1" | "DV" => Some(ValidationLevel::Dv),
        "2" | "EV" => Some(ValidationLevel::Ev),
        "3" | "OV" => Some(ValidationLevel::Ov),
        _ => None,
    }
}

fn yes_or_no(flag: bool) -> VendorText {
    if flag { "yes" } else { "no" }.into()
}

/// The one product that the order of a token is for.
pub(super) fn of_token(object: &Object) -> Option<Product> {
    let id = object.text("ProductCode")?;
    let months = object.number("NumberOfMonths").and_then(|months| u32::try_from(months).ok());
    let vendor = object.text("VendorName").and_then(|name| Vendor::named(&name));
    let vendor = vendor.unwrap_or_else(|| Vendor::of_product(&id));
    let mut details = BTreeMap::from([(VENDOR.to_owned(), vendor.as_str().into())]);
    details.extend(level(object).map(|level| (LEVEL.to_owned(), level.as_str().into())));
    Some(Product {
        name: object.words("ProductName").unwrap_or_else(|| id.as_str().into()),
        available: true,
        validity: months.filter(|months| (1..=120).contains(months)).map(term).into_iter().collect(),
        key_algorithms: BTreeSet::new(),
        max_identifiers: None,
        wildcards: None,
        details,
        id,
    })
}

/// An organization that DigiCert knows.
pub(super) fn organization(object: &Object) -> Option<Organization> {
    let id = object.number("TSSOrganizationId").filter(|id| *id > 0)?.to_string();
    let status = match object.text("Status").map(|status| status.to_ascii_lowercase()).as_deref() {
        Some("active") => ValidationStatus::Valid,
        Some("pending") => ValidationStatus::Pending,
        Some("expired") => ValidationStatus::Expired,
        Some("inactive" | "rejected") => ValidationStatus::Refused,
        _ => ValidationStatus::Unknown,
    };
    let name = object.words("Name").unwrap_or_else(|| id.as_str().into());
    Some(Organization { name, parent: None, status, valid_until: None, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_months_within_three_days() {
        for (days, expected) in [
            (365, Some(12)),
            (366, Some(12)),
            (397, Some(13)),
            (730, Some(24)),
            (90, Some(3)),
            (30, Some(1)),
            (31, Some(1)),
            (45, None),
            (100, None),
            (7, None),
            (0, None),
        ] {
            assert_eq!(months(DAY * days), expected, "{days} days");
        }
        assert!((1..=120).all(|count| months(term(count)) == Some(count)));
        for days in [357_913_941, 357_913_942, u64::MAX / 86_400] {
            assert_eq!(months(Duration::from_secs(days * 86_400)), None);
        }
    }
}
