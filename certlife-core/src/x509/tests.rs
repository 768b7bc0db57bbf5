use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::{
    digest::{Fingerprint, KeyHash},
    error::{ErrorKind, Result},
    key::{KeyAlgorithm, PrivateKey},
    name::Identifier,
    openssl::{openssl, openssl_text},
    pem,
    text::VendorText,
    time::Timestamp,
};

const DAY: Duration = Duration::from_hours(24);

fn now() -> Timestamp {
    Timestamp::parse("2026-03-01T12:00:00Z").unwrap()
}

/// A CA for tests, which issues whatever it is told.
struct Ca {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn root(name: &str, algorithm: KeyAlgorithm) -> Self {
        let (_, key) = key(algorithm);
        let params = ca_params(name);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key) }
    }

    fn intermediate(&self, name: &str, algorithm: KeyAlgorithm) -> Self {
        self.intermediate_with(ca_params(name), key(algorithm).1)
    }

    fn intermediate_with(&self, params: CertificateParams, key: KeyPair) -> Self {
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { der, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, key: &PrivateKey, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&rcgen_key(key), &self.issuer).unwrap().der().clone()
    }
}

fn key(algorithm: KeyAlgorithm) -> (PrivateKey, KeyPair) {
    let key = PrivateKey::generate(algorithm).unwrap();
    let pair = rcgen_key(&key);
    (key, pair)
}

fn rcgen_key(key: &PrivateKey) -> KeyPair {
    KeyPair::from_pem(key.to_pkcs8_pem().unwrap().expose()).unwrap()
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(&[], name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let mut params = params(names, "leaf");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn params(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = (now() - DAY).to_utc();
    params.not_after = (now() + 89 * DAY).to_utc();
    params
}

fn identifiers(names: &[&str]) -> BTreeSet<Identifier> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Root, two intermediates and a leaf, each with another kind of key.
struct World {
    root: Ca,
    upper: Ca,
    lower: Ca,
    key: PrivateKey,
    leaf: CertificateDer<'static>,
}

impl World {
    fn new() -> Self {
        let root = Ca::root("root", KeyAlgorithm::Rsa2048);
        let upper = root.intermediate("upper", KeyAlgorithm::EcdsaP384);
        let lower = upper.intermediate("lower", KeyAlgorithm::Ed25519);
        let (key, _) = key(KeyAlgorithm::EcdsaP256);
        let leaf = lower.issue(&key, &leaf_params(&["example.com", "www.example.com"]));
        Self { root, upper, lower, key, leaf }
    }

    fn ders(&self) -> [&CertificateDer<'static>; 4] {
        [&self.leaf, &self.lower.der, &self.upper.der, &self.root.der]
    }

    fn chain_to(&self, leaf: &CertificateDer<'static>) -> Chain {
        Chain::from_ders([leaf, &self.lower.der, &self.upper.der].map(|der| der.to_vec())).unwrap()
    }

    fn chain(&self) -> Chain {
        self.chain_to(&self.leaf)
    }

    fn expectation(&self) -> Expectation {
        let names = identifiers(&["example.com", "www.example.com"]);
        Expectation::new(self.key.public_key_hash(), names, now())
    }

    /// Checks a leaf with these parameters instead.
    fn check_leaf(&self, params: &CertificateParams) -> Result<()> {
        check_issued(&self.chain_to(&self.lower.issue(&self.key, params)), &self.expectation())
    }
}

fn problem(outcome: Result<()>) -> String {
    let error = outcome.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadCertificate(_)), "{error:?}");
    error.to_string()
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, InputError>) -> String {
    let refused = outcome.unwrap_err();
    assert!(matches!(refused, InputError::Certificate { .. }), "{refused:?}");
    refused.to_string()
}

#[test]
fn a_chain_is_put_in_order_from_any_order() {
    let world = World::new();
    let [leaf, lower, upper, root] = world.ders();
    for heap in permutations(&[leaf, lower, upper, root, lower]) {
        let chain = Chain::from_ders(heap.iter().map(|der| der.to_vec())).unwrap();
        assert_eq!(chain.leaf(), leaf);
        assert_eq!(chain.intermediates(), [lower.clone(), upper.clone()]);
    }
    let text: String = [root, upper, leaf, lower].map(|der| pem::encode("CERTIFICATE", der)).concat();
    let text =
        format!("-----BEGIN DH PARAMETERS-----\nAQID\n-----END DH PARAMETERS-----\nsubject=x\r\n{text}");
    let chain = Chain::from_pem(&text).unwrap();
    assert_eq!(chain, world.chain());
    assert_eq!(chain.fingerprint(), Fingerprint::of(leaf));
    assert_eq!(chain.pem(), chain.leaf_pem() + &chain.intermediates_pem());
    let stored = serde_json::to_string(&chain).unwrap();
    assert_eq!(serde_json::from_str::<Chain>(&stored).unwrap(), chain);

    let kept = ChainOptions::default().keep_root(true).from_pem(&text).unwrap();
    assert_eq!(kept.chain.intermediates(), [lower.clone(), upper.clone(), root.clone()]);
    assert!(kept.dropped.is_empty());
}

fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for position in 0..items.len() {
        let mut rest = items.to_vec();
        let first = rest.remove(position);
        all.extend(permutations(&rest).into_iter().map(|rest| [vec![first.clone()], rest].concat()));
    }
    all
}

#[test]
fn what_does_not_belong_is_refused_or_dropped_with_the_reason() {
    let world = World::new();
    let stranger = Ca::root("stranger", KeyAlgorithm::EcdsaP256);
    // The same name as an issuer in the chain, but another key.
    let impostor = Ca::root("lower", KeyAlgorithm::EcdsaP256);
    for extra in [&stranger.der, &impostor.der] {
        let heap = || [&world.ders()[..], &[extra]].concat().into_iter().map(|der| der.to_vec());
        let message = refusal(Chain::from_ders(heap()));
        assert!(message.contains("nothing to do with the leaf") && message.contains("CN="), "{message}");
        let assembled = ChainOptions::default().drop_unrelated(true).from_ders(heap()).unwrap();
        assert_eq!(assembled.chain, world.chain());
        let dropped: Vec<_> =
            assembled.dropped.iter().map(|dropped| (dropped.fingerprint, dropped.reason)).collect();
        assert_eq!(
            dropped,
            [
                (Fingerprint::of(&world.root.der), "a root, which clients have already"),
                (Fingerprint::of(extra), "it has nothing to do with the leaf"),
            ]
        );
    }
}

#[test]
fn a_leaf_is_not_separated_from_an_issuer_that_did_not_sign_it() {
    let world = World::new();
    let impostor = Ca::root("lower", KeyAlgorithm::Ed25519);
    let heap = [&world.leaf, &impostor.der].map(|der| der.to_vec());
    let outcome =
        ChainOptions::default().drop_unrelated(true).leaf_key(world.key.public_key_hash()).from_ders(heap);
    assert!(refusal(outcome).contains("is not signed by it"));
}

#[test]
fn a_cross_signed_certificate_leads_further_than_the_root_of_its_name() {
    let old = Ca::root("old root", KeyAlgorithm::EcdsaP256);
    let (_, pair) = key(KeyAlgorithm::EcdsaP256);
    let params = ca_params("new root");
    let new_der = params.self_signed(&pair).unwrap().der().clone();
    let cross = old.intermediate_with(params, pair);
    let (key, _) = key(KeyAlgorithm::EcdsaP256);
    let leaf = cross.issue(&key, &leaf_params(&["example.com"]));
    for heap in permutations(&[&leaf, &new_der, &cross.der, &old.der]) {
        let heap = heap.into_iter().map(|der| der.to_vec());
        let assembled = ChainOptions::default().from_ders(heap).unwrap();
        assert_eq!(assembled.chain.intermediates(), std::slice::from_ref(&cross.der));
        assert_eq!(assembled.dropped.len(), 2);
    }
}

#[test]
fn the_leaf_is_found_by_its_key_or_not_at_all() {
    let world = World::new();
    let (other_key, _) = key(KeyAlgorithm::EcdsaP256);
    let other = world.lower.issue(&other_key, &leaf_params(&["other.example"]));
    let heap = || [&other, &world.leaf, &world.lower.der].into_iter().map(|der| der.to_vec());
    assert!(refusal(Chain::from_ders(heap())).contains("more than one"));
    let options = ChainOptions::default().drop_unrelated(true);
    let found = options.leaf_key(world.key.public_key_hash()).from_ders(heap()).unwrap();
    assert_eq!(found.chain.leaf(), &world.leaf);
    let (missing, _) = key(KeyAlgorithm::EcdsaP256);
    let outcome = options.leaf_key(missing.public_key_hash()).from_ders(heap());
    assert!(refusal(outcome).contains("expected key"));

    let mut newer = leaf_params(&["example.com"]);
    newer.not_before = now().to_utc();
    let newer = world.lower.issue(&world.key, &newer);
    let heap = [&world.leaf, &newer, &world.lower.der].map(|der| der.to_vec());
    let found = options.leaf_key(world.key.public_key_hash()).from_ders(heap).unwrap();
    assert_eq!(found.chain.leaf(), &newer);
}

#[test]
fn a_lone_self_signed_certificate_is_a_chain() {
    let text = openssl_text(
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "/dev/null",
            "-subj",
            "/CN=a",
        ],
        b"",
    );
    let chain = Chain::from_pem(&text).unwrap();
    assert!(chain.intermediates().is_empty());
    assert!(chain.info().unwrap().self_signed);
}

#[test]
fn heaps_are_capped() {
    let world = World::new();
    let leaf = world.leaf.to_vec();
    assert!(refusal(Chain::from_ders(vec![leaf.clone(); 11])).contains("at most 10"));
    assert!(refusal(Chain::from_pem(&world.chain().leaf_pem().repeat(11))).contains("at most 10"));
    assert!(refusal(Chain::from_ders(Vec::<Vec<u8>>::new())).contains("no certificate"));
    assert!(refusal(Chain::from_pem("nothing")).contains("no certificate"));
    assert!(refusal(Chain::from_pem(&"x".repeat(2_000_000))).contains("larger than 1 MiB"));
    assert!(refusal(Chain::from_ders([vec![0x30; 70_000]])).contains("larger than 64 KiB"));
    assert!(refusal(Chain::from_ders([leaf[1..].to_vec()])).contains("not an X.509 certificate"));
    assert!(serde_json::from_str::<Chain>("\"\"").is_err());
}

#[test]
fn an_issued_certificate_passes() {
    let world = World::new();
    let expectation = world.expectation();
    check_issued(&world.chain(), &expectation).unwrap();
    check_issued(&world.chain(), &expectation.clone().trust(vec![world.root.der.clone()])).unwrap();
    let with_root =
        ChainOptions::default().keep_root(true).from_ders(world.ders().map(|der| der.to_vec())).unwrap();
    check_issued(&with_root.chain, &expectation.trust(vec![world.root.der.clone()])).unwrap();
}

#[test]
fn every_kind_of_issuer_key_is_verified() {
    for algorithm in KeyAlgorithm::ALL {
        let root = Ca::root("root", *algorithm);
        let lower = root.intermediate("lower", *algorithm);
        let (key, _) = key(*algorithm);
        let leaf = lower.issue(&key, &leaf_params(&["example.com"]));
        let chain = Chain::from_ders([&leaf, &lower.der].map(|der| der.to_vec())).unwrap();
        let expectation = Expectation::new(key.public_key_hash(), identifiers(&["example.com"]), now());
        check_issued(&chain, &expectation.trust(vec![root.der.clone()])).unwrap();
        assert_eq!(chain.info().unwrap().key_algorithm, Some(*algorithm));
    }
}

#[test]
fn everything_that_disagrees_is_named() {
    let world = World::new();
    let (other, _) = key(KeyAlgorithm::EcdsaP256);
    let names = identifiers(&["example.com", "missing.example", "192.0.2.1"]);
    let message =
        problem(check_issued(&world.chain(), &Expectation::new(other.public_key_hash(), names, now())));
    for part in [
        other.public_key_hash().to_string(),
        world.key.public_key_hash().to_string(),
        "it lacks missing.example, 192.0.2.1".to_owned(),
        "it names www.example.com, which was not asked for".to_owned(),
    ] {
        assert!(message.contains(&part), "{message} should say {part}");
    }
}

#[test]
fn only_the_names_that_cas_add_for_free_are_acceptable_extras() {
    let world = World::new();
    let check = |wanted: &[&str], given: &[&str], allow| {
        let leaf = world.lower.issue(&world.key, &leaf_params(given));
        let expectation = Expectation::new(world.key.public_key_hash(), identifiers(wanted), now());
        check_issued(&world.chain_to(&leaf), &expectation.allow_extra(allow))
    };
    for (wanted, given) in [
        (["example.com"], ["example.com", "www.example.com"]),
        (["www.example.com"], ["www.example.com", "example.com"]),
        (["*.example.com"], ["*.example.com", "example.com"]),
    ] {
        check(&wanted, &given, true).unwrap();
        assert!(problem(check(&wanted, &given, false)).contains(given[1]));
    }
    for (wanted, given) in [
        (["example.com"], ["example.com", "mail.example.com"]),
        (["example.com"], ["example.com", "*.example.com"]),
        (["example.com"], ["example.com", "192.0.2.1"]),
        (["a.example.com"], ["a.example.com", "example.com"]),
    ] {
        assert!(problem(check(&wanted, &given, true)).contains(given[1]), "{given:?}");
    }
    // What only the wildcard would cover was still asked for by name.
    assert!(problem(check(&["a.example.com"], &["*.example.com"], true)).contains("lacks a.example.com"));
}

#[test]
fn the_clock_counts_on_both_ends() {
    let world = World::new();
    let at = |not_before: Timestamp, not_after: Timestamp, tolerance| {
        let mut params = leaf_params(&["example.com", "www.example.com"]);
        (params.not_before, params.not_after) = (not_before.to_utc(), not_after.to_utc());
        let leaf = world.lower.issue(&world.key, &params);
        check_issued(&world.chain_to(&leaf), &world.expectation().not_before_tolerance(tolerance))
    };
    let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
    at(now() - DAY, now(), Duration::ZERO).unwrap();
    assert!(problem(at(now() - DAY, now() - second, minute)).contains("it expired at 2026-03-01T11:59:59"));
    at(now(), now() + DAY, Duration::ZERO).unwrap();
    at(now() + minute, now() + DAY, minute).unwrap();
    let early = problem(at(now() + 2 * minute, now() + DAY, minute));
    assert!(early.contains("it is not valid before 2026-03-01T12:02:00"), "{early}");
    // No setting makes it wait for more than an hour.
    assert!(problem(at(now() + 61 * minute, now() + DAY, DAY)).contains("not valid before"));

    let mut expired = ca_params("expired");
    (expired.not_before, expired.not_after) = ((now() - 2 * DAY).to_utc(), (now() - DAY).to_utc());
    let expired = world.root.intermediate_with(expired, key(KeyAlgorithm::EcdsaP256).1);
    let leaf = expired.issue(&world.key, &leaf_params(&["example.com", "www.example.com"]));
    let chain = Chain::from_ders([&leaf, &expired.der].map(|der| der.to_vec())).unwrap();
    assert!(problem(check_issued(&chain, &world.expectation())).contains(r#"issuer "CN=expired" expired"#));
}

#[test]
fn a_tolerated_early_certificate_also_passes_the_path_check() {
    let world = World::new();
    let mut params = leaf_params(&["example.com", "www.example.com"]);
    params.not_before = (now() + Duration::from_mins(1)).to_utc();
    let leaf = world.lower.issue(&world.key, &params);
    let expectation = world.expectation().trust(vec![world.root.der.clone()]);
    check_issued(&world.chain_to(&leaf), &expectation).unwrap();
}

#[test]
fn a_chain_to_another_root_is_not_trusted() {
    let world = World::new();
    let stranger = Ca::root("root", KeyAlgorithm::EcdsaP256);
    for anchors in [vec![], vec![stranger.der.clone()]] {
        let message = problem(check_issued(&world.chain(), &world.expectation().trust(anchors)));
        assert!(message.contains("trusted root"), "{message}");
    }
    // A gap in the chain shows only when a root is asked for.
    let gap = Chain::from_ders([&world.leaf, &world.lower.der].map(|der| der.to_vec())).unwrap();
    check_issued(&gap, &world.expectation()).unwrap();
    let message = problem(check_issued(&gap, &world.expectation().trust(vec![world.root.der.clone()])));
    assert!(message.contains("trusted root"), "{message}");
}

/// A chain in an order that assembling would never make.
fn as_stored(ders: &[&CertificateDer<'static>]) -> Chain {
    let text: String = ders.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
    serde_json::from_value(text.into()).unwrap()
}

#[test]
fn wrong_signatures_and_issuers_are_named() {
    let world = World::new();
    let [leaf, lower, upper, _] = world.ders();
    let message = problem(check_issued(&as_stored(&[leaf, upper, lower]), &world.expectation()));
    assert!(message.contains(r#""CN=leaf" is not issued by "CN=upper""#), "{message}");

    let impostor = Ca::root("lower", KeyAlgorithm::EcdsaP256);
    let message = problem(check_issued(&as_stored(&[leaf, &impostor.der]), &world.expectation()));
    assert!(message.contains("signed with 1.3.101.112, which is not supported"), "{message}");
    let impostor = Ca::root("lower", KeyAlgorithm::Ed25519);
    let message = problem(check_issued(&as_stored(&[leaf, &impostor.der]), &world.expectation()));
    assert!(message.contains(r#"the signature of "CN=lower" on "CN=leaf" is wrong"#), "{message}");

    let mut changed = leaf.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let message = problem(check_issued(&as_stored(&[&changed.into(), lower]), &world.expectation()));
    assert!(message.contains("is wrong"), "{message}");
}

#[test]
fn only_a_ca_may_issue_and_a_leaf_is_none() {
    let world = World::new();
    let names = ["example.com", "www.example.com"];
    let mut ca_leaf = leaf_params(&names);
    ca_leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert!(problem(world.check_leaf(&ca_leaf)).contains("it is the certificate of a CA"));

    for (is_ca, usage, reason) in [
        (IsCa::NoCa, KeyUsagePurpose::KeyCertSign, r#"issuer "CN=lax" is not a CA"#),
        (IsCa::Ca(BasicConstraints::Unconstrained), KeyUsagePurpose::CrlSign, "may not sign certificates"),
    ] {
        let mut params = ca_params("lax");
        (params.is_ca, params.key_usages) = (is_ca, vec![usage]);
        let lax = world.root.intermediate_with(params, key(KeyAlgorithm::EcdsaP256).1);
        let chain = as_stored(&[&lax.issue(&world.key, &leaf_params(&names)), &lax.der]);
        let message = problem(check_issued(&chain, &world.expectation()));
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn an_extension_that_is_there_twice_is_refused() {
    let world = World::new();
    let mut params = leaf_params(&["example.com", "www.example.com"]);
    // SEQUENCE { [2] "a.example" }
    let names = [&[0x30, 11, 0x82, 9][..], b"a.example"].concat();
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], names)];
    assert!(problem(world.check_leaf(&params)).contains("is there twice"));
}

#[test]
fn info_says_what_openssl_says() {
    let world = World::new();
    let mut params = leaf_params(&["example.com", "*.example.com", "192.0.2.1", "2001:db8::1"]);
    params.distinguished_name.push(DnType::OrganizationName, "Müller, Söhne + Co");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    params.key_usages.push(KeyUsagePurpose::KeyAgreement);
    params.subject_alt_names.push(rcgen::SanType::Rfc822Name("root@example.com".try_into().unwrap()));
    params.crl_distribution_points =
        vec![rcgen::CrlDistributionPoint { uris: vec!["http://crl.example/1.crl".into()] }];
    let access: Vec<u8> = {
        let url = |method: u8, url: &[u8]| {
            let oid = [&[6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30][..], &[method]].concat();
            let location = [&[0x86, u8::try_from(url.len()).unwrap()][..], url].concat();
            [&[0x30, u8::try_from(oid.len() + location.len()).unwrap()][..], &oid, &location].concat()
        };
        let urls = [url(1, b"http://ocsp.example"), url(2, b"http://ca.example/ca.cer")].concat();
        [&[0x30, u8::try_from(urls.len()).unwrap()][..], &urls].concat()
    };
    params.custom_extensions = vec![
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], access),
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]),
    ];
    params.serial_number = Some(vec![0x87, 0x65, 0x43, 0x21].into());
    let leaf = world.lower.issue(&world.key, &params);
    let info = CertificateInfo::read(&leaf).unwrap();

    assert_eq!(info.issuer.as_str(), "CN=lower");
    assert_eq!(info.subject.as_str(), r"O=Müller\, Söhne \+ Co,CN=leaf");
    assert_eq!((info.not_before, info.not_after), (now() - DAY, now() + 89 * DAY));
    assert_eq!(info.identifiers, identifiers(&["example.com", "*.example.com", "192.0.2.1", "2001:db8::1"]));
    assert_eq!(
        info.other_names.iter().map(VendorText::as_str).collect::<Vec<_>>(),
        ["email:root@example.com"]
    );
    assert_eq!(
        (info.key_algorithm, info.key_description.as_str()),
        (Some(KeyAlgorithm::EcdsaP256), "ecdsa-p256")
    );
    assert_eq!(info.key_hash, world.key.public_key_hash());
    assert_eq!(info.key_usages, ["digitalSignature", "keyAgreement"]);
    assert_eq!(info.extended_key_usages, ["serverAuth", "clientAuth"]);
    assert_eq!(info.ocsp_urls, [VendorText::new("http://ocsp.example")]);
    assert_eq!(info.issuer_urls, [VendorText::new("http://ca.example/ca.cer")]);
    assert_eq!(info.crl_urls, [VendorText::new("http://crl.example/1.crl")]);
    assert!(info.must_staple && !info.is_ca && !info.self_signed);

    let said = |arguments: &[&str]| {
        let fixed = ["x509", "-inform", "DER", "-noout"];
        let text = openssl_text(&[&fixed[..], arguments].concat(), &leaf);
        text.rsplit('=').next().unwrap().trim().replace(':', "").to_lowercase()
    };
    assert_eq!(info.serial, said(&["-serial"]));
    assert_eq!(info.sha256.to_string(), said(&["-fingerprint", "-sha256"]));
    assert_eq!(info.sha1, said(&["-fingerprint", "-sha1"]));
    let issuer = CertificateInfo::read(&world.lower.der).unwrap();
    assert!(issuer.is_ca && info.authority_key_id.is_some());
    assert_eq!(info.authority_key_id, issuer.subject_key_id);
    assert!(CertificateInfo::read(&world.root.der).unwrap().self_signed);

    let stored = serde_json::to_string(&info).unwrap();
    assert_eq!(serde_json::from_str::<CertificateInfo>(&stored).unwrap(), info);
    assert!(
        info.is_valid_at(now()) && !info.is_valid_at(now() + 90 * DAY) && !info.is_valid_at(now() - 2 * DAY)
    );
}

#[test]
fn certificates_of_other_kinds_of_key_are_described() {
    let make = |key: &[&str]| {
        let fixed = ["req", "-x509", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=a", "-outform", "DER"];
        CertificateInfo::read(&openssl(&[&fixed[..], key].concat(), b"")).unwrap()
    };
    for (key, description) in [
        (&["-newkey", "rsa:1024"][..], "rsa-1024"),
        (&["-newkey", "rsa:3072"], "rsa-3072"),
        (&["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], "rsa-pss-2048"),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "1.2.840.10045.2.1"),
        (&["-newkey", "ed448"], "1.3.101.113"),
    ] {
        let info = make(key);
        assert_eq!(info.key_description, description);
        assert_eq!(info.key_algorithm.is_some(), description == "rsa-3072");
        assert!(info.self_signed);
    }
}

/// RFC 9773, section 4.1 and appendix A. Its validity period lies in the year 1, which must not matter.
#[test]
fn the_renewal_id_is_that_of_the_rfc() {
    let text = "-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----";
    let blocks = pem::blocks(text).unwrap();
    assert_eq!(ari_certificate_id(&blocks[0].der).unwrap(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");

    let root = Ca::root("root", KeyAlgorithm::EcdsaP256);
    assert!(refusal(ari_certificate_id(&root.der)).contains("no authority key identifier"));
}

/// Every root that clients trust, as a sample of what CAs really make.
#[test]
fn every_public_root_is_read() {
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let info = CertificateInfo::read(root).unwrap();
        assert!(info.is_ca && info.self_signed, "{}", info.subject);
        let chain = Chain::from_ders([root.to_vec()]).unwrap();
        assert_eq!(chain.leaf(), root);
        let stored = serde_json::to_string(&info).unwrap();
        assert_eq!(serde_json::from_str::<CertificateInfo>(&stored).unwrap(), info);
    }
}

#[test]
fn reasons_have_the_names_and_numbers_of_the_rfc() {
    for (name, code) in [
        ("unspecified", 0),
        ("keyCompromise", 1),
        ("cACompromise", 2),
        ("affiliationChanged", 3),
        ("superseded", 4),
        ("cessationOfOperation", 5),
        ("certificateHold", 6),
        ("removeFromCRL", 8),
        ("privilegeWithdrawn", 9),
        ("aACompromise", 10),
    ] {
        let reason: RevocationReason = serde_json::from_value(name.into()).unwrap();
        assert_eq!(reason.code(), code);
        assert_eq!(serde_json::to_value(reason).unwrap(), name);
    }
}

fn survives(der: &[u8]) {
    let _ = CertificateInfo::read(der);
    let _ = ari_certificate_id(der);
    if let Ok(chain) = Chain::from_ders([der]) {
        let _ = check_issued(&chain, &Expectation::new(KeyHash::of(b""), BTreeSet::new(), now()));
    }
}

#[test]
fn no_damaged_byte_does_harm_or_passes() {
    let world = World::new();
    let expectation = world.expectation().trust(vec![world.root.der.clone()]);
    for position in 0..world.leaf.len() {
        let mut damaged = world.leaf.to_vec();
        damaged[position] ^= 1 << (position % 8);
        survives(&damaged);
        let heap = [damaged, world.lower.der.to_vec(), world.upper.der.to_vec()];
        if let Ok(assembled) = ChainOptions::default().drop_unrelated(true).from_ders(heap) {
            check_issued(&assembled.chain, &expectation).unwrap_err();
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes);
        let _ = Chain::from_pem(&String::from_utf8_lossy(&bytes));
    }
}
