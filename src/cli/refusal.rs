//! Why a command stops short: its exit code and what it says on standard error.

use std::fmt;

use crate::report::ReportError;

use super::{BAD_INPUT, INTERNAL};

/// Why nothing (more) was done.
#[derive(Debug)]
pub(super) struct Refusal {
    code: u8,
    message: String,
}

impl Refusal {
    /// The input is wrong.
    pub(super) fn bad_input(problem: &dyn fmt::Display) -> Refusal {
        Refusal {
            code: BAD_INPUT,
            message: format!("error: {problem}"),
        }
    }

    /// A defect of ours, or of the machine.
    pub(super) fn internal(problem: &dyn fmt::Display) -> Refusal {
        Refusal {
            code: INTERNAL,
            message: format!("error: {problem}"),
        }
    }

    /// The input is wrong, and `text` says so in full, place and way out included.
    pub(super) fn told(text: String) -> Refusal {
        Refusal {
            code: BAD_INPUT,
            message: text,
        }
    }

    /// Says it on standard error; gives the exit code.
    pub(super) fn tell(&self) -> u8 {
        eprintln!("{}", self.message.trim_end());
        self.code
    }
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        Refusal::internal(&error)
    }
}
