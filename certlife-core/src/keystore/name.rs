//! The name of an entry: the friendly name of PKCS#12, the alias of Java.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::input::InputError;

/// A name that people see: the friendly name of a certificate in Windows, the alias of an entry in Java.
///
/// One to 255 characters of the Basic Multilingual Plane, which is what PKCS#12 can carry (RFC 2985 §5.5.1), without
/// control characters and without spaces at the ends. Java takes aliases that differ in case only for the same.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FriendlyName(String);

const MAX_CHARACTERS: usize = 255;

impl FriendlyName {
    /// Checks the name.
    ///
    /// # Errors
    ///
    /// [`InputError::Name`] names the value and the rule.
    pub fn new(name: impl Into<String>) -> Result<Self, InputError> {
        let name = name.into();
        let fits = (1..=MAX_CHARACTERS).contains(&name.chars().count());
        let plain = name.chars().all(|character| !character.is_control() && character <= '\u{ffff}');
        if fits && plain && name.trim() == name {
            return Ok(Self(name));
        }
        Err(InputError::Name {
            noun: "friendly",
            value: name.into(),
            rule: "use 1 to 255 characters of the Basic Multilingual Plane, without control characters and without \
                   spaces at the ends",
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `certificate`, for a leaf without identifiers.
impl Default for FriendlyName {
    fn default() -> Self {
        Self("certificate".to_owned())
    }
}

impl FromStr for FriendlyName {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for FriendlyName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for FriendlyName {
    fn schema_name() -> Cow<'static, str> {
        "FriendlyName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS })
    }
}

impl fmt::Display for FriendlyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FriendlyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
