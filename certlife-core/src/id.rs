//! Names that the host chooses and ids that the engine makes.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{input::InputError, time::Timestamp};

/// Declares a type for names that the host chooses.
macro_rules! chosen_names {
    ($($(#[$doc:meta])* $name:ident: $noun:literal,)*) => {$(
        $(#[$doc])*
        ///
        /// One to 100 letters, digits, `.`, `_` or `-`, starting with a letter or digit; case counts.
        /// Such a name is safe as a file name on every platform.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks the name.
            ///
            /// # Errors
            ///
            /// [`InputError::Name`] names the value and the rule.
            pub fn new(name: impl Into<String>) -> Result<Self, InputError> {
                let name = name.into();
                check_chosen($noun, &name)?;
                Ok(Self(name))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InputError;

            fn from_str(text: &str) -> Result<Self, InputError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

chosen_names! {
    /// The name of an account: one configured connection to a CA, DNS vendor or target.
    AccountName: "account",
    /// The name of a certificate that the host wants to keep alive.
    CertificateId: "certificate",
}

fn check_chosen(noun: &'static str, name: &str) -> Result<(), InputError> {
    let starts_well = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    let holds_well =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let ends_well = !name.ends_with('.');
    if starts_well && holds_well && ends_well && name.len() <= 100 {
        return Ok(());
    }
    Err(InputError::Name {
        noun,
        value: name.into(),
        rule: "use 1 to 100 letters, digits, `.`, `_` or `-`, beginning with a letter or digit and not ending in `.`",
    })
}

/// Declares a type for ids that the engine makes: UUID version 7, so that they sort by age.
macro_rules! made_ids {
    ($($(#[$doc:meta])* $name:ident: $noun:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes an id from the time and 80 random bits (RFC 9562 §5.7).
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.unix_millis()).unwrap_or_default();
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }
        }

        impl FromStr for $name {
            type Err = InputError;

            fn from_str(text: &str) -> Result<Self, InputError> {
                let uuid = Uuid::try_parse(text).map_err(|_| InputError::Name {
                    noun: $noun,
                    value: text.into(),
                    rule: "an id is a UUID, such as 019b6f0e-7c1a-7000-8000-0123456789ab",
                })?;
                Ok(Self(uuid))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

made_ids! {
    /// One order.
    OrderId: "order",
    /// One issued version of a certificate.
    VersionId: "version",
    /// One sealed private key.
    KeyId: "key",
    /// One engine process among those that share a store.
    WorkerId: "worker",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_names_are_safe_as_file_names() {
        for good in ["www", "Api_2.example-1", "0"] {
            assert!(CertificateId::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\\b", "a b", "-x", "ä", "a\0", "x.", &"x".repeat(101)] {
            assert!(CertificateId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn made_ids_sort_by_age() {
        let early = OrderId::new(Timestamp::from_unix_seconds(1_000), [255; 10]);
        let late = OrderId::new(Timestamp::from_unix_seconds(1_001), [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<OrderId>().unwrap(), early);
    }
}
