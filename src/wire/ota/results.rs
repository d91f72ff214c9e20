//! What a device tells the cloud about an attempt (protocol 3.5).

use bytes::Bytes;

use crate::model::{AttemptId, Few};
use crate::wire::cbor::{CborError, Reader, Writer};

use super::{Seen, key, message};

/// UPDATE_RESULTS (type 9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateResults {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What became of it.
    pub report: Report,
}

/// The two forms of a report, which are never mixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Every durable result, by position in the manifest. A position in no list is pending.
    ///
    /// A decoded report holds what was sent: whether positions ascend, repeat or exist is the receiver's to judge.
    Results {
        /// Installed.
        succeeded: Few<u64>,
        /// Not installed.
        failed: Few<u64>,
        /// Not attempted, or stopped.
        canceled: Few<u64>,
    },
    /// The whole attempt is rejected or broken. Numbers beyond [`crate::model::AttemptError`] are possible.
    Error(u64),
}

/// Why a payload is no UPDATE_RESULTS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultsError {
    /// The bytes are no map, break off, or a value has the wrong type.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// `messageType` is missing or another.
    #[error("the message type is not 9")]
    MessageType,
    /// `updateAttemptId` is missing or zero.
    #[error("the attempt id is missing or zero")]
    AttemptId,
    /// A key that the message does not have, or that is no integer.
    #[error("key {} does not belong to the message", .0.map_or("of another type than integer".into(), |key| key.to_string()))]
    UnknownKey(Option<u64>),
    /// A key stands twice.
    #[error("key {0} stands twice")]
    DuplicateKey(u64),
    /// Results together with an error.
    #[error("the message has results and an error")]
    Mixed,
}

/// Encodes a report byte for byte as the SDK does: indefinite lengths, minimal integers, empty lists left out.
pub fn encode_results(results: &UpdateResults) -> Bytes {
    let mut writer = Writer::default();
    writer.open_map().uint(key::MESSAGE_TYPE).uint(message::UPDATE_RESULTS);
    writer.uint(key::ATTEMPT).uint(results.attempt.number());
    match &results.report {
        Report::Results {
            succeeded,
            failed,
            canceled,
        } => {
            for (key, positions) in [
                (key::SUCCEEDED, succeeded),
                (key::FAILED, failed),
                (key::CANCELED_ARTIFACTS, canceled),
            ] {
                write_positions(&mut writer, key, positions);
            }
        }
        Report::Error(error) => {
            writer.uint(key::ATTEMPT_ERROR).uint(*error);
        }
    }
    writer.end();
    writer.finish()
}

/// Decodes a report of either length form, with keys in any order and integers of any width. The schema is closed; bytes behind the
/// map are not looked at, as devices do with their messages.
///
/// # Errors
/// [`ResultsError`] names the first thing that is wrong.
pub fn decode_results(payload: &[u8]) -> Result<UpdateResults, ResultsError> {
    let mut reader = Reader::new(payload);
    let mut map = reader.map()?;
    let mut seen = Seen::default();
    let (mut kind, mut attempt, mut error) = (None, None, None);
    let mut lists: [Option<Few<u64>>; 3] = [const { None }; 3];
    while reader.more(&mut map)? {
        let key = reader.key()?.ok_or(ResultsError::UnknownKey(None))?;
        if seen.again(key) {
            return Err(ResultsError::DuplicateKey(key));
        }
        match key {
            key::MESSAGE_TYPE => kind = Some(reader.uint()?),
            key::ATTEMPT => attempt = Some(reader.uint()?),
            key::SUCCEEDED => lists[0] = Some(read_positions(&mut reader)?),
            key::FAILED => lists[1] = Some(read_positions(&mut reader)?),
            key::CANCELED_ARTIFACTS => lists[2] = Some(read_positions(&mut reader)?),
            key::ATTEMPT_ERROR => error = Some(reader.uint()?),
            _ => return Err(ResultsError::UnknownKey(Some(key))),
        }
    }
    if kind != Some(message::UPDATE_RESULTS) {
        return Err(ResultsError::MessageType);
    }
    let attempt = attempt.and_then(AttemptId::new).ok_or(ResultsError::AttemptId)?;
    let report = match error {
        Some(_) if lists.iter().any(Option::is_some) => return Err(ResultsError::Mixed),
        Some(error) => Report::Error(error),
        None => {
            let [succeeded, failed, canceled] = lists.map(Option::unwrap_or_default);
            Report::Results {
                succeeded,
                failed,
                canceled,
            }
        }
    };
    Ok(UpdateResults { attempt, report })
}

fn write_positions(writer: &mut Writer, key: u64, positions: &[u64]) {
    if positions.is_empty() {
        return;
    }
    writer.uint(key).open_array();
    for &position in positions {
        writer.uint(position);
    }
    writer.end();
}

fn read_positions(reader: &mut Reader<'_>) -> Result<Few<u64>, CborError> {
    let mut array = reader.array()?;
    let mut positions = Few::None;
    while reader.more(&mut array)? {
        positions.push(reader.uint()?);
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_outside_the_schema_is_refused_for_its_first_fault() {
        let cases: [(&[u8], ResultsError); 12] = [
            (b"", ResultsError::Cbor(CborError::End)),
            (b"\x83\x00\x09\x01", ResultsError::Cbor(CborError::Type)),
            (b"\xa2\x00\x09\x18", ResultsError::Cbor(CborError::End)),
            (b"\xa2\x00\x08\x18\x20\x01", ResultsError::MessageType),
            (b"\xa1\x18\x20\x01", ResultsError::MessageType),
            (b"\xa1\x00\x09", ResultsError::AttemptId),
            (b"\xa2\x00\x09\x18\x20\x00", ResultsError::AttemptId),
            (b"\xa3\x00\x09\x18\x20\x01\x18\x21\xf5", ResultsError::UnknownKey(Some(33))),
            (b"\xa3\x00\x09\x18\x20\x01\x60\x00", ResultsError::UnknownKey(None)),
            (b"\xa3\x00\x09\x18\x20\x01\x18\x20\x01", ResultsError::DuplicateKey(32)),
            (b"\xa4\x00\x09\x18\x20\x01\x18\x2a\x80\x18\x2d\x00", ResultsError::Mixed),
            (b"\xa3\x00\x09\x18\x20\x01\x18\x2a\x00", ResultsError::Cbor(CborError::Type)),
        ];
        for (payload, error) in cases {
            assert_eq!(decode_results(payload), Err(error), "{payload:02x?}");
        }
    }
}
