//! Moments that are counted: flash operations of an attempt, and progress of a phase, turned into traps in the device's flash where power
//! is to fail or an operation to err, and into plain moments elsewhere.

use crate::device::{DeviceInput, FlashTrap, Springs, clean_erases, clean_ops, download_ops};
use crate::luck::Purpose;
use crate::model::{Phase, Session, Share};
use crate::time::SimTime;

use super::super::kind::FaultKind;
use super::super::link::Draws;
use super::super::plan::{Happening, Trigger};
use super::armed::Armed;
use super::{Edge, EdgeOutputs};

/// Flash operations of a package that is not main, when nothing goes wrong: its version, the attempt, the report.
const OPS_OF_A_PACKAGE: u64 = 3;

/// Bytes that an image is taken to have where it is not known.
const USUAL_IMAGE: u64 = 64 * 1024;

/// How far ahead an operation that fails by chance is looked for.
const LOOK_AHEAD: u64 = 100_000;

impl Armed {
    /// Whether it takes a trap in the device's flash to strike at a counted operation exactly.
    fn cuts(&self) -> bool {
        matches!(self.injection.kind, FaultKind::PowerCut | FaultKind::Reset)
    }

    fn fails(&self) -> bool {
        matches!(self.injection.kind, FaultKind::FlashFail { .. })
    }

    /// Whether its targets are erases.
    fn counts_erases(&self) -> bool {
        matches!(self.injection.trigger, Trigger::Flash { erase: true, .. })
    }

    /// Draws the operations of an attempt at which it strikes: `clean` is how many there are when nothing goes wrong.
    fn draw_targets(&mut self, clean: u64, done: u64, draws: Draws) {
        let Trigger::Flash { number, .. } = &self.injection.trigger else {
            return;
        };
        let (low, high) = match number {
            Some(range) => (u64::from(*range.start()), u64::from(*range.end())),
            None => (1, clean.max(1)),
        };
        let wanted = u64::from(self.left().unwrap_or(1)).min(high - low + 1);
        let mut numbers = Vec::new();
        let mut part = 0;
        while (numbers.len() as u64) < wanted {
            let drawn = self.place(part, draws);
            let mut number = low + ((u128::from(drawn) * u128::from(high - low + 1)) >> 64) as u64;
            // Two at one operation are one; the next free one is taken.
            while numbers.contains(&number) {
                number = if number == high { low } else { number + 1 };
            }
            numbers.push(number);
            part += 1;
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        self.targets = numbers.into_iter().map(|number| done + number - 1).collect();
        self.aimed = true;
        self.why = "the attempt was over";
    }
}

impl Edge {
    /// An attempt was accepted: moments in it are drawn, once.
    pub(super) fn on_accepted(&mut self) {
        let draws = self.draws();
        let device = &self.device;
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        let config = device.config();
        for armed in &mut trouble.armed {
            let Trigger::Flash { erase, .. } = armed.injection.trigger else {
                continue;
            };
            if armed.aimed {
                continue;
            }
            let of_package = |(firmware, main): &(_, bool)| {
                let bytes = device.image_size(firmware).unwrap_or(USUAL_IMAGE);
                match (main, erase) {
                    (true, true) => clean_erases(config, bytes),
                    (true, false) => clean_ops(config, bytes),
                    (false, true) => 0,
                    (false, false) => OPS_OF_A_PACKAGE,
                }
            };
            let clean = trouble.life.packages.iter().map(of_package).sum();
            let done = if erase { device.flash_erases() } else { device.flash_ops() };
            armed.draw_targets(clean, done, draws);
        }
    }

    /// The attempt is over and reported: what was drawn in it and did not strike, does not any more.
    pub(super) fn on_reported(&mut self, out: &mut EdgeOutputs) {
        for armed in &mut self.trouble().armed {
            let flash = matches!(armed.injection.trigger, Trigger::Flash { .. });
            for _ in 0..armed.targets.len() * usize::from(flash) {
                armed.happened += 1;
                if armed.injection.is_counted() {
                    out.fault(armed.injection.fault, Happening::Missed("the attempt was over"));
                }
            }
            if flash {
                armed.targets.clear();
            }
        }
    }

    /// The device changes its phase: how much of it must be done is drawn when it is entered, and forgotten when it is left.
    pub(super) fn aim_at_phase(&mut self, from: Phase, to: Phase) {
        let draws = self.draws();
        let download = |phase| matches!(phase, Phase::Downloading | Phase::Retrying);
        for armed in &mut self.trouble().armed {
            let Trigger::Progress { phase, done } = &armed.injection.trigger else {
                continue;
            };
            let stays = download(*phase) && download(from) && download(to);
            let within = from == *phase || download(*phase) && download(from);
            if within && !stays {
                armed.share = None;
                armed.targets.clear();
                armed.why = match phase {
                    Phase::Downloading => "the download was over",
                    _ => "the swap was over",
                };
            }
            if to == *phase && !armed.is_spent() && armed.share.is_none() && armed.targets.is_empty() {
                let width = done.end().0 - done.start().0 + 1;
                let ordinal = armed.ordinal(armed.happened);
                let drawn = draws.luck.below(Purpose::FaultMoment, draws.device, ordinal, width);
                armed.share = Some(Share(done.start().0 + drawn));
            }
        }
    }

    /// A swap that is under way has operations to be counted.
    pub(super) fn aim_at_swap(&mut self) {
        let phase = self.device.phase();
        if !matches!(phase, Phase::Swapping | Phase::Reverting) {
            return;
        }
        let device = &self.device;
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        for armed in &mut trouble.armed {
            let of_swap = matches!(&armed.injection.trigger, Trigger::Progress { phase: wanted, .. } if *wanted == phase);
            let Some(share) = armed.share.filter(|_| of_swap) else {
                continue;
            };
            let Some((ops, at)) = device.swap_reaches(share) else {
                continue;
            };
            armed.share = None;
            if armed.cuts() {
                armed.targets = vec![device.flash_ops() + u64::from(ops)];
            } else {
                armed.due = Some(at);
            }
        }
    }

    /// The head of an image answer has come: the size of the download is known.
    pub(super) fn aim_at_download(&mut self, now: SimTime) {
        let device = &self.device;
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        let (Some(total), Phase::Downloading) = (trouble.life.total, device.phase()) else {
            return;
        };
        let received = trouble.life.received;
        let done = device.flash_ops();
        let began = *trouble
            .life
            .download_began
            .get_or_insert_with(|| done.saturating_sub(download_ops(device.config(), total, received)));
        for armed in &mut trouble.armed {
            let in_download = matches!(&armed.injection.trigger, Trigger::Progress { phase, .. } if *phase == Phase::Downloading);
            let Some(share) = armed.share.filter(|_| in_download) else {
                continue;
            };
            let bytes = share.of(total);
            // The bytes that a board has cannot be counted more finely than by those that came.
            if armed.cuts() && !device.config().on_board {
                armed.share = None;
                armed.targets = vec![began + download_ops(device.config(), total, bytes)];
            } else if received >= bytes {
                armed.share = None;
                armed.due = Some(now);
            }
        }
    }

    /// Counted operations are over for faults that need no trap: they strike at the next stop of the flash.
    pub(super) fn strike_at_targets(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        let (ops, erases) = (self.device.flash_ops(), self.device.flash_erases());
        for index in 0..self.trouble().armed.len() {
            let armed = &mut self.trouble().armed[index];
            if armed.cuts() || armed.fails() {
                continue;
            }
            let done = if armed.counts_erases() { erases } else { ops };
            if armed.targets.pop_if(|target| *target < done).is_some() {
                self.strike(index, now, out);
            }
        }
    }

    /// Lets the device's flash know of the next operation at which power fails, and of the next that errs.
    pub(super) fn set_traps(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        if self.device.session() == Session::Off {
            return;
        }
        let cut = self.next_target(Armed::cuts);
        // One that was drawn in an attempt which is over does not err any more.
        let trouble = self.trouble();
        let known = trouble.failing.filter(|(index, target)| {
            let armed = &trouble.armed[*index];
            !matches!(armed.injection.trigger, Trigger::Flash { .. }) || armed.targets.contains(target)
        });
        let error = self.next_target(Armed::fails).or(known).or_else(|| self.next_by_chance());
        let trouble = self.trouble();
        let cut_before = std::mem::replace(&mut trouble.cutting, cut);
        let error_before = std::mem::replace(&mut trouble.failing, error);
        if cut != cut_before {
            // Progress is reached without another operation; one that has a number is struck itself.
            let numbered =
                |(index, _): (usize, u64)| matches!(self.trouble().armed[index].injection.trigger, Trigger::Flash { .. });
            let waits = cut.is_some_and(numbered);
            self.set_trap(cut, Springs::PowerFails { waits }, now, out);
        }
        if error != error_before {
            let kind = error.map(|(index, _)| self.trouble().armed[index].injection.kind.clone());
            let permanent = matches!(kind, Some(FaultKind::FlashFail { permanent: true }));
            self.set_trap(error, Springs::Fails { permanent }, now, out);
        }
    }

    /// Another operation errs next, or none does.
    pub(super) fn forget_error(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        if self.trouble().failing.take().is_some() {
            self.set_trap(None, Springs::Fails { permanent: false }, now, out);
        }
    }

    fn set_trap(&mut self, target: Option<(usize, u64)>, springs: Springs, now: SimTime, out: &mut EdgeOutputs) {
        let erases = target.is_some_and(|(index, _)| self.trouble().armed[index].counts_erases());
        let done = if erases {
            self.device.flash_erases()
        } else {
            self.device.flash_ops()
        };
        let after = target.map_or(u32::MAX, |(_, count)| {
            u32::try_from(count.saturating_sub(done)).unwrap_or(u32::MAX)
        });
        let trap = FlashTrap { erases, after, springs };
        self.hand_over(DeviceInput::FlashTrap(trap), now, out);
    }

    /// The nearest target of faults of a sort; those that count all operations go first.
    fn next_target(&mut self, sort: impl Fn(&Armed) -> bool) -> Option<(usize, u64)> {
        let armed = self.trouble().armed.iter().enumerate().filter(|(_, armed)| sort(armed));
        let targets = armed.filter_map(|(index, armed)| Some((armed.counts_erases(), *armed.targets.last()?, index)));
        targets.min().map(|(_, target, index)| (index, target))
    }

    /// The next operation that errs by chance.
    fn next_by_chance(&mut self) -> Option<(usize, u64)> {
        let draws = self.draws();
        let done = self.device.flash_ops();
        let on = self
            .trouble()
            .armed
            .iter()
            .enumerate()
            .filter(|(_, armed)| armed.fails() && armed.on.is_some());
        let targets = on.filter_map(|(index, armed)| {
            let from = done.max(armed.beyond);
            let target = (from..from + LOOK_AHEAD).find(|number| armed.strikes(*number, draws))?;
            Some((target, index))
        });
        targets.min().map(|(target, index)| (index, target))
    }

    /// A flash operation has returned an error.
    pub(super) fn on_flash_failed(&mut self, out: &mut EdgeOutputs) {
        let trouble = self.trouble();
        // A full store errs without a trap.
        let full = |armed: &&Armed| armed.on.is_some() && armed.injection.kind == FaultKind::FlashFull;
        if let Some(armed) = trouble.armed.iter().find(full) {
            return out.fault(armed.injection.fault, Happening::Done);
        }
        let Some((index, target)) = trouble.failing.take() else {
            return;
        };
        let armed = &mut trouble.armed[index];
        armed.beyond = target + 1;
        if armed.targets.pop().is_some() {
            armed.happened += 1;
        }
        out.fault(armed.injection.fault, Happening::Done);
    }
}
