//! Tokens for Azure Resource Manager, from Microsoft Entra ID or from the machine that we run on.

use std::path::{Path, PathBuf};

use certlife_core::{
    Error, ErrorKind, Operation, Result, Secret, VendorText, async_trait,
    http::{Answer, Client, FetchToken, Refinement, Request, StatusCode, Token},
};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::NAME;

/// What a failed fetch could not do.
const OPERATION: Operation = Operation::OpenAccount;
/// The longest federated token that is read from a file.
const MAX_ASSERTION_BYTES: u64 = 64 << 10;

/// Fetches tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Its base URL is the token URL.
    pub(super) client: Client,
    pub(super) proof: Proof,
    /// Whom tokens are for: the base URL of Resource Manager as its cloud has it, without a final slash.
    pub(super) audience: String,
}

/// How we prove who we are.
#[derive(Debug)]
pub(super) enum Proof {
    Secret {
        client_id: String,
        secret: Secret,
    },
    Federated {
        client_id: String,
        assertion: Assertion,
    },
    /// The machine vouches for us, if it has such an identity, or the one of that id.
    Machine {
        client_id: Option<String>,
    },
}

/// A token of another issuer that Entra ID trusts for this application.
#[derive(Debug)]
pub(super) enum Assertion {
    Token(Secret),
    /// Read anew for each fetch, since whoever writes the file replaces it before the token ends.
    File(PathBuf),
}

impl Assertion {
    async fn read(&self) -> Result<Secret> {
        match self {
            Self::Token(token) => Ok(token.clone()),
            Self::File(path) => {
                let failed = |why: &str| {
                    let what = format!("federated_token_file {}: {why}", path.display());
                    Error::new(NAME, OPERATION, ErrorKind::Io(what.into()))
                };
                let text = read_text(path).await.map_err(|error| failed(&error.to_string()))?;
                if text.trim().is_empty() { Err(failed("it is empty")) } else { Ok(text.trim().into()) }
            }
        }
    }
}

async fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(MAX_ASSERTION_BYTES).read_to_string(&mut text).await?;
    Ok(text)
}

#[async_trait]
impl FetchToken for Tokens {
    async fn fetch(&self) -> Result<Token> {
        // A token that nobody uses does no harm.
        let response = self.request().await?.replayable(true).send().await?;
        let GivenToken { access_token: secret, expires_in } = response.json()?;
        let seconds = match expires_in {
            None => None,
            Some(Seconds::Number(seconds)) => Some(seconds),
            Some(Seconds::Text(text)) => {
                Some(text.parse().map_err(|_| response.unexpected("`expires_in` is not a number"))?)
            }
        };
        let lasts = seconds.map(std::time::Duration::from_secs);
        Ok(Token { secret, expires: lasts.map(|lasts| self.client.clock().now() + lasts) })
    }
}

impl Tokens {
    async fn request(&self) -> Result<Request> {
        let scope = format!("{}/.default", self.audience);
        let post =
            || self.client.post(OPERATION, &[]).refine(refine).form(&[("grant_type", "client_credentials")]);
        Ok(match &self.proof {
            // <https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
            Proof::Secret { client_id, secret } => post()
                .form(&[("client_id", client_id), ("scope", &scope)])
                .secret_form("client_secret", secret),
            Proof::Federated { client_id, assertion } => {
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                let form =
                    [("client_id", client_id.as_str()), ("scope", &scope), ("client_assertion_type", kind)];
                post().form(&form).secret_form("client_assertion", &assertion.read().await?)
            }
            // <https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
            Proof::Machine { client_id } => {
                let request =
                    self.client.get(OPERATION, &[]).refine(refine_machine).header("Metadata", "true");
                let request = request.query("api-version", "2018-02-01");
                let request = request.query("resource", &format!("{}/", self.audience));
                match client_id {
                    Some(client_id) => request.query("client_id", client_id),
                    None => request,
                }
            }
        })
    }
}

#[derive(Debug, Deserialize)]
struct GivenToken {
    access_token: Secret,
    #[serde(default)]
    expires_in: Option<Seconds>,
}

/// A number, which the older endpoints and the machine's write as a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

#[derive(Debug, Deserialize)]
struct Fault {
    error: String,
    #[serde(default)]
    error_description: String,
    #[serde(default)]
    error_codes: Vec<u64>,
}

/// Says what an answer of Entra ID means: by the AADSTS numbers, then by `error`.
///
/// <https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes>
fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    let fault: Fault = answer.json()?;
    let words = VendorText::from(format!("{}: {}", fault.error, fault.error_description));
    let by_number = fault.error_codes.iter().find_map(|code| {
        Some(match code {
            // Unknown or malformed tenant; unknown or disabled application; secret that is wrong, missing or has
            // ended; a federated token that has ended, or that this application does not trust.
            // 90002 and the federated ones were not seen in traffic.
            90_002 | 900_021 | 900_023 | 700_016 | 7_000_112 | 7_000_215 | 7_000_216 | 7_000_218
            | 7_000_222 | 700_024 | 70_021 | 700_211 | 700_212 | 700_213 => ErrorKind::Unauthorized,
            // Conditional access.
            53_003 => ErrorKind::Forbidden(words.clone()),
            // The audience does not belong to this cloud. Not seen in traffic.
            500_011 | 70_011 => ErrorKind::Rejected(words.clone()),
            _ => return None,
        })
    });
    let by_name = || {
        Some(match fault.error.as_str() {
            "invalid_client" | "unauthorized_client" | "invalid_grant" => ErrorKind::Unauthorized,
            "access_denied" => ErrorKind::Forbidden(words.clone()),
            "temporarily_unavailable" | "server_error" => ErrorKind::Unavailable,
            _ if answer.status() == StatusCode::TOO_MANY_REQUESTS || answer.status().is_server_error() => {
                return None;
            }
            _ => ErrorKind::Rejected(words.clone()),
        })
    };
    by_number.or_else(by_name).map(Refinement::new)
}

/// Says what an answer of the machine's metadata service means.
///
/// <https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling>
fn refine_machine(answer: &Answer<'_>) -> Option<Refinement> {
    Some(Refinement::new(match answer.status() {
        // It has no such identity.
        StatusCode::BAD_REQUEST => ErrorKind::Unauthorized,
        // It is being updated.
        StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::Unavailable,
        _ => return None,
    }))
}
