//! What can go wrong with single MQTT messages.

use std::fmt;
use std::time::Duration;

use crate::model::parse_duration;

use super::kind::Written;

/// A fault of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFault {
    /// It is lost.
    Lose,
    /// It comes twice.
    Duplicate,
    /// It comes later.
    Delay {
        /// By how much.
        by: Duration,
    },
}

impl MessageFault {
    /// Reads a kind; `None` where the word is none of these.
    pub(super) fn parse(written: Written<'_>) -> Option<Result<MessageFault, String>> {
        Some(match written.word {
            "lose" => written.bare(MessageFault::Lose),
            "duplicate" => written.bare(MessageFault::Duplicate),
            "delay" => match parse_duration(written.rest) {
                Ok(by) => Ok(MessageFault::Delay { by }),
                Err(error) => Err(format!("`delay`: {error}")),
            },
            _ => return None,
        })
    }
}

impl fmt::Display for MessageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageFault::Lose => f.write_str("lose"),
            MessageFault::Duplicate => f.write_str("duplicate"),
            MessageFault::Delay { by } => {
                let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
                let (number, unit) = in_largest(by.as_nanos(), &units);
                write!(f, "delay {number}{unit}")
            }
        }
    }
}

/// A quantity in the first of these units that holds it exactly; the last one does.
pub(super) fn in_largest(quantity: u128, units: &[(u128, &'static str)]) -> (u128, &'static str) {
    let fitting = units
        .iter()
        .find(|(factor, _)| quantity > 0 && quantity.is_multiple_of(*factor));
    let (factor, unit) = fitting.or(units.last()).copied().unwrap_or((1, ""));
    (quantity / factor, unit)
}
