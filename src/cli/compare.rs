//! `squall compare`: is the candidate worse than the base, and do we know?

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::play::{Outcome, Status};
use crate::report::{Recording, RunDirectory, Side, Terms, compare, compare_junit, compare_markdown, compare_text};
use crate::scenario::{Plan, Source};

use super::baseline::{TermFlags, warn};
use super::flags::ChangeFlags;
use super::now;
use super::refusal::Refusal;
use super::report::write_file;
use super::results::put;
use super::run::{Live, check_reach, play_live};

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

/// Carries the command out; gives the exit code.
pub fn run(args: &CompareArgs) -> u8 {
    settle(args).unwrap_or_else(|refusal| refusal.tell())
}

fn settle(args: &CompareArgs) -> Result<u8, Refusal> {
    let terms = args.terms.terms(args.run.is_some())?;
    args.reports.iter().try_for_each(|path| kind(path).map(|_| ()))?;
    let (base, candidate) = match &args.run {
        Some(scenario) => match measure(args, scenario, &terms)? {
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
fn measure(args: &CompareArgs, scenario: &str, terms: &Terms) -> Result<Measured, Refusal> {
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
            terms.check(&run.summary).map_err(|refused| Refusal::bad_input(&refused))?;
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
