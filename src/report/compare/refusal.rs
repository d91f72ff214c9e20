//! What makes two sides incomparable, and what of it may be overlooked.

use crate::report::summary::Summary;

use super::side::Side;

/// What a user has named to be overlooked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Force {
    /// Another scenario.
    pub hash: bool,
    /// Another machine.
    pub machine: bool,
}

impl Force {
    /// Reads `hash,machine`.
    ///
    /// # Errors
    /// A fragment that names the word that is none.
    pub fn parse(text: &str) -> Result<Force, String> {
        let mut force = Force::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "hash" => force.hash = true,
                "machine" => force.machine = true,
                other => return Err(format!("`{other}` cannot be overlooked: there are `hash` and `machine`")),
            }
        }
        Ok(force)
    }

    pub(super) fn words(self) -> Vec<String> {
        let words = [(self.hash, "hash"), (self.machine, "machine")];
        words
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, word)| (*word).to_owned())
            .collect()
    }
}

/// Why two sides are not compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A side has no run.
    #[error("`{0}` has no run")]
    Empty(String),
    /// A run whose figures say nothing.
    #[error("a run of `{side}` is {status}: its figures say nothing; measure it again")]
    Spoilt {
        /// Of which side.
        side: String,
        /// Its status.
        status: String,
    },
    /// Real and virtual time.
    #[error("`{base}` is of `{one}`, `{candidate}` of `{other}`: real and virtual time are not compared")]
    Mode {
        /// Name of the base.
        base: String,
        /// Its mode.
        one: String,
        /// Name of the candidate.
        candidate: String,
        /// Its mode.
        other: String,
    },
    /// Other steps, nouns or faults.
    #[error("scenario {one} and scenario {other} differ in what is played; `--force hash` compares them all the same")]
    Hash {
        /// Of the base.
        one: String,
        /// Of the candidate.
        other: String,
    },
    /// Another machine.
    #[error("measured on other machines, `{one}` and `{other}`; `--force machine` compares them all the same")]
    Machine {
        /// Of the base.
        one: String,
        /// Of the candidate.
        other: String,
    },
    /// A gate that is in no summary.
    #[error("`{0}` is not told by every run: name it in an `expect` of the scenario, so that it is measured")]
    Unmeasured(String),
    /// In virtual time seeds are compared in pairs.
    #[error("the sides have no seed in common; play both with the same `--seed` and `--repeat`")]
    NoSeeds,
}

/// Refuses what cannot be compared. Sides that were measured in turn differ in what they were told to differ in.
pub(super) fn check(base: &Side, candidate: &Side, force: Force, interleaved: bool) -> Result<(), Refused> {
    for side in [base, candidate] {
        if side.count() == 0 {
            return Err(Refused::Empty(side.name.clone()));
        }
        let spoilt = |run: &&Summary| ["invalid", "interrupted", "error"].contains(&run.status.as_str());
        if let Some(run) = side.runs().find(spoilt) {
            return Err(Refused::Spoilt {
                side: side.name.clone(),
                status: run.status.clone(),
            });
        }
    }
    let first = base.runs().next().expect("counted above");
    for run in base.runs().chain(candidate.runs()) {
        if run.mode != first.mode {
            return Err(Refused::Mode {
                base: base.name.clone(),
                one: first.mode.clone(),
                candidate: candidate.name.clone(),
                other: run.mode.clone(),
            });
        }
        if run.scenario.hash != first.scenario.hash && !force.hash && !interleaved {
            return Err(Refused::Hash {
                one: short(&first.scenario.hash),
                other: short(&run.scenario.hash),
            });
        }
        let (one, other) = (machine(first), machine(run));
        if one != other && !force.machine {
            return Err(Refused::Machine { one, other });
        }
    }
    Ok(())
}

fn short(hash: &str) -> String {
    hash.get(..8).unwrap_or(hash).to_owned()
}

/// Processor, cores and system; the release of the system may differ in its last numbers.
fn machine(run: &Summary) -> String {
    run.machine.as_ref().map_or_else(String::new, |machine| {
        let system = machine.os.split('.').take(2).collect::<Vec<_>>().join(".");
        format!("{}, {} cores, {system}", machine.cpu, machine.cores)
    })
}
