//! The textual encoding of RFC 7468, read leniently (text around blocks, CRLF, any line length) and
//! written strictly. Block contents are wiped when dropped, because some are private keys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
/// Characters in a line (RFC 7468 §2).
const LINE: usize = 64;

/// One block of a PEM text.
pub(crate) struct Block<'a> {
    /// What the block holds, such as `CERTIFICATE`.
    pub(crate) label: &'a str,
    /// Whether its header says that it is encrypted (RFC 1421 §4.6.1.1), so that `der` is not DER.
    pub(crate) encrypted: bool,
    /// The decoded content.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Reads every block of `text`, in order; text outside blocks is skipped.
///
/// # Errors
///
/// The rule that the first bad block breaks.
pub(crate) fn blocks(text: &str) -> Result<Vec<Block<'_>>, &'static str> {
    let mut found = Vec::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) {
            found.push(block(label, &mut lines)?);
        }
    }
    Ok(found)
}

fn block<'a>(label: &'a str, lines: &mut impl Iterator<Item = &'a str>) -> Result<Block<'a>, &'static str> {
    let mut encrypted = false;
    // With room for all, nothing is left behind unwiped when the buffer grows.
    let mut base64 = Zeroizing::new(Vec::with_capacity(4_096));
    for line in lines {
        if let Some(end) = line.strip_prefix(END) {
            if end.strip_suffix(DASHES) != Some(label) {
                return Err("a PEM block ends under another name than it begins");
            }
            let mut der = Zeroizing::new(Vec::with_capacity(base64.len()));
            return match STANDARD.decode_vec(&*base64, &mut der) {
                Ok(()) => Ok(Block { label, encrypted, der }),
                Err(_) if encrypted => Ok(Block { label, encrypted, der: Zeroizing::default() }),
                Err(_) => Err("a PEM block holds something else than Base64"),
            };
        }
        if line.starts_with(BEGIN) {
            return Err("a PEM block begins inside another");
        }
        // Headers of RFC 1421 hold a colon, which Base64 does not.
        if line.contains(':') {
            encrypted |= line.contains("ENCRYPTED");
        } else {
            base64.extend(line.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        }
    }
    Err("a PEM block has no end")
}

/// Writes one block, with lines of 64 characters and a line break at the end (RFC 7468 §3).
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    let frame = BEGIN.len() + END.len() + 2 * (label.len() + DASHES.len() + 1);
    let mut text = String::with_capacity(frame + base64.len() + base64.len().div_ceil(LINE));
    for part in [BEGIN, label, DASHES, "\n"] {
        text.push_str(part);
    }
    let mut rest = &**base64;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    for part in [END, label, DASHES, "\n"] {
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_around_blocks_headers_and_line_ends_do_not_matter() {
        let text = "\u{feff}subject: CN=a\r\n-----BEGIN A-----\r\nX-Note: b\r\n\r\nAQ\r\n  ID\r\n-----END A-----\r\nnoise\n\
                    -----BEGIN B B-----\nBA==\n-----END B B-----";
        let found = blocks(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].label, &**found[0].der), ("A", &[1, 2, 3][..]));
        assert_eq!((found[1].label, &**found[1].der), ("B B", &[4][..]));
    }

    #[test]
    fn broken_blocks_are_named() {
        for (text, rule) in [
            ("-----BEGIN A-----\nAQID\n", "no end"),
            ("-----BEGIN A-----\nAQID\n-----END B-----\n", "another name"),
            ("-----BEGIN A-----\n-----BEGIN A-----\n", "inside another"),
            ("-----BEGIN A-----\n!\n-----END A-----\n", "Base64"),
        ] {
            assert!(blocks(text).err().unwrap().contains(rule), "{text}");
        }
    }

    #[test]
    fn an_encrypted_block_is_told_apart() {
        let text = "-----BEGIN K-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES,0\n\nAQID\n-----END K-----\n";
        assert!(blocks(text).unwrap()[0].encrypted);
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("CERTIFICATE", &der);
            prop_assert!(text.lines().all(|line| line.len() <= LINE));
            prop_assert_eq!(&**blocks(&text).unwrap()[0].der, &der[..]);
        }

        #[test]
        fn any_text_is_survived(text in "(-----(BEGIN|END) [A-B]-----|[A-Za-z:=]{0,8}|\n){0,20}") {
            let _ = blocks(&text);
        }
    }
}
