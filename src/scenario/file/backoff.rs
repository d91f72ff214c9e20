//! Waits that grow: `reconnect` and `retry`.

use std::time::Duration;

use crate::device::{Backoff, Jitter};
use crate::model::parse_duration;

use super::super::fields::{BACKOFF, Complaint, Fields};
use super::super::presets;

/// Shorter waits would try again in the same moment.
pub(super) const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Always the same wait.
pub(super) const fn constant(wait: Duration) -> Backoff {
    Backoff {
        first: wait,
        max: wait,
        jitter: Jitter::Fixed,
    }
}

/// `T`, or `T..T` with `half`, `full` or `fixed`, or `preset:NAME`.
pub(super) fn read_backoff(fields: &Fields<'_>, key: &str) -> Option<Backoff> {
    let words = fields.with_unit(key, BACKOFF)?;
    let read = fields.read(words, |text| {
        let time = |text: &str| parse_duration(text).map_err(|error| fields.not_a_quantity(key, BACKOFF, error));
        if let Some(preset) = presets::backoff(text, &format!("`{key}` of {}", fields.subject)) {
            return preset;
        }
        let Some((first, rest)) = text.split_once("..") else {
            return time(text).map(constant);
        };
        let rest = rest.trim();
        let found = presets::JITTERS
            .iter()
            .find_map(|(word, jitter)| Some((rest.strip_suffix(word)?, *jitter)));
        let (max, jitter) = found.unwrap_or((rest, Jitter::Half));
        let backoff = Backoff {
            first: time(first)?,
            max: time(max)?,
            jitter,
        };
        match backoff.first <= backoff.max {
            true => Ok(backoff),
            false => Err(Complaint::new(
                format!("`{key}` of {} begins above its end", fields.subject),
                "write the shorter time first",
            )),
        }
    })?;
    if read.value.first < SHORTEST_WAIT {
        fields
            .problems
            .add(read.at, format!("`{key}` of {} is too short", fields.subject), "at least 1ms");
        return None;
    }
    Some(read.value)
}
