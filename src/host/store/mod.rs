//! Where records go, so that what was told to anyone is still true after whatever happens to the process.
//!
//! In memory nothing outlives it. On disk the records of a batch of messages are one transaction (group commit), together with the
//! events that tell of them: after [`Store::commit`] they are on the disk, and only then does the core's thread carry out what stands
//! behind them. Each record stands in a journal, which a server is restored from and which is its history, and what comes of it in
//! tables where a person looks for devices, cohorts, deployments, attempts.

mod answers;
mod folder;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, OptionalExtension};

use crate::model::{KeyHash, ServerEvent};
use crate::server::{Record, Stamp};
use crate::time::SimTime;
use crate::wire::api::EventLine;

pub(crate) use answers::{ANSWERS_KEPT, Answer, KeyedRequest, StoredAnswer};
pub(crate) use folder::{StoreFolder, UPLOADS};

/// How long another process that reads the tables may hold them up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements kept ready: all of ours.
const STATEMENTS: usize = 64;

/// What one commit makes durable.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// When it happened.
    pub(crate) at: SimTime,
    /// Changes, in order.
    pub(crate) records: &'a [(Stamp, Record)],
    /// Number of the first event.
    pub(crate) first_event: u64,
    /// What the event stream will tell of it.
    pub(crate) events: &'a [ServerEvent],
    /// Keys under which its changes were asked for.
    pub(crate) keys: &'a [KeyedRequest],
    /// Answers that were given to requests with a key.
    pub(crate) answers: &'a [StoredAnswer],
}

impl Batch<'_> {
    /// True if there is nothing to store.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.events.is_empty() && self.keys.is_empty() && self.answers.is_empty()
    }
}

/// Where records go.
#[derive(Debug)]
pub(crate) enum Store {
    /// Nowhere.
    Memory,
    /// To a folder.
    Disk(Box<DiskStore>),
}

impl Store {
    /// Makes a batch durable; what its records reveal may be told from here on. After an error nothing of the batch is stored, and it
    /// may be tried again.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::may_pass`] tells whether trying again makes sense.
    pub(crate) fn commit(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        match self {
            Store::Memory => Ok(()),
            Store::Disk(disk) => disk.commit(batch),
        }
    }
}

/// A folder with tables and images.
#[derive(Debug)]
pub(crate) struct DiskStore {
    folder: StoreFolder,
    database: Connection,
}

/// What a store held when it was opened.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The records of a server that stands where the last one stood.
    pub(crate) records: Vec<(Stamp, Record)>,
    /// The newest events.
    pub(crate) events: Vec<EventLine>,
    /// The newest answers to requests with a key, oldest first.
    pub(crate) answers: Vec<StoredAnswer>,
    /// When the store was made, milliseconds since 1970.
    pub(crate) created_ms: u64,
}

impl DiskStore {
    /// Opens the tables of a folder, making or migrating them. `now_ms` is the present, for a store that is made.
    ///
    /// # Errors
    /// [`StoreError`] with what is wrong; nothing has been changed then but by a migration that was complete.
    pub(crate) fn open(folder: StoreFolder, now_ms: u64) -> Result<(DiskStore, Restored), StoreError> {
        let path = folder.at("squall.db");
        let mut database = Connection::open(&path)?;
        database.busy_timeout(BUSY_TIMEOUT)?;
        database.set_prepared_statement_cache_capacity(STATEMENTS);
        database.pragma_update(None, "journal_mode", "WAL")?;
        // A commit is on the disk, not only with the kernel: power may fail as well.
        database.pragma_update(None, "synchronous", "FULL")?;
        database.pragma_update(None, "foreign_keys", false)?;
        schema::migrate(&mut database)?;
        let created = read::created_ms(&database)?;
        if created.is_none() {
            database.execute("INSERT INTO store (created_unix_ms) VALUES (?)", [now_ms.cast_signed()])?;
        }
        let restored = Restored {
            records: read::records(&database, &folder)?,
            events: read::events(&database)?,
            answers: answers::read(&database)?,
            created_ms: created.unwrap_or(now_ms),
        };
        let store = DiskStore { folder, database };
        store.sweep();
        Ok((store, restored))
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &StoreFolder {
        &self.folder
    }

    /// The SHA-256 of a secret, if it is known.
    ///
    /// # Errors
    /// [`StoreError`] if the tables cannot be read.
    pub(crate) fn credential(&self, kind: &str) -> Result<Option<KeyHash>, StoreError> {
        let query = "SELECT sha256 FROM credentials WHERE kind = ?";
        let text: Option<String> = self.database.query_row(query, [kind], |row| row.get(0)).optional()?;
        text.map(|text| text.parse().map_err(|_| read::foreign("hash", &text)))
            .transpose()
    }

    /// Remembers the SHA-256 of a secret.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    pub(crate) fn remember_credential(&self, kind: &str, hash: KeyHash) -> Result<(), StoreError> {
        let statement = "INSERT OR REPLACE INTO credentials (kind, sha256) VALUES (?, ?)";
        self.database.execute(statement, (kind, hash.to_string()))?;
        Ok(())
    }

    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        for (_, record) in batch.records {
            // Before the row that names it.
            if let Record::ImageStored { digest, image, .. } = record {
                self.folder.keep_image(digest, image)?;
            }
        }
        let transaction = self.database.transaction()?;
        write::records(&transaction, batch.records)?;
        write::events(&transaction, batch)?;
        answers::write(&transaction, batch.keys, batch.answers)?;
        transaction.commit()?;
        if batch
            .records
            .iter()
            .any(|(_, record)| matches!(record, Record::VersionDeleted { .. }))
        {
            self.sweep();
        }
        Ok(())
    }

    /// Removes image files that no row names: those of versions that were deleted, or of a commit that never came.
    fn sweep(&self) {
        // What is left behind is in nobody's way, and the next sweep finds it.
        if let Ok(named) = read::images(&self.database) {
            self.folder.keep_only(&named);
        }
    }
}

/// What a store cannot do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another server works on the folder.
    #[error("`{}` is in use by another server", .0.display())]
    InUse(PathBuf),
    /// A file or folder could not be read or written.
    #[error("cannot {action} `{}`: {cause}", path.display())]
    File {
        /// `create`, `read`, `write`, `write to`.
        action: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The tables were written by a newer version.
    #[error("`squall.db` has version {found} of its tables, this squall knows up to {known}: use a newer one")]
    Newer {
        /// Version of the file.
        found: u32,
        /// Newest that we know.
        known: u32,
    },
    /// An image file is not what it must be.
    #[error("the image `{}` {what}: bring it back from a copy", path.display())]
    Image {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A row cannot be what we wrote.
    #[error("`squall.db` holds {0}, which no squall has written: bring it back from a copy")]
    Row(String),
    /// The disk is full, as a fault has it.
    #[error("the disk is full")]
    Full,
    /// SQLite failed.
    #[error("`squall.db`: {0}")]
    Database(#[from] rusqlite::Error),
}

impl StoreError {
    fn file(action: &'static str, path: &Path, cause: io::Error) -> StoreError {
        StoreError::File {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    /// True for what may pass by itself, or by somebody making room: then the same batch may be tried again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            StoreError::File { .. } | StoreError::Full => true,
            StoreError::Database(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::ReadOnly
                        | ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::CannotOpen
                        | ErrorCode::PermissionDenied
                        | ErrorCode::OutOfMemory
                )
            ),
            StoreError::InUse(_) | StoreError::Newer { .. } | StoreError::Image { .. } | StoreError::Row(_) => false,
        }
    }
}
