//! Names of files that a host chooses.

use std::{borrow::Cow, fmt, path::Path, str::FromStr};

use certlife_core::InputError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A file name without a directory, such as `site.pfx`.
///
/// One to 100 letters, digits, `.`, `_` or `-`, starting with a letter or digit and not ending in `.`: safe on every
/// platform and in every shell.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FileName(String);

const RULE: &str =
    "use 1 to 100 letters, digits, `.`, `_` or `-`, beginning with a letter or digit and not ending in `.`";

impl FileName {
    /// Checks the name.
    ///
    /// # Errors
    ///
    /// [`InputError::Name`] names the value and the rule.
    pub fn new(name: impl Into<String>) -> Result<Self, InputError> {
        let name = name.into();
        if is_plain(&name) {
            return Ok(Self(name));
        }
        Err(InputError::Name { noun: "file", value: name.into(), rule: RULE })
    }

    /// A name that is written in our code.
    pub(crate) fn ours(name: &'static str) -> Self {
        debug_assert!(is_plain(name), "{name}: {RULE}");
        Self(name.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_plain(name: &str) -> bool {
    let holds_well =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    let starts_well = name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
    holds_well && starts_well && !name.ends_with('.') && name.len() <= 100
}

impl AsRef<Path> for FileName {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl FromStr for FileName {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for FileName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for FileName {
    fn schema_name() -> Cow<'static, str> {
        "FileName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?$" })
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_directory() {
        for good in ["site.pfx", "a", "Key_Store-2.jks"] {
            assert_eq!(FileName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a\\b",
            "a.",
            "-a",
            "a b",
            "ä",
            "a\u{0}",
            "a$b",
            &"a".repeat(101),
        ] {
            assert!(FileName::new(bad).unwrap_err().to_string().contains("1 to 100 letters"), "{bad}");
        }
    }
}
