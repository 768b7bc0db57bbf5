//! Whether an issued certificate is what was asked for. Nothing becomes current before this passes.

use std::{collections::BTreeSet, time::Duration};

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage as Purpose, anchor_from_trusted_cert};
use x509_cert::ext::pkix::KeyUsage;

use super::{
    chain::Chain,
    info::alt_names,
    raw::{Raw, name_text},
};
use crate::{
    digest::KeyHash,
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    input::InputError,
    key::SignatureError,
    name::Identifier,
    text::VendorText,
    time::Timestamp,
};

/// How far clocks may differ at most.
const MOST_TOLERANT: Duration = Duration::from_hours(1);

/// What an issued certificate has to be.
#[derive(Debug, Clone)]
pub struct Expectation {
    key_hash: KeyHash,
    identifiers: BTreeSet<Identifier>,
    now: Timestamp,
    not_before_tolerance: Duration,
    allow_extra: bool,
    trust: Option<Vec<CertificateDer<'static>>>,
}

impl Expectation {
    /// Expects a certificate for this key and these identifiers that is valid at `now`.
    pub fn new(key_hash: KeyHash, identifiers: BTreeSet<Identifier>, now: Timestamp) -> Self {
        Self {
            key_hash,
            identifiers,
            now,
            not_before_tolerance: Duration::from_mins(5),
            allow_extra: false,
            trust: None,
        }
    }

    /// Takes a certificate that becomes valid this soon, because clocks differ. At most one hour, which
    /// is also what CAs date certificates back by. Defaults to five minutes.
    #[must_use]
    pub fn not_before_tolerance(mut self, tolerance: Duration) -> Self {
        self.not_before_tolerance = tolerance.min(MOST_TOLERANT);
        self
    }

    /// Takes names that CAs add for free: `www.` in front of a wanted name, a wanted name without its
    /// `www.`, and the name under a wanted wildcard. Any other extra name is refused in any case.
    /// Defaults to refusing all.
    #[must_use]
    pub fn allow_extra(mut self, allow: bool) -> Self {
        self.allow_extra = allow;
        self
    }

    /// Asks that the chain leads to one of these roots, in DER, by all rules for TLS server
    /// certificates (RFC 5280 §6). Defaults to any root.
    #[must_use]
    pub fn trust(mut self, anchors: Vec<CertificateDer<'static>>) -> Self {
        self.trust = Some(anchors);
        self
    }

    fn accepts_extra(&self, extra: &Identifier) -> bool {
        let base = |name: &Identifier| match name {
            Identifier::Dns(name) => {
                Some(name.as_str().strip_prefix("www.").unwrap_or(name.as_str()).to_owned())
            }
            Identifier::Wildcard(base) => Some(base.to_string()),
            Identifier::Ip(_) => None,
        };
        self.allow_extra
            && matches!(extra, Identifier::Dns(_))
            && base(extra).is_some_and(|twin| {
                self.identifiers.iter().any(|wanted| base(wanted).as_ref() == Some(&twin))
            })
    }
}

/// Checks that `chain` is what `expectation` says: key, identifiers, validity period, signatures from
/// leaf to end, CA flags, and the root if one is asked for.
///
/// # Errors
///
/// [`ErrorKind::BadCertificate`] names everything that disagrees.
pub fn check_issued(chain: &Chain, expectation: &Expectation) -> Result<()> {
    let mut problems = Problems::default();
    match chain.certificates().map(|der| Raw::read(der)).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) => check_all(&certificates, expectation, &mut problems),
        Err(error) => problems.add(rule(&error)),
    }
    if problems.0.is_empty() {
        // Path validation on what is broken already would only repeat it in other words.
        problems.extend(check_trust(chain, expectation));
    }
    problems.into_result()
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    fn extend(&mut self, problem: Option<String>) {
        self.0.extend(problem);
    }

    fn into_result(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let kind = ErrorKind::BadCertificate(VendorText::new(&self.0.join("; ")).to_string().into());
        Err(Error::new(ProviderName::ENGINE, Operation::CheckCertificate, kind))
    }
}

fn check_all(certificates: &[Raw<'_>], expectation: &Expectation, problems: &mut Problems) {
    let [leaf, issuers @ ..] = certificates else { return };
    if leaf.key_hash() != expectation.key_hash {
        let (found, wanted) = (leaf.key_hash(), expectation.key_hash);
        problems.add(format!("it is for another key: wanted {wanted}, found {found}"));
    }
    check_names(leaf, expectation, problems);
    match leaf.is_ca() {
        Ok(true) => problems.add("it is the certificate of a CA"),
        Ok(false) => {}
        Err(error) => problems.add(rule(&error)),
    }
    for (position, certificate) in certificates.iter().enumerate() {
        let which = if position == 0 { "it".to_owned() } else { format!("issuer {}", describe(certificate)) };
        problems.extend(validity_problem(&which, certificate, expectation));
    }
    for issuer in issuers {
        problems.extend(authority_problem(issuer));
    }
    for pair in certificates.windows(2) {
        if let [certificate, issuer] = pair {
            problems.extend(signature_problem(certificate, issuer));
        }
    }
}

fn check_names(leaf: &Raw<'_>, expectation: &Expectation, problems: &mut Problems) {
    let names = match alt_names(leaf) {
        Ok(names) => names,
        Err(error) => return problems.add(rule(&error)),
    };
    let missing: Vec<_> =
        expectation.identifiers.difference(&names.identifiers).map(ToString::to_string).collect();
    if !missing.is_empty() {
        problems.add(format!("it lacks {}", missing.join(", ")));
    }
    let extra = names.identifiers.difference(&expectation.identifiers);
    let extra = extra.filter(|extra| !expectation.accepts_extra(extra)).map(ToString::to_string);
    let extra: Vec<_> = extra.chain(names.others.iter().map(ToString::to_string)).collect();
    if !extra.is_empty() {
        problems.add(format!("it names {}, which was not asked for", extra.join(", ")));
    }
}

fn validity_problem(which: &str, certificate: &Raw<'_>, expectation: &Expectation) -> Option<String> {
    let now = expectation.now;
    match certificate.validity() {
        Err(error) => Some(rule(&error)),
        Ok((not_before, _)) if not_before > now + expectation.not_before_tolerance => {
            Some(format!("{which} is not valid before {not_before}, and it is {now} now"))
        }
        Ok((_, not_after)) if now.unix_seconds() > not_after.unix_seconds() => {
            Some(format!("{which} expired at {not_after}, and it is {now} now"))
        }
        Ok(_) => None,
    }
}

fn authority_problem(issuer: &Raw<'_>) -> Option<String> {
    let may_sign = issuer.decoded::<KeyUsage>().map(|usage| usage.is_none_or(|usage| usage.key_cert_sign()));
    match (issuer.is_ca(), may_sign) {
        (Ok(true), Ok(true)) => None,
        (Ok(false), _) => Some(format!("issuer {} is not a CA", describe(issuer))),
        (_, Ok(false)) => Some(format!("issuer {} may not sign certificates", describe(issuer))),
        (Err(error), _) | (_, Err(error)) => Some(rule(&error)),
    }
}

fn signature_problem(certificate: &Raw<'_>, issuer: &Raw<'_>) -> Option<String> {
    if certificate.issuer != issuer.subject {
        return Some(format!("{} is not issued by {}", describe(certificate), describe(issuer)));
    }
    match issuer.key().map(|key| certificate.signed.verify(&key)) {
        Ok(Ok(())) => None,
        Ok(Err(SignatureError::Wrong)) => {
            Some(format!("the signature of {} on {} is wrong", describe(issuer), describe(certificate)))
        }
        Ok(Err(SignatureError::Unsupported(algorithm))) => {
            Some(format!("{} is signed with {algorithm}, which is not supported", describe(certificate)))
        }
        Ok(Err(SignatureError::RsaSize(bits))) => {
            Some(format!("{} is signed with an RSA key of {bits} bits", describe(certificate)))
        }
        Err(error) => Some(rule(&error)),
    }
}

fn check_trust(chain: &Chain, expectation: &Expectation) -> Option<String> {
    let anchors = expectation.trust.as_ref()?;
    let anchors: Vec<_> = anchors.iter().filter_map(|anchor| anchor_from_trusted_cert(anchor).ok()).collect();
    // The clock may stand a little before `not_before`, which was checked with its tolerance above.
    let now = Raw::read(chain.leaf()).and_then(|leaf| leaf.validity());
    let now = now.map_or(expectation.now, |(not_before, _)| not_before.max(expectation.now));
    let now = UnixTime::since_unix_epoch(now.since(Timestamp::from_unix_seconds(0)));
    let verified = EndEntityCert::try_from(chain.leaf()).and_then(|leaf| {
        let issuers = chain.intermediates();
        leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            issuers,
            now,
            Purpose::server_auth(),
            None,
            None,
        )
        .map(|_| ())
    });
    verified.err().map(|error| format!("it does not lead to a trusted root: {error}"))
}

fn describe(certificate: &Raw<'_>) -> String {
    format!("{:?}", name_text(certificate.subject).unwrap_or_default())
}

/// The rule alone: that it is about a certificate, the message says already.
fn rule(error: &InputError) -> String {
    match error {
        InputError::Certificate { rule } => rule.to_string(),
        other => other.to_string(),
    }
}
