//! The order desk: who may approve, another proof for an open order, domains apart from orders.

use std::time::Duration;

use certlife::{
    AccountName, Identifier,
    challenge::{AuthorizationStatus, Challenge, ChallengeResponse, Proof},
    model::{ManagedDomain, Route},
};

use super::Session;
use crate::{
    Failure, Outcome,
    args::{By, One, Wait},
    work,
};

impl Session<'_> {
    pub(super) async fn approvers(
        &self,
        account: &AccountName,
        domain: &Identifier,
        product: Option<&str>,
    ) -> Result<Outcome, Failure> {
        let approvers = self.host.engine.approvers(account, domain, product).await?;
        self.output.result(&approvers, || approvers.join("\n"));
        Ok(Outcome::Done)
    }

    pub(super) async fn revalidate(
        &self,
        one: One,
        identifier: &Identifier,
        by: By,
    ) -> Result<Outcome, Failure> {
        let order = self.order_under_way(&one.name).await?;
        self.host.caller.revalidate(order, identifier, by.route()).await?;
        self.settle(one, None).await
    }

    pub(super) async fn validate_domain(
        &self,
        account: &AccountName,
        domain: &Identifier,
        route: Route,
        keep: bool,
        Wait { wait }: Wait,
    ) -> Result<Outcome, Failure> {
        if let Route::Manual(kind) = route {
            return self.validate_by_hand(account, domain, kind.into()).await;
        }
        self.host.caller.prove_domain(account, domain, route, keep).await?;
        self.settle_domain(account, domain, wait).await
    }

    pub(super) async fn cancel_domain(
        &self,
        account: &AccountName,
        domain: &Identifier,
        Wait { wait }: Wait,
    ) -> Result<Outcome, Failure> {
        self.host.caller.cancel_domain(account, domain).await?;
        self.settle_domain(account, domain, wait).await
    }

    pub(super) async fn domains(&self) -> Result<Outcome, Failure> {
        let (mut domains, mut page) = (Vec::new(), None);
        loop {
            let listed = self.host.engine.managed_domains(page).await?;
            domains.extend(listed.items);
            page = listed.next;
            if page.is_none() {
                break;
            }
        }
        self.output.result(&domains, || domains.iter().map(line).collect::<Vec<_>>().join("\n"));
        Ok(Outcome::Done)
    }

    async fn settle_domain(
        &self,
        account: &AccountName,
        domain: &Identifier,
        wait: Duration,
    ) -> Result<Outcome, Failure> {
        let outcome = work::until_proven(&self.host, self.output, (account, domain), wait).await?;
        let managed = self.host.engine.managed_domain(account, domain).await?;
        self.output.result(&managed, || line(&managed));
        Ok(outcome)
    }

    /// Says what to publish, or has the CA look; nothing is stored.
    async fn validate_by_hand(
        &self,
        account: &AccountName,
        domain: &Identifier,
        proof: Proof,
    ) -> Result<Outcome, Failure> {
        let validation = self.host.engine.validate_domain(account, domain, &proof).await?;
        let status = validation.authorization.status;
        self.output.result(&validation, || match status {
            AuthorizationStatus::Valid => {
                let until = validation.valid_until.map(|end| format!(" until {end}")).unwrap_or_default();
                format!("{domain} is validated{until}")
            }
            AuthorizationStatus::Pending => {
                let wanted: Vec<_> = validation.authorization.challenges.iter().map(wanted).collect();
                format!(
                    "{domain} is not validated yet; put this in place and ask again:\n{}",
                    wanted.join("\n")
                )
            }
            AuthorizationStatus::Invalid => {
                let why = validation.authorization.problem.as_ref().map(ToString::to_string);
                format!("{domain} is refused: {}", why.unwrap_or_else(|| "the CA gives no reason".into()))
            }
        });
        Ok(match status {
            AuthorizationStatus::Valid => Outcome::Done,
            AuthorizationStatus::Pending => Outcome::WaitsForPerson,
            AuthorizationStatus::Invalid => Outcome::Failed,
        })
    }
}

/// How far the validation of a domain is, in a line.
fn line(domain: &ManagedDomain) -> String {
    let until = domain.valid_until.map(|end| format!(", valid until {end}")).unwrap_or_default();
    let failure = domain.failure.as_ref().map(|failure| format!(": {}", failure.message)).unwrap_or_default();
    let ManagedDomain { domain, ca, route, state, .. } = domain;
    format!("{domain} at {ca} by {route}: its validation {state}{until}{failure}")
}

fn wanted(challenge: &Challenge) -> String {
    match &challenge.response {
        ChallengeResponse::DnsTxt { name, value } => format!("  {name}. TXT \"{value}\""),
        ChallengeResponse::DnsCname { name, target } => format!("  {name}. CNAME {target}."),
        ChallengeResponse::Http(file) => {
            format!("  http://{}{} with the content\n{}", file.host, file.path, file.body.as_str())
        }
        ChallengeResponse::Email { address } => format!("  the answer to the message to {address}"),
        other => format!("  {}", other.kind()),
    }
}
