//! `squall explore`: plays many seeds of a scenario in virtual time and keeps those that fail; or puts a fault into every flash
//! operation, or every message, of one update.

mod exhaust;
mod guided;
mod outage;
mod summary;
mod teller;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};

use crate::explore::{Draft, Exploration, Halt, Hooks, News, Tally, explore};
use crate::model::parse_duration;
use crate::play::Outcome;
use crate::report::{ReportError, RunDirectory};
use crate::scenario::{Overrides, Plan, Source, load};

use super::interrupt::Interrupt;
use super::refusal::Refusal;
use super::results::put;
use super::{OutputFlags, ScenarioFlags, now};

use summary::{Counted, pace};
use teller::Teller;

/// Seeds where nothing else is said.
const SEEDS: u64 = 1_000;

const EXAMPLES: &str = "\
Examples:
  squall explore bad-firmware                   1,000 seeds, from the scenario's own on
  squall explore fleet.toml --seed 5000 --seeds 200 -d 100
  squall explore fleet.toml --for 10m --jobs 2
  squall explore planted --set fleet.field.defect=forget-swap --first
  squall explore fleet.toml --prefer-new
  squall explore quickstart -d 5 --exhaust flash
  squall explore retry-storm --outage --within 2m --set server.delay=400us
A failing seed prints a line with the command that plays it again; its files are below failures/ in the run directory. The first of
each rule or expectation is shrunk: the smallest scenario that fails alike is shrunk.toml, and the faults left in it are to blame.
--exhaust leaves out the scenario's own faults and expectations, and tells in which phases each fault struck, and in which never.
--outage lengthens the scenario's own outage, leaves out its steps and expectations, and gives every fleet one `reconnect` after the other.";

/// Arguments of `squall explore`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExploreArgs {
    #[command(flatten)]
    scenario: ScenarioFlags,
    #[command(flatten)]
    output: OutputFlags,
    /// How many seeds, from the scenario's seed on [default: 1000; with --for as many as there is time for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "exhaust")]
    seeds: Option<u64>,
    /// Begins no further seed after this time, for example `10m`
    #[arg(long = "for", value_name = "TIME")]
    time: Option<String>,
    /// Simulations at the same time [default: one a processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Stops at the first seed that fails
    #[arg(long, conflicts_with = "exhaust")]
    first: bool,
    /// Plays every other seed without some of the faults: near those by which something new was reached
    #[arg(long, conflicts_with_all = ["exhaust", "outage"])]
    prefer_new: bool,
    /// Neither shrinks the first seed of each failure nor looks for the faults to blame
    #[arg(long)]
    no_shrink: bool,
    /// A fault at every flash operation, or every message, of one update
    #[arg(long, value_name = "flash|messages")]
    exhaust: Option<Exhaust>,
    /// Searches, for one way to retry after the other, the shortest outage of the server that the fleet does not come back from
    #[arg(long, conflicts_with_all = ["exhaust", "seeds", "first", "time"])]
    outage: bool,
    /// How long after an outage the fleet may take to come back [default: 5m]
    #[arg(long, value_name = "TIME", requires = "outage")]
    within: Option<String>,
}

/// What is gone through one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Exhaust {
    /// The flash operations of an attempt.
    Flash,
    /// The messages of a device.
    Messages,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &ExploreArgs) -> u8 {
    search(args).unwrap_or_else(|refusal| refusal.tell())
}

/// An exploration under way.
struct Search<'a> {
    args: &'a ExploreArgs,
    first: &'a Plan,
    began: SystemTime,
    time: Option<Duration>,
    jobs: NonZeroUsize,
    directory: &'a RunDirectory,
    interrupt: &'a Interrupt,
}

fn search(args: &ExploreArgs) -> Result<u8, Refusal> {
    let time = args.time.as_deref().map(|text| time_of("--for", text)).transpose()?;
    let within = args.within.as_deref().map(|text| time_of("--within", text)).transpose()?;
    let source = args.scenario.source()?;
    let first = args.scenario.plan(&source, None)?;
    if !args.output.quiet {
        first.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    let storm = args.outage.then(|| outage::storm(&first, within)).transpose()?;
    let began = now();
    let directory = RunDirectory::create(&args.output.out, &first.name, began)?;
    directory.put_files(&first)?;
    directory.log(&format!("exploration of `{}`, from seed {}, began", first.name, first.seed))?;
    let interrupt = Interrupt::listen();
    let search = Search {
        args,
        first: &first,
        began,
        time,
        jobs: args
            .jobs
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN),
        directory: &directory,
        interrupt: &interrupt,
    };
    if let Some(storm) = storm {
        return outage::search(&search, &storm);
    }
    let mut teller = Teller::new(&search);
    let (counted, tally) = match args.exhaust {
        None if args.prefer_new => (Counted::Seeds { first: first.seed }, guided::seeds(&search, &mut teller)?),
        None => (Counted::Seeds { first: first.seed }, seeds(&search, &source, &mut teller)?),
        Some(what) => exhaust::exhaust(&search, what, &mut teller)?,
    };
    let failures = teller.done()?;
    let text = summary::text(&counted, &tally);
    for line in text.lines() {
        directory.log(line)?;
    }
    match args.output.json {
        true => put(&summary::json(&first, &counted, &tally, &failures)),
        false => put(&text),
    }
    if !args.output.quiet {
        eprintln!(
            "{}, {} jobs; files: {}",
            pace(&counted, &tally, began),
            search.jobs,
            directory.path().display()
        );
    }
    Ok(tally.status.exit_code())
}

/// Seed after seed of the scenario.
fn seeds(search: &Search<'_>, source: &Source, teller: &mut Teller<'_>) -> Result<Tally, Refusal> {
    let args = search.args;
    let exploration = Exploration {
        first: search.first.seed,
        seeds: args.seeds.or(search.time.is_none().then_some(SEEDS)),
        jobs: search.jobs,
    };
    let hooks = Hooks {
        plan: &|seed| {
            let plan = args.scenario.plan(source, Some(seed))?;
            let same = plan.hash == search.first.hash;
            same.then_some(plan)
                .ok_or_else(|| Refusal::bad_input(&"the scenario was changed while it was explored"))
        },
        keep: &|seed, outcome| Ok(search.keep(&seed.to_string(), outcome)?),
        halt: &|| search.halt(),
    };
    let tally = explore(&exploration, &hooks, &mut |news| match news {
        News::Seed(result) => {
            teller.result(&format!("seed {}", result.seed), &result.seed.to_string(), result);
            match args.first && result.failure.is_some() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
        News::Tick(tally) => {
            teller.tick(tally);
            ControlFlow::Continue(())
        }
    })?;
    if args.first {
        search.forget_all_but(&teller.folders())?;
    }
    Ok(tally)
}

impl Search<'_> {
    /// The plan of a scenario in the form of the resolved one, with another seed where one is given.
    fn plan_of(&self, draft: &Draft, seed: Option<u64>) -> Result<Arc<Plan>, Refusal> {
        let source = Source::Beside(self.directory.path().to_owned(), draft.to_string());
        let overrides = Overrides {
            seed,
            ..Overrides::default()
        };
        let plan = load(source, &overrides).map_err(|errors| Refusal::told(errors.to_string()))?;
        Ok(Arc::new(plan))
    }

    /// Writes the files of an outcome that did not pass.
    fn keep(&self, folder: &str, outcome: &Outcome) -> Result<(), ReportError> {
        let (plan, status) = (&outcome.plan, outcome.status());
        let own = self.directory.within("failures")?.within(folder)?;
        own.log(&format!("sim of `{}`, seed {}: {}", plan.name, plan.seed, status.word()))?;
        own.write(outcome)
    }

    /// Removes what other threads kept of seeds behind the one at which the exploration stopped.
    fn forget_all_but(&self, folders: &[String]) -> Result<(), Refusal> {
        let unreadable = |error: std::io::Error| Refusal::internal(&format!("looking through the failures: {error}"));
        let Ok(entries) = std::fs::read_dir(self.directory.path().join("failures")) else {
            return Ok(());
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            if !folders.iter().any(|kept| entry.file_name() == kept.as_str()) {
                std::fs::remove_dir_all(entry.path()).map_err(unreadable)?;
            }
        }
        Ok(())
    }

    fn halt(&self) -> Halt {
        match self.interrupt.asked() {
            true => Halt::Now,
            false if self.time.is_some_and(|time| since(self.began) >= time) => Halt::NoMore,
            false => Halt::GoOn,
        }
    }
}

fn time_of(flag: &str, text: &str) -> Result<Duration, Refusal> {
    parse_duration(text).map_err(|error| Refusal::bad_input(&format!("`{flag} {text}`: {error}")))
}

fn since(moment: SystemTime) -> Duration {
    now().duration_since(moment).unwrap_or_default()
}
