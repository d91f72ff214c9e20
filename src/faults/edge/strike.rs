//! Faults strike and end: what each kind does to the device, and when it has come about.

use crate::device::{BoardOrder, DeviceInput, DeviceOutput};
use crate::model::{Observation, Phase, RecordKey, Session};
use crate::time::SimTime;

use super::super::kind::{FaultKind, LostRecord};
use super::super::link::Way;
use super::super::plan::{Happening, Trigger};
use super::trouble::Trouble;
use super::{Edge, EdgeOutputs};

impl Edge {
    /// What a happening does to the trouble of this edge; a device that nothing was sent to has none.
    pub(super) fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    /// Strikes what is due, ends what is over, lets go what was held back.
    pub(super) fn do_due(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        for index in 0..self.trouble().armed.len() {
            let armed = &self.trouble().armed[index];
            if armed.on.flatten().is_some_and(|until| until <= now) {
                self.end(index, now, out);
            }
            if self.trouble().armed[index].due.is_some_and(|due| due <= now) {
                self.strike(index, now, out);
            }
            self.reset_by_data(index, now);
        }
        self.let_go(Way::Up, now, out);
        self.let_go(Way::Down, now, out);
        self.flood(now, out);
    }

    /// After each call: what has become possible or due by it.
    pub(super) fn react(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        if std::mem::take(&mut self.trouble().life.booted) {
            self.on_started(out);
        }
        loop {
            while let Some(input) = self.trouble().reactions.pop_front() {
                self.hand_over(input, now, out);
            }
            self.aim_at_swap();
            self.strike_at_targets(now, out);
            let due = self
                .trouble()
                .armed
                .iter()
                .any(|armed| armed.due.is_some_and(|due| due <= now));
            if due {
                self.do_due(now, out);
            }
            if self.trouble().reactions.is_empty() && !due {
                break;
            }
        }
        self.set_traps(now, out);
    }

    /// The moment has come.
    pub(super) fn strike(&mut self, index: usize, now: SimTime, out: &mut EdgeOutputs) {
        let phase = self.device.phase();
        let off = self.device.session() == Session::Off;
        let draws = self.draws();
        let armed = &mut self.trouble().armed[index];
        armed.happens(now);
        let (fault, kind) = (armed.injection.fault, armed.injection.kind.clone());
        let until = armed.lasts_until(now, draws);
        let mut missed = |why| out.fault(fault, Happening::Missed(why));
        if let Err(why) = kind.possible_in(phase) {
            return missed(why);
        }
        match kind {
            FaultKind::PowerCut | FaultKind::Reset | FaultKind::Freeze | FaultKind::UartGarbage if off => missed("power was off"),
            FaultKind::PowerCut | FaultKind::Reset => {
                self.cut(index, until, out);
                self.trouble()
                    .reactions
                    .push_back(DeviceInput::PowerCut { after_flash_ops: 0 });
            }
            FaultKind::Freeze => {
                self.begin(index, until, out);
                out.fault(fault, Happening::Done);
                self.trouble().frozen.get_or_insert_default();
            }
            FaultKind::AppAbort => {
                self.trouble().reactions.push_back(DeviceInput::AppAbort);
                out.fault(fault, Happening::Done);
            }
            FaultKind::AppPause => {
                self.begin(index, until, out);
                self.trouble().reactions.push_back(DeviceInput::AppPause);
                out.fault(fault, Happening::Done);
            }
            FaultKind::UartGarbage if !self.device.config().on_board => missed("it is simulated, and has no serial line"),
            FaultKind::UartGarbage => {
                let draw = self.trouble().armed[index].place(0, draws);
                out.device(DeviceOutput::Board(BoardOrder::Disturb(draw)));
                out.fault(fault, Happening::Done);
            }
            FaultKind::FlashFlip { .. } => {
                self.trouble().armed[index].pending = true;
                if phase == Phase::Committing {
                    self.flip(index, out);
                }
            }
            FaultKind::LoseRecord(record) => {
                let record = self.record(record);
                self.trouble().armed[index].pending = true;
                self.trouble().reactions.push_back(DeviceInput::LoseRecord(record));
            }
            FaultKind::LinkDown => {
                self.begin(index, until, out);
                out.fault(fault, Happening::Done);
                self.check_link(now, out);
            }
            FaultKind::Link { .. } => {
                let profile = self.trouble().armed[index].injection.link.clone();
                self.begin(index, until, out);
                out.fault(fault, Happening::Done);
                self.path.replace(profile);
                self.check_link(now, out);
            }
            FaultKind::Request(request) => {
                self.begin(index, until, out);
                if request.strikes_bodies() {
                    self.strike_running(index, request, now, out);
                }
            }
            FaultKind::FlashFail { .. } => {
                self.begin(index, until, out);
                self.forget_error(now, out);
            }
            FaultKind::CertExpiry | FaultKind::WrongClock { .. } => {
                self.begin(index, until, out);
                out.fault(fault, Happening::Done);
            }
            FaultKind::FlashFull => {
                self.begin(index, until, out);
                self.trouble().reactions.push_back(DeviceInput::FlashFull(true));
            }
            FaultKind::BadData { .. } => {
                self.begin(index, until, out);
                self.offer_data(index, false, now, out);
            }
            FaultKind::Message(_) | FaultKind::WrongImage { .. } => self.begin(index, until, out),
        }
    }

    /// The fault is on, until then or to the end of trouble.
    fn begin(&mut self, index: usize, until: Option<SimTime>, out: &mut EdgeOutputs) {
        let armed = &mut self.trouble().armed[index];
        let fault = armed.injection.fault;
        // One that is on already lasts longer.
        let until = match armed.on {
            Some(before) => before.zip(until).map(|(before, until)| before.max(until)),
            None => {
                out.fault(fault, Happening::Began);
                until
            }
        };
        armed.on = Some(until);
    }

    /// Power is away, or a reset is held, from here on; the device is told by the caller, or has told.
    fn cut(&mut self, index: usize, until: Option<SimTime>, out: &mut EdgeOutputs) {
        self.begin(index, until, out);
        let trouble = self.trouble();
        let fault = trouble.armed[index].injection.fault;
        out.fault(fault, Happening::Done);
        trouble.frozen = None;
    }

    /// The fault is over.
    fn end(&mut self, index: usize, now: SimTime, out: &mut EdgeOutputs) {
        let armed = &mut self.trouble().armed[index];
        armed.on = None;
        out.fault(armed.injection.fault, Happening::Ended);
        match armed.injection.kind.clone() {
            kind @ (FaultKind::PowerCut | FaultKind::Reset) => {
                if !self
                    .trouble()
                    .is_on(|kind| matches!(kind, FaultKind::PowerCut | FaultKind::Reset))
                {
                    self.trouble().reactions.push_back(match kind {
                        FaultKind::Reset => DeviceInput::ResetReleased,
                        _ => DeviceInput::PowerOn,
                    });
                }
            }
            FaultKind::Freeze => {
                if !self.trouble().is_on(|kind| *kind == FaultKind::Freeze) {
                    self.thaw(now, out);
                }
            }
            FaultKind::AppPause => {
                if !self.trouble().is_on(|kind| *kind == FaultKind::AppPause) {
                    self.trouble().reactions.push_back(DeviceInput::AppResume);
                }
            }
            FaultKind::LinkDown => self.check_link(now, out),
            FaultKind::Link { .. } => {
                let other = self
                    .trouble()
                    .armed
                    .iter()
                    .find(|armed| armed.on.is_some() && armed.injection.link.is_some());
                let other = other.and_then(|armed| armed.injection.link.clone());
                self.path.replace(other);
                self.check_link(now, out);
            }
            FaultKind::FlashFail { .. } => self.forget_error(now, out),
            FaultKind::FlashFull => {
                if !self.trouble().is_on(|kind| *kind == FaultKind::FlashFull) {
                    self.trouble().reactions.push_back(DeviceInput::FlashFull(false));
                }
            }
            FaultKind::BadData { .. } => self.offer_data(index, true, now, out),
            FaultKind::CertExpiry
            | FaultKind::WrongClock { .. }
            | FaultKind::WrongImage { .. }
            | FaultKind::AppAbort
            | FaultKind::FlashFlip { .. }
            | FaultKind::LoseRecord(_)
            | FaultKind::UartGarbage
            | FaultKind::Message(_)
            | FaultKind::Request(_) => {}
        }
    }

    /// The processor is scheduled again: what came and what became due meanwhile is dealt with in its order.
    fn thaw(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        for (at, input) in self.trouble().frozen.take().unwrap_or_default() {
            if self.device.next_timeout().is_some_and(|(due, _)| due <= at) {
                self.call(now, out, |device, _, out| device.catch_up(at, now, &mut out.inner));
            }
            self.hand_over(input, now, out);
        }
        self.call(now, out, |device, now, out| device.catch_up(now, now, &mut out.inner));
    }

    /// Bits of the staged image turn over, and the swap has not begun.
    fn flip(&mut self, index: usize, out: &mut EdgeOutputs) {
        let draws = self.draws();
        let armed = &mut self.trouble().armed[index];
        armed.pending = false;
        let draw = armed.place(0, draws);
        let (fault, kind) = (armed.injection.fault, armed.injection.kind.clone());
        if let FaultKind::FlashFlip { bits } = kind {
            self.trouble().reactions.push_back(DeviceInput::FlipBits { bits, draw });
            out.fault(fault, Happening::Done);
        }
    }

    fn record(&self, record: LostRecord) -> RecordKey {
        match record {
            LostRecord::Attempt => RecordKey::Attempt,
            LostRecord::Probation => RecordKey::Probation,
            LostRecord::Version => RecordKey::Version(self.device.config().main.clone()),
        }
    }

    /// The device lost power: by this edge's doing, or by a countdown of it.
    pub(super) fn on_power_lost(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        let draws = self.draws();
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        trouble.life.download_began = None;
        let cut = trouble.is_on(|kind| matches!(kind, FaultKind::PowerCut | FaultKind::Reset));
        // A fault that cut power itself has been told of.
        if let Some((index, _)) = trouble.cutting.take().filter(|_| !cut) {
            let armed = &mut trouble.armed[index];
            armed.targets.pop();
            armed.happens(now);
            let until = armed.lasts_until(now, draws);
            self.cut(index, until, out);
        }
    }

    /// Sees what the device shows.
    pub(super) fn watch(&mut self, observation: &Observation, now: SimTime, out: &mut EdgeOutputs) {
        match observation {
            Observation::Transition { transition, .. } => self.on_phase(transition.from, transition.to, now, out),
            Observation::ManifestReceived { .. } => self.on_accepted(),
            Observation::ResultPublished { complete: true, .. } => self.on_reported(out),
            Observation::HandlerCalled { firmware, .. } => self.trouble().life.fetching = Some(firmware.clone()),
            Observation::Booted { .. } => {
                self.trouble().life.booted = true;
                self.read_data(now);
            }
            Observation::Session(Session::Online) => self.fetch_data(now, out),
            Observation::RecordWritten { record, .. } => {
                self.on_record(record, Happening::Missed("the record was written anew"), out)
            }
            Observation::RecordDeleted { record } => self.on_record(record, Happening::Missed("the record was deleted"), out),
            Observation::RecordLost { record } => self.on_record(record, Happening::Done, out),
            Observation::FlashFailed { .. } => self.on_flash_failed(out),
            Observation::Session(_)
            | Observation::ConnectTried { .. }
            | Observation::AttemptEnded { .. }
            | Observation::ResultPublished { complete: false, .. }
            | Observation::HandlerReturned { .. }
            | Observation::Downloaded { .. }
            | Observation::Confirmed
            | Observation::Unbootable
            | Observation::RolledBack
            | Observation::Installed { .. }
            | Observation::UpgradeRequested
            | Observation::Requested { .. }
            | Observation::Answered { .. }
            | Observation::RetryScheduled { .. }
            | Observation::DownloadLost { .. }
            | Observation::FlashMisused { .. } => {}
        }
    }

    /// Something came of a record that was to be lost.
    fn on_record(&mut self, record: &RecordKey, came: Happening, out: &mut EdgeOutputs) {
        for index in 0..self.trouble().armed.len() {
            let armed = &self.trouble().armed[index];
            let FaultKind::LoseRecord(lost) = armed.injection.kind else {
                continue;
            };
            if armed.pending && self.record(lost) == *record {
                let armed = &mut self.trouble().armed[index];
                armed.pending = false;
                out.fault(armed.injection.fault, came);
            }
        }
    }

    /// An application has started: a record that was to be lost by then was not there.
    fn on_started(&mut self, out: &mut EdgeOutputs) {
        for armed in &mut self.trouble().armed {
            if matches!(armed.injection.kind, FaultKind::LoseRecord(_)) && std::mem::take(&mut armed.pending) {
                out.fault(armed.injection.fault, Happening::Missed("there was no such record"));
            }
        }
    }

    fn on_phase(&mut self, from: Phase, to: Phase, now: SimTime, out: &mut EdgeOutputs) {
        self.aim_at_phase(from, to);
        self.cheat_on_phase(to, out);
        let draws = self.draws();
        for index in 0..self.trouble().armed.len() {
            let armed = &mut self.trouble().armed[index];
            if let Trigger::Phase { phase, after } = &armed.injection.trigger
                && *phase == to
                && armed.due.is_none()
                && !armed.is_spent()
            {
                armed.due = Some(now + armed.waits(after, draws));
                armed.why = "the run was over";
            }
            let flips = matches!(armed.injection.kind, FaultKind::FlashFlip { .. });
            if flips && armed.pending && to == Phase::Committing {
                self.flip(index, out);
            }
        }
    }

    /// Everything ends, and what is planned is missed.
    pub(super) fn end_faults(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        if self.trouble.is_none() {
            return;
        }
        for armed in &mut self.trouble().armed {
            armed.due = None;
        }
        for index in 0..self.trouble().armed.len() {
            let armed = &self.trouble().armed[index];
            let (fault, counted) = (armed.injection.fault, armed.injection.is_counted());
            let left = if counted { armed.left().unwrap_or(0) } else { 0 } + u32::from(armed.pending);
            let why = if armed.pending { "it did not come about" } else { armed.why };
            (0..left).for_each(|_| out.fault(fault, Happening::Missed(why)));
            if armed.on.is_some() {
                self.end(index, now, out);
            }
        }
        self.trouble().armed.clear();
        self.trouble().cutting = None;
        self.trouble().failing = None;
        self.trouble().reactions.push_back(DeviceInput::ForgetTraps);
        for way in [Way::Up, Way::Down] {
            self.let_go(way, SimTime::from_nanos(u64::MAX), out);
        }
    }
}
