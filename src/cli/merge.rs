//! `squall merge`: adds the shards of a run up, and judges on the sum what the scenario expects.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::play::{ShardOutcome, merge};
use crate::report::{RunDirectory, read_shard};
use crate::scenario::{Overrides, Plan, Source, load};

use super::refusal::Refusal;
use super::replay::Recorded;
use super::report::ReportFlags;
use super::{OutputFlags, now};

const EXAMPLES: &str = "\
Examples:
  squall merge shards/*                              every run directory of a run with --shard
  squall merge shards/* --report whole.html --json

docs/scale-out.md tells how a run is split over machines.";

/// Arguments of `squall merge`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MergeArgs {
    /// Run directories of all shards, in any order
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    reports: ReportFlags,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &MergeArgs) -> u8 {
    add_up(args).unwrap_or_else(|refusal| refusal.tell())
}

fn add_up(args: &MergeArgs) -> Result<u8, Refusal> {
    args.reports.check(1)?;
    let shards = args.runs.iter().map(|folder| read_shard(folder));
    let shards: Vec<ShardOutcome> = shards.collect::<Result<_, _>>().map_err(|error| Refusal::bad_input(&error))?;
    // Arguments name at least one.
    let plan = Arc::new(plan(&args.runs[0], &shards[0])?);
    let merged = merge(plan, shards, |recorder| {
        for folder in &args.runs {
            let broken = |error: &dyn std::fmt::Display| Refusal::bad_input(&format!("{}: {error}", folder.display()));
            let Some(mut lines) = Recorded::open(folder)?.trace().map_err(|error| broken(&error))? else {
                continue;
            };
            while let Some((number, line)) = lines.next().map_err(|error| broken(&error))? {
                let read = recorder.add_trace_line(line);
                read.map_err(|error| broken(&format_args!("trace, line {number}: {error}")))?;
            }
        }
        Ok::<(), Refusal>(())
    });
    let outcome = merged.map_err(|error| Refusal::bad_input(&error))??;
    let directory = RunDirectory::create(&args.output.out, &outcome.plan.name, now())?;
    let folders: Vec<_> = args.runs.iter().map(|folder| folder.display().to_string()).collect();
    directory.log(&format!("merged of {}", folders.join(", ")))?;
    directory.write(&outcome)?;
    args.output.say(&outcome, Some(&directory.page()));
    args.reports.write_of(&[directory.path()])?;
    Ok(outcome.status().exit_code())
}

/// The whole plan, as a shard left it resolved: with the lines and the text of the file that was given.
fn plan(folder: &Path, shard: &ShardOutcome) -> Result<Plan, Refusal> {
    let source = Source::Path(folder.join("resolved.toml"));
    let mut plan = load(source, &Overrides::default()).map_err(|errors| {
        let way_out = "images and certificates are looked for beside resolved.toml: put them there";
        Refusal::told(format!("{errors}{way_out}"))
    })?;
    let given = folder.join("scenario.toml");
    plan.source = std::fs::read_to_string(&given).map_err(|error| Refusal::bad_input(&format!("{}: {error}", given.display())))?;
    plan.overrides.clone_from(&shard.overrides);
    plan.file.clone_from(&shard.file);
    for (expectation, line) in plan.expectations.iter_mut().zip(&shard.lines) {
        expectation.line = *line;
    }
    Ok(plan)
}
