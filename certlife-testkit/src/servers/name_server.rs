//! A DNS server seen from outside any provider under test, through the tools of BIND.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// An authoritative server of the test zones.
///
/// Every zone names `ns1.certlife.test` (127.0.0.1) as its server; whoever asks has to know the port. All
/// records live one second in caches. Zones may be transferred from loopback by anybody.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct NameServer {
    /// The server as it names itself, such as `knot`.
    pub software: String,
    /// Where it answers questions and takes updates, over UDP and TCP.
    pub address: SocketAddr,
    /// The zone for most tests. Give each test names of its own.
    pub zone: String,
    /// A zone of its own, delegated from within [`zone`](Self::zone).
    pub sub_zone: String,
    /// Zones without records, for tests that count what is left of a whole zone. Share them out by name.
    pub spare_zones: Vec<String>,
    /// A zone that no key may update.
    pub read_only_zone: String,
    /// One key an algorithm that the server supports. Each may update every zone but
    /// [`limited`](Self::limited) and [`read_only_zone`](Self::read_only_zone).
    pub keys: Vec<TsigKey>,
    /// A zone whose only key may do the least that `dns-01` needs.
    pub limited: Limited,
    pub(super) dig: PathBuf,
    nsupdate: PathBuf,
}

/// A shared secret for TSIG, RFC 8945.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct TsigKey {
    /// The name under which the server knows the key.
    pub name: String,
    /// The algorithm as servers spell it, such as `hmac-sha256`.
    pub algorithm: String,
    /// The secret in base64.
    pub secret: String,
}

/// A zone that is writable at a few names only, and there for TXT records only.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Limited {
    /// The zone.
    pub zone: String,
    /// The owner names that [`key`](Self::key) may change.
    pub owners: Vec<String>,
    /// The key.
    pub key: TsigKey,
}

/// One resource record, as `dig` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsRecord {
    /// The owner name in lower case, without the final dot.
    pub owner: String,
    /// The type, such as `TXT`.
    pub kind: String,
    /// The data in presentation form.
    pub data: String,
}

impl NameServer {
    /// Finds the key of one algorithm.
    pub fn key(&self, algorithm: &str) -> &TsigKey {
        let known = || self.keys.iter().map(|key| key.algorithm.as_str()).collect::<Vec<_>>();
        self.keys
            .iter()
            .find(|key| key.algorithm == algorithm)
            .unwrap_or_else(|| panic!("{} has no key for {algorithm}, only for {:?}", self.software, known()))
    }

    /// Reads the TXT values at exactly `name`, sorted; an alias there is not followed.
    pub async fn txt_values(&self, name: &str) -> Vec<String> {
        let answer = dig(&self.dig, self.address, &[name, "TXT", "+norecurse"]).await;
        txt_values(answer.iter().filter(|record| record.owner == plain(name)))
    }

    /// Counts the TXT records of a whole zone.
    pub async fn txt_count(&self, zone: &str) -> usize {
        self.records(zone).await.iter().filter(|record| record.kind == "TXT").count()
    }

    /// Transfers a whole zone. As on the wire, its SOA record comes first and last.
    pub async fn records(&self, zone: &str) -> Vec<DnsRecord> {
        let records = dig(&self.dig, self.address, &[zone, "AXFR"]).await;
        assert!(
            records.iter().any(|record| record.kind == "SOA"),
            "{} does not transfer {zone}",
            self.software
        );
        records
    }

    /// Sends one signed update, written in the language of nsupdate(1): `update add …`, `update delete …`.
    ///
    /// # Errors
    ///
    /// What nsupdate printed, if the server refused.
    pub async fn update(&self, key: &TsigKey, zone: &str, commands: &[&str]) -> Result<(), String> {
        let server = format!("server {} {}", self.address.ip(), self.address.port());
        let zone = format!("zone {zone}");
        let script = [&[server.as_str(), zone.as_str()], commands, &["send", ""]].concat().join("\n");
        let mut nsupdate = Command::new(&self.nsupdate);
        nsupdate.args(["-y", &format!("{}:{}:{}", key.algorithm, key.name, key.secret)]);
        nsupdate.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);

        let mut nsupdate = nsupdate.spawn().expect("nsupdate starts");
        let mut input = nsupdate.stdin.take().expect("its input is a pipe");
        input.write_all(script.as_bytes()).await.expect("nsupdate reads its commands");
        drop(input);
        let output = nsupdate.wait_with_output().await.expect("nsupdate ends");
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

pub(super) async fn dig(program: &Path, server: SocketAddr, question: &[&str]) -> Vec<DnsRecord> {
    let (address, port) = (format!("@{}", server.ip()), server.port().to_string());
    let mut dig = Command::new(program);
    // Without the user's own settings, and over TCP, so that no answer is cut short.
    dig.args(["-r", &address, "-p", &port, "+tcp", "+noall", "+answer"]).args(question);
    let output = dig.kill_on_drop(true).output().await.expect("dig starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "dig {question:?}: {text}");
    text.lines().filter_map(DnsRecord::parse).collect()
}

pub(super) fn txt_values<'a>(records: impl IntoIterator<Item = &'a DnsRecord>) -> Vec<String> {
    let texts = records.into_iter().filter(|record| record.kind == "TXT");
    let mut values: Vec<String> = texts.map(|record| joined_strings(&record.data)).collect();
    values.sort();
    values
}

impl DnsRecord {
    /// Reads a line of master file format with all its fields; `None` for comments and blank lines.
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with(';') {
            return None;
        }
        let mut rest = line;
        let mut field = || {
            let (field, after) = rest.trim_start().split_once(char::is_whitespace)?;
            rest = after;
            Some(field)
        };
        let (owner, _ttl, _class, kind) = (field()?, field()?, field()?, field()?);
        Some(Self { owner: plain(owner), kind: kind.to_owned(), data: rest.trim().to_owned() })
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Puts the quoted strings of a TXT record together (RFC 1035 §5.1: `\"`, `\\`, `\DDD`).
fn joined_strings(data: &str) -> String {
    let mut joined = Vec::new();
    let mut bytes = data.bytes();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => {
                let first = bytes.next().unwrap_or(b'\\');
                joined.push(if first.is_ascii_digit() { decimal(first, &mut bytes) } else { first });
            }
            _ if quoted => joined.push(byte),
            _ => {}
        }
    }
    String::from_utf8_lossy(&joined).into_owned()
}

fn decimal(first: u8, rest: &mut impl Iterator<Item = u8>) -> u8 {
    let digits = std::iter::once(first).chain(rest.take(2));
    digits.fold(0, |value: u8, digit| value.wrapping_mul(10).wrapping_add(digit.wrapping_sub(b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_dig_becomes_a_record() {
        let record = DnsRecord::parse("_acme-Challenge.a.test.\t1\tIN\tTXT\t\"one\" \"two\"").unwrap();
        assert_eq!(record.owner, "_acme-challenge.a.test");
        assert_eq!((record.kind.as_str(), joined_strings(&record.data).as_str()), ("TXT", "onetwo"));
    }

    #[test]
    fn comments_and_blank_lines_are_no_records() {
        assert_eq!(DnsRecord::parse("; Transfer failed."), None);
        assert_eq!(DnsRecord::parse(""), None);
    }

    #[test]
    fn quotes_backslashes_and_bytes_are_unescaped() {
        assert_eq!(joined_strings(r#""a \"b\" \\ \228\184\173 ;""#), "a \"b\" \\ 中 ;");
    }
}
