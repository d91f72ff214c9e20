//! `squall run`: plays a scenario in real time, against a server of its own.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::live::{PlayOptions, Progress, make_room};
use crate::play::{Outcome, Status};
use crate::report::{RunDirectory, timestamp};
use crate::scenario::Plan;

use super::compare::BaselineFlags;
use super::refusal::Refusal;
use super::report::ReportFlags;
use super::{OutputFlags, ScenarioFlags, now};

const EXAMPLES: &str = "\
Examples:
  squall run quickstart                              a built-in example
  squall run my.toml -d 2000 --seed 3                your file, other size, other luck
  squall run my.toml --set fleet.demo.link=lan       one value changed
  squall run my.toml --repeat 7 --save-baseline main seven runs, kept to compare with
  squall run my.toml -q --json > summary.json        for a script";

/// Arguments of `squall run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    scenario: ScenarioFlags,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    reports: ReportFlags,
    /// Plays N times with the same seed, each into a folder of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200))]
    repeat: Option<u32>,
    #[command(flatten)]
    baselines: BaselineFlags,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &RunArgs) -> u8 {
    play(args).unwrap_or_else(|refusal| refusal.tell())
}

fn play(args: &RunArgs) -> Result<u8, Refusal> {
    args.reports.check(args.repeat.unwrap_or(1) as usize)?;
    args.baselines.check(&args.output.out)?;
    let plan = args.scenario.plan(&args.scenario.source()?, None)?;
    if !args.output.quiet {
        plan.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    let live = Live {
        progress: progress(&args.output),
        ..Live::prepare(plan.devices.len(), args.output.quiet)?
    };
    let directory = RunDirectory::create(&args.output.out, &plan.name, now())?;
    let Some(count) = args.repeat else {
        let outcome = play_live(&live, &plan, &directory);
        return conclude(args, &[directory], said(args, outcome)?);
    };
    let (mut folders, mut gravest) = (Vec::new(), Status::Passed);
    for repetition in 1..=count {
        let folder = directory.within(&format!("rep-{repetition:02}"))?;
        let status = said(args, play_live(&live, &plan, &folder))?;
        folders.push(folder);
        gravest = gravest.graver(status);
        if matches!(status, Status::Interrupted | Status::Error) {
            break;
        }
    }
    conclude(args, &folders, gravest)
}

fn said(args: &RunArgs, outcome: Result<Outcome, Refusal>) -> Result<Status, Refusal> {
    let outcome = outcome?;
    args.output.say(&outcome);
    Ok(outcome.status())
}

/// Reports and baselines of what was played; gives the exit code.
fn conclude(args: &RunArgs, folders: &[RunDirectory], status: Status) -> Result<u8, Refusal> {
    let folders: Vec<_> = folders.iter().map(RunDirectory::path).collect();
    args.reports.write_of(&folders)?;
    args.baselines.settle(&args.output.out, &folders, status, args.output.json)
}

/// What every real run of a command needs.
pub(super) struct Live {
    server_program: PathBuf,
    progress: Progress,
}

impl Live {
    /// Makes room for `devices` devices.
    pub(super) fn prepare(devices: usize, quiet: bool) -> Result<Live, Refusal> {
        make_room(devices).map_err(|error| Refusal::internal(&error))?;
        let server_program =
            std::env::current_exe().map_err(|error| Refusal::internal(&format!("this program's own path: {error}")))?;
        Ok(Live {
            server_program,
            progress: if quiet { Progress::Off } else { Progress::Lines },
        })
    }
}

/// Plays a plan over real sockets and writes its files.
pub(super) fn play_live(live: &Live, plan: &Arc<Plan>, directory: &RunDirectory) -> Result<Outcome, Refusal> {
    let began = now();
    directory.log(&format!("run of `{}`, seed {}, began", plan.name, plan.seed))?;
    let outcome = crate::live::play(
        Arc::clone(plan),
        PlayOptions {
            server_program: live.server_program.clone(),
            log: Some(directory.path().join("log.txt")),
            progress: live.progress,
            started_at: Some(timestamp(began)),
        },
    );
    directory.log(&format!("ended after {} s: {}", outcome.elapsed, outcome.status().word()))?;
    directory.write(&outcome)?;
    Ok(outcome)
}

fn progress(output: &OutputFlags) -> Progress {
    if output.quiet {
        Progress::Off
    } else if std::io::stderr().is_terminal() {
        Progress::Bar
    } else {
        Progress::Lines
    }
}
