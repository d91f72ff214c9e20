//! `squall run`: plays a scenario in real time, against a server of its own.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;

use crate::live::{PlayOptions, Progress, make_room};
use crate::luck::text_key;
use crate::play::{Outcome, RunEnd};
use crate::report::{ReportError, RunDirectory, Style, Summary, summary_text, timestamp};
use crate::scenario::{Overrides, Plan, Source, load};

use super::{BAD_INPUT, INTERNAL, OutputFlags, ScenarioFlags};

/// Arguments of `squall run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    scenario: ScenarioFlags,
    #[command(flatten)]
    output: OutputFlags,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &RunArgs) -> u8 {
    match play(args) {
        Ok(code) => code,
        Err(Refusal { code, message }) => {
            eprintln!("{}", message.trim_end());
            code
        }
    }
}

/// Why nothing was played, or its files not written.
struct Refusal {
    code: u8,
    message: String,
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        refused(INTERNAL, &error)
    }
}

fn play(args: &RunArgs) -> Result<u8, Refusal> {
    let plan = plan(&args.scenario)?;
    if !args.output.quiet {
        plan.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    }
    make_room(plan.devices.len()).map_err(|error| refused(INTERNAL, &error))?;
    let server_program =
        std::env::current_exe().map_err(|error| refused(INTERNAL, &format!("this program's own path: {error}")))?;
    let began = now();
    let directory = RunDirectory::create(&args.output.out, &plan.name, began)?;
    directory.log(&format!("run of `{}`, seed {}, began", plan.name, plan.seed))?;
    let outcome = crate::live::play(
        plan,
        PlayOptions {
            server_program,
            log: Some(directory.path().join("log.txt")),
            progress: progress(&args.output),
            started_at: Some(timestamp(began)),
        },
    );
    let written = close(&directory, &outcome);
    say(&args.output, &outcome);
    written?;
    Ok(outcome.status().exit_code())
}

fn close(directory: &RunDirectory, outcome: &Outcome) -> Result<(), ReportError> {
    directory.log(&format!("ended after {} s: {}", outcome.elapsed, outcome.status().word()))?;
    directory.write(outcome)
}

fn say(output: &OutputFlags, outcome: &Outcome) {
    if output.json {
        print!("{}", Summary::of(outcome).to_json());
    } else {
        let style = if output.color() { Style::Color } else { Style::Plain };
        print!("{}", summary_text(outcome, style));
    }
    if let RunEnd::Failed(why) = &outcome.end {
        eprintln!("error: {why}");
    }
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

fn plan(flags: &ScenarioFlags) -> Result<Arc<Plan>, Refusal> {
    let source = Source::from_argument(&flags.scenario, || std::io::read_to_string(std::io::stdin()));
    let source = source.map_err(|error| refused(BAD_INPUT, &format!("standard input: {error}")))?;
    let overrides = Overrides {
        environment_seed: None,
        set: flags.set.clone(),
        seed: flags.seed.as_deref().map(seed_of).transpose()?,
        duration: flags.duration.clone(),
        devices: flags.devices.map(u64::from),
    };
    let plan = load(source, &overrides).map_err(|errors| Refusal {
        code: BAD_INPUT,
        message: errors.to_string(),
    })?;
    Ok(Arc::new(plan))
}

/// The seed that a flag names.
fn seed_of(text: &str) -> Result<u64, Refusal> {
    if text == "random" {
        let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seed = text_key(&format!("{} {}", since.as_nanos(), std::process::id()));
        eprintln!("seed {seed}");
        return Ok(seed);
    }
    let problem = || format!("`--seed {text}`: a seed is an integer from 0 to 18446744073709551615, or `random`");
    text.parse().map_err(|_| refused(BAD_INPUT, &problem()))
}

fn refused(code: u8, problem: &dyn std::fmt::Display) -> Refusal {
    Refusal {
        code,
        message: format!("error: {problem}"),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "when a run began names its directory and stands in its report"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
