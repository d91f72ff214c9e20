//! Faults: which of their keys go together, whom they find, and what is planned of them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::faults::{
    FaultKind, LinkProfile, MessageFault, Moment, Narrowing, PlannedFault, PlannedServerFault, RequestFault, ServerFaultKind,
    Target,
};
use crate::model::{DeviceIndex, FirmwareVersion, Key, Phase, Share, Test};

use super::document::Place;
use super::error::Problems;
use super::fields::{Written, cut, suggest};
use super::file::{FaultFile, ImageFile, ScenarioFile, TlsFile, VerbFile, WhoFile, link_names, named_link};
use super::names::{Asking, Names};
use super::start::AtStart;
use super::text::{exact_data_rate, exact_time, exact_times};

/// Checks one fault.
pub(super) fn check(fault: &FaultFile, file: &ScenarioFile, names: &Names<'_>, problems: &Problems) {
    let check = Check { fault, file, problems };
    if let Some(who) = &fault.who {
        check.who(who, names);
    }
    check.moment(names);
    check.repetition();
    if fault.about_server {
        check.server();
    }
    if let Some(kind) = &fault.kind {
        check.kind(&kind.value, kind.at);
        check.image(&kind.value, kind.at, names);
        check.fits(&kind.value);
        check.narrowing(&kind.value, names);
    }
}

struct Check<'c> {
    fault: &'c FaultFile,
    file: &'c ScenarioFile,
    problems: &'c Problems,
}

impl Check<'_> {
    fn who(&self, who: &WhoFile, names: &Names<'_>) {
        let subject = format!("`who` of {}", self.fault.subject);
        let asking = if changes(who) { Asking::Ever } else { Asking::AtStart };
        if !names.check_matches(who, asking, &subject, self.problems) {
            return;
        }
        names.check_who(who, &subject, self.problems);
        if self.fault.is_timed() {
            return;
        }
        for (position, term) in who.selector.terms.iter().enumerate() {
            if let Test::Key { key, .. } = &term.test
                && key.changes()
            {
                let message = format!(
                    "`{key}` is not allowed in {subject}, whose moment is `{}`",
                    self.moment_text()
                );
                let hint = format!("{key} changes during a run: give `at` a time or `step:NAME`");
                self.problems.add(who.term(position), message, hint);
            }
        }
    }

    fn moment_text(&self) -> String {
        moment(&self.fault.moment)
    }

    fn moment_at(&self) -> Place {
        self.fault.moment_at.as_ref().map_or(self.fault.at, |words| words.inner)
    }

    fn moment(&self, names: &Names<'_>) {
        let subject = &self.fault.subject;
        match &self.fault.moment {
            Moment::Time(times) => {
                let Some(duration) = &self.file.general.duration else { return };
                if *times.end() > duration.value {
                    let message = format!("`at` of {subject} lies after the end of the scenario");
                    let hint = format!("`duration` is {}", exact_time(duration.value));
                    self.problems.add(self.moment_at(), message, hint);
                }
            }
            Moment::Step { step, .. } => {
                if !names.step_names().any(|known| known == step) {
                    let message = format!("unknown step `{}` in `at` of {subject}", cut(step));
                    self.problems
                        .add(self.moment_at(), message, suggest(step, names.step_names(), "steps"));
                }
            }
            Moment::Start | Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => {}
        }
    }

    /// What `every` and `times` need.
    fn repetition(&self) {
        let fault = self.fault;
        let subject = &fault.subject;
        if let Some(every) = &fault.every {
            let longest = match (&fault.lasting, &fault.kind, &fault.server) {
                (Some(lasting), _, _) => Some(*lasting.value.end()),
                (None, Some(kind), _) => kind.value.lasts(),
                (None, None, Some(kind)) => kind.value.lasts(),
                (None, None, None) => Some(Duration::ZERO),
            };
            if let Moment::Flash { .. } = fault.moment {
                let message = format!("`every` of {subject} does not go with a flash operation");
                let hint = "operations are drawn for all `times` at once: leave `every` out";
                self.problems.add(every.at, message, hint);
            } else if every.value.is_zero() {
                self.problems
                    .add(every.at, format!("`every` of {subject} is zero"), "write for example \"10s\"");
            } else if let Some(longest) = longest {
                if longest > every.value {
                    let message = format!("`every` of {subject} is shorter than it lasts");
                    let hint = format!("it lasts up to {}: write more than that", exact_time(longest));
                    self.problems.add(every.at, message, hint);
                }
            } else {
                let message = format!("`every` of {subject} needs `for`");
                let hint = "without it the first one lasts for the rest of `duration`";
                self.problems.add(every.at, message, hint);
            }
            return;
        }
        let instant = match &fault.moment {
            Moment::Start => true,
            Moment::Time(times) | Moment::Step { after: times, .. } => times.start() == times.end(),
            Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => false,
        };
        if let Some(times) = fault.times.as_ref().filter(|times| instant && times.value > 1) {
            let message = format!("{subject} would happen {} times in the same moment", times.value);
            self.problems
                .add(times.at, message, "give `every`, or a range for `at`: \"20s..60s\"");
        }
    }

    /// What a fault of the server needs of the rest of the file, and what it has no use for.
    fn server(&self) {
        let fault = self.fault;
        let subject = &fault.subject;
        match fault.moment {
            Moment::Start | Moment::Time(_) | Moment::Step { .. } => {}
            Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => {
                let message = format!("`at` of {subject} is a moment of a device");
                let hint = "faults of the server strike at a time or at `step:NAME`, for example \"20s..30s\"";
                self.problems.add(self.moment_at(), message, hint);
            }
        }
        if let Some(kind) = fault
            .server
            .as_ref()
            .filter(|kind| kind.value.needs_disk() && !self.file.server.on_disk)
        {
            let message = format!("{subject} needs a store that outlives the process");
            self.problems.add(kind.at, message, "write `server.store = \"disk\"`");
        }
        if let Some(chance) = &fault.chance {
            let message = format!("`chance` of {subject} does not go with the server");
            self.problems.add(chance.at, message, "leave it out");
        }
        for only in &fault.only {
            let message = format!("`only` of {subject} does not go with the server");
            self.problems.add(only.at, message, "leave it out");
        }
    }

    /// What a kind needs of the rest of the file.
    fn kind(&self, kind: &FaultKind, at: Place) {
        let subject = &self.fault.subject;
        let about_tls = matches!(
            kind,
            FaultKind::Request(RequestFault::BadTls) | FaultKind::CertExpiry | FaultKind::WrongClock { .. }
        );
        if about_tls && matches!(self.file.server.tls, TlsFile::Off) {
            let message = format!("{subject} is about TLS, which is off");
            self.problems.add(at, message, "leave the fault out, or server.tls = \"off\"");
        }
        if let Some(profile) = kind.link()
            && named_link(profile, &self.file.links).is_none()
        {
            let hint = suggest(profile, link_names(&self.file.links), "links");
            self.problems
                .add(at, format!("unknown link `{}` in {subject}", cut(profile)), hint);
        }
    }

    /// Whether an image that takes the place of others is known, and as long as what is announced.
    fn image(&self, kind: &FaultKind, at: Place, names: &Names<'_>) {
        let Some(firmware) = kind.image() else { return };
        let subject = &self.fault.subject;
        let version = firmware.to_string();
        if !names.versions().contains(&version) {
            return names.unknown_version(&version, at, &format!("`inject` of {subject}"), self.problems);
        }
        let length = |firmware: &FirmwareVersion| {
            let found = self.file.versions.iter().find(|version| version.firmware == *firmware)?;
            match found.image {
                ImageFile::Generated { size, .. } => Some(size),
                ImageFile::File(_) => None,
            }
        };
        let narrowed = |firmware: &FirmwareVersion| {
            let only = |only: &Written<Narrowing>| only.value == Narrowing::Version(firmware.clone());
            self.fault.only.is_empty() || self.fault.only.iter().any(only)
        };
        let deployed = self.file.steps.iter().filter_map(|step| match &step.verb {
            Some(VerbFile::Deploy { packages, .. }) => Some(packages),
            _ => None,
        });
        let own = length(firmware);
        let differs = |other: Option<u64>| other.is_some() && own.is_some() && other != own;
        let other = deployed
            .flatten()
            .find(|package| narrowed(&package.value) && differs(length(&package.value)));
        if let Some(package) = other {
            let message = format!(
                "{subject} puts `{version}` in the place of `{}`, which has another size",
                package.value
            );
            let hint = "the length that was announced stays: give both the same `size`, or narrow it by `only`";
            self.problems.add(at, message, hint);
        }
    }

    /// Whether the kind can come about at the moment, last, and have a chance.
    fn fits(&self, kind: &FaultKind) {
        let fault = self.fault;
        let subject = &fault.subject;
        let flips = matches!(kind, FaultKind::FlashFlip { .. });
        let never = match &fault.moment {
            Moment::Phase { phase, after } => after.end().is_zero() && kind.possible_in(*phase).is_err(),
            Moment::Progress { phase, .. } => kind.possible_in(*phase).is_err() || flips && *phase != Phase::Downloading,
            Moment::Start | Moment::Time(_) | Moment::Step { .. } | Moment::Flash { .. } => false,
        };
        if never {
            let hint = match kind {
                FaultKind::AppAbort => "an application aborts in downloading, retrying or staged",
                FaultKind::AppPause => "an application pauses in downloading, retrying, staged or committing",
                _ => "bits flip before the swap: write for example \"staged\"",
            };
            let message = format!("{subject} can never come about at `{}`", self.moment_text());
            self.problems.add(self.moment_at(), message, hint);
        }
        if let Some(lasting) = fault.lasting.as_ref().filter(|_| kind.lasts() == Some(Duration::ZERO)) {
            let message = format!("`for` of {subject} does not go with `{}`", word(kind));
            self.problems
                .add(lasting.at, message, "it happens in a moment: leave `for` out");
        }
        let chancy = match kind.target() {
            Target::Messages | Target::Requests => true,
            Target::Flash => matches!(kind, FaultKind::FlashFail { .. }),
            Target::Device | Target::Link => false,
        };
        if let Some(chance) = fault.chance.as_ref().filter(|_| !chancy) {
            let message = format!("`chance` of {subject} does not go with `{}`", word(kind));
            let hint = format!(
                "it is that of a message, request or flash operation: write who = \"{} of …\"",
                chance.value
            );
            self.problems.add(chance.at, message, hint);
        }
    }

    fn narrowing(&self, kind: &FaultKind, names: &Names<'_>) {
        let subject = &self.fault.subject;
        for only in &self.fault.only {
            let (fits, hint) = match (&only.value, kind.target()) {
                (Narrowing::Version(firmware), _)
                    if matches!(kind.target(), Target::Messages | Target::Requests) || *kind == FaultKind::CertExpiry =>
                {
                    let version = firmware.to_string();
                    if !names.versions().contains(&version) {
                        names.unknown_version(&version, only.at, &format!("`only` of {subject}"), self.problems);
                    }
                    (true, "")
                }
                (Narrowing::Message(_) | Narrowing::Nth(_), Target::Messages) => (true, ""),
                (Narrowing::Message(_) | Narrowing::Nth(_), Target::Requests) => {
                    (false, "requests are narrowed to SLUG@VERSION, for example \"app@1.1.0\"")
                }
                (Narrowing::Version(_) | Narrowing::Message(_) | Narrowing::Nth(_), _) => {
                    (false, "messages and requests are narrowed: leave `only` out")
                }
            };
            if !fits {
                let message = format!("`only` of {subject} does not go with `{}`", word(kind));
                self.problems.add(only.at, message, hint);
            }
        }
    }
}

/// Whether what is to happen can be played on the boards that it finds, and where only boards can play it, whether it finds others.
pub(super) fn check_boards(fault: &FaultFile, start: AtStart<'_>, problems: &Problems) {
    let (Some(kind), Some(who)) = (&fault.kind, &fault.who) else {
        return;
    };
    let found = |on_boards: bool| {
        let devices = (0..start.devices.len() as u32).map(DeviceIndex);
        let fleet = |device: DeviceIndex| &start.fleets[usize::from(start.devices[device.at()].fleet)];
        let mut found = devices.filter(|device| fleet(*device).on_boards == on_boards && start.matches(&who.selector, *device));
        found.next().map(fleet)
    };
    let subject = &fault.subject;
    if kind.value == FaultKind::UartGarbage {
        if let Some(fleet) = found(false) {
            let message = format!("{subject} is about serial lines, and fleet `{}` has none", fleet.name);
            let hint = "a simulated device has no serial line: write who = \"fleet:NAME\" of one with engine = \"qemu\"";
            problems.add(kind.at, message, hint);
        }
        return;
    }
    let Some(fleet) = found(true) else { return };
    let moment_at = fault.moment_at.as_ref().map_or(fault.at, |words| words.inner);
    let refused = match (&kind.value, &fault.moment) {
        (FaultKind::FlashFail { .. } | FaultKind::FlashFull, _) => {
            Some((kind.at, "the flash of a board cannot be made to fail from outside"))
        }
        (FaultKind::FlashFlip { .. }, _) => Some((kind.at, "nobody else writes into the flash of a board")),
        (_, Moment::Flash { erase: false, .. }) => Some((moment_at, "only its page erases can be counted: write `flash erase N`")),
        (_, Moment::Progress { phase, .. }) if *phase != Phase::Downloading => {
            Some((moment_at, "its bootloader tells nobody how far it is: write `flash erase N`"))
        }
        (_, Moment::Start | Moment::Time(_) | Moment::Phase { .. } | Moment::Step { .. }) => None,
        (_, Moment::Progress { .. } | Moment::Flash { .. }) => None,
    };
    if let Some((at, why)) = refused {
        let message = format!("{subject} cannot be played on the boards of fleet `{}`", fleet.name);
        let hint = format!("{why}; or leave them out: who = \"…,!fleet:{}\"", fleet.name);
        problems.add(at, message, hint);
    }
}

/// Whether a selection depends on the course of the run.
fn changes(who: &WhoFile) -> bool {
    who.selector.keys().any(Key::changes)
}

/// The first word of a kind.
fn word(kind: &FaultKind) -> String {
    kind.to_string().split(' ').next().unwrap_or_default().to_owned()
}

/// What is planned of a fault in line `line`.
pub(super) fn planned(fault: &FaultFile, line: u32) -> Option<PlannedFault> {
    Some(PlannedFault {
        name: fault.name.clone(),
        line,
        kind: fault.kind.as_ref()?.value.clone(),
        who: fault.who.as_ref()?.selector.clone(),
        at: fault.moment.clone(),
        lasting: fault.lasting.as_ref().map(|lasting| lasting.value.clone()),
        every: fault.every.as_ref().map(|every| every.value),
        times: times(fault),
        chance: fault.chance.as_ref().map_or(Share::WHOLE, |chance| chance.value),
        only: fault.only.iter().map(|only| only.value.clone()).collect(),
    })
}

/// What is planned of a fault of the server in line `line`.
pub(super) fn planned_of_server(fault: &FaultFile, line: u32) -> Option<PlannedServerFault> {
    Some(PlannedServerFault {
        name: fault.name.clone(),
        line,
        kind: fault.server.as_ref()?.value,
        at: fault.moment.clone(),
        lasting: fault.lasting.as_ref().map(|lasting| lasting.value.clone()),
        every: fault.every.as_ref().map(|every| every.value),
        times: times(fault),
    })
}

/// How often; without end where it is repeated and nothing is said.
fn times(fault: &FaultFile) -> Option<u32> {
    match (&fault.times, &fault.every) {
        (Some(times), _) => Some(times.value),
        (None, Some(_)) => None,
        (None, None) => Some(1),
    }
}

/// The profiles that faults of the kind `link` name.
pub(super) fn links_named(file: &ScenarioFile) -> BTreeMap<String, Arc<LinkProfile>> {
    let kinds = file.faults.iter().filter_map(|fault| fault.kind.as_ref());
    kinds
        .filter_map(|kind| {
            let FaultKind::Link { profile } = &kind.value else {
                return None;
            };
            Some((profile.clone(), named_link(profile, &file.links)?))
        })
        .collect()
}

/// A moment as scenarios write it, exactly.
pub(super) fn moment(moment: &Moment) -> String {
    match moment {
        Moment::Time(times) => exact_times(times),
        Moment::Phase { phase, after } => anchored(phase.word(), after),
        Moment::Step { step, after } => anchored(&format!("step:{step}"), after),
        Moment::Progress { phase, done } if done.start() == done.end() => format!("{phase} {}", done.start()),
        Moment::Start | Moment::Progress { .. } | Moment::Flash { .. } => moment.to_string(),
    }
}

fn anchored(anchor: &str, after: &RangeInclusive<Duration>) -> String {
    match after.end().is_zero() {
        true => anchor.to_owned(),
        false => format!("{anchor}+{}", exact_times(after)),
    }
}

/// A kind of the server's as scenarios write it, exactly.
pub(super) fn server_kind(kind: ServerFaultKind) -> String {
    match kind {
        ServerFaultKind::Slow { by } => format!("slow {}", exact_time(by)),
        ServerFaultKind::Crash | ServerFaultKind::Outage | ServerFaultKind::Freeze | ServerFaultKind::DiskFull => kind.to_string(),
    }
}

/// A kind as scenarios write it, exactly.
pub(super) fn kind(kind: &FaultKind) -> String {
    if let FaultKind::Message(MessageFault::Delay { by }) = kind {
        return format!("delay {}", exact_time(*by));
    }
    if let FaultKind::Request(RequestFault::Slow { rate }) = kind {
        return format!("slow {}", exact_data_rate(*rate));
    }
    kind.to_string()
}
