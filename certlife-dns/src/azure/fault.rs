//! What the errors of Azure Resource Manager and of its DNS service mean.

use certlife_core::{
    ErrorKind, VendorText,
    http::{Answer, Refinement, StatusCode},
};
use serde::Deserialize;

use super::NAME;

/// An error: flat, as the DNS service writes it, or wrapped, as Resource Manager does.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<Vec<Fault>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Shape {
    Wrapped { error: Fault },
    Flat(Fault),
}

impl Fault {
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        match serde_json::from_slice(body).ok()? {
            Shape::Wrapped { error: fault } | Shape::Flat(fault) => Some(fault),
        }
    }

    /// Whether it says that a record set is absent, and not the zone.
    pub(super) fn is_absent_record(&self) -> bool {
        self.code == "NotFound"
    }

    /// Its code and those of its details.
    fn codes(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self).chain(self.details.iter().flatten()).map(|fault| fault.code.as_str())
    }

    fn words(&self) -> String {
        let faults = std::iter::once(self).chain(self.details.iter().flatten());
        let told: Vec<String> = faults.map(|fault| format!("{}: {}", fault.code, fault.message)).collect();
        told.join("; ")
    }

    /// The right that is missing and where, which only the message tells.
    fn missing_right(&self) -> Option<String> {
        let (_, rest) = self.message.split_once("perform action '")?;
        let (action, rest) = rest.split_once('\'')?;
        let (scope, _) = rest.split_once("over scope '")?.1.split_once('\'')?;
        Some(format!("{action} on {scope}, which the role DNS Zone Contributor has"))
    }
}

/// Says what an answer means by its codes, and where they tell nothing, by the status.
///
/// <https://learn.microsoft.com/en-us/azure/azure-resource-manager/troubleshooting/common-deployment-errors>
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    let fault = Fault::of(answer.text().as_bytes())?;
    if answer.status() == StatusCode::TOO_MANY_REQUESTS {
        tell_what_is_used_up(answer);
    }
    let mut words = fault.words();
    if let Some(id) = answer.header("x-ms-request-id") {
        words = format!("{words} (request {id})");
    }
    let words = VendorText::from(words);
    let known = fault.codes().find_map(|code| {
        Some(match code {
            "InvalidAuthenticationToken"
            | "InvalidAuthenticationTokenTenant"
            | "ExpiredAuthenticationToken" => Refinement::new(ErrorKind::Unauthorized),
            "AuthorizationFailed" | "LinkedAuthorizationFailed" => {
                let right = fault.missing_right().map(|right| format!("{right}: {words}"));
                Refinement::new(ErrorKind::Forbidden(right.map_or_else(|| words.clone(), VendorText::from)))
            }
            "ResourceGroupNotFound" => Refinement::new(ErrorKind::NotFound("the resource group".into())),
            "SubscriptionNotFound" => Refinement::new(ErrorKind::Forbidden(words.clone())),
            "MissingSubscriptionRegistration" | "ReadOnlyDisabledSubscription" | "DisabledSubscription" => {
                Refinement::new(ErrorKind::NotEligible(words.clone()))
            }
            "CannotCreateRecordDueToCNameNamingRestriction" => {
                Refinement::new(ErrorKind::Conflict(words.clone()))
            }
            "QuotaExceeded" => Refinement::new(ErrorKind::QuotaExceeded(words.clone())),
            // Another change to the zone is under way. Ours was not made, whatever the status.
            "RetryableErrorDueToAnotherOperation" | "AnotherOperationInProgress" | "TooManyRequests" => {
                Refinement::throttled()
            }
            _ => return None,
        })
    });
    let by_status = || match answer.status() {
        // An error whose status says success has to become one.
        status if status.is_success() => Some(ErrorKind::Rejected(words.clone())),
        StatusCode::BAD_REQUEST => Some(ErrorKind::Rejected(words.clone())),
        StatusCode::FORBIDDEN => Some(ErrorKind::Forbidden(words.clone())),
        StatusCode::CONFLICT => Some(ErrorKind::Conflict(words.clone())),
        _ => None,
    };
    known.or_else(|| by_status().map(Refinement::new))
}

/// Logs which of several budgets is at its end; the error says only that one is.
///
/// <https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/request-limits-and-throttling>
fn tell_what_is_used_up(answer: &Answer<'_>) {
    for (name, value) in answer.headers() {
        if name.as_str().starts_with("x-ms-ratelimit-remaining-") {
            let left = VendorText::new(&String::from_utf8_lossy(value.as_bytes()));
            tracing::debug!(provider = %NAME, budget = name.as_str(), %left, "throttled");
        }
    }
}
