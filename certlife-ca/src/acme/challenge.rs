//! Authorizations and challenges in terms that all CAs share.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{
    Identifier, InputError, VendorText,
    challenge::{
        Authorization, AuthorizationStatus, Challenge, ChallengeId, ChallengeKind, ChallengeResponse,
        HttpBody, HttpFile, HttpPath, TlsAlpnResponse,
    },
};
use instant_acme::{AuthorizationStatus as WireStatus, ChallengeType};

use super::{
    account::Account,
    wire::{AuthorizationObject, Status},
};

/// Translates an authorization. Challenges of other kinds, and those that do not suit the identifier, are
/// left out.
///
/// # Errors
///
/// The rule that an identifier or a token breaks.
pub(super) fn read(object: &AuthorizationObject, account: &Account) -> Result<Authorization, InputError> {
    let identifier = identifier(object)?;
    let (status, word) = match &object.status {
        // Nothing is concluded from a word that is not known; the order tells how it ends.
        Status::Known(WireStatus::Pending) | Status::Unknown(_) => (AuthorizationStatus::Pending, None),
        Status::Known(WireStatus::Valid) => (AuthorizationStatus::Valid, None),
        Status::Known(WireStatus::Invalid) => (AuthorizationStatus::Invalid, None),
        Status::Known(WireStatus::Expired) => {
            (AuthorizationStatus::Invalid, Some("the authorization has expired"))
        }
        Status::Known(WireStatus::Revoked) => {
            (AuthorizationStatus::Invalid, Some("the CA revoked the authorization"))
        }
        Status::Known(WireStatus::Deactivated) => {
            (AuthorizationStatus::Invalid, Some("the authorization was deactivated"))
        }
    };
    let challenges = match status {
        AuthorizationStatus::Pending => challenges(object, &identifier, account)?,
        AuthorizationStatus::Valid | AuthorizationStatus::Invalid => Vec::new(),
    };
    let problem = match status {
        AuthorizationStatus::Invalid => Some(
            said(object).or(word.map(VendorText::from)).unwrap_or_else(|| "the CA gave no reason".into()),
        ),
        AuthorizationStatus::Pending | AuthorizationStatus::Valid => None,
    };
    Ok(Authorization { identifier, status, challenges, problem })
}

fn identifier(object: &AuthorizationObject) -> Result<Identifier, InputError> {
    match &object.identifier {
        instant_acme::Identifier::Dns(name) if object.wildcard => {
            // RFC 8555 §7.1.4 leaves the `*.` out; some servers do not.
            Ok(Identifier::Wildcard(name.strip_prefix("*.").unwrap_or(name).parse()?))
        }
        instant_acme::Identifier::Dns(name) => name.parse(),
        instant_acme::Identifier::Ip(address) => Ok(Identifier::from(*address)),
        other => Err(InputError::Identifier {
            identifier: VendorText::new(&format!("{other:?}")).as_str().to_owned(),
            rule: "it is neither a DNS name nor an address".into(),
        }),
    }
}

/// Why the proof failed, as the challenge that was tried says.
fn said(object: &AuthorizationObject) -> Option<VendorText> {
    let problem = object.challenges.iter().find_map(|challenge| challenge.error.as_ref())?;
    let detail = problem.detail.as_deref().or(problem.r#type.as_deref())?;
    Some(VendorText::new(detail))
}

fn challenges(
    object: &AuthorizationObject,
    identifier: &Identifier,
    account: &Account,
) -> Result<Vec<Challenge>, InputError> {
    let mut found = Vec::new();
    for challenge in &object.challenges {
        let kind = match challenge.r#type {
            ChallengeType::Http01 => ChallengeKind::Http,
            ChallengeType::Dns01 => ChallengeKind::DnsTxt,
            ChallengeType::TlsAlpn01 => ChallengeKind::TlsAlpn,
            _ => continue,
        };
        if !kind.suits(identifier) {
            continue;
        }
        // Checks the token for every kind; only one of them makes a path of it.
        let path = HttpPath::acme(&challenge.token)?;
        let proof = account.key_authorization(&challenge.token);
        let response = match (kind, identifier.base_name()) {
            (ChallengeKind::Http, _) => ChallengeResponse::Http(HttpFile {
                host: identifier.clone(),
                path,
                body: HttpBody::new(proof)?,
            }),
            (ChallengeKind::DnsTxt, Some(base)) => {
                // Below a name of nearly 253 characters there is no room for the label (RFC 8555 §8.4).
                let Ok(name) = base.to_fqdn().child("_acme-challenge") else { continue };
                let value = URL_SAFE_NO_PAD.encode(digest(&SHA256, proof.as_bytes()));
                ChallengeResponse::DnsTxt { name, value }
            }
            _ => {
                let mut hash = [0; 32];
                hash.copy_from_slice(digest(&SHA256, proof.as_bytes()).as_ref());
                ChallengeResponse::TlsAlpn(TlsAlpnResponse { identifier: identifier.clone(), digest: hash })
            }
        };
        found.push(Challenge { id: ChallengeId(challenge.url.clone()), response });
    }
    Ok(found)
}
