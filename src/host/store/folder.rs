//! The folder of a store: one server at a time, files that are there whole or not at all, images by the digest of their bytes.
//!
//! ```text
//! DIR/squall.db          the tables, with -wal and -shm beside it while a server runs
//! DIR/images/DIGEST      image files
//! DIR/uploads/           images that are being received
//! DIR/credentials.json   token and ingest key, mode 0600; the server does without it once they are known
//! DIR/artifact.key       the key under which artifact secrets are made, mode 0600
//! DIR/tls/               authorities and their keys, mode 0600
//! DIR/lock               held by the server that uses the store
//! ```

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use sha2::Digest as _;

use super::super::mapped::map;
use super::super::spool::{HELD_MAX, received_at};
use super::StoreError;
use crate::model::Digest;

/// Where images are received.
pub(crate) const UPLOADS: &str = "uploads";

/// A folder that this process alone writes to.
#[derive(Debug)]
pub(crate) struct StoreFolder {
    path: PathBuf,
    /// Locked while it is open.
    _lock: File,
}

impl StoreFolder {
    /// Opens the folder, making it where it is missing, and keeps other servers out of it.
    ///
    /// # Errors
    /// [`StoreError::InUse`], or [`StoreError::File`] with what could not be done.
    pub(crate) fn open(path: &Path) -> Result<StoreFolder, StoreError> {
        for folder in [path, &path.join("images"), &path.join("tls")] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|cause| StoreError::file("create", folder, cause))?;
        }
        let lock_path = path.join("lock");
        let failed = |cause| StoreError::file("write to", path, cause);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StoreError::InUse(path.to_owned())),
            Err(cause) => return Err(failed(cause.into())),
        }
        Ok(StoreFolder {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The path of a file in the folder.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The content of a file; nothing if there is none.
    ///
    /// # Errors
    /// [`StoreError::File`] if it cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.at(name);
        match std::fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StoreError::file("read", &path, cause)),
        }
    }

    /// Writes a file that only its owner can read. Whatever happens meanwhile, the file is afterwards what it was, or whole and on
    /// the disk.
    ///
    /// # Errors
    /// [`StoreError::File`] if that is not possible.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = self.at(name);
        let unfinished = path.with_extension("new");
        let folder = path.parent().unwrap_or(&self.path);
        let write = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            // The name is in the folder, which is a file of its own.
            File::open(folder)?.sync_all()
        };
        write().map_err(|cause| {
            let _best_effort = std::fs::remove_file(&unfinished);
            StoreError::file("write", &path, cause)
        })
    }

    /// Keeps an image; a second one of the same digest is the first. One that was received into a file, whole and on the disk, is
    /// moved.
    ///
    /// # Errors
    /// As [`StoreFolder::write`].
    pub(crate) fn keep_image(&self, digest: &Digest, image: &[u8]) -> Result<(), StoreError> {
        let name = image_name(digest);
        let path = self.at(&name);
        if path.exists() {
            return Ok(());
        }
        if std::fs::rename(received_at(&self.at(UPLOADS), digest), &path).is_err() {
            return self.write(&name, image);
        }
        let synced = File::open(self.at("images")).and_then(|folder| folder.sync_all());
        synced.map_err(|cause| StoreError::file("write", &path, cause))
    }

    /// Removes what is neither an image of these nor being written.
    pub(crate) fn keep_only(&self, named: &BTreeSet<Digest>) {
        let Ok(entries) = std::fs::read_dir(self.at("images")) else {
            return;
        };
        for entry in entries.flatten() {
            let digest = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if digest.is_none_or(|digest| !named.contains(&digest)) {
                let _best_effort = std::fs::remove_file(entry.path());
            }
        }
    }

    /// An image, its bytes held against its digest.
    ///
    /// # Errors
    /// [`StoreError::Image`] if it is not there or not what it was.
    pub(crate) fn image(&self, digest: &Digest) -> Result<Bytes, StoreError> {
        let name = image_name(digest);
        let damaged = |what| StoreError::Image {
            path: self.at(&name),
            what,
        };
        let read = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => damaged("is missing"),
            _ => StoreError::file("read", &self.at(&name), cause),
        };
        let file = File::open(self.at(&name)).map_err(read)?;
        if digest_of_file(&file).map_err(read)? != *digest {
            return Err(damaged("is not what its name says: its bytes have changed"));
        }
        let length = file.metadata().map_err(read)?.len();
        if length > HELD_MAX as u64 {
            return map(&file).map_err(read);
        }
        Ok(self.read(&name)?.ok_or_else(|| damaged("is missing"))?.into())
    }
}

/// Read piece by piece: a long image is not held for it.
fn digest_of_file(mut file: &File) -> io::Result<Digest> {
    let mut hash = sha2::Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest(hash.finalize().into())),
            read => hash.update(&piece[..read]),
        }
    }
}

fn image_name(digest: &Digest) -> String {
    format!("images/{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn digest_of(bytes: &[u8]) -> Digest {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    #[test]
    fn images_are_kept_once_and_only_whole() {
        let place = tempfile::tempdir().unwrap();
        let folder = StoreFolder::open(place.path()).unwrap();
        let digest = digest_of(b"image");
        folder.keep_image(&digest, b"image").unwrap();
        folder.keep_image(&digest, b"image").unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.at("images")).unwrap().collect();
        assert_eq!((names.len(), &folder.image(&digest).unwrap()[..]), (1, &b"image"[..]));
        std::fs::write(folder.at(&image_name(&digest)), b"imagf").unwrap();
        let error = folder.image(&digest).unwrap_err().to_string();
        assert!(error.contains("is not what its name says: its bytes have changed"), "{error}");
        let error = folder.image(&digest_of(b"other")).unwrap_err().to_string();
        assert!(error.contains("is missing"), "{error}");
    }

    #[test]
    fn what_could_not_be_written_leaves_the_old_file() {
        let place = tempfile::tempdir().unwrap();
        let folder = StoreFolder::open(place.path()).unwrap();
        folder.write("file", b"old").unwrap();
        std::fs::create_dir(folder.at("file.new")).unwrap();
        assert!(folder.write("file", b"new").is_err());
        assert_eq!(folder.read("file").unwrap().unwrap(), b"old");
        let mode = std::fs::metadata(folder.at("file")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn a_second_server_is_kept_out_until_the_first_has_gone() {
        let place = tempfile::tempdir().unwrap();
        let first = StoreFolder::open(place.path()).unwrap();
        let refused = StoreFolder::open(place.path()).unwrap_err().to_string();
        assert!(refused.contains("is in use by another server"), "{refused}");
        drop(first);
        StoreFolder::open(place.path()).unwrap();
    }
}
