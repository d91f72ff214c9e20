//! What the open schemas have in common (protocol 4): a map of integer keys, its message type, labels.

use super::cbor::{CborError, Reader, Writer};

/// Why a payload is not the message asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The bytes are no map, break off, or a value has the wrong type.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Another message type, or none.
    #[error("the message type is {}, not {expected}", .found.map_or("missing".into(), |found| found.to_string()))]
    MessageType {
        /// The type asked for.
        expected: u64,
        /// The type found.
        found: Option<u64>,
    },
    /// A required key is missing.
    #[error("key {0} is missing")]
    Missing(u64),
    /// A build id of other than 20 bytes.
    #[error("the build id is not 20 bytes long")]
    BuildId,
}

/// Key of the message type in every message.
const MESSAGE_TYPE: u64 = 0;

/// The message type of a payload, if it is a map that has one: tells apart what arrives on `ingest-cbor`.
pub fn message_type(payload: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(payload);
    let mut map = reader.map().ok()?;
    while reader.more(&mut map).ok()? {
        if reader.key().ok()? == Some(MESSAGE_TYPE) {
            return reader.uint().ok();
        }
        reader.skip().ok()?;
    }
    None
}

/// Walks over the map of a message of type `expected`; `read` consumes each value but the message type's.
pub(super) fn field_map<'b>(
    payload: &'b [u8],
    expected: u64,
    mut read: impl FnMut(u64, &mut Reader<'b>) -> Result<(), FieldError>,
) -> Result<(), FieldError> {
    let found = message_type(payload);
    if found != Some(expected) {
        return Err(FieldError::MessageType { expected, found });
    }
    let mut reader = Reader::new(payload);
    let mut map = reader.map()?;
    while reader.more(&mut map)? {
        match reader.key()? {
            Some(MESSAGE_TYPE) | None => reader.skip()?,
            Some(key) => read(key, &mut reader)?,
        }
    }
    Ok(())
}

/// Writes labels as a map of indefinite length.
pub(super) fn write_labels<N: AsRef<str>, V>(writer: &mut Writer, labels: &[(N, V)], mut value: impl FnMut(&mut Writer, &V)) {
    writer.open_map();
    for (name, label) in labels {
        writer.text(name.as_ref());
        value(writer, label);
    }
    writer.end();
}

/// Reads a map from text to values.
pub(super) fn read_labels<'b, N: From<String>, V>(
    reader: &mut Reader<'b>,
    mut value: impl FnMut(&mut Reader<'b>) -> Result<V, FieldError>,
) -> Result<Vec<(N, V)>, FieldError> {
    let mut map = reader.map()?;
    let mut labels = Vec::new();
    while reader.more(&mut map)? {
        labels.push((read_text(reader)?.into(), value(reader)?));
    }
    Ok(labels)
}

/// Reads a text; bytes that are not UTF-8 are replaced.
pub(super) fn read_text(reader: &mut Reader<'_>) -> Result<String, FieldError> {
    Ok(String::from_utf8_lossy(reader.text()?).into_owned())
}
