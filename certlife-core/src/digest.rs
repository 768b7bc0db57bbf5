//! SHA-256 digests that name keys and certificates, and the hexadecimal text that shows them.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::input::InputError;

/// Declares a type for SHA-256 digests of one kind of thing.
macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident: $field:literal,)*) => {$(
        $(#[$doc])*
        ///
        /// As text and in serde: 64 lower-case hexadecimal digits. Reading also takes upper case and
        /// the colons that tools print between bytes.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The digest itself.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Hashes `der`.
            pub(crate) fn of(der: &[u8]) -> Self {
                let mut bytes = [0; 32];
                bytes.copy_from_slice(digest(&SHA256, der).as_ref());
                Self(bytes)
            }
        }

        impl FromStr for $name {
            type Err = InputError;

            fn from_str(text: &str) -> Result<Self, InputError> {
                let bytes = from_hex(text).and_then(|bytes| bytes.try_into().ok());
                bytes.map(Self).ok_or_else(|| InputError::Value {
                    field: $field.into(),
                    value: text.into(),
                    rule: "a SHA-256 digest has 64 hexadecimal digits".into(),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

digests! {
    /// Names a key pair: SHA-256 of the public key as `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1.2.7).
    KeyHash: "key hash",
    /// Names a certificate: SHA-256 of its DER.
    Fingerprint: "fingerprint",
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// Reads hexadecimal digits in either case, in pairs that colons may separate.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut rest = text.as_bytes();
    while let [high, low, tail @ ..] = rest {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = match tail {
            [b':', after @ ..] if !after.is_empty() => after,
            _ => tail,
        };
    }
    rest.is_empty().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_in_every_usual_form() {
        let digest = Fingerprint::of(b"");
        let text = digest.to_string();
        // FIPS 180-4: SHA-256 of the empty message.
        assert_eq!(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let pairs: Vec<_> =
            text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
        for form in [text.clone(), text.to_uppercase(), pairs.join(":")] {
            assert_eq!(form.parse::<Fingerprint>().unwrap(), digest);
        }
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{text}\""));
    }

    #[test]
    fn other_text_is_refused() {
        let text = Fingerprint::of(b"").to_string();
        for bad in
            ["", "e3", &text[1..], &format!("{text}:"), &text.replace('e', "g"), &format!("é{}", &text[2..])]
        {
            assert!(bad.parse::<KeyHash>().is_err(), "{bad}");
        }
    }
}
