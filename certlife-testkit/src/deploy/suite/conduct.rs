//! How a deployer behaves besides: honest about itself, its failures and secrets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{
    Error, ErrorKind, PrivateKey,
    challenge::{HttpBody, HttpFile, HttpPath},
    deploy::{Bundle, TargetResponse},
};

use super::{super::fixture::DeployFixture, Case, identifier, ok, refused};

/// `probe` succeeds for a target that works, repeatedly, and changes nothing.
pub async fn the_target_can_be_tested(fx: &impl DeployFixture) {
    let deployer = fx.deployer();
    ok(deployer.probe().await);
    let Some(case) = Case::new(fx).await else { return };
    case.serves_nothing().await;
    let (bundle, _) = case.install_next(None).await;
    ok(deployer.probe().await);
    case.serves(&bundle).await;
}

/// Name and capabilities do not depend on what happened.
pub async fn capabilities_and_name_stay(fx: &impl DeployFixture) {
    let deployer = fx.deployer();
    let (name, capabilities) = (deployer.provider(), deployer.capabilities());
    assert_eq!(name.as_str(), name.as_str().to_lowercase());
    if let Some(case) = Case::new(fx).await {
        case.install_next(None).await;
    }
    assert_eq!((deployer.provider(), deployer.capabilities()), (name.clone(), capabilities.clone()));
    assert_eq!((fx.deployer().provider(), fx.deployer().capabilities()), (name, capabilities));
}

/// A target that cannot be reached or written is told as that, in the deployer's name, by every change.
pub async fn a_broken_target_is_told(fx: &impl DeployFixture) {
    let Some(case) = Case::new(fx).await else { return };
    let broken = match fx.with_broken_target() {
        Ok(broken) => broken,
        Err(reason) => {
            assert!(reason.0.len() > 10, "a fixture that cannot stage something says why");
            let (bundle, _) = case.install_next(None).await;
            return case.serves(&bundle).await;
        }
    };
    let bundle = case.bundle();
    let mut errors = vec![refused(broken.probe().await), refused(broken.install(&bundle).await)];
    let response = TargetResponse::Http(HttpFile {
        host: identifier("www.example.org"),
        path: HttpPath::new("/.well-known/acme-challenge/token").unwrap_or_else(|error| panic!("{error}")),
        body: HttpBody::new("token").unwrap_or_else(|error| panic!("{error}")),
    });
    errors.extend(broken.put_challenge(&response).await.err());
    for error in errors {
        let told = matches!(
            error.kind(),
            ErrorKind::Io(_)
                | ErrorKind::CommandFailed(_)
                | ErrorKind::Unauthorized
                | ErrorKind::Forbidden(_)
                | ErrorKind::Unreachable
                | ErrorKind::Timeout
                | ErrorKind::Unsupported(_)
        );
        assert!(told, "{}", error.chain());
        assert_eq!(*error.provider(), broken.provider());
        prints_no_key(&error, bundle.key.as_ref());
    }
}

/// Neither a key nor the deployer's own secrets appear in what is printed or stored.
pub async fn secrets_are_never_printed(fx: &impl DeployFixture) {
    let mut printed = vec![format!("{:?}", fx.deployer()), fx.debug_of_builder()];
    if let Some(case) = Case::new(fx).await {
        let (bundle, receipt) = case.install_next(None).await;
        let deployer = &case.deployer;
        printed.push(format!("{deployer:?} {deployer:#?} {receipt:?}"));
        printed.push(serde_json::to_string(&receipt).expect("a receipt can be stored"));
        let mixed = Bundle { key: bundle.key.clone(), ..case.bundle() };
        let error = refused(deployer.install(&mixed).await);
        printed.push(format!("{error:?} {}", error.chain()));
        for text in &printed {
            has_no_key(text, bundle.key.as_ref());
        }
    }
    match fx.secrets() {
        Ok(secrets) => {
            for secret in secrets {
                assert!(printed.iter().all(|text| !text.contains(&secret)), "a secret was printed");
            }
        }
        Err(reason) => assert!(reason.0.len() > 10, "a fixture that has no secrets says why"),
    }
}

fn prints_no_key(error: &Error, key: Option<&PrivateKey>) {
    has_no_key(&format!("{error:?} {}", error.chain()), key);
}

/// Looks for the key as PEM, and for its encoding as numbers, which `{:?}` of bytes prints.
fn has_no_key(text: &str, key: Option<&PrivateKey>) {
    assert!(!text.contains("PRIVATE KEY"), "a key was printed");
    let Some(key) = key else { return };
    let der = ok(key.to_pkcs8_der());
    // The first bytes of a PKCS#8 key say only what kind it is.
    let secret = &der.expose()[36..60];
    let numbers = format!("{secret:?}");
    assert!(!text.contains(numbers.trim_matches(['[', ']'])), "a key was printed");
    assert!(!text.contains(&STANDARD.encode(secret)), "a key was printed");
}
