//! Words for the shell of a Unix machine: the only place where a command line is put together.
//!
//! SSH has no lists of arguments: a server hands one line to the login shell of the user. Within single quotes
//! a POSIX shell changes nothing ([XCU 2.2.2]); that shell therefore has to be one: `sh`, `bash`, `dash`, `ksh`,
//! `zsh`, `BusyBox`.
//!
//! [XCU 2.2.2]: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html#tag_18_02_02

/// Writes words as one line that a POSIX shell splits into exactly these words.
pub(crate) fn line<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        push(&mut line, word.as_ref());
    }
    line
}

fn push(line: &mut String, word: &str) {
    line.push('\'');
    for character in word.chars() {
        match character {
            '\'' => line.push_str("'\\''"),
            // A shell would end the line there; settings with it are refused before.
            '\0' => {}
            other => line.push(other),
        }
    }
    line.push('\'');
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::process::Command;

    /// What a shell makes of a line.
    fn split(line: &str) -> Vec<String> {
        let script = format!("for word in {line}; do printf '%s\\000' \"$word\"; done");
        let output = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{line}");
        let printed = String::from_utf8(output.stdout).unwrap();
        printed.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn hostile_words_arrive_as_they_are() {
        let words = [
            "nginx",
            "-t",
            "",
            " ",
            "a b",
            "'",
            "''",
            "'; touch /tmp/certlife-was-here; '",
            "$HOME",
            "${IFS}",
            "`id`",
            "$(id)",
            "\"",
            "\\",
            "\\'",
            "a\nb",
            "a\r\n",
            "*",
            "~",
            "~root",
            "!!",
            "!-1",
            "#",
            "|",
            "&&",
            ">x",
            "<x",
            "{a,b}",
            "[a-z]",
            "é\u{1f600}",
            "--",
            "\t",
            "=",
            "a=b",
        ];
        assert_eq!(split(&super::line(words)), words);
        for word in words {
            assert_eq!(split(&super::line([word])), [word]);
        }
    }

    #[test]
    fn every_byte_of_ascii_arrives() {
        let all: String = (1..128).map(char::from).collect();
        assert_eq!(split(&super::line([&all])), [all]);
    }
}
