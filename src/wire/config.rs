//! The log threshold: what the cloud desires and what a device reports (protocol 4.2).

use bytes::Bytes;

use super::cbor::{Reader, Writer};
use super::fields::{FieldError, field_map};

const DESIRED: u64 = 3;
const REPORTED: u64 = 4;

mod key {
    pub(super) const MESSAGE_TYPE: u64 = 0;
    pub(super) const SEVERITY: u64 = 16;
    pub(super) const COMPILED: u64 = 17;
    pub(super) const DESIRED_VERSION: u64 = 18;
    pub(super) const ACKNOWLEDGED: u64 = 19;
}

/// Bytes that a device's buffer for desired configurations holds; a longer payload is discarded unseen (protocol 2.4).
pub const CONFIG_RECEIVE_LIMIT: usize = 32;

/// Importance of a log record; numbers beyond the constants are possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(pub u64);

impl Severity {
    /// 0: unknown.
    pub const UNKNOWN: Severity = Severity(0);
    /// 30.
    pub const DEBUG: Severity = Severity(30);
    /// 40.
    pub const INFO: Severity = Severity(40);
    /// 50.
    pub const WARNING: Severity = Severity(50);
    /// 60.
    pub const ERROR: Severity = Severity(60);
    /// 70.
    pub const CRITICAL: Severity = Severity(70);
}

/// What the cloud asks of a device (type 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredConfiguration {
    /// Records below it are not to be sent; `None` leaves the threshold alone.
    pub severity: Option<Severity>,
    /// Echoed by the device.
    pub version: u64,
}

/// What a device says about its threshold (type 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedConfiguration {
    /// The threshold, and the one compiled in. There once a connection, and in an answer to a desired configuration that set one.
    pub severity: Option<(Severity, Severity)>,
    /// Version of the desired configuration that this answers.
    pub acknowledged: Option<u64>,
}

/// Encodes a desired configuration with definite lengths.
pub fn encode_desired(desired: &DesiredConfiguration) -> Bytes {
    let mut writer = Writer::default();
    writer
        .map(2 + usize::from(desired.severity.is_some()))
        .uint(key::MESSAGE_TYPE)
        .uint(DESIRED);
    if let Some(severity) = desired.severity {
        writer.uint(key::SEVERITY).uint(severity.0);
    }
    writer.uint(key::DESIRED_VERSION).uint(desired.version);
    writer.finish()
}

/// Decodes a desired configuration as a device does: keys 0, optionally 16, then 18, in this order; what stands behind is not looked at.
///
/// # Errors
/// [`FieldError`] if the keys stand otherwise or a value has the wrong type; the device logs it and gives no answer.
pub fn decode_desired(payload: &[u8]) -> Result<DesiredConfiguration, FieldError> {
    let mut reader = Reader::new(payload);
    let mut map = reader.map()?;
    let mut next_key = |reader: &mut Reader<'_>| match reader.more(&mut map)? {
        true => Ok::<_, FieldError>(Some(reader.uint()?)),
        false => Ok(None),
    };
    let kind = match next_key(&mut reader)? {
        Some(key::MESSAGE_TYPE) => Some(reader.uint()?),
        Some(_) | None => None,
    };
    if kind != Some(DESIRED) {
        return Err(FieldError::MessageType {
            expected: DESIRED,
            found: kind,
        });
    }
    let mut severity = None;
    let mut key = next_key(&mut reader)?;
    if key == Some(key::SEVERITY) {
        severity = Some(Severity(reader.uint()?));
        key = next_key(&mut reader)?;
    }
    match key {
        Some(key::DESIRED_VERSION) => Ok(DesiredConfiguration {
            severity,
            version: reader.uint()?,
        }),
        Some(_) | None => Err(FieldError::Missing(key::DESIRED_VERSION)),
    }
}

/// Encodes a reported configuration byte for byte as the SDK does.
pub fn encode_reported(reported: &ReportedConfiguration) -> Bytes {
    let mut writer = Writer::default();
    writer.open_map().uint(key::MESSAGE_TYPE).uint(REPORTED);
    if let Some((severity, compiled)) = reported.severity {
        writer
            .uint(key::SEVERITY)
            .uint(severity.0)
            .uint(key::COMPILED)
            .uint(compiled.0);
    }
    if let Some(version) = reported.acknowledged {
        writer.uint(key::ACKNOWLEDGED).uint(version);
    }
    writer.end();
    writer.finish()
}

/// Decodes a reported configuration from any equivalent encoding; keys that it does not know are skipped.
///
/// # Errors
/// [`FieldError`] if the payload is another message, has one threshold without the other, or a field of the wrong type.
pub fn decode_reported(payload: &[u8]) -> Result<ReportedConfiguration, FieldError> {
    let (mut severity, mut compiled, mut acknowledged) = (None, None, None);
    field_map(payload, REPORTED, |key, reader| {
        match key {
            key::SEVERITY => severity = Some(Severity(reader.uint()?)),
            key::COMPILED => compiled = Some(Severity(reader.uint()?)),
            key::ACKNOWLEDGED => acknowledged = Some(reader.uint()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let severity = match (severity, compiled) {
        (Some(severity), Some(compiled)) => Some((severity, compiled)),
        (None, None) => None,
        (Some(_), None) => return Err(FieldError::Missing(key::COMPILED)),
        (None, Some(_)) => return Err(FieldError::Missing(key::SEVERITY)),
    };
    Ok(ReportedConfiguration { severity, acknowledged })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESIRED_12: DesiredConfiguration = DesiredConfiguration {
        severity: Some(Severity::WARNING),
        version: 12,
    };

    #[test]
    fn desired_keys_stand_in_order_and_what_follows_is_not_looked_at() {
        assert_eq!(decode_desired(b"\xa3\x00\x03\x10\x18\x32\x12\x0c"), Ok(DESIRED_12));
        assert_eq!(decode_desired(b"\xbf\x00\x03\x10\x18\x32\x12\x0c"), Ok(DESIRED_12));
        assert_eq!(decode_desired(b"\xa4\x00\x03\x10\x18\x32\x12\x0c\x1c"), Ok(DESIRED_12));
        assert_eq!(decode_desired(b"\xa3\x00\x03\x12\x0c\x10\x18\x32").unwrap().severity, None);
    }

    #[test]
    fn desired_keys_out_of_order_are_refused() {
        let missing_version = Err(FieldError::Missing(key::DESIRED_VERSION));
        assert_eq!(decode_desired(b"\xa3\x00\x03\x13\x00\x12\x0c"), missing_version);
        assert_eq!(decode_desired(b"\xa2\x00\x03\x10\x18\x32\x12\x0c"), missing_version);
        let no_type = Err(FieldError::MessageType {
            expected: 3,
            found: None,
        });
        assert_eq!(decode_desired(b"\xa2\x12\x0c\x00\x03"), no_type);
        assert_eq!(decode_desired(b"\xa0"), no_type);
    }

    #[test]
    fn one_threshold_without_the_other_is_refused() {
        assert_eq!(
            decode_reported(b"\xa2\x00\x04\x10\x18\x28"),
            Err(FieldError::Missing(key::COMPILED))
        );
        assert_eq!(
            decode_reported(b"\xa2\x00\x04\x11\x18\x28"),
            Err(FieldError::Missing(key::SEVERITY))
        );
    }
}
