//! A folder of one process in the system's place for temporary files. It goes with whoever made it; one that a killed process left behind
//! is removed by the next that makes one of its kind.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};

/// The file in it that its process holds a lock on.
const HELD: &str = "held";

/// The folder, of mode 0700; removed when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _held: File,
}

impl Scratch {
    /// Makes one of the kind `kind`, which begins its name; behind it stand the process and a number.
    ///
    /// # Errors
    /// Where that was not possible, and what the system says.
    pub fn make(kind: &str) -> Result<Scratch, (PathBuf, io::Error)> {
        let place = std::env::temp_dir();
        Scratch::make_in(&place, kind).map_err(|cause| (place, cause))
    }

    fn make_in(place: &Path, kind: &str) -> io::Result<Scratch> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        remove_left_over(place, kind);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{kind}{}-{number}", std::process::id());
        // Under another name until it is held: nobody takes it for left over in between.
        let unfinished = place.join(format!("new-{name}"));
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        let held = File::create(unfinished.join(HELD))?;
        flock(&held, FlockOperation::NonBlockingLockExclusive)?;
        let path = place.join(name);
        std::fs::rename(&unfinished, &path)?;
        Ok(Scratch { path, _held: held })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is the system's to clean up, or the next one's.
        let _best_effort = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of this kind whose process has ended without doing so: nobody holds their lock.
fn remove_left_over(place: &Path, kind: &str) {
    let Ok(entries) = place.read_dir() else { return };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(kind));
        let held = ours.then(|| File::open(entry.path().join(HELD)));
        if let Some(Ok(held)) = held
            && flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            // One of another user stays, and is theirs.
            let _best_effort = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_held_or_of_another_kind_stays() {
        let place = tempfile::tempdir().unwrap();
        let names = || {
            let entries = place.path().read_dir().unwrap().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let live = Scratch::make_in(place.path(), "squall-store-").unwrap();
        let left = Scratch::make_in(place.path(), "squall-store-").unwrap();
        let path = left.path.clone();
        drop(left);
        // As a kill leaves it: the files are there, the lock is not.
        for folder in [&path, &place.path().join("foreign-store-1-0")] {
            std::fs::create_dir_all(folder.join("images")).unwrap();
            std::fs::write(folder.join(HELD), "").unwrap();
        }
        assert_eq!(names().len(), 3);
        let next = Scratch::make_in(place.path(), "squall-store-").unwrap();
        assert!(live.path.is_dir() && next.path.is_dir() && !path.exists(), "{:?}", names());
        drop((live, next));
        assert_eq!(names(), ["foreign-store-1-0"]);
    }
}
