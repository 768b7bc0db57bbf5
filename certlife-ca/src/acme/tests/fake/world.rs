//! What the server knows: accounts, orders, authorizations, certificates.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{
    Chain, Clock as _, Csr, Identifier, SystemClock,
    challenge::{ChallengeKind, ChallengeResponse},
    x509::ari_certificate_id,
};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    Answer, Step,
    issuer::Issuer,
    jws::{Jws, p256_public_key, thumbprint},
    server::problem,
};

/// Who signed a request.
pub(super) enum Signer {
    Account(usize),
    Key(Value),
}

pub(crate) struct AccountState {
    pub(crate) jwk: Value,
    pub(crate) contacts: Value,
    pub(crate) bound_to: Option<String>,
    pub(crate) deactivated: bool,
    /// The server has lost it.
    pub(crate) gone: bool,
}

pub(crate) struct OrderRecord {
    account: usize,
    pub(crate) identifiers: Vec<Identifier>,
    authorizations: Vec<usize>,
    pub(crate) status: &'static str,
    pub(crate) reference: Option<String>,
    pub(crate) request: Value,
    csr: Option<Csr>,
    pub(crate) certificate: Option<usize>,
    polls_left: u32,
    pub(crate) error: Option<Value>,
}

struct AuthorizationRecord {
    account: usize,
    identifier: Identifier,
    status: &'static str,
    token: String,
    /// The challenge that was answered.
    tried: Option<&'static str>,
}

pub(crate) struct CertificateRecord {
    account: usize,
    csr: Csr,
    leaf: String,
    pub(crate) revoked: Option<Value>,
    replaced: bool,
}

pub(crate) struct World {
    pub(super) url: String,
    // What the server is like.
    pub(crate) terms: Option<&'static str>,
    /// The known external accounts; empty if none is required.
    pub(crate) external_accounts: BTreeMap<String, Vec<u8>>,
    pub(crate) profiles: Vec<&'static str>,
    pub(crate) offers_renewal_info: bool,
    pub(crate) offers_key_change: bool,
    /// Valid authorizations serve later orders too.
    pub(crate) reuses: bool,
    /// How often an order is still processing when asked after.
    pub(crate) polls_to_issue: u32,
    /// Refuses any order that names a predecessor, with this status and problem.
    pub(crate) refuses_replaces: Option<(u16, &'static str)>,
    /// Refuses every so manieth nonce.
    pub(crate) refuses_nonces: Option<u64>,
    pub(crate) disproven: BTreeSet<Identifier>,
    /// Orders that are about to come, with the references of their intents.
    pub(crate) expected: Vec<(Vec<Identifier>, String)>,
    // What it knows.
    nonces: BTreeSet<String>,
    /// The most nonces that were ever out and unused.
    pub(crate) most_nonces: usize,
    made: u64,
    spent: u64,
    proofs: HashMap<(Identifier, ChallengeKind), BTreeSet<String>>,
    pub(crate) issuer: Issuer,
    pub(crate) accounts: Vec<AccountState>,
    pub(crate) orders: Vec<OrderRecord>,
    authorizations: Vec<AuthorizationRecord>,
    pub(crate) certificates: Vec<CertificateRecord>,
}

impl World {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            terms: Some("https://ca.test/terms.pdf"),
            external_accounts: BTreeMap::new(),
            profiles: vec!["default", "shortlived"],
            offers_renewal_info: true,
            offers_key_change: true,
            reuses: false,
            polls_to_issue: 0,
            refuses_replaces: None,
            refuses_nonces: None,
            disproven: BTreeSet::new(),
            expected: Vec::new(),
            nonces: BTreeSet::new(),
            most_nonces: 0,
            made: 0,
            spent: 0,
            proofs: HashMap::new(),
            issuer: Issuer::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            authorizations: Vec::new(),
            certificates: Vec::new(),
        }
    }

    /// Puts a proof in place, as a DNS server or web server would show it.
    pub(crate) fn prove(&mut self, identifier: &Identifier, response: &ChallengeResponse) -> bool {
        let shown = match response {
            ChallengeResponse::DnsTxt { name, value } => format!("{name} {value}"),
            ChallengeResponse::Http(file) => format!("{} {}", file.path, file.body.as_str()),
            ChallengeResponse::TlsAlpn(tls) => URL_SAFE_NO_PAD.encode(tls.digest),
            _ => return false,
        };
        self.proofs.entry((identifier.clone(), response.kind())).or_default().insert(shown);
        true
    }

    pub(super) fn nonce(&mut self) -> String {
        self.made += 1;
        let nonce = format!("nonce-{}", self.made);
        self.nonces.insert(nonce.clone());
        self.most_nonces = self.most_nonces.max(self.nonces.len());
        nonce
    }

    pub(super) fn spend(&mut self, nonce: Option<&str>) -> bool {
        self.spent += 1;
        let known = nonce.is_some_and(|nonce| self.nonces.remove(nonce));
        known && self.refuses_nonces.is_none_or(|every| !self.spent.is_multiple_of(every))
    }

    /// Forgets every nonce, as servers do after a while.
    pub(crate) fn forget_nonces(&mut self) {
        self.nonces.clear();
    }

    pub(super) fn account_at(&self, kid: &str) -> Option<usize> {
        let number = kid.strip_prefix(&format!("{}/account/", self.url))?.parse::<usize>().ok()?;
        self.accounts.get(number).filter(|account| !account.gone).map(|_| number)
    }

    pub(super) fn directory(&self) -> Answer {
        let at = |path: &str| format!("{}/{path}", self.url);
        let mut directory = json!({
            "newNonce": at("nonce"), "newAccount": at("new-account"), "newOrder": at("new-order"),
            "revokeCert": at("revoke"),
            "meta": {
                "website": "https://ca.test", "caaIdentities": ["ca.test"],
                "externalAccountRequired": !self.external_accounts.is_empty(),
                "profiles": self.profiles.iter().map(|name| ((*name).to_owned(), json!(format!("about {name}"))))
                    .collect::<serde_json::Map<_, _>>(),
            },
            "x7Qk": "https://community.test/a-random-key",
        });
        if let Some(terms) = self.terms {
            directory["meta"]["termsOfService"] = terms.into();
        }
        if self.offers_key_change {
            directory["keyChange"] = at("key-change").into();
        }
        if self.offers_renewal_info {
            directory["renewalInfo"] = at("renewal-info").into();
        }
        ok(&directory)
    }

    pub(super) fn renewal_info(&self, id: &str) -> Answer {
        let found = self.certificates.iter().find(|certificate| self.ari_id(certificate) == id);
        let Some(certificate) = found else { return problem(404, "malformed", "unknown certificate") };
        let info = self.chain(certificate).info().unwrap();
        let third = info.not_after.since(info.not_before) / 3;
        let (start, end) = (info.not_before + third * 2, info.not_before + third * 2 + third / 30);
        let mut answer = ok(&json!({
            "suggestedWindow": { "start": start.to_string(), "end": end.to_string() },
            "explanationURL": "https://ca.test/why",
        }));
        answer.headers.push(("retry-after".into(), "21600".into()));
        answer
    }

    fn chain(&self, certificate: &CertificateRecord) -> Chain {
        Chain::from_pem(&format!("{}{}", certificate.leaf, self.issuer.ways[0].1)).unwrap()
    }

    fn ari_id(&self, certificate: &CertificateRecord) -> String {
        ari_certificate_id(self.chain(certificate).leaf()).unwrap()
    }

    pub(super) fn perform(&mut self, step: Step, path: &str, signer: &Signer, jws: &Jws) -> Answer {
        let number = |place: usize| path.split('/').nth(place).and_then(|part| part.parse::<usize>().ok());
        match (step, signer) {
            (Step::NewAccount, Signer::Key(jwk)) => self.new_account(jwk, jws),
            (Step::Revoke, _) => self.revoke(signer, jws),
            (_, Signer::Key(_)) => problem(400, "malformed", "this is for accounts"),
            (Step::Account, Signer::Account(account)) => self.update_account(*account, jws),
            (Step::KeyChange, Signer::Account(account)) => self.change_key(*account, jws),
            (Step::NewOrder, Signer::Account(account)) => self.new_order(*account, jws),
            (Step::Order, Signer::Account(account)) => match number(2) {
                Some(order) if self.owns_order(*account, order) && jws.payload.is_empty() => {
                    self.advance(order);
                    self.order(order, StatusCode::OK)
                }
                _ => problem(404, "malformed", "no such order"),
            },
            (Step::Authorization, Signer::Account(account)) => match number(2) {
                Some(place)
                    if self
                        .authorizations
                        .get(place)
                        .is_some_and(|authorization| authorization.account == *account)
                        && jws.payload.is_empty() =>
                {
                    ok(&self.authorization(place))
                }
                _ => problem(404, "malformed", "no such authorization"),
            },
            (Step::Challenge, Signer::Account(account)) => self.challenge(*account, path, jws),
            (Step::Finalize, Signer::Account(account)) => match number(2) {
                Some(order) if self.owns_order(*account, order) => self.finalize(order, jws),
                _ => problem(404, "malformed", "no such order"),
            },
            (Step::Certificate, Signer::Account(account)) => {
                let found = number(2)
                    .and_then(|place| self.certificates.get(place))
                    .filter(|one| one.account == *account);
                match (found, number(3).unwrap_or(0)) {
                    (Some(found), way @ 0..=1) if jws.payload.is_empty() => {
                        self.certificate(found, way, path)
                    }
                    _ => problem(404, "malformed", "no such certificate"),
                }
            }
            _ => problem(400, "malformed", "not for this signer"),
        }
    }

    fn owns_order(&self, account: usize, order: usize) -> bool {
        self.orders.get(order).is_some_and(|order| order.account == account)
    }

    fn new_account(&mut self, jwk: &Value, jws: &Jws) -> Answer {
        let Some(wish) = jws.json() else { return problem(400, "malformed", "not JSON") };
        let known = self.accounts.iter().position(|account| account.jwk == *jwk && !account.gone);
        if let Some(known) = known {
            return self.account(known, StatusCode::OK);
        }
        if wish["onlyReturnExisting"] == true {
            return problem(400, "accountDoesNotExist", "no account has this key");
        }
        if self.terms.is_some() && wish["termsOfServiceAgreed"] != true {
            return problem(403, "userActionRequired", "agree to the terms of service");
        }
        let mut bound_to = None;
        if !self.external_accounts.is_empty() {
            let Some(binding) = Jws::from_value(&wish["externalAccountBinding"]) else {
                return problem(403, "externalAccountRequired", "bind the account");
            };
            let kid = binding.header["kid"].as_str().unwrap_or_default().to_owned();
            let good = self.external_accounts.get(&kid).is_some_and(|key| binding.is_by_mac(key))
                && binding.json().as_ref() == Some(jwk)
                && binding.header["url"] == jws.header["url"]
                && binding.header["nonce"].is_null();
            if !good {
                return problem(403, "unauthorized", "the binding is wrong");
            }
            bound_to = Some(kid);
        }
        self.accounts.push(AccountState {
            jwk: jwk.clone(),
            contacts: wish["contact"].clone(),
            bound_to,
            deactivated: false,
            gone: false,
        });
        self.account(self.accounts.len() - 1, StatusCode::CREATED)
    }

    fn account(&self, account: usize, status: StatusCode) -> Answer {
        let found = &self.accounts[account];
        let word = if found.deactivated { "deactivated" } else { "valid" };
        let mut answer = ok(&json!({ "status": word, "contact": found.contacts }));
        answer.status = status;
        answer.headers.push(("location".into(), format!("{}/account/{account}", self.url)));
        answer
    }

    fn update_account(&mut self, account: usize, jws: &Jws) -> Answer {
        if let Some(wish) = jws.json() {
            self.accounts[account].contacts = wish["contact"].clone();
        }
        self.account(account, StatusCode::OK)
    }

    fn change_key(&mut self, account: usize, jws: &Jws) -> Answer {
        let Some(inner) = jws.json().and_then(|inner| Jws::from_value(&inner)) else {
            return problem(400, "malformed", "no inner JWS");
        };
        let (new, wish) = (inner.header["jwk"].clone(), inner.json().unwrap_or_default());
        let good = inner.is_by(&new)
            && inner.header["url"] == jws.header["url"]
            && wish["account"] == format!("{}/account/{account}", self.url)
            && wish["oldKey"] == self.accounts[account].jwk;
        if !good {
            return problem(400, "malformed", "the inner JWS is wrong");
        }
        if self.accounts.iter().any(|account| account.jwk == new) {
            return problem(409, "malformed", "the key is in use");
        }
        self.accounts[account].jwk = new;
        self.account(account, StatusCode::OK)
    }

    fn new_order(&mut self, account: usize, jws: &Jws) -> Answer {
        let Some(wish) = jws.json() else { return problem(400, "malformed", "not JSON") };
        let mut identifiers = Vec::new();
        for wanted in wish["identifiers"].as_array().into_iter().flatten() {
            let text = wanted["value"].as_str().unwrap_or_default();
            let identifier: Identifier = match (wanted["type"].as_str(), text.parse()) {
                (Some("dns"), Ok(name)) if !matches!(name, Identifier::Ip(_)) => name,
                (Some("ip"), Ok(Identifier::Ip(address))) => Identifier::Ip(address),
                _ => return problem(400, "malformed", "an identifier is malformed"),
            };
            identifiers.push(identifier);
        }
        if let Some(profile) = wish["profile"].as_str()
            && !self.profiles.contains(&profile)
        {
            return problem(400, "invalidProfile", "no such profile");
        }
        if let Some(replaces) = wish["replaces"].as_str() {
            if let Some((status, name)) = self.refuses_replaces {
                return problem(status, name, "about the predecessor");
            }
            let found = self.certificates.iter().position(|certificate| {
                certificate.account == account && self.ari_id(certificate) == replaces
            });
            match found {
                None => return problem(404, "malformed", "no such predecessor"),
                Some(found) if self.certificates[found].replaced => {
                    return problem(409, "alreadyReplaced", "it has a successor");
                }
                Some(found) => self.certificates[found].replaced = true,
            }
        }
        let authorizations =
            identifiers.iter().map(|identifier| self.authorize(account, identifier)).collect();
        let expected = self.expected.iter().position(|(names, _)| *names == identifiers);
        let reference = expected.map(|place| self.expected.remove(place).1);
        self.orders.push(OrderRecord {
            account,
            identifiers,
            authorizations,
            status: "pending",
            reference,
            request: wish,
            csr: None,
            certificate: None,
            polls_left: self.polls_to_issue,
            error: None,
        });
        let order = self.orders.len() - 1;
        self.advance(order);
        self.order(order, StatusCode::CREATED)
    }

    fn authorize(&mut self, account: usize, identifier: &Identifier) -> usize {
        let reusable = |old: &AuthorizationRecord| {
            old.account == account && old.identifier == *identifier && old.status == "valid"
        };
        if self.reuses
            && let Some(place) = self.authorizations.iter().position(reusable)
        {
            return place;
        }
        let token = format!("token-of-authorization-{}", self.authorizations.len());
        let identifier = identifier.clone();
        self.authorizations.push(AuthorizationRecord {
            account,
            identifier,
            status: "pending",
            token,
            tried: None,
        });
        self.authorizations.len() - 1
    }

    /// Checks what was answered, and moves the order on.
    fn advance(&mut self, order: usize) {
        for place in self.orders[order].authorizations.clone() {
            self.validate(place);
        }
        let statuses: Vec<_> = self.orders[order]
            .authorizations
            .iter()
            .map(|place| self.authorizations[*place].status)
            .collect();
        let record = &mut self.orders[order];
        match record.status {
            "pending" if statuses.contains(&"invalid") => record.status = "invalid",
            "pending" if statuses.iter().all(|status| *status == "valid") => record.status = "ready",
            "processing" if record.polls_left > 0 => record.polls_left -= 1,
            "processing" => {
                record.status = "valid";
                let csr = record.csr.clone().unwrap();
                let (account, serial) = (record.account, 4_096 + self.certificates.len() as u64);
                record.certificate = Some(self.certificates.len());
                let leaf = self.issuer.issue(&csr, serial, SystemClock::default().now().to_utc());
                self.certificates.push(CertificateRecord {
                    account,
                    csr,
                    leaf,
                    revoked: None,
                    replaced: false,
                });
            }
            _ => {}
        }
    }

    fn validate(&mut self, place: usize) {
        let found = &self.authorizations[place];
        let Some(tried) = found.tried.filter(|_| found.status == "pending") else { return };
        let proof = format!("{}.{}", found.token, thumbprint(&self.accounts[found.account].jwk));
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, proof.as_bytes());
        let hash = URL_SAFE_NO_PAD.encode(hash);
        let (kind, wanted) = match tried {
            "dns-01" => {
                let base = found.identifier.base_name().unwrap();
                (ChallengeKind::DnsTxt, format!("_acme-challenge.{base} {hash}"))
            }
            "http-01" => {
                (ChallengeKind::Http, format!("/.well-known/acme-challenge/{} {proof}", found.token))
            }
            _ => (ChallengeKind::TlsAlpn, hash),
        };
        let shown =
            self.proofs.get(&(found.identifier.clone(), kind)).is_some_and(|shown| shown.contains(&wanted));
        let good = shown && !self.disproven.contains(&found.identifier);
        self.authorizations[place].status = if good { "valid" } else { "invalid" };
    }

    fn order(&self, order: usize, status: StatusCode) -> Answer {
        let found = &self.orders[order];
        let authorizations: Vec<_> =
            found.authorizations.iter().map(|place| format!("{}/authz/{place}", self.url)).collect();
        let mut object = json!({
            "status": found.status,
            "expires": (SystemClock::default().now() + std::time::Duration::from_hours(24)).to_string(),
            "identifiers": found.request["identifiers"],
            "authorizations": authorizations,
            "finalize": format!("{}/finalize/{order}", self.url),
        });
        if let Some(certificate) = found.certificate {
            object["certificate"] = format!("{}/certificate/{certificate}", self.url).into();
        }
        if let Some(error) = &found.error {
            object["error"] = error.clone();
        }
        let mut answer = ok(&object);
        answer.status = status;
        answer.headers.push(("location".into(), format!("{}/order/{order}", self.url)));
        if found.status == "processing" {
            answer.headers.push(("retry-after".into(), "7".into()));
        }
        answer
    }

    fn authorization(&self, place: usize) -> Value {
        let found = &self.authorizations[place];
        let (kind, value) = match &found.identifier {
            Identifier::Ip(address) => ("ip", IpAddr::to_string(address)),
            name => ("dns", name.base_name().unwrap().to_string()),
        };
        let kinds: &[&str] = match &found.identifier {
            Identifier::Wildcard(_) => &["dns-01"],
            Identifier::Ip(_) => &["http-01", "tls-alpn-01"],
            _ => &["http-01", "dns-01", "tls-alpn-01", "dns-future-07"],
        };
        let challenges: Vec<_> = kinds
            .iter()
            .filter(|kind| found.status == "pending" || found.tried == Some(**kind))
            .map(|kind| self.challenge_object(place, kind))
            .collect();
        let mut object = json!({
            "identifier": { "type": kind, "value": value }, "status": found.status, "challenges": challenges,
        });
        if found.identifier.is_wildcard() {
            object["wildcard"] = true.into();
        }
        object
    }

    fn challenge_object(&self, place: usize, kind: &str) -> Value {
        let found = &self.authorizations[place];
        let status = match (found.status, found.tried) {
            ("pending", Some(tried)) if tried == kind => "processing",
            (status, Some(tried)) if tried == kind => status,
            _ => "pending",
        };
        let url = format!("{}/challenge/{place}/{kind}", self.url);
        let mut object = json!({ "type": kind, "url": url, "status": status, "token": found.token });
        if status == "invalid" {
            let detail = format!("the proof for {} is wrong", found.identifier);
            object["error"] = json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": detail });
        }
        object
    }

    fn challenge(&mut self, account: usize, path: &str, jws: &Jws) -> Answer {
        let mut parts = path.split('/').skip(2);
        let place = parts.next().and_then(|part| part.parse::<usize>().ok());
        let kind =
            ["http-01", "dns-01", "tls-alpn-01"].into_iter().find(|kind| parts.clone().next() == Some(kind));
        let (Some(place), Some(kind)) = (place, kind) else {
            return problem(404, "malformed", "no such challenge");
        };
        if self.authorizations.get(place).is_none_or(|authorization| authorization.account != account) {
            return problem(404, "malformed", "no such challenge");
        }
        if !jws.payload.is_empty() {
            if jws.payload != b"{}" {
                return problem(400, "malformed", "RFC 8555 §7.5.1 wants {}");
            }
            // As strict as Pebble: only a challenge that nobody has answered may be.
            if self.authorizations[place].tried.is_some() {
                return problem(400, "malformed", "the challenge is not pending");
            }
            self.authorizations[place].tried = Some(kind);
        }
        ok(&self.challenge_object(place, kind))
    }

    fn finalize(&mut self, order: usize, jws: &Jws) -> Answer {
        if self.orders[order].status != "ready" {
            return problem(403, "orderNotReady", "the order is not ready");
        }
        let csr = jws.json().and_then(|wish| URL_SAFE_NO_PAD.decode(wish["csr"].as_str()?).ok());
        let Some(csr) = csr.and_then(|der| Csr::from_der(&der).ok()) else {
            return problem(400, "badCSR", "not a request");
        };
        let wanted: BTreeSet<_> = self.orders[order].identifiers.iter().cloned().collect();
        if csr.check_against(&wanted, None).is_err() {
            return problem(400, "badCSR", "it is for other names");
        }
        self.orders[order].csr = Some(csr);
        self.orders[order].status = "processing";
        self.order(order, StatusCode::OK)
    }

    fn certificate(&self, found: &CertificateRecord, way: usize, path: &str) -> Answer {
        let mut headers = vec![
            ("content-type".to_owned(), "application/pem-certificate-chain".to_owned()),
            ("link".into(), format!("<{}/dir>;rel=\"index\"", self.url)),
        ];
        if way == 0 {
            headers.push(("link".into(), format!("<{}{path}/1>;rel=\"alternate\"", self.url)));
        }
        let body = format!("{}\n{}", found.leaf, self.issuer.ways[way].1);
        Answer { status: StatusCode::OK, headers, body }
    }

    fn revoke(&mut self, signer: &Signer, jws: &Jws) -> Answer {
        let Some(wish) = jws.json() else { return problem(400, "malformed", "not JSON") };
        let der = wish["certificate"]
            .as_str()
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .unwrap_or_default();
        let place = self.certificates.iter().position(|found| self.chain(found).leaf().as_ref() == der);
        let Some(place) = place else { return problem(404, "malformed", "no such certificate") };
        let found = &mut self.certificates[place];
        let entitled = match signer {
            Signer::Account(account) => found.account == *account,
            Signer::Key(jwk) => p256_public_key(jwk).as_deref() == Some(found.csr.public_key_der()),
        };
        if !entitled {
            return problem(403, "unauthorized", "the signer may not revoke it");
        }
        if found.revoked.is_some() {
            return problem(400, "alreadyRevoked", "it is revoked");
        }
        found.revoked = Some(wish["reason"].clone());
        Answer { status: StatusCode::OK, headers: Vec::new(), body: String::new() }
    }
}

fn ok(value: &Value) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: vec![("content-type".into(), "application/json".into())],
        body: value.to_string(),
    }
}
