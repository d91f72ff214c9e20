//! Flags by which runs are held against a baseline: the terms of a comparison, and how `run` and `sim` compare themselves.

use std::path::Path;

use clap::Args;

use crate::model::parse_share;
use crate::play::Status;
use crate::report::{Comparison, Force, Gate, Recording, Refused, Side, Terms, compare, compare_text, save_baseline};

use super::BAD_INPUT;
use super::refusal::Refusal;
use super::results::put;

/// By which terms sides are compared.
#[derive(Args, Clone, Debug)]
pub struct TermFlags {
    /// What is compared, for example "update_time p(95)"; repeatable [default: four gates, see docs/compare.md]
    #[arg(long = "gate", value_name = "MEASURE")]
    gates: Vec<String>,
    /// Largest change that is none
    #[arg(long, value_name = "PERCENT", default_value = "5 %")]
    tolerance: String,
    /// Undecided gates fail too
    #[arg(long)]
    strict: bool,
    /// Overlooks that the sides differ in `hash` (what is played) or `machine`; every output then says FORCED
    #[arg(long, value_name = "WHAT", default_value = "")]
    force: String,
}

impl TermFlags {
    pub(super) fn terms(&self, interleaved: bool) -> Result<Terms, Refusal> {
        let gate =
            |text: &String| Gate::parse(text).map_err(|problem| Refusal::bad_input(&format!("`--gate \"{text}\"`: {problem}")));
        let tolerance = match self.tolerance.contains('%') {
            true => parse_share(&self.tolerance).map_err(|error| error.to_string()),
            false => parse_share(&format!("{} %", self.tolerance)).map_err(|error| error.to_string()),
        };
        let tolerance = tolerance.map(|share| share.0 as f64 / 1e6).and_then(|share| match share {
            0.001..=0.5 => Ok(share),
            _ => Err("a tolerance is from 0.1 % to 50 %".to_owned()),
        });
        let tolerance =
            tolerance.map_err(|problem| Refusal::bad_input(&format!("`--tolerance \"{}\"`: {problem}", self.tolerance)))?;
        let force =
            Force::parse(&self.force).map_err(|problem| Refusal::bad_input(&format!("`--force {}`: {problem}", self.force)))?;
        Ok(Terms {
            gates: match self.gates.is_empty() {
                true => Gate::defaults(),
                false => self.gates.iter().map(gate).collect::<Result<_, _>>()?,
            },
            every_gate: !self.gates.is_empty(),
            tolerance,
            interleaved,
            strict: self.strict,
            force,
        })
    }
}

/// How `run` and `sim` go with baselines.
#[derive(Args, Clone, Debug)]
pub struct BaselineFlags {
    /// Compares with this baseline afterwards; a regression is exit code 101
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Adds the runs to this baseline as one batch
    #[arg(long, value_name = "NAME")]
    save_baseline: Option<String>,
    #[command(flatten)]
    terms: TermFlags,
}

impl BaselineFlags {
    /// Refuses what cannot be done: said before the runs, not after them.
    pub(super) fn check(&self, out: &Path) -> Result<(), Refusal> {
        self.terms.terms(false)?;
        if let Some(name) = &self.baseline {
            Side::read(Path::new(name), out).map_err(|error| Refusal::bad_input(&format!("`--baseline {name}`: {error}")))?;
        }
        Ok(())
    }

    /// Compares the runs in `folders` with the baseline, then adds them to one, as asked. Gives the exit code of it all.
    pub(super) fn settle(&self, out: &Path, folders: &[&Path], status: Status, json: bool) -> Result<u8, Refusal> {
        let code = status.exit_code();
        if self.baseline.is_none() && self.save_baseline.is_none() {
            return Ok(code);
        }
        if matches!(status, Status::Invalid | Status::Interrupted | Status::Error) {
            eprintln!("note: neither compared nor kept as a baseline: a run is {}", status.word());
            return Ok(code);
        }
        let compared = match &self.baseline {
            Some(name) => self.compare(name, out, folders, json)?,
            None => 0,
        };
        if let Some(name) = &self.save_baseline {
            let batch = save_baseline(out, name, folders).map_err(|problem| Refusal::bad_input(&problem))?;
            eprintln!("baseline `{name}`: one batch more, {}", batch.display());
        }
        Ok(if code == 0 { compared } else { code })
    }

    fn compare(&self, name: &str, out: &Path, folders: &[&Path], json: bool) -> Result<u8, Refusal> {
        let base = Side::read(Path::new(name), out).map_err(|error| Refusal::bad_input(&error))?;
        let runs = folders.iter().map(|folder| Recording::read(folder).map(|run| run.summary));
        let runs = runs
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Refusal::internal(&error))?;
        match compare(&base, &Side::of("this", runs), &self.terms.terms(false)?) {
            Ok(comparison) => {
                match json {
                    true => eprint!("{}", compare_text(&comparison)),
                    false => put(&compare_text(&comparison)),
                }
                warn(&comparison);
                Ok(comparison.exit_code)
            }
            Err(refused @ Refused::Spoilt { .. }) => {
                eprintln!("error: {refused}");
                Ok(BAD_INPUT)
            }
            Err(refused) => Err(Refusal::bad_input(&refused)),
        }
    }
}

/// Says on standard error that a comparison leaves gates undecided.
pub(super) fn warn(comparison: &Comparison) {
    if comparison.verdict == "undecided" && comparison.exit_code == 0 {
        eprintln!("warning: not every gate is decided; `--strict` makes this exit code 101");
    }
}
