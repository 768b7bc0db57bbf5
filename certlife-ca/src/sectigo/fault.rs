//! What the errors of the interface mean: nearly all are status 400 with a code in the body.

use certlife_core::{
    ErrorKind, Retry, VendorText,
    http::{Answer, Refinement, StatusCode},
};
use serde::Deserialize;

use super::wire;

/// `{"code": …, "description": …}`, of which either may be missing.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    #[serde(default, deserialize_with = "wire::number")]
    code: Option<i64>,
    #[serde(default, deserialize_with = "wire::text")]
    description: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    details: Option<String>,
}

impl Fault {
    /// The vendor's words with its code; none if there is neither.
    pub(super) fn words(&self) -> Option<VendorText> {
        let told: Vec<_> = [&self.description, &self.details].into_iter().flatten().cloned().collect();
        match (told.join("; "), self.code) {
            (told, None) if told.is_empty() => None,
            (told, None) => Some(told.into()),
            (told, Some(code)) => Some(format!("{told} ({code})").into()),
        }
    }
}

/// Says what an answer means by its code. Statuses that speak for themselves, such as 401, 404 and 429, are left alone.
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    let status = answer.status();
    let coded = [StatusCode::BAD_REQUEST, StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY];
    if !status.is_success() && !coded.contains(&status) {
        return None;
    }
    let fault: Fault = answer.json()?;
    // Under a status of success only the whole form is an error: other answers have descriptions too.
    if status.is_success() && (fault.code.is_none() || fault.description.is_none()) {
        return None;
    }
    let words = fault.words()?;
    Some(fault.code.and_then(|code| meaning(code, &words)).unwrap_or_else(|| {
        // What has no other meaning is a refusal in the vendor's words.
        Refinement::new(ErrorKind::Rejected(words))
    }))
}

/// The codes that mean more than a refusal. Of those that are used twice the description tells people which it is.
fn meaning(code: i64, words: &VendorText) -> Option<Refinement> {
    let words = words.clone();
    Some(match code {
        -16 | -970 => Refinement::new(ErrorKind::Unauthorized),
        -3 | -25 | -37 | -226 | -738 => Refinement::new(ErrorKind::Forbidden(words)),
        // No such customer, no login at the CA, no DCV in the contract, no ECC in the contract.
        -410 | -429 | -1608 | -170 => Refinement::new(ErrorKind::NotEligible(words)),
        -124 | -1117 | -5101 => Refinement::new(ErrorKind::NotFound("the order".into())),
        -111 => Refinement::new(ErrorKind::NotFound("the certificate profile".into())),
        -1023 => Refinement::new(ErrorKind::NotFound("the organization".into())),
        -727 => Refinement::new(ErrorKind::NotFound("the domain".into())),
        // Not in a state for it, or in it already.
        -102 | -110 | -130 | -159 | -180 | -192 | -724 | -1112 | -1113 | -1148 => {
            Refinement::new(ErrorKind::Conflict(words))
        }
        -3114 | -3115 | -1400 => Refinement::new(ErrorKind::Conflict(words)).retry_as(Retry::Backoff),
        // Faults of the service. What cannot be sent twice becomes `Uncertain` by them: some come from the CA behind
        // it, when the record is there already.
        -1 | -2 | -14 | -65 | -109 | -129 | -140 | -195 | -196 => Refinement::new(ErrorKind::Unavailable),
        _ => return None,
    })
}

/// The codes by which collecting says "try later". `0` is one of them: here it is no success. Some texts still say
/// Comodo, and clients of the field go by the word.
pub(super) fn not_ready(answer: &Answer<'_>) -> Option<Refinement> {
    let fault: Fault = answer.json()?;
    let later = match fault.code? {
        -1400 | -183 | -109 | -103 | -195 | -129 | -1113 => true,
        0 => fault.description.as_deref().unwrap_or_default().to_lowercase().contains("process"),
        _ => false,
    };
    later.then(|| Refinement::new(ErrorKind::NotNow("the certificate is not ready".into())))
}
