//! `squall run`: plays a scenario in real time, against a server of its own.

use std::io::IsTerminal;

use clap::Args;

use crate::live::{PlayOptions, Progress, make_room};
use crate::play::Outcome;
use crate::report::{ReportError, RunDirectory, timestamp};

use super::refusal::Refusal;
use super::report::ReportFlags;
use super::screen::{self, LiveScreen};
use super::{OutputFlags, ScenarioFlags, now};

const EXAMPLES: &str = "\
Examples:
  squall run quickstart                              a built-in example
  squall run my.toml -d 2000 --seed 3                your file, other size, other luck
  squall run my.toml --set fleet.demo.link=lan       one value changed
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
    /// No screen, even where standard output is a terminal
    #[arg(long)]
    no_tui: bool,
    /// Pictures that the screen shows in a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    fps: u32,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &RunArgs) -> u8 {
    play(args).unwrap_or_else(|refusal| refusal.tell())
}

fn play(args: &RunArgs) -> Result<u8, Refusal> {
    args.reports.check(1)?;
    let plan = args.scenario.plan(&args.scenario.source()?, None)?;
    if !args.output.quiet {
        plan.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    make_room(plan.devices.len()).map_err(|error| Refusal::internal(&error))?;
    let server_program =
        std::env::current_exe().map_err(|error| Refusal::internal(&format!("this program's own path: {error}")))?;
    let began = now();
    let directory = RunDirectory::create(&args.output.out, &plan.name, began)?;
    directory.log(&format!("run of `{}`, seed {}, began", plan.name, plan.seed))?;
    let (viewers, shown) = match args.shows_screen() {
        true => {
            let opened = screen::open(directory.path().to_owned(), args.output.color(), args.fps);
            let (viewer, shown) = opened.map_err(|error| Refusal::internal(&format!("no thread for the screen: {error}")))?;
            (vec![viewer], Some(shown))
        }
        false => (Vec::new(), None),
    };
    let outcome = crate::live::play(
        plan,
        PlayOptions {
            server_program,
            log: Some(directory.path().join("log.txt")),
            progress: args.progress(),
            viewers,
            before_exit: crate::dashboard::restore,
            started_at: Some(timestamp(began)),
        },
    );
    shown.into_iter().for_each(LiveScreen::close);
    let written = close(&directory, &outcome);
    args.output.say(&outcome);
    written?;
    args.reports.write_of(&[directory.path()])?;
    Ok(outcome.status().exit_code())
}

fn close(directory: &RunDirectory, outcome: &Outcome) -> Result<(), ReportError> {
    directory.log(&format!("ended after {} s: {}", outcome.elapsed, outcome.status().word()))?;
    directory.write(outcome)
}

impl RunArgs {
    fn shows_screen(&self) -> bool {
        !self.no_tui && screen::is_possible(&self.output)
    }

    fn progress(&self) -> Progress {
        if self.output.quiet || self.shows_screen() {
            Progress::Off
        } else if std::io::stderr().is_terminal() {
            Progress::Bar
        } else {
            Progress::Lines
        }
    }
}
