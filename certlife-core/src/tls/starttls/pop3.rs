//! POP3: greeting, CAPA, STLS ([RFC 2595 §4](https://www.rfc-editor.org/rfc/rfc2595#section-4)).

use tokio::io::{AsyncRead, AsyncWrite};

use super::{StartTls, begins_with, not_offered, refused, talk::Talk};
use crate::{error::Result, tls::protocol_broken};

pub(super) async fn start<S: AsyncRead + AsyncWrite + Unpin + Send>(talk: &mut Talk<S>) -> Result<()> {
    if let Answer::No(words) = answer(talk).await? {
        return Err(refused(&words));
    }
    talk.say(b"CAPA\r\n").await?;
    match answer(talk).await? {
        Answer::Ok => {
            let mut offered = false;
            // The list ends in a line with a single dot (RFC 2449 §5).
            loop {
                let line = talk.line().await?;
                if line == "." {
                    break;
                }
                offered |= begins_with(&line, "STLS");
            }
            if !offered {
                return Err(not_offered(StartTls::Pop3));
            }
        }
        // STLS comes with CAPA: who does not know the one does not offer the other.
        Answer::No(_) => return Err(not_offered(StartTls::Pop3)),
    }
    talk.say(b"STLS\r\n").await?;
    match answer(talk).await? {
        Answer::Ok => Ok(()),
        Answer::No(words) => Err(refused(&words)),
    }
}

enum Answer {
    Ok,
    No(String),
}

/// Reads a status line (RFC 1939 §3).
async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send>(talk: &mut Talk<S>) -> Result<Answer> {
    let line = talk.line().await?;
    if begins_with(&line, "+OK") {
        Ok(Answer::Ok)
    } else if begins_with(&line, "-ERR") {
        Ok(Answer::No(line))
    } else {
        Err(protocol_broken("a line of the server is no POP3 answer"))
    }
}
