//! Names: identifiers in certificates (RFC 8555 §7.1.4) and owner names in DNS (RFC 9499).
//!
//! Text is parsed once, at the edge, into types that cannot be wrong. Internationalized names become
//! A-labels (RFC 5890) on the way in, because that is what certificates and DNS hold.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::input::InputError;

/// The longest name that fits a DNS message, in characters without the final dot (RFC 1035 §3.1).
const MAX_NAME: usize = 253;
/// The longest label (RFC 1035 §3.1).
const MAX_LABEL: usize = 63;

/// Implements text conversion through `FromStr` and `as_str` for a name type.
macro_rules! textual {
    ($type:ty) => {
        impl TryFrom<&str> for $type {
            type Error = InputError;

            fn try_from(text: &str) -> Result<Self, InputError> {
                text.parse()
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// An owner name in DNS: absolute, lower case, A-labels, without the final dot.
///
/// Labels hold letters, digits, `-` and `_`; a name is at most 253 and a label at most 63 characters
/// (RFC 1035 §3.1). Underscore labels such as `_acme-challenge` are allowed (RFC 8552).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fqdn(String);

impl Fqdn {
    /// The name without the final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels, leftmost first.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// The name one label up, or none at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_once('.').map(|(_, parent)| Self(parent.to_owned()))
    }

    /// This name and every name above it, longest first: the candidates for the enclosing zone.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    /// Whether this name is `zone` or lies under it, compared label by label.
    pub fn is_within(&self, zone: &Self) -> bool {
        self.0.strip_suffix(&zone.0).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The part before `zone`, empty at the apex; none if the name is not within `zone`.
    pub fn relative_to(&self, zone: &Self) -> Option<&str> {
        let rest = self.0.strip_suffix(&zone.0)?;
        if rest.is_empty() { Some("") } else { rest.strip_suffix('.') }
    }

    /// The name one label below this one.
    ///
    /// # Errors
    ///
    /// [`InputError::DnsName`] if the label is malformed or the result too long.
    pub fn child(&self, label: &str) -> Result<Self, InputError> {
        format!("{label}.{}", self.0).parse()
    }
}

impl FromStr for Fqdn {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        parse_name(text, true).map(Self)
    }
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Fqdn {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

textual!(Fqdn);

/// A host name that a certificate can hold: like [`Fqdn`], but without underscores, with at least two
/// labels or a single one for internal names, and never an IP address in disguise.
///
/// CA/B Baseline Requirements §7.1.4.2.1 and RFC 5890: labels hold letters, digits and inner hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

impl DnsName {
    /// The name in A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name as an owner name in DNS.
    pub fn to_fqdn(&self) -> Fqdn {
        Fqdn(self.0.clone())
    }

    /// The name in U-labels, for people.
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }
}

impl FromStr for DnsName {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let name = parse_name(text, false)?;
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InputError::dns_name(text, "the last label must not be a number"));
        }
        Ok(Self(name))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

textual!(DnsName);

fn parse_name(text: &str, underscores: bool) -> Result<String, InputError> {
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() {
        return Err(InputError::dns_name(text, "a name has at least one label"));
    }
    if bare.len() > 4 * MAX_NAME {
        return Err(InputError::dns_name(text, "a name has at most 253 characters"));
    }
    let ascii = if bare.is_ascii() {
        bare.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii_strict(bare)
            .map_err(|_| InputError::dns_name(text, "it is not a valid internationalized name"))?
    };
    if ascii.len() > MAX_NAME {
        return Err(InputError::dns_name(text, "a name has at most 253 characters"));
    }
    for label in ascii.split('.') {
        check_label(text, label, underscores)?;
    }
    Ok(ascii)
}

fn check_label(name: &str, label: &str, underscores: bool) -> Result<(), InputError> {
    let rule = if label.is_empty() {
        "no label may be empty"
    } else if label.len() > MAX_LABEL {
        "a label has at most 63 characters"
    } else if label == "*" {
        "`*` stands only in front of a wildcard identifier"
    } else if label.contains('_') && !underscores {
        "an underscore is not allowed in a host name"
    } else if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
        "labels hold letters, digits and hyphens"
    } else if label.starts_with('-') || label.ends_with('-') {
        "a label neither starts nor ends with a hyphen"
    } else if label.starts_with("xn--") && !is_a_label(label) {
        "a label that starts with `xn--` must be valid Punycode"
    } else if label.as_bytes().get(2..4) == Some(b"--") && !label.starts_with("xn--") {
        "hyphens in third and fourth place are reserved"
    } else {
        return Ok(());
    };
    Err(InputError::dns_name(name, rule))
}

/// Whether a label survives the way to Unicode and back (RFC 5891 §5.4).
fn is_a_label(label: &str) -> bool {
    let (unicode, outcome) = idna::domain_to_unicode(label);
    outcome.is_ok()
        && !unicode.is_ascii()
        && idna::domain_to_ascii_strict(&unicode).is_ok_and(|ascii| ascii == label)
}

/// A name in a certificate (RFC 8555 §7.1.4): DNS name, wildcard or IP address.
///
/// As text: `example.com`, `*.example.com`, `192.0.2.1`, `2001:db8::1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Identifier {
    /// One host name.
    Dns(DnsName),
    /// Every name one label below: `*.` and the name held here (RFC 9525 §6.3).
    Wildcard(DnsName),
    /// An IP address (RFC 8738).
    Ip(IpAddr),
}

impl Identifier {
    /// The DNS name without `*.`, or none for an address.
    pub fn base_name(&self) -> Option<&DnsName> {
        match self {
            Self::Dns(name) | Self::Wildcard(name) => Some(name),
            Self::Ip(_) => None,
        }
    }

    /// Whether this is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }

    /// Whether a certificate with this identifier is good for `host` (RFC 9525 §6.3).
    pub fn covers(&self, host: &Self) -> bool {
        match (self, host) {
            (Self::Wildcard(base), Self::Dns(name)) => {
                name.0.split_once('.').is_some_and(|(_, parent)| parent == base.0)
            }
            _ => self == host,
        }
    }
}

impl FromStr for Identifier {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let text = text.trim();
        if let Some(base) = text.strip_prefix("*.") {
            return base.parse().map(Self::Wildcard);
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Ip(address.to_canonical()));
        }
        text.parse().map(Self::Dns)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => fmt::Display::fmt(name, f),
            Self::Wildcard(base) => write!(f, "*.{base}"),
            Self::Ip(address) => fmt::Display::fmt(address, f),
        }
    }
}

textual!(Identifier);

impl From<DnsName> for Identifier {
    fn from(name: DnsName) -> Self {
        Self::Dns(name)
    }
}

impl From<IpAddr> for Identifier {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule_broken(text: &str) -> String {
        text.parse::<Identifier>().unwrap_err().to_string()
    }

    #[test]
    fn identifiers_are_told_apart() {
        assert_eq!("Example.COM.".parse::<Identifier>().unwrap().to_string(), "example.com");
        assert!(matches!("*.example.com".parse().unwrap(), Identifier::Wildcard(_)));
        assert!(matches!("[2001:DB8::1]".parse().unwrap(), Identifier::Ip(_)));
        assert_eq!("bücher.example".parse::<Identifier>().unwrap().to_string(), "xn--bcher-kva.example");
    }

    #[test]
    fn each_broken_rule_is_named_with_the_value() {
        for (text, rule) in [
            ("", "at least one label"),
            ("a..b", "no label may be empty"),
            ("xn--zzzzzz--.example", "hyphen"),
            ("xn--a.example", "valid Punycode"),
            ("a_b.example", "underscore"),
            ("a.*.example", "`*` stands only"),
            ("-a.example", "neither starts nor ends"),
            ("256.1.1.1", "must not be a number"),
            ("a b.example", "letters, digits and hyphens"),
        ] {
            let message = rule_broken(text);
            assert!(message.contains(rule) && message.contains(text), "{text}: {message}");
        }
        assert!(rule_broken(&"a".repeat(64)).contains("63"));
        assert!(rule_broken(&"a.".repeat(130)).contains("253"));
    }

    #[test]
    fn zones_are_compared_on_label_boundaries() {
        let zone: Fqdn = "example.com".parse().unwrap();
        let name: Fqdn = "_acme-challenge.www.example.com".parse().unwrap();
        assert!(name.is_within(&zone));
        assert_eq!(name.relative_to(&zone), Some("_acme-challenge.www"));
        assert_eq!(zone.relative_to(&zone), Some(""));
        let other: Fqdn = "notexample.com".parse().unwrap();
        assert!(!other.is_within(&zone));
        assert_eq!(other.relative_to(&zone), None);
        assert_eq!(name.ancestors().count(), 4);
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let wildcard: Identifier = "*.example.com".parse().unwrap();
        assert!(wildcard.covers(&"www.example.com".parse().unwrap()));
        assert!(!wildcard.covers(&"a.b.example.com".parse().unwrap()));
        assert!(!wildcard.covers(&"example.com".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_to_the_same_identifier(text in "\\PC{0,80}") {
            if let Ok(identifier) = text.parse::<Identifier>() {
                prop_assert_eq!(identifier.to_string().parse::<Identifier>().unwrap(), identifier);
            }
        }
    }
}
