//! Faults of the server: what befalls its process, and how it stands meanwhile.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::model::{closest, parse_duration};

use super::moment::Moment;

/// How long a server stays down after a crash where a scenario does not say.
const CRASH: Duration = Duration::from_secs(2);

/// A fault of the server's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFaultKind {
    /// Killed; started again afterwards.
    Crash,
    /// Refuses connections, and has reset those that were open.
    Outage,
    /// Stopped; connections stay.
    Freeze,
    /// Each message takes this much longer.
    Slow {
        /// By how much.
        by: Duration,
    },
    /// Nothing can be stored.
    DiskFull,
}

impl ServerFaultKind {
    /// First words of every kind.
    pub const WORDS: &'static [&'static str] = &["crash", "outage", "freeze", "slow", "disk-full"];

    /// Reads the `inject` of a fault whose *who* is `server`.
    ///
    /// # Errors
    /// A fragment that says what is wrong, with a suggestion where there is one.
    pub fn parse(text: &str) -> Result<ServerFaultKind, String> {
        let text = text.trim();
        if let Some(by) = text
            .strip_prefix("slow")
            .filter(|rest| rest.is_empty() || rest.starts_with(' '))
        {
            let by = parse_duration(by.trim()).ok().filter(|by| !by.is_zero());
            let example = || "write how long a message takes, for example \"slow 20ms\"".to_owned();
            return by.map(|by| ServerFaultKind::Slow { by }).ok_or_else(example);
        }
        match text {
            "crash" => Ok(ServerFaultKind::Crash),
            "outage" => Ok(ServerFaultKind::Outage),
            "freeze" => Ok(ServerFaultKind::Freeze),
            "disk-full" => Ok(ServerFaultKind::DiskFull),
            _ => Err(match closest(text, ServerFaultKind::WORDS.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("faults of the server are {}", ServerFaultKind::WORDS.join(", ")),
            }),
        }
    }

    /// How long it lasts where a scenario does not say; `None` is the rest of `duration`.
    pub const fn lasts(self) -> Option<Duration> {
        match self {
            ServerFaultKind::Crash => Some(CRASH),
            ServerFaultKind::Outage | ServerFaultKind::Freeze | ServerFaultKind::Slow { .. } | ServerFaultKind::DiskFull => None,
        }
    }

    /// True if it needs a store that outlives the process.
    pub const fn needs_disk(self) -> bool {
        matches!(self, ServerFaultKind::Crash | ServerFaultKind::DiskFull)
    }
}

impl fmt::Display for ServerFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerFaultKind::Crash => f.write_str("crash"),
            ServerFaultKind::Outage => f.write_str("outage"),
            ServerFaultKind::Freeze => f.write_str("freeze"),
            ServerFaultKind::Slow { by } => write!(f, "slow {}us", by.as_micros()),
            ServerFaultKind::DiskFull => f.write_str("disk-full"),
        }
    }
}

/// A fault of the server as a plan has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedServerFault {
    /// Its name, unique among all faults.
    pub name: String,
    /// Line in the scenario file, from 1.
    pub line: u32,
    /// What happens.
    pub kind: ServerFaultKind,
    /// When: a time or a step.
    pub at: Moment,
    /// How long each lasts; `None` is to the end of trouble.
    pub lasting: Option<RangeInclusive<Duration>>,
    /// From the beginning of one to the beginning of the next.
    pub every: Option<Duration>,
    /// How often; `None` is without end.
    pub times: Option<u32>,
}

/// How the server's process is to stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCondition {
    /// Killed, and not yet to be started again.
    pub down: bool,
    /// Refuses connections.
    pub outage: bool,
    /// Stopped.
    pub frozen: bool,
    /// Each message takes this much longer.
    pub slow: Duration,
    /// Nothing can be stored.
    pub disk_full: bool,
}

impl ServerCondition {
    /// The condition under all of these.
    pub fn under(kinds: impl IntoIterator<Item = ServerFaultKind>) -> ServerCondition {
        let mut condition = ServerCondition::default();
        for kind in kinds {
            match kind {
                ServerFaultKind::Crash => condition.down = true,
                ServerFaultKind::Outage => condition.outage = true,
                ServerFaultKind::Freeze => condition.frozen = true,
                ServerFaultKind::Slow { by } => condition.slow = condition.slow.saturating_add(by),
                ServerFaultKind::DiskFull => condition.disk_full = true,
            }
        }
        condition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_print_as_they_read() {
        for text in ["crash", "outage", "freeze", "disk-full", "slow 20000us"] {
            assert_eq!(ServerFaultKind::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(ServerFaultKind::parse("outrage").unwrap_err(), "did you mean `outage`?");
        assert!(ServerFaultKind::parse("slow").unwrap_err().contains("slow 20ms"));
    }

    #[test]
    fn what_happens_at_once_adds_up() {
        let slow = |ms| ServerFaultKind::Slow {
            by: Duration::from_millis(ms),
        };
        let condition = ServerCondition::under([slow(5), ServerFaultKind::Outage, slow(7)]);
        let expected = ServerCondition {
            outage: true,
            slow: Duration::from_millis(12),
            ..ServerCondition::default()
        };
        assert_eq!(condition, expected);
    }
}
