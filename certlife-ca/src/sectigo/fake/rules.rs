//! What a request has to look like.

use certlife_core::{Csr, Identifier, KeyAlgorithm};

use super::{Answer, FIELD, refusal, ssl::Field};

pub(super) type Refused = Answer;

pub(super) fn request(pem: &str, keys: &[&str]) -> Result<Csr, Refused> {
    if pem.len() > 32_767 {
        return Err(refusal(-1601, "csr has an invalid value"));
    }
    let csr = Csr::from_pem(pem).map_err(|_| refusal(-10, "The CSR cannot be decoded"))?;
    let kind = match csr.key_algorithm() {
        Some(KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521) => "ec",
        Some(algorithm) if algorithm.is_rsa() => "rsa",
        _ => return Err(refusal(-11, "The algorithm of the CSR is not supported")),
    };
    if keys.contains(&kind) { Ok(csr) } else { Err(refusal(-78, "The public key is not supported")) }
}

pub(super) fn check_notes(
    comments: Option<&str>,
    requester: Option<&str>,
    fields: &[Field],
) -> Result<(), Refused> {
    length("comments", comments.unwrap_or_default(), 0..=1_024)?;
    length("externalRequester", requester.unwrap_or_default(), 0..=512)?;
    for address in requester.into_iter().flat_map(|list| list.split(',')) {
        if !address.contains('@') {
            return Err(refusal(-1601, "externalRequester has an invalid value"));
        }
    }
    for field in fields {
        length("customFields", &field.name, 1..=256)?;
        length("customFields", &field.value, 0..=256)?;
        if ![FIELD, "Reference"].contains(&field.name.as_str()) {
            return Err(refusal(-135, "Custom field not found"));
        }
    }
    Ok(())
}

pub(super) fn common_name(csr: &Csr) -> Option<String> {
    let subject = csr.subject().as_str();
    subject.split(',').find_map(|part| part.trim().strip_prefix("CN=").map(str::to_owned))
}

/// The names of the certificate: the common name and those that were sent, not those in the request.
pub(super) fn names<'a>(
    common_name: Option<&'a str>,
    sent: impl Iterator<Item = &'a str>,
) -> Result<Vec<Identifier>, Refused> {
    let mut names: Vec<Identifier> = Vec::new();
    for name in common_name.into_iter().chain(sent.filter(|name| !name.is_empty())) {
        let name = name.trim().parse().map_err(|_| refusal(-1601, "a name has an invalid value"))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

pub(super) fn length(
    field: &str,
    value: &str,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<(), Refused> {
    if allowed.contains(&value.chars().count()) {
        return Ok(());
    }
    Err(refusal(-1601, &format!("{field} has an invalid value")))
}
