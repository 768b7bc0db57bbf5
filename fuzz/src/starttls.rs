//! Servers that begin in the clear.

use std::{io::Cursor, sync::OnceLock, time::Duration};

use certlife_core::tls::{self, StartTls};
use tokio::{
    io::{AsyncReadExt as _, join, sink},
    runtime::Runtime,
};

use super::http_peer::runtime;

/// The most that is heard of a server before TLS, and what one reading may bring beyond that.
const MAX_HEARD: u64 = (64 << 10) + (1 << 10);
/// Stands between what a server says in the clear and what it says as TLS.
const BEGIN: u8 = 0x1e;

/// What a server says. The first byte gives the protocol.
pub fn starttls(data: &[u8]) -> bool {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let [protocol, said @ ..] = data else { return false };
    let protocols = [StartTls::Smtp, StartTls::Imap, StartTls::Pop3, StartTls::Ldap, StartTls::PostgreSql];
    let protocol = protocols[usize::from(*protocol) % protocols.len()];
    let begin = said.iter().position(|byte| *byte == BEGIN).unwrap_or(said.len());
    let (clear, tls) = (&said[..begin], &said[(begin + 1).min(said.len())..]);
    let patience = Duration::from_mins(1);
    RUNTIME.get_or_init(runtime).block_on(async {
        let mut server = Cursor::new(clear).chain(Cursor::new(tls));
        let negotiated = protocol.negotiate(join(&mut server, sink()), patience).await;
        let accepted = negotiated.is_ok();
        if let Err(error) = negotiated {
            assert!(!error.chain().contains(char::is_control), "{}", error.chain());
        }
        let (clear, tls) = server.get_ref();
        assert!(clear.position() + tls.position() <= MAX_HEARD);
        if accepted {
            // Nobody has signed our handshake.
            let shown = tls::served_over(join(&mut server, sink()), None, &[], patience).await;
            let error = shown.expect_err("what was written down beforehand passes for a handshake");
            assert!(!error.chain().contains(char::is_control), "{}", error.chain());
        }
        accepted
    })
}
