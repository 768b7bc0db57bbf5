//! Whether an order can be placed, by what is known here: the rules of products, and the stored catalog.

use certlife_core::{
    Identifier, InputError,
    ca::{
        Catalog, CatalogDomain, Contact, ContactRole, OrderRequest, Product, PurposeKind, ValidationStatus,
    },
};

use super::{
    Entrust,
    catalog::{self, CHOICES, FIELD, REQUIRED},
    options::{CustomValue, ExtendedKeyUsage, OrderOptions, SignatureAlgorithm, check_email, refused},
    product::{self, Group},
    settings::Requester,
};

/// Who an order is for: a company unit, and within it an organization by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) client: i64,
    pub(super) organization: Option<String>,
}

impl Whose {
    /// Reads the id of an organization as the catalog gives it: `2`, or `1/Northwind Ltd`.
    pub(super) fn read(id: &str) -> Result<Self, InputError> {
        let (client, name) = id.split_once('/').map_or((id, None), |(client, name)| (client, Some(name)));
        match client.parse() {
            Ok(client) if client > 0 && name != Some("") => {
                Ok(Self { client, organization: name.map(str::to_owned) })
            }
            _ => Err(refused(
                "organization",
                id,
                "give a client and perhaps one of its organizations: `2`, `1/Example Ltd`",
            )),
        }
    }
}

impl Entrust {
    pub(super) fn check_request(
        &self,
        request: &OrderRequest,
        catalog: Option<&Catalog>,
    ) -> Result<(), InputError> {
        self.capabilities_of_account().check(request)?;
        let options = OrderOptions::read(&request.options)?;
        self.requester_of(request, &options)?;
        self.check_term(request, &options)?;
        let whose = request.organization.as_deref().map(Whose::read).transpose()?;
        if let (Some(id), Some(catalog)) = (&request.organization, catalog) {
            check_organization(id, catalog)?;
        }
        let Some(product) = self.check_product(request, catalog)? else { return Ok(()) };
        let group = self.group(product);
        check_names(product, group, request)?;
        check_options(product, group, &options)?;
        let Some(catalog) = catalog else { return Ok(()) };
        if let Some(line) = catalog.products.iter().find(|line| line.id == product) {
            check_fields(line, &options)?;
        }
        let client = whose.map_or(self.client_id, |whose| whose.client);
        if group.is_some_and(Group::is_public) {
            check_domains(client, request, catalog)?;
        }
        Ok(())
    }

    /// The product that rules are known for. Renewals and reissues stay with theirs, so that they need not name it.
    fn check_product<'a>(
        &self,
        request: &'a OrderRequest,
        catalog: Option<&Catalog>,
    ) -> Result<Option<&'a str>, InputError> {
        let offer = || {
            let offered = |line: &&Product| line.available;
            let listed =
                catalog.map(|catalog| catalog.products.iter().filter(offered).map(|line| line.id.clone()));
            let known = || product::PRODUCTS.iter().filter(|known| known.group != Group::Other);
            let ids: Vec<String> =
                listed.map_or_else(|| known().map(|known| known.id.to_owned()).collect(), Iterator::collect);
            format!("this account offers {}", ids.join(", "))
        };
        let is_new = request.purpose.kind() == PurposeKind::New;
        let Some(id) = request.product.as_deref() else {
            return if is_new { Err(refused("product", "", offer())) } else { Ok(None) };
        };
        let Some(catalog) = catalog.filter(|_| is_new) else {
            return match self.group(id) {
                Some(Group::Other) => Err(refused("product", id, "it is not for TLS servers")),
                None if is_new => Err(refused("product", id, offer())),
                _ => Ok(Some(id)),
            };
        };
        match catalog.products.iter().find(|line| line.id == id) {
            Some(line) if line.available => Ok(Some(id)),
            Some(_) => Err(refused("product", id, format!("it cannot be ordered now; {}", offer()))),
            None => Err(refused("product", id, offer())),
        }
    }

    /// The requester of an order: as its options say, then its contacts, then the account.
    pub(super) fn requester_of(
        &self,
        request: &OrderRequest,
        options: &OrderOptions,
    ) -> Result<Requester, InputError> {
        let roles = [ContactRole::Requester, ContactRole::Technical, ContactRole::Administrative];
        let of_role = |role| request.contacts.iter().find(move |contact: &&Contact| contact.role == role);
        let contact = roles.into_iter().find_map(of_role);
        let name =
            |contact: &Contact| format!("{} {}", contact.first_name, contact.last_name).trim().to_owned();
        let choose = |field: &str, own: &Option<String>, contact: Option<String>, usual: Option<&String>| {
            let contact = contact.filter(|text| !text.trim().is_empty());
            let found = own.clone().or(contact).or_else(|| usual.cloned());
            let rule = "the CA wants to know who asks: by options, contact or the settings of the account";
            found.ok_or_else(|| refused(format!("options.{field}"), "", rule))
        };
        let usual = self.requester.as_ref();
        let requester = Requester {
            name: choose(
                "requester_name",
                &options.requester_name,
                contact.map(name),
                usual.map(|usual| &usual.name),
            )?,
            email: choose(
                "requester_email",
                &options.requester_email,
                contact.map(|contact| contact.email.clone()),
                usual.map(|usual| &usual.email),
            )?,
            phone: choose(
                "requester_phone",
                &options.requester_phone,
                contact.map(|contact| contact.phone.clone()),
                usual.map(|usual| &usual.phone),
            )?,
        };
        check_email("contacts.email", &requester.email)?;
        Ok(requester)
    }

    fn check_term(&self, request: &OrderRequest, options: &OrderOptions) -> Result<(), InputError> {
        if request.purpose.kind() == PurposeKind::Reissue {
            // It ends with the certificate that it replaces, so that nothing of this is sent.
            return Ok(());
        }
        options.check_date(self.clock.now())?;
        let Some(validity) = request.validity else { return Ok(()) };
        let days = validity.as_secs() / 86_400;
        if days < 2 {
            return Err(refused(
                "validity",
                &format!("{days} days"),
                "it is told in days; give two at least",
            ));
        }
        match options.expiry_date.as_ref().or(options.lifetime.as_ref()) {
            Some(other) => {
                let rule = format!("the order says {other} too; give one of the two");
                Err(refused("validity", &format!("{days} days"), rule))
            }
            None => Ok(()),
        }
    }
}

fn check_organization(id: &str, catalog: &Catalog) -> Result<(), InputError> {
    match catalog.organizations.iter().find(|known| known.id == id) {
        Some(known) if known.status == ValidationStatus::Valid => Ok(()),
        Some(known) => {
            let rule = format!("the CA has not validated {}: {:?}", known.name, known.status);
            Err(refused("organization", id, rule))
        }
        None => {
            let known: Vec<_> =
                catalog.organizations.iter().take(20).map(|known| known.id.as_str()).collect();
            Err(refused("organization", id, format!("this account has {}", known.join(", "))))
        }
    }
}

fn check_names(product: &str, group: Option<Group>, request: &OrderRequest) -> Result<(), InputError> {
    let allows = catalog::wildcards(product, group) != Some(false);
    if let Some(wildcard) = request.identifiers.iter().find(|name| name.is_wildcard()).filter(|_| !allows) {
        let rule = format!("{product} allows no wildcards").into();
        return Err(InputError::Identifier { identifier: wildcard.to_string(), rule });
    }
    if product == product::STANDARD && !is_alone_or_with_twin(&request.identifiers) {
        let names: Vec<_> = request.identifiers.iter().map(ToString::to_string).collect();
        let rule = "STANDARD_SSL takes one host name and its twin with or without `www.`";
        return Err(refused("identifiers", &names.join(", "), rule));
    }
    Ok(())
}

fn is_alone_or_with_twin(names: &[Identifier]) -> bool {
    match names {
        [_] => true,
        [one, other] => {
            let (one, other) = (one.to_string(), other.to_string());
            one.strip_prefix("www.") == Some(&other) || other.strip_prefix("www.") == Some(&one)
        }
        _ => false,
    }
}

fn check_options(product: &str, group: Option<Group>, options: &OrderOptions) -> Result<(), InputError> {
    let is_public = group.is_none_or(Group::is_public);
    if let Some(usage) = options.extended_key_usage.filter(|_| !is_public) {
        let rule = format!("{product} is not a public TLS product; leave it out");
        return Err(refused("options.extended_key_usage", usage.word(), rule));
    }
    if options.signature_algorithm == Some(SignatureAlgorithm::Sha1) && product != product::PRIVATE {
        return Err(refused("options.signature_algorithm", "sha1", "only PRIVATE_SSL is signed with SHA-1"));
    }
    let for_clients = options.extended_key_usage == Some(ExtendedKeyUsage::ClientAuth);
    if options.ct_log == Some(true) && (!is_public || for_clients) {
        let rule = "certificates of private products, and those for TLS clients alone, are not logged";
        return Err(refused("options.ct_log", "true", rule));
    }
    Ok(())
}

/// Checks the account's own fields by what the catalog says of them.
fn check_fields(line: &Product, options: &OrderOptions) -> Result<(), InputError> {
    for (name, value) in &options.custom_fields {
        let field = format!("options.custom_fields.{name}");
        if !line.details.contains_key(&format!("{FIELD}{name}")) {
            return Err(refused(field, name, "the account does not use this field"));
        }
        // A long list is stored cut short, and then tells nothing of what is not in it.
        let choices = line.details.get(&format!("{CHOICES}{name}")).map(certlife_core::VendorText::as_str);
        if let (CustomValue::Text(text), Some(choices)) = (value, choices.filter(|text| !text.ends_with('…')))
            && !choices.split(',').any(|choice| choice.trim() == text)
        {
            return Err(refused(field, text, format!("the account offers {choices}")));
        }
    }
    for (detail, words) in &line.details {
        let required = detail.strip_prefix(FIELD).zip(words.as_str().strip_prefix(REQUIRED));
        if let Some((name, label)) = required.filter(|(name, _)| !options.custom_fields.contains_key(*name)) {
            let rule = format!("the account requires it: {label}");
            return Err(refused(format!("options.custom_fields.{name}"), "", rule));
        }
    }
    Ok(())
}

/// Every name must lie at or below a domain that the CA has validated for the company unit.
fn check_domains(client: i64, request: &OrderRequest, catalog: &Catalog) -> Result<(), InputError> {
    let prefix = format!("{client}/");
    let of_client: Vec<&CatalogDomain> =
        catalog.domains.iter().filter(|domain| domain.id.starts_with(&prefix)).collect();
    if catalog.domains.is_empty() {
        // Nothing is known of domains then, be it for want of a right.
        return Ok(());
    }
    for identifier in &request.identifiers {
        let Some(base) = identifier.base_name().map(certlife_core::DnsName::to_fqdn) else { continue };
        let encloses = |domain: &&&CatalogDomain| {
            domain.name.base_name().is_some_and(|name| base.is_within(&name.to_fqdn()))
        };
        let above: Vec<_> = of_client.iter().filter(encloses).collect();
        if above.iter().any(|domain| domain.status == ValidationStatus::Valid) {
            continue;
        }
        let rule = match above.first() {
            Some(domain) => format!("the CA has not validated {}: {:?}", domain.name, domain.status),
            None => format!("client {client} has no domain that covers it; validate the domain first"),
        };
        return Err(InputError::Identifier { identifier: identifier.to_string(), rule: rule.into() });
    }
    Ok(())
}
