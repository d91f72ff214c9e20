//! `squall run`: plays a scenario in real time, against a server of its own.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;

use crate::live::{Needs, PlayOptions, Progress, check_access, export, find_boards, make_room};
use crate::play::{Outcome, Status, Viewer};
use crate::report::{RunDirectory, moment, prometheus_text, timestamp};
use crate::scenario::{AdminPlan, Plan};

use super::baseline::BaselineFlags;
use super::flags::ShardFlags;
use super::refusal::Refusal;
use super::report::ReportFlags;
use super::screen::{self, LiveScreen};
use super::verbose;
use super::{OutputFlags, ScenarioFlags, now};

const EXAMPLES: &str = "\
Examples:
  squall run quickstart                              a built-in example
  squall run my.toml -d 2000 --seed 3                your file, other size, other luck
  squall run my.toml --set fleet.demo.link=lan       one value changed
  squall run my.toml --repeat 7 --save-baseline main seven runs, kept to compare with
  squall run my.toml --twin                          and in virtual time: where do the two part?
  squall run my.toml --metrics 127.0.0.1:9464        live figures for Prometheus
  squall run my.toml --target mqtts://broker:8883    against a server that is there already
  squall run my.toml --shard 3/16 --start-at 2026-11-23T14:05:00Z    one of sixteen machines
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
    /// Plays the file in virtual time afterwards, and reports where the two part
    #[arg(long, conflicts_with = "shard")]
    twin: bool,
    #[command(flatten)]
    split: ShardFlags,
    /// Moment at which all shards begin, in UTC: 2026-11-23T14:05:00Z
    #[arg(long, value_name = "TIME", requires = "shard", value_parser = moment)]
    start_at: Option<SystemTime>,
    #[command(flatten)]
    baselines: BaselineFlags,
    /// Address of the server under test, in place of what the file says: mqtts://HOST:PORT, or mqtt:// without TLS. One outside loopback
    /// must be named here
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// Lets the file's `admin = "exec PROGRAM"` start that program
    #[arg(long)]
    allow_exec: bool,
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
    args.reports.check(args.repeat.unwrap_or(1) as usize)?;
    args.baselines.check(&args.output.out)?;
    args.check_metrics()?;
    let plan = args.plan()?;
    check_reach(&plan, args.target.is_some(), args.allow_exec)?;
    if !args.output.quiet {
        plan.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    let live = Live {
        progress: args.progress(),
        screen: args.shows_screen().then(|| (args.output.color(), args.fps)),
        viewers: args.export()?.into_iter().collect(),
        start_at: args.start_at,
        twin: args.twin,
        verbose: args.output.verbose,
        ..Live::prepare(&[&*plan], args.output.quiet)?
    };
    let directory = RunDirectory::create(&args.output.out, &plan.name, now())?;
    let Some(count) = args.repeat else {
        let outcome = play_live(&live, &plan, &directory);
        let status = said(args, outcome, &directory)?;
        return conclude(args, &[directory], status);
    };
    let (mut folders, mut gravest) = (Vec::new(), Status::Passed);
    for repetition in 1..=count {
        let folder = directory.within(&format!("rep-{repetition:02}"))?;
        let status = said(args, play_live(&live, &plan, &folder), &folder)?;
        folders.push(folder);
        gravest = gravest.graver(status);
        if matches!(status, Status::Interrupted | Status::Error) {
            break;
        }
    }
    conclude(args, &folders, gravest)
}

fn said(args: &RunArgs, outcome: Result<Outcome, Refusal>, directory: &RunDirectory) -> Result<Status, Refusal> {
    let outcome = outcome?;
    args.output.say(&outcome, Some(&directory.page()));
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
    /// Whether a screen is shown: its color, and pictures a second.
    screen: Option<(bool, u32)>,
    /// Whether what happens is told line by line.
    verbose: bool,
    /// Who else watches.
    viewers: Vec<Viewer>,
    /// When time zero is, if somebody says.
    start_at: Option<SystemTime>,
    /// Whether the plan is played in virtual time afterwards.
    twin: bool,
}

impl Live {
    /// Makes room for the devices of any of these plans, and finds what their boards need.
    pub(super) fn prepare(plans: &[&Plan], quiet: bool) -> Result<Live, Refusal> {
        for plan in plans {
            check_access(plan).map_err(|problem| Refusal::bad_input(&problem))?;
            make_room(plan).map_err(|error| Refusal::internal(&error))?;
            find_boards(plan).map_err(|error| Refusal::internal(&error))?;
            let needs = Needs::of(plan);
            if !quiet && needs.are_large() {
                eprintln!("{needs}");
            }
        }
        let server_program =
            std::env::current_exe().map_err(|error| Refusal::internal(&format!("this program's own path: {error}")))?;
        Ok(Live {
            server_program,
            progress: if quiet { Progress::Off } else { Progress::Lines },
            screen: None,
            verbose: false,
            viewers: Vec::new(),
            start_at: None,
            twin: false,
        })
    }
}

/// Plays a plan over real sockets and writes its files.
pub(super) fn play_live(live: &Live, plan: &Arc<Plan>, directory: &RunDirectory) -> Result<Outcome, Refusal> {
    let began = now();
    directory.log(&format!("run of `{}`, seed {}, began", plan.name, plan.seed))?;
    let (mut viewers, mut shown) = (live.viewers.clone(), None);
    if let Some((color, fps)) = live.screen {
        let opened = screen::open(directory.path().to_owned(), color, fps);
        let (viewer, screen) = opened.map_err(|error| Refusal::internal(&format!("no thread for the screen: {error}")))?;
        viewers.push(viewer);
        shown = Some(screen);
    }
    let told = live.verbose.then(verbose::listen).transpose();
    let told = told.map_err(|error| Refusal::internal(&format!("no thread for `-v`: {error}")))?;
    let told = told.map(|(viewer, listener)| {
        viewers.push(viewer);
        listener
    });
    let mut outcome = crate::live::play(
        Arc::clone(plan),
        PlayOptions {
            server_program: live.server_program.clone(),
            log: Some(directory.path().join("log.txt")),
            images: directory.path().join("images"),
            progress: live.progress,
            viewers,
            before_exit: crate::dashboard::restore,
            start_at: live.start_at,
            started_at: Some(timestamp(began)),
        },
    );
    shown.into_iter().for_each(LiveScreen::close);
    told.into_iter().for_each(|listener| listener.close(&outcome));
    directory.log(&format!("ended after {} s: {}", outcome.elapsed, outcome.status().word()))?;
    if live.twin && !matches!(outcome.status(), Status::Interrupted | Status::Error) {
        outcome.twin = Some(Box::new(crate::sim::play(Arc::clone(plan))));
    }
    directory.write(&outcome)?;
    Ok(outcome)
}

/// Whether a file's server may be reached, and its program started: a colleague's file can neither storm a third party nor start a
/// program unless the command line says so.
pub(super) fn check_reach(plan: &Plan, named: bool, allow_exec: bool) -> Result<(), Refusal> {
    let Some(target) = &plan.server.target else {
        return Ok(());
    };
    let address = &target.address;
    if !named && !address.is_loopback() {
        return Err(Refusal::bad_input(&format!(
            "the file's `target` {address} is another machine: name it on the command line too, `--target {address}`"
        )));
    }
    match &target.admin {
        AdminPlan::Program(program) if !allow_exec => Err(Refusal::bad_input(&format!(
            "the file's `admin` starts the program {}: allow it with `--allow-exec`",
            program.display()
        ))),
        AdminPlan::Api(admin) if !admin.is_loopback() && admin.host != address.host => Err(Refusal::bad_input(&format!(
            "the file's `admin` {admin} is on another machine than `target`, {address}: management is reached on loopback or where \
             devices connect"
        ))),
        AdminPlan::Nobody | AdminPlan::Program(_) | AdminPlan::Api(_) => Ok(()),
    }
}

impl RunArgs {
    fn plan(&self) -> Result<Arc<Plan>, Refusal> {
        let changed = self.target.iter().map(|target| format!("server.target={target}"));
        let changes = self.scenario.changes.and(&changed.collect::<Vec<_>>());
        let plan = self.split.of(changes.plan(&self.scenario.source()?)?)?;
        if !plan.split.is_whole() && plan.server.target.is_none() {
            return Err(Refusal::bad_input(
                &"`--shard` needs a server that all shards meet: name it with `target` in the file, or with `--target`",
            ));
        }
        if let Some(moment) = self.start_at.filter(|moment| *moment <= now()) {
            let problem = format!(
                "`--start-at {}` is over: name a moment to come, with time for every shard to get ready",
                timestamp(moment)
            );
            return Err(Refusal::bad_input(&problem));
        }
        Ok(plan)
    }

    fn check_metrics(&self) -> Result<(), Refusal> {
        match self.metrics {
            Some(address) if !address.ip().is_loopback() && !self.metrics_for_all => Err(Refusal::bad_input(&format!(
                "`--metrics {address}`: other machines reach this address; use 127.0.0.1, or add `--metrics-for-all`"
            ))),
            Some(_) | None => Ok(()),
        }
    }

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
        !self.no_tui && !self.output.verbose && screen::is_possible(&self.output)
    }

    fn progress(&self) -> Progress {
        if self.output.quiet || self.shows_screen() {
            Progress::Off
        } else if self.output.verbose {
            Progress::Lines
        } else if std::io::stderr().is_terminal() {
            Progress::Bar
        } else {
            Progress::Lines
        }
    }
}
