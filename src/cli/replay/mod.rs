//! `squall replay`: the life of one device of a run, or the whole simulation once more, compared with what it left.

mod again;
mod recorded;
mod story;

use std::path::PathBuf;

use clap::Args;

use super::refusal::Refusal;

use recorded::Recorded;

const EXAMPLES: &str = "\
Examples:
  squall replay runs/latest --device demo-00042     its life, of a run or a simulation
  squall replay runs/latest --device demo-00042 --from 10s --to 1m
  squall replay runs/latest                         a simulation again: exit code 1 if it differs
  squall replay runs/latest/failures/17             a seed that `explore` found
  squall replay runs/latest --without cut           the same without a fault: is that to blame?";

/// Arguments of `squall replay`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// A run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Tells this device's story
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Begins the story there, for example `1m30s`
    #[arg(long, value_name = "TIME", requires = "device")]
    from: Option<String>,
    /// Ends the story there
    #[arg(long, value_name = "TIME", requires = "device")]
    to: Option<String>,
    /// Plays without this fault, and compares nothing; repeatable
    #[arg(long, value_name = "FAULT", conflicts_with = "device")]
    without: Vec<String>,
    /// Plays at a multiple of real time
    #[arg(long, value_name = "SPEED")]
    watch: Option<String>,
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
    if args.watch.is_some() {
        return Err(Refusal::bad_input(&"not supported yet: `--watch` of `replay`"));
    }
    let recorded = Recorded::open(&args.run)?;
    match &args.device {
        Some(device) => story::tell(args, &recorded, device),
        None => again::play(args, &recorded),
    }
}
