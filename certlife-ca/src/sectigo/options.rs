//! What an order may ask of Sectigo besides names, product, organization and validity, and how its reference travels.

use std::collections::BTreeMap;

use certlife_core::InputError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most characters of comments, of the list of external requesters, of the name and the value of a custom field,
/// and of a reason: "SSL" in Sectigo's REST reference.
pub(super) const MAX_COMMENTS: usize = 1_024;
const MAX_REQUESTERS: usize = 512;
const MAX_FIELD: usize = 256;
pub(super) const MAX_REASON: usize = 512;
/// What a reference takes up of the comments: 50 characters at most, brackets and a blank.
const MARK: usize = 53;

/// What an order may ask of Sectigo.
///
/// ```
/// use certlife_ca::sectigo::OrderOptions;
///
/// let options = OrderOptions::default()
///     .comments("For the relaunch")
///     .external_requester("ops@example.com")
///     .custom_field("Cost center", "4410");
/// let value = serde_json::Value::from(options);
/// # assert_eq!(value["comments"], "For the relaunch");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
#[must_use]
pub struct OrderOptions {
    /// Comments, shown to whoever approves. At most 1024 characters, of which the order's reference takes 53 unless
    /// the account has a `reference_field`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comments: Option<String>,
    /// E-mail addresses of people that Sectigo notifies too, 512 characters together. Contacts of the order that are
    /// its requesters are added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_requesters: Vec<String>,
    /// Custom fields by name, of at most 256 characters each. Dates are written `yyyy-MM-dd`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_fields: BTreeMap<String, String>,
    /// Order although the catalog says that organization or domain are not validated, as for profiles that need
    /// neither.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unvalidated: bool,
}

impl OrderOptions {
    /// Adds comments for whoever approves. Defaults to none.
    pub fn comments(mut self, comments: impl Into<String>) -> Self {
        self.comments = Some(comments.into());
        self
    }

    /// Has Sectigo notify this e-mail address too. Defaults to nobody.
    pub fn external_requester(mut self, address: impl Into<String>) -> Self {
        self.external_requesters.push(address.into());
        self
    }

    /// Fills in a custom field. Defaults to none.
    pub fn custom_field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.custom_fields.insert(name.into(), value.into());
        self
    }

    /// Orders although the catalog says that organization or domain are not validated. Defaults to no.
    pub fn unvalidated(mut self, unvalidated: bool) -> Self {
        self.unvalidated = unvalidated;
        self
    }

    pub(super) fn read(value: &serde_json::Value) -> Result<Self, InputError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        if !value.is_object() {
            return Err(bad("options", &value.to_string(), "an object, as the schema describes it"));
        }
        Self::deserialize(value).map_err(|error| bad("options", &value.to_string(), error.to_string()))
    }

    /// Checks the limits. `field` is the custom field that carries the reference, if the comments do not.
    pub(super) fn check(&self, field: Option<&str>) -> Result<(), InputError> {
        let comments = self.comments.as_deref().unwrap_or_default();
        let (room, rule) = match field {
            Some(_) => (MAX_COMMENTS, format!("at most {MAX_COMMENTS} characters")),
            None => (
                MAX_COMMENTS - MARK,
                format!(
                    "at most {MAX_COMMENTS} characters, of which the order's reference takes {MARK}; with the account \
                     setting `reference_field` it takes none"
                ),
            ),
        };
        if comments.chars().count() > room {
            return Err(bad("options.comments", comments, rule));
        }
        for address in &self.external_requesters {
            if !is_address(address) {
                let rule = "an e-mail address, such as ops@example.com";
                return Err(bad("options.external_requesters", address, rule));
            }
        }
        for (name, value) in &self.custom_fields {
            let fits = |text: &str| (1..=MAX_FIELD).contains(&text.chars().count());
            if !fits(name) {
                return Err(bad("options.custom_fields", name, "names have 1 to 256 characters"));
            }
            if !fits(value) {
                let field = format!("options.custom_fields.{name}");
                return Err(bad(field, value, "values have 1 to 256 characters"));
            }
            if Some(name.as_str()) == field {
                return Err(bad("options.custom_fields", name, "this field carries the order's reference"));
            }
        }
        Ok(())
    }
}

impl From<OrderOptions> for serde_json::Value {
    fn from(options: OrderOptions) -> Self {
        // Texts, lists and maps of texts can always be written.
        serde_json::to_value(options).unwrap_or_default()
    }
}

/// The list of external requesters as Sectigo wants it; none if there is nobody.
pub(super) fn requesters<'a>(addresses: impl Iterator<Item = &'a str>) -> Result<Option<String>, InputError> {
    let mut once: Vec<&str> = Vec::new();
    for address in addresses {
        if !once.contains(&address) {
            once.push(address);
        }
    }
    let list = once.join(", ");
    if list.chars().count() > MAX_REQUESTERS {
        let rule = format!("at most {MAX_REQUESTERS} characters together, those of contacts included");
        return Err(bad("options.external_requesters", &list, rule));
    }
    Ok((!list.is_empty()).then_some(list))
}

/// Comments with the reference at their end. What does not fit before it is left out, which happens to the comments of
/// old records only.
pub(super) fn marked(comments: Option<&str>, reference: &str) -> String {
    let mark = format!("[{reference}]");
    let room = MAX_COMMENTS.saturating_sub(mark.chars().count() + 1);
    let kept: String = comments.unwrap_or_default().chars().take(room).collect();
    if kept.is_empty() { mark } else { format!("{kept} {mark}") }
}

/// Whether comments carry this reference.
pub(super) fn carries(comments: &str, reference: &str) -> bool {
    comments.contains(&format!("[{reference}]"))
}

pub(super) fn is_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'<' | b'>' | b'"');
    let sides = text.split_once('@');
    text.len() <= 254
        && text.bytes().all(plain)
        && sides.is_some_and(|(user, host)| !user.is_empty() && host.contains('.') && !host.contains('@'))
}

pub(super) fn bad(
    field: impl Into<std::borrow::Cow<'static, str>>,
    value: &str,
    rule: impl Into<std::borrow::Cow<'static, str>>,
) -> InputError {
    InputError::Value { field: field.into(), value: value.into(), rule: rule.into() }
}
