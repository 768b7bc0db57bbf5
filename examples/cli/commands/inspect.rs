//! Commands that only look.

use std::{pin::pin, time::Duration};

use certlife::{
    AccountName, CertificateId, Identifier,
    challenge::ChallengeResponse,
    engine::{Explanation, PendingPublication},
    model::{Certificate, Deployment, Order, Version},
    registry::Role,
    store::Cursor,
};
use futures_util::StreamExt as _;
use serde_json::json;

use super::Session;
use crate::{
    Failure, Outcome,
    output::{Output, short, table, whose},
};

/// Lists the kinds of provider that are built in.
pub(super) fn providers(kind: Option<&str>, output: &Output) -> Result<Outcome, Failure> {
    let mut kinds = certlife::registry().kinds();
    if let Some(wanted) = kind {
        let known = kinds.iter().map(|kind| kind.kind.clone()).collect::<Vec<_>>().join(", ");
        kinds.retain(|kind| kind.kind == wanted);
        if kinds.is_empty() {
            return Err(Failure::Usage(format!("no provider {wanted:?} is built in; there are: {known}")));
        }
    }
    output.result(&kinds, || {
        let role = |role| match role {
            Role::Ca => "ca",
            Role::Dns => "dns",
            Role::Target => "target",
            Role::Store => "store",
            _ => "",
        };
        let rows = kinds.iter().map(|kind| {
            let settings = kind.settings.get("properties").and_then(|properties| properties.as_object());
            let settings = settings.map(|all| all.keys().cloned().collect::<Vec<_>>().join(", "));
            vec![
                role(kind.role).to_owned(),
                kind.kind.clone(),
                kind.title.clone(),
                settings.unwrap_or_default(),
            ]
        });
        table(&rows.collect::<Vec<_>>())
    });
    Ok(Outcome::Done)
}

/// An explanation in lines for people.
pub(super) fn explanation(explanation: &Explanation) -> String {
    let mut lines = vec![format!("{}: {}", explanation.certificate, explanation.status)];
    lines.extend(explanation.sentences.iter().map(|sentence| format!("  {sentence}")));
    lines.push(format!("  Who acts: {}.", whose(explanation.who_acts)));
    if let Some(next) = explanation.next_attempt {
        lines.push(format!("  Next: {}.", short(next)));
    }
    lines.join("\n")
}

impl Session<'_> {
    pub(super) async fn pending(&self) -> Result<Outcome, Failure> {
        let pending = self.host.engine.pending().await?;
        self.output.result(&pending, || match pending.as_slice() {
            [] => "nothing has to be published by hand".to_owned(),
            some => some.iter().map(by_hand).collect::<Vec<_>>().join("\n\n"),
        });
        Ok(Outcome::Done)
    }

    pub(super) async fn list(
        &self,
        expiring: Option<Duration>,
        name: Option<Identifier>,
    ) -> Result<Outcome, Failure> {
        let engine = &self.host.engine;
        let now = self.host.clock.now();
        let mut all: Vec<Certificate> = Vec::new();
        let mut page: Option<Cursor> = None;
        loop {
            let listed = match (&expiring, &name) {
                (Some(span), _) => engine.expiring(now + *span, page).await?,
                (None, Some(name)) => engine.certificates_for(name, page).await?,
                (None, None) => engine.certificates(page).await?,
            };
            all.extend(listed.items);
            page = listed.next;
            if page.is_none() {
                break;
            }
        }
        self.output.result(&all, || {
            let heading = ["CERTIFICATE", "STATUS", "VALID UNTIL", "NAMES"].map(str::to_owned).to_vec();
            let rows = all.iter().map(|certificate| {
                let until = certificate.validity.map(|(_, not_after)| short(not_after));
                let names = certificate.spec.identifiers.iter().map(ToString::to_string).collect::<Vec<_>>();
                vec![
                    certificate.spec.id.to_string(),
                    certificate.status(now).to_string(),
                    until.unwrap_or_else(|| "-".to_owned()),
                    names.join(", "),
                ]
            });
            table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
        });
        Ok(Outcome::Done)
    }

    pub(super) async fn show(&self, name: &CertificateId) -> Result<Outcome, Failure> {
        let engine = &self.host.engine;
        let certificate = self.certificate(name).await?;
        let versions = engine.versions(name, None).await?.items;
        let orders = engine.orders(name, None).await?.items;
        let deployments = engine.deployments(name).await?;
        let value = json!({
            "status": certificate.status(self.host.clock.now()),
            "certificate": certificate,
            "versions": versions,
            "orders": orders,
            "deployments": deployments,
        });
        self.output.result(&value, || {
            let mut lines = vec![format!("{name}: {}", certificate.status(self.host.clock.now()))];
            let names = certificate.spec.identifiers.iter().map(ToString::to_string).collect::<Vec<_>>();
            lines.push(format!("  names        {}", names.join(", ")));
            lines.push(format!("  from         {}", certificate.spec.ca));
            lines.extend(versions.iter().map(|version| show_version(version, &certificate)));
            lines.extend(orders.iter().map(show_order));
            lines.extend(deployments.iter().map(show_deployment));
            lines.join("\n")
        });
        Ok(Outcome::Done)
    }

    pub(super) async fn explain(&self, name: &CertificateId) -> Result<Outcome, Failure> {
        let explained = self.host.engine.explain(name).await?;
        self.output.result(&explained, || explanation(&explained));
        Ok(Outcome::Done)
    }

    pub(super) async fn events(
        &self,
        mut after: u64,
        follow: bool,
        certificate: Option<CertificateId>,
    ) -> Result<Outcome, Failure> {
        const PAGE: usize = 500;
        let engine = &self.host.engine;
        let wanted = |event: &certlife::model::Event| {
            certificate.is_none() || event.occurrence.certificate == certificate
        };
        loop {
            let page = engine.events_after(after, PAGE).await?;
            page.iter().filter(|event| wanted(event)).for_each(|event| self.output.event(event));
            match page.last() {
                Some(last) => after = last.position,
                None => break,
            }
        }
        if follow {
            let mut events = pin!(engine.events(after));
            let mut ended = pin!(tokio::signal::ctrl_c());
            loop {
                tokio::select! {
                    Some(event) = events.next() => {
                        let event = event?;
                        if wanted(&event) {
                            self.output.event(&event);
                        }
                    }
                    _ = &mut ended => break,
                }
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn probe(&self, accounts: Vec<AccountName>) -> Result<Outcome, Failure> {
        let engine = &self.host.engine;
        let all = engine.accounts().await?;
        if let Some(unknown) = accounts.iter().find(|name| all.iter().all(|known| known.name != **name)) {
            return Err(Failure::Usage(format!("the file has no account or target {unknown}")));
        }
        let (mut results, mut rows, mut outcome) = (Vec::new(), Vec::new(), Outcome::Done);
        for account in all.iter().filter(|known| accounts.is_empty() || accounts.contains(&known.name)) {
            self.output.status(format!("testing {}", account.name));
            let row = |verdict: String| vec![account.role.clone(), account.name.to_string(), verdict];
            match engine.probe(&account.name).await {
                Ok(summary) => {
                    let identity = summary.identity.as_ref().map(|identity| format!("ok: {identity}"));
                    rows.push(row(identity.unwrap_or_else(|| "ok".to_owned())));
                    let details = summary.details.iter().map(|(name, detail)| format!("{name}: {detail}"));
                    let warnings = summary.warnings.iter().map(|warning| format!("warning: {warning}"));
                    rows.extend(details.chain(warnings).map(|line| vec![String::new(), String::new(), line]));
                    results.push(json!({ "account": account, "ok": true, "summary": summary }));
                }
                Err(error) => {
                    outcome = Outcome::Failed;
                    rows.push(row(error.chain()));
                    let (code, who_acts) = (error.kind().code(), error.who_acts());
                    let error = json!({ "code": code, "message": error.chain(), "who_acts": who_acts });
                    results.push(json!({ "account": account, "ok": false, "error": error }));
                }
            }
        }
        self.output.result(&results, || table(&rows));
        Ok(outcome)
    }

    pub(super) async fn catalog(&self, account: &AccountName) -> Result<Outcome, Failure> {
        let catalog = self.host.engine.refresh_catalog(account).await?;
        self.output.result(&catalog, || {
            let row = |what: &str, id: &str, name: String| vec![what.to_owned(), id.to_owned(), name];
            let products = catalog.products.iter().map(|p| row("product", &p.id, p.name.to_string()));
            let organizations =
                catalog.organizations.iter().map(|o| row("organization", &o.id, o.name.to_string()));
            let domains = catalog.domains.iter().map(|d| row("domain", &d.id, d.name.to_string()));
            table(&products.chain(organizations).chain(domains).collect::<Vec<_>>())
        });
        Ok(Outcome::Done)
    }
}

fn show_version(version: &Version, certificate: &Certificate) -> String {
    let mark = if certificate.current == Some(version.id) { ", current" } else { "" };
    let revoked = if version.revoked.is_some() { ", revoked" } else { "" };
    format!(
        "  version      {} ({}{mark}{revoked}), {} to {}, {}",
        version.id,
        version.purpose,
        short(version.info.not_before),
        short(version.info.not_after),
        version.info.key_description
    )
}

fn show_order(order: &Order) -> String {
    let number = order.number.as_ref().map(|number| format!(" as {number}")).unwrap_or_default();
    let why = order.failure.as_ref().map(|failure| format!(": {}", failure.message)).unwrap_or_default();
    format!("  order        {} ({}) at {}{number}: {}{why}", order.id, order.purpose, order.ca, order.state)
}

fn show_deployment(deployment: &Deployment) -> String {
    let confirmed = match (&deployment.actual, &deployment.evidence) {
        (Some(version), Some(evidence)) => format!(", confirmed version {version} at {}", short(evidence.at)),
        _ => String::new(),
    };
    let why = deployment.failure.as_ref().map(|failure| format!(": {}", failure.message)).unwrap_or_default();
    format!("  deployment   {} is {}{confirmed}{why}", deployment.target, deployment.state)
}

/// What a person has to publish, ready to be copied.
fn by_hand(pending: &PendingPublication) -> String {
    let names = pending.identifiers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = match (&pending.record, &pending.response) {
        (Some(record), ChallengeResponse::DnsTxt { value, .. }) => {
            format!("{}. IN TXT \"{value}\"", record.name)
        }
        (_, ChallengeResponse::DnsCname { name, target }) => format!("{name}. IN CNAME {target}."),
        (_, ChallengeResponse::Http(file)) => {
            format!("http://{}{}\nwith the content\n{}", file.host, file.path, file.body.as_str())
        }
        (_, ChallengeResponse::Email { address }) => {
            format!("the e-mail to {address}, which has to be answered")
        }
        (_, other) => format!("{other:?}"),
    };
    let then = format!("then: certlife verify {}", pending.certificate);
    format!("{} needs, for {names}:\n{what}\n{then}", pending.certificate)
}
