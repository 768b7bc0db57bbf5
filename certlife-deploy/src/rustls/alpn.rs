//! The certificate that answers a `tls-alpn-01` challenge (RFC 8737 §3, RFC 8738 §6).

use std::{fmt::Write as _, net::IpAddr, sync::Arc};

use ::rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use certlife_core::{ErrorKind, Identifier, Result, challenge::TlsAlpnResponse};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, SanType};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Makes the certificate, with a key that is used for nothing else.
pub(super) fn certify(
    response: &TlsAlpnResponse,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, ErrorKind> {
    let name = match &response.identifier {
        Identifier::Ip(address) => SanType::IpAddress(*address),
        Identifier::Dns(name) => SanType::DnsName(name.as_str().try_into().map_err(|_| ErrorKind::Crypto)?),
        // RFC 8737 §3: wildcards cannot be proven this way.
        other => return Err(ErrorKind::Unsupported(format!("tls-alpn-01 for {other}").into())),
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![name];
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&response.digest)];
    let key = KeyPair::generate().map_err(|_| ErrorKind::Crypto)?;
    let certificate = params.self_signed(&key).map_err(|_| ErrorKind::Crypto)?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider.key_provider.load_private_key(der).map_err(|_| ErrorKind::Crypto)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

/// The server name that a validator asks for: of an address, its name in reverse DNS (RFC 8738 §6).
pub(super) fn server_name(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Ip(IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Identifier::Ip(IpAddr::V6(address)) => {
            let mut name = String::with_capacity(72);
            for octet in address.octets().iter().rev() {
                // Writing to a string does not fail.
                let _ = write!(name, "{:x}.{:x}.", octet & 0xf, octet >> 4);
            }
            name.push_str("ip6.arpa");
            name
        }
        name => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_by_their_reverse_name() {
        let name = |text: &str| server_name(&text.parse().unwrap());
        assert_eq!(name("www.example.org"), "www.example.org");
        // RFC 8738 §6 and RFC 3596 §2.5.
        assert_eq!(name("192.0.2.10"), "10.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
