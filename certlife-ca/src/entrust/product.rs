//! What is known of Entrust's products, by the names that orders use.

use super::Entrust;

/// A product, as far as local checks and people want to know.
pub(super) struct Known {
    /// What orders name: `certType`.
    pub(super) id: &'static str,
    /// What people read.
    pub(super) name: &'static str,
    pub(super) group: Group,
}

/// What a product is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// TLS certificates that browsers trust, with the organization in them.
    Public,
    /// The same by the rules for extended validation and for qualified certificates, which allow no wildcards
    /// (CA/B EV Guidelines §7.1.2; ETSI EN 319 412-4).
    Extended,
    /// TLS certificates below a private root.
    Private,
    /// Something else, such as mail or code, which needs what orders here do not have.
    Other,
}

impl Group {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Public => "public TLS, organization validated",
            Self::Extended => "public TLS, extended validation or qualified",
            Self::Private => "private TLS",
            Self::Other => "not for TLS",
        }
    }

    pub(super) fn is_public(self) -> bool {
        matches!(self, Self::Public | Self::Extended)
    }
}

const fn known(id: &'static str, name: &'static str, group: Group) -> Known {
    Known { id, name, group }
}

/// A host name and its twin with or without `www.`.
pub(super) const STANDARD: &str = "STANDARD_SSL";
/// The only one whose certificates may be signed with SHA-1.
pub(super) const PRIVATE: &str = "PRIVATE_SSL";
/// The only one that names organizations of any company unit, and that a flexible licence does not cover.
pub(super) const PRIVATE_DEDICATED: &str = "PD_SSL";
/// A licence that covers all TLS products.
pub(super) const FLEX: &str = "FLEX";

/// The products of the published API document.
pub(super) const PRODUCTS: [Known; 16] = [
    known(STANDARD, "Standard OV", Group::Public),
    known("ADVANTAGE_SSL", "Advantage OV", Group::Public),
    known("UC_SSL", "Unified Communications OV (multi-domain)", Group::Public),
    known("WILDCARD_SSL", "Wildcard OV", Group::Public),
    known("EV_SSL", "Multi-domain EV", Group::Extended),
    known("QWAC_SSL", "Qualified website authentication (QWAC)", Group::Extended),
    known("PSD2_SSL", "Qualified website authentication for PSD2", Group::Extended),
    known(PRIVATE, "Private", Group::Private),
    known(PRIVATE_DEDICATED, "Private dedicated", Group::Private),
    known("CODE_SIGNING", "Code signing", Group::Other),
    known("EV_CODE_SIGNING", "EV code signing", Group::Other),
    known("CDS_INDIVIDUAL", "Document signing, individual", Group::Other),
    known("CDS_GROUP", "Document signing, group", Group::Other),
    known("CDS_ENT_LITE", "Document signing, enterprise lite", Group::Other),
    known("CDS_ENT_PRO", "Document signing, enterprise pro", Group::Other),
    known("SMIME_ENT", "S/MIME enterprise", Group::Other),
];

/// Finds a product by its name; `QWACPSD2_SSL` is another name that one client has seen.
pub(super) fn find(id: &str) -> Option<&'static Known> {
    let id = if id == "QWACPSD2_SSL" { "PSD2_SSL" } else { id };
    PRODUCTS.iter().find(|product| product.id == id)
}

impl Entrust {
    /// What a product is for; one that the host added is taken for public TLS.
    pub(super) fn group(&self, id: &str) -> Option<Group> {
        let added = || self.extra_products.iter().any(|extra| extra == id).then_some(Group::Public);
        find(id).map(|known| known.group).or_else(added)
    }
}
