//! What is done to orders: decisions and revocations.

use serde::Deserialize;
use serde_json::json;

use super::{Answer, World, fault, field, orders::no_order};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Operate {
    operation: String,
    decline_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Revoke {
    crl_reason: String,
    revocation_comment: String,
}

impl World {
    pub(super) fn operate(&mut self, id: &str, ask: &Operate) -> Answer {
        let (quorum, waits) = (self.quorum, self.polls_to_issue > 0);
        let order = self.orders.iter_mut().find(|order| order.id.to_string() == id).ok_or_else(no_order)?;
        let status = match (ask.operation.as_str(), order.status.as_str()) {
            ("APPROVE", "PENDING") if quorum => "PENDING_QUORUM",
            ("APPROVE", "PENDING") => "APPROVED",
            ("DECLINE", "PENDING") => {
                if ask.decline_reason.as_ref().is_none_or(|reason| reason.len() > 254) {
                    return Err(field("declineReason", "1 to 254 characters"));
                }
                order.decline_reason.clone_from(&ask.decline_reason);
                "DECLINED"
            }
            ("SUSPEND", "ACTIVE" | "READY") => "SUSPENDED",
            ("UNSUSPEND", "SUSPENDED") => "ACTIVE",
            ("APPROVE" | "DECLINE" | "SUSPEND" | "UNSUSPEND", status) => {
                return Err(fault(400, &format!("Not possible for a certificate that is {status}")));
            }
            _ => return Err(field("operation", "Unknown operation")),
        };
        status.clone_into(&mut order.status);
        let id = order.id;
        if status == "APPROVED" && !waits {
            self.issue(id);
            return Ok((201, Some(self.order(id).receipt())));
        }
        Ok((200, None))
    }

    pub(super) fn deactivate(&mut self, id: &str) -> Answer {
        let order = self.orders.iter_mut().find(|order| order.id.to_string() == id).ok_or_else(no_order)?;
        if order.deactivated || !matches!(order.status.as_str(), "ACTIVE" | "READY") {
            return Err(fault(400, "Certificate cannot be deactivated"));
        }
        order.deactivated = true;
        order.status = "DEACTIVATED".into();
        Ok((200, None))
    }

    pub(super) fn reactivate(&mut self, id: &str) -> Answer {
        if !self.reactivates {
            return Err((405, json!({ "status": 405, "errors": [{ "message": "Method not allowed" }] })));
        }
        let order = self.orders.iter_mut().find(|order| order.id.to_string() == id).ok_or_else(no_order)?;
        if !order.deactivated {
            return Err(fault(400, "Certificate cannot be reactivated"));
        }
        order.deactivated = false;
        order.status = "ACTIVE".into();
        Ok((200, None))
    }

    pub(super) fn revoke(&mut self, id: &str, ask: Revoke) -> Answer {
        let taken = self.reasons.contains(&ask.crl_reason.as_str());
        let order = self.orders.iter_mut().find(|order| order.id.to_string() == id).ok_or_else(no_order)?;
        if !taken {
            return Err(field("crlReason", "Unknown reason"));
        }
        if ask.revocation_comment.is_empty() || ask.revocation_comment.len() > 254 {
            return Err(field("revocationComment", "1 to 254 characters"));
        }
        if order.issued.is_none() || matches!(order.status.as_str(), "REVOKED" | "EXPIRED") {
            return Err(fault(400, "Certificate cannot be revoked"));
        }
        order.status = "REVOKED".into();
        order.revoked = Some((ask.crl_reason, ask.revocation_comment));
        Ok((200, None))
    }
}
