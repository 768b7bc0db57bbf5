//! What certificates for subscribers say (RFC 5280 §4.2, after the profile of CA/B Forum BR §7.1.2.7).

use std::{collections::BTreeSet, time::Duration};

use certlife_core::{Chain, Identifier, KeyAlgorithm, Result, Timestamp};
use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
};
use der::asn1::{Ia5String, OctetString};
use x509_cert::ext::pkix::{
    BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
    crl::dp::DistributionPoint,
    name::{DistributionPointName, GeneralName},
};

use super::{
    encode::{self, Template},
    issuer::{Issuer, key_id, random_serial},
    order::Order,
    settings::{Profile, Settings},
};

/// `id-pe-tlsfeature` (RFC 7633 §4).
const TLS_FEATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");
/// `status_request`, the TLS extension that carries a stapled response (RFC 6066 §8).
const STATUS_REQUEST: u16 = 5;
/// The longest common name (RFC 5280, appendix A.1).
const MAX_COMMON_NAME: usize = 64;

/// Issues the certificate of an order: names from the order, key from its request, the rest by the profile.
pub(super) fn issue(
    order: &Order,
    profile: &Profile,
    settings: &Settings,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<Chain> {
    let validity = order.validity().unwrap_or_else(|| profile.validity()).min(profile.max_validity());
    let backdate = Duration::from_mins(u64::from(settings.backdate_minutes));
    // The last second counts (RFC 5280 §4.1.2.5), and nothing outlasts its issuer.
    let not_after = (now + validity - Duration::from_secs(1)).min(issuer.not_after);
    let common_name = common_name(order, settings);
    let subject = encode::name(common_name.as_deref(), None, None)?;
    let template = Template {
        serial: &random_serial()?,
        subject: &subject,
        public_key: order.csr.public_key_der(),
        not_before: (now - backdate).max(issuer.not_before),
        not_after,
        extensions: extensions(order, profile, settings, issuer, common_name.is_some())?,
    };
    let leaf = encode::certificate(&template, &issuer.name, &issuer.key)?;
    let issuers = issuer.chain.certificates().map(|der| der.to_vec());
    Chain::from_ders(std::iter::once(leaf).chain(issuers))
        .map_err(|error| certlife_core::Error::input(certlife_core::Operation::PlaceOrder, error))
}

fn extensions(
    order: &Order,
    profile: &Profile,
    settings: &Settings,
    issuer: &Issuer,
    has_subject: bool,
) -> Result<Vec<x509_cert::ext::Extension>> {
    let bits = encode::key_bits(order.csr.public_key_der()).map_err(encode::unwritable)?;
    let own_id = OctetString::new(key_id(bits)).map_err(encode::unwritable)?;
    let mut usage = KeyUsages::DigitalSignature.into();
    // Older TLS sends the session key under RSA keys (RFC 5280 §4.2.1.3).
    if order.csr.key_algorithm().is_none_or(KeyAlgorithm::is_rsa) {
        usage |= KeyUsages::KeyEncipherment;
    }
    let mut purposes = Vec::new();
    if profile.server {
        purposes.push(ID_KP_SERVER_AUTH);
    }
    if profile.client || order.options.client {
        purposes.push(ID_KP_CLIENT_AUTH);
    }
    let no_authority = BasicConstraints { ca: false, path_len_constraint: None };
    let mut extensions = vec![
        encode::extension(true, &no_authority)?,
        encode::extension(true, &KeyUsage(usage))?,
        encode::extension(false, &ExtendedKeyUsage(purposes))?,
        // Critical if it is the only name there is (RFC 5280 §4.2.1.6).
        encode::extension(!has_subject, &alt_names(&order.identifiers)?)?,
        encode::extension(false, &SubjectKeyIdentifier(own_id))?,
        issuer.authority_key_id()?,
    ];
    if let Some(url) = &settings.crl_url {
        let url = Ia5String::new(url.as_str()).map_err(encode::unwritable)?;
        let point = DistributionPoint {
            distribution_point: Some(DistributionPointName::FullName(vec![
                GeneralName::UniformResourceIdentifier(url),
            ])),
            reasons: None,
            crl_issuer: None,
        };
        extensions.push(encode::extension(false, &CrlDistributionPoints(vec![point]))?);
    }
    if order.options.must_staple || order.csr.must_staple() {
        extensions.push(encode::raw_extension(TLS_FEATURE, false, &vec![STATUS_REQUEST])?);
    }
    Ok(extensions)
}

fn common_name(order: &Order, settings: &Settings) -> Option<String> {
    let wanted = order.options.common_name.unwrap_or(settings.common_name);
    let names = order.identifiers.iter().filter(|identifier| !matches!(identifier, Identifier::Ip(_)));
    let mut names = names.map(ToString::to_string).filter(|name| name.len() <= MAX_COMMON_NAME);
    names.next().filter(|_| wanted)
}

fn alt_names(identifiers: &[Identifier]) -> Result<SubjectAltName> {
    let mut seen = BTreeSet::new();
    let name = |identifier: &Identifier| match identifier {
        Identifier::Ip(address) => Ok(GeneralName::from(*address)),
        name => Ia5String::new(&name.to_string()).map(GeneralName::DnsName),
    };
    let names = identifiers.iter().filter(|identifier| seen.insert(*identifier)).map(name);
    names.collect::<der::Result<_>>().map(SubjectAltName).map_err(encode::unwritable)
}
