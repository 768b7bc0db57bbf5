//! What is on offer: products and organizations.

use serde_json::{Value, json};

/// Code, vendor, level, wildcard, most names besides the first (none for a single name), flex, legacy.
type Line = (&'static str, &'static str, &'static str, bool, Option<u32>, bool, bool);

const LINES: [Line; 12] = [
    ("positivessl", "SECTIGO", "DV", false, None, false, false),
    ("positivesslwildcard", "COMODO", "DV", true, None, false, false),
    ("positivemdcssl", "Sectigo", "DV", false, Some(249), false, false),
    ("positivemdcwildcard", "SECTIGO", "DV", true, Some(249), false, false),
    ("sectigomdc", "SECTIGO", "OV", false, Some(99), false, false),
    ("sectigoevssl", "SECTIGO", "EV", false, None, false, false),
    ("digi_rapidssl", "DIGICERT", "DV", false, None, false, false),
    ("digi_ssl_dv_geotrust_flex", "DIGICERT", "DV", false, Some(249), true, false),
    ("digi_securesite_flex", "DIGICERT", "OV", false, Some(249), true, false),
    ("digi_securesite_ev_flex", "DIGICERT", "EV", false, Some(249), true, false),
    ("quicksslpremiummd", "SYMANTEC", "DV", false, Some(4), false, true),
    ("freessl", "SYMANTEC", "DV", false, None, false, true),
];

pub(super) fn products() -> Vec<Value> {
    let mut products: Vec<Value> = LINES.iter().map(product).collect();
    // What certifies no servers.
    products.push(json!({
        "ProductCode": "sectigocsc", "ProductName": "Code Signing", "VendorName": "SECTIGO", "ProductType": 8,
        "isCodeSigning": true, "isScanProduct": null, "PricingInfo": null, "legacy": false,
    }));
    products
}

fn product((code, vendor, level, wildcard, sans, flex, legacy): &Line) -> Value {
    let kind = match *level {
        "DV" => json!(1),
        "EV" => json!(2),
        // The XML form and some answers have names.
        _ => json!("OV"),
    };
    json!({
        "ProductCode": code, "ProductName": code.to_uppercase(), "VendorName": vendor, "ProductType": kind,
        "isDVProduct": *level == "DV", "isOVProduct": *level == "OV", "isEVProduct": *level == "EV",
        // Spelled like this in the vendor's own documents.
        "isWlidcard": wildcard, "isSanEnable": sans.is_some(), "isFlexProduct": flex,
        "MinSan": sans.map_or(json!("0"), |_| json!(2)), "MaxSan": sans.map_or(Value::Null, |most| json!(most)),
        "isCodeSigning": false, "isScanProduct": false, "IsNoOfServerFree": "true",
        "CanbeReissued": *code != "freessl", "ReissueDays": 30, "IssuanceTime": "minutes",
        "PricingInfo": [
            { "NumberOfMonths": 12, "NumberOfServer": 1, "Price": 9.5, "SRP": 49 },
            { "NumberOfMonths": "24", "NumberOfServer": 1, "Price": "18.00", "SRP": null },
        ],
        "AuthResponse": null, "legacy": legacy,
    })
}

pub(super) fn listed(products: &[Value], body: &Value) -> Value {
    let current = body["IsForceNewSKUs"] == true;
    let wanted = products.iter().filter(|product| !current || product["legacy"] == false);
    let shown = wanted.map(|product| {
        let mut product = product.clone();
        product.as_object_mut().unwrap().remove("legacy");
        product
    });
    shown.collect::<Vec<_>>().into()
}

/// The line of a product.
pub(super) fn find(code: &str) -> Option<(&'static str, bool, bool)> {
    LINES.iter().find(|line| line.0 == code).map(|line| (line.1, line.4.is_some(), line.2 != "DV"))
}

pub(super) fn organizations() -> Vec<Value> {
    let organization = |id: Value, name: &str, status: &str| {
        json!({
            "TSSOrganizationId": id, "VendorOrganizationId": 9000, "Name": name, "City": "Lund", "Country": "SE",
            "Status": status, "OrganizationContact": null,
        })
    };
    vec![
        organization(json!(501), "Example AB", "active"),
        organization(json!("502"), "Example GmbH", "pending"),
        organization(json!(0), "nobody", "active"),
    ]
}
