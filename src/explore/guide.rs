//! Which faults the next seeds are played without: near those of a seed that reached something new.
//!
//! A seed has no neighbors, for all its draws are hashes; what can be varied a little is the scenario. Every other seed is played as it
//! is, so that a search with a guide sees at least half of what one without does. Seeds are dealt in generations, whose size does not
//! depend on threads, so that a guided search is the same for any number of them.

use std::collections::BTreeMap;

use crate::luck::{Luck, Purpose, text_key};

use super::reached::Reached;

/// Seeds that are dealt at once, before any of them is learnt from.
pub const GENERATION: u64 = 16;

/// What was reached so far, and by which faults.
#[derive(Debug)]
pub struct Guide {
    /// By name; a bit each, 64 at most.
    faults: Vec<String>,
    seen: Reached,
    /// Sets of faults left out by which something new was reached, none at first.
    fertile: Vec<u64>,
    dealt: BTreeMap<u64, u64>,
}

impl Guide {
    /// A guide over the faults of a scenario.
    pub fn new(faults: &[&str]) -> Guide {
        Guide {
            faults: faults.iter().take(64).map(|name| (*name).to_owned()).collect(),
            seen: Reached::default(),
            fertile: vec![0],
            dealt: BTreeMap::new(),
        }
    }

    /// Deals the seeds of the next generation.
    pub fn deal(&mut self, first: u64, count: u64) {
        self.dealt = (0..count)
            .map(|more| first.wrapping_add(more))
            .map(|seed| (seed, self.left_out(seed)))
            .collect();
    }

    /// Names of the faults that a seed is dealt without.
    pub fn without(&self, seed: u64) -> Vec<&str> {
        let left_out = self.dealt.get(&seed).copied().unwrap_or(0);
        let numbered = self.faults.iter().enumerate();
        let left_out = numbered.filter(|(number, _)| left_out >> number & 1 == 1);
        left_out.map(|(_, name)| name.as_str()).collect()
    }

    /// Learns what a seed reached.
    pub fn learn(&mut self, seed: u64, reached: &Reached) {
        let left_out = self.dealt.get(&seed).copied().unwrap_or(0);
        if self.seen.merge(reached) {
            self.fertile.push(left_out);
        }
    }

    /// One fault more, or one less, than were left out where something new was reached: last, or at any time.
    fn left_out(&self, seed: u64) -> u64 {
        if seed.is_multiple_of(2) || self.faults.is_empty() {
            return 0;
        }
        let draw = |ordinal, bound| Luck::new(seed).below(Purpose::FaultPick, text_key("guide"), ordinal, bound);
        let last = self.fertile.len() - 1;
        let parent = match draw(0, 2) {
            0 => last,
            _ => draw(1, self.fertile.len() as u64) as usize,
        };
        self.fertile[parent] ^ 1 << draw(2, self.faults.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scenario::{Overrides, Source, load};

    #[test]
    fn every_other_seed_is_as_it_is_and_the_others_lie_near_what_reached_something_new() {
        let mut guide = Guide::new(&["cut", "down", "late"]);
        guide.deal(10, GENERATION);
        assert!((10..26).step_by(2).all(|seed| guide.without(seed).is_empty()));
        assert!((11..26).step_by(2).all(|seed| guide.without(seed).len() == 1));
        let plan = load(Source::Example("quickstart".to_owned()), &Overrides::default()).unwrap();
        let reached = Reached::of(&crate::sim::play(Arc::new(plan)).recorder);
        let without = guide.without(11).concat();
        guide.learn(11, &reached);
        guide.learn(13, &reached);
        assert_eq!(guide.fertile.len(), 2, "only the first was new");
        guide.deal(26, GENERATION);
        let near = (27..42).step_by(2).map(|seed| guide.without(seed));
        let near: Vec<_> = near.filter(|faults| faults.len() == 2).collect();
        assert!(
            !near.is_empty() && near.iter().all(|faults| faults.contains(&without.as_str())),
            "{near:?}"
        );
    }
}
