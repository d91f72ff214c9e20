//! One side of a comparison: the runs of a directory, or those of a baseline, batch by batch.
//!
//! A baseline is a folder `OUT/baselines/NAME/` with a folder `batch-NNN` for each time that it was added to, and in it a folder a run
//! with the run's `summary.json`. It is data like any run directory, so that CI can keep it as it keeps other files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::report::recording::{Recording, RecordingError};
use crate::report::summary::Summary;

/// Folder of the baselines below the folder of the runs.
const BASELINES: &str = "baselines";
/// Most batches of a baseline.
const BATCHES_MAX: u32 = 999;

/// Runs that are compared.
#[derive(Clone, Debug)]
pub struct Side {
    /// As it is called in reports.
    pub name: String,
    /// Summaries, a list a batch.
    pub batches: Vec<Vec<Summary>>,
}

impl Side {
    /// The runs of one batch.
    pub fn of(name: impl Into<String>, runs: Vec<Summary>) -> Side {
        Side {
            name: name.into(),
            batches: vec![runs],
        }
    }

    /// Reads a run directory, one with repetitions, or a baseline: by its folder, or by its name below `out`.
    ///
    /// # Errors
    /// [`RecordingError`] if there is nothing of the kind, or a run cannot be read.
    pub fn read(argument: &Path, out: &Path) -> Result<Side, RecordingError> {
        let named = argument
            .to_str()
            .filter(|name| is_name(name))
            .map(|name| folder_of(out, name));
        let folder = named.filter(|_| !argument.exists()).unwrap_or_else(|| argument.to_owned());
        let name = argument.display().to_string();
        let batches = numbered(&folder, "batch-");
        if batches.is_empty() {
            if !folder.exists() {
                return Err(RecordingError {
                    path: argument.to_owned(),
                    problem: format!(
                        "neither a run directory nor a baseline in {}; `--save-baseline NAME` makes one",
                        out.join(BASELINES).display()
                    ),
                });
            }
            return Ok(Side::of(name, summaries(Recording::read_all(&folder)?)));
        }
        let batches = batches.iter().map(|(_, batch)| Recording::read_all(batch).map(summaries));
        Ok(Side {
            name,
            batches: batches.collect::<Result<_, _>>()?,
        })
    }

    /// Every run.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Summary> {
        self.batches.iter().flatten()
    }

    /// How many runs there are.
    pub fn count(&self) -> usize {
        self.runs().count()
    }
}

/// Adds the runs in `folders` to a baseline as one batch; gives the batch's folder.
///
/// # Errors
/// What the system said, with the path.
pub fn save_baseline(out: &Path, name: &str, folders: &[&Path]) -> Result<PathBuf, String> {
    if !is_name(name) {
        return Err(format!(
            "`{name}`: a baseline is named by letters, digits, `-`, `_` and `.`, at most 64 of them"
        ));
    }
    let baseline = folder_of(out, name);
    let last = numbered(&baseline, "batch-").last().map_or(0, |(number, _)| *number);
    if last >= BATCHES_MAX {
        return Err(format!(
            "baseline `{name}` is full: {BATCHES_MAX} batches; delete old ones in {}",
            baseline.display()
        ));
    }
    let batch = baseline.join(format!("batch-{:03}", last + 1));
    for (number, folder) in folders.iter().enumerate() {
        let run = batch.join(format!("rep-{:02}", number + 1));
        let file = run.join("summary.json");
        let copied = fs::create_dir_all(&run).and_then(|()| fs::copy(folder.join("summary.json"), &file));
        copied.map_err(|error: io::Error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(batch)
}

fn folder_of(out: &Path, name: &str) -> PathBuf {
    out.join(BASELINES).join(name)
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(fits)
}

fn summaries(recordings: Vec<Recording>) -> Vec<Summary> {
    recordings.into_iter().map(|recording| recording.summary).collect()
}

/// Folders whose name is `prefix` and a number, by that number.
fn numbered(folder: &Path, prefix: &str) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
        Some((number, entry.path()))
    });
    let mut numbered: Vec<_> = numbered.collect();
    numbered.sort();
    numbered
}
