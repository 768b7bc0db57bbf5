//! What is written reads back, what is missing is said, and no bytes do harm.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn opens(bytes: &[u8]) -> Contents {
    read(bytes, Some(&secret(PASSWORD))).unwrap()
}

#[test]
fn what_is_written_reads_back_in_every_form_with_every_key() {
    for algorithm in KeyAlgorithm::ALL {
        let sample = Sample::new(*algorithm);
        for settings in whole_forms() {
            let form = form(settings.clone());
            let found = opens(&sample.encode(&form));
            assert_eq!(found.key.as_ref(), Some(sample.key()), "{algorithm}: {settings}");
            assert_eq!(ders(found.chain.as_ref().unwrap()), ders(sample.chain()));
            assert_eq!((found.missing.len(), found.dropped.len()), (0, 0));
            let named = settings["format"] != "pem";
            let wanted =
                settings["friendly_name"].as_str().or(settings["alias"].as_str()).unwrap_or("example.com");
            assert_eq!(found.name.as_ref().map(FriendlyName::as_str), named.then_some(wanted));
            assert_eq!(found.into_keystore().unwrap().key(), Some(sample.key()));
        }
        for key in ["pkcs8", "traditional"] {
            if key == "pkcs8" || *algorithm != KeyAlgorithm::Ed25519 {
                let form = form(json!({ "format": "pem", "contents": "full-chain-and-key", "key": key }));
                assert_eq!(opens(&sample.encode(&form)).key.as_ref(), Some(sample.key()));
            }
        }
    }
}

#[test]
fn a_file_is_known_again_under_its_settings_and_no_others() {
    let (sample, other) = (Sample::new(KeyAlgorithm::EcdsaP256), Sample::new(KeyAlgorithm::EcdsaP256));
    let mut forms = whole_forms();
    forms.extend([
        json!({ "format": "der", "contents": "key", "password": PASSWORD }),
        json!({ "format": "der", "contents": "key" }),
        json!({ "format": "der", "contents": "certificate" }),
        json!({ "format": "pkcs7", "encoding": "der" }),
        json!({ "format": "pem", "contents": "root-first" }),
        #[cfg(feature = "pkcs12")]
        json!({ "format": "pkcs12", "password": PASSWORD, "friendly_name": "another" }),
        #[cfg(feature = "pkcs12")]
        json!({ "format": "pkcs12", "password": "another" }),
    ]);
    let written: Vec<_> = forms.iter().map(|settings| sample.encode(&form(settings.clone()))).collect();
    for (place, bytes) in written.iter().enumerate() {
        for (other_place, settings) in forms.iter().enumerate() {
            let form = form(settings.clone());
            let same = sample.keystore.is_written_in(bytes, &form);
            assert_eq!(same, place == other_place, "{} as {settings}", forms[place]);
            assert!(!other.keystore.is_written_in(bytes, &form), "{settings}");
        }
    }
}

#[test]
fn what_is_missing_is_said() {
    let sample = Sample::new(KeyAlgorithm::EcdsaP256);
    let pem = |contents: &str| sample.text(&form(json!({ "format": "pem", "contents": contents })));
    let root = pem::encode("CERTIFICATE", &sample.root);
    let issuer = Missing::Issuer("CN=intermediate".into());
    for (text, missing, dropped) in [
        (pem("key-and-full-chain"), vec![], 0),
        (format!("junk\r\n{}{root}more", pem("root-first")), vec![Missing::Key], 1),
        (pem("certificate"), vec![Missing::Key, issuer.clone()], 0),
        (format!("{}{}", pem("certificate"), pem("key")), vec![issuer.clone()], 0),
        // The root of another is no issuer, and no obstacle.
        (format!("{root}{}{}", pem("key"), pem("certificate")), vec![issuer], 1),
        (pem("key"), vec![Missing::Certificate], 0),
        (format!("{0}{0}{1}", pem("key"), pem("full-chain")), vec![], 0),
    ] {
        let found = read(text.as_bytes(), None).unwrap();
        assert_eq!((found.missing, found.dropped.len()), (missing, dropped), "{text}");
    }
    assert_eq!(Missing::Issuer("CN=a".into()).to_string(), "the certificate of the issuer CN=a");

    let der = sample.encode(&form(json!({ "format": "der", "contents": "certificate" })));
    assert_eq!(read(&der, None).unwrap().format, Format::DerCertificate);
    let der = sample.encode(&form(json!({ "format": "der", "contents": "key" })));
    let found = read(&der, None).unwrap();
    assert_eq!(found.format, Format::DerKey);
    assert!(found.into_keystore().unwrap_err().to_string().contains("no certificate"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let (sample, other) = (Sample::new(KeyAlgorithm::EcdsaP256), Sample::new(KeyAlgorithm::EcdsaP256));
    let pem = |sample: &Sample, contents: &str| {
        sample.text(&form(json!({ "format": "pem", "contents": contents })))
    };
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAQID\n-----END CERTIFICATE REQUEST-----\n";
    let open_forever = [&[0x30, 0x80, 0x06, 0x01, 0x2a][..], &[0x30, 0x80].repeat(100)].concat();
    for (bytes, rule) in [
        (format!("{}{}", pem(&sample, "key"), pem(&other, "key")).into_bytes(), "several private keys"),
        (
            format!("{}{}", pem(&sample, "key"), pem(&other, "full-chain")).into_bytes(),
            "none of its certificates",
        ),
        (request.into(), "neither certificate nor private key"),
        (b"-----BEGIN CERTIFICATE-----\n".to_vec(), "no end"),
        (b"hello".to_vec(), "known are PEM, DER, PKCS#7, PKCS#12 and JKS"),
        (vec![], "known are PEM"),
        (vec![0x30, 0x03, 0x04, 0x01, 0x00], "another kind than key or certificate"),
        (vec![b'a'; 1_024 * 1_024 + 1], "larger than 1 MiB"),
        (open_forever, "PKCS#7 structure is broken"),
        (root_heap(31).into_bytes(), "more than 30 certificates"),
    ] {
        let refused = read(&bytes, None).unwrap_err();
        assert!(refused.to_string().contains(rule), "{refused} should say {rule}");
        assert!(matches!(refused, InputError::Keystore { .. }), "{refused:?}");
    }
}

fn root_heap(count: usize) -> String {
    let root = pem::encode("CERTIFICATE", &Sample::new(KeyAlgorithm::EcdsaP256).root);
    root.repeat(count)
}

#[cfg(feature = "pkcs12")]
#[test]
fn pkcs12_with_open_lengths_is_read() {
    // As Firefox writes it: every constructed element open, and the outer octet string in pieces.
    let sample = Sample::new(KeyAlgorithm::EcdsaP256);
    let der = sample.encode(&form(json!({ "format": "pkcs12", "password": PASSWORD })));
    let mut pfx = crate::x509::elements(&der).unwrap();
    let mut part = || der::Reader::tlv_bytes(&mut pfx).unwrap().to_vec();
    let (version, content, mac) = (part(), part(), part());
    let mut info = crate::x509::elements(&content).unwrap();
    let kind = der::Reader::tlv_bytes(&mut info).unwrap();
    let explicit: der::asn1::AnyRef<'_> = der::Reader::decode(&mut info).unwrap();
    let octets: &der::asn1::OctetStringRef = der::Decode::from_der(explicit.value()).unwrap();
    let open = |tag: u8, parts: &[&[u8]]| [&[tag, 0x80], &parts.concat()[..], &[0, 0]].concat();
    let pieces: Vec<_> = octets.as_bytes().chunks(100).map(|piece| tlv::octets(piece).to_vec()).collect();
    let pieces = open(0x24, &pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let ber = open(0x30, &[&version, &open(0x30, &[kind, &open(0xa0, &[&pieces])]), &mac]);
    let found = opens(&ber);
    assert_eq!(found.key.as_ref(), Some(sample.key()));
    assert_eq!(ders(&found.chain.unwrap()), ders(sample.chain()));
}

#[cfg(feature = "jks")]
#[test]
fn jks_that_lies_about_its_lengths_is_refused() {
    let store = |body: &[u8]| {
        let password: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
        for part in [&password, &b"Mighty Aphrodite"[..], body] {
            context.update(part);
        }
        [body, context.finish().as_ref()].concat()
    };
    let head = [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];
    for (body, rule) in [
        (vec![0xff; 4], "ends in the middle"),
        ([&[0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff][..], b"alias"].concat(), "ends in the middle"),
        (
            [&[0, 0, 0, 1, 0, 0, 0, 2, 0, 1, b'a'][..], &[0; 8], &[0, 5], b"X.509", &[0xff; 4]].concat(),
            "in the middle",
        ),
        ([&[0, 0, 0, 1, 0, 0, 0, 3, 0, 1, b'a'][..], &[0; 8]].concat(), "entry of kind 3"),
        (vec![0; 4], "neither certificate nor private key"),
    ] {
        let bytes = store(&[&head[..], &body].concat());
        let refused = read(&bytes, Some(&secret(PASSWORD))).unwrap_err().to_string();
        assert!(refused.contains(rule), "{refused} should say {rule}");
    }
    let wrong = read(&store(&head), Some(&secret("another"))).unwrap_err();
    assert!(matches!(wrong, InputError::Password { .. }), "{wrong}");
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes, Some(&secret(PASSWORD)));
    }
}

/// Files with a byte changed anywhere are read or refused, never anything else.
#[test]
fn any_change_is_survived() {
    let sample = Sample::new(KeyAlgorithm::Ed25519);
    // The cheap ones; PBKDF2 would take minutes. The MAC is what changes meet first, so one form has none.
    let mut files = vec![
        sample.encode(&form(json!({ "format": "pem", "contents": "key-and-full-chain" }))),
        sample.encode(&form(json!({ "format": "pkcs7", "encoding": "der" }))),
    ];
    #[cfg(feature = "jks")]
    files.push(sample.encode(&form(json!({ "format": "jks", "password": PASSWORD }))));
    #[cfg(feature = "pkcs12")]
    {
        let all = crate::openssl::Files::new();
        let path = all.put("all.pem", &files[0]);
        files.push(crate::openssl::openssl(
            &[
                "pkcs12",
                "-export",
                "-in",
                &path,
                "-passout",
                "pass:correct horse",
                "-nomac",
                "-certpbe",
                "NONE",
                "-keypbe",
                "NONE",
            ],
            b"",
        ));
    }
    for file in files {
        for place in 0..file.len() {
            for change in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[place] ^= change;
                let _ = read(&changed, Some(&secret(PASSWORD)));
            }
            let _ = read(&file[..place], Some(&secret(PASSWORD)));
        }
    }
}
