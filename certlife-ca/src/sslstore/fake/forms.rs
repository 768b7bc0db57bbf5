//! The members that each call may have, and of which type. The real API ignores what it does not know; here it stops
//! the test, since an ignored choice of proof silently becomes another.

use serde_json::Value;

const ORDER: &str = "TheSSLStoreOrderID:s CustomOrderID:s DateTimeCulture:s";
const COMMON: &str = "CustomOrderID:S CSR:S WebServerType:S DNSNames:l FileAuthDVIndicator:b \
                      HTTPSFileAuthDVIndicator:b CNAMEAuthDVIndicator:b SignatureHashAlgorithm:S \
                      CertTransparencyIndicator:b? CSRUniqueValue:s SpecialInstructions:s DateTimeCulture:S";
const LOGIN: &str =
    "PartnerCode:s AuthToken:s Token:s TokenID:s TokenCode:s IsUsedForTokenSystem:b UserAgent:S";

/// The form of a call. `S` is a text that must be there and not be empty, `s` one that may be left out, `n` and `b` a
/// number and a truth value that must be there, `l` a list of texts, `p` of pairs, `o` an object, `?` what may be
/// left out.
fn form(path: &str) -> Vec<&'static str> {
    match path {
        "health/validate" | "health/validatetoken" | "user/accountdetail" => vec![LOGIN],
        "digicert/organizationlist" => vec![LOGIN, "AuthRequest:o"],
        "product/query" => vec!["ProductCode:s ProductType:n NeedSortedList:b IsForceNewSKUs:b"],
        "order/approverlist" => vec!["ProductCode:S DomainName:S"],
        "order/neworder" => vec![
            COMMON,
            "ProductCode:S ValidityPeriod:n ServerCount:n DomainName:S ReserveSANCount:n \
             WildcardReserveSANCount:n? AutoWWW:b isCUOrder:b isRenewalOrder:b isTrialOrder:b \
             RelatedTheSSLStoreOrderID:s OrganizationInfo:o? TSSOrganizationId:n? AdminContact:o TechnicalContact:o \
             ApproverEmail:S AddInstallationSupport:b EmailLanguageCode:S",
        ],
        "order/reissue" => vec![
            COMMON,
            "TheSSLStoreOrderID:S AddSAN:p DeleteSAN:p EditSAN:p isWildCard:b isRenewalOrder:b \
             PreferEnrollmentLink:b ReissueEmail:S ApproverEmails:S",
        ],
        "order/query" => {
            vec!["ProductCode:s PageNumber:n PageSize:n StartDate:s EndDate:s DateTimeCulture:S"]
        }
        "order/status" | "csr/download" => vec![ORDER],
        "order/download" | "order/downloadaszip" => vec![ORDER, "ReturnPKCS7Cert:b"],
        "order/resend" => vec![ORDER, "ResendEmailType:S DomainNames:S"],
        "order/changeapproveremail" => vec![
            ORDER,
            "ResendEmail:S DomainNames:S FileAuthDVIndicator:b? HTTPSFileAuthDVIndicator:b? CNAMEAuthDVIndicator:b?",
        ],
        "order/changeapprovermethod" => vec![ORDER, "ApproverMethod:S ApproverEmail:S DomainNames:S"],
        "digicert/setapprovermethod" => vec!["TheSSLStoreOrderID:S DomainName:S ApproverMethod:S"],
        "digicert/checkdcv" => vec!["TheSSLStoreOrderID:S DomainName:S"],
        "order/refundrequest" => vec![ORDER, "RefundReason:S"],
        "order/refundstatus" => vec![ORDER, "RefundRequestID:S"],
        "order/certificaterevokerequest" => vec![ORDER, "SerialNumber:S RevokeReason:S"],
        _ => panic!("the API has no {path}"),
    }
}

pub(super) fn check(path: &str, body: &Value) {
    let members = body.as_object().unwrap_or_else(|| panic!("{path}: an object"));
    let words: Vec<&str> = form(path).into_iter().flat_map(str::split_whitespace).collect();
    let mut known = Vec::new();
    for word in &words {
        let (name, kind) = word.split_once(':').unwrap();
        known.push(name);
        let optional = kind == "s" || kind.ends_with('?');
        match members.get(name) {
            None => assert!(optional, "{path}: {name} is missing"),
            Some(value) => assert!(fits(kind.trim_end_matches('?'), value), "{path}: {name} is {value}"),
        }
    }
    let at_root = words.iter().any(|word| word.starts_with("UserAgent"));
    if !at_root || path == "digicert/organizationlist" {
        let login = members.get("AuthRequest").unwrap_or_else(|| panic!("{path}: no login"));
        let allowed: Vec<&str> =
            LOGIN.split_whitespace().map(|word| word.split(':').next().unwrap()).collect();
        assert!(
            login.as_object().unwrap().keys().all(|name| allowed.contains(&name.as_str())),
            "{path}: {login}"
        );
        known.push("AuthRequest");
    }
    let unknown: Vec<_> = members.keys().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{path}: {unknown:?}");
    let by = ["FileAuthDVIndicator", "HTTPSFileAuthDVIndicator", "CNAMEAuthDVIndicator"];
    assert!(by.iter().filter(|name| body[**name] == true).count() <= 1, "{path}: one way to prove a name");
}

fn fits(kind: &str, value: &Value) -> bool {
    let pair = |value: &Value| value["OldValue"].is_string() && value["NewValue"].is_string();
    match kind {
        "S" => value.as_str().is_some_and(|text| !text.is_empty()),
        "s" => value.is_string(),
        "n" => value.is_i64(),
        "b" => value.is_boolean(),
        "l" => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        "p" => value.as_array().is_some_and(|items| items.iter().all(pair)),
        "o" => value.is_object(),
        _ => false,
    }
}
