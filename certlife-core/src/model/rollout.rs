//! Which targets get a certificate and in which order.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    error::Failure,
    id::{AccountName, VersionId},
    input::InputError,
    name::Fqdn,
};

/// In which order the targets of a certificate get a new version. As JSON or TOML: `"all_at_once"`,
/// `{ "one_by_one": ["first", "second"] }`, `{ "waves": [["canary"], ["east", "west"]] }`.
///
/// A wave starts once every target of the one before has confirmed the version. The first attempt that fails at a target
/// holds the rollout: no further wave starts until somebody [continues](crate::Engine::continue_rollout) it, while the
/// target itself is tried again as always. A newer version starts a rollout of its own from the first wave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rollout {
    /// All targets at once.
    #[default]
    AllAtOnce,
    /// One target after the other in this order; those that are not named come last, by name.
    OneByOne(Vec<AccountName>),
    /// All targets of a wave at once, one wave after the other; those in no wave come last, together.
    Waves(Vec<BTreeSet<AccountName>>),
}

impl Rollout {
    /// Sorts targets into waves. What is named here but is no target is left out, and no wave is empty.
    pub fn waves<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a AccountName>,
    ) -> Vec<BTreeSet<AccountName>> {
        let mut left: BTreeSet<AccountName> = targets.into_iter().cloned().collect();
        let mut waves: Vec<BTreeSet<AccountName>> = match self {
            Self::AllAtOnce => Vec::new(),
            Self::OneByOne(order) => {
                let named: Vec<_> = order.iter().filter_map(|target| left.take(target)).collect();
                let rest = std::mem::take(&mut left);
                named.into_iter().chain(rest).map(|target| [target].into()).collect()
            }
            Self::Waves(waves) => waves
                .iter()
                .map(|wave| wave.iter().filter_map(|target| left.take(target)).collect())
                .collect(),
        };
        waves.push(left);
        waves.retain(|wave| !wave.is_empty());
        waves
    }

    /// The targets that it names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &AccountName> {
        let (order, waves): (&[AccountName], &[BTreeSet<AccountName>]) = match self {
            Self::AllAtOnce => (&[], &[]),
            Self::OneByOne(order) => (order, &[]),
            Self::Waves(waves) => (&[], waves),
        };
        order.iter().chain(waves.iter().flatten())
    }

    /// Checks that each target has one place.
    pub(crate) fn check(&self) -> Result<(), InputError> {
        let mut seen = BTreeSet::new();
        match self.named().find(|target| !seen.insert(*target)) {
            None => Ok(()),
            Some(twice) => Err(InputError::Value {
                field: "rollout".into(),
                value: twice.as_str().into(),
                rule: "a target has one place in it".into(),
            }),
        }
    }
}

/// How far the rollout of the current version is, while targets wait for others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RolloutProgress {
    /// The version.
    pub version: VersionId,
    /// The targets whose wave has not started.
    pub waiting: BTreeSet<AccountName>,
    /// What holds it, until somebody continues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldBy>,
    /// The targets that it no longer waits for, since somebody continued it past them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub past: BTreeSet<AccountName>,
}

impl RolloutProgress {
    pub(crate) fn new(version: VersionId) -> Self {
        Self { version, waiting: BTreeSet::new(), held: None, past: BTreeSet::new() }
    }
}

/// What holds a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeldBy {
    /// The target at which it failed.
    pub target: AccountName,
    /// How.
    pub failure: Failure,
}

impl HeldBy {
    pub(crate) fn new(target: AccountName, failure: Failure) -> Self {
        Self { target, failure }
    }
}

/// Why a target gets a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TargetReason {
    /// The certificate names it.
    Certificate,
    /// A domain mapping names it.
    DomainMapping(Fqdn),
    /// The CA account has it as a default.
    AccountDefault,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> BTreeSet<AccountName> {
        text.split_whitespace().map(|name| name.parse().unwrap()).collect()
    }

    fn waves(rollout: &Rollout, targets: &str) -> Vec<String> {
        let targets = names(targets);
        let text =
            |wave: BTreeSet<AccountName>| wave.iter().map(AccountName::as_str).collect::<Vec<_>>().join(" ");
        rollout.waves(&targets).into_iter().map(text).collect()
    }

    #[test]
    fn each_target_has_its_wave_and_those_without_come_last() {
        assert_eq!(waves(&Rollout::AllAtOnce, "a b c"), ["a b c"]);
        assert_eq!(waves(&Rollout::AllAtOnce, ""), [""; 0]);
        let order =
            Rollout::OneByOne(vec!["c".parse().unwrap(), "gone".parse().unwrap(), "a".parse().unwrap()]);
        assert_eq!(waves(&order, "a b c d"), ["c", "a", "b", "d"]);
        let three = Rollout::Waves(vec![names("b"), names("gone"), names("a d")]);
        assert_eq!(waves(&three, "a b c d e"), ["b", "a d", "c e"]);
        assert_eq!(waves(&three, "b"), ["b"]);
    }

    #[test]
    fn a_target_with_two_places_is_refused() {
        let twice = Rollout::Waves(vec![names("a b"), names("b")]);
        let refusal = twice.check().unwrap_err();
        assert_eq!(refusal.code(), "bad_value");
        assert!(refusal.to_string().contains("\"b\""), "{refusal}");
        assert!(Rollout::Waves(vec![names("a"), names("b")]).check().is_ok());
    }

    #[test]
    fn it_reads_as_people_write_it() {
        let read = |text: &str| serde_json::from_str::<Rollout>(text).unwrap();
        assert_eq!(read(r#""all_at_once""#), Rollout::AllAtOnce);
        assert_eq!(read(r#"{"waves":[["a"],["b","c"]]}"#), Rollout::Waves(vec![names("a"), names("b c")]));
    }
}
