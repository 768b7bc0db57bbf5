//! Logins, settings and options.

use super::*;

/// A certificate and its key in PEM.
pub(super) fn identity() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().pem() + &key.serialize_pem()
}
