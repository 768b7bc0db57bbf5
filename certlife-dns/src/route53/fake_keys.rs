//! Signature Version 4 from the service's side:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::{collections::BTreeMap, fmt::Write as _};

use aws_lc_rs::{digest, hmac};
use wiremock::Request;

/// Status, code and message.
pub(super) type Fault = (u16, String, String);

pub(super) fn fault<T>(status: u16, code: &str, message: impl Into<String>) -> Result<T, Fault> {
    Err((status, code.to_owned(), message.into()))
}

#[derive(Debug, Clone)]
pub(super) struct FakeKey {
    id: String,
    secret: String,
    token: Option<String>,
    expires: i64,
}

impl FakeKey {
    pub(super) fn new(id: &str, secret: &str, token: Option<&str>, expires: i64) -> Self {
        Self { id: id.to_owned(), secret: secret.to_owned(), token: token.map(str::to_owned), expires }
    }

    /// Whether it is that of a session.
    pub(super) fn is_temporary(&self) -> bool {
        self.token.is_some()
    }

    pub(super) fn revoke(&mut self) {
        self.expires = 0;
    }
}

/// Makes the signature anew and compares. `now` is in seconds since 1970.
pub(super) fn authenticated(
    keys: &[FakeKey],
    now: i64,
    request: &Request,
    service: &str,
) -> Result<FakeKey, Fault> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(text) = header("authorization") else {
        return fault(403, "MissingAuthenticationToken", "Missing Authentication Token");
    };
    let fields = text.strip_prefix("AWS4-HMAC-SHA256 ").expect("the algorithm").split(", ");
    let fields: BTreeMap<&str, &str> = fields.filter_map(|field| field.split_once('=')).collect();
    let (id, scope) = fields["Credential"].split_once('/').expect("a scope");
    let moment = header("x-amz-date").expect("a date");
    assert_eq!(scope, format!("{}/us-east-1/{service}/aws4_request", &moment[..8]));
    let Some(key) = keys.iter().find(|key| key.id == id) else {
        return fault(403, "InvalidClientTokenId", "The security token included in the request is invalid.");
    };
    if key.token.as_deref() != header("x-amz-security-token") {
        return fault(403, "InvalidClientTokenId", "The security token included in the request is invalid.");
    }
    if key.expires <= now {
        return fault(403, "ExpiredToken", "The security token included in the request is expired");
    }
    if (seconds(moment) - now).abs() > 300 {
        return fault(
            403,
            "SignatureDoesNotMatch",
            format!("Signature expired: {moment} is now too far off"),
        );
    }
    let signed: Vec<&str> = fields["SignedHeaders"].split(';').collect();
    assert!(signed.is_sorted() && signed.contains(&"host") && signed.contains(&"x-amz-date"), "{signed:?}");
    assert_eq!(signed.contains(&"x-amz-security-token"), key.token.is_some());
    let mut query: Vec<String> = request
        .url
        .query_pairs()
        .map(|(name, value)| format!("{}={}", encode(&name), encode(&value)))
        .collect();
    query.sort();
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        request.method,
        encode(request.url.path()).replace("%2F", "/"),
        query.join("&")
    );
    for name in &signed {
        writeln!(canonical, "{name}:{}", header(name).expect("a signed header").trim()).unwrap();
    }
    write!(canonical, "\n{}\n{}", fields["SignedHeaders"], sha256(&request.body)).unwrap();
    let text = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let key_bytes =
        scope.split('/').fold(format!("AWS4{}", key.secret).into_bytes(), |key, part| mac(&key, part));
    if hex(&mac(&key_bytes, &text)) == fields["Signature"] {
        Ok(key.clone())
    } else {
        let told = format!(
            "The request signature we calculated does not match. The Canonical String was '{canonical}'"
        );
        fault(403, "SignatureDoesNotMatch", told)
    }
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Reads `20260115T093000Z` as seconds since 1970.
fn seconds(moment: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| moment[range].parse::<i64>().unwrap();
    let (year, month, day) = (part(0..4), part(4..6), part(6..8));
    days(year, month, day) * 86_400 + part(9..11) * 3_600 + part(11..13) * 60 + part(13..15)
}

/// Days since 1970, by the civil calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469
}

pub(super) fn rfc3339(seconds: i64) -> String {
    let (day, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let year = (1970..10_000).take_while(|year| days(*year, 1, 1) <= day).last().unwrap();
    let month = (1..=12).take_while(|month| days(year, *month, 1) <= day).last().unwrap();
    let date = day - days(year, month, 1) + 1;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}
