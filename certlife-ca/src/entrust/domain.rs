//! Validation of domains, which at Entrust belongs to the account and not to orders.

use std::time::Duration;

use certlife_core::{
    DnsName, Error, ErrorKind, Fqdn, Identifier, InputError, Operation, Result, Retry, VendorText,
    ca::DomainValidation,
    challenge::{
        Authorization, AuthorizationStatus, Challenge, ChallengeId, ChallengeKind, ChallengeResponse,
        HttpBody, HttpFile, HttpPath, Proof,
    },
};
use serde_json::Value;
use url::Url;

use super::{
    Entrust, NAME,
    wire::{Domain, DomainBody, EmailBody},
};

/// The proofs that the CA takes.
pub(super) const KINDS: [ChallengeKind; 3] =
    [ChallengeKind::DnsTxt, ChallengeKind::Http, ChallengeKind::Email];

const OPERATION: Operation = Operation::ValidateDomain;
/// The random value comes some seconds after it was asked for, at the latest after a minute.
const VALUE_COMES: Duration = Duration::from_secs(10);
/// The status may lag behind a change.
const STATUS_FOLLOWS: Duration = Duration::from_mins(1);
/// The CA looks by itself; there is no call that makes it.
const CA_LOOKS: Duration = Duration::from_mins(5);

/// A way to validate, in the CA's words.
struct Method<'a> {
    word: &'static str,
    approver: Option<&'a str>,
}

impl<'a> Method<'a> {
    fn read(domain: &Identifier, proof: &'a Proof) -> Result<Self> {
        let unsupported =
            |what: String| Err(Error::new(NAME, OPERATION, ErrorKind::Unsupported(what.into())));
        let word = match proof.kind {
            ChallengeKind::DnsTxt => "DNS",
            ChallengeKind::Http => "WEB_SERVER",
            ChallengeKind::Email => "EMAIL",
            other => return unsupported(format!("validation by {other} at Entrust")),
        };
        if !proof.kind.suits(domain) {
            return unsupported(format!("validation of {domain} by {}", proof.kind));
        }
        let approver = proof.approver.as_deref().filter(|_| proof.kind == ChallengeKind::Email);
        if let Some(address) = approver {
            super::options::check_email("approver", address)
                .map_err(|input| Error::new(NAME, OPERATION, ErrorKind::Input(input)))?;
        }
        Ok(Self { word, approver })
    }

    fn body<'b>(&'b self, domain: Option<&'b str>) -> DomainBody<'b> {
        let email = match (self.word, self.approver) {
            ("EMAIL", Some(address)) => Some(EmailBody { email_source: "SPECIFIED", email: Some(address) }),
            ("EMAIL", None) => Some(EmailBody { email_source: "INCLUDE_WHOIS", email: None }),
            _ => None,
        };
        DomainBody { domain_name: domain, verification_method: self.word, email_method: email }
    }

    /// Whether a domain is validated like this, or on its way.
    fn is_of(&self, domain: &Domain) -> bool {
        let same =
            domain.verification_method.as_deref().is_some_and(|word| word.eq_ignore_ascii_case(self.word));
        let mut told = domain.email_method.iter().filter_map(Value::as_str).peekable();
        // Once it is validated the addresses are no longer told.
        let nobody = told.peek().is_none();
        same && self
            .approver
            .is_none_or(|wanted| nobody || told.any(|told| told.eq_ignore_ascii_case(wanted)))
    }
}

impl Entrust {
    pub(super) async fn validate(&self, identifier: &Identifier, proof: &Proof) -> Result<DomainValidation> {
        let Some(name) = identifier.base_name() else {
            let what = format!("validation of {identifier} at Entrust");
            return Err(Error::new(NAME, OPERATION, ErrorKind::Unsupported(what.into())));
        };
        let method = Method::read(identifier, proof)?;
        let client = self.client_id;
        let Some(known) = self.api.domain(client, name.as_str()).await? else {
            let added = self.api.add_domain(client, &method.body(Some(name.as_str()))).await;
            started(added)?;
            return self.shown(identifier, name, &method, None).await;
        };
        let status = known.status();
        let goes_on = match status.as_str() {
            "APPROVED" | "INITIAL_VERIFICATION" | "RE_VERIFICATION" | "DECLINED" => method.is_of(&known),
            // It still holds; whoever asks wants to have it renewed in time.
            "EXPIRING" | "EXPIRED" | "CANCELLED" => false,
            // Unknown: changing something would be a guess.
            _ => true,
        };
        if goes_on {
            return validation(identifier, name, &known, None);
        }
        started(self.api.change_domain(client, name.as_str(), &method.body(None)).await)?;
        self.shown(identifier, name, &method, Some(&known)).await
    }

    /// Reads what is to be shown after a change. The CA may need some time to make it up.
    async fn shown(
        &self,
        identifier: &Identifier,
        name: &DnsName,
        method: &Method<'_>,
        before: Option<&Domain>,
    ) -> Result<DomainValidation> {
        match self.api.domain(self.client_id, name.as_str()).await? {
            Some(now) if method.is_of(&now) => validation(identifier, name, &now, before),
            _ => Ok(pending(identifier, Vec::new(), STATUS_FOLLOWS)),
        }
    }
}

/// To start once more is harmless, so that a lost answer is no reason to stop.
fn started(outcome: Result<()>) -> Result<()> {
    outcome.map_err(|error| {
        let lost = *error.kind() == ErrorKind::Uncertain;
        if lost { error.retry_as(Retry::Backoff) } else { error }
    })
}

fn pending(identifier: &Identifier, challenges: Vec<Challenge>, ask_again: Duration) -> DomainValidation {
    let status = AuthorizationStatus::Pending;
    let authorization = Authorization { identifier: identifier.clone(), status, challenges, problem: None };
    DomainValidation { authorization, valid_until: None, ask_again: Some(ask_again) }
}

/// What the CA says of a domain. `before` is how it was before a change that was just made: what has not changed since
/// is left from then.
fn validation(
    identifier: &Identifier,
    name: &DnsName,
    domain: &Domain,
    before: Option<&Domain>,
) -> Result<DomainValidation> {
    let status = domain.status();
    let done = |status, problem| Authorization {
        identifier: identifier.clone(),
        status,
        challenges: Vec::new(),
        problem,
    };
    match (status.as_str(), before) {
        ("APPROVED" | "EXPIRING", None) => Ok(DomainValidation {
            authorization: done(AuthorizationStatus::Valid, None),
            valid_until: domain.ov_expiry,
            ask_again: None,
        }),
        ("DECLINED", None) => Ok(DomainValidation {
            authorization: done(AuthorizationStatus::Invalid, Some("the CA declined the domain".into())),
            valid_until: None,
            ask_again: None,
        }),
        ("INITIAL_VERIFICATION" | "RE_VERIFICATION", _) => {
            let challenges = challenges(name, domain)?;
            let old = before.map(|before| challenges_of_earlier(name, before)).unwrap_or_default();
            let new: Vec<_> = challenges.into_iter().filter(|challenge| !old.contains(challenge)).collect();
            let wait = if new.is_empty() { VALUE_COMES } else { CA_LOOKS };
            Ok(pending(identifier, new, wait))
        }
        _ => {
            let mut told = pending(identifier, Vec::new(), STATUS_FOLLOWS);
            // After a change the status of before says nothing.
            told.authorization.problem = before.is_none().then(|| format!("the CA says {status}").into());
            Ok(told)
        }
    }
}

/// Values that cannot be read now were of no use then.
fn challenges_of_earlier(name: &DnsName, before: &Domain) -> Vec<Challenge> {
    // A message to the same address is sent anew.
    let by_mail =
        before.verification_method.as_deref().is_some_and(|word| word.eq_ignore_ascii_case("EMAIL"));
    if by_mail { Vec::new() } else { challenges(name, before).unwrap_or_default() }
}

/// What the CA wants to see. It comes from outside, so that it may only speak of the domain itself.
fn challenges(name: &DnsName, domain: &Domain) -> Result<Vec<Challenge>> {
    let broken = |what: &str| Error::new(NAME, OPERATION, ErrorKind::Protocol(what.to_owned().into()));
    let challenge = |kind: &str, response| Challenge { id: ChallengeId(format!("{name}/{kind}")), response };
    let mut all = Vec::new();
    if let Some(dns) = &domain.dns_method
        && let (Some(owner), Some(value)) = (&dns.domain, &dns.value)
    {
        if dns.kind.as_deref().is_some_and(|kind| !kind.eq_ignore_ascii_case("TXT")) {
            return Err(broken("it asks for a DNS record that is not TXT"));
        }
        let owner: Fqdn = owner.parse().map_err(|_| broken("it asks for a record at what is no DNS name"))?;
        // At the domain, below it, or at the same place of a domain above it.
        let above = owner.parent().is_some_and(|parent| name.to_fqdn().is_within(&parent));
        if !(owner.is_within(&name.to_fqdn()) || above) {
            return Err(broken("it asks for a record outside the domain"));
        }
        all.push(challenge("dns", ChallengeResponse::DnsTxt { name: owner, value: value.clone() }));
    }
    if let Some(web) = &domain.web_server_method
        && let (Some(location), Some(body)) = (&web.location, &web.contents)
    {
        let file = http_file(name, location, body).map_err(|input| broken(&input.to_string()))?;
        all.push(challenge("file", ChallengeResponse::Http(file)));
    }
    for address in domain.email_method.iter().filter_map(Value::as_str).take(20) {
        let address = VendorText::new(address).to_string();
        all.push(challenge(&address.clone(), ChallengeResponse::Email { address }));
    }
    Ok(all)
}

fn http_file(name: &DnsName, location: &str, body: &str) -> Result<HttpFile, InputError> {
    let refused = |rule: &'static str| InputError::Path { path: location.into(), rule: rule.into() };
    let url = Url::parse(location).map_err(|_| refused("it is no URL"))?;
    let host: DnsName = url.host_str().unwrap_or_default().parse()?;
    if !host.to_fqdn().is_within(&name.to_fqdn()) {
        return Err(refused("its host lies outside the domain"));
    }
    let is_plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.port().is_none();
    if !is_plain {
        return Err(refused("it is no plain address of a file"));
    }
    Ok(HttpFile { host: host.into(), path: HttpPath::new(url.path())?, body: HttpBody::new(body.trim())? })
}
