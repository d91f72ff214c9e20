//! `squall replay`: the life of one device of a run, what befell all of them within some time, or the whole simulation once more,
//! compared with what it left.

mod again;
mod recorded;
mod shrunk;
mod story;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::play::Outcome;
use crate::scenario::Plan;
use crate::sim::{Pulse, play_watched};
use crate::time::SimTime;

use super::OutputFlags;
use super::interrupt::Interrupt;
use super::refusal::Refusal;
use super::screen::{self, Speed, watched};

pub(super) use recorded::Recorded;

/// Pictures that the screen shows in a second.
const FPS: u32 = 10;

const EXAMPLES: &str = "\
Examples:
  squall replay runs/latest --device demo-00042     its life, of a run or a simulation
  squall replay runs/latest --device demo-00042 --from 10s --to 1m
  squall replay runs/latest --from 10s --to 11s     what befell every device within a second
  squall replay runs/latest                         a simulation again: exit code 1 if it differs
  squall replay runs/latest --watch 10x             the same on the screen, ten times as fast as real
  squall replay runs/latest/failures/17             a seed that `explore` found
  squall replay runs/latest/failures/17/shrunk.toml what it came down to: exit code 1 if it does not fail alike
  squall replay runs/latest --without cut           the same without a fault: is that to blame?";

/// Arguments of `squall replay`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// A run directory, or the shrunk.toml of a failing seed
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Tells this device's story
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Begins the story there, for example `1m30s`; without --device, that of every device
    #[arg(long, value_name = "TIME", conflicts_with_all = ["without", "watch"])]
    from: Option<String>,
    /// Ends the story there
    #[arg(long, value_name = "TIME", conflicts_with_all = ["without", "watch"])]
    to: Option<String>,
    /// Plays without this fault, and compares nothing; repeatable
    #[arg(long, value_name = "FAULT", conflicts_with = "device")]
    without: Vec<String>,
    /// Shows it on the screen at a multiple of real time, for example 10x
    #[arg(long, value_name = "SPEED", conflicts_with_all = ["device", "json", "quiet"])]
    watch: Option<Speed>,
    /// Prints `summary.json` of what was played again, and nothing else
    #[arg(long)]
    json: bool,
    /// Nothing on standard error but errors
    #[arg(short, long)]
    quiet: bool,
    /// No color, whatever the terminal can do
    #[arg(long)]
    no_color: bool,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &ReplayArgs) -> u8 {
    replay(args).unwrap_or_else(|refusal| refusal.tell())
}

fn replay(args: &ReplayArgs) -> Result<u8, Refusal> {
    if args.watch.is_some() && !screen::is_possible(&args.output()) {
        return Err(Refusal::bad_input(
            &"`--watch` needs a terminal on standard output that is not `TERM=dumb`",
        ));
    }
    if args.run.extension().is_some_and(|extension| extension == "toml") && args.run.is_file() {
        return shrunk::play(args);
    }
    let recorded = Recorded::open(&args.run)?;
    match &args.device {
        Some(device) => story::tell(args, &recorded, device),
        None if args.from.is_some() || args.to.is_some() => story::tell_all(args, &recorded),
        None => again::play(args, &recorded),
    }
}

impl ReplayArgs {
    fn output(&self) -> OutputFlags {
        OutputFlags {
            out: PathBuf::new(),
            json: self.json,
            quiet: self.quiet,
            verbose: false,
            no_color: self.no_color,
        }
    }

    /// Plays a plan, on the screen where that is wished, until `over` says that it has gone as far as it is to go.
    fn simulate(&self, plan: Arc<Plan>, interrupt: &Interrupt, over: &dyn Fn(SimTime) -> bool) -> Outcome {
        if let Some(speed) = self.watch {
            let (outcome, shown) = watched(plan, self.run.clone(), self.output().color(), (speed, FPS), interrupt);
            if let Err(error) = shown {
                eprintln!("the screen could not be shown: {error}");
            }
            return outcome;
        }
        play_watched(plan, &mut |at, _| match over(at) || interrupt.asked() {
            true => Pulse::Interrupt,
            false => Pulse::GoOn,
        })
    }
}
