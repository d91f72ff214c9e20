//! What runs reached of what can be reached: transitions with their causes, and the phases that each kind of fault struck in.

use std::collections::BTreeMap;

use crate::measure::{Matrix, Recorder};
use crate::model::Phase;

/// Happenings of a kind of fault, by the [`Phase`] of the device.
pub type Struck = [u64; Phase::ALL.len()];

/// What one run reached, or many together.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    /// Transitions.
    pub matrix: Matrix,
    /// What faults struck, by their kind as scenarios write it; kinds that never struck stand there too.
    pub faults: BTreeMap<String, Struck>,
}

impl Reached {
    /// What a run reached.
    pub fn of(recorder: &Recorder) -> Reached {
        let mut reached = Reached {
            matrix: recorder.matrix().clone(),
            faults: BTreeMap::new(),
        };
        for fault in recorder.faults().iter().filter(|fault| fault.devices > 0) {
            add(reached.faults.entry(fault.kind.to_string()).or_default(), &fault.phases);
        }
        reached
    }

    /// Adds what another run reached; true if there was something new in it.
    pub fn merge(&mut self, other: &Reached) -> bool {
        let mut new = other.matrix.rows().any(|(transition, _)| self.matrix.seen(transition) == 0);
        self.matrix.merge(&other.matrix);
        for (kind, struck) in &other.faults {
            let own = self.faults.entry(kind.clone()).or_default();
            new |= own.iter().zip(struck).any(|(own, more)| *own == 0 && *more > 0);
            add(own, struck);
        }
        new
    }

    /// How often faults of any kind struck.
    pub fn strikes(&self) -> u64 {
        self.faults.values().flatten().sum()
    }

    /// Phases that were entered, in the order of [`Phase`].
    pub fn phases(&self) -> Vec<Phase> {
        let entered = |phase: &Phase| self.matrix.rows().any(|(transition, _)| transition.to == *phase);
        Phase::ALL.iter().copied().filter(entered).collect()
    }

    /// For each kind of fault the phases that were entered and in which it never struck, where there are any.
    pub fn holes(&self) -> Vec<(&str, Vec<Phase>)> {
        let phases = self.phases();
        let of = |struck: &Struck| phases.iter().copied().filter(|phase| struck[*phase as usize] == 0).collect();
        let all = self.faults.iter().map(|(kind, struck)| (kind.as_str(), of(struck)));
        all.filter(|(_, holes): &(&str, Vec<Phase>)| !holes.is_empty()).collect()
    }
}

fn add(sum: &mut Struck, more: &Struck) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scenario::{Overrides, Source, load};

    fn reached(at: &str) -> Reached {
        let text = format!(
            "scenario = {{ duration = \"30s\" }}\nfirmware.app = [\"1.0.0\", \"1.1.0\"]\nfleet.demo = {{ count = 2, runs = \"app@1.0.0\" }}\n\
             step = [{{ at = \"2s\", deploy = \"app@1.1.0\", to = \"all\" }}]\n\
             fault = [{{ inject = \"power-cut\", who = \"all\", at = \"{at}\" }}]"
        );
        let plan = load(Source::Stdin(text), &Overrides::default()).unwrap();
        Reached::of(&crate::sim::play(Arc::new(plan)).recorder)
    }

    #[test]
    fn a_run_that_reaches_something_new_says_so_once() {
        let mut sum = Reached::default();
        assert!(sum.merge(&reached("downloading 50 %")));
        assert!(!sum.merge(&reached("downloading 50 %")));
        assert!(sum.merge(&reached("probation+100ms")));
        assert_eq!(sum.strikes(), 6);
        let [(kind, holes)] = &sum.holes()[..] else {
            panic!("one kind has holes")
        };
        assert_eq!(*kind, "power-cut");
        assert!(
            holes.contains(&Phase::Swapping) && !holes.contains(&Phase::Probation),
            "{holes:?}"
        );
        assert!(
            !holes.contains(&Phase::Installing),
            "no device was ever installing: {holes:?}"
        );
    }
}
