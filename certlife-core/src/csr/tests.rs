use der::{
    Encode as _,
    asn1::{Any, BitString, Ia5String, OctetString, SetOfVec},
};
use pkcs8::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use proptest::prelude::*;
use x509_cert::{
    attr::Attribute,
    ext::pkix::{SubjectAltName, name::GeneralName},
    request::{CertReq, CertReqInfo, Version},
};

use super::*;
use crate::openssl::{Files, openssl, openssl_text};

fn identifiers(names: &[&str]) -> BTreeSet<Identifier> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn template(names: &[&str]) -> CsrTemplate {
    CsrTemplate::new(identifiers(names))
}

fn refusal<T: fmt::Debug>(outcome: Result<T, InputError>) -> String {
    let refused = outcome.unwrap_err();
    assert!(matches!(refused, InputError::Csr { .. }), "{refused:?}");
    refused.to_string()
}

#[test]
fn openssl_verifies_and_understands_a_request_of_every_algorithm() {
    let mut template =
        template(&["example.com", "*.example.com", "192.0.2.1", "2001:db8::1", "bücher.example"]);
    template.common_name = Some("www.example.com".parse().unwrap());
    template.must_staple = true;
    template.subject = vec![
        SubjectAttribute::Country("de".into()),
        SubjectAttribute::StateOrProvince("Bayern".into()),
        SubjectAttribute::Locality("München".into()),
        SubjectAttribute::Organization("Müller & Söhne".into()),
        SubjectAttribute::OrganizationalUnit("first".into()),
        SubjectAttribute::OrganizationalUnit("second".into()),
    ];
    for algorithm in KeyAlgorithm::ALL {
        let key = PrivateKey::generate(*algorithm).unwrap();
        let csr = template.sign(&key).unwrap();
        let arguments = ["req", "-verify", "-noout", "-text", "-nameopt", "RFC2253,utf8,-esc_msb"];
        let text = openssl_text(&arguments, csr.pem().as_bytes());
        for part in [
            "Subject: CN=www.example.com,OU=second,OU=first,O=Müller & Söhne,L=München,ST=Bayern,C=DE",
            "DNS:example.com, DNS:www.example.com",
            "DNS:*.example.com",
            "DNS:xn--bcher-kva.example",
            "IP Address:192.0.2.1",
            "IP Address:2001:DB8:0:0:0:0:0:1",
            "TLS Feature",
            "status_request",
        ] {
            assert!(text.contains(part), "{algorithm}: {part} is missing in {text}");
        }
        assert_eq!(csr.key_algorithm(), Some(*algorithm));
        assert_eq!(csr.public_key_hash(), key.public_key_hash());
        assert!(csr.must_staple());
        let mut wanted = template.identifiers.clone();
        wanted.extend(template.common_name.clone());
        csr.check_against(&wanted, Some(&key)).unwrap();
    }
}

#[test]
fn a_request_without_a_subject_marks_its_names_critical() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = template(&["example.com"]).sign(&key).unwrap();
    let text = openssl_text(&["req", "-noout", "-text"], csr.pem().as_bytes());
    assert!(text.contains("Subject Alternative Name: critical") && !text.contains("TLS Feature"), "{text}");
    assert!(csr.subject().is_empty() && !csr.must_staple());
}

#[test]
fn bad_templates_are_refused_with_the_field() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let message = |template: &CsrTemplate| template.sign(&key).unwrap_err().to_string();
    assert!(message(&CsrTemplate::default()).contains("at least one identifier"));
    let mut long = template(&["example.com"]);
    long.common_name = Some(format!("{}.example.com", "a".repeat(60)).parse().unwrap());
    assert!(message(&long).contains("common_name has 1 to 64"));
    for (attribute, rule) in [
        (SubjectAttribute::Country("Germany".into()), "two letters"),
        (SubjectAttribute::Country("1é".into()), "two letters"),
        (SubjectAttribute::Organization(" ".into()), "organization has 1 to 64"),
        (SubjectAttribute::Organization("a\nb".into()), "organization has 1 to 64"),
        (SubjectAttribute::Locality("x".repeat(129)), "locality has 1 to 128"),
    ] {
        let mut template = template(&["example.com"]);
        template.subject = vec![attribute];
        assert!(message(&template).contains(rule), "{rule}");
    }
}

/// Makes a request with `openssl req` for a key from `genpkey` arguments.
fn foreign(key: &[&str], request: &[&str]) -> Result<Csr, InputError> {
    let files = Files::new();
    let key = files.put("key.pem", openssl(key, b""));
    let fixed = [
        "req",
        "-new",
        "-key",
        &key,
        "-subj",
        "/CN=example.com",
        "-addext",
        "subjectAltName=DNS:www.example.com",
    ];
    let text = openssl_text(&[&fixed[..], request].concat(), b"");
    Csr::from_pem(&text)
}

#[test]
fn requests_of_openssl_are_accepted_whatever_hash_and_padding_they_use() {
    let rsa: &[&str] = &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let rsa_odd: &[&str] = &["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2560"];
    let pss_key: &[&str] = &["genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"];
    let pss: &[&str] = &["-sha256", "-sigopt", "rsa_padding_mode:pss"];
    let p256: &[&str] = &["ecparam", "-genkey", "-noout", "-name", "prime256v1"];
    let p384: &[&str] = &["ecparam", "-genkey", "-noout", "-name", "secp384r1"];
    let p521: &[&str] = &["ecparam", "-genkey", "-noout", "-name", "secp521r1"];
    let ed25519: &[&str] = &["genpkey", "-algorithm", "ED25519"];
    let cases: &[(&[&str], &[&str], Option<KeyAlgorithm>)] = &[
        (rsa, &["-sha256"], Some(KeyAlgorithm::Rsa2048)),
        (rsa, &["-sha384"], Some(KeyAlgorithm::Rsa2048)),
        (rsa, &["-sha512"], Some(KeyAlgorithm::Rsa2048)),
        (rsa, pss, Some(KeyAlgorithm::Rsa2048)),
        (
            rsa,
            &["-sha512", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"],
            Some(KeyAlgorithm::Rsa2048),
        ),
        (
            rsa,
            &["-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20"],
            Some(KeyAlgorithm::Rsa2048),
        ),
        (rsa_odd, &[], None),
        (pss_key, &["-sha256"], None),
        (p256, &["-sha256"], Some(KeyAlgorithm::EcdsaP256)),
        (p256, &["-sha512"], Some(KeyAlgorithm::EcdsaP256)),
        (p384, &["-sha256"], Some(KeyAlgorithm::EcdsaP384)),
        (p384, &["-sha384"], Some(KeyAlgorithm::EcdsaP384)),
        (p521, &["-sha256"], Some(KeyAlgorithm::EcdsaP521)),
        (p521, &["-sha512"], Some(KeyAlgorithm::EcdsaP521)),
        (p256, &["-newhdr"], Some(KeyAlgorithm::EcdsaP256)),
        (ed25519, &[], Some(KeyAlgorithm::Ed25519)),
    ];
    for (key, request, algorithm) in cases {
        let csr = foreign(key, request).unwrap_or_else(|error| panic!("{key:?} {request:?}: {error}"));
        assert_eq!(csr.key_algorithm(), *algorithm, "{key:?}");
        assert_eq!(csr.identifiers().unwrap(), identifiers(&["example.com", "www.example.com"]));
        assert_eq!(csr.subject().as_str(), "CN=example.com");
        let public = openssl(&["req", "-noout", "-pubkey"], csr.pem().as_bytes());
        assert_eq!(openssl(&["pkey", "-pubin", "-outform", "DER"], &public), csr.public_key_der());
        let stored = serde_json::to_string(&csr).unwrap();
        assert_eq!(serde_json::from_str::<Csr>(&stored).unwrap(), csr);
    }
}

#[test]
fn weak_and_unknown_requests_are_refused() {
    let rsa = |bits: &'static str| ["genpkey", "-algorithm", "RSA", "-pkeyopt", bits];
    assert!(refusal(foreign(&rsa("rsa_keygen_bits:1024"), &[])).contains("it has 1024"));
    for (key, request) in [
        (&rsa("rsa_keygen_bits:2048")[..], &["-sha1"][..]),
        (&rsa("rsa_keygen_bits:2048"), &["-sha1", "-sigopt", "rsa_padding_mode:pss"]),
        (&["ecparam", "-genkey", "-noout", "-name", "prime256v1"], &["-sha1"]),
        (&["ecparam", "-genkey", "-noout", "-name", "secp256k1"], &["-sha256"]),
        (&["genpkey", "-algorithm", "ED448"], &[]),
    ] {
        assert!(refusal(foreign(key, request)).contains("not supported"), "{key:?} {request:?}");
    }
}

#[test]
fn what_is_not_one_request_is_refused() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let pem = template(&["example.com"]).sign(&key).unwrap().pem();
    for (text, rule) in [
        (String::new(), "holds no certificate signing request"),
        (format!("{pem}{pem}"), "more than one"),
        (pem.replace("REQUEST", "REQ"), "holds no"),
        (
            "-----BEGIN CERTIFICATE REQUEST-----\nAQID\n-----END CERTIFICATE REQUEST-----".into(),
            "not a PKCS#10",
        ),
        ("x".repeat(200_000), "larger than 64 KiB"),
    ] {
        assert!(refusal(Csr::from_pem(&text)).contains(rule), "{rule}");
    }
    assert!(refusal(Csr::from_der(&vec![0x30; 70_000])).contains("larger than 64 KiB"));
}

#[test]
fn differences_are_named_by_name() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = template(&["a.example", "b.example"]).sign(&key).unwrap();
    let check = |names: &[&str]| csr.check_against(&identifiers(names), None);
    check(&["b.example", "a.example"]).unwrap();
    assert!(refusal(check(&["a.example", "b.example", "c.example"])).ends_with("it lacks c.example"));
    assert!(refusal(check(&["a.example"])).ends_with("it also asks for b.example"));
    assert!(
        refusal(check(&["a.example", "c.example"]))
            .ends_with("it lacks c.example and also asks for b.example")
    );

    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let message = refusal(csr.check_against(&identifiers(&["a.example", "b.example"]), Some(&other)));
    for hash in [key.public_key_hash(), other.public_key_hash()] {
        assert!(message.contains(&hash.to_string()), "{message}");
    }
}

/// Signs a request with these attributes, as no sound tool would make it.
fn crafted(subject: &str, attributes: Vec<Attribute>) -> Result<Csr, InputError> {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let info = CertReqInfo {
        version: Version::V1,
        subject: if subject.is_empty() { Name::default() } else { subject.parse().unwrap() },
        public_key: SubjectPublicKeyInfoOwned::from_der(key.public_key_der()).unwrap(),
        attributes: SetOfVec::try_from(attributes).unwrap(),
    };
    let signature = key.sign(&info.to_der().unwrap()).unwrap();
    let algorithm =
        AlgorithmIdentifierOwned { oid: const_oid::db::rfc5912::ECDSA_WITH_SHA_256, parameters: None };
    let request = CertReq { info, algorithm, signature: BitString::from_bytes(&signature).unwrap() };
    Csr::from_der(&request.to_der().unwrap())
}

fn extension_request(id: ObjectIdentifier, extensions: &[Extension]) -> Attribute {
    let values = SetOfVec::try_from(vec![Any::encode_from(&extensions.to_vec()).unwrap()]).unwrap();
    Attribute { oid: id, values }
}

fn alt_names(names: Vec<GeneralName>) -> Extension {
    let extn_value = OctetString::new(SubjectAltName(names).to_der().unwrap()).unwrap();
    Extension { extn_id: ID_CE_SUBJECT_ALT_NAME, critical: false, extn_value }
}

fn dns(name: &str) -> GeneralName {
    GeneralName::DnsName(Ia5String::new(name).unwrap())
}

#[test]
fn names_that_windows_puts_elsewhere_are_found() {
    let attribute = extension_request(MICROSOFT_EXTENSION_REQ, &[alt_names(vec![dns("a.example")])]);
    assert_eq!(
        crafted("CN=Web server", vec![attribute]).unwrap().identifiers().unwrap(),
        identifiers(&["a.example"])
    );
}

#[test]
fn names_that_two_readers_could_read_differently_are_refused() {
    let names = |name: &str| alt_names(vec![dns(name)]);
    let twice = extension_request(ID_EXTENSION_REQ, &[names("a.example"), names("b.example")]);
    assert!(refusal(crafted("", vec![twice])).contains("twice"));
    let both = [ID_EXTENSION_REQ, MICROSOFT_EXTENSION_REQ];
    let both = both.map(|id| extension_request(id, &[names("a.example")]));
    assert!(refusal(crafted("", both.to_vec())).contains("twice"));
    assert!(refusal(crafted("CN=a.example,CN=b.example", vec![])).contains("more than one common name"));
}

#[test]
fn names_that_no_certificate_of_ours_holds_are_refused() {
    let asks = |subject, name| {
        crafted(
            subject,
            vec![extension_request(ID_EXTENSION_REQ, &[alt_names(vec![dns("a.example"), name])])],
        )
        .unwrap()
        .identifiers()
    };
    let email = GeneralName::Rfc822Name(Ia5String::new("root@a.example").unwrap());
    let mapped =
        GeneralName::IpAddress(OctetString::new([&[0; 10][..], &[255, 255, 192, 0, 2, 1]].concat()).unwrap());
    let cut = GeneralName::IpAddress(OctetString::new([192, 0, 2]).unwrap());
    for (name, reason) in [
        (email, "email:root@a.example"),
        (dns("a b.example"), "DNS:a b.example"),
        (dns("192.0.2.1"), "DNS:192.0.2.1"),
        (mapped, "unusual form"),
        (cut, "unusual form"),
    ] {
        assert!(refusal(asks("", name)).contains(reason), "{reason}");
    }
    assert_eq!(asks("CN=Jane Doe", dns("b.example")).unwrap(), identifiers(&["a.example", "b.example"]));
    assert!(refusal(crafted("CN=Jane Doe", vec![]).unwrap().identifiers()).contains("Jane Doe"));
    assert!(refusal(crafted("O=Example", vec![]).unwrap().identifiers()).contains("names no identifier"));
}

#[test]
fn no_byte_of_a_request_can_change() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = template(&["example.com"]).sign(&key).unwrap();
    for position in 0..csr.der().len() {
        for flip in [1, 0x80] {
            let mut changed = csr.der().to_vec();
            changed[position] ^= flip;
            assert!(Csr::from_der(&changed).is_err(), "byte {position} flipped by {flip}");
        }
    }
    assert!(Csr::from_der(&[csr.der(), &[0]].concat()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Csr::from_der(&bytes);
        let _ = AltNames::read(&bytes);
        let _ = must_staple(Some(&bytes));
    }
}
