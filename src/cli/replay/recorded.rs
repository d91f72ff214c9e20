//! A run directory, read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::refusal::Refusal;
use crate::report::{Product, SUMMARY_SCHEMA, ScenarioRow, rerun_command};

/// Largest `summary.json` that is read.
const SUMMARY_MAX: u64 = 64 << 20;
/// Longest line of a trace.
const LINE_MAX: u64 = 1 << 20;

/// A run directory whose summary was read.
pub(in crate::cli) struct Recorded {
    pub(super) folder: PathBuf,
    pub(super) summary: Recap,
}

/// What of `summary.json` a replay needs.
#[derive(Deserialize)]
pub(in crate::cli) struct Recap {
    pub(super) schema: String,
    pub(super) squall: Product,
    pub(super) mode: String,
    pub(super) status: String,
    pub(super) exit_code: u8,
    pub(super) elapsed_s: f64,
    pub(super) scenario: ScenarioRow,
    pub(super) fingerprint: String,
    findings: Vec<Broken>,
    expectations: Vec<Judged>,
    errors: Vec<Wrong>,
}

/// A rule that broke.
#[derive(Deserialize)]
struct Broken {
    rule: String,
    first: First,
}

#[derive(Deserialize)]
struct First {
    at_s: f64,
}

/// An expectation.
#[derive(Deserialize)]
struct Judged {
    that: String,
    passed: bool,
}

/// Trouble of our own.
#[derive(Deserialize)]
struct Wrong {}

impl Recap {
    /// What went wrong first, in the words of [`crate::explore::Failure::kind`].
    pub(super) fn kind(&self) -> Option<&str> {
        if !self.errors.is_empty() {
            return Some("error");
        }
        let first = self
            .findings
            .iter()
            .min_by(|one, other| one.first.at_s.total_cmp(&other.first.at_s));
        let failed = self.expectations.iter().find(|judged| !judged.passed);
        first
            .map(|broken| broken.rule.as_str())
            .or(failed.map(|judged| judged.that.as_str()))
    }
}

impl Recorded {
    /// Reads the summary of a run directory.
    pub(in crate::cli) fn open(folder: &Path) -> Result<Recorded, Refusal> {
        let path = folder.join("summary.json");
        if !path.is_file() {
            return Err(Refusal::bad_input(&no_run(folder)));
        }
        let wrong = |problem: &dyn std::fmt::Display| Refusal::bad_input(&format!("{}: {problem}", path.display()));
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(SUMMARY_MAX).read_to_string(&mut text));
        read.map_err(|error| wrong(&error))?;
        let summary: Recap = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        if summary.schema != SUMMARY_SCHEMA {
            let problem = format!("schema `{}`: this version reads `{SUMMARY_SCHEMA}`", summary.schema);
            return Err(wrong(&problem));
        }
        Ok(Recorded {
            folder: folder.to_owned(),
            summary,
        })
    }

    /// Lines of the trace, or `None` where there is none.
    pub(in crate::cli) fn trace(&self) -> io::Result<Option<TraceLines>> {
        match File::open(self.folder.join(TRACE)) {
            Ok(file) => Ok(Some(TraceLines {
                reader: BufReader::new(zstd::Decoder::new(file)?),
                line: String::new(),
                number: 0,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The command that plays the run again, with `more` set.
    pub(super) fn rerun(&self, more: &str) -> String {
        rerun_command(&self.summary.mode, &self.summary.scenario) + more
    }
}

/// Name of the trace in a run directory.
pub(super) const TRACE: &str = "trace.ndjson.zst";

/// The lines of a trace, one after the other.
pub(in crate::cli) struct TraceLines {
    reader: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    line: String,
    number: u64,
}

impl TraceLines {
    /// The next line without its end, and its number from 1.
    pub(in crate::cli) fn next(&mut self) -> Result<Option<(u64, &str)>, Damage> {
        self.line.clear();
        self.number += 1;
        let damage = |what: String| Damage { line: self.number, what };
        let read = self.reader.by_ref().take(LINE_MAX).read_line(&mut self.line);
        let length = read.map_err(|error| damage(error.to_string()))?;
        if length == 0 {
            return Ok(None);
        }
        let line = self.line.strip_suffix('\n');
        let line = line.ok_or_else(|| damage("the line has no end".to_owned()))?;
        Ok(Some((self.number, line)))
    }
}

/// A trace cannot be read on.
#[derive(Debug, thiserror::Error)]
#[error("{TRACE} is damaged in line {line}: {what}")]
pub(in crate::cli) struct Damage {
    pub(super) line: u64,
    pub(super) what: String,
}

/// Why a folder is no run directory, and what was meant instead.
fn no_run(folder: &Path) -> String {
    let shown = folder.display();
    if folder.is_file() {
        return format!("`{shown}` is a file: name the run directory that it is in");
    }
    if !folder.is_dir() {
        return format!("there is no run directory `{shown}`");
    }
    for (below, what) in [("rep-01", "repetitions"), ("failures", "failing seeds of an exploration")] {
        let names = below_names(folder, below);
        if let Some(first) = names.first() {
            return format!(
                "`{shown}` holds {what}: name one of them, for example `{}`",
                folder.join(first).display()
            );
        }
    }
    format!("`{shown}` is no run directory: there is no summary.json in it")
}

/// Run directories below a folder: itself by this name, or what stands in the folder of this name, smallest number first.
fn below_names(folder: &Path, name: &str) -> Vec<PathBuf> {
    let own = PathBuf::from(name);
    if folder.join(&own).join("summary.json").is_file() {
        return vec![own];
    }
    let entries = std::fs::read_dir(folder.join(&own)).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.path().join("summary.json").is_file())
        .map(|entry| entry.file_name())
        .collect();
    found.sort_by_key(|name| (name.len(), name.clone()));
    found.into_iter().map(|name| own.join(name)).collect()
}
