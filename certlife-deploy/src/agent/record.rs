//! What the hub keeps of one agent: who it is, what it can do, and the work that is asked of it.
//!
//! It is one sealed entry of the hub's vault, so that each change is one commit and the work keeps its order. Nothing
//! here waits, asks or stores; the moment comes in from outside.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use aws_lc_rs::digest::{Context, SHA256, digest};
use certlife_core::{
    AccountName, Error, ErrorKind, Fingerprint, KeyHash, Operation, Result, SecretBytes, Timestamp,
    deploy::DeployCapabilities,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AGENT,
    fault::Fault,
    wire::{GivenItem, MAX_ITEMS, Outcome, Task, WorkId},
};

/// How much may wait for one agent, or for those who asked it: calls, and bytes of JSON with the outcomes.
const MAX_WAITING: usize = 256;
const MAX_BYTES: usize = 4 << 20;
/// The most bytes of work in one answer.
const MAX_ANSWER_BYTES: usize = 2 << 20;
/// How long an agent that is away may be before what was asked of it is forgotten. Whoever still wants it asks again.
const FORGET: Duration = Duration::from_hours(24 * 7);
/// How long an outcome waits for whoever asked.
const KEEP_OUTCOME: Duration = Duration::from_hours(24);
/// How long it stays for others who asked for the same, once the first has it.
const LINGER: Duration = Duration::from_mins(1);
/// How many reports can be repeated.
const REMEMBERED: usize = 64;
/// The certificate in use, the next one, and one whose answer was lost.
const MAX_CERTIFICATES: usize = 3;

/// One agent.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct AgentRecord {
    invitation: Option<Invited>,
    certificates: Vec<Issued>,
    pub(super) blocks: BTreeMap<AccountName, DeployCapabilities>,
    work: Vec<Asked>,
    /// What was reported and collected, so that a repeated report is no mistake.
    settled: VecDeque<WorkId>,
    number: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Invited {
    token: TokenHash,
    expires: Timestamp,
}

/// SHA-256 of an invitation's secret, in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenHash(String);

impl TokenHash {
    /// A secret of 256 random bits needs no slow hash.
    pub(super) fn of(secret: &str) -> Self {
        Self(hex(digest(&SHA256, secret.as_bytes()).as_ref()))
    }
}

/// A certificate of the agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Issued {
    pub(super) pem: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) key: KeyHash,
    pub(super) not_after: Timestamp,
    /// The invitation that brought it.
    pub(super) token: Option<TokenHash>,
}

/// One call, as it was asked. What it carries is kept as it will be sent, and not read again here: no `Debug` shows it.
#[derive(Serialize, Deserialize)]
struct Asked {
    item: GivenItem,
    subject: String,
    question: bool,
    content: String,
    /// Of what it carries, and later of its outcome.
    size: usize,
    expires: Timestamp,
    /// Whether something else was asked about the same thing since.
    overtaken: bool,
    /// Whether somebody got the outcome.
    #[serde(default)]
    collected: bool,
    outcome: Option<Value>,
}

/// What is known of an enrolment.
#[derive(Debug)]
pub(super) enum Enrolment {
    Refused,
    /// The same agent asks again, after it has lost the answer.
    Again(Box<Issued>),
    Welcome,
}

/// What is known of work that somebody waits for.
#[derive(Debug)]
pub(super) enum Progress {
    Waiting,
    Over(Outcome),
    Gone,
}

/// What becomes of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reported {
    Taken,
    Repeated,
    Unknown,
}

impl AgentRecord {
    /// Numbers work from the moment on: an agent of that name that was removed may still report its own.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { number: now.unix_millis().unsigned_abs(), ..Self::default() }
    }

    pub(super) fn read(secret: &SecretBytes) -> serde_json::Result<Self> {
        serde_json::from_slice(secret.expose())
    }

    pub(super) fn write(&self) -> serde_json::Result<SecretBytes> {
        // With room for all, nothing is left behind unwiped when the text grows.
        let room = self.work.iter().map(|asked| asked.size + 4_096).sum::<usize>() + 64 * 1_024;
        let mut text = Vec::with_capacity(room);
        serde_json::to_writer(&mut text, self)?;
        Ok(SecretBytes::new(text))
    }

    // ---- who it is ----

    pub(super) fn invite(&mut self, token: TokenHash, expires: Timestamp) {
        self.invitation = Some(Invited { token, expires });
    }

    pub(super) fn enrolment(&self, token: &TokenHash, key: KeyHash, now: Timestamp) -> Enrolment {
        let again = |issued: &&Issued| issued.token.as_ref() == Some(token) && issued.key == key;
        if let Some(issued) = self.certificates.iter().find(again).filter(|issued| issued.not_after > now) {
            return Enrolment::Again(Box::new(issued.clone()));
        }
        match &self.invitation {
            Some(invited) if invited.token == *token && invited.expires > now => Enrolment::Welcome,
            _ => Enrolment::Refused,
        }
    }

    /// Takes the agent in: the invitation is used up, and whoever was the agent before is so no longer.
    pub(super) fn enrolled(&mut self, issued: Issued) {
        self.invitation = None;
        self.certificates = vec![issued];
    }

    /// The next certificate, if it was issued for this key already.
    pub(super) fn renewed_before(&self, key: KeyHash, fresh_until: Timestamp) -> Option<&Issued> {
        self.certificates.iter().find(|issued| issued.key == key && issued.not_after >= fresh_until)
    }

    pub(super) fn renewed(&mut self, issued: Issued) {
        self.certificates.push(issued);
        let surplus = self.certificates.len().saturating_sub(MAX_CERTIFICATES);
        // The oldest may still be in use, so that one between goes.
        self.certificates.drain(1..=surplus);
    }

    /// Whether this certificate is the agent's; none if it is not. One that is used ends those before it, which
    /// has to be stored if it is said.
    pub(super) fn recognise(&mut self, fingerprint: Fingerprint, now: Timestamp) -> Option<bool> {
        let found = self.certificates.iter().position(|issued| issued.fingerprint == fingerprint)?;
        if self.certificates[found].not_after < now {
            return None;
        }
        self.certificates.drain(..found);
        Some(found > 0)
    }

    /// Takes the right to connect away.
    pub(super) fn revoke(&mut self) {
        self.certificates.clear();
        self.invitation = None;
    }

    pub(super) fn is_enrolled(&self, now: Timestamp) -> bool {
        self.certificates.iter().any(|issued| issued.not_after >= now)
    }

    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.certificates.iter().map(|issued| issued.not_after).max()
    }

    // ---- what is asked of it ----

    /// Asks for something, or finds it asked for already: the same change, about which nothing else was asked since.
    /// A question is always asked anew. Returns the name of the work and whether it is new.
    pub(super) fn ask(
        &mut self,
        block: &AccountName,
        task: &Task,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(WorkId, bool), ErrorKind> {
        self.tidy(now);
        let broken = |_| ErrorKind::Protocol("what is asked cannot be sent".into());
        let text = SecretBytes::new(serde_json::to_vec(task).map_err(broken)?);
        let (content, size) = (content(block, &text), text.expose().len());
        let same = |asked: &&mut Asked| asked.content == content && !asked.overtaken;
        if !task.is_question()
            && let Some(asked) = self.work.iter_mut().find(same)
        {
            return Ok((asked.item.id.clone(), false));
        }
        let waiting: usize = self.work.iter().map(|asked| asked.size).sum();
        let open = self.work.iter().filter(|asked| asked.outcome.is_none()).count();
        if open >= MAX_WAITING || waiting + size > MAX_BYTES {
            return Err(ErrorKind::RateLimited);
        }
        let subject = task.subject();
        if !task.is_question() {
            let about = |asked: &&mut Asked| asked.item.block == *block && asked.subject == subject;
            self.work.iter_mut().filter(about).for_each(|asked| asked.overtaken = true);
        }
        self.number += 1;
        let id = WorkId::new(&content, self.number);
        let expires = if task.is_question() { until } else { now + FORGET };
        let task_sent = serde_json::from_slice(text.expose()).map_err(broken)?;
        let item = GivenItem { id: id.clone(), block: block.clone(), task: task_sent };
        self.work.push(Asked {
            item,
            subject,
            question: task.is_question(),
            content,
            size,
            expires,
            overtaken: false,
            collected: false,
            outcome: None,
        });
        Ok((id, true))
    }

    /// The outcome of work, if there is one, and whether it is asked for the first time, which has to be stored: whoever asks
    /// for the same from then on is not served by it. Those that wait for it already are, for a while.
    pub(super) fn collect(&mut self, id: &WorkId, now: Timestamp) -> (Progress, bool) {
        let Some(asked) = self.work.iter_mut().find(|asked| asked.item.id == *id) else {
            return (Progress::Gone, false);
        };
        let Some(outcome) = asked.outcome.clone() else { return (Progress::Waiting, false) };
        let Ok(outcome) = serde_json::from_value(outcome) else { return (Progress::Gone, false) };
        let first = !asked.collected;
        if first {
            (asked.collected, asked.overtaken, asked.expires) = (true, true, now + LINGER);
        }
        (Progress::Over(outcome), first)
    }

    /// Takes a question back that nobody waits for any more.
    pub(super) fn withdraw(&mut self, id: &WorkId) {
        self.work.retain(|asked| asked.item.id != *id || !asked.question);
    }

    /// The work to hand out, but for what the agent holds.
    pub(super) fn open(&self, holding: &BTreeSet<WorkId>, now: Timestamp) -> Vec<GivenItem> {
        let mut room = MAX_ANSWER_BYTES;
        let mut items = Vec::new();
        let open = |asked: &&Asked| asked.outcome.is_none() && asked.expires > now;
        for asked in self.work.iter().filter(open).filter(|asked| !holding.contains(&asked.item.id)) {
            // Nothing overtakes what has to wait for the next answer; but the first always fits.
            if items.len() >= MAX_ITEMS || (!items.is_empty() && asked.size > room) {
                break;
            }
            room = room.saturating_sub(asked.size);
            items.push(asked.item.clone());
        }
        items
    }

    /// Takes a report. Only the first one counts.
    pub(super) fn report(&mut self, id: &WorkId, outcome: &Outcome, now: Timestamp) -> Reported {
        let kept: usize = self.work.iter().map(|asked| asked.size).sum();
        if let Some(asked) = self.work.iter_mut().find(|asked| asked.item.id == *id) {
            if asked.outcome.is_some() {
                return Reported::Repeated;
            }
            let size = serde_json::to_vec(outcome).map_or(usize::MAX, |text| text.len());
            let fits = (kept - asked.size).saturating_add(size) <= MAX_BYTES;
            let (outcome, size) = if fits { (outcome, size) } else { (&too_long(), 0) };
            asked.outcome = serde_json::to_value(outcome).ok();
            asked.expires = now + KEEP_OUTCOME;
            // From here on the work is done, and what it carried is of no more use.
            asked.size = size;
            asked.item.task = Value::Null;
            return Reported::Taken;
        }
        if self.settled.contains(id) { Reported::Repeated } else { Reported::Unknown }
    }

    /// Forgets what nobody came for. Returns whether a change was among it that was never done, with what it carried.
    pub(super) fn tidy(&mut self, now: Timestamp) -> bool {
        let (over, left): (Vec<_>, _) =
            std::mem::take(&mut self.work).into_iter().partition(|asked| asked.expires <= now);
        self.work = left;
        let undone = over.iter().any(|asked| asked.outcome.is_none() && !asked.question);
        for asked in over {
            self.remember(asked.item.id);
        }
        undone
    }

    fn remember(&mut self, id: WorkId) {
        self.settled.push_back(id);
        while self.settled.len() > REMEMBERED {
            self.settled.pop_front();
        }
    }
}

fn too_long() -> Outcome {
    let kind = ErrorKind::Protocol("the agent says too much".into());
    Outcome::Failed(Fault::of(&Error::new(AGENT, Operation::ExchangeWork, kind)))
}

/// A digest of what is asked.
fn content(block: &AccountName, task: &SecretBytes) -> String {
    let mut context = Context::new(&SHA256);
    context.update(block.as_str().as_bytes());
    // No name holds a zero byte.
    context.update(&[0]);
    context.update(task.expose());
    hex(&context.finish().as_ref()[..16])
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // Writing to a `String` cannot fail.
        text
    })
}
