//! The tables, as a person finds them in `squall.db`, and the way from each version of them to the next.
//!
//! The file carries its version (`PRAGMA user_version`): how many of [`MIGRATIONS`] it has been through. A migration that has been
//! released is never changed; what comes later is a new one behind it. Numbers that the protocol lets grow to 2^64-1 (attempt ids,
//! boots, attempt errors) stand in SQLite's signed integers, those from 2^63 on as negative ones.

use rusqlite::Connection;

use super::StoreError;

/// Each brings the tables from one version to the next, beginning with none.
pub(super) const MIGRATIONS: &[&str] = &[CREATE, EVENTS, ANSWERS];

const CREATE: &str = "
    -- One row: when the store was made, in milliseconds since 1970.
    CREATE TABLE store (created_unix_ms INTEGER NOT NULL);
    -- SHA-256 of what lets in: `token` and `ingest-key`. The secrets themselves are nowhere in this file.
    CREATE TABLE credentials (kind TEXT PRIMARY KEY, sha256 TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE firmware (slug TEXT PRIMARY KEY, created_unix_ms INTEGER NOT NULL) WITHOUT ROWID;
    -- The bytes lie in `images/DIGEST`.
    CREATE TABLE images (
        digest TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, build_id TEXT, created_unix_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE versions (
        number INTEGER PRIMARY KEY, slug TEXT NOT NULL REFERENCES firmware, version TEXT NOT NULL,
        digest TEXT NOT NULL REFERENCES images, created_unix_ms INTEGER NOT NULL, UNIQUE (slug, version)
    );

    -- The last three columns: what the device told of itself last.
    CREATE TABLE devices (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, registered_unix_ms INTEGER NOT NULL,
        run_id INTEGER NOT NULL DEFAULT 0, build_id TEXT, last_attempt INTEGER
    );
    CREATE TABLE tags (
        device INTEGER NOT NULL REFERENCES devices, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (device, key)
    ) WITHOUT ROWID;

    -- Without a rule members come and go by hand. Cohort `all` is number 0 and has no row.
    CREATE TABLE cohorts (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rule TEXT, created_unix_ms INTEGER NOT NULL
    );
    CREATE TABLE members (
        cohort INTEGER NOT NULL REFERENCES cohorts, device INTEGER NOT NULL REFERENCES devices,
        joined_unix_ms INTEGER NOT NULL, PRIMARY KEY (cohort, device)
    ) WITHOUT ROWID;

    -- `main` is the position of the main package.
    CREATE TABLE deployments (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, cohort INTEGER NOT NULL, main INTEGER,
        cancelled INTEGER NOT NULL DEFAULT 0, paused INTEGER NOT NULL DEFAULT 0,
        created_unix_ms INTEGER NOT NULL
    );
    CREATE TABLE packages (
        deployment INTEGER NOT NULL REFERENCES deployments, position INTEGER NOT NULL, slug TEXT NOT NULL, version TEXT NOT NULL,
        PRIMARY KEY (deployment, position)
    ) WITHOUT ROWID;

    -- `succeeded`, `failed` and `canceled` have a bit for each artifact with that result, the first artifact's the lowest.
    CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, device INTEGER NOT NULL REFERENCES devices, deployment INTEGER NOT NULL REFERENCES deployments,
        state TEXT NOT NULL, reason TEXT, sent INTEGER NOT NULL DEFAULT 0, cancel_requested INTEGER NOT NULL DEFAULT 0,
        succeeded INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, canceled INTEGER NOT NULL DEFAULT 0, error INTEGER
    );
    CREATE INDEX attempts_of_device ON attempts (device);
    CREATE INDEX attempts_of_deployment ON attempts (deployment, state);

    -- Every change, in order, when it took place and by which message (`prompt`): what the server is restored from. The tables above say what has come of them. What devices tell of
    -- themselves at each boot stands in `devices` alone.
    CREATE TABLE changes (
        number INTEGER PRIMARY KEY, at_unix_ms INTEGER NOT NULL, prompt TEXT NOT NULL, change TEXT NOT NULL,
        device INTEGER, attempt INTEGER, record TEXT NOT NULL
    );
    CREATE INDEX changes_of_attempt ON changes (attempt) WHERE attempt IS NOT NULL;
    CREATE INDEX changes_of_device ON changes (device) WHERE device IS NOT NULL;
";

const EVENTS: &str = "
    -- The newest of what the event stream told, each as its JSON: readers go on behind the last one they saw, also after a restart.
    CREATE TABLE events (seq INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, event TEXT NOT NULL);
";

const ANSWERS: &str = "
    -- The newest requests with an `Idempotency-Key`: the SHA-256 of the request, and its answer if one was given before the server ended.
    CREATE TABLE answers (
        number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, request BLOB NOT NULL, status INTEGER, headers TEXT, body BLOB
    );
";

/// Brings the tables to the newest version, in one step.
///
/// # Errors
/// [`StoreError::Newer`] if the file knows more than we do; it is not touched then.
pub(super) fn migrate(database: &mut Connection) -> Result<(), StoreError> {
    let found: u32 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = u32::try_from(MIGRATIONS.len()).expect("migrations are few");
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    if found < known {
        let transaction = database.transaction()?;
        for migration in &MIGRATIONS[found as usize..] {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()?;
    }
    Ok(())
}
