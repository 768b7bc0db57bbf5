//! The names in a `subjectAltName` extension (RFC 5280 §4.2.1.6).

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
};

use der::{Reader as _, Tag, Tagged as _, asn1::AnyRef};

use super::elements;
use crate::{name::Identifier, text::VendorText};

/// Subject alternative names, sorted by whether we know what to do with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AltNames {
    pub(crate) identifiers: BTreeSet<Identifier>,
    /// Names of other kinds, and DNS names that break the rules, as text.
    pub(crate) others: Vec<VendorText>,
}

impl AltNames {
    /// Reads the content of the extension.
    pub(crate) fn read(der: &[u8]) -> der::Result<Self> {
        let mut names = Self::default();
        let mut list = elements(der)?;
        while !list.is_finished() {
            let name: AnyRef<'_> = list.decode()?;
            let Tag::ContextSpecific { number, .. } = name.tag() else {
                return Err(name.tag().value_error().into());
            };
            let text = || String::from_utf8_lossy(name.value());
            match number.0 {
                2 => match dns(name.value()) {
                    Some(identifier) => _ = names.identifiers.insert(identifier),
                    None => names.others.push(VendorText::new(&format!("DNS:{}", text()))),
                },
                7 => match address(name.value()) {
                    Some(address) => _ = names.identifiers.insert(Identifier::Ip(address)),
                    None => names.others.push(VendorText::new("an IP address of unusual form")),
                },
                1 => names.others.push(VendorText::new(&format!("email:{}", text()))),
                6 => names.others.push(VendorText::new(&format!("URI:{}", text()))),
                other => names.others.push(VendorText::new(&format!("a name of kind {other}"))),
            }
        }
        Ok(names)
    }
}

/// A `dNSName`: never an address, even if it reads like one.
fn dns(bytes: &[u8]) -> Option<Identifier> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())?;
    match text.strip_prefix("*.") {
        Some(base) => base.parse().map(Identifier::Wildcard).ok(),
        None => text.parse().map(Identifier::Dns).ok(),
    }
}

/// An `iPAddress`. Clients compare its bytes, so an IPv4 address in IPv6 form is good for neither.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
    address.to_ipv4_mapped().is_none().then_some(address.into())
}
