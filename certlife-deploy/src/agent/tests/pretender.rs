//! An agent that speaks to the hub's service without a network, and may say what it likes.

use std::collections::BTreeMap;

use bytes::Bytes;
use certlife_core::{Csr, CsrTemplate, KeyAlgorithm, PrivateKey, Secret};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Serialize;
use serde_json::{Value, json};
use tower_service::Service as _;

use super::{
    super::{
        AgentHub, PeerCertificate,
        wire::{Answer, Outcome, WorkItem},
    },
    world::{DAY, PATIENCE, name},
};

pub(super) struct Pretender {
    pub(super) hub: AgentHub,
    pub(super) key: PrivateKey,
    pub(super) certificate: Option<CertificateDer<'static>>,
}

impl Pretender {
    pub(super) fn new(hub: &AgentHub) -> Self {
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        Self { hub: hub.clone(), key, certificate: None }
    }

    /// Invited and enrolled.
    pub(super) async fn enrolled(hub: &AgentHub, agent: &str) -> Self {
        let mut it = Self::new(hub);
        let token = hub.invite(&name(agent), DAY).await.unwrap();
        assert_eq!(it.enrol(agent, &token).await.0, StatusCode::OK);
        it
    }

    /// The same agent, calling another host.
    pub(super) fn at(&self, hub: &AgentHub) -> Self {
        Self { hub: hub.clone(), key: self.key.clone(), certificate: self.certificate.clone() }
    }

    pub(super) fn csr(&self) -> Csr {
        CsrTemplate::new(["agent.invalid".parse().unwrap()]).sign(&self.key).unwrap()
    }

    pub(super) async fn post(&self, path: &str, body: &(impl Serialize + Sync)) -> (StatusCode, Value) {
        let body = Full::new(Bytes::from(serde_json::to_vec(body).unwrap()));
        let mut request = Request::post(format!("/v1/{path}")).body(body).unwrap();
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(PeerCertificate(certificate.clone()));
        }
        let answered = tokio::time::timeout(PATIENCE, self.hub.clone().call(request)).await;
        let (head, body) = answered.expect("the hub answers").unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, serde_json::from_slice(&body).unwrap())
    }

    pub(super) async fn enrol(&mut self, agent: &str, token: &Secret) -> (StatusCode, Value) {
        let secret = token.expose().split('.').nth(1).unwrap_or_default();
        let asked = json!({ "agent": agent, "token": secret, "csr": self.csr() });
        let (status, answer) = self.post("enrol", &asked).await;
        self.adopt(&answer);
        (status, answer)
    }

    /// Renews with the key that it has now.
    pub(super) async fn renew(&self) -> (StatusCode, Value) {
        self.post("renew", &json!({ "csr": self.csr() })).await
    }

    pub(super) fn adopt(&mut self, answer: &Value) {
        if let Some(pem) = answer["certificate"].as_str() {
            self.certificate = Some(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
        }
    }

    pub(super) async fn fetch(&self, holding: &[&WorkItem], wait_seconds: u64) -> (StatusCode, Value) {
        let holding: Vec<_> = holding.iter().map(|item| &item.id).collect();
        let blocks: BTreeMap<String, Value> = BTreeMap::new();
        self.post("work", &json!({ "blocks": blocks, "holding": holding, "wait_seconds": wait_seconds }))
            .await
    }

    /// The work that there is, which may take a moment to be stored.
    pub(super) async fn work(&self, holding: &[&WorkItem]) -> Vec<WorkItem> {
        let (status, answer) = self.fetch(holding, 50).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        serde_json::from_value(answer["items"].clone()).unwrap()
    }

    pub(super) async fn report(&self, item: &WorkItem, answer: Answer) -> (StatusCode, Value) {
        self.post(&format!("work/{}", item.id), &Outcome::Done(answer)).await
    }
}
