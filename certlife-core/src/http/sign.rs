//! Signs requests, anew on each attempt, since signatures carry a time or a nonce.

use std::fmt;

use ::http::{HeaderMap, Method};
use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

use super::{
    address,
    mask::Mask,
    request::{header_value, secret_header_value},
};
use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    input::InputError,
    secret::Secret,
    time::Timestamp,
};

/// Adds to a request what proves where it comes from: a signature, a nonce, a digest.
///
/// # Contract
///
/// * **Each attempt.** It is called for every attempt, so that a retry carries a fresh time and nonce.
/// * **Last.** Everything else is in place: URL, query, headers (except those that the connection adds,
///   such as `host` and `content-length`), credentials and body.
/// * **Elsewhere.** It must not send through the client that it signs for, which may be at its limit of
///   concurrent requests.
///
/// # Errors
///
/// Whatever it returns ends the call; nothing was sent in this attempt.
#[async_trait]
pub trait Signer: fmt::Debug + Send + Sync + 'static {
    /// Signs `request`.
    async fn sign(&self, request: &mut PreparedRequest) -> Result<()>;
}

/// A request just before one attempt to send it.
pub struct PreparedRequest {
    pub(super) provider: ProviderName,
    pub(super) operation: Operation,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) attempt: u32,
    pub(super) now: Timestamp,
    pub(super) mask: Mask,
}

impl PreparedRequest {
    /// What the request is for.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URL with its query.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The headers so far.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time of the attempt, by the client's clock.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds a query parameter.
    pub fn query(&mut self, name: &str, value: &str) -> &mut Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Sets a header, in place of any of that name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] if name or value cannot be sent.
    pub fn header(&mut self, name: &str, value: &str) -> Result<&mut Self> {
        let (name, value) = header_value(name, value).map_err(|input| self.refuse(input))?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Sets a header whose value is secret: masked wherever it is echoed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] if name or value cannot be sent.
    pub fn secret_header(&mut self, name: &str, value: &Secret) -> Result<&mut Self> {
        let (name, header) = secret_header_value(name, value).map_err(|input| self.refuse(input))?;
        self.headers.insert(name, header);
        self.mask.hide(value);
        Ok(self)
    }

    /// Replaces the body, such as by one that is signed together with a nonce.
    pub fn set_body(&mut self, body: impl Into<Bytes>) -> &mut Self {
        self.body = body.into();
        self
    }

    fn refuse(&self, input: InputError) -> Error {
        Error::new(self.provider.clone(), self.operation, ErrorKind::Input(input))
    }
}

impl fmt::Debug for PreparedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedRequest")
            .field("method", &self.method)
            .field("url", &address::redacted(&self.url))
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
