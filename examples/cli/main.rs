//! A complete command-line program on certlife, driven by a TOML file.
//!
//! It names no vendor: whatever the [registry](certlife::registry()) has can stand in the file, and
//! `providers` lists it. `config.rs` reads the file, `host.rs` makes an engine of it, `work.rs` lets the engine
//! work until a certificate has settled, and `commands` has a function for each command.
//!
//! ```text
//! cargo run --example cli -- --config certlife.toml order www
//! ```

mod args;
mod commands;
mod config;
mod forms;
mod host;
mod output;
mod settings;
mod work;

use std::process::ExitCode;

use certlife::{ErrorKind, InputError};
use clap::Parser as _;
use tracing_subscriber::filter::LevelFilter;

use crate::{args::CommandLine, config::ConfigError, output::Output};

#[tokio::main]
async fn main() -> ExitCode {
    let CommandLine { common, command } = CommandLine::parse();
    let level = match common.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    let output = Output::new(common.json);
    match commands::run(&common, command, &output).await {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code().into()
        }
    }
}

/// What became of a command that did not fail, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    WaitsForPerson,
    Unfinished,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::WaitsForPerson => 3,
            Outcome::Unfinished => 4,
        })
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{}", .0.chain())]
    Engine(#[from] certlife::Error),
    #[error("{0}: {1}")]
    File(String, #[source] std::io::Error),
    #[error("{0}")]
    Usage(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => 2,
            Self::Engine(error) if matches!(error.kind(), ErrorKind::Input(_)) => 2,
            Self::Engine(_) | Self::File(..) => 1,
        }
    }
}

impl From<InputError> for Failure {
    fn from(input: InputError) -> Self {
        Self::Usage(input.to_string())
    }
}
