//! Where images are received: hashed while they come, and long ones written to a file, so that none is ever held whole.
//!
//! A file that was received stands under its digest until the core has answered. The store moves it from there to its images; without
//! a store its name goes and its bytes stay as long as somebody reads them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use super::mapped::map;
use crate::model::{Digest, ImageFile};

/// Images up to this length are held in memory, bytes.
pub(crate) const HELD_MAX: usize = 1 << 20;

/// The folder of what is being received.
#[derive(Clone, Debug)]
pub(crate) struct Spool(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    folder: PathBuf,
    begun: AtomicU64,
}

/// An image that is coming in.
pub(crate) struct Upload {
    spool: Spool,
    hash: Sha256,
    held: Vec<u8>,
    file: Option<(File, Named)>,
}

/// An image that has come in.
pub(crate) struct Received {
    /// The image.
    pub(crate) image: ImageFile,
    /// Takes what is left of its file away when this is dropped.
    _named: Option<Named>,
}

/// A file that is removed when this is dropped, unless somebody has moved it.
struct Named(PathBuf);

impl Spool {
    /// Begins anew with an empty folder at `folder`.
    ///
    /// # Errors
    /// If it cannot be made, or what an earlier server left there not be removed.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Spool> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for entry in folder.read_dir()? {
            std::fs::remove_file(entry?.path())?;
        }
        let begun = AtomicU64::new(0);
        Ok(Spool(Arc::new(Inside { folder, begun })))
    }

    /// Begins to receive an image.
    pub(crate) fn begin(&self) -> Upload {
        Upload {
            spool: self.clone(),
            hash: Sha256::new(),
            held: Vec::new(),
            file: None,
        }
    }

    /// A file of its own for each upload.
    fn unfinished(&self) -> io::Result<(File, Named)> {
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed);
        let path = self.0.folder.join(format!("{number}.new"));
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        Ok((options?, Named(path)))
    }
}

impl Upload {
    /// Takes the next piece.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hash.update(piece);
        if self.file.is_none() && self.held.len() + piece.len() <= HELD_MAX {
            self.held.extend_from_slice(piece);
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(self.spool.unfinished()?);
        }
        if let Some((file, _)) = &mut self.file {
            file.write_all(&std::mem::take(&mut self.held))?;
            file.write_all(piece)?;
        }
        Ok(())
    }

    /// The image, on the disk if it is in a file. This waits for the disk.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub(crate) fn finish(self) -> io::Result<Received> {
        let digest = Digest(self.hash.finalize().into());
        let Some((file, unfinished)) = self.file else {
            let image = ImageFile::hashed(digest, self.held.into());
            return Ok(Received { image, _named: None });
        };
        file.sync_all()?;
        let bytes = map(&file)?;
        let path = received_at(&self.spool.0.folder, &digest);
        std::fs::rename(&unfinished.0, &path)?;
        Ok(Received {
            image: ImageFile::hashed(digest, bytes),
            _named: Some(Named(path)),
        })
    }
}

/// Where a file that was received stands, in the folder of a spool.
pub(crate) fn received_at(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(digest.to_string())
}

impl Drop for Named {
    fn drop(&mut self) {
        let _moved = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(spool: &Spool, image: &[u8]) -> Received {
        let mut upload = spool.begin();
        image.chunks(70_000).for_each(|piece| upload.add(piece).unwrap());
        upload.finish().unwrap()
    }

    #[test]
    fn a_long_image_goes_through_a_file_which_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().join("uploads")).unwrap();
        let files = || folder.path().join("uploads").read_dir().unwrap().count();
        for (length, file) in [(0, 0), (HELD_MAX, 0), (HELD_MAX + 1, 1), (3 * HELD_MAX, 1)] {
            let content: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let received = received(&spool, &content);
            assert!(received.image == content.into(), "{length} bytes");
            assert_eq!(files(), file, "{length} bytes");
            drop(received);
            assert_eq!(files(), 0, "{length} bytes");
        }
        drop(spool.begin());
        let mut broken_off = spool.begin();
        broken_off.add(&[0; HELD_MAX + 1]).unwrap();
        assert_eq!(files(), 1);
        drop(broken_off);
        assert_eq!(files(), 0);
    }

    #[test]
    fn what_an_earlier_server_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("7.new"), "half").unwrap();
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        drop(received(&spool, &[1; 2 * HELD_MAX]));
    }
}
