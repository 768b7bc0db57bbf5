//! Challenges: what a CA asks to see, in terms that all CAs share (RFC 8555 §8, CA/B BR §3.2.2.4).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    input::InputError,
    name::{Fqdn, Identifier},
    text::VendorText,
};

/// A way to prove control of an identifier.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChallengeKind {
    /// A TXT record: ACME `dns-01` (RFC 8555 §8.4), BR §3.2.2.4.7.
    DnsTxt,
    /// A CNAME record: BR §3.2.2.4.7 as the commercial CAs use it.
    DnsCname,
    /// A file on the web server, over plain HTTP on port 80: ACME `http-01` (RFC 8555 §8.3), BR §3.2.2.4.18/19.
    Http,
    /// A certificate in the TLS handshake: ACME `tls-alpn-01` (RFC 8737), BR §3.2.2.4.20.
    TlsAlpn,
    /// A link in a message to an address at the domain: BR §3.2.2.4.4.
    Email,
}

impl ChallengeKind {
    /// The text form, as in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DnsTxt => "dns-txt",
            Self::DnsCname => "dns-cname",
            Self::Http => "http",
            Self::TlsAlpn => "tls-alpn",
            Self::Email => "email",
        }
    }

    /// Whether a DNS record answers it.
    pub fn is_dns(self) -> bool {
        matches!(self, Self::DnsTxt | Self::DnsCname)
    }

    /// Whether it can prove control of `identifier`: wildcards need DNS or a message (BR §3.2.2.4), and
    /// addresses cannot be proven by DNS records (RFC 8738 §7).
    pub fn suits(self, identifier: &Identifier) -> bool {
        match identifier {
            Identifier::Dns(_) => true,
            Identifier::Wildcard(_) => !matches!(self, Self::Http | Self::TlsAlpn),
            Identifier::Ip(_) => matches!(self, Self::Http | Self::TlsAlpn),
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How control of an identifier is to be proven.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[expect(clippy::exhaustive_structs, reason = "tests of CAs outside this crate build it")]
pub struct Proof {
    /// The kind of challenge.
    pub kind: ChallengeKind,
    /// Who confirms, for [`ChallengeKind::Email`]; none leaves the choice to the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
}

impl From<ChallengeKind> for Proof {
    fn from(kind: ChallengeKind) -> Self {
        Self { kind, approver: None }
    }
}

/// The state of the proof for one identifier (RFC 8555 §7.1.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct Authorization {
    /// The identifier, wildcards included.
    pub identifier: Identifier,
    /// How far it is.
    pub status: AuthorizationStatus,
    /// What the CA accepts as proof: one of these suffices. Empty once it is valid.
    pub challenges: Vec<Challenge>,
    /// Why it is invalid, in the CA's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<VendorText>,
}

/// How far an authorization is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the engine handles every state")]
pub enum AuthorizationStatus {
    /// A challenge has to be answered, or the CA is checking one.
    Pending,
    /// Control is proven.
    Valid,
    /// The proof failed; this order cannot be saved.
    Invalid,
}

/// One way to prove control of one identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct Challenge {
    /// The CA's durable name for it; the engine only hands it back.
    pub id: ChallengeId,
    /// What has to be shown.
    pub response: ChallengeResponse,
}

/// The CA's durable name for a challenge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct ChallengeId(pub String);

/// What has to be shown, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChallengeResponse {
    /// A TXT value at an owner name. CNAMEs at that name are followed.
    DnsTxt {
        /// The owner name, such as `_acme-challenge.example.com`.
        name: Fqdn,
        /// The value, unquoted.
        value: String,
    },
    /// A CNAME at an owner name. The record itself is wanted, so nothing is followed.
    DnsCname {
        /// The owner name.
        name: Fqdn,
        /// Where it points.
        target: Fqdn,
    },
    /// A file under the identifier's own web server.
    Http(HttpFile),
    /// A self-signed certificate with the digest, served for ALPN protocol `acme-tls/1`.
    TlsAlpn(TlsAlpnResponse),
    /// A message that a person has to answer.
    Email {
        /// Where the CA sends it.
        address: String,
    },
}

impl ChallengeResponse {
    /// Which kind of challenge this answers.
    pub fn kind(&self) -> ChallengeKind {
        match self {
            Self::DnsTxt { .. } => ChallengeKind::DnsTxt,
            Self::DnsCname { .. } => ChallengeKind::DnsCname,
            Self::Http(_) => ChallengeKind::Http,
            Self::TlsAlpn(_) => ChallengeKind::TlsAlpn,
            Self::Email { .. } => ChallengeKind::Email,
        }
    }
}

/// A file that a CA fetches over plain HTTP: `http://{host}{path}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "deployers outside this crate read it")]
pub struct HttpFile {
    /// The host that is asked.
    pub host: Identifier,
    /// The path.
    pub path: HttpPath,
    /// The exact content.
    pub body: HttpBody,
}

/// The path of a challenge file: under `/.well-known/`, at most five segments of letters, digits, `.`, `_`
/// and `-`, none of them beginning with a dot but the first.
///
/// It can be joined to a web root without leaving it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HttpPath(String);

impl HttpPath {
    const PREFIX: &str = "/.well-known/";

    /// Checks a path.
    ///
    /// # Errors
    ///
    /// [`InputError::Path`] names the path and the rule.
    pub fn new(path: &str) -> Result<Self, InputError> {
        let refused = |rule: &'static str| InputError::Path { path: path.into(), rule: rule.into() };
        let rest = path
            .strip_prefix(Self::PREFIX)
            .ok_or_else(|| refused("a challenge file lies under /.well-known/"))?;
        if path.len() > 255 || rest.split('/').count() > 4 {
            return Err(refused("at most 255 characters in at most five segments"));
        }
        for segment in rest.split('/') {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if segment.is_empty() || segment.starts_with('.') || !segment.bytes().all(plain) {
                return Err(refused(
                    "segments hold letters, digits, `.`, `_` and `-` and do not begin with a dot",
                ));
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// The path of an ACME `http-01` token (RFC 8555 §8.3).
    ///
    /// # Errors
    ///
    /// [`InputError::Token`] if the token is not base64url of at least 128 bits (RFC 8555 §8.1).
    pub fn acme(token: &str) -> Result<Self, InputError> {
        let refused = |rule| InputError::Token { token: token.into(), rule };
        if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(refused("a token holds only letters, digits, `-` and `_`"));
        }
        if !(22..=200).contains(&token.len()) {
            return Err(refused("a token has 22 to 200 characters"));
        }
        Ok(Self(format!("/.well-known/acme-challenge/{token}")))
    }

    /// The path, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path in segments, to be joined to a web root.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }
}

impl<'de> Deserialize<'de> for HttpPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HttpPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The content of a challenge file: printable text and line breaks, at most 4 KiB, so that a CA cannot make
/// a web server serve a script or a page of its choice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HttpBody(String);

impl HttpBody {
    /// Checks a body.
    ///
    /// # Errors
    ///
    /// [`InputError::Value`] names the value and the rule.
    pub fn new(body: impl Into<String>) -> Result<Self, InputError> {
        let body = body.into();
        let plain = |byte: u8| {
            (byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>')) || matches!(byte, b' ' | b'\r' | b'\n')
        };
        if body.is_empty() || body.len() > 4_096 || !body.bytes().all(plain) {
            return Err(InputError::Value {
                field: "content of the challenge file".into(),
                value: body.as_str().into(),
                rule: "1 to 4096 printable ASCII characters other than < and >".into(),
            });
        }
        Ok(Self(body))
    }

    /// The content.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for HttpBody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a `tls-alpn-01` certificate has to carry (RFC 8737 §3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "deployers outside this crate read it")]
pub struct TlsAlpnResponse {
    /// The identifier in the certificate and in SNI.
    pub identifier: Identifier,
    /// SHA-256 of the key authorization, for the `acmeIdentifier` extension.
    pub digest: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_web_root() {
        for good in ["/.well-known/acme-challenge/abc_-1", "/.well-known/pki-validation/A1B2.txt"] {
            assert_eq!(HttpPath::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "/etc/passwd",
            "/.well-known/",
            "/.well-known/../x",
            "/.well-known/a/../../x",
            "/.well-known/a//b",
            "/.well-known/.htaccess",
            "/.well-known/a%2fb",
            "/.well-known/a\\b",
            "/.well-known/a\0",
            "/.well-known/a/b/c/d/e",
        ] {
            assert!(matches!(HttpPath::new(bad), Err(InputError::Path { .. })), "{bad}");
        }
    }

    #[test]
    fn tokens_with_slashes_are_refused() {
        for bad in ["a/../../../../etc/cron.d/xxxxxxxxxxxxx", "short", "", &"a".repeat(300)] {
            assert!(matches!(HttpPath::acme(bad), Err(InputError::Token { .. })), "{bad}");
        }
        assert!(HttpPath::acme("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0").is_ok());
    }

    #[test]
    fn a_body_is_plain_text() {
        assert!(HttpBody::new("token.thumbprint").is_ok());
        assert!(HttpBody::new("<script>").is_err());
        assert!(HttpBody::new("").is_err());
        assert!(HttpBody::new("a".repeat(5_000)).is_err());
    }
}
