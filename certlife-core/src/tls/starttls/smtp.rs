//! SMTP: greeting, EHLO, STARTTLS ([RFC 3207 §4](https://www.rfc-editor.org/rfc/rfc3207#section-4)).

use tokio::io::{AsyncRead, AsyncWrite};

use super::{StartTls, not_offered, refused, talk::Talk};
use crate::{error::Result, tls::protocol_broken};

/// The client's name: who has none gives an address literal (RFC 5321 §4.1.4).
const HELLO: &[u8] = b"EHLO [127.0.0.1]\r\n";

pub(super) async fn start<S: AsyncRead + AsyncWrite + Unpin + Send>(talk: &mut Talk<S>) -> Result<()> {
    let greeting = Reply::read(talk).await?;
    if greeting.code != 220 {
        return Err(refused(&greeting.words()));
    }
    talk.say(HELLO).await?;
    let hello = Reply::read(talk).await?;
    match hello.code {
        250 => {}
        // Who does not know EHLO has no extensions (RFC 5321 §3.2).
        500..=504 => return Err(not_offered(StartTls::Smtp)),
        _ => return Err(refused(&hello.words())),
    }
    // The first line greets, each other names an extension (RFC 5321 §4.1.1.1).
    if !hello.lines.iter().skip(1).any(|line| super::begins_with(line, "STARTTLS")) {
        return Err(not_offered(StartTls::Smtp));
    }
    talk.say(b"STARTTLS\r\n").await?;
    let answer = Reply::read(talk).await?;
    if answer.code == 220 { Ok(()) } else { Err(refused(&answer.words())) }
}

/// A reply of one or more lines (RFC 5321 §4.2.1).
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    async fn read<S: AsyncRead + AsyncWrite + Unpin + Send>(talk: &mut Talk<S>) -> Result<Self> {
        let mut reply = Self { code: 0, lines: Vec::new() };
        loop {
            let line = talk.line().await?;
            let (code, last, text) =
                parse(&line).ok_or_else(|| protocol_broken("a line of the server is no SMTP reply"))?;
            if !reply.lines.is_empty() && reply.code != code {
                return Err(protocol_broken("the lines of an SMTP reply have different codes"));
            }
            reply.code = code;
            reply.lines.push(text.to_owned());
            if last {
                return Ok(reply);
            }
        }
    }

    fn words(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" "))
    }
}

/// Takes a line apart: code, whether it is the last line, text.
fn parse(line: &str) -> Option<(u16, bool, &str)> {
    let (code, rest) = line.split_at_checked(3)?;
    let digits = code.bytes().all(|byte| byte.is_ascii_digit()) && code.starts_with(['2', '3', '4', '5']);
    let code = code.parse().ok().filter(|_| digits)?;
    match rest.as_bytes().first() {
        None => Some((code, true, "")),
        Some(b' ') => Some((code, true, &rest[1..])),
        Some(b'-') => Some((code, false, &rest[1..])),
        Some(_) => None,
    }
}
