//! The closing line: where the device ended, and why there.

use crate::model::{Phase, UpdateState, show_duration};
use crate::time::SimTime;

use super::teller::{Attempt, Link, Power, Teller, ended};
use super::words::{connecting, failing, stamp, state};

impl Teller<'_> {
    /// Where the device stands when the run ends, or at a moment before: `now` says which.
    pub(super) fn ending(&self, end: SimTime, now: &str) -> String {
        let mut parts = vec![self.body(end)];
        parts.extend(self.task(end));
        parts.extend(self.unknown());
        format!("{now}: {}", parts.join("; "))
    }

    /// Power, image and connection.
    fn body(&self, end: SimTime) -> String {
        match self.power {
            Power::Never => return "the device was never switched on".to_owned(),
            Power::Lost(since) => return format!("without power for {}", show_duration(end.since(since))),
            Power::On => {}
        }
        if self.dead {
            return "no image to start".to_owned();
        }
        let image = match self.image {
            None => "in its bootloader".to_owned(),
            Some(_) if matches!(self.phase, Phase::Swapping | Phase::Reverting) => "in its bootloader".to_owned(),
            Some(image) if image.confirmed => format!("runs {}", self.name(image.name)),
            Some(image) => format!("runs {}, unconfirmed", self.name(image.name)),
        };
        let link = match self.link {
            Link::Up => "online".to_owned(),
            Link::Down { since, tries, last } => {
                let tries = match (tries, last) {
                    (0, _) | (_, None) => String::new(),
                    (tries, Some(last)) => format!(" ({tries} failed tries, the last: {})", connecting(last)),
                };
                format!("offline since {}{tries}", stamp(since, since >= super::words::HOUR))
            }
        };
        format!("{image}, {link}")
    }

    /// What it was busy with.
    fn task(&self, end: SimTime) -> Option<String> {
        let attempt = self.attempt?;
        let device = match attempt.end {
            Some((result, reason)) if self.phase.at_rest() => {
                let why = reason.map_or(String::new(), |reason| format!(", because {}", failing(reason)));
                format!("attempt {} {}{why}", attempt.id, ended(result))
            }
            Some(_) | None => {
                let spent = show_duration(end.since(self.phase_since));
                format!("attempt {} is open, {} for {spent}", attempt.id, self.doing())
            }
        };
        let held = self.held.get(&attempt.id).filter(|held| !attempt.agrees(**held));
        let server = held.map(|held| format!(", while the server has it {}", state(*held)));
        Some(device + server.as_deref().unwrap_or_default())
    }

    /// What the server holds open and the device does not know of.
    fn unknown(&self) -> Option<String> {
        let (id, held) = self.held.last_key_value().filter(|(_, held)| !held.ended())?;
        let known = self.attempt.is_some_and(|attempt| attempt.id >= *id);
        (!known).then(|| format!("the server has attempt {id} {}", state(*held)))
    }

    /// The phase as an activity.
    const fn doing(&self) -> &'static str {
        match self.phase {
            Phase::Idle | Phase::Succeeded | Phase::Failed | Phase::Cancelled | Phase::Rejected => "at rest",
            Phase::Waiting => "waiting for its manifest",
            Phase::Accepted => "accepted",
            Phase::Installing => "in its install handler",
            Phase::Downloading => "downloading",
            Phase::Retrying => "waiting for its next request",
            Phase::Staged => "reading the new image",
            Phase::Committing => "committing",
            Phase::Swapping => "swapping the images",
            Phase::Probation => "on probation",
            Phase::Reverting => "bringing the old image back",
        }
    }
}

impl Attempt {
    /// Whether the server's state says what the device knows.
    fn agrees(&self, held: UpdateState) -> bool {
        use crate::model::AttemptResult::{Cancelled, Failed, Rejected, Succeeded, Superseded};
        let end = self.end.map(|(result, _)| result);
        match held {
            UpdateState::None | UpdateState::Pending | UpdateState::InProgress => end.is_none(),
            UpdateState::Succeeded => end == Some(Succeeded),
            UpdateState::Failed => matches!(end, Some(Failed | Rejected)),
            UpdateState::Cancelled => matches!(end, Some(Cancelled | Superseded)),
        }
    }
}
