//! The order desk: who may approve, another proof for an open order, domains apart from orders.

use certlife::{
    AccountName, Identifier,
    challenge::{AuthorizationStatus, Challenge, ChallengeKind, ChallengeResponse, Proof},
};

use super::Session;
use crate::{
    Failure, Outcome,
    args::{By, One},
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
        kind: ChallengeKind,
        approver: Option<String>,
    ) -> Result<Outcome, Failure> {
        let proof = Proof { kind, approver };
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
