//! Secrets of a run and the folder they lie in: made at the start, readable by nobody else, gone at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::crypto::ring;

use super::HostError;
use crate::scratch::Scratch;
use crate::wire::api::Credentials;

/// Bytes of randomness in a token or key.
const SECRET_BYTES: usize = 24;

/// What begins the names of such folders.
const FOLDERS: &str = "squall-serve-";

/// A folder that only its owner can read, removed when this is dropped, or by the next server if this one is killed.
#[derive(Debug)]
pub(crate) struct RunFolder(Scratch);

impl RunFolder {
    /// Makes the folder where temporary files live.
    ///
    /// # Errors
    /// [`HostError::File`] if that cannot be written to.
    pub(crate) fn create() -> Result<Self, HostError> {
        let made = Scratch::make(FOLDERS).map_err(|(path, cause)| HostError::File {
            action: "make a folder in",
            path,
            cause,
        })?;
        Ok(RunFolder(made))
    }

    /// The path of a file in the folder.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that only its owner can read.
    ///
    /// # Errors
    /// [`HostError::File`] with its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf, HostError> {
        let path = self.0.path().join(name);
        let written = private(&path).and_then(|mut file| file.write_all(content));
        written.map_err(|cause| HostError::File {
            action: "write",
            path: path.clone(),
            cause,
        })?;
        Ok(path)
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// New secrets: a bearer token and an ingest key.
///
/// # Errors
/// [`HostError::System`] if the system has no randomness to give.
pub(crate) fn new_credentials() -> Result<Credentials, HostError> {
    Ok(Credentials {
        token: BASE64_URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?),
        ingest_key: BASE64_URL_SAFE_NO_PAD.encode(random::<SECRET_BYTES>()?),
    })
}

/// Bytes that nobody can guess.
///
/// # Errors
/// [`HostError::System`] if the system has none to give.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], HostError> {
    let mut bytes = [0; N];
    let filled = ring::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| HostError::System {
        what: "drawing random bytes",
        cause: io::ErrorKind::Unsupported.into(),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_folder_and_its_files_are_private_and_go_with_it() {
        let folder = RunFolder::create().unwrap();
        let file = folder.write("credentials.json", b"{}").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.0.path()), mode(&file)), (0o700, 0o600));
        assert!(
            folder.write("credentials.json", b"{}").is_err(),
            "an existing file is never written over"
        );
        drop(folder);
        assert!(!file.exists());
    }

    #[test]
    fn secrets_are_new_each_time_and_long() {
        let (credentials, others) = (new_credentials().unwrap(), new_credentials().unwrap());
        assert!(credentials != others);
        assert_eq!((credentials.token.len(), credentials.ingest_key.len()), (32, 32));
        assert_ne!(credentials.token, credentials.ingest_key);
    }
}
