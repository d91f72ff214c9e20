//! `squall sim`: plays a scenario in virtual time, once, for several seeds, or twice to compare.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::luck::text_key;
use crate::measure::{Trace, TraceRow};
use crate::play::{Director, Outcome, Status};
use crate::report::{ReportError, RunDirectory, Style, Summary, summary_text};
use crate::scenario::{Overrides, Plan, Source, load};
use crate::sim::{Pulse, play_watched};
use crate::time::SimTime;

use super::interrupt::Interrupt;
use super::{BAD_INPUT, INTERNAL, OutputFlags, ScenarioFlags};

/// How often progress is told on standard error.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Arguments of `squall sim`.
#[derive(Args, Clone, Debug)]
pub struct SimArgs {
    #[command(flatten)]
    scenario: ScenarioFlags,
    #[command(flatten)]
    output: OutputFlags,
    /// Plays N seeds, from the scenario's seed on, each into a folder of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Plays twice and compares trace and files
    #[arg(long)]
    verify: bool,
    /// Plays at a multiple of real time
    #[arg(long, value_name = "SPEED")]
    watch: Option<String>,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &SimArgs) -> u8 {
    match play(args) {
        Ok(code) => code,
        Err(Refusal { code, message }) => {
            eprintln!("{}", message.trim_end());
            code
        }
    }
}

/// Why nothing (more) was played.
struct Refusal {
    code: u8,
    message: String,
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        Refusal {
            code: INTERNAL,
            message: format!("error: {error}"),
        }
    }
}

fn play(args: &SimArgs) -> Result<u8, Refusal> {
    if args.watch.is_some() {
        return Err(bad_input("error: not supported yet: `--watch`"));
    }
    let source = source(&args.scenario)?;
    let first = plan(args, &source, None)?;
    let directory = RunDirectory::create(&args.output.out, &first.name, now())?;
    let interrupt = Interrupt::listen();
    match args.repeat {
        None => play_one(args, &first, &directory, &interrupt).map(Status::exit_code),
        Some(count) => play_seeds(args, &source, first, count, &directory, &interrupt),
    }
}

/// Plays seed after seed; the exit code is the gravest.
fn play_seeds(
    args: &SimArgs,
    source: &Source,
    first: Arc<Plan>,
    count: u32,
    directory: &RunDirectory,
    interrupt: &Interrupt,
) -> Result<u8, Refusal> {
    let mut gravest = Status::Passed;
    for repetition in 1..=count {
        let seed = first.seed.wrapping_add(u64::from(repetition - 1));
        let plan = plan(args, source, Some(seed))?;
        let status = play_one(args, &plan, &directory.within(&format!("rep-{repetition:02}"))?, interrupt)?;
        gravest = graver(gravest, status);
        if status == Status::Interrupted {
            break;
        }
    }
    Ok(gravest.exit_code())
}

/// Plays one plan, writes its files, says what it came to.
fn play_one(args: &SimArgs, plan: &Arc<Plan>, directory: &RunDirectory, interrupt: &Interrupt) -> Result<Status, Refusal> {
    directory.log(&format!("sim of `{}`, seed {}, began", plan.name, plan.seed))?;
    let outcome = simulate(args, plan, interrupt);
    directory.write(&outcome)?;
    directory.log(&format!("ended after {} s: {}", outcome.elapsed, outcome.status().word()))?;
    if args.output.json {
        print!("{}", Summary::of(&outcome).to_json());
    } else {
        let style = if args.output.color() { Style::Color } else { Style::Plain };
        print!("{}", summary_text(&outcome, style));
    }
    let status = outcome.status();
    if args.verify && status != Status::Interrupted {
        verify(args, plan, &outcome, directory, interrupt)?;
    }
    Ok(status)
}

/// Plays a plan again and compares; the second run's files stay beside the first's if they differ.
fn verify(
    args: &SimArgs,
    plan: &Arc<Plan>,
    first: &Outcome,
    directory: &RunDirectory,
    interrupt: &Interrupt,
) -> Result<(), Refusal> {
    let again = simulate(args, plan, interrupt);
    let second = directory.within("verify")?;
    second.write(&again)?;
    if let Some(difference) = first_difference(first, &again, directory.path(), second.path()).map_err(unreadable)? {
        return Err(Refusal {
            code: INTERNAL,
            message: format!("error: two simulations of one plan differ: {difference}"),
        });
    }
    std::fs::remove_dir_all(second.path()).map_err(unreadable)?;
    if !args.output.quiet {
        eprintln!("verified: played twice, every file but the log is the same");
    }
    Ok(())
}

/// Where two outcomes of one plan part: in the trace, in the fingerprint, or in a file.
fn first_difference(first: &Outcome, second: &Outcome, one: &Path, other: &Path) -> std::io::Result<Option<String>> {
    let rows = [first, second].map(|outcome| outcome.recorder.trace().map(Trace::sorted).unwrap_or_default());
    let longest = rows[0].len().max(rows[1].len());
    if let Some(at) = (0..longest).find(|at| rows[0].get(*at) != rows[1].get(*at)) {
        let [one, other] = [0, 1].map(|side: usize| trace_line(first, rows[side].get(at)));
        return Ok(Some(format!("trace, line {}: {one} and {other}", at + 1)));
    }
    if first.recorder.fingerprint() != second.recorder.fingerprint() {
        return Ok(Some("the fingerprint, with no difference in the trace".to_owned()));
    }
    different_file(one, other)
}

fn trace_line(outcome: &Outcome, row: Option<&TraceRow>) -> String {
    let mut line = String::new();
    match row {
        Some(row) => row.write_line(&outcome.plan.devices[row.device.at()].id, &mut line),
        None => line.push_str("nothing"),
    }
    line.trim_end().to_owned()
}

/// The first file, and its first line, in which two run directories differ; the log is left out.
fn different_file(one: &Path, other: &Path) -> std::io::Result<Option<String>> {
    let mut names: Vec<_> = std::fs::read_dir(other)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    names.sort();
    for name in names.iter().filter(|name| *name != "log.txt") {
        let [left, right] = [one, other].map(|folder| std::fs::read(folder.join(name)));
        let (left, right) = (left?, right?);
        if left == right {
            continue;
        }
        let [left, right] = [&left, &right].map(|bytes| String::from_utf8_lossy(bytes));
        let line = left.lines().zip(right.lines()).position(|(left, right)| left != right);
        let line = line.unwrap_or_else(|| left.lines().count().min(right.lines().count())) + 1;
        return Ok(Some(format!("{}, line {line}", name.to_string_lossy())));
    }
    Ok(None)
}

/// Plays, tells progress, and listens to Ctrl-C.
fn simulate(args: &SimArgs, plan: &Arc<Plan>, interrupt: &Interrupt) -> Outcome {
    let mut told_at = now();
    let mut pulse = |at: SimTime, director: &Director| {
        if interrupt.asked() {
            return Pulse::Interrupt;
        }
        let due = now().duration_since(told_at).is_ok_and(|passed| passed >= PROGRESS_EVERY);
        if due && !args.output.quiet {
            told_at = now();
            let seen = director.snapshot(at);
            let seconds = at.as_nanos() / 1_000_000_000;
            eprintln!(
                "t={:02}:{:02} online={} open={} ok={} failed={}",
                seconds / 60,
                seconds % 60,
                seen.online,
                seen.open,
                seen.ok,
                seen.failed
            );
        }
        Pulse::GoOn
    };
    play_watched(Arc::clone(plan), &mut pulse)
}

fn source(flags: &ScenarioFlags) -> Result<Source, Refusal> {
    Source::from_argument(&flags.scenario, || std::io::read_to_string(std::io::stdin()))
        .map_err(|error| bad_input(&format!("error: standard input: {error}")))
}

/// The plan of the flags, with this seed if one is given.
fn plan(args: &SimArgs, source: &Source, seed: Option<u64>) -> Result<Arc<Plan>, Refusal> {
    let flags = &args.scenario;
    let overrides = Overrides {
        environment_seed: None,
        set: flags.set.clone(),
        seed: seed.map_or_else(|| flags.seed.as_deref().map(seed_of).transpose(), |seed| Ok(Some(seed)))?,
        duration: flags.duration.clone(),
        devices: flags.devices.map(u64::from),
    };
    let plan = load(source.clone(), &overrides).map_err(|errors| bad_input(&errors.to_string()))?;
    Ok(Arc::new(plan))
}

/// The seed that a flag names.
fn seed_of(text: &str) -> Result<u64, Refusal> {
    if text == "random" {
        let seed = random_seed();
        eprintln!("seed {seed}");
        return Ok(seed);
    }
    text.parse().map_err(|_| {
        bad_input(&format!(
            "error: `--seed {text}`: a seed is an integer from 0 to 18446744073709551615, or `random`"
        ))
    })
}

/// A number that nobody chose.
fn random_seed() -> u64 {
    let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    text_key(&format!("{} {}", since.as_nanos(), std::process::id()))
}

fn bad_input(message: &str) -> Refusal {
    Refusal {
        code: BAD_INPUT,
        message: message.to_owned(),
    }
}

fn unreadable(error: std::io::Error) -> Refusal {
    Refusal {
        code: INTERNAL,
        message: format!("error: comparing the files of two simulations: {error}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "names the run directory and paces the progress line; no core sees it"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Of two the one whose exit code wins (contract, section 4).
fn graver(one: Status, other: Status) -> Status {
    let order = [
        Status::Error,
        Status::Broken,
        Status::Interrupted,
        Status::Invalid,
        Status::Failed,
        Status::Passed,
    ];
    let found = order.into_iter().find(|status| *status == one || *status == other);
    found.expect("the order holds every status")
}
