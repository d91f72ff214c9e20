//! What an edge keeps of the faults that were sent to it: those in wait, those that are on, and what it must know of the device's life
//! to tell their moments.

use std::collections::VecDeque;
use std::time::Duration;

use crate::device::DeviceInput;
use crate::model::FirmwareVersion;
use crate::time::SimTime;
use crate::wire::Packet;

use super::super::kind::{FaultKind, HOLDS_FOR, ISSUED_BEFORE};
use super::super::plan::{Injection, Narrowing};
use super::armed::Armed;
use super::cheating::Cheating;
use super::requests::Tampering;

/// Trouble of one device; there is none where nothing was injected.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// By the order of the plan.
    pub(super) armed: Vec<Armed>,
    /// What waits for a processor that is not scheduled.
    pub(super) frozen: Option<Vec<(SimTime, DeviceInput)>>,
    /// Packets held back, by direction.
    pub(super) up: VecDeque<(SimTime, Packet)>,
    pub(super) down: VecDeque<(SimTime, Packet)>,
    /// What is done to the running request.
    pub(super) tampering: Option<Tampering>,
    /// What the device is to be given as soon as the call under way is over.
    pub(super) reactions: VecDeque<DeviceInput>,
    pub(super) life: Life,
    /// Which fault has set the device's trap for its power, and for a flash error, and at which count.
    pub(super) cutting: Option<(usize, u64)>,
    pub(super) failing: Option<(usize, u64)>,
    /// It cheats, and goes on when trouble is over.
    pub(super) cheating: Option<Cheating>,
}

/// What must be known of the device's life.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Packages of the manifest that came last, and whether each is main.
    pub(super) packages: Vec<(FirmwareVersion, bool)>,
    /// The version whose handler was called last.
    pub(super) fetching: Option<FirmwareVersion>,
    /// Flash operations when the main download of this boot began.
    pub(super) download_began: Option<u64>,
    /// An application has started in the call under way.
    pub(super) booted: bool,
    /// Bytes of the image that have come, and how many there are.
    pub(super) received: u64,
    pub(super) total: Option<u64>,
}

impl Trouble {
    /// Takes a fault into wait.
    pub(super) fn arm(&mut self, injection: Injection) {
        let place = self.armed.partition_point(|armed| armed.injection.fault <= injection.fault);
        for (index, _) in [&mut self.cutting, &mut self.failing].into_iter().flatten() {
            *index += usize::from(*index >= place);
        }
        self.armed.insert(place, Armed::new(injection));
    }

    /// When something is due: a moment, the end of a fault, a packet held back.
    pub(super) fn next_due(&self) -> Option<SimTime> {
        let armed = self.armed.iter().filter_map(Armed::next_due);
        let held = [&self.up, &self.down];
        let held = held.into_iter().filter_map(|queue| queue.front().map(|(due, _)| *due));
        let cheating = self.cheating.as_ref().and_then(Cheating::due);
        armed.chain(held).chain(cheating).min()
    }

    /// True while nothing is on, held back or given to the device: all of it waits for moments, and for more than a keep-alive.
    pub(super) fn waits(&self) -> bool {
        let waits = |armed: &Armed| armed.on.is_none() && !armed.pending && armed.share.is_none();
        let held = !self.up.is_empty() || !self.down.is_empty() || !self.reactions.is_empty();
        let on = self.frozen.is_some() || self.tampering.is_some() || self.cheating.is_some();
        !held && !on && self.armed.iter().all(waits)
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// True while a fault takes the link away.
    pub(super) fn takes_link(&self) -> bool {
        self.is_on(|kind| *kind == FaultKind::LinkDown)
    }

    /// True while a fault that `wanted` picks is on.
    pub(super) fn is_on(&self, wanted: impl Fn(&FaultKind) -> bool) -> bool {
        self.armed
            .iter()
            .any(|armed| armed.on.is_some() && wanted(&armed.injection.kind))
    }

    /// Whether a device that runs `running` takes the server's certificate for one that holds no more, or not yet.
    pub(super) fn distrusts(&self, running: &FirmwareVersion, now: SimTime) -> bool {
        let on = || self.armed.iter().filter(|armed| armed.on.is_some());
        let clock = on().find_map(|armed| match armed.injection.kind {
            FaultKind::WrongClock { by, ahead } => Some((by, ahead)),
            _ => None,
        });
        let (behind, wrong) = match clock {
            Some((by, false)) => (by, by > now.since(SimTime::ZERO) + ISSUED_BEFORE),
            Some((by, true)) => (Duration::ZERO, now + by >= SimTime::ZERO + HOLDS_FOR),
            None => (Duration::ZERO, false),
        };
        let carried = |narrowing: &Narrowing| *narrowing == Narrowing::Version(running.clone());
        let expired = |armed: &Armed| {
            let only = &armed.injection.only;
            armed.injection.kind == FaultKind::CertExpiry
                && armed.since + behind <= now
                && (only.is_empty() || only.iter().any(carried))
        };
        wrong || on().any(expired)
    }

    /// The rate that the running request is slowed down to.
    pub(super) fn slow(&self) -> Option<u64> {
        self.tampering.as_ref().and_then(|tampering| tampering.slow)
    }

    /// The connection has ended, and what was held back with it.
    pub(super) fn forget_messages(&mut self) {
        self.up.clear();
        self.down.clear();
    }
}
