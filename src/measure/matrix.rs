//! The transition matrix: how often each pair was seen with each cause, and which of the legal ones were.

use serde::{Deserialize, Serialize};

use crate::model::{Cause, LEGAL, Phase, Transition};

const PHASES: usize = Phase::ALL.len();
const CAUSES: usize = Cause::ALL.len();

/// Counts of transitions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Matrix {
    counts: Vec<u64>,
    /// Transitions outside the contract's table that damaged storage explains.
    excused: u64,
}

impl Default for Matrix {
    fn default() -> Self {
        Matrix {
            counts: vec![0; PHASES * PHASES * CAUSES],
            excused: 0,
        }
    }
}

impl Matrix {
    pub(super) fn count(&mut self, transition: Transition) {
        self.counts[cell(transition)] += 1;
    }

    /// The transition counted last follows from a damaged record: it need not stand in the contract's table.
    pub(super) fn excuse(&mut self) {
        self.excused += 1;
    }

    /// Adds the counts of another run.
    pub fn merge(&mut self, other: &Matrix) {
        self.excused += other.excused;
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// How often a transition was seen.
    pub fn seen(&self, transition: Transition) -> u64 {
        self.counts[cell(transition)]
    }

    /// Transitions that were seen, in the order of phases and causes, with their counts.
    pub fn rows(&self) -> impl Iterator<Item = (Transition, u64)> {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(cell, &count)| {
                let transition = Transition {
                    from: Phase::ALL[cell / (PHASES * CAUSES)],
                    to: Phase::ALL[cell / CAUSES % PHASES],
                    cause: Cause::ALL[cell % CAUSES],
                };
                (transition, count)
            })
    }

    /// Legal pairs that were never seen with a legal cause, in the order of [`LEGAL`]; idle stands for the four ends too.
    pub fn unseen(&self) -> Vec<(Phase, Phase)> {
        let mut seen = [false; LEGAL.len()];
        for (transition, _) in self.rows() {
            if let Some(index) = transition.legal_index() {
                seen[index] = true;
            }
        }
        let pairs = LEGAL.iter().zip(seen).filter(|(_, seen)| !seen);
        pairs.map(|(&(from, to, _), _)| (from, to)).collect()
    }

    /// Legal pairs that were seen, and how many there are.
    pub fn coverage(&self) -> (u64, u64) {
        let legal = LEGAL.len() as u64;
        (legal - self.unseen().len() as u64, legal)
    }

    /// Legal pairs with each of their causes that were never seen, in the order of [`LEGAL`]; idle stands for the four ends too.
    pub fn unseen_causes(&self) -> Vec<(Phase, Phase, Cause)> {
        let seen = |index: usize, cause: Cause| {
            self.rows()
                .any(|(transition, _)| transition.cause == cause && transition.legal_index() == Some(index))
        };
        let legal = LEGAL.iter().enumerate();
        let all = legal.flat_map(|(index, &(from, to, causes))| causes.iter().map(move |&cause| (index, from, to, cause)));
        all.filter(|&(index, _, _, cause)| !seen(index, cause))
            .map(|(_, from, to, cause)| (from, to, cause))
            .collect()
    }

    /// How many transitions were none of the contract's, those after a damaged record left out (protocol 7.4).
    pub fn illegal(&self) -> u64 {
        let broken = self.rows().filter(|(transition, _)| transition.legal_index().is_none());
        broken.map(|(_, count)| count).sum::<u64>().saturating_sub(self.excused)
    }
}

const fn cell(transition: Transition) -> usize {
    (transition.from as usize * PHASES + transition.to as usize) * CAUSES + transition.cause as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(from: Phase, to: Phase, cause: Cause) -> Transition {
        Transition { from, to, cause }
    }

    #[test]
    fn every_legal_transition_has_a_cell_of_its_own() {
        let mut matrix = Matrix::default();
        for &(from, to, causes) in LEGAL {
            causes.iter().for_each(|&cause| matrix.count(transition(from, to, cause)));
        }
        assert!(matrix.rows().all(|(_, count)| count == 1));
        assert_eq!(
            matrix.rows().count(),
            LEGAL.iter().map(|(_, _, causes)| causes.len()).sum::<usize>()
        );
        assert_eq!((matrix.unseen().len(), matrix.illegal()), (0, 0));
        assert_eq!(matrix.unseen_causes(), []);
    }

    #[test]
    fn an_end_covers_the_pair_of_idle_and_an_illegal_pair_covers_none() {
        let mut matrix = Matrix::default();
        matrix.count(transition(Phase::Failed, Phase::Accepted, Cause::Normal));
        matrix.count(transition(Phase::Idle, Phase::Succeeded, Cause::Normal));
        matrix.count(transition(Phase::Staged, Phase::Committing, Cause::Power));
        assert_eq!((matrix.unseen().len(), matrix.illegal()), (54, 2));
        assert!(!matrix.unseen().contains(&(Phase::Idle, Phase::Accepted)));
        let by = |cause| matrix.unseen_causes().contains(&(Phase::Idle, Phase::Accepted, cause));
        assert_eq!((by(Cause::Normal), by(Cause::Cancel)), (false, true));
    }
}
