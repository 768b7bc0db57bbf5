//! The durable handle of an order.

use certlife_core::{Error, ErrorKind, Operation, Result, Retry, ca::OrderHandle};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::NAME;

/// Where the order is and whose it is. Everything else the CA tells each time it is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Handle {
    pub(super) order: Url,
    /// The URL of the account that placed it.
    pub(super) account: String,
    /// The authorizations could not be read when the order was placed; the next answer has to tell them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) untold: bool,
}

impl Handle {
    pub(super) fn read(operation: Operation, handle: &OrderHandle) -> Result<Self> {
        Self::deserialize(&handle.0).map_err(|error| {
            let kind = ErrorKind::Corrupt("the handle is not that of an ACME order".into());
            Error::new(NAME, operation, kind).retry_as(Retry::Never).because(error)
        })
    }

    pub(super) fn written(&self) -> OrderHandle {
        // Three plain members can always be written.
        OrderHandle(serde_json::to_value(self).unwrap_or_else(|_| json!({})))
    }

    /// The last part of the URL, which is what people at the CA know the order by.
    pub(super) fn number(&self) -> Option<&str> {
        self.order.path_segments()?.rfind(|part| !part.is_empty())
    }
}
