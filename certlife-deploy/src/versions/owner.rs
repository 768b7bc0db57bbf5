//! Users and groups by name or number.
//!
//! Names are looked up in the machine's `/etc/passwd` and `/etc/group` each time, for they may change. Users that
//! only a directory service knows have to be given by number: asking such a service takes the C library.

use certlife_core::{ErrorKind, InputError, Result};

/// A user or group, as the host named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    Number(u32),
    Name(String),
}

impl Owner {
    pub(super) fn new(setting: &'static str, text: String) -> Result<Self, InputError> {
        // `u32::MAX` means "leave as it is" to chown.
        if let Ok(number) = text.parse::<u32>()
            && number != u32::MAX
        {
            return Ok(Self::Number(number));
        }
        let named = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':' && byte != b'/');
        if text.is_empty() || text.len() > 256 || !named || text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InputError::setting(setting, "use a name or a number"));
        }
        Ok(Self::Name(text))
    }

    /// The number, by the text of a list of lines `name:…:number:…`.
    pub(super) fn number(&self, list: &str, text: &str) -> Result<u32, ErrorKind> {
        let name = match self {
            Self::Number(number) => return Ok(*number),
            Self::Name(name) => name,
        };
        text.lines()
            .find_map(|line| number_of(line, name))
            .ok_or_else(|| ErrorKind::Io(format!("{name} is not in {list}; use the number instead").into()))
    }
}

fn number_of(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':');
    (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_told_apart() {
        assert_eq!(Owner::new("owner", "33".into()).unwrap(), Owner::Number(33));
        assert_eq!(Owner::new("owner", "www-data".into()).unwrap(), Owner::Name("www-data".into()));
        for bad in ["", "a:b", "a b", "4294967295", "99999999999", "../x"] {
            assert!(Owner::new("owner", bad.into()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_looked_up() {
        let list = "root:x:0:0::/root:/bin/sh\nwww:x:33:34:::\nbroken:x\nnone:x:many:1\n";
        let number = |name: &str| Owner::Name(name.into()).number("/etc/passwd", list);
        assert_eq!((number("www"), number("root")), (Ok(33), Ok(0)));
        for missing in ["ww", "broken", "none"] {
            assert!(
                matches!(number(missing), Err(ErrorKind::Io(words)) if words.as_str().contains("number"))
            );
        }
    }
}
