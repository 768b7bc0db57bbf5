//! LDAP: the extended operation `StartTLS` ([RFC 4511 §4.14](https://www.rfc-editor.org/rfc/rfc4511#section-4.14)).
//!
//! Messages are in BER with definite lengths (§5.1), which need not be the shortest: Active Directory writes four bytes
//! for every one of them. A reader of DER would refuse that.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{StartTls, not_offered, refused, talk::Talk};
use crate::{error::Result, tls::protocol_broken};

/// `LDAPMessage { messageID 1, extendedReq { requestName 1.3.6.1.4.1.1466.20037 } }`.
const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
/// The largest answer that is read; its text for people is the longest part of it.
const MAX_ANSWER: usize = 8 << 10;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
/// `[APPLICATION 24]`, constructed.
const EXTENDED_RESPONSE: u8 = 0x78;

pub(super) async fn start<S: AsyncRead + AsyncWrite + Unpin + Send>(talk: &mut Talk<S>) -> Result<()> {
    talk.say(REQUEST).await?;
    let message = message(talk).await?;
    let Some(Answer { id, result, words }) = answer(&message) else {
        return Err(protocol_broken("the server does not answer as an LDAP server does"));
    };
    match (id, result) {
        (1, 0) => Ok(()),
        // §4.14.2: protocolError where the operation is not supported.
        (1, 2) => Err(not_offered(StartTls::Ldap)),
        (1, _) => Err(refused(&format!("LDAP result {result} {words}"))),
        // Nobody asked for it: a notice of disconnection (§4.4.1).
        (0, _) => Err(refused(&format!("LDAP notice {result} {words}"))),
        _ => Err(protocol_broken("the LDAP answer is to another request")),
    }
}

/// Reads one message, without its tag and length.
async fn message<S: AsyncRead + AsyncWrite + Unpin + Send>(talk: &mut Talk<S>) -> Result<Vec<u8>> {
    let wrong = || protocol_broken("the server does not answer as an LDAP server does");
    let head = talk.bytes(2).await?;
    if head[0] != SEQUENCE {
        return Err(wrong());
    }
    let length = match head[1] {
        short @ ..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            let bytes = talk.bytes(usize::from(long & 0x7f)).await?;
            bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte))
        }
        _ => return Err(wrong()),
    };
    if length > MAX_ANSWER {
        return Err(protocol_broken("the LDAP answer is too long"));
    }
    talk.bytes(length).await
}

struct Answer {
    id: u32,
    result: u32,
    words: String,
}

/// Takes an `LDAPMessage` with an `ExtendedResponse` apart. What may follow the text for people is left alone.
fn answer(mut message: &[u8]) -> Option<Answer> {
    let id = number(element(&mut message, INTEGER)?)?;
    let mut response = element(&mut message, EXTENDED_RESPONSE)?;
    let result = number(element(&mut response, ENUMERATED)?)?;
    let _matched_dn = element(&mut response, OCTET_STRING)?;
    let words = String::from_utf8_lossy(element(&mut response, OCTET_STRING)?).into_owned();
    Some(Answer { id, result, words })
}

/// Takes the contents of an element with this tag from the front; none if another is there, or it is cut off.
fn element<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, after) = rest.split_first()?;
    let (first, after) = after.split_first()?;
    let (length, after) = match *first {
        short @ ..=0x7f => (usize::from(short), after),
        long @ 0x81..=0x84 => {
            let (bytes, after) = after.split_at_checked(usize::from(long & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), after)
        }
        _ => return None,
    };
    let (contents, after) = after.split_at_checked(length)?;
    *rest = after;
    (*found == tag).then_some(contents)
}

/// A number from zero that fits into 31 bits, as message ids and result codes do (§4.1.1, §4.1.9).
fn number(contents: &[u8]) -> Option<u32> {
    let negative = contents.first().is_none_or(|first| first & 0x80 != 0);
    (contents.len() <= 4 && !negative)
        .then(|| contents.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
}
