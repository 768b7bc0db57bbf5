//! Turns BER into DER, as far as key stores need it: lengths that are left open, and octet strings in pieces. Firefox
//! writes PKCS#12 so, and some CAs PKCS#7.

use std::borrow::Cow;

use zeroize::Zeroizing;

use super::tlv;

/// How deep elements may be nested.
const MAX_DEPTH: usize = 32;
const CONSTRUCTED_OCTET_STRING: u8 = 0x24;
const OPEN: u8 = 0x80;

type Elements<'a> = Vec<Cow<'a, [u8]>>;

/// Gives DER back as it is, and BER as DER. None if it is neither, or something follows it.
///
/// Elements in which no length is open stay as they came, so that certificates do.
pub(super) fn to_der(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (element, rest) = element(bytes, 0)?;
    rest.is_empty().then_some(element)
}

/// Reads one element; returns it and what follows.
fn element(bytes: &[u8], depth: usize) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let (tag, after_tag) = bytes.split_first()?;
    // Tags of more than one octet appear in no key store.
    if depth > MAX_DEPTH || tag & 0x1f == 0x1f {
        return None;
    }
    let constructed = tag & 0x20 != 0;
    if after_tag.first() == Some(&OPEN) {
        let (content, rest) = open(after_tag.get(1..)?, depth)?;
        return constructed.then(|| (Cow::Owned(written(*tag, &content)), rest));
    }
    let (length, header) = length(after_tag)?;
    let end = 1 + header + length;
    let (whole, rest) = bytes.split_at_checked(end)?;
    if !constructed {
        return Some((Cow::Borrowed(whole), rest));
    }
    let content = &whole[1 + header..];
    // What is inside a constructed element may be anything: it counts if it reads.
    match elements(content, depth) {
        Some(parts) if *tag == CONSTRUCTED_OCTET_STRING || changed(&parts) => {
            Some((Cow::Owned(written(*tag, &parts)), rest))
        }
        _ => Some((Cow::Borrowed(whole), rest)),
    }
}

fn changed(parts: &[Cow<'_, [u8]>]) -> bool {
    parts.iter().any(|part| matches!(part, Cow::Owned(_)))
}

/// Reads elements up to the end.
fn elements(mut content: &[u8], depth: usize) -> Option<Elements<'_>> {
    let mut parts = Vec::new();
    while !content.is_empty() {
        let (part, rest) = element(content, depth + 1)?;
        parts.push(part);
        content = rest;
    }
    Some(parts)
}

/// Reads elements up to the end-of-contents octets (X.690 §8.1.5).
fn open(mut content: &[u8], depth: usize) -> Option<(Elements<'_>, &[u8])> {
    let mut parts = Vec::new();
    loop {
        if let Some(rest) = content.strip_prefix(&[0, 0]) {
            return Some((parts, rest));
        }
        let (part, rest) = element(content, depth + 1)?;
        parts.push(part);
        content = rest;
    }
}

/// Writes a constructed element; an octet string in pieces becomes one.
fn written(tag: u8, parts: &[Cow<'_, [u8]>]) -> Vec<u8> {
    let joined = Zeroizing::new(if tag == CONSTRUCTED_OCTET_STRING { pieces(parts) } else { parts.concat() });
    let tag = if tag == CONSTRUCTED_OCTET_STRING { tlv::OCTET_STRING } else { tag };
    tlv::element(tag, &[&joined]).to_vec()
}

/// The contents of octet strings, one after the other.
pub(super) fn pieces<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let content = |part: &[u8]| {
        let (length, header) = length(part.get(1..)?)?;
        part.get(1 + header..1 + header + length).map(<[u8]>::to_vec)
    };
    parts.iter().filter_map(|part| content(part.as_ref())).flatten().collect()
}

/// Reads a definite length; returns it and how many octets it has.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.first()?;
    if first < 0x80 {
        return Some((usize::from(first), 1));
    }
    let count = usize::from(first & 0x7f);
    // Four octets say more than any file that is read.
    if !(1..=4).contains(&count) {
        return None;
    }
    let octets = bytes.get(1..=count)?;
    let length = octets.iter().try_fold(0_usize, |length, octet| {
        length.checked_mul(256).map(|length| length + usize::from(*octet))
    })?;
    // No element is larger than what holds it.
    (length <= bytes.len()).then_some((length, 1 + count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn open_lengths_are_closed_and_pieces_joined() {
        let ber = [0x30, 0x80, 0x24, 0x80, 0x04, 0x01, 7, 0x04, 0x02, 8, 9, 0, 0, 0x02, 0x01, 5, 0, 0];
        assert_eq!(&*to_der(&ber).unwrap(), [0x30, 0x08, 0x04, 0x03, 7, 8, 9, 0x02, 0x01, 5]);
        let der = [0x30, 0x03, 0x02, 0x01, 5];
        assert!(matches!(to_der(&der), Some(Cow::Borrowed(_))));
        for broken in
            [&der[..4], &[0x30, 0x80, 0x02, 0x01, 5], &[0x04, 0x80, 0, 0], &[0x30, 0x03, 2, 1, 5, 0], &[]]
        {
            assert!(to_der(broken).is_none(), "{broken:?}");
        }
        let deep = [0x30, 0x80].repeat(1_000_000);
        assert!(to_der(&deep).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = to_der(&bytes);
        }

        #[test]
        fn any_nesting_is_survived(
            bytes in proptest::collection::vec(prop_oneof![Just(0x30), Just(0x24), Just(0x80), Just(0), Just(4), 0_u8..8], 0..64),
        ) {
            let _ = to_der(&bytes);
        }
    }
}
