//! Finds secrets in whatever form they may have slipped into a text or file.

use std::collections::{BTreeSet, HashMap};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// Secrets, each in every form that is looked for.
#[derive(Default)]
pub(crate) struct Scanner {
    forms: Vec<Form>,
    /// The forms by how they begin, so that one pass looks for all.
    by_start: HashMap<Vec<u8>, Vec<usize>>,
}

/// How many bytes tell whether it is worth looking closer.
const START: usize = 4;

struct Form {
    secret: &'static str,
    form: String,
    bytes: Vec<u8>,
}

impl Scanner {
    /// Looks for `bytes`, of which there are at least 16, from now on.
    pub(crate) fn add(&mut self, secret: &'static str, bytes: &[u8]) {
        assert!(bytes.len() >= 16, "{secret} is so short that chance would find it");
        let mut add = |form: &str, bytes: Vec<u8>| {
            let start = bytes[..START].to_vec();
            self.by_start.entry(start).or_default().push(self.forms.len());
            self.forms.push(Form { secret, form: form.to_owned(), bytes });
        };
        add("raw", bytes.to_vec());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        add("hexadecimal", hex.to_uppercase().into_bytes());
        add("hexadecimal", hex.into_bytes());
        add("Debug", format!("{bytes:?}").trim_matches(['[', ']']).to_owned().into_bytes());
        add("JSON", format!("{bytes:?}").trim_matches(['[', ']']).replace(' ', "").into_bytes());
        add("reversed", bytes.iter().rev().copied().collect());
        for before in 0..3 {
            let base64 = base64_within(bytes, before);
            add(&format!("base64url at {before}"), base64.replace('+', "-").replace('/', "_").into_bytes());
            add(&format!("base64 at {before}"), base64.into_bytes());
        }
    }

    /// Adds a private key: as PKCS#8 and by its private number alone.
    pub(crate) fn add_p256(&mut self, secret: &'static str, pkcs8: &[u8]) {
        /// Version 1 of SEC 1's structure, and an octet string of 32 bytes (RFC 5915 §3).
        const BEFORE: [u8; 5] = [2, 1, 1, 4, 32];
        let at = pkcs8.windows(5).position(|window| window == BEFORE).expect("a P-256 key") + 5;
        self.add(secret, pkcs8);
        self.add(secret, &pkcs8[at..at + 32]);
    }

    /// What is in `data`, if anything is: `secret (form)`.
    pub(crate) fn find(&self, data: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for view in views(data) {
            for (at, start) in view.windows(START).enumerate() {
                for &number in self.by_start.get(start).into_iter().flatten() {
                    let Form { secret, form, bytes } = &self.forms[number];
                    if view[at..].starts_with(bytes) {
                        found.insert(format!("{secret} ({form})"));
                    }
                }
            }
        }
        found
    }

    /// Every form, in a text that holds it, with the name under which it is to be found.
    pub(crate) fn samples(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.forms.iter().map(|Form { secret, form, bytes }| {
            let sample = [b"before \xff", &bytes[..], b" after"].concat();
            (format!("{secret} ({form})"), sample)
        })
    }
}

/// The characters that `bytes` have in the base64 of a longer text, with `before` bytes in front.
fn base64_within(bytes: &[u8], before: usize) -> String {
    let text = STANDARD_NO_PAD.encode([&vec![0; before][..], bytes].concat());
    // The first characters hold bits of what stands before, and the last one may hold bits of what follows.
    let first = (before * 8).div_ceil(6);
    let last = (before + bytes.len()) * 8 / 6;
    text[first..last].to_owned()
}

/// The data as it is, and without what breaks long lines: white space, and line breaks in JSON strings.
fn views(data: &[u8]) -> [Vec<u8>; 2] {
    let mut joined: Vec<u8> = Vec::with_capacity(data.len());
    let mut rest = data;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match rest {
            [b'\\', b'n' | b'r', after @ ..] => after,
            _ => {
                if !byte.is_ascii_whitespace() {
                    joined.push(byte);
                }
                after
            }
        };
    }
    [data.to_vec(), joined]
}
