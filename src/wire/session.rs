//! Session metadata: the first publish of every connection (protocol 4.1).

use bytes::Bytes;

use crate::model::{AttemptId, BuildId};

use super::cbor::{Number, Reader, Writer};
use super::fields::{FieldError, field_map, read_labels, write_labels};

const MESSAGE_TYPE: u64 = 1;

mod key {
    pub(super) const MESSAGE_TYPE: u64 = 0;
    pub(super) const LABELS: u64 = 5;
    pub(super) const BUILD_ID: u64 = 14;
    pub(super) const RUN_ID: u64 = 30;
    pub(super) const LAST_ATTEMPT: u64 = 41;
}

/// What a device says about itself when it connects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionMetadata {
    /// `deviceRunId`: drawn once a boot; a new value means a reboot.
    pub run_id: u64,
    /// Labels of the device in the order sent; SDKs up to 0.9.0 send none.
    pub labels: Vec<(String, LabelValue)>,
    /// Which image runs, if it has a build id.
    pub build_id: Option<BuildId>,
    /// Largest attempt id received since boot or stored; zero on the wire when there is none.
    pub last_attempt: Option<AttemptId>,
}

/// Value of a label.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelValue {
    /// UTF-8 text; other bytes are replaced when they are received.
    Text(String),
    /// Integer or float.
    Number(Number),
    /// True or false.
    Flag(bool),
}

/// Encodes the message byte for byte as the SDK does.
pub fn encode(metadata: &SessionMetadata) -> Bytes {
    let mut writer = Writer::default();
    writer
        .open_map()
        .uint(key::MESSAGE_TYPE)
        .uint(MESSAGE_TYPE)
        .uint(key::RUN_ID)
        .uint(metadata.run_id);
    if !metadata.labels.is_empty() {
        writer.uint(key::LABELS);
        write_labels(&mut writer, &metadata.labels, |writer, value| {
            match value {
                LabelValue::Text(text) => writer.text(text),
                LabelValue::Number(number) => writer.number(*number),
                LabelValue::Flag(flag) => writer.boolean(*flag),
            };
        });
    }
    if let Some(build_id) = &metadata.build_id {
        writer.uint(key::BUILD_ID).bytes(build_id.0);
    }
    writer
        .uint(key::LAST_ATTEMPT)
        .uint(metadata.last_attempt.map_or(0, AttemptId::number))
        .end();
    writer.finish()
}

/// Decodes the message from any equivalent encoding. Keys that it does not know are skipped: newer SDKs have added some.
///
/// # Errors
/// [`FieldError`] if the payload is another message, lacks `deviceRunId`, or has a field of the wrong type.
pub fn decode(payload: &[u8]) -> Result<SessionMetadata, FieldError> {
    let mut run_id = None;
    let mut metadata = SessionMetadata::default();
    field_map(payload, MESSAGE_TYPE, |key, reader| {
        match key {
            key::RUN_ID => run_id = Some(reader.uint()?),
            key::LABELS => metadata.labels = read_labels(reader, read_label_value)?,
            key::BUILD_ID => metadata.build_id = Some(BuildId(reader.bytes()?.try_into().map_err(|_| FieldError::BuildId)?)),
            key::LAST_ATTEMPT => metadata.last_attempt = AttemptId::new(reader.uint()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    metadata.run_id = run_id.ok_or(FieldError::Missing(key::RUN_ID))?;
    Ok(metadata)
}

fn read_label_value(reader: &mut Reader<'_>) -> Result<LabelValue, FieldError> {
    let start = *reader;
    if let Ok(text) = reader.text() {
        return Ok(LabelValue::Text(String::from_utf8_lossy(text).into_owned()));
    }
    *reader = start;
    if let Ok(flag) = reader.boolean() {
        return Ok(LabelValue::Flag(flag));
    }
    *reader = start;
    Ok(LabelValue::Number(reader.number()?))
}
