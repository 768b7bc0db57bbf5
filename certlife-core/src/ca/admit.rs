//! Whether a request lies within a CA's capabilities: one rule for every CA, asked before anything is sent.

use super::{CaCapabilities, OrderRequest};
use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    input::InputError,
    name::Identifier,
};

impl CaCapabilities {
    /// Checks `request` against these capabilities: purpose, number and kinds of identifiers, wanted
    /// challenges and key.
    ///
    /// It is the part of [`check`](super::CertificateAuthority::check) that all CAs share.
    ///
    /// # Errors
    ///
    /// Names the first field that is ruled out, its value and the rule.
    pub fn check(&self, request: &OrderRequest) -> Result<(), InputError> {
        let value = |field: &'static str, value: String, rule: String| InputError::Value {
            field: field.into(),
            value: value.as_str().into(),
            rule: rule.into(),
        };
        let purpose = request.purpose.kind();
        if !self.purposes.contains(&purpose) {
            let known = list(&self.purposes);
            return Err(value("purpose", format!("{purpose:?}"), format!("this CA takes {known}")));
        }
        if request.identifiers.is_empty() {
            return Err(InputError::NoIdentifiers);
        }
        let (count, limit) = (request.identifiers.len(), self.max_identifiers);
        if count > limit {
            return Err(InputError::TooManyIdentifiers { count, limit });
        }
        for identifier in &request.identifiers {
            let rule = match identifier {
                Identifier::Wildcard(_) if !self.wildcards => "this CA issues no wildcard certificates",
                Identifier::Ip(_) if !self.addresses => "this CA issues no certificates for IP addresses",
                _ => continue,
            };
            return Err(InputError::Identifier { identifier: identifier.to_string(), rule: rule.into() });
        }
        for (identifier, proof) in &request.challenges {
            let kind = &proof.kind;
            // A CA that asks for no proof has no use for a preference, which then does no harm.
            if !self.challenges.is_empty() && !self.challenges.contains(kind) {
                let known = list(&self.challenges);
                let rule = format!("this CA offers {known} for {identifier}");
                return Err(value("challenges", kind.to_string(), rule));
            }
        }
        match request.key_algorithm {
            Some(algorithm) if !self.key_algorithms.contains(&algorithm) => {
                let known = list(&self.key_algorithms);
                Err(value("key_algorithm", algorithm.to_string(), format!("this CA certifies {known}")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a request that these capabilities rule out, for [`place`](super::CertificateAuthority::place).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`], whose source is the [`InputError`] of [`check`](Self::check).
    pub fn require(&self, provider: ProviderName, request: &OrderRequest) -> Result<()> {
        self.check(request).map_err(|input| {
            let what = match &input {
                InputError::NoIdentifiers => "an order without identifiers".to_owned(),
                InputError::TooManyIdentifiers { limit, .. } => format!("more than {limit} identifiers"),
                InputError::Identifier { identifier, .. } => format!("an order for {identifier}"),
                InputError::Value { field, value, .. } => format!("{field} {value}"),
                _ => "this order".to_owned(),
            };
            Error::new(provider, Operation::PlaceOrder, ErrorKind::Unsupported(what.into())).because(input)
        })
    }
}

fn list<T: std::fmt::Debug>(values: &std::collections::BTreeSet<T>) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
    if values.is_empty() { "none".to_owned() } else { values.join(", ") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        ca::{Placement, Purpose, PurposeKind},
        challenge::ChallengeKind,
        key::KeyAlgorithm,
    };

    fn capabilities() -> CaCapabilities {
        CaCapabilities {
            purposes: [PurposeKind::New].into(),
            challenges: [ChallengeKind::Http].into(),
            wildcards: false,
            addresses: false,
            max_identifiers: 2,
            key_algorithms: [KeyAlgorithm::EcdsaP256].into(),
            placement: Placement::Free,
            settles_in: std::time::Duration::ZERO,
            decisions: BTreeSet::new(),
            approvers: false,
            revalidation: false,
            domain_challenges: BTreeSet::new(),
            catalog: false,
            import: false,
            revocation: false,
            renewal_info: false,
        }
    }

    fn request(identifiers: &[&str]) -> OrderRequest {
        OrderRequest {
            purpose: Purpose::New,
            identifiers: identifiers.iter().map(|text| text.parse().unwrap()).collect(),
            key_algorithm: None,
            validity: None,
            product: None,
            organization: None,
            contacts: Vec::new(),
            challenges: [].into(),
            options: serde_json::Value::Null,
        }
    }

    #[test]
    fn what_is_ruled_out_is_named() {
        let with_challenge = OrderRequest {
            challenges: [("a.example".parse().unwrap(), ChallengeKind::DnsTxt.into())].into(),
            ..request(&["a.example"])
        };
        let with_key = OrderRequest { key_algorithm: Some(KeyAlgorithm::Ed25519), ..request(&["a.example"]) };
        for (request, words) in [
            (request(&[]), "at least one identifier"),
            (request(&["a.example", "b.example", "c.example"]), "allows 2"),
            (request(&["*.a.example"]), "*.a.example: this CA issues no wildcard"),
            (request(&["192.0.2.1"]), "192.0.2.1: this CA issues no certificates for IP"),
            (with_challenge, "dns-txt"),
            (with_key, "ed25519"),
        ] {
            let message = capabilities().check(&request).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
            let error = capabilities().require(ProviderName::ENGINE, &request).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
            assert!(error.chain().contains(words), "{}", error.chain());
        }
        capabilities().require(ProviderName::ENGINE, &request(&["a.example", "b.example"])).unwrap();
    }
}
