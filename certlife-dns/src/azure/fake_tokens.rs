//! How clients get tokens, and which ones are taken.

use std::collections::BTreeMap;

use serde_json::json;
use wiremock::Request;

use super::{Answer, CLIENT, Fault, SECRET, TENANT, TOKEN_LASTS, World, wrapped};

const AUDIENCE: &str = "https://management.azure.com";

impl World {
    /// The client credentials grant, with a secret or an assertion.
    pub(super) fn token(&mut self, request: &Request) -> Answer {
        assert_eq!((request.method.as_str(), request.url.query()), ("POST", None));
        assert_eq!(request.url.path(), format!("/{TENANT}/oauth2/v2.0/token"));
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert!(!request.headers.contains_key("authorization"));
        let mut form: BTreeMap<String, String> =
            url::form_urlencoded::parse(&request.body).into_owned().collect();
        let mut field = |name: &str| form.remove(name).unwrap_or_default();
        assert_eq!(field("grant_type"), "client_credentials");
        let refuse = |status: u16, error: &str, number: u32, words: &str| {
            let words = format!("AADSTS{number}: {words}");
            let body = json!({
                "error": error, "error_description": words, "error_codes": [number],
                "timestamp": "2026-01-15 09:30:00Z", "trace_id": "6a0e", "correlation_id": "c5d1",
            });
            Err((status, body))
        };
        if field("scope") != format!("{AUDIENCE}/.default") {
            return refuse(400, "invalid_resource", 500_011, "The resource principal was not found.");
        }
        if field("client_id") != CLIENT {
            return refuse(
                400,
                "unauthorized_client",
                700_016,
                "Application was not found in the directory.",
            );
        }
        let (secret, kind, assertion) =
            (field("client_secret"), field("client_assertion_type"), field("client_assertion"));
        assert!(form.is_empty(), "unknown fields {form:?}");
        if kind.is_empty() {
            if secret != SECRET {
                return refuse(401, "invalid_client", 7_000_215, "Invalid client secret provided.");
            }
        } else {
            assert_eq!(
                (kind.as_str(), secret.as_str()),
                ("urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "")
            );
            if assertion.is_empty() || assertion != self.trusted {
                return refuse(
                    400,
                    "invalid_client",
                    700_213,
                    "No matching federated identity record found.",
                );
            }
        }
        let token = self.hand_out();
        Ok((
            200,
            json!({
                "token_type": "Bearer", "expires_in": TOKEN_LASTS, "ext_expires_in": TOKEN_LASTS, "access_token": token,
            }),
        ))
    }

    /// The metadata service, whose numbers are texts.
    pub(super) fn machine_token(&mut self, request: &Request) -> Answer {
        assert_eq!(request.method.as_str(), "GET");
        assert_eq!(request.headers["metadata"], "true");
        let mut query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        assert_eq!(query.remove("api-version").as_deref(), Some("2018-02-01"));
        assert_eq!(query.remove("resource"), Some(format!("{AUDIENCE}/")));
        let client_id = query.remove("client_id").unwrap_or_default();
        assert!(query.is_empty(), "unknown query {query:?}");
        if !self.machine.contains(&client_id) {
            return Err((
                400,
                json!({ "error": "invalid_request", "error_description": "Identity not found" }),
            ));
        }
        let (token, ends) = (self.hand_out(), (self.now)() + TOKEN_LASTS);
        Ok((
            200,
            json!({
                "token_type": "Bearer", "expires_in": TOKEN_LASTS.to_string(), "expires_on": ends.to_string(),
                "resource": format!("{AUDIENCE}/"), "access_token": token,
            }),
        ))
    }

    fn hand_out(&mut self) -> String {
        let token = format!("eyJ0eXAi.invented-{}.token", self.tokens.len() + 1);
        self.tokens.insert(token.clone(), (self.now)() + TOKEN_LASTS);
        token
    }

    pub(super) fn authenticate(&self, request: &Request) -> Result<(), Fault> {
        let header =
            request.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = header.strip_prefix("Bearer ").unwrap_or_default();
        match self.tokens.get(token) {
            Some(ends) if (self.now)() < *ends => Ok(()),
            Some(_) => Err(wrapped(
                401,
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time has passed.",
            )),
            None => Err(wrapped(401, "InvalidAuthenticationToken", "The access token is invalid.")),
        }
    }
}
