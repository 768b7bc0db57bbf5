//! What the program prints: results on standard output, progress and failures on standard error.

use std::{
    fmt,
    io::{IsTerminal as _, Write as _, stderr, stdout},
};

use certlife::{Party, Timestamp, model::Event};
use serde::Serialize;
use serde_json::json;

use crate::Failure;

/// Text for people, or JSON for programs.
pub(crate) struct Output {
    json: bool,
    /// Whether somebody watches, who wants to see progress.
    watched: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, watched: !json && stderr().is_terminal() }
    }

    /// Prints a result: the value itself, or what `text` makes of it.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        self.clear();
        let text = if self.json { pretty(value) } else { text() };
        // A reader that went away, as `head` does, wants no more.
        let _ = writeln!(stdout(), "{}", text.trim_end());
    }

    /// Prints an event as a line of its own.
    pub(crate) fn event(&self, event: &Event) {
        self.clear();
        let _ = if self.json {
            writeln!(stdout(), "{}", line(event))
        } else {
            writeln!(stdout(), "{:>6}  {}  {event}", event.position, short(event.occurrence.at))
        };
    }

    /// Shows an event to somebody who watches.
    pub(crate) fn progress(&self, event: &Event) {
        if self.watched {
            self.clear();
            let _ = writeln!(stderr(), "  {event}");
        }
    }

    /// Replaces the line at the bottom of the terminal.
    pub(crate) fn status(&self, text: impl fmt::Display) {
        if self.watched {
            let text: String = text.to_string().chars().take(100).collect();
            let _ = write!(stderr(), "\r\x1b[2K{text}");
            let _ = stderr().flush();
        }
    }

    fn clear(&self) {
        if self.watched {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }

    /// Says why the command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        self.clear();
        let _ = if self.json {
            writeln!(stderr(), "{}", line(&describe(failure)))
        } else if let Failure::Engine(error) = failure
            && error.who_acts() != Party::Engine
        {
            writeln!(stderr(), "certlife: {failure}\ncertlife: {}", whose(error.who_acts()))
        } else {
            writeln!(stderr(), "certlife: {failure}")
        };
    }
}

fn describe(failure: &Failure) -> serde_json::Value {
    let message = failure.to_string();
    match failure {
        Failure::Config(_) => json!({ "error": { "code": "bad_config", "message": message } }),
        Failure::Usage(_) => json!({ "error": { "code": "bad_usage", "message": message } }),
        Failure::File(..) => json!({ "error": { "code": "io", "message": message } }),
        Failure::Engine(error) => json!({ "error": {
            "code": error.kind().code(),
            "message": message,
            "provider": error.provider(),
            "operation": error.operation(),
            "retry": error.retry(),
            "who_acts": error.who_acts(),
        } }),
    }
}

/// Says who has to act.
pub(crate) fn whose(party: Party) -> &'static str {
    match party {
        Party::Engine => "nobody has to act",
        Party::Requester => "what was asked for has to change",
        Party::Operator => "whoever runs this machine and the targets has to act",
        Party::AccountHolder => "whoever holds the account at the provider has to act",
        Party::Approver => "an approver has to act",
        _ => "a person has to act",
    }
}

/// A moment for people, to the second.
pub(crate) fn short(moment: Timestamp) -> String {
    moment.to_string().chars().take(19).collect::<String>().replace('T', " ")
}

/// Lines up the columns of a table.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
}
