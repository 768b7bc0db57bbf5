//! Keys that are made here: whose they are, where they lie, and when they go.

use std::{fs, os::unix::fs::MetadataExt as _};

use certlife_core::{
    CsrTemplate, Deployer as _, KeyAlgorithm, KeyId, PrivateKey, Secret, Timestamp,
    deploy::{Bundle, KeyRequest},
};

use super::{Case, Local, Machine};

fn wanted(case: &Case, number: i64) -> KeyRequest {
    KeyRequest {
        certificate: case.www.clone(),
        key: KeyId::new(Timestamp::from_unix_seconds(1_800_000_000 + number), [0; 10]),
        algorithm: KeyAlgorithm::EcdsaP256,
        template: CsrTemplate::new(["www.example.org".parse().unwrap()]),
    }
}

async fn bundle(case: &Case, number: i64) -> Bundle {
    let csr = case.local.make_key(&wanted(case, number)).await.unwrap();
    case.issuer.bundle_for(&case.www, &["www.example.org".parse().unwrap()], &csr)
}

fn keys(case: &Case) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(case.path("keys"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_key_lies_in_one_private_file_and_is_nowhere_else() {
    let case = Case::plain();
    let asked = wanted(&case, 0);
    let csr = case.local.make_key(&asked).await.unwrap();
    assert_eq!(keys(&case), [format!("{}.pem", asked.key)]);
    let file = case.path("keys").join(format!("{}.pem", asked.key));
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(case.path("keys")).unwrap().mode() & 0o7777, 0o700);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(
        PrivateKey::from_pem(&Secret::new(text.clone())).unwrap().public_key_hash(),
        csr.public_key_hash()
    );
    let secret = text.lines().nth(1).unwrap();
    assert!(!format!("{csr:?}{}{:?}", csr.pem(), case.local).contains(secret));
    assert_eq!(case.machine.folder.files_with(secret), [file]);
}

#[tokio::test]
async fn keys_go_with_the_last_version_that_has_them() {
    let case = Case::new(|root| Local::builder(root.join("certificates")).keep(0));
    case.local.make_key(&wanted(&case, 0)).await.unwrap(); // For an order that came to nothing.
    let mut before = None;
    for number in 1..5 {
        let bundle = Bundle { replaces: before, ..bundle(&case, number).await };
        case.local.install(&bundle).await.unwrap();
        before = Some(bundle.version);
    }
    case.local.make_key(&wanted(&case, 9)).await.unwrap(); // For an order that is under way.
    let name = |number| format!("{}.pem", wanted(&case, number).key);
    assert_eq!(
        keys(&case),
        [name(3), name(4), name(9)],
        "the live one, the one before, and the one that waits"
    );
    case.local.uninstall(&case.www).await.unwrap();
    assert_eq!(case.machine.folder.remains(), Vec::<String>::new());
}

/// The server would not start without it: what is left of the version is not that version, until it is installed again.
#[tokio::test]
async fn a_live_version_that_has_lost_its_key_is_noticed_and_repaired() {
    let case = Case::plain();
    let bundle = bundle(&case, 0).await;
    case.local.install(&bundle).await.unwrap();
    let version = case.local.installed(&case.www).await.unwrap().unwrap().version;
    assert_eq!(version, Some(bundle.version));
    fs::remove_file(case.path("live/privkey.pem")).unwrap();
    assert_eq!(case.local.installed(&case.www).await.unwrap(), None);
    case.local.install(&bundle).await.unwrap();
    assert_eq!(case.local.installed(&case.www).await.unwrap().unwrap().version, version);
    assert!(case.path("live/privkey.pem").exists());
}

#[tokio::test]
async fn combined_files_hold_the_key_that_was_made_here() {
    let case = Case::new(|root| Local::builder(root.join("certificates")).combined(true));
    let bundle = bundle(&case, 0).await;
    case.local.install(&bundle).await.unwrap();
    let combined = fs::read_to_string(case.path("live/combined.pem")).unwrap();
    let key = PrivateKey::from_pem(&Secret::new(combined)).unwrap();
    assert_eq!(key.public_key_hash(), bundle.chain.info().unwrap().key_hash);
}

#[tokio::test]
async fn what_is_not_the_key_that_was_made_is_told_and_stays() {
    let case = Case::plain();
    let asked = wanted(&case, 0);
    case.local.make_key(&asked).await.unwrap();
    let other_kind = KeyRequest { algorithm: KeyAlgorithm::EcdsaP384, ..asked.clone() };
    let error = case.local.make_key(&other_kind).await.unwrap_err();
    assert!(error.to_string().contains("a key of another kind"), "{error}");
    let file = case.path("keys").join(format!("{}.pem", asked.key));
    fs::write(&file, "somebody was here").unwrap();
    let error = case.local.make_key(&asked).await.unwrap_err();
    assert!(error.to_string().contains("is not the private key that it was made as"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody was here");
    let elsewhere = Machine::plain();
    fs::create_dir_all(elsewhere.path("certificates/www/versions")).unwrap();
    std::os::unix::fs::symlink(case.path("keys"), elsewhere.path("certificates/www/keys")).unwrap();
    let error = elsewhere.local().make_key(&asked).await.unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
}
