//! The issued certificate, with the chain that the host prefers if the CA offers several (RFC 8555 §7.4.2).

use certlife_core::{
    CertificateInfo, Chain, ErrorKind, Fingerprint, Operation, Result, Retry,
    http::{HeaderMap, Response, header},
    x509::{Assembled, ChainOptions},
};
use url::Url;

use super::{Acme, problem::Failure, session::Call};

const OPERATION: Operation = Operation::FetchCertificate;
/// RFC 8555 §9.1.
const MEDIA_TYPE: &str = "application/pem-certificate-chain";

/// Which of several chains is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Preference {
    /// The one with this certificate in it.
    Fingerprint(Fingerprint),
    /// The one in which a certificate is issued by, or to, this common name.
    CommonName(String),
}

impl Preference {
    pub(super) fn read(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::CommonName(text.trim().to_owned()), Self::Fingerprint)
    }

    fn is_met_by(&self, assembled: &Assembled) -> bool {
        let issuers = assembled.chain.intermediates();
        match self {
            Self::Fingerprint(wanted) => {
                let kept = issuers.iter().filter_map(|der| CertificateInfo::read(der).ok());
                let dropped = assembled.dropped.iter().map(|dropped| dropped.fingerprint);
                kept.map(|info| info.sha256).chain(dropped).any(|found| found == *wanted)
            }
            Self::CommonName(wanted) => assembled
                .chain
                .certificates()
                .filter_map(|der| CertificateInfo::read(der).ok())
                .any(|info| common_name(info.issuer.as_str()).as_deref() == Some(wanted)),
        }
    }
}

impl Acme {
    /// Downloads the certificate for `key` and picks the chain.
    pub(super) async fn certificate(&self, url: &Url, options: ChainOptions) -> Result<Chain> {
        /// The most alternate chains that are looked at.
        const MOST: usize = 5;
        self.session.admit(OPERATION, url)?;
        let answer = self.signed(&Call::ask(OPERATION, url).accept(MEDIA_TYPE)).await?;
        let default = assemble(&answer, options)?;
        let Some(preference) = &self.preferred_chain else { return Ok(default.chain) };
        if preference.is_met_by(&default) {
            return Ok(default.chain);
        }
        for alternate in alternates(answer.headers(), url).into_iter().take(MOST) {
            self.session.admit(OPERATION, &alternate)?;
            let answer = match self.signed(&Call::ask(OPERATION, &alternate).accept(MEDIA_TYPE)).await {
                Ok(answer) => answer,
                // What the CA does not give is not on offer; what it fails to give may be the one.
                Err(Failure::Refused(_)) => continue,
                Err(failure) => return Err(failure.into()),
            };
            let other = assemble(&answer, options)?;
            if other.chain.leaf() == default.chain.leaf() && preference.is_met_by(&other) {
                return Ok(other.chain);
            }
        }
        tracing::warn!(certificate = %default.chain.fingerprint(), "the CA does not offer the preferred chain");
        Ok(default.chain)
    }
}

fn assemble(answer: &Response, options: ChainOptions) -> Result<Assembled> {
    options.from_pem(answer.text()?).map_err(|error| {
        let kind = ErrorKind::BadCertificate(error.to_string().into());
        answer.error(kind).retry_as(Retry::Backoff)
    })
}

/// The targets of `Link` headers with `rel="alternate"` (RFC 8288 §3).
fn alternates(headers: &HeaderMap, base: &Url) -> Vec<Url> {
    let values = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok());
    let mut found = Vec::new();
    for link in values.flat_map(links) {
        let Some((target, parameters)) = link.strip_prefix('<').and_then(|rest| rest.split_once('>')) else {
            continue;
        };
        let is_alternate =
            parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
                let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
                name.trim().eq_ignore_ascii_case("rel")
                    && relations.any(|relation| relation.eq_ignore_ascii_case("alternate"))
            });
        if is_alternate && let Ok(url) = base.join(target) {
            found.push(url);
        }
    }
    found
}

/// The links of one header, which commas divide; those inside `<>` do not count.
fn links(value: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut start = 0;
    let mut inside = false;
    for (place, character) in value.char_indices() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            ',' if !inside => {
                links.push(value[start..place].trim());
                start = place + 1;
            }
            _ => {}
        }
    }
    links.push(value[start..].trim());
    links
}

/// The common name in a name as RFC 4514 writes it.
fn common_name(name: &str) -> Option<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for character in name.chars() {
        match (escaped, character) {
            (false, '\\') => escaped = true,
            (false, ',' | '+') => parts.push(String::new()),
            _ => {
                escaped = false;
                parts.last_mut()?.push(character);
            }
        }
    }
    parts.iter().find_map(|part| part.trim_start().strip_prefix("CN=").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_in_every_usual_form() {
        let base = Url::parse("https://ca.test/cert/1").unwrap();
        let mut headers = HeaderMap::new();
        headers.append("link", "<https://ca.test/dir>;rel=\"index\"".parse().unwrap());
        let both = "</cert/1/1>; rel=alternate, <https://ca.test/a,b>;title=\"x\";REL=\"up alternate\"";
        headers.append("link", both.parse().unwrap());
        headers.append("link", "garbage, <, >;rel=alternate".parse().unwrap());
        let found: Vec<_> = alternates(&headers, &base).iter().map(ToString::to_string).collect();
        assert_eq!(found[..2], ["https://ca.test/cert/1/1", "https://ca.test/a,b"]);
    }

    #[test]
    fn common_names_are_found_among_other_parts() {
        assert_eq!(common_name("CN=R\\, 3,O=Let's Encrypt,C=US").as_deref(), Some("R, 3"));
        assert_eq!(common_name("C=US,O=A+CN=B").as_deref(), Some("B"));
        assert_eq!(common_name("O=NOCN"), None);
    }

    #[test]
    fn a_preference_is_a_fingerprint_if_it_looks_like_one() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(matches!(Preference::read(hex), Preference::Fingerprint(_)));
        assert_eq!(Preference::read(" ISRG Root X1 "), Preference::CommonName("ISRG Root X1".into()));
    }
}
