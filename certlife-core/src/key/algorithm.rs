//! The kinds of key that certlife makes and takes.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::input::InputError;

/// Declares [`KeyAlgorithm`] with the names of its variants.
macro_rules! key_algorithms {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A kind of key, with its size.
        ///
        /// As text, in serde and in schemas: `ecdsa-p256`, `rsa-2048`, `ed25519`, …
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum KeyAlgorithm {
            $($(#[$doc])* $variant,)*
        }

        impl KeyAlgorithm {
            /// Every kind of key, in the order of the variants.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name, as in settings.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

key_algorithms! {
    /// RSA with a modulus of 2048 bits.
    Rsa2048 = "rsa-2048",
    /// RSA with a modulus of 3072 bits.
    Rsa3072 = "rsa-3072",
    /// RSA with a modulus of 4096 bits.
    Rsa4096 = "rsa-4096",
    /// ECDSA on P-256 (FIPS 186-5): small, fast, and taken by every public CA. The default.
    #[default]
    EcdsaP256 = "ecdsa-p256",
    /// ECDSA on P-384.
    EcdsaP384 = "ecdsa-p384",
    /// ECDSA on P-521. Allowed by the Baseline Requirements, but few browsers take it.
    EcdsaP521 = "ecdsa-p521",
    /// Ed25519 (RFC 8410). For private CAs: the Baseline Requirements §6.1.1.3 do not allow it.
    Ed25519 = "ed25519",
}

impl KeyAlgorithm {
    /// Whether this is RSA, whose keys take up to seconds to make.
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    /// The RSA algorithm with a modulus of that many bits.
    pub(crate) const fn rsa(bits: usize) -> Option<Self> {
        match bits {
            2_048 => Some(Self::Rsa2048),
            3_072 => Some(Self::Rsa3072),
            4_096 => Some(Self::Rsa4096),
            _ => None,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
            InputError::Value {
                field: "key algorithm".into(),
                value: text.into(),
                rule: format!("known are {}", names.join(", ")).into(),
            }
        })
    }
}

impl Serialize for KeyAlgorithm {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for KeyAlgorithm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <Cow<'_, str>>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for KeyAlgorithm {
    fn schema_name() -> Cow<'static, str> {
        "KeyAlgorithm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A kind of key, with its size.",
            "enum": Self::ALL.iter().map(|algorithm| algorithm.as_str()).collect::<Vec<_>>(),
            "default": Self::default().as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_an_unknown_one_lists_them() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.to_string().parse::<KeyAlgorithm>().unwrap(), *algorithm);
        }
        assert_eq!(serde_json::to_string(&KeyAlgorithm::default()).unwrap(), "\"ecdsa-p256\"");
        let refused = serde_json::from_str::<KeyAlgorithm>("\"rsa-1024\"").unwrap_err().to_string();
        assert!(refused.contains("rsa-1024") && refused.contains("rsa-2048, rsa-3072"), "{refused}");
    }
}
