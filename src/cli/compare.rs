//! `squall compare`: is the candidate worse than the base, and do we know? Also the flags by which `run` and `sim` compare themselves with a
//! baseline.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::model::parse_share;
use crate::play::{Outcome, Status};
use crate::report::{
    Comparison, Force, Gate, Recording, Refused, RunDirectory, Side, Terms, compare, compare_junit, compare_markdown, compare_text,
    save_baseline,
};
use crate::scenario::{Plan, Source};

use super::flags::ChangeFlags;
use super::refusal::Refusal;
use super::report::write_file;
use super::results::put;
use super::run::{Live, check_reach, play_live};
use super::{BAD_INPUT, now};

const EXAMPLES: &str = "\
Examples:
  squall run my.toml --repeat 7 --save-baseline main     one batch of seven runs, kept under a name
  squall compare main runs/latest                        a baseline and a run directory
  squall compare runs/before runs/after --report comment.md
  squall compare --run quickstart --a fleet.demo.link=wifi --b fleet.demo.link=lte --runs 7
                                                         both sides now, in turn: the most trustworthy form
Exit codes: 0 no regression, 2 the sides cannot be compared, 101 regression (with --strict undecided, too).";

/// Arguments of `squall compare`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompareArgs {
    /// A run directory (with repetitions), a baseline's name or its folder
    #[arg(value_name = "BASE", required_unless_present = "run")]
    base: Option<PathBuf>,
    /// What is held against it: the same
    #[arg(value_name = "CAND", required_unless_present = "run")]
    candidate: Option<PathBuf>,
    /// Measures both sides now, in the order A B B A
    #[arg(long, value_name = "SCENARIO", conflicts_with_all = ["base", "candidate"])]
    run: Option<String>,
    /// What side A changes in the scenario; repeatable
    #[arg(long, value_name = "KEY=VALUE", requires = "run")]
    a: Vec<String>,
    /// What side B changes in the scenario; repeatable
    #[arg(long, value_name = "KEY=VALUE", requires = "run")]
    b: Vec<String>,
    /// Runs of each side
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=200))]
    runs: u32,
    #[command(flatten)]
    changes: ChangeFlags,
    #[command(flatten)]
    terms: TermFlags,
    /// Writes a report, by its suffix: .json .md .xml (JUnit); repeatable
    #[arg(long = "report", value_name = "PATH")]
    reports: Vec<PathBuf>,
    /// Folder of the run directories and the baselines
    #[arg(long, value_name = "DIR", default_value = "runs", env = "SQUALL_OUT")]
    out: PathBuf,
    /// Prints the comparison as JSON and nothing else on standard output
    #[arg(long)]
    json: bool,
    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
}

/// By which terms sides are compared.
#[derive(Args, Clone, Debug)]
pub struct TermFlags {
    /// What is compared, for example "update_time p(95)"; repeatable [default: four gates, see docs/compare.md]
    #[arg(long = "gate", value_name = "MEASURE")]
    gates: Vec<String>,
    /// Largest change that is none
    #[arg(long, value_name = "PERCENT", default_value = "5 %")]
    tolerance: String,
    /// Undecided gates fail too
    #[arg(long)]
    strict: bool,
    /// Overlooks that the sides differ in `hash` (what is played) or `machine`; every output then says FORCED
    #[arg(long, value_name = "WHAT", default_value = "")]
    force: String,
}

impl TermFlags {
    fn terms(&self, interleaved: bool) -> Result<Terms, Refusal> {
        let gate =
            |text: &String| Gate::parse(text).map_err(|problem| Refusal::bad_input(&format!("`--gate \"{text}\"`: {problem}")));
        let tolerance = match self.tolerance.contains('%') {
            true => parse_share(&self.tolerance).map_err(|error| error.to_string()),
            false => parse_share(&format!("{} %", self.tolerance)).map_err(|error| error.to_string()),
        };
        let tolerance = tolerance.map(|share| share.0 as f64 / 1e6).and_then(|share| match share {
            0.001..=0.5 => Ok(share),
            _ => Err("a tolerance is from 0.1 % to 50 %".to_owned()),
        });
        let tolerance =
            tolerance.map_err(|problem| Refusal::bad_input(&format!("`--tolerance \"{}\"`: {problem}", self.tolerance)))?;
        let force =
            Force::parse(&self.force).map_err(|problem| Refusal::bad_input(&format!("`--force {}`: {problem}", self.force)))?;
        Ok(Terms {
            gates: match self.gates.is_empty() {
                true => Gate::defaults(),
                false => self.gates.iter().map(gate).collect::<Result<_, _>>()?,
            },
            every_gate: !self.gates.is_empty(),
            tolerance,
            interleaved,
            strict: self.strict,
            force,
        })
    }
}

/// Carries the command out; gives the exit code.
pub fn run(args: &CompareArgs) -> u8 {
    settle(args).unwrap_or_else(|refusal| refusal.tell())
}

fn settle(args: &CompareArgs) -> Result<u8, Refusal> {
    let terms = args.terms.terms(args.run.is_some())?;
    args.reports.iter().try_for_each(|path| kind(path).map(|_| ()))?;
    let (base, candidate) = match &args.run {
        Some(scenario) => match measure(args, scenario)? {
            Measured::Sides(base, candidate) => (base, candidate),
            Measured::Ended(status) => return Ok(status.exit_code()),
        },
        None => {
            let side = |argument: &Option<PathBuf>| {
                let argument = argument.as_deref().expect("required where nothing is measured");
                Side::read(argument, &args.out).map_err(|error| Refusal::bad_input(&error))
            };
            (side(&args.base)?, side(&args.candidate)?)
        }
    };
    let comparison = compare(&base, &candidate, &terms).map_err(|refused| Refusal::bad_input(&refused))?;
    for path in &args.reports {
        let text = match kind(path)? {
            Kind::Json => comparison.to_json(),
            Kind::Markdown => compare_markdown(&comparison),
            Kind::Junit => compare_junit(&comparison),
        };
        write_file(path, &text)?;
    }
    match args.json {
        true => put(&comparison.to_json()),
        false => put(&compare_text(&comparison)),
    }
    warn(&comparison);
    Ok(comparison.exit_code)
}

fn warn(comparison: &Comparison) {
    if comparison.verdict == "undecided" && comparison.exit_code == 0 {
        eprintln!("warning: not every gate is decided; `--strict` makes this exit code 101");
    }
}

enum Kind {
    Json,
    Markdown,
    Junit,
}

fn kind(path: &Path) -> Result<Kind, Refusal> {
    match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("json") => Ok(Kind::Json),
        Some("md") => Ok(Kind::Markdown),
        Some("xml") => Ok(Kind::Junit),
        _ => {
            let problem = format!("`--report {}`: a comparison is written as .json, .md or .xml", path.display());
            Err(Refusal::bad_input(&problem))
        }
    }
}

enum Measured {
    Sides(Side, Side),
    /// A run was interrupted or failed: there is nothing to compare.
    Ended(Status),
}

/// Plays both sides in turn. A run that the harness spoilt is played again, as often as there are runs to a side.
fn measure(args: &CompareArgs, scenario: &str) -> Result<Measured, Refusal> {
    let source = Source::from_argument(scenario, || std::io::read_to_string(std::io::stdin()));
    let source = source.map_err(|error| Refusal::bad_input(&format!("standard input: {error}")))?;
    let plans = [&args.a, &args.b].map(|more| args.changes.and(more).plan(&source));
    let [plan_a, plan_b] = plans;
    let plans: [Arc<Plan>; 2] = [plan_a?, plan_b?];
    let directory = RunDirectory::create(&args.out, &format!("compare-{}", plans[0].name), now())?;
    for plan in &plans {
        check_reach(plan, false, false)?;
    }
    let live = Live::prepare(&[&*plans[0], &*plans[1]], args.quiet)?;
    let mut sides = [Vec::new(), Vec::new()];
    let mut spare = args.runs;
    for round in 0..args.runs {
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let folder = directory.within(["a", "b"][side])?.within(&format!("rep-{:02}", round + 1))?;
            loop {
                let outcome = play_live(&live, &plans[side], &folder)?;
                let status = outcome.status();
                if !args.quiet {
                    eprintln!("{} run {} of {}: {}", ["A", "B"][side], round + 1, args.runs, status.word());
                }
                match status {
                    Status::Passed | Status::Failed | Status::Broken => break,
                    Status::Invalid if spare > 0 => spare -= 1,
                    Status::Invalid | Status::Interrupted | Status::Error => {
                        eprintln!("error: nothing is compared: {}", vain(&outcome, args.runs));
                        return Ok(Measured::Ended(status));
                    }
                }
            }
            let run = Recording::read(folder.path()).map_err(|error| Refusal::internal(&error))?;
            sides[side].push(run.summary);
        }
    }
    let name = |letter: &str, changes: &[String]| match changes.is_empty() {
        true => letter.to_owned(),
        false => format!("{letter}: {}", changes.join(" ")),
    };
    let [a, b] = sides;
    Ok(Measured::Sides(
        Side::of(name("A", &args.a), a),
        Side::of(name("B", &args.b), b),
    ))
}

/// Why a run ends a measurement.
fn vain(outcome: &Outcome, runs: u32) -> String {
    let status = outcome.status();
    match &outcome.harness {
        Some(harness) if status == Status::Invalid => format!(
            "{} runs were invalid, the last since {}; a quieter machine or fewer devices (`-d`) may do, and `squall sim --repeat 10` needs \
             neither",
            runs + 1,
            harness.reasons.join("; ")
        ),
        _ => format!("a run ended with `{}`", status.word()),
    }
}

/// How `run` and `sim` go with baselines.
#[derive(Args, Clone, Debug)]
pub struct BaselineFlags {
    /// Compares with this baseline afterwards; a regression is exit code 101
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Adds the runs to this baseline as one batch
    #[arg(long, value_name = "NAME")]
    save_baseline: Option<String>,
    #[command(flatten)]
    terms: TermFlags,
}

impl BaselineFlags {
    /// Refuses what cannot be done: said before the runs, not after them.
    pub(super) fn check(&self, out: &Path) -> Result<(), Refusal> {
        self.terms.terms(false)?;
        if let Some(name) = &self.baseline {
            Side::read(Path::new(name), out).map_err(|error| Refusal::bad_input(&format!("`--baseline {name}`: {error}")))?;
        }
        Ok(())
    }

    /// Compares the runs in `folders` with the baseline, then adds them to one, as asked. Gives the exit code of it all.
    pub(super) fn settle(&self, out: &Path, folders: &[&Path], status: Status, json: bool) -> Result<u8, Refusal> {
        let code = status.exit_code();
        if self.baseline.is_none() && self.save_baseline.is_none() {
            return Ok(code);
        }
        if matches!(status, Status::Invalid | Status::Interrupted | Status::Error) {
            eprintln!("note: neither compared nor kept as a baseline: a run is {}", status.word());
            return Ok(code);
        }
        let compared = match &self.baseline {
            Some(name) => self.compare(name, out, folders, json)?,
            None => 0,
        };
        if let Some(name) = &self.save_baseline {
            let batch = save_baseline(out, name, folders).map_err(|problem| Refusal::bad_input(&problem))?;
            eprintln!("baseline `{name}`: one batch more, {}", batch.display());
        }
        Ok(if code == 0 { compared } else { code })
    }

    fn compare(&self, name: &str, out: &Path, folders: &[&Path], json: bool) -> Result<u8, Refusal> {
        let base = Side::read(Path::new(name), out).map_err(|error| Refusal::bad_input(&error))?;
        let runs = folders.iter().map(|folder| Recording::read(folder).map(|run| run.summary));
        let runs = runs
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Refusal::internal(&error))?;
        match compare(&base, &Side::of("this", runs), &self.terms.terms(false)?) {
            Ok(comparison) => {
                match json {
                    true => eprint!("{}", compare_text(&comparison)),
                    false => put(&compare_text(&comparison)),
                }
                warn(&comparison);
                Ok(comparison.exit_code)
            }
            Err(refused @ Refused::Spoilt { .. }) => {
                eprintln!("error: {refused}");
                Ok(BAD_INPUT)
            }
            Err(refused) => Err(Refusal::bad_input(&refused)),
        }
    }
}
