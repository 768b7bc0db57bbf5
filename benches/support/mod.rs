//! What the benches share: how long they run, what a piece of work costs, and a table of ratios.
//!
//! Figures of one machine say little about another one. So each bench states a baseline that it measured in
//! the same run, and prints everything else as a multiple of it.

#![expect(clippy::print_stdout, reason = "a bench is there to print")]
#![allow(dead_code, reason = "each bench is a program of its own and uses its part")]

pub(crate) mod fleet;

use std::{
    fs,
    time::{Duration, Instant},
};

/// How thorough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `cargo bench`: figures worth quoting.
    Full,
    /// `cargo bench -- --quick`: a glance, in seconds.
    Quick,
    /// Without `--bench`, as under `cargo test --benches`: does it run at all?
    Smoke,
}

impl Mode {
    /// Reads the arguments that Cargo and people give.
    pub(crate) fn from_args() -> Self {
        let has = |flag: &str| std::env::args().any(|argument| argument == flag);
        match (has("--bench"), has("--quick")) {
            (false, _) => Self::Smoke,
            (true, true) => Self::Quick,
            (true, false) => Self::Full,
        }
    }

    /// One of three figures, by how thorough the run is.
    pub(crate) fn pick<T>(self, full: T, quick: T, smoke: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
            Self::Smoke => smoke,
        }
    }
}

/// The time in the middle of several, which a disturbed machine shifts least.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Runs `work` several times; returns the time in the middle.
pub(crate) fn timed(rounds: usize, mut work: impl FnMut()) -> Duration {
    let once = |()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    median(std::iter::repeat_n((), rounds).map(once).collect())
}

/// What a stretch of work cost this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Time on the wall.
    pub(crate) wall: Duration,
    /// Time on the processor, of all threads together.
    pub(crate) cpu: Duration,
}

/// Measures from [`start`](Self::start) to [`per`](Self::per).
#[derive(Debug)]
pub(crate) struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    /// Begins to measure.
    pub(crate) fn start() -> Self {
        Self { wall: Instant::now(), cpu: processor_time() }
    }

    /// Ends, and shares the cost out.
    pub(crate) fn per(&self, pieces: u32) -> Cost {
        let cpu = processor_time().saturating_sub(self.cpu);
        Cost { wall: self.wall.elapsed() / pieces, cpu: cpu / pieces }
    }
}

/// User and system time of this process so far, to a hundredth of a second; zero where there is no `/proc`.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in the second field may hold anything, so counting begins behind it: utime and stime are
    // fields 14 and 15 (proc(5)), in ticks, of which Linux shows 100 a second on every architecture.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Memory of this process in KiB, as `/proc/self/status` names it: `VmRSS` now, `VmHWM` at most so far.
pub(crate) fn memory_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Rows of one figure each, and one that all are divided by.
#[derive(Debug)]
pub(crate) struct Ratios {
    title: String,
    baseline: (String, f64),
    rows: Vec<(String, f64, String)>,
}

impl Ratios {
    /// Starts a table of times.
    pub(crate) fn of_time(title: impl Into<String>, name: impl Into<String>, baseline: Duration) -> Self {
        Self { title: title.into(), baseline: (name.into(), baseline.as_secs_f64()), rows: Vec::new() }
            .shown_as(baseline)
    }

    fn shown_as(mut self, baseline: Duration) -> Self {
        let name = format!("{} (the baseline)", self.baseline.0);
        self.rows.push((name, self.baseline.1, format!("{baseline:.1?}")));
        self
    }

    /// Adds a time.
    pub(crate) fn time(&mut self, name: impl Into<String>, time: Duration) -> &mut Self {
        self.rows.push((name.into(), time.as_secs_f64(), format!("{time:.1?}")));
        self
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("\n{}: times {}", self.title, self.baseline.0);
        let width = self.rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or_default();
        for (name, figure, shown) in &self.rows {
            println!("  {name:width$}  {:>9.2} ×  {shown:>12}", figure / self.baseline.1);
        }
    }
}
