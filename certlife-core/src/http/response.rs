//! An answer that was read to its end.

use std::{fmt, time::Duration};

use ::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{exchange::Exchange, retry};
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    time::Timestamp,
};

/// An answer: status, headers and the whole body, which is at most as long as the client allows.
pub struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) exchange: Exchange,
}

impl Response {
    /// The status: 200 to 299, or one that the request accepts.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns how long from `now` on to wait, if the answer says so, at most a week.
    ///
    /// Reads seconds and all forms of a date ([RFC 9110 §10.2.3]).
    ///
    /// [RFC 9110 §10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        retry::retry_after(&self.headers, now)
    }

    /// The media type without its parameters, in lower case; empty if the answer has none.
    pub fn media_type(&self) -> String {
        media_type(&self.headers)
    }

    /// The body.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body as text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if it is not UTF-8, or a web page.
    pub fn text(&self) -> Result<&str> {
        if is_page(&self.headers, &self.body) {
            return Err(self.unexpected("a web page came in place of text"));
        }
        std::str::from_utf8(&self.body).map_err(|_| self.unexpected("text that is not UTF-8 came"))
    }

    /// The body read as JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] says what was expected and where it was missed, without quoting the body. For a
    /// request that is not replayable it carries [`Retry::Never`], since the request has had its effect.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            if is_page(&self.headers, &self.body) {
                return self
                    .unexpected("a web page came in place of JSON, such as that of a proxy or a login");
            }
            let wanted = short_name::<T>();
            if self.body.is_empty() {
                return self.unexpected(format!("an empty body came in place of the JSON of `{wanted}`"));
            }
            self.unexpected(format!("the JSON of `{wanted}` was expected: {}", misfit(&error)))
        })
    }

    /// Takes the answer apart.
    pub fn into_parts(self) -> (StatusCode, HeaderMap, Bytes) {
        (self.status, self.headers, self.body)
    }

    /// Makes the error for an answer that breaks the protocol in a way that the vendor's module noticed.
    ///
    /// `what` must not quote secrets. [`Retry`] is as with [`json`](Self::json).
    pub fn unexpected(&self, what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        let retry = if self.exchange.replayable { Retry::Backoff } else { Retry::Never };
        self.error(ErrorKind::Protocol(what.into())).retry_as(retry)
    }

    /// Makes the error for an answer that means `kind`, with the exchange as its source.
    ///
    /// The body is quoted only by what `kind` holds.
    pub fn error(&self, kind: ErrorKind) -> Error {
        let provider = self.exchange.provider.clone();
        let source = self.exchange.failed(Some(self.status), "");
        Error::new(provider, self.exchange.operation, kind).because(source)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("media_type", &self.media_type())
            .field("body_length", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Whether the body is a page for people: by its media type, or by how it starts.
pub(super) fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let start: Vec<u8> = body.trim_ascii_start().iter().take(14).map(u8::to_ascii_lowercase).collect();
    let looks = start.starts_with(b"<!doctype html") || start.starts_with(b"<html");
    looks || matches!(media_type(headers).as_str(), "text/html" | "application/xhtml+xml")
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `Vec<Zone>` for `alloc::vec::Vec<vendor::api::Zone>`.
fn short_name<T>() -> String {
    let mut short = String::new();
    for part in std::any::type_name::<T>().split_inclusive(['<', '>', ',', ' ', '(', ')', '[', ']']) {
        short.push_str(part.rsplit("::").next().unwrap_or(part));
    }
    short
}

/// Says where and how JSON does not fit, leaving out what `serde_json` quotes from it: that may be a secret
/// which is just being handed out.
fn misfit(error: &serde_json::Error) -> String {
    let place = format!("line {} column {}", error.line(), error.column());
    if !error.is_data() {
        return format!("not JSON at {place}");
    }
    let text = error.to_string();
    let told = text.split(" at line ").next().unwrap_or_default();
    // Field names come from our types; values do not.
    if told.starts_with("missing field `") {
        return format!("{told} at {place}");
    }
    match told.rsplit_once(", expected ") {
        Some((_, wanted)) => format!("expected {wanted} at {place}"),
        None => format!("a value does not fit at {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only the error is read")]
    struct Wanted {
        id: u32,
        kind: Kind,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Txt,
        Cname,
    }

    #[test]
    fn a_misfit_is_told_without_the_values() {
        let told = |json: &str| misfit(&serde_json::from_str::<Wanted>(json).unwrap_err());
        assert_eq!(told(r#"{"id":"hunter2"}"#), "expected u32 at line 1 column 15");
        assert_eq!(told(r#"{"id":"x, expected hunter2"}"#), "expected u32 at line 1 column 27");
        assert_eq!(told(r#"{"id":1}"#), "missing field `kind` at line 1 column 8");
        assert_eq!(told(r#"{"id":1,"kind":"hunter2"}"#), "expected `txt` or `cname` at line 1 column 24");
        assert_eq!(told(r#"{"id":hunter2}"#), "not JSON at line 1 column 7");
    }

    #[test]
    fn type_names_are_short() {
        assert_eq!(short_name::<Vec<Wanted>>(), "Vec<Wanted>");
        assert_eq!(short_name::<(u8, Option<Kind>)>(), "(u8, Option<Kind>)");
    }

    #[test]
    fn pages_are_known_by_type_or_by_start() {
        let mut headers = HeaderMap::new();
        assert!(is_page(&headers, b" \r\n<!DOCTYPE HTML><p>"));
        assert!(is_page(&headers, b"<html>"));
        assert!(!is_page(&headers, b"{\"a\":\"<html>\"}"));
        headers.insert(header::CONTENT_TYPE, "Text/HTML; charset=utf-8".parse().unwrap());
        assert!(is_page(&headers, b""));
    }
}
