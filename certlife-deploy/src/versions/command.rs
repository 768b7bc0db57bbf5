//! Commands that a host chose: a program and its arguments, without a shell.

use certlife_core::{CertificateId, ErrorKind, InputError, Result};

/// Where programs are looked for, and the whole environment of a command.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command that the host chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) program: String,
    arguments: Vec<String>,
}

/// What stands for the braces in arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots<'a> {
    /// The directory of the version: `{directory}`.
    pub(crate) directory: &'a str,
    /// `{certificate}`.
    pub(crate) certificate: &'a CertificateId,
}

impl Command {
    /// Checks the words; none if there are none. `is_absolute` tells whether a path is, on the machine.
    pub(crate) fn new(
        setting: &'static str,
        words: Vec<String>,
        is_absolute: fn(&str) -> bool,
    ) -> Result<Option<Self>, InputError> {
        let mut words = words.into_iter();
        let Some(program) = words.next() else { return Ok(None) };
        let arguments: Vec<_> = words.collect();
        let is_name = !program.contains(['/', '\\']);
        if program.is_empty() || !(is_name || is_absolute(&program)) || program.contains('{') {
            return Err(InputError::setting(
                setting,
                "the program is an absolute path, or a name without `/`",
            ));
        }
        if arguments.iter().chain([&program]).any(|word| word.contains('\0')) {
            return Err(InputError::setting(setting, "no word contains a zero byte"));
        }
        Ok(Some(Self { program, arguments }))
    }

    /// The arguments, filled in.
    pub(crate) fn arguments(&self, slots: Slots<'_>) -> impl Iterator<Item = String> {
        self.arguments.iter().map(move |word| {
            word.replace("{directory}", slots.directory).replace("{certificate}", slots.certificate.as_str())
        })
    }

    /// The error of a command that did not do its work.
    pub(crate) fn failed(&self, how: &str) -> ErrorKind {
        ErrorKind::CommandFailed(format!("{}: {how}", self.program).into())
    }
}
