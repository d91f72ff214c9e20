//! Values as scenarios write them, exactly: what `resolved.toml` is made of and the hash is taken over.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::device::{Backoff, Jitter};
use crate::model::EventRate;

/// A time in the largest unit that holds it exactly: `90s`, `500ms`, `2h`.
pub(super) fn exact_time(time: Duration) -> String {
    const UNITS: &[(u128, &str)] = &[
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let fitting = UNITS.iter().find(|(factor, _)| nanos.is_multiple_of(*factor));
    let (factor, unit) = fitting.expect("every time is a whole number of nanoseconds");
    format!("{}{unit}", nanos / factor)
}

/// A size in the largest binary unit that holds it exactly.
pub(super) fn exact_size(bytes: u64) -> String {
    const UNITS: &[(u64, &str)] = &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(factor, _)| bytes > 0 && bytes.is_multiple_of(*factor)) {
        Some((factor, unit)) => format!("{} {unit}", bytes / factor),
        None => format!("{bytes} B"),
    }
}

/// A time, or a range of times.
pub(super) fn exact_times(times: &RangeInclusive<Duration>) -> String {
    match times.start() == times.end() {
        true => exact_time(*times.start()),
        false => format!("{}..{}", exact_time(*times.start()), exact_time(*times.end())),
    }
}

/// A rate of bits in the largest unit that holds it exactly.
pub(super) fn exact_data_rate(bits: u64) -> String {
    const UNITS: &[(u64, &str)] = &[(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1_000, "kbit/s")];
    match UNITS.iter().find(|(factor, _)| bits > 0 && bits.is_multiple_of(*factor)) {
        Some((factor, unit)) => format!("{} {unit}", bits / factor),
        None => format!("{bits} bit/s"),
    }
}

/// A rate that reads back as the same.
pub(super) fn exact_rate(rate: EventRate) -> String {
    const UNITS: &[(u64, &str)] = &[(86_400_000, "/s"), (1_440_000, "/m"), (60_000, "/h")];
    if let Some((factor, unit)) = UNITS.iter().find(|(factor, _)| rate.0.is_multiple_of(*factor)) {
        return format!("{}{unit}", rate.0 / factor);
    }
    // Reading rounds down, so the last of nine decimals is rounded up.
    let billionths = (u128::from(rate.0) * 1_000_000_000).div_ceil(60_000);
    format!("{}.{:09}/h", billionths / 1_000_000_000, billionths % 1_000_000_000)
}

/// A back-off as it is written.
pub(super) fn backoff(backoff: Backoff) -> String {
    let jitter = match backoff.jitter {
        Jitter::Fixed if backoff.first == backoff.max => return exact_time(backoff.first),
        Jitter::Fixed => "fixed",
        Jitter::Half => "half",
        Jitter::Full => "full",
    };
    format!("{}..{} {jitter}", exact_time(backoff.first), exact_time(backoff.max))
}

/// A text as a TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => write!(out, "\\u{:04X}", u32::from(c)).expect("writing to a string cannot fail"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{parse_duration, parse_event_rate, parse_size};

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        for text in ["1ns", "1500us", "90s", "1h30m", "2d", "0s", "1.000000001s"] {
            let time = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&exact_time(time)).unwrap(), time, "{text}");
        }
        for text in ["0 B", "1000 B", "64 KiB", "1536 B", "3 GiB"] {
            let size = parse_size(text).unwrap();
            assert_eq!(parse_size(&exact_size(size)).unwrap(), size, "{text}");
        }
        for text in ["200/s", "0.5/s", "7/m", "0.123/h", "1.7/s", "0.00007/s"] {
            let rate = parse_event_rate(text).unwrap();
            assert_eq!(
                parse_event_rate(&exact_rate(rate)).unwrap(),
                rate,
                "{text}: {}",
                exact_rate(rate)
            );
        }
    }

    #[test]
    fn quotes_what_toml_would_misread() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000A\"");
    }
}
