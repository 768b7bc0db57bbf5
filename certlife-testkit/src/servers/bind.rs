//! BIND, which is a resolver besides.

use std::ops::Deref;

use serde::Deserialize;

use super::name_server::{NameServer, dig, txt_values};

/// BIND: a [`NameServer`], which it stands for, and the resolver that Pebble asks.
///
/// It is strictly authoritative to questions that do not desire recursion. To those that do it is a
/// resolver that follows aliases from zone to zone, knows no other name and caches nothing.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Bind {
    /// What it is to questions that do not desire recursion, and to updates.
    #[serde(flatten)]
    pub name_server: NameServer,
    /// A challenge name that lives elsewhere.
    pub delegation: Delegation,
}

/// A `_acme-challenge` name that is an alias into another zone.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Delegation {
    /// The identifier to validate; its challenge name is the alias.
    pub identifier: String,
    /// The name that the alias points to.
    pub target: String,
    /// The zone that holds the target.
    pub alias_zone: String,
}

impl Bind {
    /// Resolves the TXT values of `name`, sorted, through aliases, the way that a validating CA does.
    pub async fn resolve_txt(&self, name: &str) -> Vec<String> {
        txt_values(&dig(&self.dig, self.address, &[name, "TXT"]).await)
    }
}

impl Deref for Bind {
    type Target = NameServer;

    fn deref(&self) -> &NameServer {
        &self.name_server
    }
}
