//! The headers that prove who asks and when: <https://api-docs.dnsmadeeasy.com/>.

use async_trait::async_trait;
use aws_lc_rs::hmac;
use certlife_core::{
    Result, Secret, Timestamp,
    http::{PreparedRequest, Signer},
    to_hex,
};

/// Signs the time of each request, which the service compares with its own: about half a minute off is refused.
#[derive(Debug)]
pub(super) struct DateSigner {
    pub(super) secret_key: Secret,
}

#[async_trait]
impl Signer for DateSigner {
    async fn sign(&self, request: &mut PreparedRequest) -> Result<()> {
        let date = http_date(request.now());
        request.header("x-dnsme-requestDate", &date)?;
        request.secret_header("x-dnsme-hmac", &Secret::from(signature(&self.secret_key, &date)))?;
        Ok(())
    }
}

fn signature(secret_key: &Secret, date: &str) -> String {
    // The service takes no other digest.
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret_key.expose().as_bytes());
    to_hex(hmac::sign(&key, date.as_bytes()).as_ref())
}

/// `Thu, 15 Jan 2026 09:30:00 GMT` (RFC 9110 §5.6.7).
fn http_date(now: Timestamp) -> String {
    let utc = now.to_utc();
    let (weekday, month) = (utc.weekday().to_string(), utc.month().to_string());
    let (day, year) = (utc.day(), utc.year());
    let (hour, minute, second) = (utc.hour(), utc.minute(), utc.second());
    format!("{weekday:.3}, {day:02} {month:.3} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_come_out_as_others_make_them() {
        for (secret, date, expected) in [
            ("secret", "Tue, 02 Jun 2015 02:36:07 UTC", "6b6c8432119c31e1d3776eb4cd3abd92fae4a71c"),
            ("secret", "Tue, 02 Jun 2015 02:36:07 GMT", "bc138437cb232ec5eb959a47690c5913158058bb"),
            (
                "5a6c1b1e-2f3d-4c4b-9a8e-0f1e2d3c4b5a",
                "Thu, 15 Jan 2026 09:30:00 GMT",
                "36a9c85d60a21f26c15ce6640c65f2434bff99a3",
            ),
        ] {
            assert_eq!(signature(&secret.into(), date), expected);
        }
    }

    #[test]
    fn dates_are_those_of_http() {
        for (moment, expected) in [
            ("2026-01-15T09:30:00.999Z", "Thu, 15 Jan 2026 09:30:00 GMT"),
            ("2015-06-02T02:36:07Z", "Tue, 02 Jun 2015 02:36:07 GMT"),
        ] {
            assert_eq!(http_date(Timestamp::parse(moment).unwrap()), expected);
        }
    }
}
