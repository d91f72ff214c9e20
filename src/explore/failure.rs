//! What made a seed fail, in one line.

use std::fmt;

use crate::play::{Outcome, RunEnd};
use crate::time::SimTime;
use crate::verdict::{Finding, Judgement};

/// The first thing that was wrong with an outcome: trouble of our own, else the rule that broke first, else the first expectation
/// of the file that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The simulation could not go on, or has a defect.
    Error(String),
    /// A rule broke.
    Rule {
        /// Which rule.
        rule: &'static str,
        /// By which device, if by one.
        device: Option<String>,
        /// When.
        at: SimTime,
        /// What was seen.
        evidence: String,
    },
    /// An expectation does not hold.
    Expectation {
        /// As written.
        text: String,
        /// What was measured; `None` where it is undefined.
        measured: Option<f64>,
        /// When it was judged.
        at: SimTime,
    },
}

impl Failure {
    /// What was wrong with an outcome, if anything was.
    pub fn of(outcome: &Outcome) -> Option<Failure> {
        if let RunEnd::Failed(why) = &outcome.end {
            return Some(Failure::Error(why.clone()));
        }
        let error = outcome.errors.first().map(|error| Failure::Error(error.message.clone()));
        let rule = || {
            let first = outcome.findings.iter().min_by_key(|finding| finding.at);
            first.map(Failure::of_finding)
        };
        let expectation = || {
            let first = outcome.judgements.iter().find(|judgement| !judgement.passed);
            first.map(|judgement| Failure::of_judgement(outcome, judgement))
        };
        error.or_else(rule).or_else(expectation)
    }

    /// What tells two failures apart: the rule that broke, the expectation as written, or that it is trouble of our own.
    pub fn kind(&self) -> &str {
        match self {
            Failure::Error(_) => "error",
            Failure::Rule { rule, .. } => rule,
            Failure::Expectation { text, .. } => text,
        }
    }

    fn of_finding(finding: &Finding) -> Failure {
        Failure::Rule {
            rule: finding.rule,
            device: finding.device.as_ref().map(ToString::to_string),
            at: finding.at,
            evidence: finding.evidence.clone(),
        }
    }

    fn of_judgement(outcome: &Outcome, judgement: &Judgement) -> Failure {
        Failure::Expectation {
            text: outcome.plan.expectations[judgement.expectation].text.clone(),
            measured: judgement.measured,
            at: judgement.judged_at,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(message) => f.write_str(message),
            Failure::Rule {
                rule,
                device,
                at,
                evidence,
            } => {
                let device = device.as_deref().unwrap_or("no single device");
                write!(f, "{rule}: {device} at {:.3} s: {evidence}", at.as_secs_f64())
            }
            Failure::Expectation { text, measured, at } => {
                write!(f, "`{text}`: ")?;
                match measured {
                    Some(value) if value.is_finite() => write!(f, "{}", rounded(*value))?,
                    Some(_) => f.write_str("not over")?,
                    None => f.write_str("undefined")?,
                }
                write!(f, " at {:.3} s", at.as_secs_f64())
            }
        }
    }
}

/// To six decimals, as everywhere in reports.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
