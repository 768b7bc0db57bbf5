//! Responses to challenges: shown exactly, beside each other, and gone when removed.

use std::{collections::BTreeSet, sync::Arc};

use certlife_core::{
    Deployer, ErrorKind, Identifier,
    challenge::{ChallengeKind, HttpBody, HttpFile, HttpPath, TlsAlpnResponse},
    deploy::{ChallengeHandle, TargetResponse},
};
use der::Decode as _;
use x509_cert::{Certificate, der::oid::ObjectIdentifier, ext::pkix::SubjectAltName};

use super::{super::fixture::DeployFixture, Case, abandon_after, identifier, ok, refused, sight, stored};

/// `id-pe-acmeIdentifier` (RFC 8737 §3).
const ACME_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.31");

/// A kind of challenge that the target does not offer is refused as unsupported.
pub async fn an_unsupported_challenge_is_refused(fx: &impl DeployFixture) {
    let deployer = fx.deployer();
    let offered = deployer.capabilities().challenges;
    let possible = BTreeSet::from([ChallengeKind::Http, ChallengeKind::TlsAlpn]);
    assert!(offered.is_subset(&possible), "a target answers no other challenges: {offered:?}");
    for response in [file("www.example.org", "token-0"), digest("www.example.org", 0)] {
        if offered.contains(&response.kind()) {
            let handle = ok(deployer.put_challenge(&response).await);
            ok(deployer.remove_challenge(&handle).await);
            continue;
        }
        let error = refused(deployer.put_challenge(&response).await);
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{}", error.chain());
        // It cannot be there, so it is gone.
        ok(deployer.remove_challenge(&ChallengeHandle::unknown(response)).await);
    }
}

/// A file is served at its path on its host, byte for byte, and nowhere else.
pub async fn a_challenge_file_is_served_as_it_is(fx: &impl DeployFixture) {
    let Some(deployer) = deployer_for(fx, ChallengeKind::Http) else { return };
    let body = "0123.abc-_~!\r\nsecond line with a $HOME, a `date`, a {host} and 100 %41\n";
    for path in
        ["/.well-known/acme-challenge/token-1", "/.well-known/pki-validation/A0.txt", "/.well-known/x"]
    {
        for host in ["www.example.org", "bücher.example", "192.0.2.1", "2001:db8::1"] {
            let response = http_file(host, path, body);
            let handle = ok(deployer.put_challenge(&response).await);
            assert_eq!(handle.response, response, "a handle says what was placed");
            assert_eq!(shown(fx, &response).await, Some(body.to_owned()), "{path} at {host}");
            let other = HttpPath::new(&format!("{path}x")).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(fx.http(&identifier(host), &other).await, None);
            ok(deployer.remove_challenge(&handle).await);
            assert_eq!(shown(fx, &response).await, None, "{path} at {host}");
        }
    }
}

/// Files stand beside each other, in one directory and in several, and each goes alone.
pub async fn challenge_files_stand_side_by_side(fx: &impl DeployFixture) {
    let Some(deployer) = deployer_for(fx, ChallengeKind::Http) else { return };
    let responses = [
        file("www.example.org", "token-1"),
        file("www.example.org", "token-2"),
        http_file("www.example.org", "/.well-known/pki-validation/token-3.txt", "3"),
        http_file("www.example.org", "/.well-known/a/b/c/d", "4"),
    ];
    let placed = futures_util::future::join_all(responses.iter().map(|it| deployer.put_challenge(it))).await;
    let handles: Vec<_> = placed.into_iter().map(ok).collect();
    for (removed, handle) in handles.iter().enumerate() {
        for (number, response) in responses.iter().enumerate() {
            assert_eq!(shown(fx, response).await.is_some(), number >= removed, "{response:?}");
        }
        ok(deployer.remove_challenge(handle).await);
    }
    assert_eq!(shown(fx, &responses[3]).await, None);
}

/// The certificate has the one identifier and the digest, critical (RFC 8737 §3), for names and addresses.
pub async fn a_challenge_certificate_is_what_the_ca_wants_to_see(fx: &impl DeployFixture) {
    let Some(deployer) = deployer_for(fx, ChallengeKind::TlsAlpn) else { return };
    for host in ["www.example.org", "xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"] {
        let response = digest(host, 0xd1);
        let handle = ok(deployer.put_challenge(&response).await);
        let der = fx.tls_alpn(&identifier(host)).await.expect("the handshake succeeds");
        let certificate = Certificate::from_der(&der).expect("it shows a certificate");
        assert_eq!(proof_in(&certificate), [&[0x04, 32][..], &[0xd1; 32]].concat());
        let names: Option<(bool, SubjectAltName)> =
            certificate.tbs_certificate().get_extension().ok().flatten();
        assert_eq!(names.expect("it has alternative names").1.0.len(), 1, "the identifier and no other");
        let info = certlife_core::CertificateInfo::read(&der).expect("it can be read");
        assert_eq!(info.identifiers, BTreeSet::from([identifier(host)]));
        ok(deployer.remove_challenge(&handle).await);
        assert_eq!(fx.tls_alpn(&identifier(host)).await, None);
    }
}

/// Responses for several names stand beside each other; of several for one name the latest is shown, and
/// when it goes the one before.
pub async fn challenge_certificates_stand_side_by_side(fx: &impl DeployFixture) {
    let Some(deployer) = deployer_for(fx, ChallengeKind::TlsAlpn) else { return };
    let responses = [digest("a.example.org", 1), digest("b.example.org", 2), digest("a.example.org", 3)];
    let mut handles = Vec::new();
    for response in &responses {
        handles.push(ok(deployer.put_challenge(response).await));
    }
    let shows = async |host: &str| {
        let der = fx.tls_alpn(&identifier(host)).await?;
        Some(proof_in(&Certificate::from_der(&der).expect("it shows a certificate"))[2])
    };
    assert_eq!((shows("a.example.org").await, shows("b.example.org").await), (Some(3), Some(2)));
    ok(deployer.remove_challenge(&handles[2]).await);
    assert_eq!((shows("a.example.org").await, shows("b.example.org").await), (Some(1), Some(2)));
    ok(deployer.remove_challenge(&handles[0]).await);
    assert_eq!((shows("a.example.org").await, shows("b.example.org").await), (None, Some(2)));
}

/// Clients get the certificate as before, a validator never gets it, and neither gets the other's.
pub async fn a_challenge_certificate_changes_nothing_for_others(fx: &impl DeployFixture) {
    let Some(deployer) = deployer_for(fx, ChallengeKind::TlsAlpn) else { return };
    let Some(case) = Case::new(fx).await else { return };
    let (bundle, _) = case.install_next(None).await;
    assert_eq!(fx.tls_alpn(&case.identifiers[0]).await, None, "no challenge, no handshake");
    let handle = ok(deployer.put_challenge(&digest("www.example.org", 1)).await);
    assert_eq!(case.seen().await, Some(sight(&bundle)));
    let shown = fx.tls_alpn(&case.identifiers[0]).await.expect("the challenge is answered");
    assert_ne!(shown, *bundle.chain.leaf());
    ok(deployer.remove_challenge(&handle).await);
    case.serves(&bundle).await;
    assert_eq!(fx.tls_alpn(&case.identifiers[0]).await, None);
}

/// *Idempotent*: placing what is placed is success, and one removal removes it.
pub async fn placing_a_response_twice_is_success(fx: &impl DeployFixture) {
    for (deployer, response) in offered(fx) {
        ok(deployer.put_challenge(&response).await);
        let handle = ok(fx.deployer().put_challenge(&response).await);
        assert!(shown(fx, &response).await.is_some());
        ok(deployer.remove_challenge(&handle).await);
        assert_eq!(shown(fx, &response).await, None);
    }
}

/// *Idempotent*: removing what is gone is success, and does not touch others.
pub async fn removing_a_response_twice_is_success(fx: &impl DeployFixture) {
    for (deployer, response) in offered(fx) {
        let sibling = sibling(&response);
        ok(deployer.put_challenge(&sibling).await);
        let handle = ok(deployer.put_challenge(&response).await);
        for deployer in [&deployer, &deployer, &fx.deployer()] {
            ok(deployer.remove_challenge(&handle).await);
            assert_eq!(shown(fx, &response).await, None);
            assert!(shown(fx, &sibling).await.is_some());
        }
    }
}

/// Removing what was never placed is success.
pub async fn removing_a_response_that_never_was_is_success(fx: &impl DeployFixture) {
    for (deployer, response) in offered(fx) {
        ok(deployer.remove_challenge(&ChallengeHandle::unknown(response.clone())).await);
        assert_eq!(shown(fx, &response).await, None);
    }
}

/// *Durable*: a handle that was stored and read by a new process removes the response.
pub async fn a_response_can_be_removed_after_a_restart(fx: &impl DeployFixture) {
    for (deployer, response) in offered(fx) {
        let handle = stored(&ok(deployer.put_challenge(&response).await));
        drop(deployer);
        assert!(shown(fx, &response).await.is_some());
        ok(fx.deployer().remove_challenge(&handle).await);
        assert_eq!(shown(fx, &response).await, None);
    }
}

/// *Durable*: if the answer was lost, what was placed suffices to remove it.
pub async fn a_handle_made_from_the_response_alone_works(fx: &impl DeployFixture) {
    for (deployer, response) in offered(fx) {
        ok(deployer.put_challenge(&response).await);
        ok(fx.deployer().remove_challenge(&stored(&ChallengeHandle::unknown(response.clone()))).await);
        assert_eq!(shown(fx, &response).await, None);
    }
}

/// *Abandonable*: wherever placing is dropped, it can be repeated, and removed.
pub async fn an_abandoned_response_can_be_removed(fx: &impl DeployFixture) {
    for (deployer, response) in offered(fx) {
        for polls in [0, 1, 2, 3, 5, 8, 13, 21, 34] {
            abandon_after(polls, deployer.put_challenge(&response)).await;
            ok(deployer.put_challenge(&response).await);
            assert!(shown(fx, &response).await.is_some());
            abandon_after(polls, deployer.remove_challenge(&ChallengeHandle::unknown(response.clone())))
                .await;
            ok(deployer.remove_challenge(&ChallengeHandle::unknown(response.clone())).await);
            assert_eq!(shown(fx, &response).await, None);
        }
    }
}

/// The value of the acmeIdentifier extension, which is critical.
fn proof_in(certificate: &Certificate) -> Vec<u8> {
    let extensions = certificate.tbs_certificate().extensions().expect("it has extensions");
    let proof = extensions.iter().find(|extension| extension.extn_id == ACME_IDENTIFIER);
    let proof = proof.expect("it has the acmeIdentifier extension");
    assert!(proof.critical, "acmeIdentifier is critical");
    proof.extn_value.as_bytes().to_vec()
}

/// A deployer, if it offers this kind; [`an_unsupported_challenge_is_refused`] covers the other case.
fn deployer_for(fx: &impl DeployFixture, kind: ChallengeKind) -> Option<Arc<dyn Deployer>> {
    let deployer = fx.deployer();
    deployer.capabilities().challenges.contains(&kind).then_some(deployer)
}

/// A response of each kind that the target offers, with a deployer for each.
pub(super) fn offered(fx: &impl DeployFixture) -> Vec<(Arc<dyn Deployer>, TargetResponse)> {
    [file("www.example.org", "token-1"), digest("www.example.org", 1)]
        .into_iter()
        .filter_map(|response| Some((deployer_for(fx, response.kind())?, response)))
        .collect()
}

/// What the CA gets to see, as text; none if nothing.
pub(super) async fn shown(fx: &impl DeployFixture, response: &TargetResponse) -> Option<String> {
    match response {
        TargetResponse::Http(file) => fx.http(&file.host, &file.path).await,
        TargetResponse::TlsAlpn(alpn) => fx.tls_alpn(&alpn.identifier).await.map(|der| format!("{der:?}")),
    }
}

/// Another response of the same kind.
pub(super) fn sibling(response: &TargetResponse) -> TargetResponse {
    match response {
        TargetResponse::Http(_) => file("www.example.org", "token-sibling"),
        TargetResponse::TlsAlpn(_) => digest("sibling.example.org", 9),
    }
}

fn file(host: &str, token: &str) -> TargetResponse {
    http_file(host, &format!("/.well-known/acme-challenge/{token}"), &format!("{token}.thumbprint"))
}

pub(in crate::deploy) fn http_file(host: &str, path: &str, body: &str) -> TargetResponse {
    let path = HttpPath::new(path).unwrap_or_else(|error| panic!("{error}"));
    let body = HttpBody::new(body).unwrap_or_else(|error| panic!("{error}"));
    TargetResponse::Http(HttpFile { host: identifier(host), path, body })
}

fn digest(host: &str, byte: u8) -> TargetResponse {
    let identifier: Identifier = identifier(host);
    TargetResponse::TlsAlpn(TlsAlpnResponse { identifier, digest: [byte; 32] })
}
