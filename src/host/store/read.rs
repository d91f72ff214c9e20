//! Rows to records: the journal, and what devices last told of themselves.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};

use super::{StoreError, StoreFolder};
use crate::model::{AttemptId, BuildId, Digest, Prompt};
use crate::server::{DeviceNumber, Record, SessionSeen, Stamp};
use crate::wire::api::EventLine;

/// Of what devices last told of themselves: when is not kept, and no history has it.
const SESSION: Stamp = Stamp {
    at_ms: 0,
    by: Prompt::Ingest,
};

type Read<T> = Result<T, StoreError>;

/// The records of a server that stands where the tables stand; images come from the folder.
pub(super) fn records(database: &Connection, folder: &StoreFolder) -> Read<Vec<(Stamp, Record)>> {
    let present = images(database)?;
    let mut records = Vec::new();
    each(
        database,
        "SELECT at_unix_ms, prompt, record FROM changes ORDER BY number",
        |row| {
            let text: String = row.get(2)?;
            let mut record = serde_json::from_str(&text).map_err(|_| foreign("record", &text))?;
            // Of an image that was deleted since, nothing is left but the fact.
            if let Record::ImageStored { digest, image, .. } = &mut record
                && present.contains(digest)
            {
                *image = folder.image(digest)?;
            }
            records.push((stamp(row)?, record));
            Ok(())
        },
    )?;
    sessions(database, &mut records)?;
    Ok(records)
}

/// The events that are kept, oldest first.
pub(super) fn events(database: &Connection) -> Read<Vec<EventLine>> {
    let mut events = Vec::new();
    each(database, "SELECT seq, at_ns, event FROM events ORDER BY seq", |row| {
        let text: String = row.get(2)?;
        events.push(EventLine {
            seq: row.get::<_, i64>(0)?.cast_unsigned(),
            at_ns: row.get::<_, i64>(1)?.cast_unsigned(),
            event: serde_json::from_str(&text).map_err(|_| foreign("event", &text))?,
        });
        Ok(())
    })?;
    Ok(events)
}

/// When the store was made; nothing if it has just been.
pub(super) fn created_ms(database: &Connection) -> Read<Option<u64>> {
    let query = "SELECT created_unix_ms FROM store";
    let created: Option<i64> = database.query_row(query, [], |row| row.get(0)).optional()?;
    Ok(created.map(i64::cast_unsigned))
}

/// The images that rows name.
pub(super) fn images(database: &Connection) -> Read<BTreeSet<Digest>> {
    let mut images = BTreeSet::new();
    each(database, "SELECT digest FROM images", |row| {
        let text: String = row.get(0)?;
        images.insert(text.parse().map_err(|_| foreign("digest", &text))?);
        Ok(())
    })?;
    Ok(images)
}

fn stamp(row: &Row<'_>) -> Read<Stamp> {
    let prompt: String = row.get(1)?;
    Ok(Stamp {
        at_ms: row.get::<_, i64>(0)?.cast_unsigned(),
        by: Prompt::from_word(&prompt).ok_or_else(|| foreign("prompt", &prompt))?,
    })
}

fn sessions(database: &Connection, records: &mut Vec<(Stamp, Record)>) -> Read<()> {
    let query = "SELECT number, run_id, build_id, last_attempt FROM devices ORDER BY number";
    each(database, query, |row| {
        let session = SessionSeen {
            run_id: row.get::<_, i64>(1)?.cast_unsigned(),
            build_id: build_id(row, 2)?,
            last_attempt: row
                .get::<_, Option<i64>>(3)?
                .and_then(|id| AttemptId::new(id.cast_unsigned())),
        };
        if session != SessionSeen::default() {
            let device = DeviceNumber(row.get(0)?);
            records.push((SESSION, Record::SessionSeen { device, session }));
        }
        Ok(())
    })
}

/// Hands every row of a query to `take`.
pub(super) fn each(database: &Connection, query: &str, mut take: impl FnMut(&Row<'_>) -> Read<()>) -> Read<()> {
    let mut statement = database.prepare(query)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn build_id(row: &Row<'_>, column: usize) -> Read<Option<BuildId>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|_| foreign("build id", &text)))
        .transpose()
}

/// Something that stands in a table and that we cannot have written.
pub(super) fn foreign(what: &str, text: &str) -> StoreError {
    StoreError::Row(format!("the {what} `{}`", text.escape_debug()))
}
