//! `squall run`: plays a scenario in real time, against a server of its own.

use std::io::IsTerminal;
use std::net::SocketAddr;

use clap::Args;

use crate::live::{PlayOptions, Progress, export, make_room};
use crate::play::{Outcome, Viewer};
use crate::report::{ReportError, RunDirectory, prometheus_text, timestamp};

use super::refusal::Refusal;
use super::report::ReportFlags;
use super::screen::{self, LiveScreen};
use super::{OutputFlags, ScenarioFlags, now};

const EXAMPLES: &str = "\
Examples:
  squall run quickstart                              a built-in example
  squall run my.toml -d 2000 --seed 3                your file, other size, other luck
  squall run my.toml --set fleet.demo.link=lan       one value changed
  squall run my.toml --metrics 127.0.0.1:9464        live figures for Prometheus
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
    /// Serves live figures to Prometheus at this address, on loopback, for example 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Lets `--metrics` listen on addresses that other machines reach
    #[arg(long, requires = "metrics")]
    metrics_for_all: bool,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &RunArgs) -> u8 {
    play(args).unwrap_or_else(|refusal| refusal.tell())
}

fn play(args: &RunArgs) -> Result<u8, Refusal> {
    args.reports.check(1)?;
    if let Some(address) = args
        .metrics
        .filter(|address| !address.ip().is_loopback() && !args.metrics_for_all)
    {
        let problem =
            format!("`--metrics {address}`: other machines reach this address; use 127.0.0.1, or add `--metrics-for-all`");
        return Err(Refusal::bad_input(&problem));
    }
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
    let (mut viewers, shown) = match args.shows_screen() {
        true => {
            let opened = screen::open(directory.path().to_owned(), args.output.color(), args.fps);
            let (viewer, shown) = opened.map_err(|error| Refusal::internal(&format!("no thread for the screen: {error}")))?;
            (vec![viewer], Some(shown))
        }
        false => (Vec::new(), None),
    };
    viewers.extend(args.export()?);
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
    /// Listens where figures are to be served, and says where that is.
    fn export(&self) -> Result<Option<Viewer>, Refusal> {
        let Some(address) = self.metrics else {
            return Ok(None);
        };
        let served = export(address, prometheus_text);
        let (viewer, bound) = served.map_err(|error| Refusal::internal(&format!("`--metrics {address}`: {error}")))?;
        if !self.output.quiet {
            eprintln!("metrics at http://{bound}/metrics");
        }
        Ok(Some(viewer))
    }

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
