//! Words and figures as reports show them: shares, spans, lengths, counts, verdicts; lines of a width.

use std::time::Duration;

use crate::model::{show_count, show_duration, show_size};

use super::summary::{ExpectationRow, Summary};

/// What the first line says besides its word.
pub(super) fn judgement(summary: &Summary) -> String {
    let expected = summary.expectations.len() as u64;
    let failed = summary.expectations.iter().filter(|row| !row.passed).count() as u64;
    match summary.status.as_str() {
        "passed" if expected == 0 => "nothing was expected".to_owned(),
        "passed" => counted(expected, "expectation"),
        "failed" => format!("{failed} of {}", counted(expected, "expectation")),
        "broken" => counted(summary.findings.len() as u64, "broken invariant"),
        "invalid" => "the harness was the bottleneck".to_owned(),
        "interrupted" => "ended by the user".to_owned(),
        _ => summary
            .errors
            .first()
            .map_or_else(|| "could not go on".to_owned(), |error| error.message.clone()),
    }
}

/// The measured value of an expectation with its unit.
pub(super) fn value_of(row: &ExpectationRow) -> String {
    match (row.measured, row.unit.as_str()) {
        (None, _) if row.endless => "open".to_owned(),
        (None, _) => "undefined".to_owned(),
        (Some(value), "%") => share(value),
        (Some(value), "s") => span(Some(value)),
        (Some(value), "1/s") => format!("{value:.2}/s"),
        (Some(value), "B") => show_size(value),
        (Some(value), "B/s") => format!("{}/s", show_size(value)),
        (Some(value), _) => show_count(value as u64),
    }
}

/// What an expectation is held against, with its unit.
pub(super) fn limit_of(row: &ExpectationRow) -> String {
    match row.unit.as_str() {
        "%" => share(row.limit),
        "s" => span(Some(row.limit)),
        "1/s" => format!("{:.2}/s", row.limit),
        "B" => show_size(row.limit),
        "B/s" => format!("{}/s", show_size(row.limit)),
        _ => show_count(row.limit as u64),
    }
}

/// Two decimals; only the whole is shown as the whole, and only nothing as nothing.
fn share(percent: f64) -> String {
    let shown = (percent * 100.0).round() / 100.0;
    let shown = match shown {
        s if s >= 100.0 && percent < 100.0 => 99.99,
        s if s <= 0.0 && percent > 0.0 => 0.01,
        s => s,
    };
    format!("{shown:.2} %")
}

pub(super) fn span(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || "-".to_owned(),
        |seconds| show_duration(Duration::from_secs_f64(seconds.max(0.0))),
    )
}

/// How long a run was: `14.8 s`, `6m58s`, `6h02m`.
pub(super) fn length(seconds: f64) -> String {
    match seconds.round() as u64 {
        0..60 => span(Some(seconds)),
        s @ 60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => span(Some(seconds)),
    }
}

pub(super) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", show_count(count))
}

/// The text, or its beginning and an ellipsis where it is longer than `room` characters.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(room.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Lines of at most `width` characters, broken at blanks; a longer word is broken where it must be.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        let used = lines.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + rest.len() > width {
            lines.push(String::new());
        } else if used > 0 {
            lines.last_mut().expect("there is a line").push(' ');
        }
        while rest.len() > width {
            lines.last_mut().expect("there is a line").extend(rest.drain(..width));
            lines.push(String::new());
        }
        lines.last_mut().expect("there is a line").extend(rest);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_is_shown_as_the_whole() {
        assert_eq!(
            [share(100.0), share(99.9996), share(3.0), share(0.0001), share(0.0)],
            ["100.00 %", "99.99 %", "3.00 %", "0.01 %", "0.00 %"]
        );
    }

    #[test]
    fn lines_break_at_blanks_and_long_words_where_they_must() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("ab cdefghij k", 4), ["ab", "cdef", "ghij", "k"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn runs_are_as_long_as_a_person_says() {
        assert_eq!([length(14.84), length(418.0), length(21_720.0)], ["14.8 s", "6m58s", "6h02m"]);
    }
}
