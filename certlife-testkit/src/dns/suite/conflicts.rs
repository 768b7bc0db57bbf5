//! What happens when somebody else changes the values at a name while the provider does.

use futures_util::join;

use super::{
    super::fixture::{Cannot, Change, DnsFixture},
    Case,
};

/// *Additive*: a value that another writer adds between the provider's question and its write stays, and ours is there.
///
/// Where nothing can come between them, the additions of two processes both survive.
pub async fn an_addition_by_others_during_ours_survives(fx: &impl DnsFixture) {
    for (label, before) in [("beside-none", &[][..]), ("beside-one", &["first"])] {
        let case = Case::new(fx, label);
        for value in before {
            case.add(value).await;
        }
        match fx.intrude(Change::Addition, &case.name, "theirs") {
            Ok(()) => assert!(!case.add("ours").await.existed, "another value at the name is not this one"),
            Err(Cannot(reason)) => {
                assert!(reason.len() > 10, "a fixture that cannot stage something says why");
                let (ours, theirs, other) = (case.txt("ours"), case.txt("theirs"), fx.provider());
                let (ours, theirs) = join!(case.dns.add(&ours), other.add(&theirs));
                assert!(!ours.unwrap().existed && !theirs.unwrap().existed);
            }
        }
        case.holds(&[before, &["ours", "theirs"]].concat()).await;
    }
}

/// *Exact*: a value that another writer adds between the provider's question and its write stays, even if ours was the
/// only one before, and ours is gone.
///
/// Where nothing can come between them, or the vendor cannot notice, a removal and an addition through one provider do
/// not disturb each other.
pub async fn an_addition_by_others_during_a_removal_survives(fx: &impl DnsFixture) {
    for (label, left) in [("leaving-none", &[][..]), ("leaving-one", &["first"])] {
        let case = Case::new(fx, label);
        for value in left {
            case.add(value).await;
        }
        let ours = case.add("ours").await.handle;
        match fx.intrude(Change::Removal, &case.name, "theirs") {
            Ok(()) => case.remove(&ours).await,
            Err(Cannot(reason)) => {
                assert!(reason.len() > 10, "a fixture that cannot stage something says why");
                join!(case.remove(&ours), case.add("theirs"));
            }
        }
        case.holds(&[left, &["theirs"]].concat()).await;
    }
}
