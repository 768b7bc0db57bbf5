//! Whose requests they are: stated keys, or those of a role that is assumed with them.

use std::sync::Arc;

use async_trait::async_trait;
use certlife_core::{
    Clock, Error, ErrorKind, Operation, Result, Secret, Timestamp,
    http::{Client, FetchToken, Token, TokenSource},
};
use serde::Deserialize;

use super::{NAME, api};

/// An access key, and the token that belongs to it if it does not last.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) session_token: Option<Secret>,
}

/// Where the keys come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The settings.
    Stated(Keys),
    /// The role; the token holds its keys, which are fetched by one caller for all.
    Role(TokenSource),
}

impl Source {
    pub(super) fn role(role: Role, clock: Arc<dyn Clock>) -> Self {
        Self::Role(TokenSource::new(role, clock))
    }

    pub(super) async fn keys(&self) -> Result<Keys> {
        match self {
            Self::Stated(keys) => Ok(keys.clone()),
            Self::Role(source) => unpacked(&source.token().await?),
        }
    }
}

/// A role, and the client that assumes it, which signs with the stated keys.
///
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
#[derive(Debug)]
pub(super) struct Role {
    pub(super) sts: Client,
    pub(super) terms: Terms,
}

/// Which role, and on what terms.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) arn: String,
    pub(super) session_name: String,
    pub(super) external_id: Option<String>,
    pub(super) duration_seconds: u32,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "AssumeRoleResult")]
    result: Assumed,
}

#[derive(Debug, Deserialize)]
struct Assumed {
    #[serde(rename = "Credentials")]
    credentials: Issued,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Issued {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Secret,
    /// RFC 3339.
    expiration: String,
}

#[async_trait]
impl FetchToken for Role {
    async fn fetch(&self) -> Result<Token> {
        let Terms { arn, session_name, external_id, duration_seconds } = &self.terms;
        let mut request = self.sts.post(Operation::OpenAccount, &[]).form(&[
            ("Action", "AssumeRole"),
            ("Version", api::STS_VERSION),
            ("RoleArn", arn),
            ("RoleSessionName", session_name),
            ("DurationSeconds", &duration_seconds.to_string()),
        ]);
        if let Some(id) = external_id {
            request = request.form(&[("ExternalId", id)]);
        }
        // What a lost answer leaves behind are keys that nobody has and that end by themselves.
        let response = request.replayable(true).send().await?;
        let Answer { result: Assumed { credentials } } = api::parsed(&response)?;
        let expires = Timestamp::parse(&credentials.expiration)
            .map_err(|_| response.unexpected("`Expiration` is not a time"))?;
        let keys = [
            &credentials.access_key_id,
            credentials.secret_access_key.expose(),
            credentials.session_token.expose(),
        ];
        let text = serde_json::to_string(&keys)
            .map_err(|_| response.unexpected("the keys of the role cannot be kept"))?;
        Ok(Token { secret: text.into(), expires: Some(expires) })
    }
}

/// Reads the keys from the one text as which a [`TokenSource`] keeps them.
fn unpacked(token: &Secret) -> Result<Keys> {
    let [access_key_id, secret, session]: [String; 3] =
        serde_json::from_str(token.expose()).map_err(|_| {
            let kind = ErrorKind::Protocol("the keys of the role cannot be read".into());
            Error::new(NAME, Operation::OpenAccount, kind)
        })?;
    Ok(Keys { access_key_id, secret_access_key: secret.into(), session_token: Some(session.into()) })
}
