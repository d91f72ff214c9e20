//! Logs and metrics (protocol 4.3, 4.4).

use std::borrow::Cow;

use bytes::Bytes;

use crate::model::word_enum;

use super::cbor::{Number, Writer};
use super::config::Severity;
use super::fields::{FieldError, field_map, read_labels, read_text, write_labels};

const LOG: u64 = 0;
const METRIC: u64 = 5;

mod key {
    pub(super) const MESSAGE_TYPE: u64 = 0;
    pub(super) const BODY: u64 = 1;
    pub(super) const TEMPLATE: u64 = 2;
    pub(super) const SEVERITY: u64 = 4;
    pub(super) const LABELS: u64 = 5;
    pub(super) const UPTIME: u64 = 6;
    pub(super) const SEQUENCE: u64 = 13;
    pub(super) const METRIC_NAME: u64 = 21;
    pub(super) const AGGREGATION: u64 = 22;
    pub(super) const SUM: u64 = 24;
    pub(super) const SUM_TRUNCATED: u64 = 25;
    pub(super) const COUNT: u64 = 26;
    pub(super) const MIN: u64 = 27;
    pub(super) const MAX: u64 = 28;
}

/// Bytes that an encoded log record may have (protocol 4.3).
pub const LOG_LIMIT: usize = 1024;

/// Bytes that a label's value may have in a metric without aggregation (protocol 4.4).
pub const LABEL_VALUE_LIMIT: usize = 32;

/// Names and values; most names are known beforehand.
pub type Labels = Vec<(Cow<'static, str>, String)>;

/// One log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Counts the records of a boot.
    pub sequence: u64,
    /// How important it is.
    pub severity: Severity,
    /// Milliseconds since boot.
    pub uptime_ms: u64,
    /// The SDK sends one: `source`, the module that logs.
    pub labels: Labels,
    /// The text.
    pub body: String,
    /// The text before values were put in.
    pub template: Option<String>,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Which metric.
    pub name: Cow<'static, str>,
    /// Over what the value is taken; a heartbeat has none.
    pub aggregation: Option<Aggregation>,
    /// Milliseconds since boot.
    pub uptime_ms: i64,
    /// Counts the values of this metric from zero each boot; a heartbeat has none.
    pub sequence: Option<u64>,
    /// What tells apart values of one name.
    pub labels: Labels,
    /// The value, or the sum of the values.
    pub sum: Number,
    /// The sum did not fit.
    pub sum_truncated: bool,
    /// Only of aggregated values.
    pub spread: Option<Spread>,
}

/// Interval over which a metric is aggregated; numbers beyond the constants are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation(pub u64);

impl Aggregation {
    /// Each value is sent.
    pub const NONE: Aggregation = Aggregation(0);
    /// One minute.
    pub const MINUTE: Aggregation = Aggregation(1);
    /// One hour.
    pub const HOUR: Aggregation = Aggregation(3);
    /// One day.
    pub const DAY: Aggregation = Aggregation(4);
}

/// Number and bounds of aggregated values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: Number,
    /// The largest.
    pub max: Number,
}

word_enum! {
    /// Why a processor was reset, as `boot_reset` names it.
    ResetReason {
        /// Reset pin.
        Pin = "PIN",
        /// Asked for by software.
        Software = "SOFTWARE",
        /// Supply voltage too low.
        Brownout = "BROWNOUT",
        /// Power came on.
        PowerOn = "POWER_ON",
        /// Watchdog ran out.
        Watchdog = "WATCHDOG",
        /// Debugger.
        Debug = "DEBUG",
        /// Security violation.
        Security = "SECURITY",
        /// Woken from a low-power state.
        LowPowerWake = "LOW_POWER_WAKE",
        /// Processor locked up.
        CpuLockup = "CPU_LOCKUP",
        /// Parity error.
        Parity = "PARITY",
        /// Trouble with a PLL.
        Pll = "PLL",
        /// Trouble with a clock.
        Clock = "CLOCK",
        /// Hardware.
        Hardware = "HARDWARE",
        /// User.
        User = "USER",
        /// Temperature.
        Temperature = "TEMPERATURE",
        /// Bootloader.
        Bootloader = "BOOTLOADER",
        /// Flash.
        Flash = "FLASH",
    }
}

impl Metric {
    /// The heartbeat: how long the device has been up.
    pub fn heartbeat(uptime_ms: i64) -> Self {
        Metric {
            name: "uptime_ms".into(),
            aggregation: None,
            uptime_ms,
            sequence: None,
            labels: Vec::new(),
            sum: Number::Int(uptime_ms),
            sum_truncated: false,
            spread: None,
        }
    }

    /// The metric that tells the cloud of a boot, sent once. With `unconfirmed`, the reason says that a test image runs; the whole
    /// is cut at [`LABEL_VALUE_LIMIT`].
    pub fn boot_reset(uptime_ms: i64, reasons: &[ResetReason], unconfirmed: bool) -> Self {
        let unknown = reasons.is_empty().then_some("UNKNOWN");
        let known = reasons.iter().map(|reason| reason.word());
        let mut reason = String::with_capacity(2 * LABEL_VALUE_LIMIT);
        for word in unknown
            .into_iter()
            .chain(known)
            .chain(unconfirmed.then_some("TEST_FIRMWARE_UPGRADE"))
        {
            reason += if reason.is_empty() { "" } else { " | " };
            reason += word;
        }
        reason.truncate(LABEL_VALUE_LIMIT);
        Metric {
            name: "boot_reset".into(),
            aggregation: Some(Aggregation::NONE),
            uptime_ms,
            sequence: Some(0),
            labels: vec![("reason".into(), reason)],
            sum: Number::Int(1),
            sum_truncated: false,
            spread: None,
        }
    }
}

/// Encodes a record byte for byte as the SDK does. Keeping within [`LOG_LIMIT`] is the caller's affair.
pub fn encode_log(record: &LogRecord) -> Bytes {
    let mut writer = Writer::default();
    writer.open_map().uint(key::MESSAGE_TYPE).uint(LOG);
    writer.uint(key::SEQUENCE).uint(record.sequence);
    writer.uint(key::SEVERITY).uint(record.severity.0);
    writer.uint(key::UPTIME).uint(record.uptime_ms);
    text_labels(&mut writer, &record.labels);
    writer.uint(key::BODY).text(&record.body);
    if let Some(template) = &record.template {
        writer.uint(key::TEMPLATE).text(template);
    }
    writer.end();
    writer.finish()
}

/// Decodes a record from any equivalent encoding; keys that it does not know are skipped.
///
/// # Errors
/// [`FieldError`] if the payload is another message, lacks its body, or has a field of the wrong type.
pub fn decode_log(payload: &[u8]) -> Result<LogRecord, FieldError> {
    let mut body = None;
    let mut record = LogRecord {
        sequence: 0,
        severity: Severity::UNKNOWN,
        uptime_ms: 0,
        labels: Vec::new(),
        body: String::new(),
        template: None,
    };
    field_map(payload, LOG, |key, reader| {
        match key {
            key::SEQUENCE => record.sequence = reader.uint()?,
            key::SEVERITY => record.severity = Severity(reader.uint()?),
            key::UPTIME => record.uptime_ms = reader.uint()?,
            key::LABELS => record.labels = read_labels(reader, read_text)?,
            key::BODY => body = Some(read_text(reader)?),
            key::TEMPLATE => record.template = Some(read_text(reader)?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    record.body = body.ok_or(FieldError::Missing(key::BODY))?;
    Ok(record)
}

/// Encodes a value byte for byte as the SDK does.
pub fn encode_metric(metric: &Metric) -> Bytes {
    let mut writer = Writer::default();
    writer.open_map().uint(key::MESSAGE_TYPE).uint(METRIC);
    writer.uint(key::METRIC_NAME).text(metric.name.as_bytes());
    if let Some(aggregation) = metric.aggregation {
        writer.uint(key::AGGREGATION).uint(aggregation.0);
    }
    writer.uint(key::UPTIME).int(metric.uptime_ms);
    if let Some(sequence) = metric.sequence {
        writer.uint(key::SEQUENCE).uint(sequence);
    }
    text_labels(&mut writer, &metric.labels);
    writer.uint(key::SUM).number(metric.sum);
    if metric.sum_truncated {
        writer.uint(key::SUM_TRUNCATED).boolean(true);
    }
    if let Some(spread) = &metric.spread {
        writer.uint(key::COUNT).uint(spread.count);
        writer.uint(key::MIN).number(spread.min);
        writer.uint(key::MAX).number(spread.max);
    }
    writer.end();
    writer.finish()
}

/// Decodes a value from any equivalent encoding; keys that it does not know are skipped.
///
/// # Errors
/// [`FieldError`] if the payload is another message, lacks its name or sum, has part of the spread, or a field of the wrong type.
pub fn decode_metric(payload: &[u8]) -> Result<Metric, FieldError> {
    let (mut name, mut sum) = (None, None);
    let (mut count, mut min, mut max) = (None, None, None);
    let mut metric = Metric::heartbeat(0);
    field_map(payload, METRIC, |key, reader| {
        match key {
            key::METRIC_NAME => name = Some(read_text(reader)?),
            key::AGGREGATION => metric.aggregation = Some(Aggregation(reader.uint()?)),
            key::UPTIME => metric.uptime_ms = reader.int()?,
            key::SEQUENCE => metric.sequence = Some(reader.uint()?),
            key::LABELS => metric.labels = read_labels(reader, read_text)?,
            key::SUM => sum = Some(reader.number()?),
            key::SUM_TRUNCATED => metric.sum_truncated = reader.boolean()?,
            key::COUNT => count = Some(reader.uint()?),
            key::MIN => min = Some(reader.number()?),
            key::MAX => max = Some(reader.number()?),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    metric.name = name.ok_or(FieldError::Missing(key::METRIC_NAME))?.into();
    metric.sum = sum.ok_or(FieldError::Missing(key::SUM))?;
    if count.is_some() || min.is_some() || max.is_some() {
        metric.spread = Some(Spread {
            count: count.ok_or(FieldError::Missing(key::COUNT))?,
            min: min.ok_or(FieldError::Missing(key::MIN))?,
            max: max.ok_or(FieldError::Missing(key::MAX))?,
        });
    }
    Ok(metric)
}

fn text_labels(writer: &mut Writer, labels: &Labels) {
    if !labels.is_empty() {
        writer.uint(key::LABELS);
        write_labels(writer, labels, |writer, value| {
            writer.text(value);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_metric_names_the_test_image_in_32_bytes() {
        let reason = |reasons: &[ResetReason], unconfirmed| {
            let metric = Metric::boot_reset(41, reasons, unconfirmed);
            let [(name, reason)] = metric.labels.try_into().unwrap();
            assert_eq!(name, "reason");
            reason
        };
        assert_eq!(reason(&[ResetReason::Software], true), "SOFTWARE | TEST_FIRMWARE_UPGRADE");
        assert_eq!(reason(&[], false), "UNKNOWN");
        assert_eq!(reason(&[], true), "UNKNOWN | TEST_FIRMWARE_UPGRADE");
        assert_eq!(reason(&[ResetReason::Pin, ResetReason::PowerOn], false), "PIN | POWER_ON");
        assert_eq!(reason(&[ResetReason::LowPowerWake], true), "LOW_POWER_WAKE | TEST_FIRMWARE_U");
    }

    #[test]
    fn a_heartbeat_has_neither_interval_nor_sequence() {
        let encoded = encode_metric(&Metric::heartbeat(60_012));
        assert_eq!(
            encoded[..],
            *b"\xbf\x00\x05\x15\x69uptime_ms\x06\x19\xea\x6c\x18\x18\x19\xea\x6c\xff"
        );
    }
}
