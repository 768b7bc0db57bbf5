//! What an order sends: built from the request, the options and the account's presets.

use aws_lc_rs::digest::{SHA256, digest};
use certlife_core::{
    Identifier, InputError,
    ca::{ContactRole, OrderIntent, OrderRequest},
};
use serde::Serialize;

use super::{
    SslStore,
    check::{paid_names, product_code, refused, sans, wanted_months},
    options::{OrderOptions, SignatureHash, Vendor},
    order::Method,
    party::{Address, OrganizationDetails, Person},
    server::WebServer,
};

/// Who answers for an order.
pub(super) struct Parties {
    pub(super) administrator: Person,
    pub(super) technical: Person,
    pub(super) organization: Option<OrganizationDetails>,
}

impl Parties {
    /// The order's own options come first, then its contacts, then the account's presets.
    pub(super) fn of(
        ca: &SslStore,
        request: &OrderRequest,
        options: &OrderOptions,
    ) -> Result<Self, InputError> {
        let contact = |role: ContactRole| {
            request.contacts.iter().find(|contact| contact.role == role).map(Person::from)
        };
        let pick = |own: &Option<Person>, role: ContactRole, preset: &Option<Person>| {
            let person = own.clone().or_else(|| contact(role)).or_else(|| preset.clone());
            person.map(|person| person.at(preset.as_ref().or(ca.administrator.as_ref())))
        };
        let administrator = pick(&options.administrator, ContactRole::Administrative, &ca.administrator);
        let administrator = administrator.ok_or_else(|| {
            refused("contacts", "", "name an administrative contact, here or in the account's settings")
        })?;
        let technical = pick(&options.technical, ContactRole::Technical, &ca.technical);
        Ok(Self {
            technical: technical.unwrap_or_else(|| administrator.clone()),
            administrator,
            organization: options.organization.clone().or_else(|| ca.organization.clone()),
        })
    }
}

/// `AdminContact` and `TechnicalContact`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireContact {
    first_name: String,
    last_name: String,
    phone: String,
    fax: String,
    email: String,
    title: String,
    organization_name: String,
    address_line1: String,
    address_line2: String,
    city: String,
    region: String,
    postal_code: String,
    country: String,
}

impl From<Person> for WireContact {
    fn from(person: Person) -> Self {
        let Address { line_1, line_2, city, region, postal_code, country, .. } =
            person.address.unwrap_or_default();
        Self {
            first_name: person.first_name,
            last_name: person.last_name,
            phone: person.phone,
            fax: person.fax,
            email: person.email,
            title: person.title,
            organization_name: person.organization,
            address_line1: line_1,
            address_line2: line_2,
            city,
            region,
            postal_code,
            country,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireOrganization {
    organization_name: String,
    #[serde(rename = "DUNS")]
    duns: String,
    division: String,
    incorporating_agency: String,
    registration_number: String,
    jurisdiction_city: String,
    jurisdiction_region: String,
    jurisdiction_country: String,
    assumed_name: String,
    organization_address: WireAddress,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WireAddress {
    address_line1: String,
    address_line2: String,
    address_line3: String,
    city: String,
    /// Clients differ in which of the two they fill with the city.
    locality_name: String,
    region: String,
    postal_code: String,
    country: String,
    phone: String,
    fax: String,
}

impl From<OrganizationDetails> for WireOrganization {
    fn from(details: OrganizationDetails) -> Self {
        let Address { line_1, line_2, line_3, city, region, postal_code, country } = details.address;
        Self {
            organization_name: details.name,
            duns: details.duns,
            division: details.division,
            incorporating_agency: details.incorporating_agency,
            registration_number: details.registration_number,
            jurisdiction_city: details.jurisdiction_city,
            jurisdiction_region: details.jurisdiction_region,
            jurisdiction_country: details.jurisdiction_country,
            assumed_name: details.assumed_name,
            organization_address: WireAddress {
                address_line1: line_1,
                address_line2: line_2,
                address_line3: line_3,
                locality_name: city.clone(),
                city,
                region,
                postal_code,
                country,
                phone: details.phone,
                fax: details.fax,
            },
        }
    }
}

/// What a new order and a reissue have in common.
#[derive(Serialize)]
pub(super) struct Common {
    #[serde(rename = "CustomOrderID")]
    reference: String,
    #[serde(rename = "CSR")]
    csr: String,
    #[serde(rename = "WebServerType")]
    web_server: WebServer,
    #[serde(rename = "DNSNames")]
    names: Vec<String>,
    #[serde(rename = "FileAuthDVIndicator")]
    file: bool,
    #[serde(rename = "HTTPSFileAuthDVIndicator")]
    https_file: bool,
    #[serde(rename = "CNAMEAuthDVIndicator")]
    dns: bool,
    #[serde(rename = "SignatureHashAlgorithm")]
    hash: SignatureHash,
    #[serde(rename = "CertTransparencyIndicator", skip_serializing_if = "Option::is_none")]
    log: Option<bool>,
    #[serde(rename = "CSRUniqueValue", skip_serializing_if = "Option::is_none")]
    unique: Option<String>,
    #[serde(rename = "SpecialInstructions", skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(rename = "DateTimeCulture")]
    culture: &'static str,
}

impl Common {
    fn new(ca: &SslStore, intent: &OrderIntent, options: &OrderOptions, vendor: Vendor) -> Self {
        let request = &intent.request;
        let method = Method::wanted(request);
        let names = sans(&request.identifiers, options.auto_www);
        Self {
            reference: intent.reference.clone(),
            csr: ca.api.csr_form.write(&intent.csr.pem()),
            web_server: options.web_server.unwrap_or_default(),
            names: names.into_iter().map(ToString::to_string).collect(),
            file: method == Method::Http && !options.file_over_https,
            https_file: method == Method::Http && options.file_over_https,
            dns: method == Method::Dns,
            hash: options.signature_hash.unwrap_or_else(|| SignatureHash::usual(vendor)),
            log: options.log_certificate,
            unique: (vendor == Vendor::Sectigo).then(|| unique_value(&intent.reference)),
            note: options.special_instructions.clone(),
            culture: "en-US",
        }
    }
}

/// What makes the proof of an order its own, at Sectigo: 20 letters that follow from the reference, so
/// that an order whose answer was lost is known again by what it asks for.
pub(super) fn unique_value(reference: &str) -> String {
    let hash = digest(&SHA256, reference.as_bytes());
    let letter = |byte: &u8| char::from(b'a' + byte % 26);
    hash.as_ref().iter().take(20).map(letter).collect()
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the API has a switch for each")]
pub(super) struct NewOrder {
    #[serde(flatten)]
    common: Common,
    #[serde(rename = "ProductCode")]
    product: String,
    #[serde(rename = "ValidityPeriod")]
    months: u32,
    #[serde(rename = "ServerCount")]
    servers: u32,
    #[serde(rename = "DomainName")]
    domain: String,
    #[serde(rename = "ReserveSANCount")]
    sans: usize,
    #[serde(rename = "WildcardReserveSANCount", skip_serializing_if = "Option::is_none")]
    wildcard_sans: Option<usize>,
    #[serde(rename = "AutoWWW")]
    auto_www: bool,
    #[serde(rename = "isCUOrder")]
    competitive_upgrade: bool,
    #[serde(rename = "isRenewalOrder")]
    renewal: bool,
    #[serde(rename = "isTrialOrder")]
    trial: bool,
    #[serde(rename = "RelatedTheSSLStoreOrderID")]
    related: String,
    #[serde(rename = "OrganizationInfo", skip_serializing_if = "Option::is_none")]
    organization: Option<WireOrganization>,
    #[serde(rename = "TSSOrganizationId", skip_serializing_if = "Option::is_none")]
    organization_id: Option<u32>,
    #[serde(rename = "AdminContact")]
    administrator: WireContact,
    #[serde(rename = "TechnicalContact")]
    technical: WireContact,
    #[serde(rename = "ApproverEmail")]
    approvers: String,
    #[serde(rename = "AddInstallationSupport")]
    installation: bool,
    #[serde(rename = "EmailLanguageCode")]
    language: String,
}

impl NewOrder {
    /// Builds the body. `related` is the order that is renewed.
    pub(super) fn new(
        ca: &SslStore,
        intent: &OrderIntent,
        approvers: String,
        related: Option<String>,
    ) -> Result<Self, InputError> {
        let request = &intent.request;
        let options = OrderOptions::read(&request.options)?;
        let product = product_code(request)?.to_owned();
        let vendor = options.vendor_of(&product);
        let parties = Parties::of(ca, request, &options)?;
        let organization_id = request.organization.as_ref().and_then(|id| id.parse().ok());
        let listed = sans(&request.identifiers, options.auto_www);
        let (plain, wildcards) = paid_names(&listed, vendor);
        let paid =
            |own: Option<u32>, usual: usize| own.and_then(|own| usize::try_from(own).ok()).unwrap_or(usual);
        Ok(Self {
            common: Common::new(ca, intent, &options, vendor),
            product,
            months: wanted_months(request, ca.term_months).unwrap_or(ca.term_months),
            servers: options.server_count.unwrap_or(1),
            domain: request.identifiers.first().map(ToString::to_string).unwrap_or_default(),
            sans: paid(options.reserved_sans, plain),
            wildcard_sans: (vendor == Vendor::DigiCert)
                .then(|| paid(options.reserved_wildcard_sans, wildcards)),
            auto_www: options.auto_www,
            competitive_upgrade: false,
            renewal: related.is_some(),
            trial: false,
            related: related.unwrap_or_default(),
            organization: parties
                .organization
                .filter(|_| organization_id.is_none())
                .map(WireOrganization::from),
            organization_id,
            administrator: parties.administrator.into(),
            technical: parties.technical.into(),
            approvers,
            installation: false,
            language: options.email_language.as_deref().unwrap_or("EN").to_ascii_uppercase(),
        })
    }
}

#[derive(Serialize)]
pub(super) struct Reissue {
    #[serde(flatten)]
    common: Common,
    #[serde(rename = "TheSSLStoreOrderID")]
    order: String,
    #[serde(rename = "AddSAN")]
    added: Vec<Change>,
    #[serde(rename = "DeleteSAN")]
    removed: Vec<Change>,
    #[serde(rename = "EditSAN")]
    edited: Vec<Change>,
    #[serde(rename = "isWildCard")]
    wildcard: bool,
    #[serde(rename = "isRenewalOrder")]
    renewal: bool,
    #[serde(rename = "PreferEnrollmentLink")]
    link: bool,
    #[serde(rename = "ReissueEmail")]
    email: String,
    #[serde(rename = "ApproverEmails")]
    approvers: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    old_value: String,
    new_value: String,
}

impl Reissue {
    /// Builds the body. `before` are the names that the order has now; `email` must be its administrator's.
    pub(super) fn new(
        ca: &SslStore,
        intent: &OrderIntent,
        order: String,
        before: &[Identifier],
        email: String,
        approvers: String,
    ) -> Result<Self, InputError> {
        let request = &intent.request;
        let options = OrderOptions::read(&request.options)?;
        let vendor = options.vendor_of(product_code(request)?);
        let (now, then) = (sans(&request.identifiers, options.auto_www), sans(before, options.auto_www));
        let text = |name: &&Identifier| name.to_string();
        let added = now.iter().filter(|name| !then.contains(name)).map(text);
        let removed = then.iter().filter(|name| !now.contains(name)).map(text);
        Ok(Self {
            common: Common::new(ca, intent, &options, vendor),
            order,
            added: added.map(|name| Change { old_value: String::new(), new_value: name }).collect(),
            removed: removed.map(|name| Change { old_value: name, new_value: String::new() }).collect(),
            edited: Vec::new(),
            wildcard: request.identifiers.iter().any(Identifier::is_wildcard),
            renewal: false,
            link: false,
            email,
            approvers,
        })
    }
}
