//! What host and agent say to each other: JSON over HTTPS, below `/v1/`.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `POST enrol` | [`Enrol`], without a client certificate | [`Certified`] |
//! | `POST renew` | [`Renew`] | [`Certified`] |
//! | `POST work` | [`Fetch`] | [`Work`], at once or when there is some, at the latest after the time asked for |
//! | `POST work/{id}` | [`Outcome`] | nothing |
//!
//! Everything that is refused is answered with a [`Refusal`]. What comes in is bounded before it is read.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use certlife_core::{
    AccountName, AccountSummary, CertificateId, Chain, Csr, Identifier, InputError, Operation, PrivateKey,
    Secret, VendorText, VersionId,
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};
use serde::{Deserialize, Serialize};

use super::fault::Fault;

/// The most of a request that the hub reads.
pub(super) const MAX_REQUEST: usize = 1 << 20;
/// The most of an answer that an agent reads.
pub(super) const MAX_ANSWER: usize = 8 << 20;
/// The most work in one answer.
pub(super) const MAX_ITEMS: usize = 16;
/// The most blocks that an agent may have.
pub(super) const MAX_BLOCKS: usize = 64;
/// The most work that an agent may hold.
pub(super) const MAX_HOLDING: usize = 512;
/// How long an agent may wait for work in one request.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(50);

/// Asks for the first certificate.
#[derive(Serialize, Deserialize)]
pub(super) struct Enrol {
    pub(super) agent: AccountName,
    /// The secret part of the invitation.
    pub(super) token: String,
    pub(super) csr: Csr,
}

/// Asks for the next certificate, with the present one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Renew {
    pub(super) csr: Csr,
}

/// A certificate, and who vouches for it and for the hub.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Certified {
    /// PEM.
    pub(super) certificate: String,
    /// PEM.
    pub(super) authority: String,
}

/// Asks for work, and tells what the agent is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fetch {
    /// What each block can do.
    pub(super) blocks: BTreeMap<AccountName, DeployCapabilities>,
    /// What the agent has got already and not yet reported.
    pub(super) holding: Vec<WorkId>,
    pub(super) wait_seconds: u64,
}

/// What there is to do, in the order in which it was asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) items: Vec<WorkItem>,
}

/// [`Work`] as the hub sends it.
#[derive(Serialize)]
pub(super) struct Given {
    pub(super) items: Vec<GivenItem>,
}

/// [`WorkItem`] as the hub keeps and sends it: what it carries was read when it was asked, and may hold a private key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct GivenItem {
    pub(super) id: WorkId,
    pub(super) block: AccountName,
    pub(super) task: serde_json::Value,
}

/// One call of a deployer, to be made by the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WorkItem {
    pub(super) id: WorkId,
    pub(super) block: AccountName,
    pub(super) task: Task,
}

/// Names work: a digest of what is asked, and a number that no other work of the agent has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub(super) struct WorkId(String);

impl WorkId {
    pub(super) fn new(content: &str, number: u64) -> Self {
        Self(format!("{content}-{number}"))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkId {
    type Err = InputError;

    /// What comes in becomes a file name on the agent, so that nothing but the form we make is taken.
    fn from_str(text: &str) -> Result<Self, InputError> {
        let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let fits = text.split_once('-').is_some_and(|(content, number)| {
            content.len() == 32
                && hex(content)
                && number.parse::<u64>().is_ok_and(|n| n.to_string() == number)
        });
        if fits {
            return Ok(Self(text.to_owned()));
        }
        let rule = "32 hexadecimal digits, `-` and a number".into();
        Err(InputError::Value { field: "work id".into(), value: text.into(), rule })
    }
}

impl<'de> Deserialize<'de> for WorkId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be done: one call of the contract.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub(super) enum Task {
    Probe,
    MakeKey(Box<KeyRequest>),
    Install(Box<SentBundle>),
    Installed { certificate: CertificateId },
    Rollback { receipt: Receipt },
    Uninstall { certificate: CertificateId },
    PutChallenge { response: TargetResponse },
    RemoveChallenge { handle: ChallengeHandle },
}

impl Task {
    /// What the deployer was asked, for errors.
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Probe => Operation::Probe,
            Self::MakeKey(_) => Operation::MakeKey,
            Self::Install(_) => Operation::Install,
            Self::Installed { .. } => Operation::Inspect,
            Self::Rollback { .. } => Operation::RollBack,
            Self::Uninstall { .. } => Operation::Uninstall,
            Self::PutChallenge { .. } => Operation::PutChallenge,
            Self::RemoveChallenge { .. } => Operation::RemoveChallenge,
        }
    }

    /// Whether it changes nothing, so that an old answer is worth nothing.
    pub(super) fn is_question(&self) -> bool {
        matches!(self, Self::Probe | Self::Installed { .. })
    }

    /// What it is about. Work about the same thing is done in order; other work need not wait for it.
    pub(super) fn subject(&self) -> String {
        let certificate = |id: &CertificateId| format!("certificate {id}");
        match self {
            Self::Probe => "probe".to_owned(),
            Self::MakeKey(wanted) => certificate(&wanted.certificate),
            Self::Install(bundle) => certificate(&bundle.certificate),
            Self::Installed { certificate: id } | Self::Uninstall { certificate: id } => certificate(id),
            Self::Rollback { receipt } => certificate(&receipt.certificate),
            Self::PutChallenge { response } => format!("challenge {response:?}"),
            Self::RemoveChallenge { handle } => format!("challenge {:?}", handle.response),
        }
    }
}

/// A [`Bundle`] on its way. Its key travels inside TLS, and is sealed in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SentBundle {
    pub(super) certificate: CertificateId,
    version: VersionId,
    identifiers: Vec<Identifier>,
    chain: Chain,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<SentKey>,
    replaces: Option<VersionId>,
}

impl From<&Bundle> for SentBundle {
    fn from(bundle: &Bundle) -> Self {
        Self {
            certificate: bundle.certificate.clone(),
            version: bundle.version,
            identifiers: bundle.identifiers.clone(),
            chain: bundle.chain.clone(),
            key: bundle.key.clone().map(SentKey),
            replaces: bundle.replaces,
        }
    }
}

impl From<SentBundle> for Bundle {
    fn from(sent: SentBundle) -> Self {
        Self {
            certificate: sent.certificate,
            version: sent.version,
            identifiers: sent.identifiers,
            chain: sent.chain,
            key: sent.key.map(|key| key.0),
            replaces: sent.replaces,
        }
    }
}

/// The one type of this module that shows a private key when it is serialized.
#[derive(Debug, Clone)]
struct SentKey(PrivateKey);

impl Serialize for SentKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pem = self.0.to_pkcs8_pem().map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(pem.expose())
    }
}

impl<'de> Deserialize<'de> for SentKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pem = Secret::deserialize(deserializer)?;
        PrivateKey::from_pem(&pem).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What became of work.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Done(Answer),
    Failed(Fault),
}

/// What a deployer answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Summary(AccountSummary),
    Csr(Csr),
    Receipt(Receipt),
    Installed(Option<Installed>),
    Handle(ChallengeHandle),
    Nothing,
}

/// Why the hub refuses a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refusal {
    pub(super) code: RefusalCode,
    pub(super) message: VendorText,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RefusalCode {
    /// The client certificate is missing, unknown, expired or withdrawn: only a new invitation helps.
    EnrolAgain,
    /// The invitation is wrong, was used, or is over.
    InvitationRefused,
    /// The work was never given to this agent, or is over.
    UnknownWork,
    /// The request breaks the protocol.
    Malformed,
    /// The hub's store fails.
    Unavailable,
    /// There is nothing at this path: the agent speaks another version.
    UnknownPath,
}
