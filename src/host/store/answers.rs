//! Answers to requests with an `Idempotency-Key`: a client that never heard its answer is given it also after a restart.
//!
//! The key is stored in the transaction of the change that was asked for under it, its answer right after. A server that was killed
//! between the two knows that the request was carried out, and can say no more than that.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// Answers kept; the oldest make room.
pub(crate) const ANSWERS_KEPT: usize = 10_000;

/// A request that is to be carried out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyedRequest {
    /// Its key.
    pub(crate) key: String,
    /// SHA-256 of method, path and body.
    pub(crate) request: [u8; 32],
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredAnswer {
    /// Which one.
    pub(crate) to: KeyedRequest,
    /// What was answered, if that is known.
    pub(crate) answer: Option<Answer>,
}

/// An answer of the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Headers in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Body.
    pub(crate) body: Vec<u8>,
}

/// Writes keys and answers, and forgets the oldest.
pub(super) fn write(database: &Connection, keys: &[KeyedRequest], answers: &[StoredAnswer]) -> Result<(), StoreError> {
    if keys.is_empty() && answers.is_empty() {
        return Ok(());
    }
    for keyed in keys {
        let insert = "INSERT OR REPLACE INTO answers (key, request) VALUES (?, ?)";
        database.prepare_cached(insert)?.execute((&keyed.key, keyed.request))?;
    }
    for StoredAnswer { to, answer } in answers {
        let Some(answer) = answer else { continue };
        let headers = serde_json::to_string(&answer.headers).expect("texts have a JSON form");
        let insert = "INSERT INTO answers (key, request, status, headers, body) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET
                request = excluded.request, status = excluded.status, headers = excluded.headers, body = excluded.body";
        let row = (&to.key, to.request, answer.status, headers, &answer.body);
        database.prepare_cached(insert)?.execute(row)?;
    }
    let newest = "SELECT max(number) FROM answers";
    let newest: Option<i64> = database.prepare_cached(newest)?.query_row([], |row| row.get(0)).optional()?;
    let oldest = newest.unwrap_or_default() - i64::try_from(ANSWERS_KEPT).unwrap_or(i64::MAX);
    database
        .prepare_cached("DELETE FROM answers WHERE number <= ?")?
        .execute([oldest])?;
    Ok(())
}

/// The answers that are kept, oldest first.
pub(super) fn read(database: &Connection) -> Result<Vec<StoredAnswer>, StoreError> {
    let mut answers = Vec::new();
    let query = "SELECT key, request, status, headers, body FROM answers ORDER BY number";
    super::read::each(database, query, |row| {
        let answer = match row.get(2)? {
            None => None,
            Some(status) => {
                let headers: String = row.get(3)?;
                Some(Answer {
                    status,
                    headers: serde_json::from_str(&headers).map_err(|_| super::read::foreign("headers", &headers))?,
                    body: row.get(4)?,
                })
            }
        };
        let (key, request) = (row.get(0)?, row.get(1)?);
        let to = KeyedRequest { key, request };
        answers.push(StoredAnswer { to, answer });
        Ok(())
    })?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;

    fn keyed(number: usize) -> KeyedRequest {
        KeyedRequest {
            key: format!("key-{number}"),
            request: [7; 32],
        }
    }

    fn answered(number: usize) -> StoredAnswer {
        let answer = Answer {
            status: 201,
            headers: vec![("etag".to_owned(), format!("\"{number}\""))],
            body: b"{}".to_vec(),
        };
        StoredAnswer {
            to: keyed(number),
            answer: Some(answer),
        }
    }

    #[test]
    fn a_key_waits_for_its_answer_and_the_newest_are_kept() {
        let mut database = Connection::open_in_memory().unwrap();
        schema::migrate(&mut database).unwrap();
        write(&database, &[keyed(1), keyed(2)], &[]).unwrap();
        write(&database, &[], &[answered(2)]).unwrap();
        let cut_off = StoredAnswer {
            to: keyed(1),
            answer: None,
        };
        assert_eq!(read(&database).unwrap(), [cut_off, answered(2)]);
        let many: Vec<_> = (3..ANSWERS_KEPT + 3).map(answered).collect();
        write(&database, &[], &many).unwrap();
        assert_eq!(read(&database).unwrap(), many);
        // A key that was forgotten here and used again is the newest.
        write(&database, &[keyed(3)], &[]).unwrap();
        assert_eq!(read(&database).unwrap().last().unwrap().to, keyed(3));
    }
}
