//! How a story says things: times, bytes, reasons.

use crate::model::{AttemptError, ConnectResult, FailureReason, RetryReason, UpdateState, show_count};
use crate::time::SimTime;

/// From here on times are shown with hours and minutes.
pub(super) const HOUR: SimTime = SimTime::from_secs(3_600);

/// A moment: `12.345 s`, or `6:02:12.345` in a story that lasts hours.
pub(super) fn stamp(at: SimTime, hours: bool) -> String {
    let millis = (at.as_nanos() + 500_000) / 1_000_000;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    match hours {
        true => format!("{}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        false => format!("{seconds}.{millis:03} s"),
    }
}

/// A number of bytes, exactly.
pub(super) fn bytes(count: u32) -> String {
    format!("{} B", show_count(u64::from(count)))
}

/// The position in an image, and its size where that is known.
pub(super) fn position(received: u32, total: Option<u32>) -> String {
    let received = show_count(u64::from(received));
    total.map_or_else(
        || format!("byte {received}"),
        |total| format!("byte {received} of {}", show_count(u64::from(total))),
    )
}

/// Why a try to connect failed.
pub(super) fn connecting(result: ConnectResult) -> &'static str {
    match result {
        ConnectResult::Ok => "it could",
        ConnectResult::Refused => "refused",
        ConnectResult::Timeout => "no answer in time",
        ConnectResult::Reset => "connection reset",
        ConnectResult::Tls => "TLS handshake failed",
        ConnectResult::Auth => "the server refuses its credentials",
    }
}

/// What broke a request.
pub fn breaking(reason: RetryReason) -> &'static str {
    match reason {
        RetryReason::Status => "the server is in trouble",
        RetryReason::Connect => "no connection",
        RetryReason::Reset => "connection reset",
        RetryReason::Timeout => "no end within its time limit",
        RetryReason::Aborted => "the answer was cut off or malformed",
    }
}

/// Why an attempt did not succeed.
pub fn failing(reason: FailureReason) -> String {
    let text = match reason {
        FailureReason::ResetBeforeConfirm => "the new image was reset before it was confirmed",
        FailureReason::NotSwapped => "the bootloader did not swap the new image in",
        FailureReason::WrongBuildId => "the image that runs has another build id than the one downloaded",
        FailureReason::NoBuildId => "the image holds no usable build id",
        FailureReason::TooBig => "the image does not fit the slot",
        FailureReason::WrongHardware => "the image is made for other hardware",
        FailureReason::SlotRefused => "the slot could not be opened, because the running image is unconfirmed",
        FailureReason::Status(status) => return format!("the image server answered {status}"),
        FailureReason::Download => "the download cannot succeed: address, TLS or range is wrong",
        FailureReason::Storage => "flash or storage failed for good",
        FailureReason::InstallFailed => "its install handler failed",
        FailureReason::Unhandled => "the device has no install handler for it",
        FailureReason::AppAbort => "the application stopped the download",
        FailureReason::InstallCanceled => "its install handler gave up",
        FailureReason::ServerCancel => "the server cancelled it",
        FailureReason::Superseded => "a newer attempt took its place",
        FailureReason::Rejected(error) => match error {
            AttemptError::Unknown => "the device could not take the attempt on",
            AttemptError::ArtifactCountExceeded => "the manifest has more artifacts than the device was built for",
            AttemptError::UnknownArtifactType => "the manifest has an artifact of an unknown type",
            AttemptError::CannotParseMessage => "the device cannot read the manifest",
        },
    };
    text.to_owned()
}

/// The state of an attempt, after "is".
pub(super) const fn state(state: UpdateState) -> &'static str {
    match state {
        UpdateState::None => "unknown",
        UpdateState::Pending => "pending",
        UpdateState::InProgress => "in progress",
        UpdateState::Succeeded => "succeeded",
        UpdateState::Failed => "failed",
        UpdateState::Cancelled => "cancelled",
    }
}

/// Names in a story may come from a server or a device: what could move a cursor or turn the direction of text is left out.
pub fn clean(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|&c| !c.is_control() && !turns(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_show_milliseconds_and_hours_where_a_story_is_long() {
        let at = SimTime::from_nanos(21_732_345_600_000);
        assert_eq!([stamp(at, false), stamp(at, true)], ["21732.346 s", "6:02:12.346"]);
    }

    #[test]
    fn positions_count_in_thousands() {
        assert_eq!(position(187_392, Some(262_144)), "byte 187,392 of 262,144");
        assert_eq!(position(5, None), "byte 5");
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(clean("app@1\u{1b}[2J\u{202e}.0"), "app@1[2J.0");
    }
}
