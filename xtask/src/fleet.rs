//! The real servers together: installed, started in order, described in one file, stopped on drop.

use std::fmt::Display;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::guard::Guarded;
use crate::ports::Ports;
use crate::servers::SERVERS;
use crate::tools::Tools;
use crate::{Result, Workspace};

/// The environment variable with the path of the file that tells tests where the servers are.
const VARIABLE: &str = "CERTLIFE_TEST_SERVERS";
const PATIENCE: Duration = Duration::from_secs(20);
const RUN_PREFIX: &str = "run-";

/// All running servers of one test run.
pub(crate) struct Fleet {
    // Dropped in this order: first the processes, then the folder that they write to.
    site: Site,
    folder: TempDir,
    _lock: File,
}

/// The place where one run's servers live, and how they are started there.
pub(crate) struct Site {
    folder: PathBuf,
    pub(crate) ports: Ports,
    processes: Vec<Guarded>,
    coordinates: Map<String, Value>,
}

impl Fleet {
    /// Installs what is missing, starts every server and waits until each answers.
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        let tools = Tools::open(workspace)?;
        tools.need_second_opinions()?;
        for server in SERVERS {
            server.install(&tools).map_err(|error| format!("{}: {error}", server.name()))?;
        }

        sweep(&workspace.scratch());
        let folder = tempfile::Builder::new().prefix(RUN_PREFIX).tempdir_in(workspace.scratch())?;
        let lock = File::create(lock_path(folder.path()))?;
        lock.lock()?;
        let site = Site {
            folder: folder.path().to_owned(),
            ports: Ports::new(),
            processes: Vec::new(),
            coordinates: Map::new(),
        };
        let mut fleet = Self { site, folder, _lock: lock };
        for server in SERVERS {
            let started = Instant::now();
            let coordinates = server
                .start(&tools, &mut fleet.site)
                .map_err(|error| format!("{}: {error}", server.name()))?;
            fleet.site.coordinates.insert(server.name().to_owned(), coordinates);
            println!("{} answers after {} ms", server.name(), started.elapsed().as_millis());
        }
        fs::write(fleet.description(), serde_json::to_vec_pretty(&fleet.site.coordinates)?)?;
        Ok(fleet)
    }

    /// Tells `command` where the servers are.
    pub(crate) fn describe_to(&self, command: &mut Command) {
        command.env(VARIABLE, self.description());
    }

    /// Keeps the servers up until standard input ends or we are interrupted.
    pub(crate) fn stay(self) -> Result<()> {
        println!("export {VARIABLE}={}", self.description().display());
        io::copy(&mut io::stdin(), &mut io::sink())?;
        Ok(())
    }

    /// Stops the servers but leaves their logs until the next run; returns where those are.
    pub(crate) fn keep_logs(self) -> PathBuf {
        drop(self.site);
        self.folder.keep()
    }

    fn description(&self) -> PathBuf {
        self.folder.path().join("servers.json")
    }
}

impl Site {
    /// A folder for one server's configuration and data.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// What a server that was started earlier told about itself.
    pub(crate) fn coordinate(&self, server: &str, name: &str) -> Result<String> {
        let value = self.coordinates.get(server).and_then(|of_server| of_server[name].as_str());
        value.map(str::to_owned).ok_or_else(|| format!("{server} has not told its {name}").into())
    }

    /// Starts a process and returns once `ready` holds; what it prints goes to `<name>.log`.
    pub(crate) fn launch(
        &mut self,
        name: &str,
        command: &Command,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let log_path = self.folder.join(format!("{name}.log"));
        let log = File::create(&log_path)?;
        let mut process = Guarded::spawn(command, log.try_clone()?.into(), log.into())?;
        let started = Instant::now();
        while !ready() {
            if process.ended() {
                return Err(with_tail(format_args!("{name} ended while starting"), &log_path).into());
            }
            if started.elapsed() > PATIENCE {
                return Err(with_tail(format_args!("{name} does not answer"), &log_path).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.processes.push(process);
        Ok(())
    }
}

/// Runs a program that dies with us and shows what it prints.
pub(crate) fn run_guarded(command: &Command) -> Result<bool> {
    Ok(Guarded::spawn(command, Stdio::inherit(), Stdio::inherit())?.wait()?.success())
}

/// Tells whether something accepts connections at `address`.
pub(crate) fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

/// Removes the folders of runs that were killed before they could do so: nobody holds their lock.
fn sweep(scratch: &Path) {
    let entries = fs::read_dir(scratch).into_iter().flatten().flatten();
    for folder in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(RUN_PREFIX)) {
        let abandoned = File::open(lock_path(&folder.path())).is_ok_and(|lock| lock.try_lock().is_ok());
        if abandoned {
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.join("lock")
}

fn with_tail(problem: impl Display, log: &Path) -> String {
    let text = fs::read_to_string(log).or_else(|error| io::Result::Ok(error.to_string())).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(20)..];
    format!("{problem}; the end of its log:\n{}", tail.join("\n"))
}
