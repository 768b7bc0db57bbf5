//! What has to be shown, in every form in which it is told.

use certlife_core::{
    ErrorKind,
    challenge::{ChallengeResponse, HttpFile},
};
use serde_json::json;

use super::*;
use crate::sslstore::{
    OrderOptions, RecordType,
    challenge::authorizations,
    order::{Handle, Method, Order},
    wire::Object,
};

fn order(value: serde_json::Value) -> Order {
    Order::new(Object::read(value).unwrap())
}

fn responses(order: &Order, method: Method, intent: &OrderIntent) -> Vec<(String, ChallengeResponse)> {
    let handle = Handle::placed("7".into(), method);
    let told = authorizations(order, &handle, Some(intent)).unwrap();
    told.into_iter()
        .flat_map(|one| {
            one.challenges.into_iter().map(move |shown| (one.identifier.to_string(), shown.response))
        })
        .collect()
}

#[tokio::test]
async fn every_way_of_proof_leads_to_a_certificate() {
    for product in ["positivemdcssl", "digi_ssl_dv_geotrust_flex", "quicksslpremiummd"] {
        for kind in
            [ChallengeKind::DnsTxt, ChallengeKind::DnsCname, ChallengeKind::Http, ChallengeKind::Email]
        {
            // Sectigo has no TXT records, which is told before anything is sent.
            if (product, kind) == ("positivemdcssl", ChallengeKind::DnsTxt) {
                continue;
            }
            for lists_proofs in [true, false] {
                let desk = Desk::start().await;
                let names: &[&str] =
                    if lists_proofs { &["a.example.org", "b.example.org"] } else { &["a.example.org"] };
                let ordered = intent(proven_by(kind, request(product, names)));
                let placed = desk.ca().place(&ordered).await.unwrap();
                for order in &mut desk.fake.world().orders {
                    order.lists_proofs = lists_proofs;
                }
                let seen = desk.ca().poll(&order_ref(&ordered, &placed)).await.unwrap();
                let asked = seen.authorizations.as_ref().unwrap_or_else(|| panic!("{product} {kind}"));
                assert_eq!(asked.len(), names.len(), "{product} {kind}");
                assert_eq!(desk.finish(&ordered, seen).await.stage, Stage::Issued, "{product} {kind}");
            }
        }
    }
}

#[tokio::test]
async fn wildcards_and_the_name_below_are_one_proof() {
    let desk = Desk::start().await;
    let ordered = intent(proven_by(
        ChallengeKind::DnsCname,
        request("positivesslwildcard", &["*.example.org", "example.org"]),
    ));
    let placed = desk.ca().place(&ordered).await.unwrap();
    assert_eq!(desk.body("order/neworder")["DNSNames"], json!([]));
    let asked = placed.authorizations.as_ref().unwrap();
    assert_eq!((asked.len(), &asked[0].identifier), (1, &name("*.example.org")));
    let issued = desk.finish(&ordered, placed).await;
    let names = issued.certificate.unwrap().info().unwrap().identifiers;
    assert!(names.contains(&name("example.org")) && names.contains(&name("*.example.org")));
}

#[tokio::test]
async fn the_www_name_comes_along_where_the_order_says_so() {
    let desk = Desk::start().await;
    let options = serde_json::to_value(OrderOptions::new().auto_www(true)).unwrap();
    let ordered =
        intent(OrderRequest { options, ..request("positivessl", &["example.org", "www.example.org"]) });
    desk.obtain(&ordered).await;
    assert_eq!(desk.body("order/neworder")["AutoWWW"], json!(true));
}

#[tokio::test]
async fn approvers_are_the_five_mailboxes_or_listed() {
    let desk = Desk::start().await;
    let ordered = |approver: Option<&str>| {
        let mut request = proven_by(ChallengeKind::Email, request("positivessl", &["shop.example.org"]));
        for proof in request.challenges.values_mut() {
            proof.approver = approver.map(str::to_owned);
        }
        intent(request)
    };
    for (approver, asks) in [
        (Some("hostmaster@example.org"), false),
        (Some("Postmaster@shop.example.org"), false),
        (Some("owner@whois.shop.example.org"), true),
        (None, true),
    ] {
        desk.calls();
        desk.ca().place(&ordered(approver)).await.unwrap();
        assert_eq!(desk.calls().contains(&"order/approverlist".to_owned()), asks, "{approver:?}");
        let sent = desk.body("order/neworder")["ApproverEmail"].as_str().unwrap().to_owned();
        assert_eq!(sent, approver.unwrap_or("admin@shop.example.org"));
    }
    for stranger in ["admin@example.net", "someone@shop.example.org", "admin@org"] {
        desk.calls();
        let error = desk.ca().place(&ordered(Some(stranger))).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Input(_)), "{stranger}: {error}");
        assert!(!desk.calls().contains(&"order/neworder".to_owned()), "nothing is ordered for {stranger}");
    }
    let listed = desk.ca().approvers(&name("*.shop.example.org"), Some("positivessl")).await.unwrap();
    assert!(
        listed.iter().all(|address| address.contains('@'))
            && !listed.iter().any(|one| one.contains("geotrust"))
    );
    assert_eq!(listed.len(), 11);
    assert!(desk.ca().approvers(&name("192.0.2.1"), Some("positivessl")).await.is_err());
    assert!(desk.ca().approvers(&name("example.org"), None).await.is_err());
}

#[tokio::test]
async fn a_message_is_sent_again_or_to_somebody_else() {
    let desk = Desk::start().await;
    let ordered = intent(proven_by(ChallengeKind::Email, request("positivessl", &["shop.example.org"])));
    let placed = desk.ca().place(&ordered).await.unwrap();
    let order = order_ref(&ordered, &placed);
    let identifier = name("shop.example.org");
    let mut proof = Proof::from(ChallengeKind::Email);
    desk.calls();
    desk.ca().revalidate(&order, &identifier, &proof).await.unwrap();
    assert_eq!(desk.calls(), ["order/status", "order/resend", "order/status"]);
    proof.approver = Some("webmaster@example.org".into());
    let seen = desk.ca().revalidate(&order, &identifier, &proof).await.unwrap();
    assert_eq!(desk.calls(), ["order/status", "order/changeapproveremail", "order/status"]);
    let asked = &seen.authorizations.unwrap()[0].challenges[0].response;
    assert_eq!(*asked, ChallengeResponse::Email { address: "webmaster@example.org".into() });
    proof.approver = Some("stranger@example.net".into());
    let error = desk.ca().revalidate(&order, &identifier, &proof).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Input(_)), "{error}");
}

#[tokio::test]
async fn another_way_is_asked_for_where_the_vendor_has_the_call() {
    for missing in [false, true] {
        let desk = Desk::start().await;
        if missing {
            desk.fake.world().missing.insert("order/changeapprovermethod".into());
        }
        let ordered = intent(request("positivemdcssl", &["a.example.org", "b.example.org"]));
        let placed = desk.ca().place(&ordered).await.unwrap();
        let changed = desk
            .ca()
            .revalidate(&order_ref(&ordered, &placed), &name("b.example.org"), &ChallengeKind::Http.into())
            .await;
        let changed = changed.unwrap();
        let kinds: Vec<_> =
            changed.authorizations.iter().flatten().map(|one| one.challenges[0].response.kind()).collect();
        assert_eq!(kinds, [ChallengeKind::DnsCname, ChallengeKind::Http], "missing: {missing}");
        assert_eq!(desk.finish(&ordered, changed).await.stage, Stage::Issued);
    }
}

#[tokio::test]
async fn a_change_that_the_vendor_passes_over_is_told() {
    let desk = Desk::start().await;
    desk.fake.world().deaf = true;
    let ordered = simple();
    let placed = desk.ca().place(&ordered).await.unwrap();
    let order = order_ref(&ordered, &placed);
    let error = desk
        .ca()
        .revalidate(&order, &name("shop.example.org"), &ChallengeKind::Http.into())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("still not proven by http"), "{error}");
    let error = desk
        .ca()
        .revalidate(&order, &name("other.example.org"), &ChallengeKind::Http.into())
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error}");
    let error =
        desk.ca().revalidate(&order, &name("*.example.org"), &ChallengeKind::Http.into()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
    desk.finish(&ordered, placed).await;
    let error = desk
        .ca()
        .revalidate(&order, &name("shop.example.org"), &ChallengeKind::Http.into())
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotNow(_)), "{error}");
}

#[tokio::test]
async fn digicert_is_told_to_look_for_every_name() {
    let desk = Desk::start().await;
    let ordered = intent(proven_by(
        ChallengeKind::DnsTxt,
        request("digi_ssl_dv_geotrust_flex", &["a.example.org", "b.example.org"]),
    ));
    let placed = desk.ca().place(&ordered).await.unwrap();
    assert_eq!(desk.body("order/neworder")["ApproverEmail"], "admin@a.example.org", "one for all");
    assert_eq!(desk.body("order/neworder")["SignatureHashAlgorithm"], "SHA2-256");
    let ready = desk.prove(&placed);
    desk.calls();
    let seen = desk.ca().respond(&order_ref(&ordered, &placed), &ready).await.unwrap();
    let mut calls = desk.calls();
    calls.sort_unstable();
    assert_eq!(calls, ["digicert/checkdcv", "digicert/checkdcv", "order/download", "order/status"]);
    assert_eq!(seen.stage, Stage::Issued);
}

#[test]
fn a_proof_is_read_from_the_root_the_list_or_both() {
    let two = intent(request("positivemdcssl", &["a.example.org", "*.b.example.org"]));
    let root = json!({
        "VendorName": "SECTIGO", "CommonName": "a.example.org", "CNAMEAuthName": "_ab.a.example.org.",
        "CNAMEAuthValue": "cd.sectigo.com", "AuthFileName": "AB.txt", "AuthFileContent": "cd\nsectigo.com",
        "OrderStatus": { "MajorStatus": "Pending", "DomainAuthVettingStatus": null },
    });
    let cname = |owner: &str| ChallengeResponse::DnsCname {
        name: owner.parse().unwrap(),
        target: "cd.sectigo.com".parse().unwrap(),
    };
    let expected = [("a.example.org".to_owned(), cname("_ab.a.example.org"))];
    assert_eq!(responses(&order(root.clone()), Method::Dns, &two), expected);
    let file = responses(&order(root.clone()), Method::Http, &two);
    assert!(
        matches!(&file[..], [(_, ChallengeResponse::Http(HttpFile { path, .. }))] if path.as_str().ends_with("AB.txt"))
    );

    let mut both = root;
    both["orderstatus"] = json!({ "majorstatus": "Pending", "DOMAINAUTHVETTINGSTATUS": [
        null, 7, { "domain": "stranger.example" },
        { "Domain": "b.example.org", "dcvmethod": "cname", "DNSName": "_ef", "DNSEntry": "cd.sectigo.com" },
        { "domain": "A.EXAMPLE.ORG", "dcvStatus": "pending", "DNSName": null, "DNSEntry": null },
    ] });
    both.as_object_mut().unwrap().remove("OrderStatus");
    let expected = [
        ("*.b.example.org".to_owned(), cname("_ef.b.example.org")),
        ("a.example.org".to_owned(), cname("_ab.a.example.org")),
    ];
    assert_eq!(responses(&order(both), Method::Dns, &two), expected);
}

#[test]
fn nothing_is_asked_for_that_the_vendor_did_not_say() {
    let one = simple();
    let told = |value, method| responses(&order(value), method, &one);
    let email = "admin@shop.example.org";
    // The address is filled in for every way of proof, and means something for one.
    let silent = json!({ "CommonName": "shop.example.org", "ApproverEmail": email });
    assert_eq!(told(silent.clone(), Method::Dns), []);
    assert_eq!(told(silent, Method::Email).len(), 1);
    for address in ["", "HTTP", "none", "a@b@c"] {
        assert_eq!(
            told(json!({ "CommonName": "shop.example.org", "ApproverEmail": address }), Method::Email),
            []
        );
    }
    // It silently became e-mail, which was not asked for.
    let other = json!({ "ApproverEmail": email, "OrderStatus": { "DomainAuthVettingStatus": [
        { "domain": "shop.example.org", "dcvMethod": "EMAIL" },
    ] } });
    assert_eq!(told(other, Method::Dns), []);
}

#[test]
fn a_hostile_proof_is_refused() {
    let one = simple();
    for value in [
        json!({ "AuthFileName": "../../etc/passwd\u{0}", "AuthFileContent": "x" }),
        json!({ "AuthFileName": "a.txt", "AuthFileContent": "<script>alert(1)</script>" }),
        json!({ "AuthFileName": "a.txt", "AuthFileContent": "x".repeat(10_000) }),
    ] {
        assert!(
            authorizations(&order(value), &Handle::placed("7".into(), Method::Http), Some(&one)).is_err()
        );
    }
    for value in [
        json!({ "VendorName": "SECTIGO", "CNAMEAuthName": "a b", "CNAMEAuthValue": "x.sectigo.com" }),
        json!({ "VendorName": "SECTIGO", "CNAMEAuthName": "_a", "CNAMEAuthValue": "not a name" }),
        json!({ "VendorName": "DIGICERT", "CNAMEAuthName": "_a", "CNAMEAuthValue": "x\u{7}y" }),
    ] {
        assert!(authorizations(&order(value), &Handle::placed("7".into(), Method::Dns), Some(&one)).is_err());
    }
}

#[test]
fn the_type_of_a_record_can_be_stated() {
    let options = serde_json::to_value(OrderOptions::new().record_type(RecordType::Txt)).unwrap();
    let one = intent(OrderRequest { options, ..request("positivessl", &["shop.example.org"]) });
    let value = json!({ "VendorName": "SECTIGO", "CNAMEAuthName": "_a", "CNAMEAuthValue": "a.b.c" });
    let told = responses(&order(value), Method::Dns, &one);
    assert!(matches!(&told[..], [(_, ChallengeResponse::DnsTxt { value, .. })] if value == "a.b.c"));
}
