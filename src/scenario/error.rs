//! What is wrong with a scenario, and where.

use std::fmt;

/// One thing that is wrong: place, message, the line, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// Place as it is printed: `quickstart.toml:4:16`, or the flag.
    pub place: String,
    /// What is wrong, as a fragment.
    pub message: String,
    /// Line of the file, from 1; `None` for a flag or a file as a whole.
    pub line: Option<u32>,
}

/// Everything that is wrong with a scenario, in order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioErrors {
    errors: Vec<ScenarioError>,
}

impl ScenarioErrors {
    /// The errors in order.
    pub fn errors(&self) -> &[ScenarioError] {
        &self.errors
    }

    pub(super) fn new(errors: Vec<ScenarioError>) -> Self {
        ScenarioErrors { errors }
    }
}

impl fmt::Display for ScenarioErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{}: error: {}", error.place, error.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ScenarioErrors {}
