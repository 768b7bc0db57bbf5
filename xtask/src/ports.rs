//! Free ports for servers that cannot be told to pick one themselves.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process;

use crate::Result;

/// Below the range from which systems take the ports of outgoing connections, so that none of the
/// thousands that a test run opens lands on a port between its choice here and its use.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// Hands out ports, each once.
pub(crate) struct Ports {
    offset: u16,
}

impl Ports {
    /// Starts at a place that differs between two runs on one machine.
    pub(crate) fn new() -> Self {
        let scattered = process::id().wrapping_mul(97) % u32::from(COUNT);
        Self { offset: u16::try_from(scattered).unwrap_or_default() }
    }

    /// A port that is free on every address, over TCP and UDP.
    ///
    /// On every address, because tests serve beside our servers: same port, another `127.0.0.x`.
    pub(crate) fn take(&mut self) -> Result<u16> {
        for _ in 0..COUNT {
            self.offset = (self.offset + 1) % COUNT;
            let port = FIRST + self.offset;
            let everywhere = (Ipv4Addr::UNSPECIFIED, port);
            if TcpListener::bind(everywhere).is_ok() && UdpSocket::bind(everywhere).is_ok() {
                return Ok(port);
            }
        }
        Err("no free port on this machine".into())
    }
}
