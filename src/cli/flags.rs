//! Flags that several commands share.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;

use crate::luck::text_key;
use crate::model::Split;
use crate::play::{Outcome, RunEnd};
use crate::report::{Style, Summary, quoted, summary_text};
use crate::scenario::{Overrides, Plan, Source, load};

use super::now;
use super::refusal::Refusal;
use super::results::put;

/// Which scenario, and what is changed in it.
#[derive(Args, Clone, Debug)]
pub struct ScenarioFlags {
    /// Path of a scenario file, `-` for standard input, or the name of a built-in example
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// What is changed in it.
    #[command(flatten)]
    pub changes: ChangeFlags,
}

/// What is changed in a scenario. Precedence: defaults, file, environment, flags.
#[derive(Args, Clone, Debug)]
pub struct ChangeFlags {
    /// Seed of all luck: a number, or `random` to draw one and print it [env: SQUALL_SEED=]
    #[arg(long, value_name = "N|random")]
    pub seed: Option<String>,
    /// Changes one value of the file, for example `--set fleet.demo.count=50`; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Devices in all; fleets keep their proportions
    #[arg(short = 'd', long = "devices", value_name = "N")]
    pub devices: Option<u32>,
    /// Length of the run, for example `30s`
    #[arg(long, value_name = "TIME")]
    pub duration: Option<String>,
}

/// Which part of the fleet is played.
#[derive(Args, Clone, Debug)]
pub struct ShardFlags {
    /// Plays this part of the fleet only, for example 3/16; `squall merge` adds all parts up
    #[arg(long, value_name = "N/OF", conflicts_with_all = ["repeat", "baseline", "save_baseline"])]
    pub shard: Option<Split>,
}

impl ShardFlags {
    /// The plan of the shard that is asked for, or all of it.
    pub(super) fn of(&self, plan: Arc<Plan>) -> Result<Arc<Plan>, Refusal> {
        let Some(split) = self.shard.filter(|split| !split.is_whole()) else {
            return Ok(plan);
        };
        let sharded = Plan::clone(&plan).sharded(split);
        sharded.map(Arc::new).map_err(|problems| {
            let told = problems.iter().map(|problem| format!("\n  {problem}"));
            Refusal::bad_input(&format!(
                "`--shard {split}`: this scenario cannot be split:{}",
                told.collect::<String>()
            ))
        })
    }
}

/// Where results go and how they look.
#[derive(Args, Clone, Debug)]
pub struct OutputFlags {
    /// Folder that run directories are made in
    #[arg(long, value_name = "DIR", default_value = "runs", env = "SQUALL_OUT")]
    pub out: PathBuf,
    /// Prints `summary.json` and nothing else on standard output
    #[arg(long)]
    pub json: bool,
    /// No progress on standard error
    #[arg(short, long)]
    pub quiet: bool,
    /// Tells on standard error what happens: steps, faults, failures, rollbacks; in place of the screen
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// No color, whatever the terminal can do
    #[arg(long)]
    pub no_color: bool,
}

impl ScenarioFlags {
    /// The scenario that is meant; standard input is read if it is `-`.
    pub(super) fn source(&self) -> Result<Source, Refusal> {
        Source::from_argument(&self.scenario, || std::io::read_to_string(std::io::stdin()))
            .map_err(|error| Refusal::bad_input(&format!("standard input: {error}")))
    }

    /// The plan that `source` comes to under these flags, with `seed` if one is given.
    pub(super) fn plan(&self, source: &Source, seed: Option<u64>) -> Result<Arc<Plan>, Refusal> {
        let overrides = self.changes.overrides(seed)?;
        let plan = load(source.clone(), &overrides).map_err(|errors| Refusal::told(errors.to_string()))?;
        Ok(Arc::new(plan))
    }
}

impl ChangeFlags {
    /// The same, with further values set.
    pub(super) fn and(&self, more: &[String]) -> ChangeFlags {
        let mut all = self.clone();
        all.set.extend_from_slice(more);
        all
    }

    /// The plan that `source` comes to under these changes.
    pub(super) fn plan(&self, source: &Source) -> Result<Arc<Plan>, Refusal> {
        let overrides = self.overrides(None)?;
        let plan = load(source.clone(), &overrides).map_err(|errors| Refusal::told(errors.to_string()))?;
        Ok(Arc::new(plan))
    }

    /// What environment and flags change; `seed` wins over both. The environment's seed stays apart from the flag's, since
    /// `--set scenario.seed` stands between them.
    pub(super) fn overrides(&self, seed: Option<u64>) -> Result<Overrides, Refusal> {
        let (environment_seed, seed) = match seed {
            Some(seed) => (None, Some(seed)),
            None => (environment_seed(), self.seed.as_deref().map(seed_of).transpose()?),
        };
        Ok(Overrides {
            environment_seed,
            set: self.set.clone(),
            seed,
            duration: self.duration.clone(),
            devices: self.devices.map(u64::from),
        })
    }
}

fn environment_seed() -> Option<String> {
    match std::env::var("SQUALL_SEED").ok().filter(|seed| !seed.is_empty()) {
        Some(seed) if seed == "random" => Some(random_seed().to_string()),
        other => other,
    }
}

/// The seed that a flag names.
fn seed_of(text: &str) -> Result<u64, Refusal> {
    if text == "random" {
        return Ok(random_seed());
    }
    let problem = || format!("`--seed {text}`: a seed is an integer from 0 to 18446744073709551615, or `random`");
    text.parse().map_err(|_| Refusal::bad_input(&problem()))
}

/// A seed that nobody chose; it is told, so that the run can be had again.
fn random_seed() -> u64 {
    let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = text_key(&format!("{} {}", since.as_nanos(), std::process::id()));
    eprintln!("seed {seed}");
    seed
}

impl OutputFlags {
    /// Prints what a run came to, and where its page is, if it has one.
    pub(super) fn say(&self, outcome: &Outcome, page: Option<&Path>) {
        self.tell(outcome, page.and_then(Path::parent), page);
    }

    /// Prints what a run came to that was played again, where it lies.
    pub(super) fn say_again(&self, outcome: &Outcome, folder: &Path) {
        self.tell(outcome, Some(folder), None);
    }

    fn tell(&self, outcome: &Outcome, folder: Option<&Path>, page: Option<&Path>) {
        if self.json {
            put(&Summary::of(outcome).to_json());
        } else {
            let style = if self.color() { Style::Color } else { Style::Plain };
            let mut text = summary_text(outcome, style);
            if let Some(folder) = folder {
                // The summary's own file is the same wherever it is written, so where the run lies is said here.
                let folder = quoted(&folder.display().to_string());
                text = text.replacen("squall replay runs/latest ", &format!("squall replay {folder} "), 1);
            }
            if let Some(page) = page {
                text += &format!("report       {}\n", page.display());
            }
            put(&text);
        }
        if let RunEnd::Failed(why) = &outcome.end {
            eprintln!("error: {why}");
        }
    }

    /// Whether standard output gets color.
    pub fn color(&self) -> bool {
        may_color(self.no_color || self.json)
    }
}

/// Whether standard output gets color: a terminal, and neither a flag nor the environment speaks against it.
pub(super) fn may_color(unwanted: bool) -> bool {
    let off = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| value.is_empty() || found == value);
    let unwanted = unwanted || off("CLICOLOR", "0") || off("TERM", "dumb");
    !unwanted && std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty()).eq(&false) && std::io::stdout().is_terminal()
}
