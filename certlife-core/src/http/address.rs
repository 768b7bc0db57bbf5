//! Addresses: which may be called, how path segments join them, and how they look in an error.

use std::fmt::Write as _;

use url::{Host, Url};

/// Checks the scheme, and that nothing is in `url` that does not belong into a base URL.
pub(super) fn check_base(url: &Url, allow_plain_http: bool) -> Result<(), &'static str> {
    match url.scheme() {
        "https" => {}
        "http" if allow_plain_http || is_loopback(url) => {}
        "http" => {
            return Err("use `https`; plain `http` is only for this machine, or with `allow_plain_http`");
        }
        _ => return Err("use an `https` URL"),
    }
    if has_userinfo(url) {
        return Err("give the user name and password as settings of their own, not in the URL");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("leave `?` and `#` out of the URL");
    }
    Ok(())
}

pub(super) fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Appends `segments` to the path of `base`, each percent-encoded on its own.
///
/// An empty segment, `.` and `..` are refused, since each would address something else than what the
/// caller named: the collection instead of one member, or its parent.
pub(super) fn join(base: &Url, segments: &[&str]) -> Result<Url, &'static str> {
    let mut url = base.clone();
    if segments.is_empty() {
        return Ok(url);
    }
    let mut path = base.path().trim_end_matches('/').to_owned();
    for segment in segments {
        if matches!(*segment, "" | "." | "..") {
            return Err("a part of a path may not be empty, `.` or `..`");
        }
        path.push('/');
        percent_encode(segment, &mut path);
    }
    url.set_path(&path);
    Ok(url)
}

/// Encodes everything but the unreserved characters of RFC 3986 §2.3.
pub(super) fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // Writing to a `String` cannot fail.
        }
    }
}

/// Returns the URL as an error may show it: without userinfo, query values and fragment.
pub(super) fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs without a host, which have no userinfo.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    let mut text = String::from(shown);
    for (index, (key, _)) in url.query_pairs().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        percent_encode(&key, &mut text);
        text.push_str("=…");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_segment_stays_one_segment() {
        let base = url("https://api.example/v4/");
        for (segment, path) in [
            ("a/b", "/v4/zones/a%2Fb"),
            ("a\\b", "/v4/zones/a%5Cb"),
            ("%2e%2e", "/v4/zones/%252e%252e"),
            ("..\t", "/v4/zones/..%09"),
            ("?x#y", "/v4/zones/%3Fx%23y"),
            ("*.ä", "/v4/zones/%2A.%C3%A4"),
        ] {
            assert_eq!(join(&base, &["zones", segment]).unwrap().path(), path);
        }
        for bad in ["", ".", ".."] {
            assert!(join(&base, &["zones", bad]).is_err(), "{bad:?}");
        }
        assert_eq!(join(&base, &[]).unwrap(), base);
    }

    #[test]
    fn plain_http_is_for_loopback_or_by_choice() {
        for good in ["https://x.example", "http://127.9.9.9:1", "http://[::1]:1/", "http://localhost/a"] {
            assert_eq!(check_base(&url(good), false), Ok(()), "{good}");
        }
        let elsewhere = ["http://x.example", "http://localhost.x.example", "http://10.0.0.1"];
        for bad in elsewhere {
            assert!(check_base(&url(bad), false).is_err(), "{bad}");
            assert_eq!(check_base(&url(bad), true), Ok(()), "{bad}");
        }
        for bad in
            ["ftp://x.example", "https://u:p@x.example", "https://x.example/?a", "https://x.example/#a"]
        {
            assert!(check_base(&url(bad), true).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shown_url_has_no_values() {
        assert_eq!(
            redacted(&url("https://u:pw@x.example/a?key=hunter2&page=2&bare#frag")),
            "https://x.example/a?key=…&page=…&bare=…"
        );
    }
}
