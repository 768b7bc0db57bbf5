//! The scripts, and what each takes and gives: data in JSON both ways, never a part of a script's text.
//!
//! What comes back is hostile until it is parsed: it is bounded, and read into types that know no other field.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{CertificateId, ErrorKind, Fingerprint, SecretBytes, VendorText};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Reads standard input and runs what it finds there; given on the command line.
pub(super) const BOOTSTRAP: &str = include_str!("scripts/bootstrap.ps1");
/// Loaded before each script.
pub(super) const LIBRARY: &str = include_str!("scripts/library.ps1");

const BEGIN: &str = "-----BEGIN CERTLIFE-----";
const END: &str = "-----END CERTLIFE-----";

/// A fixed text, and a name for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// The parameters of one script.
pub(super) trait Call: Serialize {
    const SCRIPT: Script;
    type Answer: DeserializeOwned;
}

macro_rules! calls {
    ($($call:ident -> $answer:ty = $name:literal,)*) => {
        $(
            impl Call for $call<'_> {
                const SCRIPT: Script =
                    Script { name: $name, text: include_str!(concat!("scripts/", $name, ".ps1")) };
                type Answer = $answer;
            }
        )*

        /// Every script that a call names.
        #[cfg(test)]
        pub(super) const SCRIPTS: &[Script] = &[$($call::SCRIPT),*];
    };
}

calls! {
    Probe -> Probed = "probe",
    Look -> Looked = "look",
    Import -> Imported = "import",
    Keep -> Nothing = "keep",
    Switch -> Nothing = "switch",
    Remove -> Nothing = "remove",
    PutChallenge -> Nothing = "put-challenge",
    RemoveChallenge -> Nothing = "remove-challenge",
}

/// Tests the machine.
#[derive(Serialize)]
pub(super) struct Probe<'a> {
    pub(super) store: &'a str,
    pub(super) accounts: &'a [String],
    pub(super) sites: Vec<&'a str>,
    pub(super) central: Option<&'a str>,
    pub(super) roots: Vec<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Probed {
    pub(super) computer: VendorText,
    pub(super) user: VendorText,
    pub(super) windows: VendorText,
    pub(super) powershell: VendorText,
    pub(super) iis: Option<VendorText>,
    pub(super) warnings: Vec<VendorText>,
}

/// Reads what there is for a certificate.
#[derive(Serialize)]
pub(super) struct Look<'a> {
    pub(super) certificate: &'a CertificateId,
    pub(super) marker: &'a str,
    pub(super) stores: Vec<&'a str>,
    pub(super) central: Option<Central<'a>>,
    pub(super) files: Vec<&'a str>,
}

/// The central certificate store.
#[derive(Serialize)]
pub(super) struct Central<'a> {
    pub(super) path: &'a str,
    pub(super) password: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Looked {
    pub(super) state: Option<String>,
    pub(super) certificates: Vec<StoreEntry>,
    pub(super) iis: bool,
    pub(super) bindings: Vec<Bound>,
    pub(super) files: Vec<CentralFile>,
    pub(super) kept: Vec<String>,
}

/// A certificate in a store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreEntry {
    pub(super) store: String,
    pub(super) thumbprint: Thumbprint,
    pub(super) fingerprint: Fingerprint,
    pub(super) name: String,
    pub(super) has_key: bool,
    pub(super) archived: bool,
}

/// A binding of IIS, and the certificate that it shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bound {
    pub(super) site: String,
    pub(super) information: String,
    pub(super) flags: u32,
    pub(super) thumbprint: Option<Thumbprint>,
    pub(super) store: Option<String>,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) name: Option<String>,
    pub(super) has_key: bool,
}

/// A file of the central store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CentralFile {
    pub(super) name: String,
    pub(super) digest: Fingerprint,
    pub(super) kept: Option<String>,
    pub(super) fingerprint: Option<Fingerprint>,
}

/// Puts a certificate into a store.
#[derive(Serialize)]
pub(super) struct Import<'a> {
    pub(super) store: &'a str,
    pub(super) certificate: String,
    pub(super) authorities: Vec<String>,
    pub(super) pfx: &'a str,
    pub(super) password: &'a str,
    pub(super) name: &'a str,
    pub(super) exportable: bool,
    pub(super) accounts: &'a [String],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Imported {
    pub(super) thumbprint: Thumbprint,
}

/// Keeps a PFX for the central store.
#[derive(Serialize)]
pub(super) struct Keep<'a> {
    pub(super) certificate: &'a CertificateId,
    pub(super) name: &'a str,
    pub(super) pfx: &'a str,
}

/// Makes another version the one that is served.
#[derive(Debug, Serialize)]
pub(super) struct Switch<'a> {
    pub(super) certificate: &'a CertificateId,
    pub(super) expects: Option<&'a str>,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    pub(super) show: Vec<Reference>,
    pub(super) hide: Vec<Reference>,
    pub(super) bindings: Vec<Rebind>,
    pub(super) central: Option<&'a str>,
    pub(super) files: Vec<Refile>,
}

/// Names a certificate in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reference {
    pub(super) store: String,
    pub(super) thumbprint: Thumbprint,
}

/// What a binding is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct Rebind {
    pub(super) site: String,
    pub(super) information: String,
    pub(super) present: bool,
    pub(super) flags: u32,
    pub(super) thumbprint: Option<Thumbprint>,
    pub(super) store: Option<String>,
    pub(super) or_absent: bool,
}

/// What a file of the central store is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(Deserialize), serde(deny_unknown_fields))]
pub(super) struct Refile {
    pub(super) name: String,
    pub(super) kept: Option<String>,
    pub(super) save: Option<String>,
}

/// Removes what is superseded.
#[derive(Serialize)]
pub(super) struct Remove<'a> {
    pub(super) certificate: &'a CertificateId,
    pub(super) certificates: Vec<Reference>,
    pub(super) kept: Vec<String>,
}

/// Places a challenge file.
#[derive(Serialize)]
pub(super) struct PutChallenge<'a>(pub(super) Challenge<'a>);

/// Removes a challenge file.
#[derive(Serialize)]
pub(super) struct RemoveChallenge<'a>(pub(super) Challenge<'a>);

#[derive(Serialize)]
pub(super) struct Challenge<'a> {
    pub(super) site: &'a str,
    pub(super) segments: Vec<&'a str>,
    pub(super) body: &'a str,
}

/// The answer of a script that says no more than that it is done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// SHA-1 of a certificate, by which Windows names it: 40 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Thumbprint(String);

impl TryFrom<String> for Thumbprint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text));
        }
        Err("a thumbprint has 40 lower-case hexadecimal digits")
    }
}

/// Why a script did not do it.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The state is not the one that was looked at.
    Changed,
    /// Anything else.
    Failed(ErrorKind),
}

impl From<ErrorKind> for Refusal {
    fn from(kind: ErrorKind) -> Self {
        Self::Failed(kind)
    }
}

/// The words after the program's name that make PowerShell run the bootstrap.
///
/// The bootstrap is encoded, so that no shell in between reads it; `cmd.exe` takes lines of at most 8,191
/// characters. <https://learn.microsoft.com/en-us/powershell/module/microsoft.powershell.core/about/about_powershell_exe>
pub(super) fn arguments() -> Vec<String> {
    let utf16: Vec<u8> = BOOTSTRAP.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let fixed = [
        "-NoProfile",
        "-NonInteractive",
        "-ExecutionPolicy",
        "Bypass",
        "-InputFormat",
        "Text",
        "-OutputFormat",
        "Text",
        "-EncodedCommand",
    ];
    fixed.into_iter().map(str::to_owned).chain([STANDARD.encode(utf16)]).collect()
}

/// Writes what the bootstrap reads: Base64 of UTF-8, since Windows PowerShell reads anything but ASCII by the
/// code page of a console that is not there.
pub(super) fn document<C: Call>(call: &C) -> Result<SecretBytes, ErrorKind> {
    #[derive(Serialize)]
    struct Document<'a, C> {
        library: &'a str,
        script: &'a str,
        parameters: &'a C,
    }
    let document = Document { library: LIBRARY, script: C::SCRIPT.text, parameters: call };
    let wrong = |_| ErrorKind::Protocol("the parameters cannot be written as JSON".into());
    // Counted before it is written, so that nothing is left behind unwiped when the buffer grows.
    let mut length = Counted(0);
    serde_json::to_writer(&mut length, &document).map_err(wrong)?;
    let mut json = zeroize::Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *json, &document).map_err(wrong)?;
    let mut text = String::with_capacity(json.len().div_ceil(3) * 4 + 1);
    STANDARD.encode_string(&*json, &mut text);
    text.push('\n');
    Ok(SecretBytes::new(text.into_bytes()))
}

/// Counts bytes and keeps none.
struct Counted(usize);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads what the bootstrap printed. Anything around the markers is somebody else's, such as a banner.
pub(super) fn answer<C: Call>(stdout: &[u8]) -> Result<C::Answer, Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase", bound = "T: DeserializeOwned")]
    enum Answer<T> {
        Result(T),
        Error(Problem),
    }
    let broken = |what: &str| {
        let script = C::SCRIPT.name;
        Refusal::Failed(ErrorKind::Protocol(format!("the script {script} gave {what}").into()))
    };
    let text = String::from_utf8_lossy(stdout);
    let between = text.rsplit_once(END).and_then(|(before, _)| before.rsplit_once(BEGIN));
    let Some((_, encoded)) = between else { return Err(broken("no answer")) };
    let json = STANDARD.decode(encoded.trim()).map_err(|_| broken("an answer that is no Base64"))?;
    match serde_json::from_slice(&json).map_err(|_| broken("an answer of another form"))? {
        Answer::Result(result) => Ok(result),
        Answer::Error(problem) => Err(problem.refusal()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Problem {
    kind: String,
    message: VendorText,
}

impl Problem {
    fn refusal(self) -> Refusal {
        let message = self.message;
        Refusal::Failed(match self.kind.as_str() {
            "changed" => return Refusal::Changed,
            "not-found" => ErrorKind::NotFound(message.as_str().to_owned().into()),
            "denied" => ErrorKind::Forbidden(message),
            "conflict" => ErrorKind::Conflict(message),
            "bad-pfx" => ErrorKind::Rejected(
                format!(
                    "Windows does not open the PFX ({message}); Windows Server 2016 takes the `legacy` form alone"
                )
                .into(),
            ),
            _ => ErrorKind::CommandFailed(message),
        })
    }
}
