//! One function a command.

mod change;
mod desk;
mod dns;
mod export;
mod inspect;

pub(crate) use self::export::Files;

use certlife::{CertificateId, model::Certificate};

use crate::{
    Failure, Outcome,
    args::{Command, Common, One, Wait},
    host::Host,
    output::Output,
    work::{self, Looked},
};

/// A started host with what its commands print to.
struct Session<'a> {
    host: Host,
    output: &'a Output,
    /// Where the feed was before the command.
    since: u64,
}

/// Carries a command out.
pub(crate) async fn run(common: &Common, command: Command, output: &Output) -> Result<Outcome, Failure> {
    if let Command::Providers { kind } = &command {
        return inspect::providers(kind.as_deref(), output);
    }
    let host = Host::start(common).await?;
    let since = host.engine.feed_position().await?;
    let session = Session { host, output, since };
    match command {
        Command::Run => work::for_ever(&session.host, output).await.map(|()| Outcome::Done),
        Command::Order { names, wait } => session.order(&names, wait).await,
        Command::Adopt { one, files, protection } => session.adopt(one, &files, &protection).await,
        Command::Pending => session.pending().await,
        Command::Verify(one) => session.verify(one).await,
        Command::Check(one) => session.check(one).await,
        Command::Redeploy { one, target } => session.redeploy(one, target).await,
        Command::Continue(one) => session.continue_rollout(one).await,
        Command::Renew(one) => session.renew(one).await,
        Command::Reissue { one, reason } => session.reissue(one, reason.as_deref()).await,
        Command::Revoke { one, version, reason, comment, replace } => {
            session.revoke(one, version, reason, comment.as_deref(), replace).await
        }
        Command::Decide { one, version, decision } => session.decide(one, version, decision).await,
        Command::Cancel(one) => session.cancel(one).await,
        Command::Delete { name } => session.delete(&name).await,
        Command::Import { account, all, names, placed_after } => {
            session.import(&account, all, names, placed_after).await
        }
        Command::Catalog { account } => session.catalog(&account).await,
        Command::Approvers { account, domain, product } => {
            session.approvers(&account, &domain, product.as_deref()).await
        }
        Command::Revalidate { one, identifier, by } => session.revalidate(one, &identifier, by).await,
        Command::ValidateDomain { account, domain, by, keep, wait } => {
            session.validate_domain(&account, &domain, by.route(), keep, wait).await
        }
        Command::Domains => session.domains().await,
        Command::CancelDomain { account, domain, wait } => {
            session.cancel_domain(&account, &domain, wait).await
        }
        Command::List { expiring, name } => session.list(expiring, name).await,
        Command::Show { name } => session.show(&name).await,
        Command::Explain { name } => session.explain(&name).await,
        Command::Export { name, version, files } => session.export(&name, version, &files).await,
        Command::Events { after, follow, certificate } => session.events(after, follow, certificate).await,
        Command::Probe { accounts } => session.probe(accounts).await,
        Command::Providers { kind } => inspect::providers(kind.as_deref(), output),
        Command::Dns(command) => session.dns(command).await,
    }
}

impl Session<'_> {
    /// Works until the certificate has settled, and explains it.
    async fn settle(&self, One { name, wait }: One, looked: Option<&Looked>) -> Result<Outcome, Failure> {
        self.settle_all(&[name], wait, looked).await
    }

    async fn settle_all(
        &self,
        names: &[CertificateId],
        Wait { wait }: Wait,
        looked: Option<&Looked>,
    ) -> Result<Outcome, Failure> {
        let outcome = work::until_settled(&self.host, self.output, names, self.since, looked, wait).await?;
        let mut explanations = Vec::new();
        for name in names {
            explanations.push(self.host.engine.explain(name).await?);
        }
        match explanations.as_slice() {
            [one] => self.output.result(one, || inspect::explanation(one)),
            all => self
                .output
                .result(&all, || all.iter().map(inspect::explanation).collect::<Vec<_>>().join("\n")),
        }
        Ok(outcome)
    }

    async fn certificate(&self, name: &CertificateId) -> Result<Certificate, Failure> {
        Ok(self.host.engine.certificate(name).await?)
    }
}
