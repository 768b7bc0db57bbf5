//! Transaction signatures, [RFC 8945](https://www.rfc-editor.org/rfc/rfc8945).
//!
//! Written here rather than taken from hickory, because that knows half of the algorithms and does not tell
//! why a server refused a signature. It works on the bytes as they are on the wire.

use std::{fmt, str::FromStr};

use aws_lc_rs::{constant_time, hmac};
use base64::{
    Engine as _,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use certlife_core::{Fqdn, InputError, Secret, SecretBytes};
use hickory_proto::{
    op::Message,
    rr::rdata::tsig::{TSIG, TsigError},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// How far clocks may differ, in seconds (RFC 8945 §10).
pub(super) const FUDGE: u16 = 300;
/// CLASS ANY.
const ANY: u16 = 255;
/// TYPE TSIG.
const TSIG_TYPE: u16 = 250;
/// The fixed header of a message.
const HEADER: usize = 12;

/// Base64 with or without padding, since both are found in key files.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// An algorithm of RFC 8945 §6, untruncated.
///
/// Reads any usual spelling: `hmac-sha256`, `HMAC-SHA256.`, `HMACSHA256`, and for MD5 also the name on the
/// wire, `hmac-md5.sig-alg.reg.int`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a new one is a new RFC")]
pub enum Algorithm {
    /// Broken, and here for old servers only.
    HmacMd5,
    /// Not recommended.
    HmacSha1,
    /// Uncommon.
    HmacSha224,
    /// The one to use.
    #[default]
    HmacSha256,
    /// Fine.
    HmacSha384,
    /// Fine.
    HmacSha512,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [
        Self::HmacMd5,
        Self::HmacSha1,
        Self::HmacSha224,
        Self::HmacSha256,
        Self::HmacSha384,
        Self::HmacSha512,
    ];

    /// The usual spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacMd5 => "hmac-md5",
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha224 => "hmac-sha224",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    /// What should be looked at in its use.
    pub(super) fn warning(self) -> Option<&'static str> {
        match self {
            Self::HmacMd5 => {
                Some("hmac-md5 must not be used any more (RFC 8945 §6); make a key for hmac-sha256")
            }
            Self::HmacSha1 => Some("hmac-sha1 is not recommended (RFC 8945 §6); make a key for hmac-sha256"),
            _ => None,
        }
    }

    pub(super) fn name_on_wire(self) -> &'static str {
        match self {
            Self::HmacMd5 => "hmac-md5.sig-alg.reg.int",
            other => other.as_str(),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let plain: String = text.trim().trim_end_matches('.').to_ascii_lowercase();
        let plain = plain.strip_suffix(".sig-alg.reg.int").unwrap_or(&plain).replace(['-', '_'], "");
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().replace('-', "") == plain).ok_or_else(
            || {
                InputError::setting(
                    "algorithm",
                    format!("use one of {}", Self::ALL.map(Self::as_str).join(", ")),
                )
            },
        )
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Algorithm {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TsigAlgorithm".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str), "default": "hmac-sha256" })
    }
}

/// A key: name, algorithm and secret. All three have to be as the server has them.
#[derive(Clone)]
pub(super) struct Key {
    name: Fqdn,
    algorithm: Algorithm,
    secret: SecretBytes,
}

/// A message with its signature at the end, and the MAC that the answer's signature covers.
pub(super) struct Signed {
    pub(super) bytes: Vec<u8>,
    pub(super) mac: Vec<u8>,
}

/// Why a signature cannot be trusted, or was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Distrust {
    #[error("BADSIG: the server knows the key's name, but the secret or the algorithm differs")]
    BadSig,
    #[error(
        "BADKEY: the server knows no such key, knows it for another algorithm, or (Knot) has no ACL that lets \
         it ask and update here"
    )]
    BadKey,
    #[error("BADTIME: the clocks differ too much: here it is {ours}, there {theirs} (seconds since 1970)")]
    BadTime { ours: i64, theirs: u64 },
    #[error("BADTRUNC: the server wants a longer signature")]
    BadTrunc,
    #[error("the server refuses the signature with TSIG error {0}")]
    Unknown(u16),
    #[error("the answer is not signed")]
    Unsigned,
    #[error("the answer is signed with another key")]
    OtherKey,
    #[error("the signature of the answer is wrong")]
    Forged,
    #[error("the answer was signed too long ago or in the future")]
    Stale,
}

impl Key {
    /// Reads the secret from base64, in which blanks and line breaks are ignored.
    pub(super) fn new(name: Fqdn, algorithm: Algorithm, secret: &Secret) -> Result<Self, InputError> {
        let compact: Secret = secret.expose().split_whitespace().collect::<String>().into();
        let bytes = BASE64
            .decode(compact.expose())
            .map_err(|_| InputError::setting("key_secret", "is base64, as in the key file of the server"))?;
        if bytes.is_empty() {
            return Err(InputError::setting("key_secret", "must not be empty"));
        }
        Ok(Self { name, algorithm, secret: bytes.into() })
    }

    pub(super) fn name(&self) -> &Fqdn {
        &self.name
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs a message that has no signature yet (RFC 8945 §5.1). `now` is in seconds since 1970.
    pub(super) fn sign(&self, message: &[u8], now: i64) -> Signed {
        let time = u64::try_from(now).unwrap_or_default();
        let mac = self.mac(&[message, &self.variables(time, FUDGE, 0, &[])]);
        let mut bytes = message.to_vec();
        let additional = u16::from_be_bytes([message[10], message[11]]).wrapping_add(1);
        bytes[10..12].copy_from_slice(&additional.to_be_bytes());
        self.append_record(&mut bytes, time, &mac, [message[0], message[1]]);
        Signed { bytes, mac }
    }

    pub(super) fn append_record(&self, bytes: &mut Vec<u8>, time: u64, mac: &[u8], original_id: [u8; 2]) {
        let mut data = wire_name(self.algorithm.name_on_wire());
        data.extend_from_slice(&time.to_be_bytes()[2..]);
        data.extend_from_slice(&FUDGE.to_be_bytes());
        data.extend_from_slice(&length(mac));
        data.extend_from_slice(mac);
        data.extend_from_slice(&original_id);
        // No error, no other data.
        data.extend_from_slice(&[0; 4]);

        bytes.extend(wire_name(self.name.as_str()));
        bytes.extend_from_slice(&TSIG_TYPE.to_be_bytes());
        bytes.extend_from_slice(&ANY.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&length(&data));
        bytes.extend(data);
    }

    /// Checks the signature of an answer to what was signed with `request_mac` (RFC 8945 §5.3, §5.4).
    ///
    /// What a server says in a refusal is reported although BADSIG and BADKEY are not signed themselves; it
    /// is never taken for success.
    pub(super) fn verify(
        &self,
        answer: &[u8],
        parsed: &Message,
        request_mac: &[u8],
        now: i64,
    ) -> Result<(), Distrust> {
        let record = parsed.signature.as_ref().ok_or(Distrust::Unsigned)?;
        let tsig = &record.data;
        match tsig.error {
            Some(TsigError::BadSig) => return Err(Distrust::BadSig),
            Some(TsigError::BadKey) => return Err(Distrust::BadKey),
            Some(TsigError::BadTrunc) => return Err(Distrust::BadTrunc),
            Some(TsigError::BadTime) => {
                return Err(Distrust::BadTime { ours: now, theirs: server_time(tsig) });
            }
            Some(TsigError::Unknown(code)) => return Err(Distrust::Unknown(code)),
            None => {}
        }
        let same = |name: &hickory_proto::rr::Name, ours: &str| {
            name.to_ascii().trim_end_matches('.').eq_ignore_ascii_case(ours)
        };
        if !same(&record.name, self.name.as_str())
            || !same(&tsig.algorithm.to_name(), self.algorithm.name_on_wire())
        {
            return Err(Distrust::OtherKey);
        }
        let start = last_record(answer).ok_or(Distrust::Unsigned)?;
        let mut unsigned = answer[..start].to_vec();
        unsigned[..2].copy_from_slice(&tsig.oid.to_be_bytes());
        let additional = u16::from_be_bytes([answer[10], answer[11]]).wrapping_sub(1);
        unsigned[10..12].copy_from_slice(&additional.to_be_bytes());
        let variables = self.variables(tsig.time, tsig.fudge, 0, &tsig.other);
        let expected = self.mac(&[&length(request_mac), request_mac, &unsigned, &variables]);
        constant_time::verify_slices_are_equal(&expected, &tsig.mac).map_err(|_| Distrust::Forged)?;
        let apart = i128::from(tsig.time).abs_diff(i128::from(now));
        if apart > u128::from(tsig.fudge.max(FUDGE)) { Err(Distrust::Stale) } else { Ok(()) }
    }

    /// The TSIG variables, RFC 8945 §4.3.3.
    pub(super) fn variables(&self, time: u64, fudge: u16, error: u16, other: &[u8]) -> Vec<u8> {
        let mut bytes = wire_name(self.name.as_str());
        bytes.extend_from_slice(&ANY.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend(wire_name(self.algorithm.name_on_wire()));
        bytes.extend_from_slice(&time.to_be_bytes()[2..]);
        bytes.extend_from_slice(&fudge.to_be_bytes());
        bytes.extend_from_slice(&error.to_be_bytes());
        bytes.extend_from_slice(&length(other));
        bytes.extend_from_slice(other);
        bytes
    }

    pub(super) fn mac(&self, parts: &[&[u8]]) -> Vec<u8> {
        let algorithm = match self.algorithm {
            Algorithm::HmacMd5 => return md5_mac(self.secret.expose(), parts),
            Algorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::HmacSha224 => hmac::HMAC_SHA224,
            Algorithm::HmacSha256 => hmac::HMAC_SHA256,
            Algorithm::HmacSha384 => hmac::HMAC_SHA384,
            Algorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, self.secret.expose()));
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.name, self.algorithm)
    }
}

/// aws-lc-rs has no HMAC-MD5, for good reasons.
fn md5_mac(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    use ::hmac::{Hmac, KeyInit as _, Mac as _};

    let Ok(mut context) = Hmac::<md5::Md5>::new_from_slice(secret) else {
        unreachable!("HMAC takes keys of any length (RFC 2104 §2)")
    };
    for part in parts {
        context.update(part);
    }
    context.finalize().into_bytes().to_vec()
}

/// The server's clock, in the other data of BADTIME (RFC 8945 §5.2.3).
fn server_time(tsig: &TSIG) -> u64 {
    match <[u8; 6]>::try_from(&*tsig.other) {
        Ok(seconds) => seconds.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        Err(_) => tsig.time,
    }
}

/// A name in canonical wire form: lower case, uncompressed. Both kinds of caller have checked it.
fn wire_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or_default());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

pub(super) fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// Where the last record of a message starts.
pub(super) fn last_record(message: &[u8]) -> Option<usize> {
    let count = |at: usize| Some(usize::from(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?])));
    let (questions, records) = (count(4)?, count(6)? + count(8)? + count(10)?);
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(message, at)? + 4;
    }
    for _ in 1..records {
        let fixed = after_name(message, at)?;
        at = fixed + 10 + count(fixed + 8)?;
    }
    (records > 0 && at < message.len()).then_some(at)
}

fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            label => at += 1 + usize::from(label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values: key, moment and id are the same throughout.
    const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NOW: i64 = 1_768_469_400;
    const UPDATE: &str = "123428000001000000010000076578616d706c6503636f6d00000600010f5f61636d652d6368616c6c656e\
                          6765c00c0010000100000078000403616263";
    const VARIABLES: &str = "0861636d652d6b6579076578616d706c6503636f6d0000ff000000000b686d61632d73686132353600\
                             00006968b398012c00000000";
    const REQUEST_MAC: &str = "3c46124724de693786c247fa9d14d9195d6fc02016561c686682c405e03338f7";
    const ANSWER: &str = "1234a8000001000000000001076578616d706c6503636f6d00000600010861636d652d6b65790765786\
                          16d706c6503636f6d0000fa00ff00000000003d0b686d61632d7368613235360000006968b398012c00\
                          204a4b761a4f7381a462ebb033781bad27b1fb4ed582289298be07f1664cce957d123400000000";
    /// The same update with its signature, whose owner name is compressed.
    const SIGNED: &str = "123428000001000000010001076578616d706c6503636f6d00000600010f5f61636d652d6368616c6c65\
                          6e6765c00c00100001000000780004036162630861636d652d6b6579c00c00fa00ff00000000003d0b68\
                          6d61632d7368613235360000006968b398012c00203c46124724de693786c247fa9d14d9195d6fc02016\
                          561c686682c405e03338f7123400000000";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn key(algorithm: Algorithm) -> Key {
        Key::new("acme-key.example.com".parse().unwrap(), algorithm, &SECRET.into()).unwrap()
    }

    fn verify(key: &Key, answer: &[u8], now: i64) -> Result<(), Distrust> {
        key.verify(answer, &Message::from_vec(answer).unwrap(), &bytes(REQUEST_MAC), now)
    }

    #[test]
    fn the_check_values_are_met() {
        let key = key(Algorithm::HmacSha256);
        assert_eq!(key.variables(1_768_469_400, FUDGE, 0, &[]), bytes(VARIABLES));
        let signed = key.sign(&bytes(UPDATE), NOW);
        assert_eq!(signed.mac, bytes(REQUEST_MAC));
        verify(&key, &bytes(ANSWER), NOW).unwrap();
    }

    #[test]
    fn the_signed_message_reads_like_the_check_value() {
        let ours = Message::from_vec(&key(Algorithm::HmacSha256).sign(&bytes(UPDATE), NOW).bytes).unwrap();
        let theirs = Message::from_vec(&bytes(SIGNED)).unwrap();
        assert_eq!(ours.signature, theirs.signature);
        assert_eq!(ours.authorities, theirs.authorities);
        assert_eq!(last_record(&bytes(SIGNED)), Some(61));
    }

    #[test]
    fn every_algorithm_signs_with_its_full_length() {
        for (algorithm, length) in Algorithm::ALL.into_iter().zip([16, 20, 28, 32, 48, 64]) {
            let signed = key(algorithm).sign(&bytes(UPDATE), NOW);
            assert_eq!(signed.mac.len(), length, "{algorithm}");
        }
    }

    #[test]
    fn md5_is_that_of_rfc_2202() {
        let mac = md5_mac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac, bytes("750c783e6ab0b503eaa86e310a5db738"));
    }

    #[test]
    fn a_changed_answer_is_not_trusted() {
        let key = key(Algorithm::HmacSha256);
        let answer = bytes(ANSWER);
        // Every bit from the flags up to the TSIG counts, and so do its time and MAC.
        for index in (2..4).chain(14..26).chain([72, 80, 110]) {
            let mut changed = answer.clone();
            changed[index] ^= 1;
            if let Ok(parsed) = Message::from_vec(&changed) {
                assert!(key.verify(&changed, &parsed, &bytes(REQUEST_MAC), NOW).is_err(), "byte {index}");
            }
        }
        let other_request = [0; 32];
        let parsed = Message::from_vec(&answer).unwrap();
        assert_eq!(key.verify(&answer, &parsed, &other_request, NOW), Err(Distrust::Forged));
    }

    #[test]
    fn an_answer_of_another_time_or_key_is_not_trusted() {
        let sha256 = key(Algorithm::HmacSha256);
        assert_eq!(verify(&sha256, &bytes(ANSWER), NOW + 300), Ok(()));
        assert_eq!(verify(&sha256, &bytes(ANSWER), NOW + 301), Err(Distrust::Stale));
        assert_eq!(verify(&sha256, &bytes(ANSWER), NOW - 301), Err(Distrust::Stale));
        assert_eq!(verify(&key(Algorithm::HmacSha512), &bytes(ANSWER), NOW), Err(Distrust::OtherKey));
        let other =
            Key::new("other.example.com".parse().unwrap(), Algorithm::HmacSha256, &SECRET.into()).unwrap();
        assert_eq!(verify(&other, &bytes(ANSWER), NOW), Err(Distrust::OtherKey));
        let unsigned = &bytes(UPDATE);
        assert_eq!(verify(&sha256, unsigned, NOW), Err(Distrust::Unsigned));
    }

    #[test]
    fn every_spelling_of_an_algorithm_is_read() {
        for text in ["hmac-sha256", "HMAC-SHA256.", "HMACSHA256", " hmac_sha256 "] {
            assert_eq!(text.parse::<Algorithm>().unwrap(), Algorithm::HmacSha256, "{text}");
        }
        assert_eq!("HMAC-MD5.SIG-ALG.REG.INT.".parse::<Algorithm>().unwrap(), Algorithm::HmacMd5);
        let error = "hmac-sha256-128".parse::<Algorithm>().unwrap_err().to_string();
        assert!(error.contains("algorithm") && error.contains("hmac-sha512"), "{error}");
    }

    #[test]
    fn secrets_are_read_as_people_paste_them_and_never_shown() {
        let name: Fqdn = "k.example".parse().unwrap();
        let make = |text: &str| Key::new(name.clone(), Algorithm::HmacSha256, &text.into());
        assert_eq!(make(" AAEC\n AwQ= ").unwrap().secret.expose(), [0, 1, 2, 3, 4]);
        assert_eq!(make("AAECAwQ").unwrap().secret.expose(), [0, 1, 2, 3, 4]);
        assert!(make("not base64!").unwrap_err().to_string().contains("key_secret"));
        assert!(make("").is_err());
        assert_eq!(format!("{:?}", make("AAECAwQ").unwrap()), "Key(k.example, hmac-sha256)");
    }
}
