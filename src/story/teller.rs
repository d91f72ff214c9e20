//! Walks through what happened and makes sentences of it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::measure::{FaultCame, Happening, NameId, StoredRecord, TraceNames};
use crate::model::{
    AttemptId, AttemptResult, BootReason, Cause, ConnectResult, FailureReason, Phase, StateReason, Transition, UpdateState,
    show_duration,
};
use crate::time::SimTime;

use super::download::Download;
use super::words::{bytes, clean, connecting, failing, state};
use super::{Moment, Sentence};

/// What happens this shortly after the beginning of a sentence may join it.
const TOGETHER: Duration = Duration::from_millis(2);
/// Longest sentence that others were joined to, characters.
const WIDEST: usize = 96;

/// What is known at a point of the story.
pub(super) struct Teller<'a> {
    rest: &'a [Moment],
    names: &'a TraceNames,
    pub(super) now: SimTime,
    sentences: Vec<Sentence>,
    pub(super) power: Power,
    pub(super) link: Link,
    pub(super) image: Option<Image>,
    pub(super) dead: bool,
    pub(super) phase: Phase,
    pub(super) phase_since: SimTime,
    pub(super) attempt: Option<Attempt>,
    /// What the server holds attempts for.
    pub(super) held: BTreeMap<AttemptId, UpdateState>,
    pub(super) download: Option<Download>,
    /// How far a download was when RAM was lost a moment ago.
    pub(super) lost: Option<(u32, Option<u32>)>,
    /// A swap or its undoing began then; power cuts do not end it.
    swap_since: SimTime,
    /// The reset before the boot to come was told.
    reset_told: bool,
}

/// How the device is powered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// It never was.
    Never,
    /// Since the last time.
    On,
    /// Lost then.
    Lost(SimTime),
}

/// How the device is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Online.
    Up,
    /// Not, since then, and this many tries have failed, the last one like this.
    Down {
        since: SimTime,
        tries: u32,
        last: Option<ConnectResult>,
    },
}

/// What resets a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reset {
    /// The next boot says so.
    By(BootReason),
    /// Power was lost before the next boot.
    Unknown,
}

/// What runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image {
    pub(super) name: NameId,
    pub(super) confirmed: bool,
    started_at: SimTime,
}

/// The attempt that the device is or was last busy with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) id: AttemptId,
    manifest_at: Option<SimTime>,
    recorded: bool,
    reported: bool,
    pub(super) end: Option<(AttemptResult, Option<FailureReason>)>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(moments: &'a [Moment], names: &'a TraceNames) -> Teller<'a> {
        Teller {
            rest: moments,
            names,
            now: SimTime::ZERO,
            sentences: Vec::new(),
            power: Power::Never,
            link: Link::Down {
                since: SimTime::ZERO,
                tries: 0,
                last: None,
            },
            image: None,
            dead: false,
            phase: Phase::Idle,
            phase_since: SimTime::ZERO,
            attempt: None,
            held: BTreeMap::new(),
            download: None,
            lost: None,
            swap_since: SimTime::ZERO,
            reset_told: false,
        }
    }

    /// Goes through every moment.
    pub(super) fn tell(&mut self) {
        while let Some((next, rest)) = self.rest.split_first() {
            self.rest = rest;
            self.now = next.at;
            self.on(&next.happening);
        }
    }

    pub(super) fn into_sentences(self) -> Vec<Sentence> {
        self.sentences
    }

    pub(super) fn name(&self, name: NameId) -> String {
        clean(self.names.text(name))
    }

    fn on(&mut self, happening: &Happening) {
        match *happening {
            Happening::Transition { transition, attempt, .. } => self.on_transition(transition, attempt),
            Happening::PowerLost => self.on_power_lost(),
            Happening::Offline => self.on_offline(),
            Happening::ConnectTried { result, wanted_at } => self.on_connect(result, wanted_at),
            Happening::Booted { image, confirmed, why } => self.on_boot(image, confirmed, why),
            Happening::Confirmed => self.on_confirmed(),
            Happening::Unbootable => {
                self.dead = true;
                self.say("the bootloader finds no image that it may start: the device is dead");
            }
            Happening::RolledBack => {
                let took = show_duration(self.now.since(self.swap_since));
                self.say(format!("the old image is back after {took}"));
            }
            Happening::UpgradeRequested => self.say("asks the bootloader to test the new image"),
            Happening::Manifest { attempt } => {
                self.take_up(attempt).manifest_at = Some(self.now);
                self.say(format!("receives the manifest of attempt {attempt}"));
            }
            Happening::Handler { image, .. } => self.on_handler(image),
            Happening::Request { offset } => self.on_request(offset),
            Happening::Answer { status, length, .. } => self.on_answer(status, length),
            Happening::Retry { reason, until, received } => self.on_retry(reason, until, received),
            Happening::DownloadLost { received, total } => self.lost = Some((received, total)),
            Happening::Stored { record, bytes } => self.on_stored(record, bytes),
            Happening::Deleted { record } => match record {
                StoredRecord::Attempt => self.say("deletes its attempt record"),
                StoredRecord::Probation => self.say("deletes the probation record"),
                StoredRecord::Version(slug) => self.say(format!("deletes the version record of {}", self.name(slug))),
            },
            Happening::Installed { image } => self.say(format!("{} is installed", self.name(image))),
            Happening::Ended { attempt, result, reason } => self.on_ended(attempt, result, reason),
            Happening::Published { attempt, complete } => self.on_published(attempt, complete),
            Happening::Misused { what } => self.say(format!("uses its flash as the chip does not allow: {}", self.name(what))),
            Happening::Fault { name, kind, came, why } => {
                let fault = format!("fault `{}` ({})", self.name(name), self.name(kind));
                let why = why.map_or(String::new(), |why| format!(": {}", self.name(why)));
                let what = match came {
                    FaultCame::Began => "begins",
                    FaultCame::Done => "strikes",
                    FaultCame::Missed => "cannot strike any more",
                    FaultCame::Ended => "is over",
                };
                self.say(format!("{fault} {what}{why}"));
            }
            Happening::State {
                attempt,
                deployment,
                to,
                reason,
                ..
            } => self.on_state(attempt, deployment, to, reason),
            Happening::OfferedAgain { attempt } => self.say(format!("the server sends the manifest of attempt {attempt} again")),
        }
    }

    fn on_power_lost(&mut self) {
        let running = self.running();
        let place = match self.phase {
            Phase::Swapping => " while the bootloader swaps the images".to_owned(),
            Phase::Reverting => " while the bootloader brings the old image back".to_owned(),
            Phase::Probation => format!(" while {running} is unconfirmed"),
            Phase::Committing => " just before the bootloader is asked to test the new image".to_owned(),
            Phase::Idle
            | Phase::Waiting
            | Phase::Accepted
            | Phase::Installing
            | Phase::Downloading
            | Phase::Retrying
            | Phase::Staged
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Cancelled
            | Phase::Rejected => self.lost_bytes(),
        };
        self.say(format!("power is lost{place}"));
        self.power = Power::Lost(self.now);
        self.ram_is_gone();
    }

    fn on_offline(&mut self) {
        let was_online = self.link == Link::Up;
        match (self.power, self.reset_to_come()) {
            (Power::Never, _) => self.say("power on"),
            (Power::Lost(since), _) => {
                self.say(format!("power is back after {}", show_duration(self.now.since(since))));
            }
            (Power::On, Some(reset)) => self.tell_reset(reset),
            (Power::On, None) if was_online => self.say("the connection is lost"),
            (Power::On, None) => {}
        }
        self.power = Power::On;
        if was_online || self.reset_told {
            self.offline();
        }
    }

    fn offline(&mut self) {
        self.link = Link::Down {
            since: self.now,
            tries: 0,
            last: None,
        };
    }

    /// Whether the device is being reset: the bootloader takes over at this moment, or the next sign of life is a boot that comes of
    /// a reset. What resets it is known by that boot.
    fn reset_to_come(&self) -> Option<Reset> {
        let is_swap = |moment: &&Moment| {
            let happening = moment.happening;
            matches!(happening, Happening::Transition { transition, .. } if matches!(transition.to, Phase::Swapping | Phase::Reverting))
        };
        let together = self.rest.iter().take_while(|moment| moment.at == self.now);
        let unknown = together.clone().find(is_swap).map(|_| Reset::Unknown);
        for moment in self.rest {
            if let Happening::Booted { why, .. } = moment.happening {
                return Some(Reset::By(why)).filter(|_| why != BootReason::PowerOn).or(unknown);
            }
            if matches!(moment.happening, Happening::PowerLost | Happening::ConnectTried { .. }) {
                break;
            }
        }
        unknown
    }

    fn tell_reset(&mut self, reset: Reset) {
        if std::mem::replace(&mut self.reset_told, true) {
            return;
        }
        let running = self.running();
        let lost = self.lost_bytes();
        let age = self.image.map_or(String::new(), |image| {
            format!(" {} after its start", show_duration(self.now.since(image.started_at)))
        });
        match reset {
            Reset::By(BootReason::Crash) => self.say(format!("{running} crashes{age}{lost}")),
            Reset::By(BootReason::Watchdog) => self.say(format!("the watchdog resets the hanging {running}{age}")),
            Reset::By(BootReason::Software | BootReason::PowerOn) | Reset::Unknown if self.phase == Phase::Committing => {
                self.say("restarts");
            }
            Reset::By(BootReason::Software | BootReason::PowerOn) => self.say(format!("{running} restarts{age}{lost}")),
            Reset::Unknown => self.say(format!("{running} is reset{age}{lost}")),
        }
        self.ram_is_gone();
    }

    fn ram_is_gone(&mut self) {
        self.offline();
        self.download = None;
        self.lost = None;
    }

    fn on_connect(&mut self, result: ConnectResult, wanted_at: SimTime) {
        let (failed, last) = match self.link {
            Link::Up => (0, None),
            Link::Down { tries, last, .. } => (tries, last),
        };
        if result == ConnectResult::Ok {
            let tries = match failed {
                0 => String::new(),
                1 => " and a failed try".to_owned(),
                more => format!(" and {more} failed tries"),
            };
            let awaits = if self.phase == Phase::Waiting {
                "; awaits its manifest"
            } else {
                ""
            };
            let took = show_duration(self.now.since(wanted_at));
            self.say(format!("online after {took}{tries}{awaits}"));
            self.link = Link::Up;
            return;
        }
        if last != Some(result) {
            self.say(format!("cannot connect: {}", connecting(result)));
        }
        let since = match self.link {
            Link::Up => self.now,
            Link::Down { since, .. } => since,
        };
        self.link = Link::Down {
            since,
            tries: failed + 1,
            last: Some(result),
        };
    }

    fn on_boot(&mut self, image: NameId, confirmed: bool, why: BootReason) {
        let again = self.image.is_some_and(|before| before.name == image);
        let how = match why {
            BootReason::Crash if !self.reset_told => " after a crash",
            BootReason::Watchdog if !self.reset_told => " after the watchdog fired",
            BootReason::Software if !self.reset_told => " after a restart",
            BootReason::Crash | BootReason::Watchdog | BootReason::Software | BootReason::PowerOn => "",
        };
        let again = if again && self.reset_told { " again" } else { "" };
        let probation = if confirmed { "" } else { ", unconfirmed" };
        self.say(format!("{} starts{again}{how}{probation}", self.name(image)));
        self.reset_told = false;
        self.image = Some(Image {
            name: image,
            confirmed,
            started_at: self.now,
        });
    }

    fn on_confirmed(&mut self) {
        let age = self.image.map_or(Duration::ZERO, |image| self.now.since(image.started_at));
        self.say(format!(
            "{} confirms itself {} after its start",
            self.running(),
            show_duration(age)
        ));
        if let Some(image) = &mut self.image {
            image.confirmed = true;
        }
    }

    fn on_transition(&mut self, transition: Transition, attempt: Option<AttemptId>) {
        let Transition { from, to, cause } = transition;
        if let Some(attempt) = attempt.filter(|_| !to.ended()) {
            self.take_up(attempt);
        }
        let which = attempt.map_or_else(|| "its attempt".to_owned(), |attempt| format!("attempt {attempt}"));
        match to {
            Phase::Waiting if cause == Cause::Power => {
                self.say(format!("its record of {which} is intact; needs the manifest again"));
            }
            Phase::Waiting => self.say(format!("needs the manifest of {which} again")),
            Phase::Accepted if cause == Cause::Cancel => self.say(format!("takes up {which}")),
            Phase::Staged => self.on_staged(),
            Phase::Committing => self.say("finds its build id"),
            Phase::Swapping | Phase::Reverting => self.on_swap(from, to, cause),
            Phase::Probation => {
                let took = show_duration(self.now.since(self.swap_since));
                self.say(format!("the images are swapped after {took}"));
            }
            Phase::Idle => self.say("has forgotten its attempt"),
            // Told by what comes with it.
            Phase::Accepted
            | Phase::Installing
            | Phase::Downloading
            | Phase::Retrying
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Cancelled
            | Phase::Rejected => {}
        }
        self.phase = to;
        self.phase_since = self.now;
    }

    fn on_swap(&mut self, from: Phase, to: Phase, cause: Cause) {
        if self.power == Power::On && cause == Cause::Power && !self.reset_told {
            self.tell_reset(self.reset_to_come().unwrap_or(Reset::Unknown));
        }
        if from == to {
            return self.say("the bootloader goes on where it was");
        }
        self.swap_since = self.now;
        if to == Phase::Reverting {
            self.say("the bootloader begins to bring the old image back");
        } else {
            self.say("the bootloader begins to swap the images");
        }
    }

    fn on_stored(&mut self, record: StoredRecord, length: u16) {
        let length = bytes(u32::from(length));
        match record {
            StoredRecord::Attempt => {
                let fresh = self.attempt.as_mut().filter(|attempt| !attempt.recorded);
                if let Some(attempt) = fresh {
                    attempt.recorded = true;
                    self.say(format!("stores its record ({length})"));
                }
            }
            StoredRecord::Probation => self.say(format!("stores the probation record ({length})")),
            StoredRecord::Version(slug) => self.say(format!("stores the version record of {} ({length})", self.name(slug))),
        }
    }

    fn on_ended(&mut self, id: AttemptId, result: AttemptResult, reason: Option<FailureReason>) {
        let attempt = self.take_up(id);
        attempt.end = Some((result, reason));
        attempt.recorded = true;
        attempt.reported = false;
        let manifest_at = attempt.manifest_at;
        let age = manifest_at.map_or(String::new(), |at| {
            format!(" {} after its manifest", show_duration(self.now.since(at)))
        });
        let why = reason.map_or(String::new(), |reason| format!(": {}", failing(reason)));
        self.say(format!("attempt {id} {}{age}{why}", ended(result)));
    }

    fn on_published(&mut self, id: AttemptId, complete: bool) {
        let again = match self.attempt.as_mut().filter(|attempt| attempt.id == id) {
            Some(attempt) if complete => std::mem::replace(&mut attempt.reported, true),
            Some(_) | None => false,
        };
        match (complete, again) {
            (true, false) => self.say(format!("reports how attempt {id} ended")),
            (true, true) => self.say(format!("reports once more how attempt {id} ended")),
            (false, _) => self.say(format!("reports how far attempt {id} is")),
        }
    }

    fn on_state(&mut self, id: AttemptId, deployment: NameId, to: UpdateState, reason: StateReason) {
        self.held.insert(id, to);
        let deployment = self.name(deployment);
        match to {
            UpdateState::None => {}
            UpdateState::Pending => self.say(format!("deployment `{deployment}` reaches it: attempt {id}")),
            UpdateState::InProgress if self.is_heard_of(id) => {}
            UpdateState::InProgress => {
                self.say(format!(
                    "the server sends the manifest of attempt {id}, which does not come to be known"
                ));
            }
            UpdateState::Succeeded | UpdateState::Failed | UpdateState::Cancelled => {
                let why = match reason {
                    StateReason::Deployed
                    | StateReason::Retried
                    | StateReason::Offered
                    | StateReason::Results
                    | StateReason::AttemptError => "",
                    StateReason::Cancelled => ": it was withdrawn",
                    StateReason::Superseded => ": a newer deployment took its place",
                    StateReason::Left => ": the device left the cohort",
                    StateReason::Deadline => ": its time was over",
                };
                self.say(format!("the server notes attempt {id} as {}{why}", state(to)));
            }
        }
    }

    /// True if the device shows later that it knows of the attempt.
    fn is_heard_of(&self, id: AttemptId) -> bool {
        self.rest.iter().any(|moment| {
            let of_it = |attempt: AttemptId| attempt == id;
            matches!(moment.happening, Happening::Manifest { attempt } | Happening::Ended { attempt, .. } if of_it(attempt))
        })
    }

    /// The attempt with this id, from here on the one that the story is about.
    fn take_up(&mut self, id: AttemptId) -> &mut Attempt {
        let known = self.attempt.filter(|attempt| attempt.id == id);
        self.attempt.insert(known.unwrap_or(Attempt {
            id,
            manifest_at: None,
            recorded: false,
            reported: false,
            end: None,
        }))
    }

    pub(super) fn running(&self) -> String {
        self.image
            .map_or_else(|| "the image".to_owned(), |image| self.name(image.name))
    }

    /// Adds a sentence, or joins it to the one before if both happen together.
    pub(super) fn say(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        let joins = self.sentences.last_mut().filter(|last| {
            let width = last.text.chars().count() + 2 + text.chars().count();
            self.now.since(last.at) < TOGETHER && width <= WIDEST
        });
        match joins {
            Some(last) => {
                last.text.push_str("; ");
                last.text.push_str(text);
            }
            None => self.sentences.push(Sentence {
                at: self.now,
                text: text.to_owned(),
            }),
        }
    }
}

/// How an attempt ended, as a verb.
pub(super) const fn ended(result: AttemptResult) -> &'static str {
    match result {
        AttemptResult::Succeeded => "succeeded",
        AttemptResult::Failed => "failed",
        AttemptResult::Cancelled => "was cancelled",
        AttemptResult::Rejected => "was refused",
        AttemptResult::Superseded => "was given up",
    }
}
