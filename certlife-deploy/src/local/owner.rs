//! Users and groups by name or number.
//!
//! Names are looked up in `/etc/passwd` and `/etc/group` each time, for they may change. Users that only a
//! directory service knows have to be given by number: asking such a service takes the C library.

use std::{fs::File, io::Read as _, path::Path};

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

    /// The number, by a file of lines `name:…:number:…`.
    pub(super) fn number(&self, list: &Path) -> Result<u32, ErrorKind> {
        let name = match self {
            Self::Number(number) => return Ok(*number),
            Self::Name(name) => name,
        };
        let mut text = Vec::new();
        File::open(list)
            .and_then(|file| file.take(MAX_LIST).read_to_end(&mut text))
            .map_err(super::io_failed("read", list))?;
        String::from_utf8_lossy(&text).lines().find_map(|line| number_of(line, name)).ok_or_else(|| {
            let what = format!("{name} is not in {}; use the number instead", list.display());
            ErrorKind::Io(what.into())
        })
    }
}

/// The most of a list that is read.
const MAX_LIST: u64 = 4 * 1_024 * 1_024;

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
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "root:x:0:0::/root:/bin/sh\nwww:x:33:34:::\nbroken:x\nnone:x:many:1\n")
            .unwrap();
        let number = |name: &str| Owner::Name(name.into()).number(list.path());
        assert_eq!((number("www"), number("root")), (Ok(33), Ok(0)));
        for missing in ["ww", "broken", "none"] {
            assert!(
                matches!(number(missing), Err(ErrorKind::Io(words)) if words.as_str().contains("number"))
            );
        }
    }
}
