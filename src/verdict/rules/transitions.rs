//! Every phase change is one of the contract's.

use std::collections::BTreeSet;

use crate::model::{AttemptId, DeviceIndex, Phase, Transition};
use crate::time::SimTime;

use super::{Rule, Tally, row};

const LEGAL_TRANSITION: Rule = Rule {
    name: "legal-transition",
    statement: "a device changes its phase only as the contract's table says, and leaves only the phase that it is in",
    protocol: &[],
};

/// Watches phases.
#[derive(Debug)]
pub(in crate::verdict) struct Transitions {
    tally: Tally,
    phases: Vec<Option<Phase>>,
    /// Devices that found a record damaged, and have shown no phase since.
    damaged: BTreeSet<DeviceIndex>,
}

impl Default for Transitions {
    fn default() -> Self {
        Transitions {
            tally: Tally::new(&LEGAL_TRANSITION),
            phases: Vec::new(),
            damaged: BTreeSet::new(),
        }
    }
}

impl Transitions {
    pub(in crate::verdict) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A device found a record damaged: to which phase it comes then stands in protocol 7.4, and not in the table.
    pub(in crate::verdict) fn damaged(&mut self, device: DeviceIndex) {
        self.damaged.insert(device);
    }

    pub(in crate::verdict) fn changed(
        &mut self,
        at: SimTime,
        device: DeviceIndex,
        transition: Transition,
        attempt: Option<AttemptId>,
    ) {
        let phase = row(&mut self.phases, device);
        let stood = phase.unwrap_or(Phase::Idle);
        *phase = Some(transition.to);
        let legal = transition.legal_index().is_some() || self.damaged.remove(&device);
        self.tally.check(legal && stood == transition.from, at, device, || {
            let concerned = attempt.map_or(String::new(), |attempt| format!(" in attempt {attempt}"));
            match legal {
                true => format!("{transition}{concerned}, though the device was {stood}"),
                false => format!("{transition}{concerned} is not in the table"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cause;

    fn watch(changes: &[(Phase, Phase)]) -> Transitions {
        let mut watch = Transitions::default();
        for &(from, to) in changes {
            let transition = Transition {
                from,
                to,
                cause: Cause::Normal,
            };
            watch.changed(SimTime::ZERO, DeviceIndex(5), transition, AttemptId::new(7));
        }
        watch
    }

    #[test]
    fn the_ordinary_course_is_legal() {
        use Phase::{Accepted, Committing, Downloading, Idle, Probation, Staged, Succeeded, Swapping};
        let course = [
            Idle,
            Accepted,
            Downloading,
            Staged,
            Committing,
            Swapping,
            Probation,
            Succeeded,
            Accepted,
        ];
        let changes: Vec<_> = course.windows(2).map(|pair| (pair[0], pair[1])).collect();
        assert_eq!((watch(&changes).tally.checks, watch(&changes).tally.broken), (8, 0));
    }

    #[test]
    fn a_pair_outside_the_table_is_found() {
        let watch = watch(&[(Phase::Idle, Phase::Accepted), (Phase::Accepted, Phase::Probation)]);
        assert_eq!(watch.tally.broken, 1);
        let text = watch.tally.first.unwrap().text;
        assert_eq!(text, "accepted>probation (normal) in attempt 7 is not in the table");
    }

    #[test]
    fn a_damaged_record_excuses_the_one_change_that_follows_it() {
        let mut watch = watch(&[(Phase::Idle, Phase::Accepted)]);
        watch.damaged(DeviceIndex(5));
        for (from, to) in [(Phase::Accepted, Phase::Idle), (Phase::Idle, Phase::Downloading)] {
            let cause = Cause::Power;
            watch.changed(
                SimTime::ZERO,
                DeviceIndex(5),
                Transition { from, to, cause },
                AttemptId::new(7),
            );
        }
        assert_eq!((watch.tally.checks, watch.tally.broken), (3, 1));
        assert!(watch.tally.first.unwrap().text.starts_with("idle>downloading"));
    }

    #[test]
    fn a_leap_from_a_phase_that_the_device_is_not_in_is_found() {
        let watch = watch(&[(Phase::Idle, Phase::Accepted), (Phase::Staged, Phase::Committing)]);
        let text = watch.tally.first.unwrap().text;
        assert_eq!(
            text,
            "staged>committing (normal) in attempt 7, though the device was accepted"
        );
    }
}
