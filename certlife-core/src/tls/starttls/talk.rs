//! A conversation in the clear with a server that may be hostile.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::super::{failed, protocol_broken};
use crate::error::{Error, ErrorKind, Result};

/// The longest line, its end included. RFC 5321 §4.5.3.1.5 allows 512 octets, RFC 2449 §4 as many; IMAP servers list
/// their capabilities in one line of a few hundred.
const MAX_LINE: usize = 4_096;
/// The most lines in a conversation: greetings and capabilities have a few dozen.
const MAX_LINES: usize = 200;
/// The most bytes in a conversation.
pub(super) const MAX_TOTAL: usize = 64 << 10;
const CHUNK: usize = 1_024;

/// Both sides of the conversation. The methods fail with [`ErrorKind::Protocol`] where the server says too much or ends
/// the connection.
pub(super) struct Talk<S> {
    stream: S,
    /// What the server said and nobody read yet.
    unread: Vec<u8>,
    heard: usize,
    lines: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Talk<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, unread: Vec::new(), heard: 0, lines: 0 }
    }

    /// Sends bytes.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.map_err(ended)?;
        self.stream.flush().await.map_err(ended)
    }

    /// Reads a line, without its end. Bytes that are no UTF-8 are replaced.
    pub(super) async fn line(&mut self) -> Result<String> {
        self.lines += 1;
        if self.lines > MAX_LINES {
            return Err(protocol_broken("the server says too many lines before TLS"));
        }
        let mut searched = 0;
        loop {
            if let Some(end) = self.unread[searched..].iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=searched + end).collect();
                let text = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(&line);
                return Ok(String::from_utf8_lossy(text).into_owned());
            }
            searched = self.unread.len();
            if searched >= MAX_LINE {
                return Err(protocol_broken("the server says a line that is too long before TLS"));
            }
            self.hear().await?;
        }
    }

    /// Reads `count` bytes.
    pub(super) async fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.unread.len() < count {
            self.hear().await?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Gives the connection back for TLS. What the server said after its go-ahead was not protected, and whoever said it
    /// would have it taken for part of what is: it is refused.
    pub(super) fn end(self) -> Result<S> {
        if self.unread.is_empty() {
            return Ok(self.stream);
        }
        Err(protocol_broken("the server goes on in the clear after it agreed to TLS"))
    }

    async fn hear(&mut self) -> Result<()> {
        let mut chunk = [0; CHUNK];
        let count = self.stream.read(&mut chunk).await.map_err(ended)?;
        if count == 0 {
            return Err(protocol_broken("the server closed the connection before TLS"));
        }
        self.heard += count;
        if self.heard > MAX_TOTAL {
            return Err(protocol_broken("the server says too much before TLS"));
        }
        self.unread.extend_from_slice(&chunk[..count]);
        Ok(())
    }
}

fn ended(cause: std::io::Error) -> Error {
    failed(ErrorKind::Protocol("the connection broke before TLS".into())).because(cause)
}
