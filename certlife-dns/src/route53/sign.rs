//! Signature Version 4: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::fmt::Write as _;

use async_trait::async_trait;
use aws_lc_rs::{digest, hmac};
use certlife_core::{
    Result, Secret, Timestamp,
    http::{PreparedRequest, Signer},
    to_hex,
};
use url::Url;

use super::credentials::{Keys, Source};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Signs for one service in one region.
#[derive(Debug)]
pub(super) struct SigV4 {
    pub(super) source: Source,
    pub(super) region: String,
    pub(super) service: &'static str,
}

#[async_trait]
impl Signer for SigV4 {
    async fn sign(&self, request: &mut PreparedRequest) -> Result<()> {
        let keys = self.source.keys().await?;
        let moment = moment(request.now());
        request.header("x-amz-date", &moment)?;
        if let Some(token) = &keys.session_token {
            request.secret_header("x-amz-security-token", token)?;
        }
        let authorization = {
            // In the order of their names, as the signature wants them.
            let names = ["content-type", "host", "x-amz-date", "x-amz-security-token"];
            let host = host(request.url());
            let headers: Vec<(&str, &str)> = names
                .into_iter()
                .filter_map(|name| match name {
                    "host" => Some((name, host.as_str())),
                    _ => Some((name, request.headers().get(name)?.to_str().ok()?)),
                })
                .collect();
            let canonical = Canonical {
                method: request.method().as_str(),
                url: request.url(),
                headers,
                body: request.body(),
            };
            canonical.authorization(&keys, &moment, &self.region, self.service)
        };
        request.secret_header("authorization", &Secret::from(authorization))?;
        Ok(())
    }
}

/// What of a request is signed. The headers are sorted and in lower case.
struct Canonical<'a> {
    method: &'a str,
    url: &'a Url,
    headers: Vec<(&'a str, &'a str)>,
    body: &'a [u8],
}

impl Canonical<'_> {
    /// The value of the `Authorization` header.
    fn authorization(&self, keys: &Keys, moment: &str, region: &str, service: &str) -> String {
        let day = moment.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let request = to_hex(digest::digest(&digest::SHA256, self.request().as_bytes()).as_ref());
        let text = format!("{ALGORITHM}\n{moment}\n{scope}\n{request}");
        let key = signing_key(&keys.secret_access_key, day, region, service);
        let signature = to_hex(mac(key, &text).as_ref());
        let (id, names) = (&keys.access_key_id, self.signed_headers());
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    fn request(&self) -> String {
        let mut query: Vec<(String, String)> =
            self.url.query_pairs().map(|(name, value)| (encoded(&name, b""), encoded(&value, b""))).collect();
        query.sort_unstable();
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // Each ends its line, the last one too.
        let headers: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        [
            self.method,
            // The path of the URL is encoded already; for all services but S3 that is done twice.
            &encoded(self.url.path(), b"/"),
            &query.join("&"),
            &headers.concat(),
            &self.signed_headers(),
            &to_hex(digest::digest(&digest::SHA256, self.body).as_ref()),
        ]
        .join("\n")
    }

    fn signed_headers(&self) -> String {
        self.headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
    }
}

fn signing_key(secret: &Secret, day: &str, region: &str, service: &str) -> hmac::Tag {
    let start = Secret::from(format!("AWS4{}", secret.expose()));
    [region, service, "aws4_request"].into_iter().fold(mac(start.expose(), day), mac)
}

fn mac(key: impl AsRef<[u8]>, text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), text.as_bytes())
}

/// Encodes all but the unreserved characters (RFC 3986 §2.3) and those of `keep`.
fn encoded(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // Writing to a string cannot fail.
        }
    }
    out
}

/// The `Host` header that the connection will add.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// `20260115T093000Z`.
fn moment(now: Timestamp) -> String {
    let utc = now.to_utc();
    let (year, month, day) = (utc.year(), u8::from(utc.month()), utc.day());
    let (hour, minute, second) = (utc.hour(), utc.minute(), utc.second());
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: None,
        }
    }

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn hash(request: &Canonical<'_>) -> String {
        to_hex(digest::digest(&digest::SHA256, request.request().as_bytes()).as_ref())
    }

    fn signature(request: &Canonical<'_>, moment: &str, service: &str) -> String {
        let value = request.authorization(&keys(), moment, "us-east-1", service);
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    /// The example of the AWS General Reference, and `get-vanilla` and `get-vanilla-query-order-key-case` of
    /// the Signature Version 4 Test Suite.
    #[test]
    fn the_published_examples_come_out() {
        let moment = "20150830T123600Z";
        let list_users = url("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08");
        let content_type = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let headers = vec![content_type, ("host", "iam.amazonaws.com"), ("x-amz-date", moment)];
        let request = Canonical { method: "GET", url: &list_users, headers, body: b"" };
        assert_eq!(hash(&request), "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59");
        assert_eq!(
            request.authorization(&keys(), moment, "us-east-1", "iam"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );

        for (address, expected) in [
            (
                "https://example.amazonaws.com/",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let headers = vec![("host", "example.amazonaws.com"), ("x-amz-date", moment)];
            let request = Canonical { method: "GET", url: &url(address), headers, body: b"" };
            assert_eq!(signature(&request, moment, "service"), expected, "{address}");
        }
    }

    #[test]
    fn requests_as_they_are_made_here_come_out_as_others_sign_them() {
        let key = signing_key(&keys().secret_access_key, "20120215", "us-east-1", "iam");
        assert_eq!(to_hex(key.as_ref()), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");

        let moment = "20260115T093000Z";
        let zones =
            url("https://route53.amazonaws.com/2013-04-01/hostedzonesbyname?dnsname=example.com.&maxitems=2");
        let headers = vec![("host", "route53.amazonaws.com"), ("x-amz-date", moment)];
        let request = Canonical { method: "GET", url: &zones, headers, body: b"" };
        assert_eq!(hash(&request), "cc0fba6f4678d9e8ea77c78df1fca0974e8778e14f96520f4a60d54e5676bc3a");
        assert_eq!(
            signature(&request, moment, "route53"),
            "fbdff3ace29e416997e562dcc98de7beae1efc17639b907b2960ac520ed3ef1b"
        );

        let content_type = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let headers = vec![content_type, ("host", "sts.amazonaws.com"), ("x-amz-date", moment)];
        let body = b"Action=GetCallerIdentity&Version=2011-06-15";
        let request = Canonical { method: "POST", url: &url("https://sts.amazonaws.com/"), headers, body };
        assert_eq!(hash(&request), "3e60e288d2a76bff4b04feccd650492a89023c1a25d87bc36a0f77e4bcb1076d");
        assert_eq!(
            signature(&request, moment, "sts"),
            "2a728928aa73611cc4808c1d1088fa0f9ef21a66782444e6b37c435542d1279c"
        );
    }

    #[test]
    fn paths_are_encoded_twice_and_ports_are_named() {
        let odd = url("https://localhost:8443/a%20b/c/?z=%2A&a=1+2");
        let request = Canonical { method: "GET", url: &odd, headers: Vec::new(), body: b"" };
        assert!(request.request().starts_with("GET\n/a%2520b/c/\na=1%202&z=%2A\n"), "{}", request.request());
        assert_eq!(host(&odd), "localhost:8443");
        assert_eq!(host(&url("https://route53.amazonaws.com:443/")), "route53.amazonaws.com");
        assert_eq!(moment(Timestamp::parse("2026-01-05T09:30:07.9Z").unwrap()), "20260105T093007Z");
    }
}
