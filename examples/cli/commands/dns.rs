//! Work on DNS by hand, through the accounts of the file.

use std::sync::Arc;

use certlife::{
    AccountName, DnsProvider, Fqdn, InputError,
    dns::{DnsRecord, RecordHandle},
    lookup::VisibilityReport,
};
use serde_json::json;

use super::Session;
use crate::{
    Failure, Outcome,
    args::{Dns, Record, Through},
};

impl Session<'_> {
    pub(super) async fn dns(&self, command: Dns) -> Result<Outcome, Failure> {
        match command {
            Dns::Add(Record { name, value, through }) => {
                let (account, provider) = self.dns_account(&name, through).await?;
                let added = provider.add(&DnsRecord::txt(name.clone(), value)).await?;
                let result = json!({ "account": account, "name": name, "existed": added.existed });
                self.output.result(&result, || {
                    let what = if added.existed { "was there already" } else { "is published" };
                    format!("the value at {name} {what} (through {account})")
                });
            }
            Dns::Remove(Record { name, value, through }) => {
                let (account, provider) = self.dns_account(&name, through).await?;
                provider.remove(&RecordHandle::unknown(DnsRecord::txt(name.clone(), value))).await?;
                let result = json!({ "account": account, "name": name });
                self.output.result(&result, || format!("the value at {name} is gone (through {account})"));
            }
            Dns::Check { name, through, write } => return self.check_dns(&name, through, write).await,
        }
        Ok(Outcome::Done)
    }

    async fn check_dns(&self, name: &Fqdn, through: Through, write: bool) -> Result<Outcome, Failure> {
        let (account, _) = self.dns_account(name, through).await?;
        let check = self.host.engine.check_dns(&account, name).await?;
        let tried =
            if write { Some(self.host.engine.try_dns(&account, &check.effective_name).await?) } else { None };
        let seen = tried.as_ref().is_none_or(|report| report.visible);
        self.output.result(&json!({ "check": check, "tried": tried }), || {
            let mut lines = vec![format!(
                "{name} is written as {} in zone {} through {account}",
                check.effective_name, check.zone.name
            )];
            match &tried {
                Some(report) => {
                    let verdict =
                        if report.visible { "was seen everywhere" } else { "was not seen everywhere" };
                    lines.push(format!("a record that was written there {verdict}, and is removed again"));
                    lines.extend(servers(report));
                }
                None => lines.extend(servers(&check.servers)),
            }
            lines.join("\n")
        });
        Ok(if seen { Outcome::Done } else { Outcome::Failed })
    }

    /// The account that was named, or the one that the mappings lead to.
    async fn dns_account(
        &self,
        name: &Fqdn,
        through: Through,
    ) -> Result<(AccountName, Arc<dyn DnsProvider>), Failure> {
        let account = match through.account {
            Some(account) => account,
            None => self.host.engine.dns_account_for(name).await?,
        };
        let provider = self.host.dns.get(&account).cloned();
        let unknown = || InputError::UnknownAccount { kind: "DNS", name: account.to_string() };
        Ok((account.clone(), provider.ok_or_else(unknown)?))
    }
}

fn servers(report: &VisibilityReport) -> impl Iterator<Item = String> {
    let problem = report.problem.iter().map(|problem| format!("  {problem}"));
    report.servers.iter().map(|server| format!("  {server}")).chain(problem)
}
