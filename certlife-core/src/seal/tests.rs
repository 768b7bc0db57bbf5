#![expect(clippy::similar_names, reason = "a sealer seals what is then sealed")]

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
};

use proptest::prelude::*;

use super::{aead, *};
use crate::{error::Retry, secret::Secret};

fn passphrase(text: &str) -> LocalKeyRing {
    LocalKeyRing::from_passphrase(Secret::new(text), PassphraseCost::WEAKEST).unwrap()
}

fn raw(byte: u8) -> LocalKeyRing {
    LocalKeyRing::from_key(SecretBytes::new(vec![byte; 32])).unwrap()
}

fn sealer(ring: LocalKeyRing) -> Sealer {
    Sealer::new(Arc::new(ring))
}

fn binding() -> Binding {
    Binding::new("key", "019b6f0e")
}

fn secret() -> SecretBytes {
    SecretBytes::new(b"hunter2 hunter2 hunter2".to_vec())
}

fn reason(outcome: Result<SecretBytes>) -> String {
    let error = outcome.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsealable(_)), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);
    error.chain()
}

#[tokio::test]
async fn what_is_sealed_opens_after_a_round_through_the_store() {
    for ring in [passphrase("correct horse"), raw(7)] {
        let sealer = sealer(ring);
        let sealed = sealer.seal(&secret(), &binding()).await.unwrap();
        let stored = serde_json::to_string(&sealed).unwrap();
        let read: Sealed = serde_json::from_str(&stored).unwrap();
        assert_eq!(sealer.open(&read, &binding()).await.unwrap().expose(), secret().expose());
        for shown in [stored, format!("{sealed:?} {sealer:?}")] {
            assert!(!shown.contains("hunter") && !shown.contains("horse"), "{shown}");
        }
    }
}

#[tokio::test]
async fn every_secret_has_its_own_key_and_nonce() {
    let sealer = sealer(raw(7));
    let (first, second) = (
        sealer.seal(&secret(), &binding()).await.unwrap(),
        sealer.seal(&secret(), &binding()).await.unwrap(),
    );
    assert_ne!(first.wrapped_key, second.wrapped_key);
    assert_ne!(first.nonce, second.nonce);
    assert_ne!(first.ciphertext, second.ciphertext);
    // Mixing parts of two does not open.
    let mixed = Sealed { wrapped_key: second.wrapped_key, ..first };
    assert!(reason(sealer.open(&mixed, &binding()).await).contains("changed"));
}

#[tokio::test]
async fn no_bit_can_flip() {
    let sealer = sealer(raw(7));
    let sealed = sealer.seal(&secret(), &binding()).await.unwrap();
    let fields: [fn(&mut Sealed) -> &mut Vec<u8>; 3] =
        [|sealed| &mut sealed.wrapped_key, |sealed| &mut sealed.nonce, |sealed| &mut sealed.ciphertext];
    for field in fields {
        let length = field(&mut sealed.clone()).len();
        for bit in 0..8 * length {
            let mut changed = sealed.clone();
            field(&mut changed)[bit / 8] ^= 1 << (bit % 8);
            reason(sealer.open(&changed, &binding()).await);
        }
        for shorter in [0, length - 1] {
            let mut changed = sealed.clone();
            field(&mut changed).truncate(shorter);
            reason(sealer.open(&changed, &binding()).await);
        }
    }
    let mut changed = sealed.clone();
    changed.version = 2;
    assert!(reason(sealer.open(&changed, &binding()).await).contains("format 2"));
    let mut changed = sealed.clone();
    changed.key_id.push('0');
    assert!(reason(sealer.open(&changed, &binding()).await).contains("no key raw:"));
    let mut changed = sealed;
    changed.wrapped_key = vec![0; 10_000];
    assert!(reason(sealer.open(&changed, &binding()).await).contains("too long"));
}

#[tokio::test]
async fn a_secret_moved_to_another_record_does_not_open() {
    let sealer = sealer(raw(7));
    let sealed = sealer.seal(&secret(), &Binding::new("key", "12")).await.unwrap();
    for other in [
        Binding::new("key", "13"),
        Binding::new("account", "12"),
        Binding::new("key1", "2"),
        Binding::new("", "key12"),
    ] {
        assert!(reason(sealer.open(&sealed, &other).await).contains("belongs to another record"));
        reason(reseal_elsewhere(&sealed, &other).await);
    }
}

/// Reseals under another ring that opens the earlier one's secrets, and opens the outcome.
async fn reseal_elsewhere(sealed: &Sealed, binding: &Binding) -> Result<SecretBytes> {
    let next = sealer(raw(8).also_opens(raw(7)));
    let resealed = next.reseal(sealed, binding).await?.unwrap();
    next.open(&resealed, binding).await
}

#[tokio::test]
async fn another_passphrase_or_key_is_told() {
    let sealed = sealer(passphrase("right")).seal(&secret(), &binding()).await.unwrap();
    assert!(
        reason(sealer(passphrase("wrong")).open(&sealed, &binding()).await).contains("another passphrase")
    );
    assert!(
        reason(sealer(raw(7)).open(&sealed, &binding()).await).contains("has no key argon2id:m=8,t=1,p=1:")
    );
    let sealed = sealer(raw(7)).seal(&secret(), &binding()).await.unwrap();
    assert!(reason(sealer(raw(8)).open(&sealed, &binding()).await).contains("has no key raw:"));
}

#[tokio::test]
async fn keys_are_rotated_by_wrapping_the_data_key_again() {
    let steps = [
        (passphrase("one"), passphrase("two").also_opens(passphrase("one"))),
        (raw(1), raw(2).also_opens(raw(1))),
        (passphrase("one"), raw(2).also_opens(raw(0)).also_opens(passphrase("one"))),
    ];
    for (old, new) in steps {
        let (old, new) = (sealer(old), sealer(new));
        let before = old.seal(&secret(), &binding()).await.unwrap();
        assert_eq!(old.reseal(&before, &binding()).await.unwrap(), None);
        assert_eq!(new.open(&before, &binding()).await.unwrap().expose(), secret().expose());

        let after = new.reseal(&before, &binding()).await.unwrap().unwrap();
        assert_eq!((&after.ciphertext, &after.nonce), (&before.ciphertext, &before.nonce));
        assert_ne!(after.key_id(), before.key_id());
        assert_eq!(new.open(&after, &binding()).await.unwrap().expose(), secret().expose());
        assert_eq!(new.reseal(&after, &binding()).await.unwrap(), None);
        reason(old.open(&after, &binding()).await);
    }
}

#[tokio::test]
async fn a_passphrase_is_stretched_once_a_salt_however_many_ask() {
    let ring = Arc::new(passphrase("one"));
    let sealer = Sealer::new(ring.clone());
    let binding = binding();
    let seals = (0..8).map(|_| async { sealer.seal(&secret(), &binding).await });
    let sealed = futures_util::future::try_join_all(seals).await.unwrap();
    for sealed in &sealed {
        sealer.open(sealed, &binding).await.unwrap();
    }
    assert_eq!(ring.derivations(), 1);

    let restarted = Arc::new(passphrase("one"));
    restarted.adopt(sealed[0].key_id()).unwrap();
    let sealer = Sealer::new(restarted.clone());
    assert_eq!(sealer.seal(&secret(), &binding).await.unwrap().key_id(), sealed[0].key_id());
    assert_eq!(restarted.derivations(), 1);
}

#[tokio::test]
async fn a_restarted_ring_goes_on_with_the_salt_of_the_first_secret_that_it_opens() {
    let binding = binding();
    let (first, second) = (sealer(passphrase("one")), sealer(passphrase("one")));
    let first = first.seal(&secret(), &binding).await.unwrap();
    let second = second.seal(&secret(), &binding).await.unwrap();

    let ring = Arc::new(passphrase("one"));
    let restarted = Sealer::new(ring.clone());
    assert_eq!(restarted.reseal(&first, &binding).await.unwrap(), None);
    restarted.open(&second, &binding).await.unwrap();
    assert_eq!(restarted.seal(&secret(), &binding).await.unwrap().key_id(), first.key_id());
    assert_eq!(ring.derivations(), 2);
    // So that one salt is left in the end.
    let moved = restarted.reseal(&second, &binding).await.unwrap().unwrap();
    assert_eq!(moved.key_id(), first.key_id());
}

#[tokio::test]
async fn no_salt_is_taken_over_that_is_weaker_or_of_another_passphrase_or_too_late() {
    let binding = binding();
    let earlier = sealer(passphrase("one")).seal(&secret(), &binding).await.unwrap();
    let cost = PassphraseCost::new(16, 1, 1).unwrap();
    let stronger = LocalKeyRing::from_passphrase(Secret::new("one"), cost).unwrap();
    let changed = passphrase("two").also_opens(passphrase("one"));
    let late = passphrase("one");
    late.wrap(&SecretBytes::new(vec![0; 32]), b"").await.unwrap();
    for ring in [stronger, changed, late] {
        let id = ring.current_key_id();
        let ring = Arc::new(ring);
        Sealer::new(ring.clone()).open(&earlier, &binding).await.unwrap();
        assert_eq!(ring.current_key_id(), id);
    }
}

#[tokio::test]
async fn the_work_of_an_abandoned_call_is_not_lost() {
    let ring = Arc::new(passphrase("one"));
    let sealer = Sealer::new(ring.clone());
    let binding = binding();
    let secret = secret();
    let mut abandoned = Box::pin(sealer.seal(&secret, &binding));
    let waker = futures_util::task::noop_waker();
    // Usually pending, but the thread may be quicker than we are.
    let _ = abandoned.as_mut().poll(&mut std::task::Context::from_waker(&waker));
    drop(abandoned);
    sealer.seal(&secret, &binding).await.unwrap();
    assert_eq!(ring.derivations(), 1);
}

#[tokio::test]
async fn hostile_costs_in_a_stored_key_id_are_refused_before_any_work() {
    let ring = Arc::new(passphrase("one"));
    let sealer = Sealer::new(ring.clone());
    let sealed = sealer.seal(&secret(), &binding()).await.unwrap();
    let before = ring.derivations();
    let salt = sealed.key_id().rsplit(':').next().unwrap().to_owned();
    for key_id in [
        format!("argon2id:m=4294967295,t=1,p=1:{salt}"),
        format!("argon2id:m=8,t=4294967295,p=1:{salt}"),
        format!("argon2id:m=1048576,t=1,p=16777215:{salt}"),
        format!("argon2id:m=8,t=0,p=1:{salt}"),
        format!("argon2id:m=0,t=1,p=0:{salt}"),
        format!("argon2id:m=8,t=1,p=1,q=1:{salt}"),
        format!("argon2id:m=+8,t=1,p=1:{salt}"),
        format!("argon2id:t=1,m=8,p=1:{salt}"),
        "argon2id:m=8,t=1,p=1:".to_owned(),
        "argon2id:m=8,t=1,p=1:AAAA".to_owned(),
        format!("argon2id:m=8,t=1,p=1:{}", "A".repeat(400)),
        "argon2id:".to_owned(),
    ] {
        let hostile = Sealed { key_id: key_id.clone(), ..sealed.clone() };
        assert!(reason(sealer.open(&hostile, &binding()).await).contains("malformed"), "{key_id}");
        assert!(matches!(ring.adopt(&key_id).unwrap_err().kind(), ErrorKind::Input(_)), "{key_id}");
    }
    let long = Sealed { key_id: "x".repeat(513), ..sealed };
    assert!(reason(sealer.open(&long, &binding()).await).contains("too long"));
    assert_eq!(ring.derivations(), before);
}

#[test]
fn less_work_than_asked_for_is_not_adopted() {
    let weak = passphrase("one").current_key_id();
    let strong = LocalKeyRing::from_passphrase(Secret::new("one"), PassphraseCost::default()).unwrap();
    assert!(strong.current_key_id().starts_with("argon2id:m=65536,t=3,p=1:"));
    assert!(strong.adopt(&weak).unwrap_err().to_string().contains("less work"));
    passphrase("one").adopt(&strong.current_key_id()).unwrap();
    assert!(raw(1).adopt(&weak).unwrap_err().to_string().contains("raw key"));
}

#[test]
fn settings_are_checked() {
    assert!(LocalKeyRing::from_passphrase(Secret::new(""), PassphraseCost::WEAKEST).is_err());
    assert!(LocalKeyRing::from_key(SecretBytes::new(vec![0; 31])).is_err());
    for (memory, passes, lanes) in
        [(7, 1, 1), (8, 0, 1), (8, 1, 0), (8, 1, 2), (u32::MAX, 1, 1), (64, 17, 1), (1024, 1, 17)]
    {
        assert!(PassphraseCost::new(memory, passes, lanes).is_err(), "{memory} {passes} {lanes}");
    }
    assert_eq!(PassphraseCost::new(65_536, 3, 1).unwrap(), PassphraseCost::default());

    // 32 bytes whose Base64 has both special characters.
    let hex = "fbf0".repeat(16);
    let base64 = "+/D78Pvw+/D78Pvw+/D78Pvw+/D78Pvw+/D78Pvw+/A=";
    let id = LocalKeyRing::from_key_text(&Secret::new(hex.clone())).unwrap().current_key_id();
    for form in [
        hex.to_uppercase(),
        base64.into(),
        base64.trim_end_matches('=').into(),
        base64.replace('+', "-").replace('/', "_"),
        format!(" {base64}\n"),
    ] {
        assert_eq!(
            LocalKeyRing::from_key_text(&Secret::new(form.clone())).unwrap().current_key_id(),
            id,
            "{form}"
        );
    }
    for bad in ["", "00", &hex[1..], &hex.replace('f', "g"), "correct horse battery staple"] {
        assert!(LocalKeyRing::from_key_text(&Secret::new(bad)).is_err(), "{bad}");
    }
}

/// What earlier versions stored must open for ever.
#[tokio::test]
async fn the_stored_format_stands() {
    let ring = LocalKeyRing::from_key(SecretBytes::new((0..32).collect()))
        .unwrap()
        .also_opens(passphrase("correct horse"));
    let sealer = sealer(ring);
    for stored in [RAW_FIXTURE, PASSPHRASE_FIXTURE] {
        let sealed: Sealed = serde_json::from_str(stored).unwrap();
        assert_eq!(sealer.open(&sealed, &binding()).await.unwrap().expose(), secret().expose());
    }
}

const RAW_FIXTURE: &str = r#"{"version":1,"key_id":"raw:6c347501f3128cf3","wrapped_key":"pkgJ6BvZMrvfxc4tUrUsJxrCnhNlvbdge1oYenG4VQ2OrObjH+S7nzqiA5c1ynuVrt+FdEo/21Tzgc6K","nonce":"iAs8B70rmN1w0DHJ","ciphertext":"n7VnGtWx9/qqI/cr1LZdC+oOVMuwduSApDA7CliBy4wmE2PhOdHk"}"#;
const PASSPHRASE_FIXTURE: &str = r#"{"version":1,"key_id":"argon2id:m=8,t=1,p=1:hQ--s32n73_6Ju_eoxAqZw","wrapped_key":"I402tOF53BS0+YgmZPJmK2urLOsRF//NRvlDlUSwfVi8EO3CtDXm4Vm8mNi8tWGG2lEKm9l8y5Acxo1w","nonce":"RDbbVcymcOdwbhyS","ciphertext":"Un5wZH/xP2UD+DeUQb0G9spNLPHyJVlakpjMAL9pgeuJdRTafcdr"}"#;

/// A key management service that is away.
#[derive(Debug, Default)]
struct Away {
    calls: AtomicUsize,
}

#[async_trait]
impl KeyRing for Away {
    fn current_key_id(&self) -> String {
        "kms:1".into()
    }

    async fn wrap(&self, _: &SecretBytes, _: &[u8]) -> Result<Wrapped> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(ProviderName::new("kms"), Operation::Seal, ErrorKind::Unavailable))
    }

    async fn unwrap(&self, wrapped: &Wrapped, _: &[u8]) -> Result<SecretBytes> {
        assert!(wrapped.key_id.starts_with("raw:"));
        self.calls.fetch_add(1, Ordering::Relaxed);
        Err(Error::new(ProviderName::new("kms"), Operation::Seal, ErrorKind::Unavailable))
    }
}

#[tokio::test]
async fn a_service_that_is_away_does_not_look_like_a_lost_key() {
    let ring = Arc::new(Away::default());
    let away = Sealer::new(ring.clone());
    let sealed = sealer(raw(7)).seal(&secret(), &binding()).await.unwrap();
    for error in [
        away.seal(&secret(), &binding()).await.unwrap_err(),
        away.open(&sealed, &binding()).await.unwrap_err(),
        away.reseal(&sealed, &binding()).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unavailable, Retry::Backoff));
    }
    assert_eq!(ring.calls.load(Ordering::Relaxed), 3);
}

/// A key ring that returns keys of the wrong length.
#[test]
fn a_key_of_another_length_opens_nothing() {
    let (nonce, ciphertext) = aead::seal(&SecretBytes::new(vec![1; 32]), b"secret", b"").unwrap();
    for length in [0, 16, 31, 33] {
        assert!(aead::open(&SecretBytes::new(vec![1; length]), &nonce, &ciphertext, b"").is_none());
    }
}

proptest! {
    #[test]
    fn any_stored_text_is_survived(key_id in "(argon2id:|raw:)?[a-z0-9=,:]{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sealed = Sealed { version: 1, key_id, wrapped_key: bytes.clone(), nonce: bytes.clone(), ciphertext: bytes };
        let ring = sealer(raw(7).also_opens(passphrase("one")));
        prop_assert!(runtime.block_on(ring.open(&sealed, &binding())).is_err());
    }
}
