//! What the vendors of [certlife](https://docs.rs/certlife) build against, and the engine that drives them.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod account;
pub mod ca;
pub mod challenge;
pub mod csr;
pub mod deploy;
mod digest;
pub mod dns;
pub mod engine;
mod entropy;
pub mod error;
#[cfg(feature = "http")]
pub mod http;
pub mod id;
pub mod input;
mod journal;
pub mod key;
pub mod keystore;
#[cfg(all(test, any(feature = "jks", feature = "pkcs12")))]
mod keytool;
pub mod lookup;
pub mod model;
pub mod name;
pub mod notify;
#[cfg(test)]
mod openssl;
mod pem;
pub mod registry;
pub mod seal;
pub mod secret;
pub mod store;
pub mod text;
pub mod time;
pub mod tls;
pub mod vault;
pub mod x509;

pub use account::AccountSummary;
pub use async_trait::async_trait;
pub use ca::CertificateAuthority;
pub use csr::{Csr, CsrTemplate};
pub use deploy::Deployer;
pub use digest::{Fingerprint, KeyHash};
pub use dns::DnsProvider;
pub use engine::{Engine, EngineBuilder};
pub use error::{Error, ErrorKind, Failure, Operation, Party, ProviderName, Result, Retry};
pub use id::{AccountName, CertificateId, KeyId, OrderId, VersionId, WorkerId};
pub use input::InputError;
pub use key::{KeyAlgorithm, PrivateKey};
pub use keystore::Keystore;
pub use lookup::{DnsLookup, Lookup};
pub use name::{DnsName, Fqdn, Identifier};
pub use notify::Notifier;
pub use registry::{BuildContext, Registry};
pub use seal::{KeyRing, LocalKeyRing, Sealed, Sealer};
pub use secret::{Secret, SecretBytes};
pub use store::Store;
pub use text::VendorText;
pub use time::{Clock, SystemClock, Timestamp};
pub use vault::Vault;
pub use x509::{CertificateInfo, Chain, RevocationReason};
