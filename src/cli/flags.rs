//! Flags that several commands share.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

/// Which scenario, and what is changed in it. Precedence: defaults, file, environment, flags.
#[derive(Args, Clone, Debug)]
pub struct ScenarioFlags {
    /// Path of a scenario file, `-` for standard input, or the name of a built-in example
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Seed of all luck: a number, or `random` to draw one and print it
    #[arg(long, value_name = "N|random", env = "SQUALL_SEED")]
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
    /// More on standard error: what the server and each step do
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,
    /// No color, whatever the terminal can do
    #[arg(long)]
    pub no_color: bool,
}

impl OutputFlags {
    /// Whether standard output gets color: a terminal, and neither a flag nor the environment speaks against it.
    pub fn color(&self) -> bool {
        let off = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| value.is_empty() || found == value);
        let unwanted = self.no_color || self.json || off("CLICOLOR", "0") || off("TERM", "dumb");
        !unwanted && std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty()).eq(&false) && std::io::stdout().is_terminal()
    }
}
