//! When to renew: a pure calculation over the certificate, its policy and the CA's window.

use std::time::Duration;

use super::backoff::fraction;
use crate::{
    ca::RenewalWindow,
    model::{AccountPolicy, Certificate, RenewalSchedule, RenewalTrigger},
    time::Timestamp,
};

/// Picks the moment to renew; none if there is no version to renew.
///
/// The CA's suggested window ([RFC 9773 §4.2]) takes precedence: a moment within it, spread evenly by a hash of
/// the certificate's name; a window in the past means now, and one that ends before it starts, or reaches
/// beyond expiry, counts as no answer. Otherwise the policy's lead before `not_after`, brought forward by up
/// to a tenth of the lead in the same way, so that a thousand certificates of one day do not come back in one.
///
/// [RFC 9773 §4.2]: https://www.rfc-editor.org/rfc/rfc9773#section-4.2
pub(crate) fn schedule(certificate: &Certificate, policy: &AccountPolicy) -> Option<RenewalSchedule> {
    let (not_before, not_after) = certificate.validity?;
    // What the host or a revocation asked for stays asked for until a new version is current.
    if let Some(asked) = &certificate.schedule
        && !matches!(asked.trigger, RenewalTrigger::CaWindow | RenewalTrigger::Policy)
    {
        return Some(asked.clone());
    }
    let spread = fraction(certificate.spec.id.as_str(), 0);
    if certificate.spec.renewal.follow_ca
        && let Some(window) = certificate.window.as_ref().filter(|window| makes_sense(window, not_after))
    {
        let length = window.end.since(window.start);
        return Some(RenewalSchedule::new(window.start + length.mul_f64(spread), RenewalTrigger::CaWindow));
    }
    let lead = policy.before(&certificate.spec).0.lead(not_after.since(not_before));
    let moment = not_after - lead - lead.mul_f64(spread / 10.0);
    Some(RenewalSchedule::new(moment, RenewalTrigger::Policy))
}

fn makes_sense(window: &RenewalWindow, not_after: Timestamp) -> bool {
    window.start <= window.end && window.end <= not_after
}

/// The smallest threshold of [`RenewalPolicy::notice_days`](crate::model::RenewalPolicy::notice_days) that is passed at `now` and was not told yet, and the
/// moment of the next one.
pub(crate) fn notices(
    certificate: &Certificate,
    policy: &AccountPolicy,
    now: Timestamp,
) -> (Option<u32>, Option<Timestamp>) {
    let Some((not_before, not_after)) = certificate.validity else { return (None, None) };
    let (automatic, _) = policy.automatic(&certificate.spec);
    // Before the renewal had its chance there is nothing to worry about.
    let usual_lead = policy.before(&certificate.spec).0.lead(not_after.since(not_before)).mul_f64(0.9);
    let told = certificate.noticed_days.unwrap_or(u32::MAX);
    let days = |days: u32| Duration::from_hours(24 * u64::from(days));
    let worth_telling = certificate
        .spec
        .renewal
        .notice_days
        .iter()
        .copied()
        .filter(|n| *n < told && (days(*n) < usual_lead || !automatic));
    let passed = worth_telling.clone().filter(|n| not_after - days(*n) <= now).min();
    let next = worth_telling.map(|n| not_after - days(n)).filter(|moment| *moment > now).min();
    (passed, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CertificateSpec, RenewBefore};

    const DAY: Duration = Duration::from_hours(24);

    fn certificate(days: u64) -> Certificate {
        let start = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
        let spec = CertificateSpec::new("www".parse().unwrap(), "ca".parse().unwrap());
        let mut certificate = Certificate::wanted(spec, start);
        certificate.validity = Some((start, start + DAY * u32::try_from(days).unwrap()));
        certificate
    }

    #[test]
    fn without_a_window_two_thirds_of_the_validity_period_pass_first() {
        let certificate = certificate(90);
        let (not_before, not_after) = certificate.validity.unwrap();
        let schedule = schedule(&certificate, &AccountPolicy::default()).unwrap();
        assert_eq!(schedule.trigger, RenewalTrigger::Policy);
        assert!(schedule.at <= not_after - DAY * 29 && schedule.at >= not_before + DAY * 57, "{schedule:?}");
    }

    #[test]
    fn the_window_of_the_ca_wins_if_it_makes_sense() {
        let mut certificate = certificate(90);
        let (start, not_after) = certificate.validity.unwrap();
        let window =
            |from, to| Some(RenewalWindow { start: from, end: to, explanation: None, ask_again: None });
        certificate.window = window(start + DAY * 10, start + DAY * 12);
        let found = schedule(&certificate, &AccountPolicy::default()).unwrap();
        assert_eq!(found.trigger, RenewalTrigger::CaWindow);
        assert!(found.at >= start + DAY * 10 && found.at <= start + DAY * 12);
        for senseless in [window(start + DAY * 12, start + DAY * 10), window(start, not_after + DAY)] {
            certificate.window = senseless;
            assert_eq!(
                schedule(&certificate, &AccountPolicy::default()).unwrap().trigger,
                RenewalTrigger::Policy
            );
        }
        certificate.spec.renewal.follow_ca = false;
        certificate.window = window(start, start + DAY);
        assert_eq!(
            schedule(&certificate, &AccountPolicy::default()).unwrap().trigger,
            RenewalTrigger::Policy
        );
    }

    #[test]
    fn notices_come_once_a_threshold_and_only_after_renewal_had_its_chance() {
        let mut certificate = certificate(45);
        certificate.spec.renewal.before = Some(RenewBefore::Days(15));
        let (_, not_after) = certificate.validity.unwrap();
        assert_eq!(
            notices(&certificate, &AccountPolicy::default(), not_after - DAY * 20),
            (None, Some(not_after - DAY * 7))
        );
        assert_eq!(notices(&certificate, &AccountPolicy::default(), not_after - DAY * 2).0, Some(3));
        certificate.noticed_days = Some(3);
        assert_eq!(
            notices(&certificate, &AccountPolicy::default(), not_after - DAY * 2),
            (None, Some(not_after - DAY))
        );
    }
}
