//! Which certificate a handshake gets.

use std::{fmt, sync::Arc};

use ::rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{ACME_TLS, Rustls};

pub(super) struct Resolver(pub(super) Rustls);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.0.read();
        // rustls gives the name in lower case.
        let name = hello.server_name();
        let mut protocols = hello.alpn().into_iter().flatten();
        if protocols.any(|protocol| protocol == ACME_TLS) {
            // A validator offers nothing else (RFC 8737 §3). Whoever does is none, and might be given
            // `acme-tls/1` all the same; neither certificate is right for both.
            let alone = hello.alpn().into_iter().flatten().count() == 1;
            return name.filter(|_| alone).and_then(|name| table.response(name));
        }
        table.pick(name, hello.signature_schemes())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resolver").field(&self.0).finish()
    }
}
