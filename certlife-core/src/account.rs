//! What testing an account tells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::VendorText;

/// What a tested account turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "providers outside this crate build it")]
pub struct AccountSummary {
    /// Who the provider says we are.
    pub identity: Option<VendorText>,
    /// What else it says: balance, plan, limits, rights.
    pub details: BTreeMap<String, VendorText>,
    /// What works but should be looked at.
    pub warnings: Vec<VendorText>,
}
