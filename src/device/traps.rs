//! What is to go wrong with flash: operations counted down to a power cut or an error, and records that the next boot does not find.

use super::io::{FlashTrap, Springs};
use super::stretch::Op;
use crate::model::RecordKey;

/// Traps of one device; few devices have any.
#[derive(Debug, Default)]
pub(super) struct Traps {
    /// Counted down with every operation.
    pub(super) counted: Counted,
    /// Records that the next boot does not find.
    doomed: Vec<RecordKey>,
}

/// What is due after so many operations. A copy runs ahead of the flash, to see when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    /// With whether the operation is waited for.
    cut: Option<(Countdown, bool)>,
    /// With whether the error is one that is not retried.
    failure: Option<(Countdown, bool)>,
    /// No record finds room.
    pub(super) full: bool,
}

/// Operations, or erases, that still complete.
#[derive(Clone, Copy, Debug)]
struct Countdown {
    erases: bool,
    left: u32,
}

impl Countdown {
    /// True if the operation at hand is the one to be struck.
    fn strikes(&self, erase: bool) -> bool {
        self.left == 0 && (erase || !self.erases)
    }

    fn count(&mut self, erase: bool) {
        if erase || !self.erases {
            self.left = self.left.saturating_sub(1);
        }
    }
}

impl Traps {
    /// Sets a trap; one of the same sort is replaced.
    pub(super) fn set(&mut self, trap: FlashTrap) {
        let countdown = Countdown {
            erases: trap.erases,
            left: trap.after,
        };
        match trap.springs {
            Springs::PowerFails { waits } => self.counted.cut = Some((countdown, waits)),
            Springs::Fails { permanent } => self.counted.failure = Some((countdown, permanent)),
        }
    }

    /// Power has failed: no cut is due any more.
    pub(super) fn forget_cut(&mut self) {
        self.counted.cut = None;
    }

    /// The next boot does not find this record.
    pub(super) fn doom(&mut self, record: RecordKey) {
        self.doomed.push(record);
    }

    /// A record that is rewritten, or deleted in good order, is not lost.
    pub(super) fn spare(&mut self, record: &RecordKey) {
        self.doomed.retain(|doomed| doomed != record);
    }

    /// The records that were not to be found: a boot has come.
    pub(super) fn take_doomed(&mut self) -> Vec<RecordKey> {
        std::mem::take(&mut self.doomed)
    }
}

impl Counted {
    /// True if anything is counted down to.
    pub(super) fn is_any(&self) -> bool {
        self.cut.is_some() || self.failure.is_some() || self.full
    }

    /// True if power fails at the operation at hand.
    pub(super) fn cuts(&self, erase: bool) -> bool {
        self.cut.is_some_and(|(cut, _)| cut.strikes(erase))
    }

    /// True if power fails now that an operation is done, whether or not another follows.
    pub(super) fn cuts_behind(&self) -> bool {
        self.cut.is_some_and(|(cut, waits)| !waits && cut.strikes(false))
    }

    /// Whether the operation at hand fails, and if so whether for good: one that needs room where there is none always, others once.
    pub(super) fn fails_at(&mut self, op: &Op<'_>) -> Option<bool> {
        if self.full && matches!(op, Op::Store(..)) {
            return Some(true);
        }
        let failure = self.failure.take_if(|(countdown, _)| countdown.strikes(op.is_erase()));
        failure.map(|(_, permanent)| permanent)
    }

    /// An operation is done.
    pub(super) fn count(&mut self, erase: bool) {
        if let Some((cut, _)) = &mut self.cut {
            cut.count(erase);
        }
        if let Some((failure, _)) = &mut self.failure {
            failure.count(erase);
        }
    }
}
