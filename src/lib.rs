//! Runs the whole life of TLS certificates in a program that embeds it: order, prove, issue, store, deploy, verify,
//! renew.
//!
//! The host names its accounts and targets, says which certificates it wants, and calls [`Engine::run`]. From
//! nothing to a renewed certificate, with what is built in:
//!
#![cfg_attr(all(feature = "private-ca", feature = "local", feature = "sqlite"), doc = "```")]
#![cfg_attr(not(all(feature = "private-ca", feature = "local", feature = "sqlite")), doc = "```ignore")]
//! use std::{sync::Arc, time::Duration};
//! use certlife::{ca::Private, deploy::Local, prelude::*, store::Sqlite};
//! # use certlife_testkit::clock::TravelClock;
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (home, passphrase) = (tempfile::tempdir()?, Secret::from("correct horse battery staple"));
//! # let clock = Arc::new(TravelClock::default());
//!
//! let store = Arc::new(Sqlite::builder(home.path().join("certlife.db")).open()?);
//! let ring = Arc::new(LocalKeyRing::from_passphrase(passphrase, PassphraseCost::default())?);
//! let builder = Engine::builder(store, ring).clock(clock.clone());
//! let ca = Private::builder(builder.vault("house".parse()?)).clock(clock.clone()).build()?;
//! let files = Local::builder(home.path().join("live")).build()?;
//! let engine = builder
//!     .ca("house".parse()?, Arc::new(ca), CaOptions::default())
//!     .target("files".parse()?, Arc::new(files), TargetOptions::default())
//!     .build().await?;
//!
//! let wish = CertificateSpec::new("www".parse()?, "house".parse()?)
//!     .identifiers(["www.example.com".parse()?]).deploy("files".parse()?);
//! engine.ensure(wish).await?;
//! engine.pass().await?; // Ordered, issued, checked, stored, deployed, confirmed.
//! clock.advance(Duration::from_hours(24 * 60));
//! engine.pass().await?; // Renewed, deployed, confirmed.
//! assert_eq!(engine.versions(&"www".parse()?, None).await?.items.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! A server calls [`Engine::run`] with its shutdown signal instead of [`pass`](Engine::pass), and leaves the clock
//! alone. `examples/` has this as a program (`quickstart`), a web server that serves its own certificate
//! (`embed_axum`), and a complete command-line program on stored settings (`cli`).
//!
//! # Accounts
//!
//! An account is one configured connection, under a name that the host chose: to a CA, to a DNS vendor, or to a
//! target. Each kind of provider has a builder for hosts that write Rust:
//!
#![cfg_attr(all(feature = "acme", feature = "rfc2136"), doc = "```")]
#![cfg_attr(not(all(feature = "acme", feature = "rfc2136")), doc = "```ignore")]
//! # use std::sync::Arc;
//! # use certlife::{EngineBuilder, ca::Acme, dns::rfc2136::Rfc2136, prelude::*};
//! # fn accounts(builder: EngineBuilder, tsig_key: Secret) -> Result<EngineBuilder, Box<dyn std::error::Error>> {
//! let le = Acme::builder("letsencrypt", builder.vault("le".parse()?)).terms_agreed(true).build()?;
//! let corp = Rfc2136::builder("192.0.2.53", "certlife.", tsig_key).build()?;
//! # Ok(
//! builder
//!     .ca("le".parse()?, Arc::new(le), CaOptions::default())
//!     .dns("corp".parse()?, Arc::new(corp), DnsOptions::default())
//! # )
//! # }
//! ```
//!
//! and settings for hosts that store them: [`registry()`] knows every kind that is built in, describes its settings
//! by a JSON Schema from which a form can be drawn, and builds the provider. Secrets are plain text in those
//! settings; where a host keeps them is its own affair.
//!
//! ```
//! # use certlife::{EngineBuilder, InputError, prelude::*};
//! # fn stored(builder: EngineBuilder) -> Result<EngineBuilder, InputError> {
//! let name: AccountName = "hand".parse()?;
//! let context = builder.context(name.clone());
//! let provider = certlife::registry().dns("manual", serde_json::json!({}), &context)?;
//! # Ok(
//! builder.dns(name, provider, DnsOptions::default())
//! # )
//! # }
//! ```
//!
//! Accounts can be added, replaced and removed while the engine runs ([`Engine::add_ca`] and its like), disabled
//! for every engine on the store ([`Engine::set_enabled`]) and tested ([`Engine::probe`]). What an account must
//! remember, such as its key at the CA, lives sealed in its [`Vault`].
//!
//! # Validation and routes
//!
//! A [`Route`](model::Route) says how control of an identifier is proven: a DNS record through a DNS account, a file
//! or a handshake through a target, or by hand. For each identifier the first of these counts: the certificate's own
//! route for it, the certificate's route for all, the longest domain mapping that matches
//! ([`Engine::set_mappings`]), the default of the CA account. A CNAME at `_acme-challenge` is followed, and the name it
//! leads to is looked up in the mappings, so that delegated zones need no configuration of their own.
//!
//! Before the CA is told, the record is seen at every authoritative server of its zone; see
//! [`Visibility`](lookup::Visibility) for other strategies. What a person has to publish is listed by
//! [`Engine::pending`] and waits for [`Engine::verify`].
//!
//! # Targets
//!
//! Issued is not done. A deployment is the pair certificate and target; it has its own retries, is verified by a
//! handshake with each address in [`TargetOptions::served_at`](engine::TargetOptions::served_at) or, after STARTTLS, in
//! [`served_after`](engine::TargetOptions::served_after), or by asking the target what it holds, and is rolled back if
//! the target does not confirm it. A failed deployment never orders again. A target in the host's own memory forgets
//! everything with the process, and gets it again when the engine starts.
//!
//! An end server that must not be reached from outside runs the program `certlife-agent`, which calls an `AgentHub` that
//! the host mounts, and does what its own configuration allows. A target that can may also make keys that never leave it
//! ([`KeySource::OnTarget`](model::KeySource::OnTarget)): the host then sees the signing request and nothing else.
//!
//! Which targets get a certificate is what it says itself, else what the longest domain mappings of its identifiers say,
//! else the default of the CA account. They get a new version all at once, one by one or in waves
//! ([`Rollout`](model::Rollout)); a failure holds the waves after it until [`Engine::continue_rollout`].
//!
//! Once a day targets are compared with what they should have. What is found otherwise is an event, and is put right or,
//! with [`OnDrift::Tell`](engine::OnDrift), left to people until [`Engine::redeploy`].
//!
//! # Forms of keys and certificates
//!
//! [`keystore`] writes a version in the [`Form`](keystore::Form) that a program wants, and reads what a host brings along:
//! PEM, DER, PKCS#7, encrypted PKCS#8, with the feature `pkcs12` PKCS#12 and with the feature `jks` the old key store of Java.
//! Targets take forms in their settings, [`Engine::export`] hands a version out in one, and [`Engine::adopt`] puts a
//! certificate that exists already under the engine's care.
//!
//! # Events and explanations
//!
//! Everything that happens is an [`Event`](model::Event) in one ordered feed, which outlives the process. A reader that
//! keeps the position misses nothing and sees nothing twice:
//!
//! ```
//! # use std::pin::pin;
//! # use certlife::prelude::*;
//! # use futures_util::StreamExt as _;
//! # async fn read(engine: Engine, position: u64) -> certlife::Result<()> {
//! let mut events = pin!(engine.events(position));
//! while let Some(event) = events.next().await {
//!     let event = event?;
//!     println!("{} {event}", event.position); // And keep the position.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Engine::explain`] answers "why is it not renewed?": the state of order, validations and deployments, the last error
//! in typed form, who has to act, when the next attempt is, and the whole in sentences. Every type that is shown
//! serializes, and only ever gains fields.
//!
//! # Crash safety
//!
//! The store holds what is about to be done before anything outside the process changes, and every step can be
//! repeated: after a crash at any instruction another pass ends in the same place. The key is stored before the order is
//! placed; an order whose answer was lost is looked for at the CA and, where that costs money, never placed a second
//! time by itself; what was published is in the order's record until it is removed. Any number of engines may share a
//! store: leases with fencing tokens see to it that a step runs once, and that a worker that lost its lease writes
//! nothing.
//!
//! # Writing a vendor
//!
//! A vendor implements [`CertificateAuthority`], [`DnsProvider`], [`Deployer`], [`Notifier`] or [`Store`] against the crate
//! `certlife-core`. The doc comment of each trait is a contract, and `certlife-testkit` has a conformance suite with a
//! test for each promise, to be run in one line. Vendors translate and do not decide: retrying, waiting, limits and
//! scheduling happen once, in the engine.
//!
//! # Vendors and features
//!
//! Each vendor is a feature, and a feature adds code and nothing else.
//!
//! | kind | what it is | feature | by default |
//! | --- | --- | --- | --- |
//! | `acme` | CA: Let's Encrypt and every other ACME server (RFC 8555) | `acme` | yes |
//! | `entrust` | CA: Entrust Certificate Services | `entrust` | |
//! | `private` | CA: embedded in the host, below its own root or an imported one | `private-ca` | yes |
//! | `sectigo` | CA: Sectigo Certificate Manager | `sectigo` | |
//! | `sslstore` | CA: The SSL Store, which sells Sectigo, Symantec and `DigiCert` | `sslstore` | |
//! | `azure` | DNS: Azure DNS | `azure` | |
//! | `cloudflare` | DNS: Cloudflare | `cloudflare` | |
//! | `cloudns` | DNS: `ClouDNS` | `cloudns` | |
//! | `dnsmadeeasy` | DNS: DNS Made Easy | `dnsmadeeasy` | |
//! | `godaddy` | DNS: `GoDaddy` | `godaddy` | |
//! | `rfc2136` | DNS: dynamic update with TSIG, as BIND, Knot and `PowerDNS` take it | `rfc2136` | |
//! | `route53` | DNS: Amazon Route 53 | `route53` | |
//! | `manual` | DNS: a person makes the changes | always there | yes |
//! | `agent` | target: an end server that calls the host, by the program `certlife-agent` | `agent` | |
//! | `local` | target: files of this machine | `local` | yes |
//! | `rustls` | target: the host's own TLS server | `rustls` | yes |
//! | `ssh` | target: Unix machines over SSH; RSA keys there with `ssh-rsa` | `ssh` | |
//! | `windows` | target: certificate store and IIS of a Windows machine, over SSH or on it | `windows` | |
//! | `memory` | store: gone with the process | always there | yes |
//! | `sqlite` | store: one file | `sqlite` | yes |
//!
//! There is one TLS stack, rustls, with one crypto backend, aws-lc-rs, in every combination.
#![cfg_attr(docsrs, feature(doc_cfg))]

/// Certificate authorities: the contract, what travels through it, and the vendors that are built in.
pub mod ca {
    #[cfg(feature = "acme")]
    #[doc(no_inline)]
    pub use certlife_ca::acme::Acme;
    #[cfg(feature = "private-ca")]
    #[doc(no_inline)]
    pub use certlife_ca::private::Private;
    #[doc(inline)]
    pub use certlife_ca::*;
    #[doc(inline)]
    pub use certlife_core::ca::*;
}

/// DNS providers: the contract, what travels through it, and the vendors that are built in.
pub mod dns {
    #[doc(inline)]
    pub use certlife_core::dns::*;
    #[doc(inline)]
    pub use certlife_dns::*;
}

/// Targets: the contract, what travels through it, and the deployers that are built in.
pub mod deploy {
    #[doc(inline)]
    pub use certlife_core::deploy::*;
    #[doc(inline)]
    pub use certlife_deploy::*;
}

/// Stores: the contract, what travels through it, and the stores that are built in.
pub mod store {
    #[doc(inline)]
    pub use certlife_core::store::*;
    #[doc(inline)]
    pub use certlife_store::*;
}

#[doc(inline)]
pub use certlife_core::{
    account, challenge, csr, engine, error, id, input, key, keystore, lookup, model, name, notify, registry,
    seal, secret, text, time, tls, vault, x509,
};

#[cfg(feature = "http")]
#[doc(inline)]
pub use certlife_core::http;

pub use certlife_core::{
    AccountName, AccountSummary, BuildContext, CertificateAuthority, CertificateId, CertificateInfo, Chain,
    Clock, Csr, CsrTemplate, Deployer, DnsLookup, DnsName, DnsProvider, Engine, EngineBuilder, Error,
    ErrorKind, Failure, Fingerprint, Fqdn, Identifier, InputError, KeyAlgorithm, KeyHash, KeyId, KeyRing,
    Keystore, LocalKeyRing, Lookup, Notifier, Operation, OrderId, Party, PrivateKey, ProviderName, Registry,
    Result, Retry, RevocationReason, Sealed, Sealer, Secret, SecretBytes, Store, SystemClock, Timestamp,
    Vault, VendorText, VersionId, WorkerId, async_trait,
};

/// What most hosts need: `use certlife::prelude::*`.
pub mod prelude {
    #[doc(no_inline)]
    pub use crate::{
        AccountName, BuildContext, CertificateId, Clock, Engine, Fqdn, Identifier, KeyAlgorithm,
        LocalKeyRing, Secret, SystemClock, Timestamp,
        engine::{CaOptions, DnsOptions, OnDrift, TargetOptions},
        model::{
            AccountPolicy, CertificateSpec, CertificateStatus, DomainMapping, Event, EventKind, KeyPolicy,
            RenewalPolicy, Rollout, Route,
        },
        seal::PassphraseCost,
        store::MemoryStore,
    };
}

/// Every kind of provider that is built in, ready to build accounts from stored settings.
///
/// The host's own process as a target ([`deploy::rustls`](deploy)) and the hub of its agents ([`deploy::agent`](deploy)) are
/// not among them: they are handed over as they are.
pub fn registry() -> Registry {
    let mut registry = Registry::new();
    ca::register(&mut registry);
    dns::register(&mut registry);
    deploy::register(&mut registry);
    store::register(&mut registry);
    registry
}
