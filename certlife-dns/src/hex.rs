//! Digests and signatures as text.

use std::fmt::Write as _;

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn lower(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
