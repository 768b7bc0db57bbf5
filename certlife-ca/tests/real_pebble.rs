//! The ACME provider against Pebble, which is strict and refuses every fifth good nonce.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests to us, if not to the lint")]

use std::{sync::Arc, time::Duration};

use certlife_ca::acme::{Acme, AcmeBuilder, ExternalAccount, Statistics};
use certlife_core::{
    AccountName, CertificateAuthority as _, CertificateInfo, Clock as _, CsrTemplate, ErrorKind, Identifier,
    KeyAlgorithm, LocalKeyRing, PrivateKey, RevocationReason, Sealer, Secret, SecretBytes, SystemClock,
    Vault,
    ca::{IssuedRef, OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose, Revocation, Signer, Stage},
    challenge::{Authorization, AuthorizationStatus, ChallengeKind, ChallengeResponse, TlsAlpnResponse},
    store::MemoryStore,
    x509::{Expectation, check_issued},
};
use certlife_testkit::servers::{CertificateStatus, Pebble, Servers};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        sign::{CertifiedKey, SingleCertAndKey},
    },
};

/// An account at one of the servers.
struct World {
    servers: Servers,
    pebble: Pebble,
    vault: Vault,
}

impl World {
    fn new(pick: impl FnOnce(&Servers) -> Pebble) -> Self {
        let servers = Servers::from_env();
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        let sealer = Sealer::new(Arc::new(ring));
        let vault = Vault::new(Arc::new(MemoryStore::new()), sealer, AccountName::new("pebble").unwrap());
        Self { pebble: pick(&servers), servers, vault }
    }

    fn plain() -> Self {
        Self::new(|servers| servers.pebble.mock_dns.clone())
    }

    fn builder(&self) -> AcmeBuilder {
        let mut http = certlife_core::http::Settings::default();
        http.roots = Some(self.pebble.tls_roots_pem());
        http.only_roots = true;
        Acme::builder(&self.pebble.directory_url, self.vault.clone()).terms_agreed(true).http(http)
    }

    /// A provider as after a restart.
    fn acme(&self) -> Acme {
        self.builder().build().unwrap()
    }

    /// Proves an authorization by this kind of challenge and returns its id.
    async fn prove(
        &self,
        authorization: &Authorization,
        kind: ChallengeKind,
    ) -> certlife_core::challenge::ChallengeId {
        let offered = authorization.challenges.iter().find(|one| one.response.kind() == kind);
        let challenge = offered.unwrap_or_else(|| panic!("{kind} is not offered: {authorization:?}"));
        let mock = &self.servers.pebble.challenge_server;
        match &challenge.response {
            ChallengeResponse::DnsTxt { name, value } => mock.add_txt(&format!("{name}."), value).await,
            ChallengeResponse::Http(file) => {
                let token = file.path.segments().last().unwrap().to_owned();
                mock.add_http01(&token, file.body.as_str()).await;
            }
            ChallengeResponse::TlsAlpn(wanted) => {
                let (address, listener) = self.pebble.listen_tls().await;
                mock.add_a(&wanted.identifier.to_string(), &[address]).await;
                serve_tls_alpn(listener, wanted);
            }
            other => panic!("Pebble does not offer {other:?}"),
        }
        challenge.id.clone()
    }

    async fn obtain(&self, intent: &OrderIntent, kind: ChallengeKind) -> OrderSnapshot {
        self.drive(&self.acme(), intent, kind).await
    }

    /// Takes an order to its end.
    async fn drive(&self, acme: &Acme, intent: &OrderIntent, kind: ChallengeKind) -> OrderSnapshot {
        let mut seen = acme.place(intent).await.unwrap();
        let mut ready = Vec::new();
        for authorization in seen.authorizations.iter().flatten() {
            if authorization.status == AuthorizationStatus::Pending {
                ready.push(self.prove(authorization, kind).await);
            }
        }
        if !ready.is_empty() {
            seen = acme.respond(&order(intent, &seen), &ready).await.unwrap();
        }
        self.finish(acme, intent, seen).await
    }

    async fn finish(&self, acme: &Acme, intent: &OrderIntent, mut seen: OrderSnapshot) -> OrderSnapshot {
        for _ in 0..100 {
            if seen.stage == Stage::Issued || seen.stage.is_lost() {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
            seen = acme.poll(&order(intent, &seen)).await.unwrap();
        }
        panic!("the order is still {:?}", seen.stage);
    }

    async fn roots(&self) -> Vec<CertificateDer<'static>> {
        let pems = self.pebble.roots_pem().await;
        pems.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).collect()
    }

    /// Checks that an order carries what was asked for, down to one of Pebble's roots.
    async fn check(&self, intent: &OrderIntent, issued: &OrderSnapshot) {
        assert_eq!(issued.stage, Stage::Issued, "{:?}", issued.message);
        let names = intent.request.identifiers.iter().cloned().collect();
        let expectation = Expectation::new(intent.csr.public_key_hash(), names, SystemClock::default().now());
        check_issued(issued.certificate.as_ref().unwrap(), &expectation.trust(self.roots().await)).unwrap();
    }

    async fn status(&self, issued: &OrderSnapshot) -> Option<CertificateStatus> {
        self.pebble.certificate_status(&info(issued).serial).await
    }
}

/// Answers TLS handshakes with the certificate of RFC 8737 §3 until the test ends.
fn serve_tls_alpn(listener: TcpListener, wanted: &TlsAlpnResponse) {
    let mut params = rcgen::CertificateParams::new([wanted.identifier.to_string()]).unwrap();
    params.custom_extensions.push(rcgen::CustomExtension::new_acme_identifier(&wanted.digest));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    // Set directly: the usual way refuses critical extensions that TLS itself knows nothing of.
    let key = tokio_rustls::rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let certified = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
}

fn request(names: &[&str]) -> OrderRequest {
    OrderRequest {
        purpose: Purpose::New,
        identifiers: names.iter().map(|name| name.parse().unwrap()).collect(),
        key_algorithm: None,
        validity: None,
        product: None,
        organization: None,
        contacts: Vec::new(),
        challenges: [].into(),
        options: serde_json::Value::Null,
    }
}

fn intent(request: OrderRequest) -> OrderIntent {
    intent_with(request).0
}

fn intent_with(request: OrderRequest) -> (OrderIntent, PrivateKey) {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = CsrTemplate::new(request.identifiers.iter().cloned()).sign(&key).unwrap();
    (OrderIntent { reference: "pebble".into(), request, csr }, key)
}

fn order(intent: &OrderIntent, snapshot: &OrderSnapshot) -> OrderRef {
    OrderRef { intent: Some(intent.clone()), handle: snapshot.handle.clone() }
}

fn issued_ref(snapshot: &OrderSnapshot) -> IssuedRef {
    IssuedRef { handle: Some(snapshot.handle.clone()), chain: snapshot.certificate.clone().unwrap() }
}

fn info(issued: &OrderSnapshot) -> CertificateInfo {
    issued.certificate.as_ref().unwrap().info().unwrap()
}

#[tokio::test]
async fn each_kind_of_challenge_proves_control() {
    let world = World::plain();
    for (name, kind) in [
        ("http.kinds.test", ChallengeKind::Http),
        ("dns.kinds.test", ChallengeKind::DnsTxt),
        ("alpn.kinds.test", ChallengeKind::TlsAlpn),
        ("127.0.0.1", ChallengeKind::Http),
    ] {
        let intent = intent(request(&[name]));
        let issued = world.obtain(&intent, kind).await;
        world.check(&intent, &issued).await;
    }
    let intent = intent(request(&["wild.kinds.test", "*.wild.kinds.test"]));
    let issued = world.obtain(&intent, ChallengeKind::DnsTxt).await;
    world.check(&intent, &issued).await;
}

#[tokio::test]
async fn account_keys_of_every_kind_that_pebble_takes_are_taken() {
    for algorithm in
        [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP384, KeyAlgorithm::EcdsaP521, KeyAlgorithm::Ed25519]
    {
        let world = World::plain();
        let key = PrivateKey::generate(algorithm).unwrap();
        let acme = world.builder().account_key(key).contacts(["admin@kinds.test"]).build().unwrap();
        match acme.probe().await {
            Ok(summary) => assert_eq!(summary.details["contacts"].as_str(), "mailto:admin@kinds.test"),
            // RFC 8555 §6.2 leaves EdDSA to the server.
            Err(error) => {
                assert_eq!(algorithm, KeyAlgorithm::Ed25519, "{error:?}");
                assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_external_account_is_bound() {
    let world = World::new(|servers| servers.pebble.external_account.clone());
    let refused = world.acme().probe().await.unwrap_err();
    assert!(refused.to_string().contains("`eab`"), "{refused}");
    let known = &world.pebble.external_accounts[0];
    let with = |hmac_key: &str| {
        let external = ExternalAccount { key_id: known.key_id.clone(), hmac_key: Secret::new(hmac_key) };
        world.builder().external_account(external).build().unwrap()
    };
    with("d3JvbmctaG1hYy1rZXktd3JvbmctaG1hYy1rZXk").probe().await.unwrap_err();
    with(&known.hmac_key).probe().await.unwrap();

    // Authorizations are reused here, so that the second order of many names is ready at once.
    let names: Vec<_> = (0..20).map(|number| format!("n{number}.reused.test")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let first = intent(request(&names));
    let issued = world.obtain(&first, ChallengeKind::Http).await;
    world.check(&first, &issued).await;
    let acme = world.acme();
    let second = intent(request(&names));
    let placed = acme.place(&second).await.unwrap();
    assert_eq!((placed.stage, placed.ask_again), (Stage::Processing, Some(Duration::ZERO)));
    let polled = acme.poll(&order(&second, &placed)).await.unwrap();
    let asked = u64::from(polled.stage != Stage::Issued);
    let issued = world.finish(&acme, &second, polled).await;
    world.check(&second, &issued).await;
    let Statistics { requests, refused_nonces, .. } = acme.statistics();
    // Directory, nonce, order; order, finalize; order (once more while it processes), certificate.
    assert!(requests - refused_nonces <= 7 + asked, "{:?}", acme.statistics());
}

#[tokio::test]
async fn a_key_is_replaced_and_the_account_stays() {
    let world = World::plain();
    let (acme, other) = (world.acme(), world.acme());
    let before = acme.probe().await.unwrap().identity;
    other.probe().await.unwrap();
    acme.roll_account_key().await.unwrap();
    for provider in [&acme, &other, &world.acme()] {
        assert_eq!(provider.probe().await.unwrap().identity, before);
        let intent = intent(request(&["rolled.test"]));
        let issued = world.drive(provider, &intent, ChallengeKind::Http).await;
        world.check(&intent, &issued).await;
    }
}

#[tokio::test]
async fn a_profile_decides_how_long_a_certificate_lasts() {
    let world = World::plain();
    let products: Vec<_> =
        world.acme().catalog().await.unwrap().products.into_iter().map(|one| one.id).collect();
    assert_eq!(products, ["default", "shortlived"]);
    let with =
        |product: &str| intent(OrderRequest { product: Some(product.into()), ..request(&["profile.test"]) });
    let short = with("shortlived");
    let info = info(&world.obtain(&short, ChallengeKind::Http).await);
    assert!(info.not_after.since(info.not_before) <= Duration::from_hours(7 * 24));
    let refused = world.acme().place(&with("gold")).await.unwrap_err();
    assert!(refused.to_string().contains("shortlived"), "{refused}");
}

#[tokio::test]
async fn a_renewal_window_is_told_and_a_predecessor_named() {
    let world = World::plain();
    let first = intent(request(&["window.test"]));
    let issued = world.obtain(&first, ChallengeKind::Http).await;
    let acme = world.acme();
    let window = acme.renewal_window(&issued_ref(&issued)).await.unwrap().unwrap();
    let told = info(&issued);
    assert!(told.not_before < window.start && window.end < told.not_after, "{window:?}");
    assert!(window.ask_again.is_some());
    world.pebble.set_renewal_info(
        &issued.certificate.as_ref().unwrap().leaf_pem(),
        r#"{"suggestedWindow":{"start":"2024-01-01T00:00:00Z","end":"2024-01-02T00:00:00Z"},"explanationURL":"https://pebble.test/why"}"#,
    ).await;
    let hurried = acme.renewal_window(&issued_ref(&issued)).await.unwrap().unwrap();
    assert_eq!(hurried.explanation.unwrap().as_str(), "https://pebble.test/why");

    // The first renewal replaces it; the second would be refused, were it to insist.
    for _ in 0..2 {
        let purpose = Purpose::Renewal { of: Box::new(issued_ref(&issued)) };
        let renewal = intent(OrderRequest { purpose, ..request(&["window.test"]) });
        let renewed = world.obtain(&renewal, ChallengeKind::Http).await;
        world.check(&renewal, &renewed).await;
    }
}

#[tokio::test]
async fn an_alternate_chain_is_taken_by_name_and_by_fingerprint() {
    let world = World::plain();
    let roots = world.roots().await;
    let intermediates = world.pebble.intermediates_pem().await;
    assert!(roots.len() > 2);
    for (number, root) in roots.iter().enumerate() {
        let name = CertificateInfo::read(root).unwrap().subject;
        let common_name =
            name.as_str().split(',').find_map(|part| part.strip_prefix("CN=")).unwrap().to_owned();
        let intermediate = CertificateDer::from_pem_slice(intermediates[number].as_bytes()).unwrap();
        let fingerprint = CertificateInfo::read(&intermediate).unwrap().sha256.to_string();
        for preferred in [common_name, fingerprint] {
            let acme = world.builder().preferred_chain(&preferred).build().unwrap();
            let intent = intent(request(&["chain.test"]));
            let issued = world.drive(&acme, &intent, ChallengeKind::Http).await;
            let names = intent.request.identifiers.iter().cloned().collect();
            let expectation =
                Expectation::new(intent.csr.public_key_hash(), names, SystemClock::default().now());
            check_issued(&issued.certificate.unwrap(), &expectation.trust(vec![root.clone()])).unwrap();
        }
    }
}

#[tokio::test]
async fn certificates_are_revoked_by_account_and_by_key() {
    let world = World::plain();
    let revocation =
        |issued: &OrderSnapshot, reason| Revocation { issued: issued_ref(issued), reason, comment: None };
    let (first, _) = intent_with(request(&["by-account.test"]));
    let issued = world.obtain(&first, ChallengeKind::Http).await;
    let acme = world.acme();
    assert_eq!(world.status(&issued).await, Some(CertificateStatus::Valid));
    for _ in 0..2 {
        acme.revoke(&revocation(&issued, RevocationReason::Superseded), None).await.unwrap();
    }
    assert_eq!(world.status(&issued).await, Some(CertificateStatus::Revoked(Some(4))));

    let stranger = World::plain();
    let (second, key) = intent_with(request(&["by-key.test"]));
    let issued = world.obtain(&second, ChallengeKind::Http).await;
    let by_key = revocation(&issued, RevocationReason::KeyCompromise);
    stranger.acme().revoke(&by_key, None).await.unwrap_err();
    let key: &dyn Signer = &key;
    stranger.acme().revoke(&by_key, Some(key)).await.unwrap();
    assert_eq!(world.status(&issued).await, Some(CertificateStatus::Revoked(Some(1))));
}

#[tokio::test]
async fn a_proof_that_is_not_there_rejects_the_order_in_words() {
    let world = World::plain();
    let intent = intent(request(&["good.proof.test", "no.proof.test"]));
    let acme = world.acme();
    let placed = acme.place(&intent).await.unwrap();
    let mut ready = Vec::new();
    for authorization in placed.authorizations.iter().flatten() {
        if authorization.identifier == "good.proof.test".parse::<Identifier>().unwrap() {
            ready.push(world.prove(authorization, ChallengeKind::Http).await);
        } else {
            let http = authorization.challenges.iter().find(|one| one.response.kind() == ChallengeKind::Http);
            ready.push(http.unwrap().id.clone());
        }
    }
    let seen = acme.respond(&order(&intent, &placed), &ready).await.unwrap();
    let over = world.finish(&acme, &intent, seen).await;
    assert_eq!(over.stage, Stage::Rejected);
    let failed: Vec<_> = over.authorizations.iter().flatten().filter(|one| one.problem.is_some()).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].identifier.to_string(), "no.proof.test");
    let blocked = acme.place(&self::intent(request(&["blocked.test"]))).await.unwrap_err();
    assert!(
        matches!(blocked.kind(), ErrorKind::Rejected(words) if words.as_str().contains("blocked.test")),
        "{blocked}"
    );
}

#[tokio::test]
async fn an_order_goes_on_in_a_new_process_at_every_step() {
    let world = World::plain();
    let intent = intent(request(&["resumed.test"]));
    let placed = world.acme().place(&intent).await.unwrap();
    let told = placed.authorizations.as_ref().unwrap();
    let ready = vec![world.prove(&told[0], ChallengeKind::DnsTxt).await];
    for _ in 0..2 {
        world.acme().respond(&order(&intent, &placed), &ready).await.unwrap();
    }
    let mut seen = placed;
    while seen.stage != Stage::Issued {
        tokio::time::sleep(Duration::from_millis(200)).await;
        seen = world.acme().poll(&order(&intent, &seen)).await.unwrap();
    }
    let again = world.acme().poll(&order(&intent, &seen)).await.unwrap();
    assert_eq!(again.certificate, seen.certificate);
    world.check(&intent, &again).await;
}

#[tokio::test]
async fn a_hundred_names_stay_within_their_requests() {
    for count in [1, 10, 16, 100] {
        let world = World::plain();
        world.acme().probe().await.unwrap();
        let names: Vec<_> = (0..count).map(|number| format!("n{number}.of-{count}.test")).collect();
        let intent = intent(request(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        let acme = world.acme();
        let issued = world.drive(&acme, &intent, ChallengeKind::Http).await;
        world.check(&intent, &issued).await;
        let Statistics { requests, refused_nonces, nonce_requests, .. } = acme.statistics();
        assert!(nonce_requests <= 16, "{nonce_requests}");
        // How often an order has to be asked after while Pebble validates is not ours to say.
        let most = 2 * count + 26 + 10;
        assert!(requests - refused_nonces <= most, "{count} names: {:?}", acme.statistics());
        println!("{count} names: {:?}", acme.statistics());
    }
}
