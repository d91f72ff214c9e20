//! Text for cells: cleaned, cut and padded to a width; numbers and times in few characters.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::model::show_count;
use crate::time::SimTime;

pub(super) use crate::story::clean;

/// Cells that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Cleaned, and cut with `…` where it is wider than `room`.
pub(super) fn fit(text: &str, room: usize) -> String {
    let text = clean(text);
    if width(&text) <= room {
        return text;
    }
    let mut cut = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > room {
            break;
        }
        cut.push(c);
    }
    if room > 0 {
        cut.push('…');
    }
    cut
}

/// Fit, and padded on the right.
pub(super) fn left(text: &str, room: usize) -> String {
    let text = fit(text, room);
    let pad = room - width(&text).min(room);
    text + &" ".repeat(pad)
}

/// Fit, and padded on the left.
pub(super) fn right(text: &str, room: usize) -> String {
    let text = fit(text, room);
    " ".repeat(room - width(&text).min(room)) + &text
}

/// A moment of the run: `01:12`, `1:01:12` from an hour on.
pub(super) fn clock(at: SimTime) -> String {
    let seconds = at.as_nanos() / 1_000_000_000;
    match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// The same with a tenth of a second.
pub(super) fn stamp(at: SimTime) -> String {
    format!("{}.{}", clock(at), at.as_nanos() / 100_000_000 % 10)
}

/// How long something has lasted, in at most seven characters: `21.3 s`, `12m40s`, `3h05m`.
pub(super) fn lasted(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Seconds in at most six characters, without their unit.
pub(super) fn seconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.is_infinite() => "∞".to_owned(),
        Some(value) if value < 9.995 => format!("{value:.2}"),
        Some(value) if value < 999.95 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// A count in at most four characters: `999`, `9.9k`, `12k`, `1.2M`.
pub(super) fn short(count: u64) -> String {
    let scaled = |by: f64, unit: char| {
        let value = count as f64 / by;
        match value < 9.95 {
            true => format!("{value:.1}{unit}"),
            false => format!("{value:.0}{unit}"),
        }
    };
    match count {
        0..1_000 => count.to_string(),
        1_000..999_500 => scaled(1e3, 'k'),
        999_500..999_500_000 => scaled(1e6, 'M'),
        _ => scaled(1e9, 'G'),
    }
}

/// A rate: `1.32 MiB/s`, `5.5 /s`.
pub(super) fn rate(value: f64, bytes: bool) -> String {
    match (bytes, value) {
        (true, v) if v >= 1_048_576.0 => format!("{:.2} MiB/s", v / 1_048_576.0),
        (true, v) if v >= 1024.0 => format!("{:.1} KiB/s", v / 1024.0),
        (true, v) => format!("{v:.0} B/s"),
        (false, v) if v == 0.0 || v >= 99.95 => format!("{} /s", show_count(v.round() as u64)),
        (false, v) => format!("{v:.1} /s"),
    }
}

/// The value of a measure with its unit.
pub(super) fn measured(value: Option<f64>, unit: &str) -> String {
    match (value, unit) {
        (None, _) => "undefined".to_owned(),
        (Some(value), _) if value.is_infinite() => "not over".to_owned(),
        (Some(value), "%") => format!("{:.1} %", value * 100.0),
        (Some(value), "s") => crate::model::show_duration(Duration::from_secs_f64(value.clamp(0.0, 1e9))),
        (Some(value), "1/s") => format!("{value:.2} /s"),
        (Some(value), _) => show_count(value.max(0.0).round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_width_that_it_was_given() {
        for (text, room) in [
            ("meter-00001", 6),
            ("x", 6),
            ("北北北北", 5),
            ("a\u{1b}[31mb", 9),
            ("", 3),
            ("abc", 0),
        ] {
            assert_eq!(
                (width(&left(text, room)), width(&right(text, room))),
                (room, room),
                "{text:?}"
            );
        }
        assert_eq!(fit("meter-00001", 6), "meter…");
    }

    #[test]
    fn numbers_stay_within_their_columns() {
        for count in [
            0,
            7,
            999,
            1_000,
            9_949,
            9_951,
            99_999,
            999_499,
            999_500,
            12_345_678,
            999_499_999,
        ] {
            assert!(short(count).len() <= 4, "{count} is {}", short(count));
        }
        for value in [0.0, 0.126, 9.994, 9.995, 99.95, 999.94, 999.96, 123_456.0] {
            assert!(seconds(Some(value)).len() <= 6, "{value} is {}", seconds(Some(value)));
        }
        assert_eq!([short(9_951), short(12_345)], ["10k", "12k"]);
        assert_eq!(
            [rate(0.0, false), rate(5.5, false), rate(1_384_120.0, true)],
            ["0 /s", "5.5 /s", "1.32 MiB/s"]
        );
    }

    #[test]
    fn moments_and_spans_are_short() {
        assert_eq!(stamp(SimTime::from_millis(71_840)), "01:11.8");
        assert_eq!(clock(SimTime::from_secs(3_672)), "1:01:12");
        let spans = [21.3, 760.0, 11_100.0].map(|seconds| lasted(Duration::from_secs_f64(seconds)));
        assert_eq!(spans, ["21.3 s", "12m40s", "3h05m"]);
    }
}
