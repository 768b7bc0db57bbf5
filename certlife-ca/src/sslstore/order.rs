//! An order as the API shows it, and how far that is.

use std::collections::BTreeMap;

use certlife_core::{
    Identifier, Timestamp, VendorText,
    ca::{OrderHandle, OrderRequest, Stage},
    challenge::ChallengeKind,
};
use serde::{Deserialize, Serialize};

use super::{options::Vendor, wire::Object};

/// What is kept of an order to find it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    /// The vendor's number.
    pub(super) order: String,
    /// Whether it was placed elsewhere and taken over from the list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) imported: bool,
    /// How it is proven, as far as that was decided here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<Method>,
    /// The names that were given another proof since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    changed: BTreeMap<Identifier, Method>,
    /// Who was asked to confirm a name since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    asked: BTreeMap<Identifier, String>,
}

impl Handle {
    /// An order that was placed from here.
    pub(super) fn placed(order: String, method: Method) -> Self {
        Self {
            order,
            imported: false,
            method: Some(method),
            changed: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// An order that was found in the list.
    pub(super) fn imported(order: String) -> Self {
        Self { order, imported: true, method: None, changed: BTreeMap::new(), asked: BTreeMap::new() }
    }

    pub(super) fn read(handle: &OrderHandle) -> Option<Self> {
        Self::deserialize(&handle.0).ok().filter(|handle| is_number(&handle.order))
    }

    pub(super) fn method(&self, name: &Identifier) -> Option<Method> {
        self.changed.get(name).copied().or(self.method)
    }

    /// Who is known to have been asked to confirm a name since the order was placed.
    pub(super) fn approver(&self, name: &Identifier) -> Option<&str> {
        self.asked.get(name).map(String::as_str)
    }

    /// Notes who was asked to confirm a name. Beyond some names the oldest notes go: at worst a message is sent twice.
    pub(super) fn ask(&mut self, name: &Identifier, approver: &str) {
        const MOST: usize = 12;
        self.asked.insert(name.clone(), approver.to_owned());
        while self.asked.len() > MOST {
            self.asked.pop_first();
        }
    }

    /// Notes that a name is proven like this from now on. Handles are small: beyond some names the vendor's word
    /// alone counts, for all.
    pub(super) fn change(&mut self, name: &Identifier, method: Method) {
        const MOST: usize = 40;
        if self.method(name) == Some(method) {
            return;
        }
        self.changed.insert(name.clone(), method);
        if self.changed.len() > MOST {
            (self.method, self.changed) = (None, BTreeMap::new());
        }
    }

    pub(super) fn write(&self) -> OrderHandle {
        // Text and truth values have no way to fail.
        OrderHandle(serde_json::to_value(self).unwrap_or_default())
    }
}

/// Digits as far as is known; never anything that means something elsewhere.
fn is_number(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&text.len()) && text != "0" && text.bytes().all(plain)
}

/// How names are proven: one way an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Method {
    Email,
    Http,
    Dns,
}

impl Method {
    pub(super) fn of(kind: ChallengeKind) -> Self {
        match kind {
            ChallengeKind::Email => Self::Email,
            ChallengeKind::Http => Self::Http,
            _ => Self::Dns,
        }
    }

    /// The way that a request wants. Where it leaves the choice open it is DNS, which needs nobody and proves
    /// wildcards too.
    pub(super) fn wanted(request: &OrderRequest) -> Self {
        request.challenges.values().next().map_or(Self::Dns, |proof| Self::of(proof.kind))
    }

    /// The way that a word of the API means; the words are not documented.
    pub(super) fn said(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let has = |part| word.contains(part);
        if has("mail") {
            Some(Self::Email)
        } else if has("cname") || has("dns") || has("txt") {
            Some(Self::Dns)
        } else if has("http") || has("file") {
            Some(Self::Http)
        } else {
            None
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Http => "http",
            Self::Dns => "dns",
        }
    }
}

/// How far an order is, by the two words of its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Bought, but nobody has said yet what for.
    Unconfigured,
    /// At the CA.
    Open,
    /// Issued.
    Issued,
    /// Issued, and another certificate of it is on its way; the present one is still the old one.
    Reissuing,
    /// Over, or as good as.
    Over(Stage),
    /// In a state that no source describes.
    Unknown,
}

impl Standing {
    /// The major word decides; the minor one is mostly the CA's own, and tells how an order came to its end.
    fn of(major: &str, minor: &str) -> Self {
        let (major, minor) = (major.to_ascii_lowercase(), minor.to_ascii_lowercase());
        match (major.as_str(), minor.as_str()) {
            ("initial", _) => Self::Unconfigured,
            ("active", "pending_reissue") => Self::Reissuing,
            ("active", "revoked") => Self::Over(Stage::Revoked),
            // The vendor's own shop knows the other words too.
            ("active" | "valid" | "enrolled" | "complete" | "completed" | "issued" | "replaced", _) => {
                Self::Issued
            }
            ("pending", minor) => Self::end(minor).unwrap_or(Self::Open),
            ("cancelled" | "canceled", minor) => match Self::end(minor) {
                Some(Self::Over(Stage::Expired)) | None => Self::Over(Stage::Cancelled),
                Some(end) => end,
            },
            (major, _) => Self::end(major).unwrap_or(Self::Unknown),
        }
    }

    fn end(word: &str) -> Option<Self> {
        Some(Self::Over(match word {
            "revoked" => Stage::Revoked,
            "cancelled" | "canceled" | "refunded" => Stage::Cancelled,
            "rejected" | "order rejected" | "certgen_failed" => Stage::Rejected,
            "expired" => Stage::Expired,
            _ => return None,
        }))
    }
}

/// One order of an answer.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) object: Object,
    pub(super) status: Object,
}

impl Order {
    pub(super) fn new(object: Object) -> Self {
        let status = object.object("OrderStatus").unwrap_or_default();
        Self { object, status }
    }

    pub(super) fn number(&self) -> Option<String> {
        self.object.text("TheSSLStoreOrderID").filter(|number| is_number(number))
    }

    pub(super) fn reference(&self) -> Option<String> {
        self.object.text("CustomOrderID")
    }

    pub(super) fn major(&self) -> Option<String> {
        self.status.text("MajorStatus")
    }

    pub(super) fn standing(&self) -> Standing {
        let major = self.major().unwrap_or_default();
        Standing::of(&major, &self.status.text("MinorStatus").unwrap_or_default())
    }

    pub(super) fn product(&self) -> Option<String> {
        self.object.text("ProductCode")
    }

    /// The vendor, as the order or else the product's code says.
    pub(super) fn vendor(&self) -> Option<Vendor> {
        let named = self.object.text("VendorName").and_then(|name| Vendor::named(&name));
        named.or_else(|| self.product().map(|product| Vendor::of_product(&product)))
    }

    /// The number of a request for a refund, if one is open or granted.
    pub(super) fn refund(&self) -> Option<String> {
        self.object.text("RefundRequestID").filter(|number| is_number(number))
    }

    /// The common name, unless it is words: an order that nobody has configured shows its product there.
    pub(super) fn common_name(&self) -> Option<Identifier> {
        self.object.text("CommonName")?.parse().ok()
    }

    /// The names, common name first. What is no name is passed over.
    pub(super) fn names(&self) -> Vec<Identifier> {
        let mut names: Vec<Identifier> = self.common_name().into_iter().collect();
        for name in self.object.texts("DNSNames").iter().filter_map(|text| text.parse().ok()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    pub(super) fn purchased(&self) -> Option<Timestamp> {
        self.object.moment("PurchaseDate")
    }

    /// The end of what was paid for, which may be later than that of the certificate.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.object.moment("OrderExpiryDate")
    }

    /// Whether people look at documents besides the domains, which takes days.
    pub(super) fn is_vetted(&self) -> bool {
        !self.status.objects("AuthenticationStatuses").is_empty()
    }

    /// The vendor's words for people: the status as it stands, then what else is told.
    pub(super) fn message(&self) -> Option<VendorText> {
        let mut words = Vec::new();
        let major = self.status.text("MajorStatus");
        let minor = self.status.text("MinorStatus").filter(|minor| Some(minor) != major.as_ref());
        words.push([major, minor].into_iter().flatten().collect::<Vec<_>>().join(", "));
        words.extend(self.status.text("AuthenticationComments"));
        for step in self.status.objects("AuthenticationStatuses") {
            let told: Vec<_> =
                ["AuthenticationStep", "Status"].iter().filter_map(|name| step.text(name)).collect();
            words.push(told.join(": "));
        }
        for domain in self.status.objects("DomainAuthVettingStatus") {
            let told: Vec<_> = ["domain", "PollStatus"].iter().filter_map(|name| domain.text(name)).collect();
            if told.len() == 2 {
                words.push(told.join(": "));
            }
        }
        words.extend(self.object.text("PollStatus"));
        words.extend(self.status.objects("OrderNotes").iter().filter_map(|note| note.text("Comments")));
        if let Some(refund) = self.refund() {
            words.push(format!("a refund is asked for, number {refund}"));
        }
        words.retain(|words| !words.is_empty());
        let words = VendorText::from(words.join("; "));
        (!words.is_empty()).then_some(words)
    }

    /// What a person may want to see. Tokens, passwords and links that hold them stay out.
    pub(super) fn details(&self) -> BTreeMap<String, VendorText> {
        let shown = [
            ("product", "ProductCode"),
            ("product_name", "ProductName"),
            ("vendor", "VendorName"),
            ("brand", "SubVendorName"),
            ("vendor_order", "VendorOrderID"),
            ("price", "OrderAmount"),
            ("organization", "Organization"),
            ("servers", "ServerCount"),
            ("term_months", "Validity"),
            ("serial", "SerialNumber"),
        ];
        let mut details: BTreeMap<_, _> = shown
            .into_iter()
            .filter_map(|(name, member)| Some((name.to_owned(), self.object.words(member)?)))
            .collect();
        for (name, moment) in [("purchased", self.purchased()), ("order_ends", self.ends())] {
            let moment = moment.map(|moment| moment.to_string().into());
            details.extend(moment.map(|moment| (name.to_owned(), moment)));
        }
        details
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words_are_mapped_and_unknown_ones_are_not_guessed() {
        use Standing::{Issued, Open, Over, Reissuing, Unconfigured, Unknown};
        for (major, minor, expected) in [
            ("Initial", "", Unconfigured),
            ("Pending", "PENDING", Open),
            ("PENDING", "whatever the CA says", Open),
            ("Pending", "Order Rejected", Over(Stage::Rejected)),
            ("Active", "Active", Issued),
            ("active", "PENDING_REISSUE", Reissuing),
            ("Active", "revoked", Over(Stage::Revoked)),
            ("Cancelled", "", Over(Stage::Cancelled)),
            ("Canceled", "refunded", Over(Stage::Cancelled)),
            ("Cancelled", "REVOKED", Over(Stage::Revoked)),
            ("Cancelled", "certgen_failed", Over(Stage::Rejected)),
            ("Expired", "", Over(Stage::Expired)),
            ("Completed", "", Issued),
            ("Frozen", "deep", Unknown),
            ("", "", Unknown),
        ] {
            assert_eq!(Standing::of(major, minor), expected, "{major}, {minor}");
        }
    }

    #[test]
    fn a_handle_stays_small_and_reads_back() {
        let mut handle = Handle::placed("7".into(), Method::Dns);
        let name =
            |number: usize| format!("{}.n{number}.example", "a".repeat(60)).parse::<Identifier>().unwrap();
        for number in 0..250 {
            handle.change(&name(number), Method::Http);
            assert!(handle.write().0.to_string().len() < 16 * 1_024);
            assert_eq!(Handle::read(&handle.write()), Some(handle.clone()));
        }
        let mut one = Handle::placed("7".into(), Method::Dns);
        one.change(&name(0), Method::Http);
        assert_eq!((one.method(&name(0)), one.method(&name(1))), (Some(Method::Http), Some(Method::Dns)));
    }

    #[test]
    fn methods_are_told_from_undocumented_words() {
        for (word, expected) in [
            ("CNAME", Some(Method::Dns)),
            ("CNAME_CSR_HASH", Some(Method::Dns)),
            ("dns-txt-token", Some(Method::Dns)),
            ("HTTP_CSR_HASH", Some(Method::Http)),
            ("File", Some(Method::Http)),
            ("EMAIL", Some(Method::Email)),
            ("carrier pigeon", None),
        ] {
            assert_eq!(Method::said(word), expected, "{word}");
        }
    }
}
