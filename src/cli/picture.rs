//! `squall picture`: plays scenarios in virtual time and draws, one above the other, what the expectation that the first one fails came
//! to in each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::play::{Ask, Outcome};
use crate::report::{Panel, panels};
use crate::scenario::{Plan, Source, load};
use crate::sim::{Pulse, play_shown};
use crate::time::SimTime;

use super::flags::ChangeFlags;
use super::refusal::Refusal;
use super::report::write_file;
use super::results::put;

/// Points of a curve, roughly.
const POINTS: u32 = 240;

const EXAMPLES: &str = "\
Examples:
  squall picture crowdstrike crowdstrike-survived --out crowdstrike.svg
  squall picture plan.toml better.toml > pair.svg
The expectation is the first that the first scenario fails, or its first one. It is measured in all of them, and a dot stands where it was
judged.";

/// Arguments of `squall picture`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PictureArgs {
    /// Scenarios: paths, or names of built-in examples; at most four
    #[arg(value_name = "SCENARIO", required = true, num_args = 1..=4)]
    scenarios: Vec<String>,
    #[command(flatten)]
    changes: ChangeFlags,
    /// File to write, in place of standard output
    #[arg(long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
}

/// What an expectation came to over the time of a run, in seconds.
type Curve = Vec<(f64, Option<f64>)>;

/// Carries the command out; gives the exit code.
pub fn run(args: &PictureArgs) -> u8 {
    picture(args).map_or_else(|refusal| refusal.tell(), |()| 0)
}

fn picture(args: &PictureArgs) -> Result<(), Refusal> {
    let mut plans = args
        .scenarios
        .iter()
        .map(|scenario| args.plan(scenario))
        .collect::<Result<Vec<_>, _>>()?;
    let first = plans.remove(0);
    let (outcome, curves) = play(&Arc::new(first));
    let failed = outcome.judgements.iter().find(|judgement| !judgement.passed);
    let nothing = || {
        Refusal::bad_input(&format!(
            "`{}` expects nothing that a curve could show: add an `expect`",
            outcome.plan.name
        ))
    };
    let position = failed.or(outcome.judgements.first()).ok_or_else(nothing)?.expectation;
    let expectation = outcome.plan.expectations[position].clone();
    let mut drawn = vec![Panel::of(&outcome, position, curves[position].clone()).ok_or_else(nothing)?];
    for mut plan in plans {
        plan.expectations.push(expectation.clone());
        let position = plan.expectations.len() - 1;
        let (outcome, mut curves) = play(&Arc::new(plan));
        drawn.push(Panel::of(&outcome, position, curves.swap_remove(position)).ok_or_else(nothing)?);
    }
    let svg = panels(&drawn);
    match &args.out {
        Some(path) => write_file(path, &svg),
        None => {
            put(&svg);
            Ok(())
        }
    }
}

impl PictureArgs {
    fn plan(&self, scenario: &str) -> Result<Plan, Refusal> {
        let source = Source::from_argument(scenario, || std::io::read_to_string(std::io::stdin()))
            .map_err(|error| Refusal::bad_input(&format!("standard input: {error}")))?;
        let overrides = self.changes.overrides(None)?;
        load(source, &overrides).map_err(|errors| Refusal::told(errors.to_string()))
    }
}

/// Plays a plan and keeps what each of its expectations came to, in order of the file.
fn play(plan: &Arc<Plan>) -> (Outcome, Vec<Curve>) {
    let every = (plan.duration / POINTS).max(Duration::from_secs(1));
    let mut curves: Vec<Curve> = vec![Vec::new(); plan.expectations.len()];
    let mut next = SimTime::ZERO;
    let ask = Ask {
        seconds_a_bar: 1,
        ..Ask::default()
    };
    let outcome = play_shown(Arc::clone(plan), &mut |mut scene| {
        if scene.now >= next {
            let at = scene.now.as_secs_f64();
            let expected = scene.picture(&ask).expectations;
            for (curve, expected) in curves.iter_mut().zip(expected) {
                curve.push((at, expected.value.filter(|value| value.is_finite())));
            }
            next = scene.now + every;
        }
        Pulse::Until(next)
    });
    for (curve, expectation) in curves.iter_mut().zip(&plan.expectations) {
        let value = outcome.recorder.value(&expectation.measure, outcome.elapsed);
        curve.push((
            outcome.elapsed.as_secs_f64(),
            value.map(|measured| measured.value).filter(|value| value.is_finite()),
        ));
    }
    (outcome, curves)
}
