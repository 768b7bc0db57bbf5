//! `certlife-agent CONFIG`: runs the agent of an end server until it is told to stop.
#![expect(clippy::print_stderr, reason = "it is a program, and says why it ends")]

use std::{path::Path, process::ExitCode};

use certlife_agent::{Config, stop_signal};
use tracing_subscriber::EnvFilter;

type Anything<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [path] = &arguments[..] else {
        eprintln!("usage: certlife-agent CONFIG");
        return ExitCode::from(2);
    };
    match run(Path::new(path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("certlife-agent: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(path: &Path) -> Anything {
    // `RUST_LOG` chooses what is logged; what is logged never holds a secret.
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = Config::read(path)?;
    tracing::info!(agent = %config.name, hub = %config.hub, "the agent starts");
    let agent = config.agent()?;
    let stop = async {
        if let Err(error) = stop_signal().await {
            tracing::error!(%error, "signals cannot be heard; the agent stops");
        }
    };
    agent.run(stop).await?;
    tracing::info!("the agent has stopped");
    Ok(())
}
