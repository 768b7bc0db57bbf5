//! Proofs: what convinces, what does not, and what may still come.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    CertificateAuthority as _,
    ca::{OrderRef, Stage},
    challenge::{AuthorizationStatus, ChallengeResponse, HttpFile},
};

use super::{
    Ground,
    conformance::{World, serve},
    intent, request,
};
use crate::private::{Private, Validation};

struct Case {
    ground: Ground,
    world: Arc<World>,
    ca: Private,
}

impl Case {
    async fn new(validation: Validation) -> Self {
        let (ground, world) = (Ground::new(), Arc::new(World::default()));
        let server = serve(world.clone()).await;
        let builder = ground.builder().validation(validation).resolve(move |_| Some(server));
        let ca = builder.lookup(world.clone()).build().unwrap();
        Self { ground, world, ca }
    }

    /// Places an order for one name and answers it with what `respond` puts in place.
    async fn outcome(
        &self,
        reference: &str,
        respond: impl FnOnce(&ChallengeResponse),
    ) -> (OrderRef, Stage, String) {
        let intent = intent(reference, request(&["a.example"]));
        let placed = self.ca.place(&intent).await.unwrap();
        assert_eq!(placed.stage, Stage::Validating);
        let challenge = placed.authorizations.unwrap()[0].challenges[0].clone();
        respond(&challenge.response);
        let order = OrderRef { intent: Some(intent), handle: placed.handle };
        let seen = self.ca.respond(&order, &[challenge.id]).await.unwrap();
        let problem = seen.authorizations.unwrap()[0].problem.clone();
        (order, seen.stage, problem.unwrap_or_default().to_string())
    }

    fn put(&self, file: &HttpFile, body: &str) {
        let place = (file.host.to_string(), file.path.to_string());
        self.world.files.lock().unwrap().insert(place, body.to_owned());
    }
}

fn file(response: &ChallengeResponse) -> &HttpFile {
    let ChallengeResponse::Http(file) = response else { panic!("{response:?} is no file") };
    file
}

#[tokio::test]
async fn only_the_very_file_convinces() {
    let case = Case::new(Validation::Http).await;
    let redirect =
        "HTTP/1.1 302 Found\r\nlocation: /.well-known/acme-challenge/other\r\ncontent-length: 0\r\n\r\n";
    let empty = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for (reference, answer, words) in [
        ("absent", None, "answered 404"),
        ("other", Some("something else"), "something else (14 bytes)"),
        ("redirect", Some(redirect), "answered 302"),
        ("empty", Some(empty), "something else (0 bytes)"),
    ] {
        let (_, stage, problem) = case
            .outcome(reference, |response| {
                if let Some(answer) = answer {
                    case.put(file(response), answer);
                }
            })
            .await;
        assert_eq!(stage, Stage::Rejected, "{reference}");
        assert!(problem.starts_with("a.example: ") && problem.contains(words), "{problem}");
    }
    let (_, stage, _) = case
        .outcome("right", |response| {
            let body = file(response).body.as_str().to_owned();
            case.put(file(response), &format!("{body}\n\n"));
        })
        .await;
    assert_eq!(stage, Stage::Issued);
}

#[tokio::test]
async fn a_web_server_that_fails_is_asked_again_and_not_for_ever() {
    let case = Case::new(Validation::Http).await;
    let broken = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let (order, stage, problem) = case.outcome("mends", |response| case.put(file(response), broken)).await;
    assert_eq!(stage, Stage::Validating);
    assert!(problem.contains("answered 503"), "{problem}");
    let seen = case.ca.poll(&order).await.unwrap();
    assert_eq!(seen.ask_again, Some(Duration::from_secs(30)));
    let open = seen.authorizations.unwrap()[0].challenges[0].response.clone();
    case.put(file(&open), file(&open).body.as_str());
    assert_eq!(case.ca.poll(&order).await.unwrap().stage, Stage::Issued);

    let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}", "x".repeat(100_000));
    let (order, stage, _) = case.outcome("stays", |response| case.put(file(response), &huge)).await;
    assert_eq!(stage, Stage::Validating);
    let mut polls = 0;
    let over = loop {
        let seen = case.ca.poll(&order).await.unwrap();
        polls += 1;
        if seen.stage != Stage::Validating {
            break seen;
        }
    };
    assert_eq!((over.stage, polls), (Stage::Rejected, 9));
    assert_eq!(over.authorizations.unwrap()[0].status, AuthorizationStatus::Invalid);
}

#[tokio::test]
async fn nothing_is_looked_at_before_it_is_said_to_be_ready() {
    let case = Case::new(Validation::Dns).await;
    let intent = intent("early", request(&["a.example", "*.a.example"]));
    let placed = case.ca.place(&intent).await.unwrap();
    let order = OrderRef { intent: Some(intent), handle: placed.handle };
    assert_eq!(case.ca.poll(&order).await.unwrap().stage, Stage::Validating);
    let authorizations = placed.authorizations.unwrap();
    let mut ready = Vec::new();
    for authorization in &authorizations {
        let challenge = &authorization.challenges[0];
        let ChallengeResponse::DnsTxt { name, value } = &challenge.response else { panic!("no record") };
        assert_eq!(name.as_str(), "_acme-challenge.a.example");
        case.world.records.lock().unwrap().entry(name.clone()).or_default().insert(value.clone());
        ready.push(challenge.id.clone());
    }
    // One after the other: the name and its wildcard share an owner name.
    assert_eq!(case.ca.respond(&order, &ready[..1]).await.unwrap().stage, Stage::Validating);
    assert_eq!(case.ca.respond(&order, &ready).await.unwrap().stage, Stage::Issued);
}

#[tokio::test]
async fn an_order_that_waits_too_long_expires_without_a_look() {
    let case = Case::new(Validation::Http).await;
    let intent = intent("old", request(&["a.example"]));
    let placed = case.ca.place(&intent).await.unwrap();
    let ready = placed.authorizations.unwrap()[0].challenges[0].id.clone();
    let order = OrderRef { intent: Some(intent), handle: placed.handle };
    case.ground.clock.advance(Duration::from_hours(24 * 31));
    assert_eq!(case.ca.respond(&order, &[ready]).await.unwrap().stage, Stage::Expired);
}
