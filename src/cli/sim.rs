//! `squall sim`: plays a scenario in virtual time, once, for several seeds, or twice to compare.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::measure::{Trace, TraceRow};
use crate::play::{Director, Outcome, Status};
use crate::report::RunDirectory;
use crate::scenario::{Plan, Source};
use crate::sim::{Pulse, play_shown, play_watched};
use crate::time::SimTime;

use super::baseline::BaselineFlags;
use super::flags::ShardFlags;
use super::interrupt::Interrupt;
use super::refusal::Refusal;
use super::report::ReportFlags;
use super::screen::{self, Speed, watched};
use super::verbose::{self, Teller};
use super::{OutputFlags, ScenarioFlags, now};

/// How often progress is told on standard error.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// How often `-v` asks what happened, in virtual time.
const TOLD_EVERY: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  squall sim quickstart                              a built-in example
  squall sim my.toml --watch 10x                     ten times as fast as real, on the screen
  squall sim my.toml --repeat 20                     twenty seeds, from the file's own on
  squall sim my.toml --repeat 10 --baseline main     ten seeds, compared with a baseline
  squall sim my.toml --verify                        plays twice and compares every file";

/// Arguments of `squall sim`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SimArgs {
    #[command(flatten)]
    scenario: ScenarioFlags,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    reports: ReportFlags,
    #[command(flatten)]
    baselines: BaselineFlags,
    #[command(flatten)]
    split: ShardFlags,
    /// Plays N seeds, from the scenario's seed on, each into a folder of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Plays twice and compares trace and files
    #[arg(long)]
    verify: bool,
    /// Shows the run on the screen at a multiple of real time, for example 10x
    #[arg(long, value_name = "SPEED", conflicts_with_all = ["repeat", "verify", "json", "quiet"])]
    watch: Option<Speed>,
    /// Pictures that the screen shows in a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    fps: u32,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &SimArgs) -> u8 {
    play(args).unwrap_or_else(|refusal| refusal.tell())
}

fn play(args: &SimArgs) -> Result<u8, Refusal> {
    if args.watch.is_some() && !screen::is_possible(&args.output) {
        return Err(Refusal::bad_input(
            &"`--watch` needs a terminal on standard output that is not `TERM=dumb`",
        ));
    }
    args.reports.check(args.repeat.unwrap_or(1) as usize)?;
    args.baselines.check(&args.output.out)?;
    let source = args.scenario.source()?;
    let first = args.split.of(args.scenario.plan(&source, None)?)?;
    if !args.output.quiet {
        first.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    let directory = RunDirectory::create(&args.output.out, &first.name, now())?;
    let interrupt = Interrupt::listen();
    match args.repeat {
        None => {
            let status = play_one(args, &first, &directory, &interrupt)?;
            conclude(args, &[directory.path()], status)
        }
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
    let mut folders = Vec::new();
    for repetition in 1..=count {
        let seed = first.seed.wrapping_add(u64::from(repetition - 1));
        let plan = args.scenario.plan(source, Some(seed))?;
        let folder = directory.within(&format!("rep-{repetition:02}"))?;
        let status = play_one(args, &plan, &folder, interrupt)?;
        folders.push(folder);
        gravest = gravest.graver(status);
        if interrupt.asked() {
            gravest = gravest.graver(Status::Interrupted);
            break;
        }
    }
    let folders: Vec<_> = folders.iter().map(RunDirectory::path).collect();
    conclude(args, &folders, gravest)
}

/// Reports and baselines of what was played; gives the exit code.
fn conclude(args: &SimArgs, folders: &[&Path], status: Status) -> Result<u8, Refusal> {
    args.reports.write_of(folders)?;
    args.baselines.settle(&args.output.out, folders, status, args.output.json)
}

/// Plays one plan, writes its files, says what it came to.
fn play_one(args: &SimArgs, plan: &Arc<Plan>, directory: &RunDirectory, interrupt: &Interrupt) -> Result<Status, Refusal> {
    directory.log(&format!("sim of `{}`, seed {}, began", plan.name, plan.seed))?;
    let outcome = match args.watch {
        Some(speed) => {
            let (folder, color) = (directory.path().to_owned(), args.output.color());
            let (outcome, shown) = watched(Arc::clone(plan), folder, color, (speed, args.fps), interrupt);
            if let Err(error) = shown {
                eprintln!("the screen could not be shown: {error}");
            }
            outcome
        }
        None if args.output.verbose => simulate_aloud(plan, interrupt),
        None => simulate(args, plan, interrupt),
    };
    directory.log(&format!("ended after {} s: {}", outcome.elapsed, outcome.status().word()))?;
    let written = directory.write(&outcome);
    args.output.say(&outcome, Some(&directory.page()));
    written?;
    let status = outcome.status();
    if args.verify && status != Status::Interrupted {
        verify(&outcome, &simulate(args, plan, interrupt), directory)?;
        if !args.output.quiet {
            eprintln!("verified: played twice, every file but the log is the same");
        }
    }
    Ok(status)
}

/// Compares with what the same plan came to when it was played again; the second run's files stay beside the first's if they differ.
fn verify(first: &Outcome, again: &Outcome, directory: &RunDirectory) -> Result<(), Refusal> {
    let second = directory.within("verify")?;
    second.write(again)?;
    if let Some(difference) = first_difference(first, again, directory.path(), second.path()).map_err(unreadable)? {
        return Err(Refusal::internal(&format!(
            "two simulations of one plan differ: {difference}"
        )));
    }
    std::fs::remove_dir_all(second.path()).map_err(unreadable)
}

/// Where two outcomes of one plan part: in the trace, in the fingerprint, or in a file.
fn first_difference(first: &Outcome, second: &Outcome, one: &Path, other: &Path) -> std::io::Result<Option<String>> {
    let rows = [first, second].map(|outcome| outcome.recorder.trace().map(Trace::sorted).unwrap_or_default());
    let longest = rows[0].len().max(rows[1].len());
    if let Some(at) = (0..longest).find(|at| rows[0].get(*at) != rows[1].get(*at)) {
        let [one, other] = [(first, 0), (second, 1)].map(|(outcome, side): (_, usize)| trace_line(outcome, rows[side].get(at)));
        return Ok(Some(format!("trace, line {}: {one} and {other}", at + 1)));
    }
    if first.recorder.fingerprint() != second.recorder.fingerprint() {
        return Ok(Some("the fingerprint, with no difference in the trace".to_owned()));
    }
    different_file(one, other)
}

fn trace_line(outcome: &Outcome, row: Option<&TraceRow>) -> String {
    let mut line = String::new();
    match row.zip(outcome.recorder.trace()) {
        Some((row, trace)) => trace.write_line(row, &outcome.plan.devices[row.device.at()].id, &mut line),
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

/// Plays and tells everything that happens.
fn simulate_aloud(plan: &Arc<Plan>, interrupt: &Interrupt) -> Outcome {
    let mut teller = Teller::default();
    let outcome = play_shown(Arc::clone(plan), &mut |mut scene| {
        teller.tell(&scene.picture(&verbose::ask()));
        if interrupt.asked() {
            Pulse::Interrupt
        } else {
            Pulse::Until(scene.now + TOLD_EVERY)
        }
    });
    teller.tell_rest(&outcome);
    outcome
}

fn unreadable(error: std::io::Error) -> Refusal {
    Refusal::internal(&format!("comparing the files of two simulations: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, load};
    use crate::sim::play;

    /// A run with its files; `size` is that of the image.
    fn played(size: &str, folder: &Path) -> (Outcome, RunDirectory) {
        let text = format!(
            "scenario = {{ duration = \"30s\" }}\nfirmware.app = {{ \"1.0.0\" = {{}}, \"1.1.0\" = {{ size = \"{size}\" }} }}\n\
             fleet.demo = {{ count = 2, runs = \"app@1.0.0\" }}\nstep = [{{ at = \"2s\", deploy = \"app@1.1.0\", to = \"all\" }}]"
        );
        let plan = load(Source::Stdin(text), &Overrides::default()).unwrap();
        let outcome = play(Arc::new(plan));
        let directory = RunDirectory::create(folder, "verified", std::time::SystemTime::UNIX_EPOCH).unwrap();
        directory.write(&outcome).unwrap();
        (outcome, directory)
    }

    #[test]
    fn the_first_line_in_which_two_simulations_differ_is_named() {
        let folders = [(), (), ()].map(|()| tempfile::tempdir().unwrap());
        let (one, kept) = played("16 KiB", folders[0].path());
        let (same, again) = played("16 KiB", folders[1].path());
        let (other, changed) = played("20 KiB", folders[2].path());
        let compared = |first: &Outcome, second: &Outcome, one: &RunDirectory, other: &RunDirectory| {
            first_difference(first, second, one.path(), other.path()).unwrap()
        };
        assert_eq!(compared(&one, &same, &kept, &again), None);
        let difference = compared(&one, &other, &kept, &changed).unwrap();
        let number: usize = difference
            .strip_prefix("trace, line ")
            .and_then(|rest| rest.split(':').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{difference}"));
        let lines = |outcome: &Outcome| {
            let rows = outcome.recorder.trace().unwrap().sorted();
            rows.iter().map(|row| trace_line(outcome, Some(row))).collect::<Vec<_>>()
        };
        let (left, right) = (lines(&one), lines(&other));
        assert_eq!(left[..number - 1], right[..number - 1], "{difference}");
        assert_ne!(left[number - 1], right[number - 1], "{difference}");
        assert!(number > 1 && difference.contains(&left[number - 1]) && difference.contains(&right[number - 1]));
        // The command says so, and leaves the second run's files beside the first's.
        let refusal = verify(&one, &other, &kept).unwrap_err();
        let said = format!("two simulations of one plan differ: trace, line {number}: ");
        assert!(format!("{refusal:?}").contains(&said), "{refusal:?}");
        assert_eq!((refusal.tell(), kept.path().join("verify").is_dir()), (1, true));
        verify(&one, &same, &kept).unwrap();
        assert!(!kept.path().join("verify").exists());
        // Where traces agree, files may still differ.
        let summary = again.path().join("summary.txt");
        let text = std::fs::read_to_string(&summary).unwrap();
        std::fs::write(&summary, text.replacen("invariants", "Invariants", 1)).unwrap();
        let line = text.lines().position(|line| line.starts_with("invariants")).unwrap() + 1;
        let told = compared(&one, &same, &kept, &again);
        assert_eq!(told, Some(format!("summary.txt, line {line}")));
    }
}
