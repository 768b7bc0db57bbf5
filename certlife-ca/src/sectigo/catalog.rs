//! What the account may order, and whether it works.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use certlife_core::{
    AccountSummary, Error, Identifier, KeyAlgorithm, Operation, Result, Retry, Timestamp, VendorText,
    ca::{Catalog, CatalogDomain, Organization, Product, ValidationStatus},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Sectigo,
    check::CUSTOM_FIELDS,
    wire::{self, DomainState, Profile, Validation},
};

/// A password that ends sooner is warned of.
const SOON: Duration = Duration::from_hours(24 * 30);

impl Sectigo {
    pub(super) async fn test_login(&self) -> Result<AccountSummary> {
        let profiles = self.api.profiles(Operation::Probe, None).await?;
        let organizations = self.api.organizations(Operation::Probe).await?;
        let mut summary = AccountSummary {
            identity: Some(VendorText::new(&self.identity)),
            details: [
                ("profiles".to_owned(), profiles.len().to_string().into()),
                ("organizations".to_owned(), organizations.len().to_string().into()),
            ]
            .into(),
            warnings: Vec::new(),
        };
        if profiles.is_empty() {
            summary.warnings.push("no certificate profile is open to this login".into());
        }
        if organizations.is_empty() {
            summary.warnings.push("this login sees no organization".into());
        }
        if self.has_password {
            self.add_password_state(&mut summary).await?;
        }
        Ok(summary)
    }

    async fn add_password_state(&self, summary: &mut AccountSummary) -> Result<()> {
        let Some(state) = optional(self.api.password_state().await)? else { return Ok(()) };
        let ends = state.expiration_date.as_deref().and_then(wire::moment);
        if state.state.as_deref().map(wire::folded).as_deref() == Some("EXPIRED") {
            summary.warnings.push("the password has expired; change it in Certificate Manager".into());
        } else if let Some(ends) = ends.filter(|ends| *ends < self.clock.now() + SOON) {
            summary.warnings.push(format!("the password ends at {ends}").into());
        }
        if let Some(ends) = ends {
            summary.details.insert("password ends".to_owned(), ends.to_string().into());
        }
        Ok(())
    }

    pub(super) async fn read_catalog(&self) -> Result<Catalog> {
        let profiles = self.api.profiles(Operation::Catalog, None).await?;
        let fields = optional(self.api.custom_fields().await)?;
        let fields = fields.map(|fields| {
            let known: BTreeMap<_, _> =
                fields.into_iter().filter_map(|field| Some((field.name?, field.mandatory))).collect();
            VendorText::from(serde_json::to_string(&known).unwrap_or_default())
        });
        let mut products: Vec<Product> = Vec::new();
        for profile in &profiles {
            // A profile can be listed twice under one id.
            if let Some(product) = product(profile, fields.as_ref())
                && !products.iter().any(|known| known.id == product.id)
            {
                products.push(product);
            }
        }
        Ok(Catalog {
            products,
            organizations: self.read_organizations().await?,
            domains: self.read_domains().await?,
        })
    }

    async fn read_organizations(&self) -> Result<Vec<Organization>> {
        let listed = self.api.organizations(Operation::Catalog).await?;
        let found: Vec<_> = stream::iter(listed.into_iter().map(|organization| async move {
            let Some(id) = organization.id else { return Ok::<_, Error>(Vec::new()) };
            let validations = optional(self.api.validations(id).await)?.unwrap_or_default();
            let (status, valid_until) = validated(&validations);
            let one = |id: i64, name: Option<String>, parent: Option<i64>| Organization {
                id: id.to_string(),
                name: VendorText::new(&name.unwrap_or_default()),
                parent: parent.map(|id| id.to_string()),
                status,
                valid_until,
            };
            // A department is as validated as the organization that it belongs to.
            let mut all = vec![one(id, organization.name, None)];
            let departments = organization.departments.into_iter();
            all.extend(departments.filter_map(|part| Some(one(part.id?, part.name, Some(id)))));
            Ok(all)
        }))
        .buffered(4)
        .try_collect()
        .await?;
        let mut seen = BTreeSet::new();
        Ok(found.into_iter().flatten().filter(|one| seen.insert(one.id.clone())).collect())
    }

    async fn read_domains(&self) -> Result<Vec<CatalogDomain>> {
        let listed = self.api.domains().await?;
        // Told in bulk; a customer without domain validation has no such list.
        let states = optional(self.api.domain_states().await)?.unwrap_or_default();
        let states: BTreeMap<String, &DomainState> =
            states.iter().filter_map(|state| Some((state.domain.as_ref()?.to_lowercase(), state))).collect();
        let mut seen = BTreeSet::new();
        let mut domains = Vec::new();
        for domain in listed {
            let (Some(id), Some(told)) = (domain.id, domain.name) else { continue };
            let Ok(name) = told.parse::<Identifier>() else { continue };
            let base = name.base_name().map(ToString::to_string).unwrap_or_default();
            let state = states.get(&name.to_string()).or_else(|| states.get(&base));
            if seen.insert(id) {
                domains.push(CatalogDomain {
                    id: id.to_string(),
                    name,
                    status: status(state.and_then(|state| state.dcv_status.as_deref())),
                    valid_until: state.and_then(|state| wire::moment(state.expiration_date.as_deref()?)),
                });
            }
        }
        Ok(domains)
    }
}

/// What not every login may read, or not every customer has, is left out.
fn optional<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error)
            if error.retry() == Retry::Never && *error.kind() != certlife_core::ErrorKind::Unauthorized =>
        {
            tracing::debug!(error = %error.chain(), "part of the account cannot be read");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn product(profile: &Profile, fields: Option<&VendorText>) -> Option<Product> {
    let id = profile.id?.to_string();
    let days =
        profile.terms_days.iter().filter_map(|days| u64::try_from(*days).ok()).filter(|days| *days > 0);
    let mut details = BTreeMap::new();
    if let Some(description) = wire::words(profile.description.as_ref()) {
        details.insert("description".to_owned(), description);
    }
    if let Some(fields) = fields {
        details.insert(CUSTOM_FIELDS.to_owned(), fields.clone());
    }
    Some(Product {
        name: VendorText::new(profile.name.as_deref().unwrap_or(&id)),
        id,
        // A profile that is listed can be ordered.
        available: true,
        validity: days.map(|days| Duration::from_secs(days.saturating_mul(86_400))).collect(),
        key_algorithms: profile.keys().filter_map(|(algorithm, size)| key(algorithm, &size)).collect(),
        max_identifiers: None,
        wildcards: None,
        details,
    })
}

/// A key as a profile names it. How curves are spelled is documented nowhere, so the usual spellings are all known.
fn key(algorithm: &str, size: &str) -> Option<KeyAlgorithm> {
    match (wire::folded(algorithm).as_str(), wire::folded(size).as_str()) {
        ("RSA", "2048") => Some(KeyAlgorithm::Rsa2048),
        ("RSA", "3072") => Some(KeyAlgorithm::Rsa3072),
        ("RSA", "4096") => Some(KeyAlgorithm::Rsa4096),
        ("EC" | "ECC" | "ECDSA", "P256" | "256" | "SECP256R1" | "PRIME256V1") => {
            Some(KeyAlgorithm::EcdsaP256)
        }
        ("EC" | "ECC" | "ECDSA", "P384" | "384" | "SECP384R1") => Some(KeyAlgorithm::EcdsaP384),
        ("EC" | "ECC" | "ECDSA", "P521" | "521" | "SECP521R1") => Some(KeyAlgorithm::EcdsaP521),
        _ => None,
    }
}

fn status(told: Option<&str>) -> ValidationStatus {
    match wire::folded(told.unwrap_or_default()).as_str() {
        "VALIDATED" => ValidationStatus::Valid,
        "PENDING" | "NOTVALIDATED" | "NOTINITIATED" | "ACTIONREQUIRED" => ValidationStatus::Pending,
        "EXPIRED" => ValidationStatus::Expired,
        "FAILED" => ValidationStatus::Refused,
        _ => ValidationStatus::Unknown,
    }
}

/// The best of an organization's validations for server certificates, and its end.
fn validated(validations: &[Validation]) -> (ValidationStatus, Option<Timestamp>) {
    let for_servers = |validation: &&Validation| {
        let level = validation.level.as_ref().or(validation.kind.as_ref());
        let level = wire::folded(level.map(String::as_str).unwrap_or_default());
        !level.contains("SMIME") && level != "EMAIL"
    };
    let rank = |status: &ValidationStatus| match status {
        ValidationStatus::Valid => 4,
        ValidationStatus::Pending => 3,
        ValidationStatus::Expired => 2,
        ValidationStatus::Refused => 1,
        _ => 0,
    };
    validations
        .iter()
        .filter(for_servers)
        .map(|one| (status(one.status.as_deref()), one.expires.as_deref().and_then(wire::moment)))
        .max_by_key(|(status, end)| (rank(status), *end))
        .unwrap_or((ValidationStatus::Unknown, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_profiles_are_known_in_all_spellings() {
        for (algorithm, size, expected) in [
            ("RSA", "2048", Some(KeyAlgorithm::Rsa2048)),
            ("rsa", "4096", Some(KeyAlgorithm::Rsa4096)),
            ("EC", "P-256", Some(KeyAlgorithm::EcdsaP256)),
            ("ECDSA", "secp384r1", Some(KeyAlgorithm::EcdsaP384)),
            ("RSA", "1024", None),
            ("SM2", "P-256", None),
        ] {
            assert_eq!(key(algorithm, size), expected, "{algorithm} {size}");
        }
    }
}
