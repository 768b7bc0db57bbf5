//! The DNS providers of [certlife](https://docs.rs/certlife).
//!
//! | provider | feature | |
//! | --- | --- | --- |
//! | [`manual`] | always on | a person makes the changes |
//! | `azure` | `azure` | Azure DNS |
//! | `cloudflare` | `cloudflare` | Cloudflare DNS |
//! | `cloudns` | `cloudns` | ClouDNS |
//! | `dnsmadeeasy` | `dnsmadeeasy` | DNS Made Easy |
//! | `godaddy` | `godaddy` | GoDaddy |
//! | `rfc2136` | `rfc2136` | dynamic update with TSIG: BIND, Knot and others |
//! | `route53` | `route53` | Amazon Route 53 |
//!
//! Each is a [`DnsProvider`](certlife_core::DnsProvider) with a builder for hosts that write Rust, and with
//! settings that deserialize and describe themselves for hosts that store them. What several of them need
//! stands here once, beside them: quoting, zone search, taking turns.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "azure")]
pub mod azure;
#[cfg(feature = "cloudflare")]
pub mod cloudflare;
#[cfg(feature = "cloudns")]
pub mod cloudns;
#[cfg(feature = "dnsmadeeasy")]
pub mod dnsmadeeasy;
#[cfg(feature = "godaddy")]
pub mod godaddy;
pub mod manual;
#[cfg(feature = "rfc2136")]
pub mod rfc2136;
#[cfg(feature = "route53")]
pub mod route53;

// What several vendors need.
#[cfg(feature = "http")]
#[allow(dead_code, reason = "the vendors that use it may be left out")]
mod pause;
#[cfg(any(feature = "http", feature = "rfc2136"))]
#[allow(dead_code, reason = "the vendors that use it may be left out")]
mod serial;
#[cfg(feature = "http")]
#[allow(dead_code, reason = "the vendors that use it may be left out")]
mod settings;
#[cfg(any(feature = "http", feature = "rfc2136"))]
#[allow(dead_code, reason = "the vendors that use it may be left out")]
mod txt;
#[cfg(any(feature = "http", feature = "rfc2136"))]
#[allow(dead_code, reason = "the vendors that use it may be left out")]
mod zones;

use certlife_core::registry::Registry;

/// Registers every provider that is built in, under its name.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "azure")]
    azure::register(registry);
    #[cfg(feature = "cloudflare")]
    cloudflare::register(registry);
    #[cfg(feature = "cloudns")]
    cloudns::register(registry);
    #[cfg(feature = "dnsmadeeasy")]
    dnsmadeeasy::register(registry);
    #[cfg(feature = "godaddy")]
    godaddy::register(registry);
    manual::register(registry);
    #[cfg(feature = "rfc2136")]
    rfc2136::register(registry);
    #[cfg(feature = "route53")]
    route53::register(registry);
}
