//! Parsers that are called directly.

use std::fmt::Debug;

use certlife_core::{
    CertificateInfo, Chain, Csr, DnsName, Fqdn, Identifier, PrivateKey, Sealed, Secret, SecretBytes,
    Timestamp, VendorText,
    challenge::{ChallengeResponse, HttpBody, HttpPath},
    dns::RecordHandle,
    engine::Explanation,
    keystore::{self, Form, PemContents},
    lookup::Visibility,
    model::{Certificate, CertificateSpec, Deployment, Event, Order, Version},
    x509::{ChainOptions, ari_certificate_id},
};
use serde::{Serialize, de::DeserializeOwned};

/// A certificate in DER: what is shown of it, and its id for renewal information (RFC 9773 §4.1).
pub fn certificate(data: &[u8]) -> bool {
    let info = CertificateInfo::read(data);
    if let Ok(info) = &info {
        again(info);
    }
    if let Ok(id) = ari_certificate_id(data) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(id.bytes().all(plain) && id.matches('.').count() == 1, "{id:?} does not fit into a URL");
    }
    info.is_ok()
}

/// Certificates in PEM: a chain, or a heap to be put in order.
pub fn chain(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let sorted = ChainOptions::default().keep_root(true).drop_unrelated(true).from_pem(&text);
    each([Chain::from_pem(&text), sorted.map(|assembled| assembled.chain)], |chain| {
        assert!(chain.certificates().count() <= Chain::MAX_CERTIFICATES);
        let read = ChainOptions::default().keep_root(true).from_pem(&chain.pem());
        assert_eq!(read.unwrap().chain, chain);
        let _ = chain.info();
    })
}

/// A certificate signing request, in DER and PEM.
pub fn csr(data: &[u8]) -> bool {
    each([Csr::from_der(data), Csr::from_pem(&String::from_utf8_lossy(data))], |csr| {
        assert_eq!(Csr::from_pem(&csr.pem()).unwrap(), csr);
        if let Ok(names) = csr.identifiers() {
            names.iter().for_each(is_identifier);
        }
        let _ = (csr.key_algorithm(), csr.subject(), csr.must_staple(), csr.public_key_hash());
    })
}

/// A private key, in DER and PEM.
pub fn private_key(data: &[u8]) -> bool {
    let text = Secret::new(String::from_utf8_lossy(data));
    let der = SecretBytes::new(data.to_vec());
    each([PrivateKey::from_der(&der), PrivateKey::from_pem(&text)], |key| {
        let again = PrivateKey::from_der(&key.to_pkcs8_der().unwrap()).unwrap();
        assert_eq!(again.public_key_hash(), key.public_key_hash());
    })
}

/// What the files of the seeds are encrypted with.
pub const PASSWORD: &str = "correct horse";

/// A file with certificates and a key in any form.
pub fn keystore(data: &[u8]) -> bool {
    each([keystore::read(data, Some(&Secret::new(PASSWORD)))], |found| {
        assert!(found.chain.is_some() || found.key.is_some());
        let Ok(store) = found.into_keystore() else { return };
        let contents =
            if store.key().is_some() { PemContents::KeyAndFullChain } else { PemContents::FullChain };
        let form = Form::pem(contents);
        let written = store.encode(&form).unwrap();
        assert!(store.is_written_in(written.expose(), &form));
        assert_eq!(keystore::read(written.expose(), None).unwrap().key.as_ref(), store.key());
    })
}

/// Names of every kind.
pub fn name(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let is_name = each([text.parse::<DnsName>()], |name| {
        assert!(!name.as_str().contains('_'));
        is_owner_name(&name.to_fqdn());
        let _ = name.to_unicode();
    });
    let is_owner = each([text.parse::<Fqdn>()], |name| {
        is_owner_name(&name);
        assert!(name.ancestors().all(|zone| name.is_within(&zone) && name.relative_to(&zone).is_some()));
    });
    each([text.parse()], |identifier| is_identifier(&identifier)) || is_name || is_owner
}

fn is_identifier(identifier: &Identifier) {
    assert_eq!(identifier.to_string().parse::<Identifier>().as_ref(), Ok(identifier));
    if let Some(base) = identifier.base_name() {
        is_owner_name(&base.to_fqdn());
    }
}

fn is_owner_name(name: &Fqdn) {
    assert!((1..=253).contains(&name.as_str().len()));
    assert!(name.labels().all(|label| (1..=63).contains(&label.len())));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    assert!(name.as_str().bytes().all(plain), "{name}");
    assert_eq!(name.as_str().parse::<Fqdn>().as_ref(), Ok(name));
}

/// The path and the content of a challenge file, and a token that becomes a path.
pub fn challenge_file(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let is_path = each([HttpPath::new(&text), HttpPath::acme(&text)], |path| {
        let mut segments = path.segments();
        assert_eq!(segments.next(), Some(".well-known"));
        assert!(segments.all(|segment| !segment.is_empty() && !segment.starts_with('.')), "{path}");
        assert!(!path.as_str().contains(['\\', '%', '\0', ':']), "{path}");
        again(&path);
    });
    let is_body = each([HttpBody::new(text)], |body| {
        assert!(!body.as_str().contains(['<', '>', '\0', '\u{1b}']) && body.as_str().len() <= 4_096);
        again(&body);
    });
    is_path || is_body
}

/// Words of a vendor, and moments as text. Words are made safe whatever they are; moments are accepted or not.
pub fn text(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let words = VendorText::new(&text);
    assert!(words.as_str().chars().count() <= VendorText::MAX + 1);
    assert!(!words.as_str().contains(char::is_control), "{words:?}");
    assert_eq!(words.as_str(), words.as_str().trim());
    again(&words);
    each([Timestamp::parse(&text)], |moment| {
        assert_eq!(Timestamp::parse(&moment.to_string()).as_ref(), Ok(&moment));
    })
}

/// What a store gives back, as every type that is kept as JSON.
pub fn record(data: &[u8]) -> bool {
    let read = [
        json::<Certificate>(data),
        json::<CertificateSpec>(data),
        json::<Order>(data),
        json::<Version>(data),
        json::<Deployment>(data),
        json::<Event>(data),
        json::<Explanation>(data),
        json::<ChallengeResponse>(data),
        json::<RecordHandle>(data),
        json::<Visibility>(data),
        serde_json::from_slice::<Sealed>(data).is_ok(),
    ];
    read.contains(&true)
}

fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> bool {
    each([serde_json::from_slice::<T>(data)], |value| again(&value))
}

/// Looks at what was accepted; returns whether anything was.
fn each<T, E, const N: usize>(read: [Result<T, E>; N], look: impl FnMut(T)) -> bool {
    let accepted = read.iter().any(Result::is_ok);
    read.into_iter().flatten().for_each(look);
    accepted
}

/// What was read once is written and read to the same value.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).as_ref().ok(), Some(value), "{text}");
}
