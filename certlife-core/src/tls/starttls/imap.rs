//! IMAP: greeting, CAPABILITY, STARTTLS
//! ([RFC 9051 §6.2.1](https://www.rfc-editor.org/rfc/rfc9051#section-6.2.1), as in RFC 3501).

use tokio::io::{AsyncRead, AsyncWrite};

use super::{StartTls, begins_with, not_offered, refused, talk::Talk};
use crate::{error::Result, tls::protocol_broken};

pub(super) async fn start<S: AsyncRead + AsyncWrite + Unpin + Send>(talk: &mut Talk<S>) -> Result<()> {
    let greeting = talk.line().await?;
    match greeting.strip_prefix("* ") {
        Some(words) if begins_with(words, "OK") => {}
        // STARTTLS is for those who have not authenticated; who counts as authenticated already cannot have it.
        Some(words) if begins_with(words, "PREAUTH") => return Err(not_offered(StartTls::Imap)),
        Some(words) if begins_with(words, "BYE") => return Err(refused(words)),
        _ => return Err(protocol_broken("the server does not greet as an IMAP server does")),
    }
    talk.say(b"c1 CAPABILITY\r\n").await?;
    let (answer, untagged) = answer(talk, "c1 ").await?;
    if !begins_with(&answer, "OK") {
        return Err(refused(&answer));
    }
    let offers = |line: &String| {
        begins_with(line, "CAPABILITY") && line.split(' ').any(|word| word.eq_ignore_ascii_case("STARTTLS"))
    };
    if !untagged.iter().any(offers) {
        return Err(not_offered(StartTls::Imap));
    }
    talk.say(b"c2 STARTTLS\r\n").await?;
    let (answer, _) = self::answer(talk, "c2 ").await?;
    if begins_with(&answer, "OK") { Ok(()) } else { Err(refused(&answer)) }
}

/// Reads the answer to the command with this tag, and what comes untagged before it.
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send>(
    talk: &mut Talk<S>,
    tag: &str,
) -> Result<(String, Vec<String>)> {
    let mut untagged = Vec::new();
    loop {
        let line = talk.line().await?;
        if let Some(answer) = line.strip_prefix(tag) {
            return Ok((answer.to_owned(), untagged));
        }
        match line.strip_prefix("* ") {
            Some(words) if begins_with(words, "BYE") => return Err(refused(words)),
            Some(words) => untagged.push(words.to_owned()),
            None => return Err(protocol_broken("a line of the server is no IMAP response")),
        }
    }
}
