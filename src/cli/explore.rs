//! `squall explore`: plays many seeds of a scenario in virtual time and keeps those that fail.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::explore::{Exploration, Failure, Halt, Hooks, News, SeedResult, Shrunk, Tally, explore, fails_as, shrink};
use crate::model::{LEGAL, parse_duration, show_count, show_duration};
use crate::play::{Outcome, Status};
use crate::report::{ReportError, RunDirectory};

use super::interrupt::Interrupt;
use super::refusal::Refusal;
use super::results::put;
use super::{OutputFlags, ScenarioFlags, now};

/// Seeds where nothing else is said.
const SEEDS: u64 = 1_000;
/// Simulations that shrinking a failing seed may take.
const SHRINKING: u32 = 400;
/// How often progress is told on standard error.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);
/// Lines of the summary end here.
const RIGHT: usize = 79;

const EXAMPLES: &str = "\
Examples:
  squall explore bad-firmware                   1,000 seeds, from the scenario's own on
  squall explore fleet.toml --seed 5000 --seeds 200 -d 100
  squall explore fleet.toml --for 10m --jobs 2
A failing seed prints a line with the command that plays it again; its files are below failures/ in the run directory. The first of
each rule or expectation is shrunk: the smallest scenario that fails alike is shrunk.toml, and the faults left in it are to blame.";

/// Arguments of `squall explore`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExploreArgs {
    #[command(flatten)]
    scenario: ScenarioFlags,
    #[command(flatten)]
    output: OutputFlags,
    /// How many seeds, from the scenario's seed on [default: 1000; with --for as many as there is time for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Begins no further seed after this time, for example `10m`
    #[arg(long = "for", value_name = "TIME")]
    time: Option<String>,
    /// Simulations at the same time [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Neither shrinks the first seed of each failure nor looks for the faults to blame
    #[arg(long)]
    no_shrink: bool,
    /// A fault at every flash operation, or every message, of one update
    #[arg(long, value_name = "flash|messages")]
    exhaust: Option<String>,
    /// Searches the shortest outage that never heals
    #[arg(long)]
    outage: bool,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &ExploreArgs) -> u8 {
    search(args).unwrap_or_else(|refusal| refusal.tell())
}

fn search(args: &ExploreArgs) -> Result<u8, Refusal> {
    let unsupported = [
        ("--exhaust", args.exhaust.is_some()),
        ("--outage", args.outage),
        ("--json", args.output.json),
    ];
    if let Some((flag, _)) = unsupported.iter().find(|(_, given)| *given) {
        return Err(Refusal::bad_input(&format!("not supported yet: `{flag}` of `explore`")));
    }
    let time = args.time.as_deref().map(time_of).transpose()?;
    let source = args.scenario.source()?;
    let first = args.scenario.plan(&source, None)?;
    if !args.output.quiet {
        first.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    let began = now();
    let directory = RunDirectory::create(&args.output.out, &first.name, began)?;
    let exploration = Exploration {
        first: first.seed,
        seeds: args.seeds.or(time.is_none().then_some(SEEDS)),
        jobs: args
            .jobs
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN),
    };
    directory.log(&format!("exploration of `{}`, from seed {}, began", first.name, first.seed))?;
    let interrupt = Interrupt::listen();
    let hash = first.hash.clone();
    drop(first);
    let hooks = Hooks {
        plan: &|seed| {
            let plan = args.scenario.plan(&source, Some(seed))?;
            let same = plan.hash == hash;
            same.then_some(plan)
                .ok_or_else(|| Refusal::bad_input(&"the scenario was changed while it was explored"))
        },
        keep: &|outcome| Ok(keep(&directory, outcome)?),
        halt: &|| match interrupt.asked() {
            true => Halt::Now,
            false if time.is_some_and(|time| since(began) >= time) => Halt::NoMore,
            false => Halt::GoOn,
        },
    };
    let mut teller = Teller {
        args,
        began,
        told_at: began,
        directory: &directory,
        interrupt: &interrupt,
        kinds: BTreeSet::new(),
        problem: None,
    };
    let tally = explore(&exploration, &hooks, &mut |news| match news {
        News::Seed(result) => teller.seed(result),
        News::Tick(tally) => teller.tick(tally),
    })?;
    if let Some(problem) = teller.problem {
        return Err(problem.into());
    }
    let summary = summary(&exploration, &tally);
    put(&summary);
    for line in summary.lines() {
        directory.log(line)?;
    }
    if !args.output.quiet {
        eprintln!(
            "{}, {} jobs; files: {}",
            pace(&tally, began),
            exploration.jobs,
            directory.path().display()
        );
    }
    Ok(tally.status.exit_code())
}

fn time_of(text: &str) -> Result<Duration, Refusal> {
    parse_duration(text).map_err(|error| Refusal::bad_input(&format!("`--for {text}`: {error}")))
}

/// Writes the files of a failing seed.
fn keep(directory: &RunDirectory, outcome: &Outcome) -> Result<(), ReportError> {
    let (plan, status) = (&outcome.plan, outcome.status());
    let own = directory.within("failures")?.within(&plan.seed.to_string())?;
    own.log(&format!("sim of `{}`, seed {}: {}", plan.name, plan.seed, status.word()))?;
    own.write(outcome)
}

/// Says how it goes.
struct Teller<'a> {
    args: &'a ExploreArgs,
    began: SystemTime,
    told_at: SystemTime,
    directory: &'a RunDirectory,
    interrupt: &'a Interrupt,
    /// Failures of which a seed was shrunk: others like it teach nothing new.
    kinds: BTreeSet<String>,
    /// A shrunk scenario could not be kept.
    problem: Option<ReportError>,
}

impl Teller<'_> {
    fn seed(&mut self, result: &SeedResult) {
        let Some(failure) = result.failure.as_ref().filter(|_| result.status != Status::Passed) else {
            if self.args.output.verbose {
                eprintln!("seed {}  passed, fingerprint {:016x}", result.seed, result.fingerprint);
            }
            return;
        };
        let kept = self.args.output.out.join("latest/failures").join(result.seed.to_string());
        let line = format!(
            "seed {}  {}  {failure}  squall replay {}",
            result.seed,
            result.status.word(),
            kept.display()
        );
        put(&format!("{}\n", line.replace(char::is_control, " ")));
        if !self.args.no_shrink && self.kinds.insert(failure.kind().to_owned()) {
            self.shrink(result.seed, failure);
        }
    }

    /// Makes the smallest scenario of a failure, and keeps and tells it.
    fn shrink(&mut self, seed: u64, failure: &Failure) {
        let below = format!("failures/{seed}");
        let read = std::fs::read_to_string(self.directory.path().join(&below).join("resolved.toml"));
        // An expectation speaks of the fleet as it is; what breaks a rule breaks it whatever the fleet.
        let fleet = !matches!(failure, Failure::Expectation { .. });
        let mut fails = |scenario: &str| fails_as(failure.kind(), scenario, &|| self.interrupt.asked());
        let Some(shrunk) = read.ok().and_then(|text| shrink(&text, fleet, SHRINKING, &mut fails)) else {
            return;
        };
        let kept = self
            .directory
            .within(&below)
            .and_then(|own| own.put_shrunk(&shrunk.draft.to_string()));
        match kept {
            Ok(()) => put(&shrunk_line(
                &shrunk,
                &self.args.output.out.join("latest").join(below).display().to_string(),
            )),
            Err(problem) => self.problem = Some(problem),
        }
    }

    fn tick(&mut self, tally: &Tally) {
        if !self.args.output.quiet && since(self.told_at) >= PROGRESS_EVERY {
            self.told_at = now();
            eprintln!("seeds={} failing={} {}", tally.played, tally.failing, rate(tally, self.began));
        }
    }
}

/// What a failing seed came down to, and which faults it needs.
fn shrunk_line(shrunk: &Shrunk, folder: &str) -> String {
    let faults: Vec<_> = shrunk.draft.faults().iter().map(|name| format!("`{name}`")).collect();
    let blame = match (faults.is_empty(), shrunk.complete) {
        (true, _) => "needs no fault".to_owned(),
        (false, true) => format!("needs {}", faults.join(" and ")),
        (false, false) => format!("among {}", faults.join(" and ")),
    };
    format!("  shrunk to {}; {blame}  squall sim {folder}/shrunk.toml\n", shrunk.left())
}

/// What an exploration came to: the same for any number of jobs.
fn summary(exploration: &Exploration, tally: &Tally) -> String {
    let word = match tally.status {
        Status::Passed => "PASSED",
        Status::Failed => "FAILED",
        Status::Broken => "BROKEN",
        Status::Invalid => "INVALID",
        Status::Interrupted => "INTERRUPTED",
        Status::Error => "ERROR",
    };
    let right = format!("exit code {}", tally.status.exit_code());
    let left = format!(
        "{word}  {} from {}, {} failing",
        seeds(tally.played),
        exploration.first,
        show_count(tally.failing)
    );
    let room = RIGHT.saturating_sub(right.len());
    let unseen = tally.matrix.unseen();
    let mut text = format!("{left:<room$}{right}\n");
    text.push_str(&format!(
        "coverage     {} of {} legal transitions, {} illegal\n",
        LEGAL.len() - unseen.len(),
        LEGAL.len(),
        show_count(tally.matrix.illegal())
    ));
    let never: Vec<_> = unseen.iter().map(|(from, to)| format!("{from}>{to}")).collect();
    text.push_str(&listed("never seen", &never));
    text
}

/// A heading and words, wrapped at column 80; nothing where there are no words.
fn listed(heading: &str, words: &[String]) -> String {
    let mut text = String::new();
    let mut line = format!("{heading:<13}");
    for (position, word) in words.iter().enumerate() {
        let comma = if position + 1 < words.len() { "," } else { "" };
        if line.len() + word.len() + comma.len() > RIGHT {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(13);
        }
        line.push_str(&format!("{word}{comma} "));
    }
    if !words.is_empty() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn pace(tally: &Tally, began: SystemTime) -> String {
    format!(
        "{} in {}, {}",
        seeds(tally.played),
        show_duration(since(began)),
        rate(tally, began)
    )
}

fn rate(tally: &Tally, began: SystemTime) -> String {
    let minutes = since(began).as_secs_f64() / 60.0;
    let rate = if minutes > 0.0 { tally.played as f64 / minutes } else { 0.0 };
    format!("{} a minute", show_count(rate.round() as u64))
}

fn seeds(count: u64) -> String {
    format!("{} seed{}", show_count(count), if count == 1 { "" } else { "s" })
}

fn since(moment: SystemTime) -> Duration {
    now().duration_since(moment).unwrap_or_default()
}
