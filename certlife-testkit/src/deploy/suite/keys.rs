//! Keys that are made on the target and stay there.

use std::collections::BTreeSet;

use certlife_core::{
    Csr, CsrTemplate, ErrorKind, KeyAlgorithm, KeyId, Timestamp,
    deploy::{Bundle, KeyRequest},
};
use futures_util::future::join_all;

use super::{super::fixture::DeployFixture, Case, abandon_after, ok, refused, sight, stored};
use crate::deploy::fixture::Seen;

/// A kind of key that the target does not offer is refused as unsupported.
pub async fn a_key_that_is_not_offered_is_refused(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let offered = case.deployer.capabilities().keys;
    for (number, algorithm) in KeyAlgorithm::ALL.iter().filter(|kind| !offered.contains(kind)).enumerate() {
        let error = refused(case.deployer.make_key(&case.key_request(number, *algorithm)).await);
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{}", error.chain());
    }
    case.serves_nothing().await;
}

/// Asked again for the same name, the target has the same key: at once, later, and after a restart.
pub async fn a_made_key_is_the_same_when_asked_for_again(fx: &impl DeployFixture) {
    let Some((case, algorithm)) = offering(fx).await else { return };
    let wanted = case.key_request(0, algorithm);
    let asked = join_all((0..4).map(|_| case.deployer.make_key(&wanted))).await;
    let mut hashes: BTreeSet<_> = asked.into_iter().map(|csr| ok(csr).public_key_hash()).collect();
    hashes.insert(case.make(0, algorithm).await.public_key_hash());
    hashes.insert(ok(fx.deployer().make_key(&stored(&wanted)).await).public_key_hash());
    assert_eq!(hashes.len(), 1, "one name, one key");
    case.serves_nothing().await;
}

/// Another name is another key, and so is the same name for another certificate.
pub async fn every_name_has_a_key_of_its_own(fx: &impl DeployFixture) {
    let Some((case, algorithm)) = offering(fx).await else { return };
    let sibling = case.other("mail", "mail.example.org");
    let mut hashes = BTreeSet::new();
    for number in 0..3 {
        hashes.insert(case.make(number, algorithm).await.public_key_hash());
        hashes.insert(sibling.make(number, algorithm).await.public_key_hash());
    }
    assert_eq!(hashes.len(), 6);
}

/// The request is for what was asked: the kind of key, the identifiers, and OCSP stapling.
pub async fn every_offered_kind_of_key_is_made(fx: &impl DeployFixture) {
    let Some((case, _)) = offering(fx).await else { return };
    // The larger RSA keys differ from the smallest in nothing but the time that they take.
    let quick = |kind: &KeyAlgorithm| !matches!(kind, KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096);
    for (number, algorithm) in case.deployer.capabilities().keys.into_iter().filter(quick).enumerate() {
        let mut wanted = case.key_request(number, algorithm);
        wanted.template.must_staple = number % 2 == 1;
        let csr = ok(case.deployer.make_key(&wanted).await);
        assert_eq!(csr.key_algorithm(), Some(algorithm));
        assert_eq!(csr.must_staple(), wanted.template.must_staple);
        assert_eq!(csr.identifiers(), Ok(wanted.template.identifiers));
    }
}

/// *Key-keeping*: the certificate for a key that the target made is served with that key, which no bundle holds.
pub async fn a_certificate_for_a_made_key_is_served_with_it(fx: &impl DeployFixture) {
    let Some((case, algorithm)) = offering(fx).await else { return };
    let (first, _) = case.install_next(None).await;
    let bundle = Bundle { replaces: Some(first.version), ..case.bundle_for(0, algorithm).await };
    let receipt = case.install(&bundle).await;
    case.serves_with_made_key(&bundle).await;
    assert_eq!(
        ok(fx.deployer().install(&bundle).await),
        receipt,
        "a repeated install gives an equal receipt"
    );
    case.serves_with_made_key(&bundle).await;
    case.rollback(&receipt).await;
    case.serves(&first).await;
}

/// A key that waits for its certificate stays while others come and go, and one that is served stays usable.
pub async fn a_made_key_outlives_later_keys_and_installs(fx: &impl DeployFixture) {
    let Some((case, algorithm)) = offering(fx).await else { return };
    let first = case.bundle_for(0, algorithm).await;
    case.install(&first).await;
    let waiting = case.make(1, algorithm).await.public_key_hash();
    let renewed = Bundle { replaces: Some(first.version), ..case.bundle_for(0, algorithm).await };
    case.install(&renewed).await;
    case.serves_with_made_key(&renewed).await;
    assert_eq!(case.make(1, algorithm).await.public_key_hash(), waiting, "a key that waits is not replaced");
    let rotated = Bundle { replaces: Some(renewed.version), ..case.bundle_for(1, algorithm).await };
    let receipt = case.install(&rotated).await;
    case.serves_with_made_key(&rotated).await;
    case.rollback(&receipt).await;
    case.serves_with_made_key(&renewed).await;
}

/// Neither the request, nor what is printed of it, nor a receipt holds a private key; and on the target others
/// than its owner cannot read it.
pub async fn a_made_key_is_never_shown(fx: &impl DeployFixture) {
    let Some((case, algorithm)) = offering(fx).await else { return };
    let csr = case.make(0, algorithm).await;
    let receipt = case.install(&case.bundle_for(0, algorithm).await).await;
    let installed = case.installed().await;
    let deployer = &case.deployer;
    let mut shown = format!("{csr:?} {} {receipt:?} {installed:?} {deployer:?} {deployer:#?}", csr.pem());
    shown.push_str(&serde_json::to_string(&receipt).expect("a receipt can be stored"));
    assert!(!shown.contains("PRIVATE KEY"), "a key was shown");
    match fx.exposed_keys().await {
        Ok(exposed) => assert_eq!(exposed, Vec::<String>::new()),
        Err(reason) => assert!(reason.0.len() > 10, "a fixture that cannot tell says why"),
    }
}

/// *Abandonable*: wherever the call is dropped, asking again brings one key, and it stays the same.
pub async fn an_abandoned_key_is_made_once(fx: &impl DeployFixture) {
    let Some((case, algorithm)) = offering(fx).await else { return };
    for (number, polls) in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89].into_iter().enumerate() {
        let wanted = case.key_request(number, algorithm);
        let early = abandon_after(polls, case.deployer.make_key(&wanted)).await;
        let made = ok(fx.deployer().make_key(&wanted).await).public_key_hash();
        assert_eq!(case.make(number, algorithm).await.public_key_hash(), made, "after {polls} polls");
        let early = early.map(|csr| ok(csr).public_key_hash());
        assert!(early.is_none_or(|early| early == made), "after {polls} polls");
    }
}

/// A case and the quickest kind of key that its target makes; none if it makes none, which
/// [`a_key_that_is_not_offered_is_refused`] covers.
pub(super) async fn offering<F: DeployFixture>(fx: &F) -> Option<(Case<'_, F>, KeyAlgorithm)> {
    let case = Case::new(fx).await?;
    let offered = case.deployer.capabilities().keys;
    let algorithm = offered.iter().find(|kind| !kind.is_rsa()).or_else(|| offered.first()).copied()?;
    Some((case, algorithm))
}

impl<F: DeployFixture> Case<'_, F> {
    /// Asks for key `number`. Later numbers have greater ids, as the engine's have.
    pub(super) fn key_request(&self, number: usize, algorithm: KeyAlgorithm) -> KeyRequest {
        let seconds = 1_800_000_000 + i64::try_from(number).expect("few keys");
        KeyRequest {
            certificate: self.certificate.clone(),
            key: KeyId::new(Timestamp::from_unix_seconds(seconds), [7; 10]),
            algorithm,
            template: CsrTemplate::new(self.identifiers.iter().cloned()),
        }
    }

    pub(super) async fn make(&self, number: usize, algorithm: KeyAlgorithm) -> Csr {
        ok(self.deployer.make_key(&self.key_request(number, algorithm)).await)
    }

    /// The next version, for key `number`.
    pub(super) async fn bundle_for(&self, number: usize, algorithm: KeyAlgorithm) -> Bundle {
        let csr = self.make(number, algorithm).await;
        self.issuer.bundle_for(&self.certificate, &self.identifiers, &csr)
    }

    /// Asserts that readers find exactly this version with a key that fits.
    pub(super) async fn serves_with_made_key(&self, bundle: &Bundle) {
        let whole = Seen { key_fits: Some(true), ..sight(bundle) };
        assert_eq!(self.seen().await, Some(whole), "what a reader of {} sees", self.certificate);
        let installed = self.installed().await.expect("something is installed");
        assert_eq!(installed.fingerprint, bundle.chain.fingerprint());
    }
}
