//! One DNS message to one server and the bytes that come back.
//!
//! The bytes matter, because a TSIG covers them as they were on the wire (RFC 8945 §4.2). What they mean is
//! the caller's business; here they are only matched to the message by id, opcode and direction. Each
//! exchange has a socket of its own, so that source ports are as random as the operating system makes them.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use super::NoAnswer;

/// The fixed header of a message (RFC 1035 §4.1.1).
const HEADER: usize = 12;
/// What fits a datagram that we read; we advertise less, but some servers ignore that.
const DATAGRAM: usize = 4_096;
/// What fits a datagram that we send without risking fragments (RFC 9715 §3.1).
const SENDABLE: usize = 1_232;

/// How DNS messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a new way is a decision for every caller")]
pub enum Transport {
    /// UDP, then TCP if the answer is cut short or does not come (RFC 7766 §5).
    #[default]
    Udp,
    /// TCP alone.
    Tcp,
}

/// Sends single DNS messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "these two settings are all there is")]
pub struct Exchange {
    /// How the message travels.
    pub transport: Transport,
    /// How long everything together may take, the change to TCP included.
    pub timeout: Duration,
}

impl Exchange {
    /// Sends `message` to `server` and returns the answer: same id, same opcode, marked as a response.
    ///
    /// Over UDP the message is sent at most twice, so it must be harmless to repeat. Dropping the call leaves
    /// open whether the message arrived.
    ///
    /// # Errors
    ///
    /// As [`NoAnswer`] says; `Malformed` also for a `message` that is not a DNS message.
    pub async fn send(&self, server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
        if message.len() < HEADER {
            return Err(NoAnswer::Malformed);
        }
        let deadline = Instant::now() + self.timeout;
        let mut may_have_arrived = false;
        if self.transport == Transport::Udp && message.len() <= SENDABLE {
            match self.by_udp(server, message).await {
                Ok(answer) if !is_truncated(&answer) => return Ok(answer),
                Err(NoAnswer::NoRoute) => return Err(NoAnswer::NoRoute),
                outcome => may_have_arrived = outcome != Err(NoAnswer::Unreachable),
            }
        }
        match timeout_at(deadline, by_tcp(server, message)).await.unwrap_or(Err(NoAnswer::Timeout)) {
            Err(NoAnswer::Unreachable) if may_have_arrived => Err(NoAnswer::Timeout),
            outcome => outcome,
        }
    }

    /// Uses half of the time, in two tries; the other half is for TCP.
    async fn by_udp(&self, server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
        let local = if server.is_ipv4() {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        let socket = UdpSocket::bind(local).await.map_err(|_| NoAnswer::NoRoute)?;
        // Once connected, only datagrams of this server are received, and its refusal is told.
        socket.connect(server).await.map_err(|error| failure(&error))?;
        for _ in 0..2 {
            socket.send(message).await.map_err(|error| failure(&error))?;
            let deadline = Instant::now() + self.timeout / 4;
            match timeout_at(deadline, matching_datagram(&socket, message)).await {
                Ok(outcome) => return outcome,
                Err(_elapsed) => {}
            }
        }
        Err(NoAnswer::Timeout)
    }
}

/// Waits for the datagram that belongs to `message`; others may be forged or late, and are passed over.
async fn matching_datagram(socket: &UdpSocket, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(|error| failure(&error))?;
        if answers(message, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn by_tcp(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, NoAnswer> {
    let length = u16::try_from(message.len()).map_err(|_| NoAnswer::Malformed)?;
    let mut stream = TcpStream::connect(server).await.map_err(|error| failure(&error))?;
    // Length and message in one segment (RFC 7766 §8).
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await.map_err(|_| NoAnswer::HungUp)?;
    let length = stream.read_u16().await.map_err(|_| NoAnswer::HungUp)?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(|_| NoAnswer::HungUp)?;
    if answers(message, &answer) { Ok(answer) } else { Err(NoAnswer::Malformed) }
}

/// Whether the header of `answer` fits the one of `message`: id, opcode, and QR set (RFC 1035 §4.1.1).
fn answers(message: &[u8], answer: &[u8]) -> bool {
    const OPCODE: u8 = 0b0111_1000;
    answer.len() >= HEADER
        && answer[..2] == message[..2]
        && answer[2] & 0x80 != 0
        && answer[2] & OPCODE == message[2] & OPCODE
}

fn is_truncated(answer: &[u8]) -> bool {
    answer[2] & 0b10 != 0
}

fn failure(error: &io::Error) -> NoAnswer {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => NoAnswer::NoRoute,
        io::ErrorKind::TimedOut => NoAnswer::Timeout,
        _ => NoAnswer::Unreachable,
    }
}
