//! The DNS providers of [certlife](https://docs.rs/certlife).
//!
//! | provider | feature | |
//! | --- | --- | --- |
//! | [`manual`] | always on | a person makes the changes |
//! | `cloudflare` | `cloudflare` | Cloudflare DNS |
//! | `rfc2136` | `rfc2136` | dynamic update with TSIG: BIND, Knot and others |
//!
//! Each is a [`DnsProvider`](certlife_core::DnsProvider) with a builder for hosts that write Rust, and with
//! settings that deserialize and describe themselves for hosts that store them. What several of them need
//! stands here once, beside them: quoting, zone search, taking turns.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "cloudflare")]
#[cfg_attr(docsrs, doc(cfg(feature = "cloudflare")))]
pub mod cloudflare;
pub mod manual;
#[cfg(feature = "rfc2136")]
#[cfg_attr(docsrs, doc(cfg(feature = "rfc2136")))]
pub mod rfc2136;

#[cfg(feature = "rfc2136")]
mod serial;
#[cfg(any(feature = "cloudflare", feature = "rfc2136"))]
mod txt;
#[cfg(any(feature = "cloudflare", feature = "rfc2136"))]
mod zones;

use certlife_core::registry::Registry;

/// Registers every provider that is built in, under its name.
pub fn register(registry: &mut Registry) {
    registry.register_dns("manual", "By hand", |settings: manual::Settings, _| {
        manual::Manual::from_settings(settings)
    });
    #[cfg(feature = "cloudflare")]
    registry.register_dns("cloudflare", "Cloudflare DNS", |settings: cloudflare::Settings, context| {
        cloudflare::Cloudflare::from_settings(settings, context.clock.clone())
    });
    #[cfg(feature = "rfc2136")]
    registry.register_dns("rfc2136", "Dynamic update (RFC 2136)", |settings: rfc2136::Settings, context| {
        rfc2136::Rfc2136::from_settings(settings, context.clock.clone())
    });
}
