//! What has to be shown for each name, read from wherever the API has it.

use certlife_core::{
    DnsName, Fqdn, Identifier, InputError,
    ca::OrderIntent,
    challenge::{
        Authorization, AuthorizationStatus, Challenge, ChallengeId, ChallengeResponse, HttpBody, HttpFile,
        HttpPath,
    },
};

use super::{
    options::{OrderOptions, RecordType, Vendor},
    order::{Handle, Method, Order},
    party::is_email,
    wire::Object,
};

/// What the API tells about one name.
#[derive(Default)]
struct Evidence {
    method: Option<Method>,
    word: String,
    valid: bool,
    file: Option<(String, String)>,
    /// A record without a name stands at the domain itself.
    record: Option<(Option<String>, String)>,
}

impl Evidence {
    fn read(object: &Object, file: [&str; 2], record: [&str; 2]) -> Self {
        let pair = |[name, value]: [&str; 2]| Some((object.text(name), object.verbatim(value)?));
        Self {
            word: object.text("dcvMethod").unwrap_or_default(),
            method: object.text("dcvMethod").and_then(|word| Method::said(&word)),
            valid: object.text("dcvStatus").is_some_and(|word| is_done(&word)),
            file: pair(file).and_then(|(name, value)| Some((name?, value))),
            record: pair(record),
        }
    }
}

/// The words are not documented. What is not known for a success is none.
fn is_done(word: &str) -> bool {
    let done = [
        "valid",
        "validated",
        "approved",
        "complete",
        "completed",
        "verified",
        "passed",
        "success",
        "issued",
    ];
    done.contains(&word.to_ascii_lowercase().as_str())
}

/// Reads the authorizations of an open order. Names for which the CA asks for nothing yet are left out, as are
/// those that it wants proven in another way than was asked for: its words are in the order's message.
///
/// # Errors
///
/// The rule that a file name, a file or a record breaks.
pub(super) fn authorizations(
    order: &Order,
    handle: &Handle,
    intent: Option<&OrderIntent>,
) -> Result<Vec<Authorization>, InputError> {
    let names = intent.map_or_else(|| order.names(), |intent| intent.request.identifiers.clone());
    let wished = intent.and_then(|intent| OrderOptions::read(&intent.request.options).ok());
    let wished = wished.and_then(|options| options.record_type);
    let mut found: Vec<(Identifier, Evidence)> = Vec::new();
    for object in order.status.objects("DomainAuthVettingStatus") {
        let Some(identifier) = object.text("domain").and_then(|domain| listed(&domain, &names)) else {
            continue;
        };
        let evidence = Evidence::read(&object, ["FileName", "FileContents"], ["DNSName", "DNSEntry"]);
        if !found.iter().any(|(known, _)| *known == identifier) {
            found.push((identifier, evidence));
        }
    }
    // At the root stands what is asked for the common name, whether or not the list has it too.
    let root = Evidence::read(
        &order.object,
        ["AuthFileName", "AuthFileContent"],
        ["CNAMEAuthName", "CNAMEAuthValue"],
    );
    if let Some(name) =
        order.common_name().and_then(|name| listed(&name.to_string(), &names)).or(names.first().cloned())
    {
        match found.iter_mut().find(|(identifier, _)| *identifier == name) {
            Some((_, known)) => {
                known.file = known.file.take().or(root.file);
                known.record = known.record.take().or(root.record);
            }
            None => found.insert(0, (name, root)),
        }
    }
    // By e-mail nothing is shown but who is asked.
    for name in names.iter().filter(|name| handle.method(name) == Some(Method::Email)) {
        if !found.iter().any(|(identifier, _)| identifier == name) && !is_covered(name, &names) {
            found.push((name.clone(), Evidence::default()));
        }
    }
    let approvers = order.object.texts("ApproverEmail");
    let mut authorizations = Vec::new();
    for (identifier, evidence) in found {
        let mut open = Vec::new();
        if !evidence.valid {
            let place = names.iter().position(|name| *name == identifier).unwrap_or_default();
            let approver = approvers.get(place).or(approvers.first()).filter(|address| is_email(address));
            open = challenges(&identifier, &evidence, handle, order.vendor(), wished, approver)?;
            if open.is_empty() {
                continue;
            }
        }
        let status = if evidence.valid { AuthorizationStatus::Valid } else { AuthorizationStatus::Pending };
        authorizations.push(Authorization { identifier, status, challenges: open, problem: None });
    }
    Ok(authorizations)
}

/// How the API says that a name is proven, if it says so in a word that is understood.
pub(super) fn stated(order: &Order, name: &Identifier) -> Option<Method> {
    let vetting = order.status.objects("DomainAuthVettingStatus");
    let of_name = |object: &&Object| {
        let domain = object.text("domain").and_then(|domain| domain.parse::<Identifier>().ok());
        domain.is_some_and(|domain| domain.base_name() == name.base_name())
    };
    Method::said(&vetting.iter().find(of_name)?.text("dcvMethod")?)
}

/// The name of the order that the API means: wildcards come with and without their `*.`.
fn listed(domain: &str, names: &[Identifier]) -> Option<Identifier> {
    let said: Identifier = domain.parse().ok()?;
    let base = |name: &Identifier| name.base_name().cloned();
    let exact = names.iter().find(|name| **name == said);
    exact.or_else(|| names.iter().find(|name| base(name) == base(&said))).cloned()
}

/// Whether a name comes with the wildcard in front of the list.
pub(super) fn is_covered(name: &Identifier, names: &[Identifier]) -> bool {
    let first = names.first().filter(|first| first.is_wildcard());
    matches!(name, Identifier::Dns(base) if first.and_then(Identifier::base_name) == Some(base))
}

fn challenges(
    identifier: &Identifier,
    evidence: &Evidence,
    handle: &Handle,
    vendor: Option<Vendor>,
    wished: Option<RecordType>,
    approver: Option<&String>,
) -> Result<Vec<Challenge>, InputError> {
    let asked = handle.method(identifier);
    if matches!((asked, evidence.method), (Some(asked), Some(said)) if asked != said) {
        return Ok(Vec::new());
    }
    let method = evidence.method.or(asked);
    let may = |wanted| method.is_none_or(|method| method == wanted);
    let Some(base) = identifier.base_name() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut offer = |method: Method, response| {
        found.push(Challenge { id: id(method, identifier), response });
    };
    if let Some((name, value)) = evidence.record.as_ref().filter(|_| may(Method::Dns)) {
        let kind = record_type(&evidence.word, wished, vendor, value);
        offer(Method::Dns, record(base, name.as_deref(), value.trim(), kind)?);
    }
    if let Some((name, body)) =
        evidence.file.as_ref().filter(|_| may(Method::Http) && !identifier.is_wildcard())
    {
        offer(Method::Http, file(identifier, name, body)?);
    }
    if let Some(address) = approver.filter(|_| method == Some(Method::Email)) {
        offer(Method::Email, ChallengeResponse::Email { address: address.clone() });
    }
    Ok(found)
}

fn id(method: Method, identifier: &Identifier) -> ChallengeId {
    ChallengeId(format!("{}/{identifier}", method.as_str()))
}

/// The name that a challenge is for, unless a person is asked.
pub(super) fn subject(id: &ChallengeId) -> Option<Identifier> {
    let (method, name) = id.0.split_once('/')?;
    if method == Method::Email.as_str() { None } else { name.parse().ok() }
}

/// A CA that hands out a path or a URL means its last segment: files lie in one place (BR §3.2.2.4.18).
fn file(host: &Identifier, name: &str, body: &str) -> Result<ChallengeResponse, InputError> {
    let name = name.rsplit('/').next().unwrap_or_default();
    Ok(ChallengeResponse::Http(HttpFile {
        host: host.clone(),
        path: HttpPath::new(&format!("/.well-known/pki-validation/{name}"))?,
        body: HttpBody::new(body)?,
    }))
}

/// The method's word tells the type, then the order's own option; else Sectigo has CNAMEs, and of the others a value
/// that is a host name is a target.
fn record_type(word: &str, wished: Option<RecordType>, vendor: Option<Vendor>, value: &str) -> RecordType {
    let word = word.to_ascii_lowercase();
    let usual = match vendor {
        Some(Vendor::Sectigo) => RecordType::Cname,
        _ if value.contains('.') && value.trim().parse::<Fqdn>().is_ok() => RecordType::Cname,
        _ => RecordType::Txt,
    };
    if word.contains("cname") {
        RecordType::Cname
    } else if word.contains("txt") {
        RecordType::Txt
    } else {
        wished.unwrap_or(usual)
    }
}

fn record(
    base: &DnsName,
    name: Option<&str>,
    value: &str,
    kind: RecordType,
) -> Result<ChallengeResponse, InputError> {
    let name = owner(&base.to_fqdn(), name)?;
    match kind {
        RecordType::Cname => Ok(ChallengeResponse::DnsCname { name, target: value.parse()? }),
        RecordType::Txt if value.len() <= 1_024 && value.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
            Ok(ChallengeResponse::DnsTxt { name, value: value.to_owned() })
        }
        RecordType::Txt => Err(InputError::Value {
            field: "value of the TXT record".into(),
            value: value.into(),
            rule: "at most 1024 printable ASCII characters".into(),
        }),
    }
}

/// Makes a name absolute. It may be given below the domain or one above it, or without either; whatever it is, it
/// ends up in a domain of the order.
fn owner(domain: &Fqdn, name: Option<&str>) -> Result<Fqdn, InputError> {
    let Some(name) = name else { return Ok(domain.clone()) };
    let name: Fqdn = name.trim_start_matches("*.").parse()?;
    let above = |name: &Fqdn| name.parent().is_some() && domain.is_within(name);
    let token_above = name.as_str().starts_with('_') && name.parent().is_some_and(|parent| above(&parent));
    if name.is_within(domain) || above(&name) || token_above {
        Ok(name)
    } else {
        format!("{name}.{domain}").parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_names_end_up_below_the_domain() {
        let domain: Fqdn = "www.example.org".parse().unwrap();
        for (name, expected) in [
            (Some("_ab.www.example.org."), "_ab.www.example.org"),
            (Some("_ab.example.org"), "_ab.example.org"),
            (Some("_ab"), "_ab.www.example.org"),
            (Some("_ab.evil.example"), "_ab.evil.example.www.example.org"),
            (Some("_ab.evil.org"), "_ab.evil.org.www.example.org"),
            (Some("evil.example.org"), "evil.example.org.www.example.org"),
            (Some("example.org"), "example.org"),
            (Some("org"), "org.www.example.org"),
            (None, "www.example.org"),
        ] {
            assert_eq!(owner(&domain, name).unwrap().as_str(), expected);
        }
        assert!(owner(&domain, Some("a b")).is_err());
    }

    #[test]
    fn the_type_of_a_record_is_told_by_word_option_vendor_and_value() {
        use RecordType::{Cname, Txt};
        for (word, wished, vendor, value, expected) in [
            ("CNAME_CSR_HASH", Some(Txt), Some(Vendor::DigiCert), "token", Cname),
            ("dns-txt-token", None, Some(Vendor::Sectigo), "a.b.c", Txt),
            ("", Some(Txt), Some(Vendor::Sectigo), "a.b.c", Txt),
            ("DNS", None, Some(Vendor::Sectigo), "a.b.c", Cname),
            ("DNS", None, Some(Vendor::DigiCert), "q1w2e3", Txt),
            ("DNS", None, Some(Vendor::DigiCert), "q1.dcv.digicert.com", Cname),
            ("", None, None, "q1 w2", Txt),
        ] {
            assert_eq!(record_type(word, wished, vendor, value), expected, "{word} {vendor:?} {value}");
        }
    }

    #[test]
    fn files_keep_their_line_breaks_and_lose_their_directories() {
        let host: Identifier = "a.example".parse().unwrap();
        let ChallengeResponse::Http(found) =
            file(&host, "http://evil/x/../A1.txt", "ab\nsectigo.com\nu1").unwrap()
        else {
            panic!("a file")
        };
        assert_eq!(found.path.as_str(), "/.well-known/pki-validation/A1.txt");
        assert_eq!(found.body.as_str(), "ab\nsectigo.com\nu1");
        for (name, body) in [("..", "x"), (".htaccess", "x"), ("a b", "x"), ("", "x"), ("a.txt", "<script>")]
        {
            assert!(file(&host, name, body).is_err(), "{name} {body}");
        }
    }
}
