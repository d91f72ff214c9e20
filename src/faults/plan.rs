//! Faults as they are planned, and as they reach one device.
//!
//! The Director decides whom a fault concerns and when a moment that is a time has come; it then gives each device its [`Injection`].
//! Moments that only the device's own edge can see in time (a phase, progress, a flash operation) travel with it as a [`Trigger`].

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{FirmwareVersion, Phase, Selector, Share, closest, word_enum};
use crate::time::SimTime;

use super::kind::{FaultKind, Target};
use super::moment::Moment;
use super::profile::LinkProfile;

/// A fault of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    /// Its name: given, or the kind's first word.
    pub name: String,
    /// Line in the scenario file, from 1.
    pub line: u32,
    /// What happens.
    pub kind: FaultKind,
    /// To whom. Judged at the start of the run, or, where it depends on the course of it, when a time or step moment has come.
    pub who: Selector,
    /// When.
    pub at: Moment,
    /// How long it lasts, drawn each time; `None` is the kind's own (see [`FaultKind::lasts`]).
    pub lasting: Option<RangeInclusive<Duration>>,
    /// From the beginning of one to the beginning of the next.
    pub every: Option<Duration>,
    /// How often it happens to a device; `None` is without end.
    pub times: Option<u32>,
    /// Of each message, request or flash operation that it could strike.
    pub chance: Share,
    /// What alone it strikes; empty is everything.
    pub only: Vec<Narrowing>,
}

word_enum! {
    /// A type of MQTT message that a fault can be narrowed to.
    MessageType {
        /// UPDATE_RESULTS.
        Results = "results",
        /// UPDATE_ARTIFACTS.
        Manifest = "manifest",
        /// CANCEL_UPDATE.
        Cancel = "cancel",
        /// REPORT_UPDATE_RESULTS.
        Report = "report",
        /// Session metadata.
        Metadata = "metadata",
        /// SUBACK.
        Suback = "suback",
        /// PUBACK.
        Puback = "puback",
    }
}

/// What a fault is narrowed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Narrowing {
    /// Messages of this type.
    Message(MessageType),
    /// Manifests with this version, and requests for it.
    Version(FirmwareVersion),
    /// Of the messages that the others leave, the one with this number, counted from 1 at each device.
    Nth(u32),
}

impl Narrowing {
    /// Reads one word of `only`.
    ///
    /// # Errors
    /// A fragment that says what is wrong.
    pub fn parse(text: &str) -> Result<Narrowing, String> {
        if let Some(kind) = MessageType::from_word(text) {
            return Ok(Narrowing::Message(kind));
        }
        if let Some(number) = text.strip_prefix("message ") {
            let number = number.trim().parse().ok().filter(|number| *number > 0);
            return number
                .map(Narrowing::Nth)
                .ok_or_else(|| format!("`{text}` has no number: write for example `message 7`"));
        }
        let words = MessageType::ALL.iter().map(|kind| kind.word());
        match text.parse() {
            Ok(firmware) => Ok(Narrowing::Version(firmware)),
            Err(_) => Err(match closest(text, words.clone()) {
                Some(known) => format!("`{text}` is no type of message: did you mean `{known}`?"),
                None => format!(
                    "`{text}` is neither SLUG@VERSION nor one of {}",
                    words.collect::<Vec<_>>().join(", ")
                ),
            }),
        }
    }
}

impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Narrowing::Message(kind) => kind.fmt(f),
            Narrowing::Version(firmware) => firmware.fmt(f),
            Narrowing::Nth(number) => write!(f, "message {number}"),
        }
    }
}

impl PlannedFault {
    /// How many happenings are planned for one device; `None` where it strikes single messages, requests or operations, or has no end.
    pub fn planned_each(&self) -> Option<u64> {
        let counted = is_counted(&self.kind, matches!(self.at, Moment::Flash { .. }));
        self.times.map(u64::from).filter(|_| counted)
    }

    /// Whether it lasts to the end of trouble: then a run that has nothing else left does not wait for it.
    pub fn is_open_ended(&self) -> bool {
        self.lasting.is_none() && self.kind.lasts().is_none()
    }
}

/// A fault on its way to one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Position of the fault in the plan.
    pub fault: u16,
    /// A stable key of its name, mixed into every draw.
    pub key: u64,
    /// How many happenings at this device the Director has sent before.
    pub first: u32,
    /// What happens.
    pub kind: FaultKind,
    /// When.
    pub trigger: Trigger,
    /// How long it lasts each time; `None` is to the end of trouble.
    pub lasting: Option<RangeInclusive<Duration>>,
    /// From the beginning of one to the beginning of the next.
    pub every: Option<Duration>,
    /// How often; `None` is without end.
    pub times: Option<u32>,
    /// Of each message, request or flash operation that it could strike.
    pub chance: Share,
    /// What alone it strikes; empty is everything.
    pub only: Arc<[Narrowing]>,
    /// The profile of [`FaultKind::Link`].
    pub link: Option<Arc<LinkProfile>>,
    /// The image of [`FaultKind::WrongImage`].
    pub image: Option<Bytes>,
}

/// When an injection strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// At this time; in the past means at once.
    At(SimTime),
    /// On each entry of a phase, or a while after.
    Phase {
        /// Which.
        phase: Phase,
        /// How long after.
        after: RangeInclusive<Duration>,
    },
    /// When this much of a phase is done, each time that it is entered.
    Progress {
        /// Downloading, swapping or reverting.
        phase: Phase,
        /// How much.
        done: RangeInclusive<Share>,
    },
    /// At a flash operation of the attempt, counted on across reboots.
    Flash {
        /// Counts page erases only.
        erase: bool,
        /// Which, from 1; `None` is drawn when the attempt is first accepted, for all `times` at once.
        number: Option<RangeInclusive<u32>>,
    },
}

/// What came of a fault at one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is on from here.
    Began,
    /// It has struck, once: this is what is counted.
    Done,
    /// It could have struck a message, request or operation, and by its chance did not.
    Spared,
    /// A planned one cannot come about any more.
    Missed(&'static str),
    /// It is over.
    Ended,
}

impl Injection {
    /// Whether what it does is counted against a plan (see [`PlannedFault::planned_each`]).
    pub(super) fn is_counted(&self) -> bool {
        is_counted(&self.kind, matches!(self.trigger, Trigger::Flash { .. }))
    }
}

fn is_counted(kind: &FaultKind, at_flash: bool) -> bool {
    match kind.target() {
        Target::Device | Target::Link => true,
        Target::Flash => at_flash || matches!(kind, FaultKind::FlashFlip { .. }),
        Target::Messages | Target::Requests => false,
    }
}

impl Trigger {
    /// What a moment means to a device; `None` for those that the Director turns into a time.
    pub fn of_moment(moment: &Moment) -> Option<Trigger> {
        match moment {
            Moment::Start => Some(Trigger::At(SimTime::ZERO)),
            Moment::Time(_) | Moment::Step { .. } => None,
            Moment::Phase { phase, after } => Some(Trigger::Phase {
                phase: *phase,
                after: after.clone(),
            }),
            Moment::Progress { phase, done } => Some(Trigger::Progress {
                phase: *phase,
                done: done.clone(),
            }),
            Moment::Flash { erase, number } => Some(Trigger::Flash {
                erase: *erase,
                number: number.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowings_print_as_they_read() {
        for text in ["results", "suback", "app@1.2.0", "message 7"] {
            assert_eq!(Narrowing::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Narrowing::parse("manifst").unwrap_err(),
            "`manifst` is no type of message: did you mean `manifest`?"
        );
        assert!(
            Narrowing::parse("x")
                .unwrap_err()
                .starts_with("`x` is neither SLUG@VERSION nor one of results")
        );
    }
}
