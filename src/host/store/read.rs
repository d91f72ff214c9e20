//! Rows to records: the journal, and what devices last told of themselves.

use rusqlite::{Connection, Row};

use super::{StoreError, StoreFolder};
use crate::model::{AttemptId, BuildId};
use crate::server::{DeviceNumber, Record, SessionSeen};
use crate::wire::api::EventLine;

type Read<T> = Result<T, StoreError>;

/// The records of a server that stands where the tables stand; images come from the folder.
pub(super) fn records(database: &Connection, folder: &StoreFolder) -> Read<Vec<Record>> {
    let mut records = Vec::new();
    each(database, "SELECT record FROM changes ORDER BY number", |row| {
        let text: String = row.get(0)?;
        let mut record = serde_json::from_str(&text).map_err(|_| foreign("record", &text))?;
        if let Record::ImageStored { digest, image, .. } = &mut record {
            *image = folder.image(digest)?;
        }
        records.push(record);
        Ok(())
    })?;
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

fn sessions(database: &Connection, records: &mut Vec<Record>) -> Read<()> {
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
            records.push(Record::SessionSeen { device, session });
        }
        Ok(())
    })
}

/// Hands every row of a query to `take`.
fn each(database: &Connection, query: &str, mut take: impl FnMut(&Row<'_>) -> Read<()>) -> Read<()> {
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
