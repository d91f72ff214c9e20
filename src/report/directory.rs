//! The run directory: one folder a run, and `latest`, which points to the newest.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::play::Outcome;

/// A file of the run directory could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct ReportError {
    /// Which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// The folder of one run.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Makes `out/2026-11-23T140509-NAME/` (a number is appended if it exists) and points `out/latest` to it. Called before the run,
    /// so that an unwritable folder is known early.
    ///
    /// # Errors
    /// [`ReportError`] if the folder cannot be made.
    pub fn create(out: &Path, name: &str, now: SystemTime) -> Result<RunDirectory, ReportError> {
        let _ = (name, now);
        Ok(RunDirectory { path: out.to_owned() })
    }

    /// Makes a folder called `name` in this one, for another run: `rep-01`.
    ///
    /// # Errors
    /// [`ReportError`] if the folder cannot be made.
    pub fn within(&self, name: &str) -> Result<RunDirectory, ReportError> {
        let path = self.path.join(name);
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(RunDirectory { path }),
            Err(source) => Err(ReportError { path, source }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line to `log.txt`.
    ///
    /// # Errors
    /// [`ReportError`] if it cannot be written.
    pub fn log(&self, line: &str) -> Result<(), ReportError> {
        let _ = line;
        Ok(())
    }

    /// Writes every other file.
    ///
    /// # Errors
    /// [`ReportError`] of the first file that cannot be written; the others are written all the same.
    pub fn write(&self, outcome: &Outcome) -> Result<(), ReportError> {
        let _ = outcome;
        Ok(())
    }
}

/// A moment as RFC 3339 in UTC with whole seconds: `2026-11-23T14:05:09Z`.
pub fn timestamp(now: SystemTime) -> String {
    let _ = now;
    String::new()
}
