//! The reference keeps the contract, free or paid, with and without proofs and approvals.

use std::{net::IpAddr, sync::Arc, time::Duration};

use certlife_core::{
    CertificateAuthority, Clock as _, DnsName, Identifier, Operation, SystemClock, Timestamp,
    ca::{Decision, OrderHandle, OrderIntent, OrderRequest, Placement, Purpose},
    challenge::{ChallengeKind, ChallengeResponse},
};
use rustls_pki_types::CertificateDer;

use super::{MemoryCa, MemoryCaBuilder, handle};
use crate::ca::{Ability, Booked, CaFixture, Fault};

/// What the provider under test is made of: the authority, and a text that it must not print.
type Wrap = Box<dyn Fn(MemoryCa, String) -> Arc<dyn CertificateAuthority> + Send + Sync>;

pub(super) struct Fixture {
    ca: MemoryCa,
    wrap: Wrap,
}

impl Fixture {
    pub(super) fn new(set_up: impl FnOnce(MemoryCaBuilder) -> MemoryCaBuilder) -> Self {
        let builder = MemoryCa::builder(Arc::new(SystemClock::default())).page_size(2).max_identifiers(5);
        Self { ca: set_up(builder).build(), wrap: Box::new(|ca, _| Arc::new(ca)) }
    }

    /// Tests a provider around the authority instead.
    pub(super) fn wrapped(
        self,
        wrap: impl Fn(MemoryCa, String) -> Arc<dyn CertificateAuthority> + Send + Sync + 'static,
    ) -> Self {
        Self { wrap: Box::new(wrap), ..self }
    }
}

impl CaFixture for Fixture {
    fn ca(&self) -> Arc<dyn CertificateAuthority> {
        (self.wrap)(self.ca.clone(), self.ca.0.issuer.secret())
    }

    fn name(&self, label: &str) -> DnsName {
        format!("{label}.suite.example").parse().unwrap()
    }

    fn address(&self) -> IpAddr {
        [192, 0, 2, 1].into()
    }

    fn request(&self, identifiers: Vec<Identifier>) -> OrderRequest {
        OrderRequest {
            purpose: Purpose::New,
            identifiers,
            key_algorithm: None,
            validity: None,
            product: None,
            organization: None,
            contacts: Vec::new(),
            challenges: [].into(),
            options: serde_json::Value::Null,
        }
    }

    fn bad_requests(&self) -> Vec<(OrderRequest, &'static str)> {
        let mut request = self.request(vec![Identifier::Dns(self.name("bad"))]);
        request.options = serde_json::json!({ "colour": "blue" });
        vec![(request, "options.colour")]
    }

    fn unknown_handle(&self) -> OrderHandle {
        handle("M-99999999")
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.ca.0.issuer.secret()]
    }

    fn now(&self) -> Timestamp {
        SystemClock::default().now()
    }

    async fn wait(&self, _time: Duration) {}

    async fn roots(&self) -> Vec<CertificateDer<'static>> {
        vec![self.ca.root().clone()]
    }

    async fn prove(&self, _identifier: &Identifier, _response: &ChallengeResponse) -> bool {
        true
    }

    async fn disprove(&self, identifier: &Identifier) {
        self.ca.refuse(identifier.clone(), "no proof was found");
    }

    async fn help(&self, _handle: &OrderHandle) {}

    async fn booked(&self, intent: &OrderIntent) -> Booked {
        let ledger = self.ca.ledger();
        let lines: Vec<_> = ledger.iter().filter(|line| line.reference == intent.reference).collect();
        Booked {
            orders: lines.len(),
            paid: lines.iter().filter(|line| line.paid).count(),
            certificates: lines.iter().filter(|line| line.serial.is_some()).count(),
        }
    }

    fn requests(&self) -> u64 {
        self.ca.requests()
    }

    fn inject(&self, operation: Operation, fault: Fault) {
        self.ca.inject(Some(operation), fault);
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        let no_proofs = self.ca.capabilities().challenges.is_empty();
        (ability == Ability::RefuseProofs && no_proofs).then_some("this authority asks for no proof")
    }
}

mod at_once {
    use super::*;

    crate::ca_conformance!(Fixture::new(|builder| builder));
}

mod with_proofs {
    use super::*;

    crate::ca_conformance!(Fixture::new(|builder| {
        let kinds = [ChallengeKind::DnsTxt, ChallengeKind::Http];
        builder.challenges(kinds).polls_to_check(2).polls_to_issue(2).renewal_windows(0.6, 0.7)
    }));
}

mod paid_and_approved {
    use super::*;

    crate::ca_conformance!(Fixture::new(|builder| {
        builder
            .placement(Placement::Paid)
            .challenges([ChallengeKind::DnsCname, ChallengeKind::Email])
            .approval(true)
            .order_desk(true)
            .polls_to_issue(3)
            .ask_again(Duration::from_hours(1))
            .decisions([
                Decision::Approve,
                Decision::Decline,
                Decision::Suspend,
                Decision::Resume,
                Decision::Cancel,
            ])
            .catalog(certlife_core::ca::Catalog::default())
    }));
}

mod poor {
    use super::*;

    crate::ca_conformance!(Fixture::new(|builder| {
        builder
            .placement(Placement::Paid)
            .findable(false)
            .challenges([ChallengeKind::Http])
            .purposes([certlife_core::ca::PurposeKind::New])
            .key_algorithms([certlife_core::KeyAlgorithm::EcdsaP256])
            .addresses(false)
            .import(false)
            .revocation(false)
            .decisions([])
            .max_identifiers(1)
    }));
}
