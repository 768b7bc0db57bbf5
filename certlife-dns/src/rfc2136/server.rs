//! One update server and the key that it knows us by.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use certlife_core::{
    Error, ErrorKind, Fqdn, InputError, Operation, Result,
    lookup::{Exchange, NoAnswer},
};
use hickory_proto::op::{Message, ResponseCode};

use super::{
    NAME, message,
    tsig::{Distrust, Key},
};

/// A server, the way to it, and the key.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: Address,
    pub(super) key: Key,
    pub(super) exchange: Exchange,
}

/// An answer and whether its signature was checked.
pub(super) struct Answer {
    pub(super) message: Message,
    pub(super) signed: bool,
}

impl Answer {
    pub(super) fn code(&self) -> ResponseCode {
        self.message.metadata.response_code
    }
}

impl Server {
    /// Signs and sends a message, and returns the answer once its signature is right.
    ///
    /// An answer without a signature is let through only if it reports a failure. `now` is in seconds since
    /// 1970.
    pub(super) async fn send(&self, operation: Operation, message: &Message, now: i64) -> Result<Answer> {
        let answer = self.send_signed(operation, message, now).await?;
        answer.map_err(|reason| message::distrust(operation, reason))
    }

    /// Like [`send`](Self::send), for an update at `name` after a question that the key was good for.
    ///
    /// A server that then says not to know the key means that the key may not do this: so does Knot, where
    /// others answer REFUSED.
    pub(super) async fn update(
        &self,
        operation: Operation,
        message: &Message,
        name: &Fqdn,
        now: i64,
    ) -> Result<Answer> {
        let answer = self.send_signed(operation, message, now).await?;
        answer.map_err(|reason| match reason {
            Distrust::BadKey => message::refusal(operation, ResponseCode::Refused, name).because(reason),
            _ => message::distrust(operation, reason),
        })
    }

    /// Returns the answer, or why its signature or ours was not taken.
    async fn send_signed(
        &self,
        operation: Operation,
        message: &Message,
        now: i64,
    ) -> Result<Result<Answer, Distrust>> {
        let malformed = |_| message::no_answer(operation, NoAnswer::Malformed);
        let request = self.key.sign(&message.to_vec().map_err(malformed)?, now);
        let answer = self.exchange(operation, &request.bytes).await?;
        let parsed = Message::from_vec(&answer).map_err(|_| {
            message::no_answer(operation, NoAnswer::Malformed).because(self.address.to_string())
        })?;
        Ok(match self.key.verify(&answer, &parsed, &request.mac, now) {
            Ok(()) => Ok(Answer { message: parsed, signed: true }),
            Err(Distrust::Unsigned) if is_failure(parsed.metadata.response_code) => {
                Ok(Answer { message: parsed, signed: false })
            }
            Err(reason) => Err(reason),
        })
    }

    /// Tries every address of the server until one answers.
    async fn exchange(&self, operation: Operation, request: &[u8]) -> Result<Vec<u8>> {
        let mut failure = NoAnswer::Unreachable;
        for address in self.address.resolve(operation).await? {
            match self.exchange.send(address, request).await {
                Ok(answer) => return Ok(answer),
                // What may have arrived somewhere must not be reported as if it had not.
                Err(reason) if failure == NoAnswer::Unreachable => failure = reason,
                Err(_) => {}
            }
        }
        Err(message::no_answer(operation, failure).because(format!("{}: {failure}", self.address)))
    }
}

/// Whether a response code says that the question was not answered, rather than that nothing is there.
fn is_failure(code: ResponseCode) -> bool {
    !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// Where a server is: an IP address or a host name, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Address {
    const DEFAULT_PORT: u16 = 53;

    /// Reads `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]:53`, `ns1.example.com` or `ns1.example.com:53`.
    pub(super) fn parse(text: &str) -> Result<Self, InputError> {
        let text = text.trim();
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(Self { host: Host::Ip(ip), port: Self::DEFAULT_PORT });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self { host: Host::Ip(address.ip()), port: address.port() }.with_a_port();
        }
        let wrong = || {
            InputError::setting(
                "server",
                "is an IP address or a host name, with or without a port: `ns1.example.com:53`",
            )
        };
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, port.parse().map_err(|_| wrong())?),
            None => (text, Self::DEFAULT_PORT),
        };
        let name: certlife_core::DnsName = name.parse().map_err(|_| wrong())?;
        Self { host: Host::Name(name.to_string()), port }.with_a_port()
    }

    fn with_a_port(self) -> Result<Self, InputError> {
        if self.port == 0 { Err(InputError::setting("server", "has no port 0")) } else { Ok(self) }
    }

    async fn resolve(&self, operation: Operation) -> Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name) => {
                let found = tokio::net::lookup_host((name.as_str(), self.port)).await;
                found.map(|addresses| addresses.take(8).collect()).map_err(|error| {
                    let cause = format!("the server's name {name} does not resolve: {error}");
                    Error::new(NAME, operation, ErrorKind::Unreachable).because(cause)
                })
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => fmt::Display::fmt(&SocketAddr::new(*ip, self.port), f),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_in_every_usual_way() {
        for (text, printed) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
            ("NS1.Example.com", "ns1.example.com:53"),
            (" ns1.example.com:5353 ", "ns1.example.com:5353"),
            ("localhost", "localhost:53"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), printed);
        }
        for text in
            ["", "ns1.example.com:", "ns1.example.com:70000", "192.0.2.1:0", "a b", "https://ns1.example"]
        {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("setting `server`"), "{text}: {error}");
        }
    }
}
