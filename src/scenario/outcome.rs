//! Outcomes of boots and installs as scenarios write them (contract, section 1, `boot` and `install`).

use std::time::Duration;

use crate::device::{BootOutcome, InstallOutcome};
use crate::model::{QuantityError, closest, parse_duration};

use super::fields::{Complaint, cut};
use super::text::exact_time;

const BOOTS: &[&str] = &[
    "confirm after T",
    "confirm on connect",
    "confirm on connect within T",
    "crash after T",
    "confirm after T, crash after T",
    "confirm after T, mute after T",
    "hang",
    "hang watchdog T",
    "unconfirmed",
    "mute after T",
];
const INSTALLS: &[&str] = &["succeed after T", "fail after T", "cancel after T", "never", "unhandled"];

/// Reads what a main image does; `subject` names the key in errors.
pub(super) fn boot(text: &str, subject: &str) -> Result<BootOutcome, Complaint> {
    let time = |from: &str| time(text, from, subject);
    if let Some((first, second)) = text.split_once(',') {
        if let (Some(confirm), Some(crash)) = (after(first, "confirm after"), after(second, "crash after")) {
            let (confirm, crash) = (time(confirm)?, time(crash)?);
            return match confirm < crash {
                true => Ok(BootOutcome::ConfirmThenCrash { confirm, crash }),
                false => Err(Complaint::new(
                    format!("the crash in {subject} comes before the confirmation"),
                    "both times count from the start of the image",
                )),
            };
        }
        if let (Some(confirm), Some(mute)) = (after(first, "confirm after"), after(second, "mute after")) {
            let (confirm, mute) = (time(confirm)?, time(mute)?);
            return match confirm < mute {
                true => Ok(BootOutcome::ConfirmThenMute { confirm, mute }),
                false => Err(Complaint::new(
                    format!("the silence in {subject} comes before the confirmation"),
                    "both times count from the start of the image",
                )),
            };
        }
    } else if let Some(rest) = after(text, "confirm after") {
        return time(rest).map(BootOutcome::ConfirmAfter);
    } else if let Some(rest) = after(text, "confirm on connect within") {
        return time(rest).map(|within| BootOutcome::ConfirmOnConnect { within: Some(within) });
    } else if let Some(rest) = after(text, "crash after") {
        return time(rest).map(BootOutcome::CrashAfter);
    } else if let Some(rest) = after(text, "hang watchdog") {
        return time(rest).map(BootOutcome::HangWatchdog);
    } else if let Some(rest) = after(text, "mute after") {
        return time(rest).map(BootOutcome::MuteAfter);
    }
    match text.trim() {
        "confirm on connect" => Ok(BootOutcome::ConfirmOnConnect { within: None }),
        "hang" => Ok(BootOutcome::Hang),
        "unconfirmed" => Ok(BootOutcome::Unconfirmed),
        _ => Err(unknown(text, subject, BOOTS)),
    }
}

/// Reads what an install handler does; `subject` names the key in errors.
pub(super) fn install(text: &str, subject: &str) -> Result<InstallOutcome, Complaint> {
    let body = text.trim();
    let (body, deaf) = body
        .strip_suffix(" deaf")
        .map_or((body, false), |body| (body.trim_end(), true));
    let time = |from: &str| time(text, from, subject);
    if let Some(rest) = after(body, "succeed after") {
        return time(rest).map(|after| InstallOutcome::SucceedAfter { after, deaf });
    }
    if let Some(rest) = after(body, "fail after") {
        return time(rest).map(|after| InstallOutcome::FailAfter { after, deaf });
    }
    if let Some(rest) = after(body, "cancel after") {
        return time(rest).map(|after| InstallOutcome::CancelAfter { after, deaf });
    }
    match body {
        "never" => Ok(InstallOutcome::Never { deaf }),
        "unhandled" if !deaf => Ok(InstallOutcome::Unhandled),
        _ => Err(unknown(text, subject, INSTALLS)),
    }
}

/// The rest of `text` behind `words`, if it begins with them.
fn after<'t>(text: &'t str, words: &str) -> Option<&'t str> {
    let rest = text.trim_start().strip_prefix(words)?;
    (rest.is_empty() || rest.starts_with(' ')).then_some(rest.trim())
}

/// Reads the part `from` of `whole` as a time.
fn time(whole: &str, from: &str, subject: &str) -> Result<Duration, Complaint> {
    let start = from.as_ptr() as usize - whole.as_ptr() as usize;
    parse_duration(from).map_err(|error| Complaint {
        at: Some(start..start + from.len()),
        message: match &error {
            QuantityError::NoUnit { .. } => format!("a time in {subject} needs a unit"),
            QuantityError::UnknownUnit { unit, .. } => format!("unknown unit `{unit}` in {subject}"),
            QuantityError::NotANumber { .. } | QuantityError::TooLarge { .. } => format!("not a time in {subject}"),
        },
        hint: Some(match &error {
            QuantityError::NoUnit { found, .. } => format!("found {found}: write for example \"{found}s\""),
            QuantityError::UnknownUnit { kind, units, .. } => format!("a {kind} is given in {units}"),
            QuantityError::NotANumber { .. } | QuantityError::TooLarge { .. } => {
                format!("found \"{}\": write for example \"1s\"", cut(from))
            }
        }),
    })
}

fn unknown(text: &str, subject: &str, forms: &[&str]) -> Complaint {
    let first = text.split_whitespace().next().unwrap_or_default();
    let starts = forms.iter().map(|form| form.split(' ').next().unwrap_or_default());
    let hint = match closest(first, starts) {
        Some(start) => {
            let fitting: Vec<_> = forms.iter().filter(|form| form.starts_with(start)).copied().collect();
            format!("did you mean `{}`?", fitting.join("` or `"))
        }
        None => format!("outcomes are `{}`", forms.join("`, `")),
    };
    Complaint::new(format!("unknown outcome `{}` in {subject}", cut(text)), hint)
}

/// A boot outcome as it is written.
pub(super) fn boot_text(outcome: &BootOutcome) -> String {
    match *outcome {
        BootOutcome::ConfirmAfter(after) => format!("confirm after {}", exact_time(after)),
        BootOutcome::ConfirmOnConnect { within: None } => "confirm on connect".to_owned(),
        BootOutcome::ConfirmOnConnect { within: Some(within) } => format!("confirm on connect within {}", exact_time(within)),
        BootOutcome::CrashAfter(after) => format!("crash after {}", exact_time(after)),
        BootOutcome::ConfirmThenCrash { confirm, crash } => {
            format!("confirm after {}, crash after {}", exact_time(confirm), exact_time(crash))
        }
        BootOutcome::ConfirmThenMute { confirm, mute } => {
            format!("confirm after {}, mute after {}", exact_time(confirm), exact_time(mute))
        }
        BootOutcome::Hang => "hang".to_owned(),
        BootOutcome::HangWatchdog(after) => format!("hang watchdog {}", exact_time(after)),
        BootOutcome::Unconfirmed => "unconfirmed".to_owned(),
        BootOutcome::MuteAfter(after) => format!("mute after {}", exact_time(after)),
    }
}

/// An install outcome as it is written.
pub(super) fn install_text(outcome: &InstallOutcome) -> String {
    let (text, deaf) = match *outcome {
        InstallOutcome::SucceedAfter { after, deaf } => (format!("succeed after {}", exact_time(after)), deaf),
        InstallOutcome::FailAfter { after, deaf } => (format!("fail after {}", exact_time(after)), deaf),
        InstallOutcome::CancelAfter { after, deaf } => (format!("cancel after {}", exact_time(after)), deaf),
        InstallOutcome::Never { deaf } => ("never".to_owned(), deaf),
        InstallOutcome::Unhandled => ("unhandled".to_owned(), false),
    };
    if deaf { format!("{text} deaf") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written() {
        for form in BOOTS {
            let text = form.replacen('T', "500ms", 1).replace('T', "2s");
            assert_eq!(boot_text(&boot(&text, "x").ok().unwrap()), text);
        }
        for form in INSTALLS {
            let text = form.replace('T', "2s");
            assert_eq!(install_text(&install(&text, "x").ok().unwrap()), text);
            let deaf = format!("{text} deaf");
            assert_eq!(
                install(&deaf, "x").ok().map(|o| install_text(&o)),
                (*form != "unhandled").then_some(deaf)
            );
        }
    }

    #[test]
    fn points_at_the_time_that_is_wrong() {
        let complaint = boot("crash after 5", "`boot`").err().unwrap();
        assert_eq!(
            (complaint.at, complaint.message.as_str()),
            (Some(12..13), "a time in `boot` needs a unit")
        );
        let complaint = boot("confirm after 1s, crash after 5 parsecs", "`boot`").err().unwrap();
        assert_eq!(complaint.at, Some(30..39));
    }

    #[test]
    fn suggests_the_form_that_was_meant() {
        let hint = |complaint: Complaint| complaint.hint.unwrap();
        assert_eq!(
            hint(boot("crahs after 1s", "`boot`").err().unwrap()),
            "did you mean `crash after T`?"
        );
        assert!(hint(install("explode", "`install`").err().unwrap()).starts_with("outcomes are `succeed after T`"));
        assert!(boot("confirm after 5s, crash after 1s", "`boot`").is_err());
        assert!(boot("confirm afterwards", "`boot`").is_err());
    }
}
