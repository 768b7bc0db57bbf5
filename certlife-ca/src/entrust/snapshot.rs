//! What an order at Entrust is in the terms that all CAs share.

use std::{collections::BTreeMap, time::Duration};

use certlife_core::{
    Chain, Error, ErrorKind, Identifier, InputError, Operation, Result, Timestamp, VendorText,
    ca::{OrderHandle, OrderSnapshot, Stage},
    x509::ChainOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NAME, wire::Certificate};

const MINUTE: Duration = Duration::from_mins(1);

/// How an order is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    /// The CA's number of the order, its `trackingId`.
    pub(super) order: i64,
    /// The company unit that it was placed for. The CA does not tell it, and the next order needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<i64>,
}

impl Handle {
    pub(super) fn read(operation: Operation, handle: &OrderHandle) -> Result<Self> {
        let read = Self::deserialize(&handle.0).ok().filter(|handle| handle.order > 0);
        read.ok_or_else(|| Error::new(NAME, operation, ErrorKind::NotFound("the order".into())))
    }

    pub(super) fn store(self) -> OrderHandle {
        OrderHandle(serde_json::to_value(self).unwrap_or(Value::Null))
    }
}

/// The status of an order that no answer tells: it was placed, and the certificate came with the answer.
const JUST_ISSUED: &str = "ACTIVE";

impl Certificate {
    /// The status in capitals.
    pub(super) fn word(&self) -> String {
        let usual = if self.end_entity_cert.is_some() { JUST_ISSUED } else { "" };
        self.status.as_deref().unwrap_or(usual).trim().to_ascii_uppercase()
    }

    /// Whether it was taken out of management, which may show in either place.
    pub(super) fn is_deactivated(&self) -> bool {
        self.word() == "DEACTIVATED" || self.tracking.as_ref().is_some_and(|tracking| tracking.deactivated)
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        self.expires_after.is_some_and(|end| end < now)
    }

    /// How far the order is. A certificate that was replaced, or taken out of management, is still there; and a word
    /// that is unknown says nothing.
    pub(super) fn stage(&self, now: Timestamp) -> Stage {
        let is_there = self.end_entity_cert.is_some();
        match self.word().as_str() {
            "PENDING" | "PENDING_QUORUM" => Stage::AwaitingApproval,
            "DECLINED" => Stage::Rejected,
            "SUSPENDED" => Stage::Suspended,
            "REVOKED" => Stage::Revoked,
            "EXPIRED" => Stage::Expired,
            "DEACTIVATED" if !is_there => Stage::Cancelled,
            "ACTIVE" | "READY" | "REISSUED" | "RENEWED" | "DEACTIVATED" | "REISSUING" | "RENEWING"
                if is_there =>
            {
                // The status may lag behind the date.
                if self.has_ended(now) { Stage::Expired } else { Stage::Issued }
            }
            _ => Stage::Processing,
        }
    }

    /// What people are to read beside the stage.
    fn words(&self, stage: Stage) -> Option<VendorText> {
        let word = self.word();
        if let Some(reason) = self.decline_reason.as_ref().filter(|_| stage == Stage::Rejected) {
            return Some(VendorText::new(reason));
        }
        if self.is_deactivated() {
            return Some("it was taken out of management (DEACTIVATED)".into());
        }
        let text = match (stage, word.as_str()) {
            (_, "") | (Stage::Issued, "ACTIVE" | "READY") => return None,
            (Stage::Rejected, _) => "an administrator declined it, without a reason",
            (_, "PENDING") => "it waits for the approval of an administrator",
            (_, "PENDING_QUORUM") => "it waits for the approval of a second administrator",
            (_, word) => word,
        };
        Some(VendorText::new(text))
    }

    /// The certificate with the intermediates, whatever order they came in; the root is left out.
    fn chain(&self) -> Result<Option<Chain>, InputError> {
        let Some(leaf) = &self.end_entity_cert else { return Ok(None) };
        let key = Chain::from_pem(leaf)?.info()?.key_hash;
        let mut pem = leaf.trim().to_owned();
        for other in self.chain_certs.iter().filter_map(Value::as_str).take(Chain::MAX_CERTIFICATES) {
            pem.push('\n');
            pem.push_str(other.trim());
        }
        pem.push('\n');
        let options = ChainOptions::default().drop_unrelated(true).leaf_key(key);
        options.from_pem(&pem).map(|assembled| Some(assembled.chain))
    }

    /// The names: subject alternative names, else the common name.
    pub(super) fn identifiers(&self) -> Vec<Identifier> {
        let mut names: Vec<Identifier> = Vec::new();
        for name in &self.subject_alt_name {
            // Asked for they are texts, told they are objects with a type.
            let text = name.as_str().or_else(|| name.get("value").and_then(Value::as_str));
            let kind = name.get("type").and_then(Value::as_str).unwrap_or("dNSName");
            let is_host = kind.eq_ignore_ascii_case("dNSName") || kind.eq_ignore_ascii_case("iPAddress");
            if let Some(name) = text.filter(|_| is_host).and_then(|text| text.parse().ok())
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        if names.is_empty() {
            names.extend(self.dn.as_deref().and_then(common_name).and_then(|name| name.parse().ok()));
        }
        names
    }

    fn details(&self) -> BTreeMap<String, VendorText> {
        let tracking = self.tracking.as_ref();
        let all = [
            ("product", self.cert_type.as_deref()),
            ("organization", self.org.as_deref()),
            ("domain", self.domain_used.as_deref()),
            ("status", self.status.as_deref()),
            ("tracking", tracking.and_then(|tracking| tracking.info.as_deref())),
            ("requester", tracking.and_then(|tracking| tracking.requester_name.as_deref())),
            ("creator", self.creator_name.as_deref()),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))).collect()
    }

    /// The order as of `now`.
    ///
    /// # Errors
    ///
    /// If its certificate cannot be read.
    pub(super) fn snapshot(&self, handle: Handle, now: Timestamp) -> Result<OrderSnapshot, InputError> {
        let stage = self.stage(now);
        let certificate = self.chain()?;
        let identifiers = match certificate.as_ref().and_then(|chain| chain.info().ok()) {
            Some(info) if !info.identifiers.is_empty() => info.identifiers.into_iter().collect(),
            _ => self.identifiers(),
        };
        Ok(OrderSnapshot {
            certificate,
            ask_again: Some(ask_again(stage, &self.word())),
            message: self.words(stage),
            number: Some(handle.order.to_string().into()),
            identifiers,
            details: self.details(),
            ..OrderSnapshot::new(handle.store(), stage)
        })
    }
}

/// Daily where nothing moves. The CA names no interval; minutes are enough, since it sends no news by itself.
fn ask_again(stage: Stage, word: &str) -> Duration {
    match (stage, word) {
        (Stage::AwaitingApproval, _) => 30 * MINUTE,
        (Stage::Processing, "" | "APPROVED" | "READY" | "ACTIVE" | "REISSUING" | "RENEWING") => 2 * MINUTE,
        (Stage::Processing, _) => 60 * MINUTE,
        _ => 24 * 60 * MINUTE,
    }
}

/// The common name in a distinguished name as text: `cn=shop.example.org,o=…`.
pub(super) fn common_name(dn: &str) -> Option<&str> {
    dn.split(',').find_map(|part| {
        let (kind, value) = part.split_once('=')?;
        kind.trim().eq_ignore_ascii_case("cn").then(|| value.trim())
    })
}
