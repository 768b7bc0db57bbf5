//! Text that comes from outside: capped, without control characters, safe to keep and to print.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Words of a vendor, a target or a resolver, made safe to store, log and show.
///
/// Holds at most [`VendorText::MAX`] characters; longer text ends in `…`. Control characters, line
/// breaks included, become spaces, and runs of white space become one, so that a log line stays one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct VendorText(String);

impl VendorText {
    /// The most characters kept.
    pub const MAX: usize = 1_000;

    /// Makes `text` safe.
    pub fn new(text: &str) -> Self {
        let mut clean = String::with_capacity(text.len().min(Self::MAX * 4));
        let mut kept = 0;
        let mut gap = false;
        for character in text.chars() {
            if character.is_whitespace() || character.is_control() || is_invisible(character) {
                gap = kept > 0;
                continue;
            }
            if kept + usize::from(gap) >= Self::MAX {
                clean.push('…');
                break;
            }
            if gap {
                clean.push(' ');
                kept += 1;
                gap = false;
            }
            clean.push(character);
            kept += 1;
        }
        Self(clean)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Characters that print nothing but change how the rest of a line is shown (Unicode bidi controls,
/// zero-width characters, byte order mark).
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl<'de> Deserialize<'de> for VendorText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

impl From<&str> for VendorText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for VendorText {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl fmt::Display for VendorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VendorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_line_breaks_become_single_spaces() {
        assert_eq!(VendorText::new("  a\r\n\tb\u{1b}[31mc\u{202e} ").as_str(), "a b [31mc");
    }

    #[test]
    fn long_text_is_cut_at_the_limit() {
        let text = VendorText::new(&"ä".repeat(5_000));
        assert_eq!(text.as_str().chars().count(), VendorText::MAX + 1);
        assert!(text.as_str().ends_with('…'));
    }
}
