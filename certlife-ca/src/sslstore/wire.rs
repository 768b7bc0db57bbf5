//! Reads what the API answers. Its form drifted over ten years, so names count in any case, anything may be
//! null or missing, numbers may be text, and what is not known is passed over.

use std::collections::BTreeMap;

use certlife_core::{
    ErrorKind, Timestamp, VendorText,
    http::{Answer, Refinement},
};
use serde_json::Value;
use time::{Date, Month, PrimitiveDateTime, Time};

/// A JSON object whose names are in lower case.
#[derive(Debug, Clone, Default)]
pub(super) struct Object(BTreeMap<String, Value>);

impl Object {
    /// Takes `value` if it is an object.
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::Object(members) = value else { return None };
        Some(Self(members.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(&name.to_ascii_lowercase()).filter(|value| !value.is_null())
    }

    /// A text as it came, or a number as text; none if it is empty.
    pub(super) fn verbatim(&self, name: &str) -> Option<String> {
        let text = match self.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        (!text.trim().is_empty()).then_some(text)
    }

    /// A text without blanks around it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.verbatim(name).map(|text| text.trim().to_owned())
    }

    /// A text for people.
    pub(super) fn words(&self, name: &str) -> Option<VendorText> {
        self.text(name).map(VendorText::from).filter(|words| !words.is_empty())
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            Value::Number(number) => number.as_i64().map(|number| number != 0),
            _ => None,
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.flag(name) == Some(true)
    }

    pub(super) fn object(&self, name: &str) -> Option<Self> {
        self.get(name).cloned().and_then(Self::read)
    }

    /// The objects of a list; elements of other kinds are passed over.
    pub(super) fn objects(&self, name: &str) -> Vec<Self> {
        match self.get(name) {
            Some(Value::Array(items)) => items.iter().cloned().filter_map(Self::read).collect(),
            _ => Vec::new(),
        }
    }

    /// A list of texts, which some calls write as one text with commas.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let parts: Vec<&str> = match self.get(name) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => text.split(',').collect(),
            _ => Vec::new(),
        };
        parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    /// A moment, from the twin that says it in UTC if there is one. The other is in the server's own time, which
    /// nobody states; it is taken for UTC.
    pub(super) fn moment(&self, name: &str) -> Option<Timestamp> {
        let read = |name: &str| self.text(name).and_then(|text| moment(&text));
        read(&format!("{name}InUTC")).or_else(|| read(name))
    }
}

/// Reads `7/23/2026 1:50:20 AM` (culture `en-US`), `/Date(1767225600000)/` and ISO 8601. The year 1900 stands for
/// no date.
fn moment(text: &str) -> Option<Timestamp> {
    let found = if let Some(rest) = text.strip_prefix("/Date(") {
        // What follows the number is the offset for display; the number is UTC.
        let end = rest.char_indices().find(|(at, sign)| *at > 0 && !sign.is_ascii_digit())?.0;
        Timestamp::from_unix_millis(rest.get(..end)?.parse().ok()?)
    } else if text.contains('/') {
        american(text)?
    } else {
        Timestamp::parse(text).or_else(|_| Timestamp::parse(&format!("{text}Z"))).ok()?
    };
    (found.to_utc().year() > 1900).then_some(found)
}

fn american(text: &str) -> Option<Timestamp> {
    let mut parts = text.split_whitespace();
    let mut date = parts.next()?.split('/');
    let mut clock = parts.next().unwrap_or("0").split(':');
    let (month, day, year) = (date.next()?, date.next()?, date.next()?);
    let mut next = || clock.next().unwrap_or("0").parse::<u8>().ok();
    let (hour, minute, second) = (next()?, next()?, next()?);
    let hour = match parts.next().map(str::to_ascii_uppercase).as_deref() {
        Some("AM") if hour == 12 => 0,
        Some("PM") if hour < 12 => hour + 12,
        _ => hour,
    };
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().into())
}

/// A date as requests write it.
pub(super) fn date(moment: Timestamp) -> String {
    format!("/Date({})/", moment.unix_millis())
}

/// What an answer says went wrong, whatever its status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: Option<i32>,
    words: VendorText,
}

impl Fault {
    /// Looks for an error in any of the three envelopes: wrapped in `AuthResponse`, flat, or in the first element
    /// of a list.
    pub(super) fn find(value: &Value) -> Option<Self> {
        let root = match value {
            Value::Array(items) => items.first()?,
            other => other,
        };
        let root = Object::read(root.clone())?;
        let wrapped = root.object("AuthResponse").filter(|wrapped| wrapped.flag("isError").is_some());
        let told = wrapped.unwrap_or(root);
        if !told.is("isError") {
            return None;
        }
        let messages = match told.get("Message") {
            Some(Value::Array(items)) => {
                let texts = items.iter().filter_map(Value::as_str).filter(|text| !text.trim().is_empty());
                texts.collect::<Vec<_>>().join("; ")
            }
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        Some(Self::read(&messages))
    }

    /// Takes `ErrorCode:-9009|Message:…` apart; other texts stand as they are, with the first number of the same
    /// kind for their code.
    fn read(message: &str) -> Self {
        let number = |text: &str| {
            let digits = text.get(1..5).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            format!("-{digits}").parse().ok()
        };
        let code = message.match_indices('-').find_map(|(at, _)| number(&message[at..]));
        let words = match message.split_once("|Message:") {
            Some((head, words)) if head.starts_with("ErrorCode:") => words,
            _ => message,
        };
        let words = if words.trim().is_empty() { "no reason was given" } else { words };
        Self { code, words: VendorText::new(words) }
    }

    /// No list of codes is public; of the three that are known, only the login's changes what can be done.
    fn kind(self) -> ErrorKind {
        match self.code {
            Some(-9008) => ErrorKind::Unauthorized,
            Some(code) => ErrorKind::Rejected(format!("{} ({code})", self.words).into()),
            None => ErrorKind::Rejected(self.words),
        }
    }
}

/// Says what an answer means: its body decides, since errors come with status 200.
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    if let Some(fault) = answer.json::<Value>().as_ref().and_then(Fault::find) {
        return Some(Refinement::new(fault.kind()));
    }
    // No call means an order by its path, so that this is never the answer to a question about one.
    matches!(answer.status().as_u16(), 404 | 410).then(|| {
        Refinement::new(ErrorKind::Protocol("there is no such call there; is `base_url` the API's?".into()))
    })
}

/// As [`refine`], for a new order: an error that comes with an order's number decides nothing.
pub(super) fn refine_new_order(answer: &Answer<'_>) -> Option<Refinement> {
    let value = answer.json::<Value>()?;
    let named = Object::read(value.clone()).is_some_and(|order| order.text("TheSSLStoreOrderID").is_some());
    (named && Fault::find(&value).is_some()).then(|| Refinement::new(ErrorKind::Uncertain))
}

/// Replaces `%0A` and the like, where a text came encoded for a URL.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.filter(|_| *byte == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes all but the unreserved characters of RFC 3986 §2.3.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_envelope_of_an_error_is_seen() {
        let told = |value: Value| Fault::find(&value).map(|fault| (fault.code, fault.words.to_string()));
        let message = "ErrorCode:-9009|Message:Vendor returns error:csr_invalid";
        let expected = Some((Some(-9009), "Vendor returns error:csr_invalid".to_owned()));
        for value in [
            json!({ "AuthResponse": { "isError": true, "Message": [message] }, "TheSSLStoreOrderID": null }),
            json!({ "isError": true, "Message": [message, null, ""] }),
            json!({ "IsError": "true", "Message": message }),
            json!({ "authresponse": { "ISERROR": 1, "message": [message] } }),
            json!([{ "ProductCode": null, "AuthResponse": { "isError": true, "Message": [message] } }]),
            json!({ "AuthResponse": {}, "isError": true, "Message": [message] }),
        ] {
            assert_eq!(told(value.clone()), expected, "{value}");
        }
        assert_eq!(told(json!({ "isError": true })), Some((None, "no reason was given".to_owned())));
        assert_eq!(
            told(json!({ "isError": true, "Message": "refused (-9002)" })),
            Some((Some(-9002), "refused (-9002)".into()))
        );
        for value in
            [json!({ "AuthResponse": { "isError": false } }), json!({}), json!([]), json!(null), json!(7)]
        {
            assert_eq!(told(value), None);
        }
    }

    #[test]
    fn every_form_of_a_date_is_read() {
        for (text, expected) in [
            ("7/23/2026 1:50:20 AM", Some("2026-07-23T01:50:20.000Z")),
            ("12/31/2026 12:00:00 AM", Some("2026-12-31T00:00:00.000Z")),
            ("2/3/2026 12:01:02 PM", Some("2026-02-03T12:01:02.000Z")),
            ("2/3/2026 11:59:59 PM", Some("2026-02-03T23:59:59.000Z")),
            ("2/3/2026", Some("2026-02-03T00:00:00.000Z")),
            ("/Date(1767225600000)/", Some("2026-01-01T00:00:00.000Z")),
            ("/Date(1767225600000-0400)/", Some("2026-01-01T00:00:00.000Z")),
            ("2026-02-03T10:00:00", Some("2026-02-03T10:00:00.000Z")),
            ("2026-02-03T10:00:00Z", Some("2026-02-03T10:00:00.000Z")),
            ("1/1/1900 12:00:00 AM", None),
            ("13/1/2026", None),
            ("31.12.2026", None),
            ("/Date(", None),
            ("/Date(x)/", None),
            ("soon", None),
        ] {
            assert_eq!(moment(text).map(|moment| moment.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn values_are_read_in_the_forms_that_occur() {
        let object = Object::read(json!({
            "A": 7, "b": " 8 ", "C": "", "d": null, "E": "a, b ,,c", "F": ["a", null, "b"], "g": "True", "H": 0,
        }));
        let object = object.unwrap();
        assert_eq!((object.number("a"), object.number("B"), object.number("c")), (Some(7), Some(8), None));
        assert_eq!((object.text("a").as_deref(), object.text("d")), (Some("7"), None));
        assert_eq!(
            (object.texts("e"), object.texts("f")),
            (vec!["a".into(), "b".into(), "c".into()], vec!["a".to_owned(), "b".into()])
        );
        assert_eq!((object.flag("G"), object.flag("h"), object.flag("a1")), (Some(true), Some(false), None));
    }

    #[test]
    fn percent_encoding_goes_both_ways() {
        let text = "-----BEGIN A-----\nab+/=\n";
        assert_eq!(percent_encoded(text), "-----BEGIN%20A-----%0Aab%2B%2F%3D%0A");
        assert_eq!(percent_decoded(&percent_encoded(text)), text);
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
    }
}
