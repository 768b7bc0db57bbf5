//! Masks secrets that a server sends back to us, before its words reach an error or a log.

use std::{borrow::Cow, fmt};

use super::address::percent_encode;
use crate::{secret::Secret, text::VendorText};

/// The secrets of one client and one request, in the forms in which a server may echo them.
#[derive(Clone, Default)]
pub(super) struct Mask {
    /// Longest first, so that a secret which contains another one is masked as a whole.
    forms: Vec<Secret>,
}

impl Mask {
    const SHOWN: &'static str = "[REDACTED]";
    /// Shorter ones are not masked: they would turn up in ordinary text and tell nothing there.
    const SHORTEST: usize = 4;

    /// Masks `secret` from now on: as it is and escaped for JSON, each also encoded for a URL or a form.
    pub(super) fn hide(&mut self, secret: &Secret) {
        let quoted = serde_json::Value::from(secret.expose()).to_string();
        for form in [secret.clone(), Secret::new(&quoted[1..quoted.len() - 1])] {
            let mut encoded = String::new();
            percent_encode(form.expose(), &mut encoded);
            self.add(Secret::from(encoded));
            let encoded: String = url::form_urlencoded::byte_serialize(form.expose().as_bytes()).collect();
            self.add(Secret::from(encoded));
            self.add(form);
        }
    }

    fn add(&mut self, form: Secret) {
        let text = form.expose();
        if text.len() < Self::SHORTEST || self.forms.iter().any(|known| known.expose() == text) {
            return;
        }
        let place = self.forms.partition_point(|known| known.expose().len() >= text.len());
        self.forms.insert(place, form);
    }

    /// Adds the secrets of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        for form in &other.forms {
            self.add(form.clone());
        }
    }

    /// Returns `text` without the secrets.
    pub(super) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for form in &self.forms {
            if masked.contains(form.expose()) {
                masked = masked.replace(form.expose(), Self::SHOWN).into();
            }
        }
        masked
    }

    /// Returns `text` without the secrets, safe to keep and to print.
    ///
    /// The order matters: cutting first could leave the beginning of a secret.
    pub(super) fn words(&self, text: &str) -> VendorText {
        VendorText::new(&self.apply(text))
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} forms)", self.forms.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_is_masked() {
        let mut mask = Mask::default();
        mask.hide(&Secret::new("p\"w d/1"));
        let echo = r#"p"w d/1 | p\"w d/1 | p%22w%20d%2F1 | p%22w+d%2F1"#;
        assert_eq!(mask.apply(echo), "[REDACTED] | [REDACTED] | [REDACTED] | [REDACTED]");
        assert!(!format!("{mask:?}").contains("d/1"));
    }

    #[test]
    fn the_longer_secret_goes_first_and_tiny_ones_are_left() {
        let mut mask = Mask::default();
        mask.hide(&Secret::new("abcd"));
        mask.hide(&Secret::new("abcdefgh"));
        mask.hide(&Secret::new("a"));
        assert_eq!(mask.apply("abcdefgh abcd a"), "[REDACTED] [REDACTED] a");
    }

    #[test]
    fn a_secret_across_the_cut_leaves_nothing() {
        let mut mask = Mask::default();
        mask.hide(&Secret::new("hunter2hunter2"));
        let words = mask.words(&format!("{}hunter2hunter2", "x".repeat(VendorText::MAX - 3)));
        assert!(!words.as_str().contains("hun"));
    }
}
