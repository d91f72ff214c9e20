//! `squall check`: says whether scenarios can be played, and what is wrong with them if not. Nothing is started.

use clap::Args;

use crate::scenario::{Overrides, Plan, Source, TlsPlan, load, outline};

use super::flags::ChangeFlags;
use super::refusal::Refusal;
use super::results::put;

const EXAMPLES: &str = "\
Examples:
  squall check my.toml                               says ok, or what is wrong and where
  squall check --strict scenarios/*.toml             warnings are errors";

/// Arguments of `squall check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Paths of scenario files, `-` for standard input, or names of built-in examples
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<String>,
    /// Takes warnings for errors
    #[arg(long)]
    strict: bool,
    /// Shows who does what when, and how much of each fault is to be expected
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    changes: ChangeFlags,
}

/// Carries the command out; gives the exit code.
pub fn run(args: &CheckArgs) -> u8 {
    let overrides = match args.changes.overrides(None) {
        Ok(overrides) => overrides,
        Err(refusal) => return refusal.tell(),
    };
    let several = args.scenarios.len() > 1;
    let judged = args.scenarios.iter().map(|scenario| {
        let Some(plan) = check(scenario, &overrides, args.strict) else {
            return false;
        };
        put(&match args.plan {
            true => outline(&plan),
            false if several => format!("{scenario}: ok\n"),
            false => "ok\n".to_owned(),
        });
        true
    });
    // Every scenario is looked at, also behind one that is wrong.
    match judged.filter(|good| !good).count() {
        0 => 0,
        _ => super::BAD_INPUT,
    }
}

/// The plan of a scenario that can be played; says on standard error what is wrong or doubtful.
fn check(scenario: &str, overrides: &Overrides, strict: bool) -> Option<Plan> {
    let source = match Source::from_argument(scenario, || std::io::read_to_string(std::io::stdin())) {
        Ok(source) => source,
        Err(error) => {
            Refusal::bad_input(&format!("standard input: {error}")).tell();
            return None;
        }
    };
    match load(source, overrides) {
        Ok(plan) => {
            plan.warnings.iter().for_each(|warning| eprintln!("{warning}"));
            note(&plan);
            let good = plan.warnings.is_empty() || !strict;
            good.then_some(plan)
        }
        Err(errors) => {
            eprint!("{errors}");
            None
        }
    }
}

/// What is meant, and yet worth knowing.
fn note(plan: &Plan) {
    if plan.server.tls == TlsPlan::Off {
        eprintln!(
            "note: {}: TLS is off, for MQTT and images alike; no real device would accept that",
            plan.name
        );
    }
}
