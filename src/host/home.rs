//! Where a server keeps what outlives a request: a folder of this run, gone with it, or a store that outlives the process.

use std::path::PathBuf;

use super::HostError;
use super::clock::{Clock, calendar_now_ms};
use super::credentials::{RunFolder, new_credentials, random};
use super::spool::Spool;
use super::store::{DiskStore, Restored, Store, StoreFolder, StoredAnswer, UPLOADS};
use crate::model::KeyHash;
use crate::server::{Record, Stamp};
use crate::wire::api::{Credentials, EventLine};

/// File with token and ingest key.
const CREDENTIALS: &str = "credentials.json";
/// File with the authorities that devices are to trust.
const AUTHORITIES: &str = "ca.pem";
/// File with the key under which artifact secrets are made.
const ARTIFACT_KEY: &str = "artifact.key";

/// A place for files, and what came of an earlier server there.
pub(crate) struct Home {
    place: Place,
    /// What the tables held.
    pub(crate) records: Vec<(Stamp, Record)>,
    /// The newest events told.
    pub(crate) events: Vec<EventLine>,
    /// The newest answers to requests with a key.
    pub(crate) answers: Vec<StoredAnswer>,
    /// When a store was made, milliseconds since 1970.
    created_ms: Option<u64>,
}

enum Place {
    /// Removed when this is dropped.
    Run(RunFolder),
    Store(Box<DiskStore>),
}

/// What lets devices and people in.
pub(crate) struct Secrets {
    /// Where the clear text lies, unless somebody took it away.
    pub(crate) credentials: PathBuf,
    /// Of the bearer token of the management API.
    pub(crate) token: KeyHash,
    /// Of the password of devices.
    pub(crate) ingest_key: KeyHash,
    /// Makes the secrets of artifacts.
    pub(crate) artifact_key: [u8; 32],
}

impl Home {
    /// Opens a store, or makes a folder for this run.
    ///
    /// # Errors
    /// [`HostError`] if the folder cannot be used; of a store, if something in it is not what it was.
    pub(crate) fn open(store: Option<&PathBuf>) -> Result<Home, HostError> {
        let Some(path) = store else {
            return Ok(Home {
                place: Place::Run(RunFolder::create()?),
                records: Vec::new(),
                events: Vec::new(),
                answers: Vec::new(),
                created_ms: None,
            });
        };
        let (disk, restored) = DiskStore::open(StoreFolder::open(path)?, calendar_now_ms())?;
        let Restored {
            records,
            events,
            answers,
            created_ms,
        } = restored;
        Ok(Home {
            place: Place::Store(Box::new(disk)),
            records,
            events,
            answers,
            created_ms: Some(created_ms),
        })
    }

    /// The clock of a server that no parent gives one: a store's goes on.
    pub(crate) fn clock(&self) -> Clock {
        self.created_ms.map_or_else(Clock::starting, Clock::since_calendar_ms)
    }

    /// The folder of the store, if there is one.
    pub(crate) fn kept(&self) -> Option<&StoreFolder> {
        match &self.place {
            Place::Run(_) => None,
            Place::Store(disk) => Some(disk.folder()),
        }
    }

    /// Writes the authorities that clients are to trust.
    ///
    /// # Errors
    /// [`HostError::File`] or [`HostError::Store`] if that is not possible.
    pub(crate) fn write_authorities(&self, pem: &str) -> Result<PathBuf, HostError> {
        self.write(AUTHORITIES, pem.as_bytes())
    }

    /// The secrets, made if there are none yet. A store knows token and ingest key by their hashes: their file may be taken away,
    /// and another one in its place replaces them.
    ///
    /// # Errors
    /// [`HostError::File`] or [`HostError::Store`] if they can neither be read nor written.
    pub(crate) fn secrets(&self) -> Result<Secrets, HostError> {
        let given = match self.kept() {
            Some(folder) => folder
                .read(CREDENTIALS)?
                .map(|json| parse_credentials(folder, &json))
                .transpose()?,
            None => None,
        };
        let (token, ingest_key) = match (given, self.known()?) {
            (Some(given), _) => (KeyHash::of(&given.token), KeyHash::of(&given.ingest_key)),
            (None, Some(known)) => known,
            (None, None) => {
                let made = new_credentials()?;
                let json = serde_json::to_vec(&made).expect("two texts have a JSON form");
                self.write(CREDENTIALS, &json)?;
                (KeyHash::of(&made.token), KeyHash::of(&made.ingest_key))
            }
        };
        if let Place::Store(disk) = &self.place {
            disk.remember_credential("token", token)?;
            disk.remember_credential("ingest-key", ingest_key)?;
        }
        Ok(Secrets {
            credentials: self.path(CREDENTIALS),
            token,
            ingest_key,
            artifact_key: self.artifact_key()?,
        })
    }

    /// Where images are received.
    ///
    /// # Errors
    /// [`HostError::File`] if there is no room for them.
    pub(crate) fn spool(&self) -> Result<Spool, HostError> {
        let path = self.path(UPLOADS);
        Spool::open(path.clone()).map_err(|cause| HostError::File {
            action: "create",
            path,
            cause,
        })
    }

    /// The store itself, once everything is read. What lies in a folder of this run stays until the second is dropped.
    pub(crate) fn into_store(self) -> (Store, Option<RunFolder>) {
        match self.place {
            Place::Run(folder) => (Store::Memory, Some(folder)),
            Place::Store(disk) => (Store::Disk(disk), None),
        }
    }

    fn known(&self) -> Result<Option<(KeyHash, KeyHash)>, HostError> {
        let Place::Store(disk) = &self.place else {
            return Ok(None);
        };
        Ok(disk.credential("token")?.zip(disk.credential("ingest-key")?))
    }

    fn artifact_key(&self) -> Result<[u8; 32], HostError> {
        let Some(folder) = self.kept() else {
            return random();
        };
        if let Some(key) = folder.read(ARTIFACT_KEY)? {
            return key
                .try_into()
                .map_err(|_| damaged(folder, ARTIFACT_KEY, "does not hold 32 bytes"));
        }
        let key = random()?;
        folder.write(ARTIFACT_KEY, &key)?;
        Ok(key)
    }

    fn path(&self, name: &str) -> PathBuf {
        match &self.place {
            Place::Run(folder) => folder.at(name),
            Place::Store(disk) => disk.folder().at(name),
        }
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf, HostError> {
        match &self.place {
            Place::Run(folder) => folder.write(name, content),
            Place::Store(disk) => {
                disk.folder().write(name, content)?;
                Ok(disk.folder().at(name))
            }
        }
    }
}

fn parse_credentials(folder: &StoreFolder, json: &[u8]) -> Result<Credentials, HostError> {
    serde_json::from_slice(json).map_err(|_| damaged(folder, CREDENTIALS, "does not hold `token` and `ingest_key`"))
}

fn damaged(folder: &StoreFolder, name: &str, what: &str) -> HostError {
    let cause = std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    HostError::File {
        action: "use",
        path: folder.at(name),
        cause,
    }
}
