//! A run directory, read back: what every report but the summary's own text is made of, so that `squall report` makes later what the
//! run made at its end.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

use super::histograms::{Histograms, read_histograms};
use super::html::Columns;
use super::summary::{SUMMARY_SCHEMA, Summary};

/// Largest file of a run directory that is read as a whole.
const FILE_MAX: u64 = 256 << 20;

/// A run directory.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Where it was read from.
    pub folder: PathBuf,
    /// Its `summary.json`.
    pub summary: Summary,
    /// Distributions; none where the file is missing.
    histograms: Histograms,
    /// Its `timeline.csv`.
    timeline: Columns,
    /// Its `resolved.toml`.
    resolved: String,
}

/// A run directory could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct RecordingError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl Recording {
    /// Reads a run directory. Only the summary must be there: a report leaves out what the other files would have told.
    ///
    /// # Errors
    /// [`RecordingError`] if there is no summary that this version reads, or a file is damaged.
    pub fn read(folder: &Path) -> Result<Recording, RecordingError> {
        let path = folder.join("summary.json");
        let wrong = |path: &Path, problem: String| RecordingError {
            path: path.to_owned(),
            problem,
        };
        let Some(text) = read(&path)? else {
            let latest = folder.join("latest");
            let meant = match latest.join("summary.json").is_file() {
                true => format!("; did you mean {}?", latest.display()),
                false => String::new(),
            };
            return Err(wrong(
                folder,
                format!("no run directory: there is no summary.json in it{meant}"),
            ));
        };
        let schema: Schema = serde_json::from_slice(&text).map_err(|error| wrong(&path, error.to_string()))?;
        if schema.schema != SUMMARY_SCHEMA {
            let problem = format!("schema `{}`: this version reads `{SUMMARY_SCHEMA}`", schema.schema);
            return Err(wrong(&path, problem));
        }
        let summary = serde_json::from_slice(&text).map_err(|error| wrong(&path, error.to_string()))?;
        let path = folder.join("histograms.hlog");
        let log = read(&path)?.unwrap_or_default();
        let timeline = read(&folder.join("timeline.csv"))?.unwrap_or_default();
        let resolved = read(&folder.join("resolved.toml"))?.unwrap_or_default();
        Ok(Recording {
            folder: folder.to_owned(),
            summary,
            timeline: Columns::parse(&String::from_utf8_lossy(&timeline)),
            resolved: String::from_utf8_lossy(&resolved).into_owned(),
            histograms: read_histograms(&log).map_err(|problem| wrong(&path, problem))?,
        })
    }

    pub(super) fn timeline(&self) -> &Columns {
        &self.timeline
    }

    /// The scenario with every default written out.
    pub(super) fn resolved(&self) -> &str {
        &self.resolved
    }

    /// The distribution of a series in microseconds, by its name with labels: `deploy_time{cohort:west}`.
    pub fn histogram(&self, series: &str) -> Option<&Histogram<u64>> {
        self.histograms.get(series)
    }

    /// Reads a run directory, or each repetition in it: `rep-01`, `rep-02`, in their order.
    ///
    /// # Errors
    /// [`RecordingError`] of the first that cannot be read.
    pub fn read_all(folder: &Path) -> Result<Vec<Recording>, RecordingError> {
        let repetitions = repetitions(folder);
        if repetitions.is_empty() {
            return Recording::read(folder).map(|recording| vec![recording]);
        }
        repetitions.iter().map(|folder| Recording::read(folder)).collect()
    }
}

/// What must fit before the rest is looked at.
#[derive(serde::Deserialize)]
struct Schema {
    schema: String,
}

/// Folders `rep-NN` with a summary in them, by their number.
fn repetitions(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let name = entry.file_name();
        let number: u32 = name.to_str()?.strip_prefix("rep-")?.parse().ok()?;
        let path = entry.path();
        path.join("summary.json").is_file().then_some((number, path))
    });
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort();
    numbered.into_iter().map(|(_, path)| path).collect()
}

/// The whole file; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, RecordingError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RecordingError {
            path: path.to_owned(),
            problem: error.to_string(),
        }),
    }
}
