//! `PostgreSQL`: `SSLRequest` and an answer of one byte
//! ([Message flow, "SSL Session Encryption"](https://www.postgresql.org/docs/current/protocol-flow.html)).

use tokio::io::{AsyncRead, AsyncWrite};

use super::{StartTls, not_offered, talk::Talk};
use crate::{error::Result, tls::protocol_broken};

/// The length of the message, 8, and the request code, 1234 in its upper half and 5679 in the lower.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

pub(super) async fn start<S: AsyncRead + AsyncWrite + Unpin + Send>(talk: &mut Talk<S>) -> Result<()> {
    talk.say(&SSL_REQUEST).await?;
    match talk.bytes(1).await?[0] {
        b'S' => Ok(()),
        b'N' => Err(not_offered(StartTls::PostgreSql)),
        // What follows an `E` was not authenticated and must not be shown (the same page says so).
        b'E' => Err(protocol_broken("the server reports an error instead of an answer about TLS")),
        _ => Err(protocol_broken("the server does not answer as a PostgreSQL server does")),
    }
}
