//! Certificates by the dozen: wished for, worked on until all are there.

#![allow(dead_code, reason = "each bench is a program of its own and uses its part")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot set up has nothing to measure")]

use std::{sync::Arc, time::Duration};

use certlife_core::{
    CertificateId, CsrTemplate, Engine, Identifier, KeyAlgorithm, KeyRing, LocalKeyRing, PrivateKey,
    SecretBytes,
    model::{CertificateSpec, KeyPolicy, Route},
};

use super::timed;

/// The name that certificate `number` is for.
pub(crate) fn host(number: usize) -> String {
    format!("host{number}.example.com")
}

/// A wish for certificate `number` from the account `ca`.
pub(crate) fn wish(number: usize, algorithm: KeyAlgorithm) -> CertificateSpec {
    let id: CertificateId = format!("c{number}").parse().unwrap();
    let name: Identifier = host(number).parse().unwrap();
    CertificateSpec::new(id, "ca".parse().unwrap())
        .identifiers([name])
        .key(KeyPolicy { algorithm: Some(algorithm), ..KeyPolicy::default() })
}

/// As [`wish`], proven by a file on the target `web`.
pub(crate) fn wish_by_http(number: usize, algorithm: KeyAlgorithm) -> CertificateSpec {
    wish(number, algorithm).validate(Route::Http("web".parse().unwrap()))
}

/// A key ring that costs nothing to open.
pub(crate) fn ring() -> Arc<dyn KeyRing> {
    Arc::new(LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap())
}

/// Says whether certificates `0..count` all have a version.
pub(crate) async fn all_issued(engine: &Engine, count: usize) -> bool {
    for number in 0..count {
        let id: CertificateId = format!("c{number}").parse().unwrap();
        if engine.certificate(&id).await.unwrap().current.is_none() {
            return false;
        }
    }
    true
}

/// What no client gets around: making a key and signing a request with it.
pub(crate) fn floor(algorithm: KeyAlgorithm, rounds: usize) -> Duration {
    let template = CsrTemplate::new([host(0).parse::<Identifier>().unwrap()]);
    timed(rounds, || drop(template.sign(&PrivateKey::generate(algorithm).unwrap()).unwrap()))
}
