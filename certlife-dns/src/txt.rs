//! TXT values as vendors write them: character-strings of at most 255 bytes, quoted and escaped or not.

/// The longest character-string (RFC 1035 §3.3).
const MAX_STRING: usize = 255;

/// How a byte that is not printable ASCII is written: as three digits after a backslash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// `\195`, as in master files (RFC 1035 §5.1).
    Decimal,
    /// `\303`, as Route 53 has it.
    Octal,
}

/// Cuts a value into character-strings. Without text there is one, empty.
pub(crate) fn strings(value: &str) -> Vec<&[u8]> {
    if value.is_empty() { vec![b""] } else { value.as_bytes().chunks(MAX_STRING).collect() }
}

/// Cuts a value into character-strings that are text each, for vendors who take them in JSON. Without text
/// there is one, empty.
pub(crate) fn text_strings(value: &str) -> Vec<&str> {
    let mut strings = Vec::new();
    let mut rest = value;
    while rest.len() > MAX_STRING {
        let (string, after) = rest.split_at(rest.floor_char_boundary(MAX_STRING));
        strings.push(string);
        rest = after;
    }
    strings.push(rest);
    strings
}

/// Writes a value in the notation of master files: `"quoted" "strings"`, with `\"`, `\\` and, for bytes
/// that are not printable ASCII, `\DDD` (RFC 1035 §5.1).
pub(crate) fn quoted(value: &str) -> String {
    quoted_as(Escape::Decimal, value)
}

/// Writes a value like [`quoted`], with these escapes.
pub(crate) fn quoted_as(escape: Escape, value: &str) -> String {
    use std::fmt::Write as _;

    let mut text = String::with_capacity(value.len() + 2);
    for (index, string) in strings(value).into_iter().enumerate() {
        text.push_str(if index == 0 { "\"" } else { " \"" });
        for byte in string {
            match byte {
                b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
                b' '..=b'~' => text.push(char::from(*byte)),
                // Writing to a string cannot fail.
                _ if escape == Escape::Octal => drop(write!(text, "\\{byte:03o}")),
                _ => drop(write!(text, "\\{byte:03}")),
            }
        }
        text.push('"');
    }
    text
}

/// Reads what a vendor shows for a value: quoted strings, with or without space between them, joined and
/// unescaped; or the value itself, if it is not quoted from end to end.
pub(crate) fn unquoted(text: &str) -> String {
    unquoted_as(Escape::Decimal, text)
}

/// Reads what [`unquoted`] reads, with these escapes.
pub(crate) fn unquoted_as(escape: Escape, text: &str) -> String {
    match parse_quoted(escape, text.trim()) {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => text.to_owned(),
    }
}

fn parse_quoted(escape: Escape, text: &str) -> Option<Vec<u8>> {
    let base = if escape == Escape::Octal { 8 } else { 10 };
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        rest = rest.strip_prefix(b"\"")?;
        loop {
            rest = match rest {
                [b'"', after @ ..] => {
                    rest = after;
                    break;
                }
                [b'\\', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', after @ ..] => {
                    let digits = [*a, *b, *c];
                    value.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, base).ok()?);
                    after
                }
                [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                    value.push(*byte);
                    after
                }
                [] => return None,
            };
        }
        rest = rest.trim_ascii_start();
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_from_its_notation() {
        for value in [
            "",
            "plain",
            r#"a "b" c"#,
            r"\",
            r"\\",
            r#"\""#,
            r"\065",
            "über ☃",
            "a b  c",
            &"x".repeat(255),
            &"ä".repeat(300),
        ] {
            assert_eq!(unquoted(&quoted(value)), value, "{}", quoted(value));
            assert_eq!(unquoted_as(Escape::Octal, &quoted_as(Escape::Octal, value)), value);
        }
    }

    #[test]
    fn the_notation_is_that_of_master_files() {
        assert_eq!(quoted(r#"a "b" \c"#), r#""a \"b\" \\c""#);
        assert_eq!(quoted("ä"), r#""\195\164""#);
        assert_eq!(quoted_as(Escape::Octal, "ä"), r#""\303\244""#);
        assert_eq!(quoted(&"x".repeat(256)), format!("\"{}\" \"x\"", "x".repeat(255)));
        assert_eq!(
            strings(&"x".repeat(600)).iter().map(|part| part.len()).collect::<Vec<_>>(),
            [255, 255, 90]
        );
    }

    #[test]
    fn strings_of_text_end_between_characters() {
        for value in ["", "plain", &"x".repeat(255), &"x".repeat(256), &format!("a{}", "ä".repeat(300))] {
            let strings = text_strings(value);
            assert!(strings.iter().all(|string| string.len() <= 255));
            assert_eq!((strings.concat(), strings.len()), (value.into(), value.len().div_ceil(255).max(1)));
        }
    }

    #[test]
    fn what_is_not_quoted_from_end_to_end_is_the_value_itself() {
        for text in ["v=spf1 -all", r#"a "b""#, r#""half"#, r#""a" b"#, r#""\999""#, ""] {
            assert_eq!(unquoted(text), text);
        }
        assert_eq!(unquoted(r#""one""two""#), "onetwo");
        assert_eq!(unquoted(r#" "one"  "two" "#), "onetwo");
    }
}
