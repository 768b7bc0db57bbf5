//! What the account may order: company units and organizations, domains, products.

use std::collections::{BTreeMap, BTreeSet};

use certlife_core::{
    AccountSummary, Error, ErrorKind, Identifier, Operation, Result, VendorText,
    ca::{Catalog, CatalogDomain, Organization, Product, ValidationStatus},
};

use super::{
    Entrust, NAME,
    product::{self, FLEX, Group, Known, PRIVATE_DEDICATED, PRODUCTS},
    wire::{self, CompanyUnit, CustomField, Inventory},
};

/// The details of a product that say which of the account's own fields orders carry: `field.text1` and so on.
pub(super) const FIELD: &str = "field.";
/// What such a detail begins with if orders must have the field.
pub(super) const REQUIRED: &str = "required: ";
/// The choices of a field, comma-separated.
pub(super) const CHOICES: &str = "choices.";

impl Entrust {
    /// Tests credentials and the right to read, and looks at the company unit that orders are for.
    pub(super) async fn test_login(&self) -> Result<AccountSummary> {
        let version = self.api.version().await?;
        let units = self.api.clients(Operation::Probe).await?;
        if units.is_empty() {
            let words = "the API user sees no client (company unit) of the account".into();
            return Err(Error::new(NAME, Operation::Probe, ErrorKind::NotEligible(words)));
        }
        let mut summary = AccountSummary::default();
        let version = version.map(VendorText::from);
        summary.details.extend(version.map(|version| ("api_version".to_owned(), version)));
        summary.details.insert("clients".into(), units.len().to_string().into());
        match units.iter().find(|unit| unit.client_id == Some(self.client_id)) {
            Some(unit) => {
                summary.identity = unit_name(unit).map(VendorText::new);
                let status = unit.verification_status.as_deref().unwrap_or_default();
                if validation(status) != ValidationStatus::Valid {
                    let words = format!("client {} is not validated: {status}", self.client_id);
                    summary.warnings.push(words.into());
                }
            }
            None => {
                let words = format!("the account has no client {}, which orders are for", self.client_id);
                summary.warnings.push(words.into());
            }
        }
        Ok(summary)
    }

    pub(super) async fn read_catalog(&self) -> Result<Catalog> {
        let units = self.api.clients(Operation::Catalog).await?;
        let organizations = self.api.organizations(Operation::Catalog).await?;
        let inventories = self.api.inventories().await?;
        let fields = self.api.custom_fields().await?;
        let domains = self.api.domains().await?;
        Ok(Catalog {
            products: self.products(&inventories, &fields),
            organizations: organizations_of(&units, &organizations),
            domains: distinct(domains.iter().filter_map(domain), |domain| domain.id.clone()),
        })
    }

    /// The lines of the account, and what a flexible licence covers besides.
    fn products(&self, inventories: &[Inventory], fields: &BTreeMap<String, CustomField>) -> Vec<Product> {
        let line = |id: &str| inventories.iter().find(|line| line.product_type.as_deref() == Some(id));
        let flex = line(FLEX).filter(|flex| flex.has_some());
        let mut ids: Vec<&str> = inventories.iter().filter_map(|line| line.product_type.as_deref()).collect();
        if flex.is_some() {
            ids.extend(PRODUCTS.iter().filter(|known| is_flexible(known)).map(|known| known.id));
        }
        ids.extend(self.extra_products.iter().map(String::as_str));
        let mut seen = BTreeSet::new();
        ids.retain(|id| *id != FLEX && seen.insert(*id));
        let product = |id: &str| {
            let (known, group) = (product::find(id), self.group(id));
            let is_covered = known.map_or(group.is_some(), is_flexible) && flex.is_some();
            let own = line(id);
            let has_some = own.is_some_and(Inventory::has_some) || is_covered;
            let for_tls = group.is_some_and(|group| group != Group::Other);
            let mut details = field_details(fields);
            details.insert("kind".into(), group.map_or("unknown to certlife", Group::words).into());
            for (name, count) in [
                ("remaining", own.and_then(|line| line.remaining_count)),
                ("used", own.and_then(|line| line.used_count)),
                ("total", own.and_then(|line| line.total_count)),
            ] {
                details.extend(count.map(|count| (name.to_owned(), count.to_string().into())));
            }
            Product {
                id: id.to_owned(),
                name: known.map_or(id, |known| known.name).into(),
                available: for_tls && has_some,
                validity: Vec::new(),
                key_algorithms: BTreeSet::new(),
                max_identifiers: (id == product::STANDARD).then_some(2),
                wildcards: wildcards(id, group),
                details,
            }
        };
        ids.into_iter().map(product).collect()
    }
}

/// Whether a flexible licence covers it: every TLS product but one.
fn is_flexible(known: &Known) -> bool {
    known.id.contains("SSL") && known.id != PRIVATE_DEDICATED
}

/// Whether wildcards are allowed, where that is certain.
pub(super) fn wildcards(id: &str, group: Option<Group>) -> Option<bool> {
    match (id, group) {
        ("WILDCARD_SSL", _) => Some(true),
        (product::STANDARD, _) | (_, Some(Group::Extended)) => Some(false),
        _ => None,
    }
}

fn field_details(fields: &BTreeMap<String, CustomField>) -> BTreeMap<String, VendorText> {
    let mut details = BTreeMap::new();
    for (name, field) in fields.iter().filter(|(_, field)| field.enabled).take(40) {
        let label = field.label.as_deref().unwrap_or(name);
        let words = if field.is_required() { format!("{REQUIRED}{label}") } else { label.to_owned() };
        details.insert(format!("{FIELD}{name}"), words.into());
        if let Some(choices) = &field.options {
            details.insert(format!("{CHOICES}{name}"), choices.as_str().into());
        }
    }
    details
}

/// Company units stand above their organizations; both can be ordered for, a unit by its number.
fn organizations_of(units: &[CompanyUnit], named: &[wire::Organization]) -> Vec<Organization> {
    let unit = |unit: &CompanyUnit| {
        let id = unit.client_id?;
        Some(Organization {
            id: id.to_string(),
            name: unit_name(unit).map_or_else(|| format!("client {id}"), str::to_owned).into(),
            parent: None,
            status: validation(unit.verification_status.as_deref().unwrap_or_default()),
            valid_until: unit.ov_expiry_date,
        })
    };
    let organization = |organization: &wire::Organization| {
        // The same name may be known to several units.
        let (client, name) = (organization.client_id.unwrap_or(1), organization.name.as_deref()?);
        let above = units.iter().find(|unit| unit.client_id == Some(client));
        Some(Organization {
            id: format!("{client}/{name}"),
            name: name.into(),
            parent: Some(client.to_string()),
            status: validation(organization.verification_status.as_deref().unwrap_or_default()),
            valid_until: above.and_then(|unit| unit.ov_expiry_date),
        })
    };
    let all = units.iter().filter_map(unit).chain(named.iter().filter_map(organization));
    distinct(all, |organization| organization.id.clone())
}

fn unit_name(unit: &CompanyUnit) -> Option<&str> {
    unit.friendly_client_name.as_deref().or(unit.client_name.as_deref())
}

fn domain(domain: &wire::Domain) -> Option<CatalogDomain> {
    let name: Identifier = domain.name.as_deref()?.parse().ok()?;
    let status = match domain.status().as_str() {
        // Orders are possible in each of these.
        "APPROVED" | "RE_VERIFICATION" | "EXPIRING" => ValidationStatus::Valid,
        "INITIAL_VERIFICATION" => ValidationStatus::Pending,
        "EXPIRED" => ValidationStatus::Expired,
        "DECLINED" | "CANCELLED" => ValidationStatus::Refused,
        _ => ValidationStatus::Unknown,
    };
    let id = format!("{}/{name}", domain.client_id.unwrap_or(1));
    Some(CatalogDomain { id, name, status, valid_until: domain.ov_expiry })
}

/// How far the validation of a unit or organization is; the document itself writes the words in both cases.
fn validation(status: &str) -> ValidationStatus {
    match status.trim().to_ascii_uppercase().as_str() {
        "APPROVED" => ValidationStatus::Valid,
        "PENDING" | "PENDING_FINAL_APPROVAL" => ValidationStatus::Pending,
        "EXPIRED" | "DEACTIVATED" => ValidationStatus::Expired,
        "DECLINED" => ValidationStatus::Refused,
        _ => ValidationStatus::Unknown,
    }
}

fn distinct<T>(items: impl Iterator<Item = T>, id: impl Fn(&T) -> String) -> Vec<T> {
    let mut seen = BTreeSet::new();
    items.filter(|item| seen.insert(id(item))).collect()
}
