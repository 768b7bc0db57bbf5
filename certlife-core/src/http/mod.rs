//! The one place that opens HTTP connections: what every vendor that speaks HTTP sends through.
//!
//! A vendor's request states its [`Operation`](crate::Operation), whether it may be sent twice and what
//! in it is secret. Retries, rate limits, size limits, redaction, credentials and the meaning of statuses
//! are handled here, once. What an error code in a body means is the vendor's business: it tells through
//! [`ClientBuilder::refine`].
//!
//! No redirect is followed, no environment variable is read by this code, and no address that a server
//! hands out is called unless its origin is on the client's list.

mod address;
mod client;
mod exchange;
mod limiter;
mod mask;
mod page;
mod request;
mod response;
mod retry;
mod settings;
mod sign;
mod status;
#[cfg(test)]
mod tests;
mod token;

pub use ::http::{HeaderMap, Method, StatusCode, header};

pub use client::{Client, ClientBuilder};
pub use exchange::FailedExchange;
pub use page::{Paged, Pages};
pub use request::Request;
pub use response::Response;
pub use settings::{BundledRoots, Settings, endpoint};
pub use sign::{PreparedRequest, Signer};
pub use status::{Answer, Refinement};
pub use token::{FetchToken, Token, TokenSource};
