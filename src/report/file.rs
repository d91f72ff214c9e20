//! One report file: which kind a path asks for, and what goes into it.

use std::path::Path;

use super::csv::metrics_csv;
use super::html::html;
use super::junit::junit;
use super::markdown::markdown;
use super::recording::Recording;
use super::summary::Summary;

/// A kind of report, told by the suffix of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.html`: one page with everything.
    Html,
    /// `.json`: the summary.
    Json,
    /// `.md`: a comment for a change.
    Markdown,
    /// `.xml`: JUnit.
    Junit,
    /// `.csv`: a row a metric.
    Csv,
}

/// A report that cannot be made as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The suffix says nothing.
    #[error("`{0}`: a report ends in {known}", known = Format::SUFFIXES)]
    Unknown(String),
    /// The kind is made of one run only.
    #[error("`{path}` holds one run, and these are {runs}: name one of them, or write .md, .xml or .csv")]
    OneRunOnly {
        /// The file.
        path: String,
        /// How many runs there are.
        runs: usize,
    },
}

impl Format {
    const SUFFIXES: &'static str = ".html, .json, .md, .xml or .csv";

    /// The kind that a path asks for.
    ///
    /// # Errors
    /// [`FormatError::Unknown`] if its suffix is none of the known ones.
    pub fn of(path: &Path) -> Result<Format, FormatError> {
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("html") => Ok(Format::Html),
            Some("json") => Ok(Format::Json),
            Some("md") => Ok(Format::Markdown),
            Some("xml") => Ok(Format::Junit),
            Some("csv") => Ok(Format::Csv),
            _ => Err(FormatError::Unknown(path.display().to_string())),
        }
    }

    /// Whether several runs fit into one file.
    pub const fn holds_several(self) -> bool {
        match self {
            Format::Html | Format::Json => false,
            Format::Markdown | Format::Junit | Format::Csv => true,
        }
    }

    /// The text of the report.
    ///
    /// # Errors
    /// [`FormatError::OneRunOnly`] if there are several runs and the kind holds one.
    pub fn make(self, path: &Path, runs: &[Recording]) -> Result<String, FormatError> {
        if runs.len() != 1 && !self.holds_several() {
            return Err(FormatError::OneRunOnly {
                path: path.display().to_string(),
                runs: runs.len(),
            });
        }
        let summaries: Vec<&Summary> = runs.iter().map(|run| &run.summary).collect();
        Ok(match self {
            Format::Html => html(&runs[0]),
            Format::Json => summaries[0].to_json(),
            Format::Markdown => markdown(&summaries),
            Format::Junit => junit(&summaries),
            Format::Csv => metrics_csv(&summaries),
        })
    }
}
