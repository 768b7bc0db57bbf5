//! The account: made once, kept through crashes, and given a new key without being lost.

use std::sync::Arc;

use certlife_core::{
    CertificateAuthority as _, ErrorKind, KeyAlgorithm, PrivateKey, Retry, Secret, Vault, store::MemoryStore,
};
use serde_json::{Value, json};

use super::{
    super::ExternalAccount,
    Acme, acme, builder,
    fake::{Fake, Mishap, Step},
    intent, obtain, request, vault, vault_in,
};

async fn stored(vault: &Vault) -> Value {
    let names = vault.entries(None, 10).await.unwrap().items;
    assert_eq!(names.len(), 1, "{names:?}");
    serde_json::from_slice(vault.read(&names[0]).await.unwrap().unwrap().secret.expose()).unwrap()
}

async fn works(fake: &Fake, acme: &Acme) {
    obtain(fake, acme, &intent(request(&["works.example"]))).await;
}

#[tokio::test]
async fn one_account_serves_every_later_provider() {
    let (fake, vault) = (Fake::start().await, vault());
    for _ in 0..3 {
        works(&fake, &acme(&fake, &vault)).await;
    }
    assert_eq!(fake.world().accounts.len(), 1);
    assert_eq!(fake.requests_for(Step::NewAccount), 1);
}

#[tokio::test]
async fn the_vault_holds_the_key_before_the_ca_hears_of_it() {
    let (fake, vault) = (Fake::start().await, vault());
    fake.befall(Step::NewAccount, Mishap::LoseAnswer);
    acme(&fake, &vault).probe().await.unwrap_err();
    let before = stored(&vault).await;
    assert!(before["id"].is_null());
    acme(&fake, &vault).probe().await.unwrap();
    let after = stored(&vault).await;
    assert_eq!(after["key_pkcs8"], before["key_pkcs8"]);
    assert_eq!(fake.world().accounts.len(), 1, "the lost account is found by its key");
}

#[tokio::test]
async fn what_the_vault_holds_reads_as_credentials_of_instant_acme() {
    let (fake, vault) = (Fake::start().await, vault());
    acme(&fake, &vault).probe().await.unwrap();
    let stored = stored(&vault).await;
    assert_eq!(stored["directory"], fake.directory());
    let credentials: instant_acme::AccountCredentials = serde_json::from_value(stored.clone()).unwrap();
    let again = serde_json::to_value(&credentials).unwrap();
    for member in ["id", "key_pkcs8", "directory"] {
        assert_eq!(again[member], stored[member]);
    }
}

#[tokio::test]
async fn processes_that_share_a_store_open_one_account() {
    let (fake, store) = (Fake::start().await, Arc::new(MemoryStore::new()));
    let providers: Vec<_> = (0..6).map(|_| acme(&fake, &vault_in(store.clone()))).collect();
    let probes =
        futures_util::future::join_all(providers.iter().map(certlife_core::CertificateAuthority::probe))
            .await;
    let identities: std::collections::BTreeSet<_> =
        probes.into_iter().map(|probe| probe.unwrap().identity.unwrap().to_string()).collect();
    assert_eq!(identities.len(), 1);
    assert_eq!(fake.world().accounts.len(), 1);
}

#[tokio::test]
async fn terms_that_are_not_agreed_to_are_named_with_their_address() {
    let (fake, vault) = (Fake::start().await, vault());
    let strict = builder(&fake, &vault).terms_agreed(false).build().unwrap();
    let error = strict.probe().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    let message = error.to_string();
    assert!(message.contains("terms_agreed") && message.contains("https://ca.test/terms.pdf"), "{message}");
    assert_eq!(fake.world().accounts.len(), 0);
    // With an account that exists nothing has to be agreed to.
    acme(&fake, &vault).probe().await.unwrap();
    strict.probe().await.unwrap();
}

#[tokio::test]
async fn an_external_account_is_bound_and_its_lack_named() {
    let (fake, vault) = (Fake::start().await, vault());
    fake.world().external_accounts.insert("kid-1".into(), b"0123456789abcdef".to_vec());
    let error = acme(&fake, &vault).probe().await.unwrap_err();
    assert!(error.to_string().contains("`eab`"), "{error}");
    let with = |key: &str| {
        let external = ExternalAccount { key_id: "kid-1".into(), hmac_key: Secret::new(key) };
        builder(&fake, &vault).external_account(external).build()
    };
    let wrong = with("AAAA").unwrap().probe().await.unwrap_err();
    assert!(
        matches!(wrong.kind(), ErrorKind::Forbidden(words) if words.as_str().contains("binding")),
        "{wrong}"
    );
    // Padding, blanks and the other alphabet are forgiven.
    with(" MDEyMzQ1Njc4OWFiY2RlZg== ").unwrap().probe().await.unwrap();
    assert_eq!(fake.world().accounts[0].bound_to.as_deref(), Some("kid-1"));
    assert!(with("no base64!").unwrap_err().to_string().contains("eab.hmac_key"));
}

#[tokio::test]
async fn keys_of_every_kind_that_are_brought_open_accounts_of_their_own() {
    let (fake, vault) = (Fake::start().await, vault());
    let kinds = [
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::EcdsaP256,
        KeyAlgorithm::EcdsaP384,
        KeyAlgorithm::EcdsaP521,
        KeyAlgorithm::Ed25519,
    ];
    for kind in kinds {
        let key = PrivateKey::generate(kind).unwrap();
        let with = || builder(&fake, &vault).account_key(key.clone()).build().unwrap();
        works(&fake, &with()).await;
        works(&fake, &with()).await;
        assert_eq!(fake.world().accounts.last().unwrap().jwk, key.jwk().unwrap());
    }
    assert_eq!(fake.world().accounts.len(), kinds.len());
}

#[tokio::test]
async fn contacts_are_told_once_and_again_when_they_change() {
    let (fake, vault) = (Fake::start().await, vault());
    let with = |contacts: &[&str]| builder(&fake, &vault).contacts(contacts.to_vec()).build();
    with(&["a@x.test"]).unwrap().probe().await.unwrap();
    with(&["a@x.test"]).unwrap().probe().await.unwrap();
    assert_eq!(
        (fake.requests_for(Step::Account), fake.world().accounts[0].contacts.clone()),
        (0, json!(["mailto:a@x.test"]))
    );
    with(&["mailto:b@x.test"]).unwrap().probe().await.unwrap();
    with(&["b@x.test"]).unwrap().probe().await.unwrap();
    assert_eq!(
        (fake.requests_for(Step::Account), fake.world().accounts[0].contacts.clone()),
        (1, json!(["mailto:b@x.test"]))
    );
    for bad in ["", "x", "a@b", "a@x.test,b@x.test", "a@x.test?subject=x", "a b@x.test"] {
        assert!(with(&[bad]).unwrap_err().to_string().contains("contacts"), "{bad}");
    }
}

#[tokio::test]
async fn an_account_that_the_ca_lost_is_registered_again() {
    let (fake, vault) = (Fake::start().await, vault());
    let kept = acme(&fake, &vault);
    works(&fake, &kept).await;
    fake.world().accounts[0].gone = true;
    works(&fake, &kept).await;
    fake.world().accounts[1].gone = true;
    works(&fake, &acme(&fake, &vault)).await;
    assert_eq!(fake.world().accounts.len(), 3);
}

#[tokio::test]
async fn a_deactivated_account_is_told_and_not_replaced() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    acme.probe().await.unwrap();
    fake.world().accounts[0].deactivated = true;
    let told = acme.probe().await.unwrap_err();
    assert!(told.to_string().contains("deactivated"), "{told}");
    let refused = acme.place(&intent(request(&["a.example"]))).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Forbidden(_)), "{refused}");
    assert_eq!(fake.world().accounts.len(), 1);
}

#[tokio::test]
async fn a_new_key_takes_over_here_and_in_other_processes() {
    let (fake, store) = (Fake::start().await, Arc::new(MemoryStore::new()));
    let (one, other) = (acme(&fake, &vault_in(store.clone())), acme(&fake, &vault_in(store.clone())));
    works(&fake, &one).await;
    works(&fake, &other).await;
    let old = fake.world().accounts[0].jwk.clone();
    one.roll_account_key().await.unwrap();
    assert_ne!(fake.world().accounts[0].jwk, old);
    let unaware = acme(&fake, &vault_in(store.clone()));
    unaware.probe().await.unwrap();
    one.roll_account_key().await.unwrap();
    unaware.probe().await.unwrap();
    works(&fake, &one).await;
    works(&fake, &other).await;
    works(&fake, &acme(&fake, &vault_in(store))).await;
    assert_eq!(fake.world().accounts.len(), 1);
}

#[tokio::test]
async fn a_key_change_survives_a_crash_at_every_step() {
    // What is lost, and whether the server has carried the change out by then.
    for (step, skipped) in [(Step::KeyChange, 0), (Step::NewAccount, 0), (Step::NewAccount, 1)] {
        for arrives in [true, false] {
            let (fake, vault) = (Fake::start().await, vault());
            let first = acme(&fake, &vault);
            works(&fake, &first).await;
            let old = stored(&vault).await["key_pkcs8"].clone();
            for _ in 0..skipped {
                fake.befall(step, Mishap::json(|_| {}));
            }
            for _ in 0..3 {
                let lost =
                    if arrives { Mishap::LoseAnswer } else { Mishap::problem(503, "serverInternal", None) };
                fake.befall(step, lost);
            }
            let outcome = first.roll_account_key().await;
            drop(first);
            if let Err(error) = &outcome {
                assert!(matches!(error.kind(), ErrorKind::Uncertain | ErrorKind::Unavailable), "{error:?}");
                let pending = stored(&vault).await;
                assert!(pending["next_key_pkcs8"].is_string(), "both keys are kept: {step:?} {arrives}");
            }
            // As after a restart, and once the server is well again.
            let later = acme(&fake, &vault);
            for _ in 0..8 {
                if later.probe().await.is_ok() {
                    break;
                }
            }
            works(&fake, &acme(&fake, &vault)).await;
            let settled = stored(&vault).await;
            assert!(settled["next_key_pkcs8"].is_null(), "{step:?} {arrives}");
            assert_ne!(settled["key_pkcs8"], old, "the change goes on until it is done");
            assert_eq!(fake.world().accounts.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_key_change_that_is_refused_leaves_the_old_key() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    works(&fake, &acme).await;
    let old = stored(&vault).await["key_pkcs8"].clone();
    fake.befall(Step::KeyChange, Mishap::problem(400, "badPublicKey", None));
    let refused = acme.roll_account_key().await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Rejected(_)), "{refused}");
    fake.world().offers_key_change = false;
    let fresh = super::acme(&fake, &vault);
    assert!(matches!(fresh.roll_account_key().await.unwrap_err().kind(), ErrorKind::Unsupported(_)));
    works(&fake, &fresh).await;
    let stored = stored(&vault).await;
    assert_eq!((&stored["key_pkcs8"], &stored["next_key_pkcs8"]), (&old, &Value::Null));
}

#[tokio::test]
async fn processes_that_change_the_key_at_once_agree_on_one() {
    let (fake, store) = (Fake::start().await, Arc::new(MemoryStore::new()));
    let providers: Vec<_> = (0..4).map(|_| acme(&fake, &vault_in(store.clone()))).collect();
    works(&fake, &providers[0]).await;
    let outcomes = futures_util::future::join_all(providers.iter().map(Acme::roll_account_key)).await;
    assert!(outcomes.iter().any(Result::is_ok), "{outcomes:?}");
    for provider in &providers {
        works(&fake, provider).await;
    }
    assert!(stored(&vault_in(store)).await["next_key_pkcs8"].is_null());
    assert_eq!(fake.world().accounts.len(), 1);
}
