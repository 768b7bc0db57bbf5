//! The certificate authorities of [certlife](https://docs.rs/certlife).
//!
//! | provider | feature | |
//! | --- | --- | --- |
//! | `acme` | `acme` | Let's Encrypt and any RFC 8555 server |
//! | `entrust` | `entrust` | Entrust Certificate Services (Enterprise API, version 2) |
//! | `private` | `private` | an embedded authority: root, intermediate, CRL |
//! | `sectigo` | `sectigo` | Sectigo Certificate Manager |
//! | `sslstore` | `sslstore` | The SSL Store: products of Sectigo, Symantec and DigiCert |
//!
//! Each keeps the contract of [`CertificateAuthority`](certlife_core::CertificateAuthority) and runs the same
//! conformance suite.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "acme")]
pub mod acme;
#[cfg(feature = "entrust")]
pub mod entrust;
#[cfg(feature = "private")]
pub mod private;
#[cfg(feature = "sectigo")]
pub mod sectigo;
#[cfg(feature = "sslstore")]
pub mod sslstore;

// What the tests of paid authorities share.
#[cfg(test)]
#[cfg(any(feature = "entrust", feature = "sectigo", feature = "sslstore"))]
mod outside;
#[cfg(test)]
#[cfg(any(feature = "entrust", feature = "sectigo", feature = "sslstore"))]
mod testing;

/// Registers every authority that is built in, under its name.
#[cfg_attr(
    not(feature = "http"),
    expect(unused_variables, reason = "without vendors there is nothing to add")
)]
pub fn register(registry: &mut certlife_core::Registry) {
    #[cfg(feature = "acme")]
    acme::register(registry);
    #[cfg(feature = "entrust")]
    entrust::register(registry);
    #[cfg(feature = "private")]
    private::register(registry);
    #[cfg(feature = "sectigo")]
    sectigo::register(registry);
    #[cfg(feature = "sslstore")]
    sslstore::register(registry);
}
