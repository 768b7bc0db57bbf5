//! The methods of domain validation, and what has to be published for each.

use certlife_core::{
    DnsName, Identifier,
    challenge::{ChallengeKind, ChallengeResponse, HttpBody, HttpFile, HttpPath},
};
use url::Url;

use super::wire::{self, Shown};

/// A method as requests name it; paths have it in lower case.
pub(super) fn mode(kind: ChallengeKind) -> Option<&'static str> {
    match kind {
        ChallengeKind::DnsTxt => Some("TXT"),
        ChallengeKind::DnsCname => Some("CNAME"),
        ChallengeKind::Http => Some("HTTP"),
        ChallengeKind::Email => Some("EMAIL"),
        _ => None,
    }
}

/// A method as answers name it: short, or with what the value is made from. A file over HTTPS is none that can be
/// published here.
pub(super) fn kind(mode: &str) -> Option<ChallengeKind> {
    match wire::folded(mode).as_str() {
        "TXT" | "DNSTXTRANDOMVALUE" => Some(ChallengeKind::DnsTxt),
        "CNAME" | "CNAMECSRHASH" => Some(ChallengeKind::DnsCname),
        "HTTP" | "HTTPCSRHASH" => Some(ChallengeKind::Http),
        "EMAIL" => Some(ChallengeKind::Email),
        _ => None,
    }
}

/// What has to be published for `domain`. The words of an error complete "the answer breaks the protocol: ".
///
/// The answer chooses neither the place of a record nor the host of a file: both have to lie within the domain.
pub(super) fn response(
    domain: &Identifier,
    kind: ChallengeKind,
    shown: &Shown,
    email: Option<&str>,
) -> Result<ChallengeResponse, &'static str> {
    let base = domain.base_name().map(DnsName::to_fqdn);
    let within = || {
        let name = wire::owner_name(shown.host.as_ref()).ok_or("the owner name of a record is missing")?;
        match &base {
            Some(base) if name.is_within(base) => Ok(name),
            _ => Err("the record lies outside the domain that is validated"),
        }
    };
    match kind {
        ChallengeKind::DnsTxt => {
            let value = shown.point.clone().ok_or("the value of the TXT record is missing")?;
            Ok(ChallengeResponse::DnsTxt { name: within()?, value })
        }
        ChallengeKind::DnsCname => {
            let target =
                wire::owner_name(shown.point.as_ref()).ok_or("the target of the record is missing")?;
            Ok(ChallengeResponse::DnsCname { name: within()?, target })
        }
        ChallengeKind::Http => file(domain, shown).map(ChallengeResponse::Http),
        ChallengeKind::Email => {
            let address =
                email.or(shown.dcv_email.as_deref()).ok_or("the address of the message is missing")?;
            Ok(ChallengeResponse::Email { address: address.to_owned() })
        }
        _ => Err("the method is unknown"),
    }
}

/// A file, told as two lines for a domain and as a whole for an order.
fn file(domain: &Identifier, shown: &Shown) -> Result<HttpFile, &'static str> {
    let url = shown.url.as_deref().and_then(|url| Url::parse(url).ok());
    let url = url.ok_or("the address of the file is missing")?;
    let host: Option<Identifier> = url.host_str().and_then(|host| host.parse().ok());
    let host = host.filter(|host| match (host.base_name(), domain.base_name()) {
        (Some(host), Some(domain)) => host == domain,
        _ => host == domain,
    });
    let host = host.ok_or("the file lies outside the domain that is validated")?;
    if url.scheme() != "http" || url.port().is_some() || url.query().is_some() {
        return Err("the address of the file is not plain HTTP on port 80");
    }
    let path = HttpPath::new(url.path()).map_err(|_| "the path of the file is not one for a challenge")?;
    let lines: Vec<_> = [&shown.first_line, &shown.second_line].into_iter().flatten().cloned().collect();
    let body = shown.file.clone().unwrap_or_else(|| lines.join("\n"));
    let body = HttpBody::new(body).map_err(|_| "the content of the file is not plain text")?;
    Ok(HttpFile { host, path, body })
}

/// How far a domain or organization is validated.
pub(super) fn is_valid(status: Option<&String>) -> bool {
    status.is_some_and(|status| wire::folded(status) == "VALIDATED")
}
