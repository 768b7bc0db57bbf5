//! Names that have to be found again: of certificates in a store, of bindings, and of files.

use std::net::IpAddr;

use certlife_core::{CertificateId, Fingerprint, Identifier, VersionId};

/// How the part of a friendly name begins that says which certificate and version it is.
pub(super) const MARKER: &str = "[certlife:";

/// The text that the friendly names of all versions of a certificate contain.
pub(super) fn marker(certificate: &CertificateId) -> String {
    format!("{MARKER}{certificate}:")
}

/// The friendly name of a version.
pub(super) fn friendly_name(label: Option<&str>, certificate: &CertificateId, version: VersionId) -> String {
    let space = if label.is_some() { " " } else { "" };
    format!("{}{space}{}{version}]", label.unwrap_or_default(), marker(certificate))
}

/// Which certificate and version a friendly name says; none if it is not one of ours.
pub(super) fn read_friendly_name(name: &str) -> Option<(CertificateId, VersionId)> {
    let (_, ours) = name.strip_suffix(']')?.rsplit_once(MARKER)?;
    let (certificate, version) = ours.split_once(':')?;
    let version: VersionId = version.parse().ok().filter(|id: &VersionId| id.to_string() == version)?;
    Some((CertificateId::new(certificate).ok()?, version))
}

/// What IIS calls a binding: `*:443:www.example.org`, `[2001:db8::1]:443:`.
pub(super) fn information(address: Option<IpAddr>, port: u16, host: Option<&Identifier>) -> String {
    let address = match address {
        None => "*".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => format!("[{address}]"),
    };
    format!("{address}:{port}:{}", host.map(ToString::to_string).unwrap_or_default())
}

/// The file of the central store that IIS looks for, for a host name: `www.example.org.pfx`, and
/// `_.example.org.pfx` for a wildcard.
pub(super) fn central_file(host: &Identifier) -> String {
    match host {
        Identifier::Wildcard(base) => format!("_.{base}.pfx"),
        host => format!("{host}.pfx"),
    }
}

/// Under which name the PFX of a version is kept beside the state.
pub(super) fn kept_file(version: VersionId) -> String {
    format!("{version}.pfx")
}

/// Which version a kept file holds; none if it is something else that was saved.
pub(super) fn read_kept_file(name: &str) -> Option<VersionId> {
    let version = name.strip_suffix(".pfx")?.parse().ok()?;
    (kept_file(version) == name).then_some(version)
}

/// Under which name a file of somebody else is kept, to be put back.
pub(super) fn saved_file(digest: &Fingerprint) -> String {
    format!("original-{digest}.pfx")
}

/// Whether a name is one of those under which files are kept.
pub(super) fn is_kept_file(name: &str) -> bool {
    let digest = name.strip_prefix("original-").and_then(|rest| rest.strip_suffix(".pfx"));
    read_kept_file(name).is_some()
        || digest.and_then(|text| text.parse().ok()).is_some_and(|digest| saved_file(&digest) == name)
}

/// Whether a segment of a path is a name of its own on Windows, and none that IIS gives a meaning.
///
/// <https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file>
pub(super) fn is_plain_segment(segment: &str) -> bool {
    const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
    let lower = segment.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let numbered = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let device = DEVICES.contains(&stem)
        || numbered
            .is_some_and(|number| number.len() == 1 && number.bytes().all(|byte| byte.is_ascii_digit()));
    !device && !segment.ends_with('.') && lower != "web.config"
}

/// Whether IIS shows a file of this name as it is, whatever else runs on the site.
pub(super) fn is_plain_file(name: &str) -> bool {
    match name.rsplit_once('.') {
        None => true,
        Some((_, extension)) => {
            ["txt", "htm", "html"].iter().any(|plain| extension.eq_ignore_ascii_case(plain))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friendly_names_are_found_again_whatever_they_begin_with() {
        let certificate = CertificateId::new("www.example-1_a").unwrap();
        let version: VersionId = "019b6f0e-7c1a-7000-8000-0123456789ab".parse().unwrap();
        for label in [None, Some("Web"), Some("a]b[certlif:"), Some("'\"$(x)`\r\n\u{1f512}")] {
            let name = friendly_name(label, &certificate, version);
            assert_eq!(read_friendly_name(&name), Some((certificate.clone(), version)), "{name}");
            assert!(name.contains(&marker(&certificate)));
        }
        for foreign in [
            "",
            "www",
            "[certlife:www]",
            "[certlife:www:019b6f0e]",
            "[certlife:w w:019b6f0e-7c1a-7000-8000-0123456789ab]",
            "[certlife:www:019b6f0e-7c1a-7000-8000-0123456789ab] ",
            "[certlife:www:019B6F0E-7C1A-7000-8000-0123456789AB]",
        ] {
            assert_eq!(read_friendly_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn bindings_are_spelled_as_iis_spells_them() {
        let host: Identifier = "*.example.org".parse().unwrap();
        assert_eq!(information(None, 443, Some(&host)), "*:443:*.example.org");
        assert_eq!(information(Some("192.0.2.1".parse().unwrap()), 8443, None), "192.0.2.1:8443:");
        assert_eq!(information(Some("2001:db8::1".parse().unwrap()), 443, None), "[2001:db8::1]:443:");
        assert_eq!(central_file(&host), "_.example.org.pfx");
    }

    #[test]
    fn odd_names_of_files_are_refused() {
        for good in ["acme-challenge", "a.b", "com", "com10", "console", "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDf"] {
            assert!(is_plain_segment(good), "{good}");
        }
        for bad in ["con", "NUL", "aux.txt", "Com1", "lpt9.x", "web.config", "WEB.Config", "token."] {
            assert!(!is_plain_segment(bad), "{bad}");
        }
        for (name, plain) in [("token", true), ("A0.TXT", true), ("x.aspx", false), ("x.cshtml", false)] {
            assert_eq!(is_plain_file(name), plain, "{name}");
        }
    }
}
