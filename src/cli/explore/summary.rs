//! What an exploration came to, as text and as JSON: the same for any number of jobs.

use std::time::SystemTime;

use serde::Serialize;

use crate::explore::{Reached, Tally};
use crate::model::{LEGAL, Phase, show_count, show_duration};
use crate::play::Status;
use crate::scenario::Plan;

use super::since;
use super::teller::{ShownFailure, rate};

/// Lines of the summary end here.
const RIGHT: usize = 79;
/// The schema of what `--json` prints.
const SCHEMA: &str = "squall.explore/1";
/// Columns of the grid, two letters each, in the order of [`Phase`].
const COLUMNS: [&str; Phase::ALL.len()] = [
    "id", "wa", "ac", "in", "dl", "re", "st", "co", "sw", "pr", "rv", "su", "fa", "ca", "rj",
];

/// What was gone through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Seeds from this one on.
    Seeds {
        /// The first.
        first: u64,
    },
    /// Every operation, or message, with each of some faults.
    Places {
        /// `flash operations` or `messages`.
        what: &'static str,
        /// How many there are.
        places: u64,
        /// How many faults were put there.
        faults: usize,
    },
}

/// A few lines.
pub(super) fn text(counted: &Counted, tally: &Tally) -> String {
    let word = match tally.status {
        Status::Passed => "PASSED",
        Status::Failed => "FAILED",
        Status::Broken => "BROKEN",
        Status::Invalid => "INVALID",
        Status::Interrupted => "INTERRUPTED",
        Status::Error => "ERROR",
    };
    let right = format!("exit code {}", tally.status.exit_code());
    let failing = show_count(tally.failing);
    let left = match counted {
        Counted::Seeds { first } => format!("{word}  {} from {first}, {failing} failing", seeds(tally.played)),
        Counted::Places { what, places, faults } => {
            let played = show_count(tally.played);
            format!(
                "{word}  {} {what} x {faults} faults, {played} played, {failing} failing",
                show_count(*places)
            )
        }
    };
    let room = RIGHT.saturating_sub(right.len());
    let mut text = format!("{left:<room$}{right}\n");
    text.push_str(&coverage(&tally.reached));
    text.push_str(&grid(&tally.reached));
    text
}

/// Transitions seen and unseen.
fn coverage(reached: &Reached) -> String {
    let matrix = &reached.matrix;
    let (unseen, uncaused) = (matrix.unseen(), matrix.unseen_causes());
    let causes: usize = LEGAL.iter().map(|(_, _, causes)| causes.len()).sum();
    let mut text = format!(
        "coverage     {} of {} legal transitions, {} illegal; {} of {causes} with their causes\n",
        LEGAL.len() - unseen.len(),
        LEGAL.len(),
        show_count(matrix.illegal()),
        causes - uncaused.len(),
    );
    let never: Vec<_> = unseen.iter().map(|(from, to)| format!("{from}>{to}")).collect();
    text.push_str(&listed("never seen", &never));
    let seen = uncaused.iter().filter(|(from, to, _)| !unseen.contains(&(*from, *to)));
    let never: Vec<_> = seen.map(|(from, to, cause)| format!("{from}>{to} by {cause}")).collect();
    text.push_str(&listed("never by", &never));
    text
}

/// Kinds of faults against the phases that they struck in, and the holes; nothing where there are no faults.
fn grid(reached: &Reached) -> String {
    if reached.faults.is_empty() {
        return String::new();
    }
    let mut text = format!("{:<19}", "fault by phase");
    COLUMNS.iter().for_each(|column| text.push_str(&format!("{column:>4}")));
    text.push('\n');
    let phases = reached.phases();
    for (kind, struck) in &reached.faults {
        text.push_str(&format!("{:<19}", cut(kind, 18)));
        for (phase, count) in Phase::ALL.iter().zip(struck) {
            let cell = match (count, phases.contains(phase)) {
                (0, true) => "-".to_owned(),
                (0, false) => String::new(),
                (count, _) => short(*count),
            };
            text.push_str(&format!("{cell:>4}"));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    let holes = reached.holes();
    let by_all = |phase: &Phase| holes.len() == reached.faults.len() && holes.iter().all(|(_, phases)| phases.contains(phase));
    let common: Vec<_> = phases.iter().filter(|phase| by_all(phase)).map(ToString::to_string).collect();
    text.push_str(&listed("holes", &common));
    let own = holes.iter().flat_map(|(kind, phases)| {
        let own = phases.iter().filter(|phase| !by_all(phase));
        own.map(move |phase| format!("{kind} in {phase}"))
    });
    text.push_str(&listed("", &own.collect::<Vec<_>>()));
    text
}

/// A kind that is no longer than its column.
fn cut(kind: &str, room: usize) -> String {
    match kind.chars().count() > room {
        true => kind.chars().take(room - 1).chain(['…']).collect(),
        false => kind.to_owned(),
    }
}

/// A count in at most three characters.
fn short(count: u64) -> String {
    match count {
        0..=999 => count.to_string(),
        1_000..=99_999 => format!("{}k", count / 1_000),
        100_000..=999_999 => format!(".{}M", count / 100_000),
        _ => format!("{}M", (count / 1_000_000).min(99)),
    }
}

/// A heading and words, wrapped at column 80; nothing where there are no words.
fn listed(heading: &str, words: &[String]) -> String {
    let mut text = String::new();
    let mut line = format!("{heading:<13}");
    for (position, word) in words.iter().enumerate() {
        let comma = if position + 1 < words.len() { "," } else { "" };
        if line.len() + word.len() + comma.len() > RIGHT {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(13);
        }
        line.push_str(&format!("{word}{comma} "));
    }
    if !words.is_empty() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How many were played, and how fast.
pub(super) fn pace(counted: &Counted, tally: &Tally, began: SystemTime) -> String {
    let played = match counted {
        Counted::Seeds { .. } => seeds(tally.played),
        Counted::Places { .. } => format!("{} simulations", show_count(tally.played)),
    };
    format!("{played} in {}, {}", show_duration(since(began)), rate(tally, began))
}

fn seeds(count: u64) -> String {
    format!("{} seed{}", show_count(count), if count == 1 { "" } else { "s" })
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    scenario: ShownScenario<'a>,
    status: &'static str,
    exit_code: u8,
    played: u64,
    failing: u64,
    failures: &'a [ShownFailure],
    coverage: ShownCoverage,
    faults: Vec<ShownFault<'a>>,
}

#[derive(Serialize)]
struct ShownScenario<'a> {
    name: &'a str,
    hash: &'a str,
    /// The first seed.
    seed: u64,
    /// What was gone through where it was not seeds.
    exhaust: Option<&'static str>,
}

#[derive(Serialize)]
struct ShownCoverage {
    legal: usize,
    seen: usize,
    illegal: u64,
    unseen: Vec<String>,
    unseen_causes: Vec<String>,
}

#[derive(Serialize)]
struct ShownFault<'a> {
    kind: &'a str,
    phases: std::collections::BTreeMap<&'static str, u64>,
    holes: Vec<&'static str>,
}

/// The same for programs.
pub(super) fn json(plan: &Plan, counted: &Counted, tally: &Tally, failures: &[ShownFailure]) -> String {
    let (unseen, causes) = (tally.reached.matrix.unseen(), tally.reached.matrix.unseen_causes());
    let holes = tally.reached.holes();
    let faults = tally.reached.faults.iter().map(|(kind, struck)| {
        let counts = Phase::ALL.iter().zip(struck).filter(|(_, count)| **count > 0);
        let holes = holes.iter().filter(|(of, _)| of == kind).flat_map(|(_, phases)| phases);
        ShownFault {
            kind,
            phases: counts.map(|(phase, count)| (phase.word(), *count)).collect(),
            holes: holes.map(|phase| phase.word()).collect(),
        }
    });
    let shown = Shown {
        schema: SCHEMA,
        scenario: ShownScenario {
            name: &plan.name,
            hash: &plan.hash,
            seed: plan.seed,
            exhaust: match counted {
                Counted::Seeds { .. } => None,
                Counted::Places { what, .. } => Some(what),
            },
        },
        status: tally.status.word(),
        exit_code: tally.status.exit_code(),
        played: tally.played,
        failing: tally.failing,
        failures,
        coverage: ShownCoverage {
            legal: LEGAL.len(),
            seen: LEGAL.len() - unseen.len(),
            illegal: tally.reached.matrix.illegal(),
            unseen: unseen.iter().map(|(from, to)| format!("{from}>{to}")).collect(),
            unseen_causes: causes
                .iter()
                .map(|(from, to, cause)| format!("{from}>{to} by {cause}"))
                .collect(),
        },
        faults: faults.collect(),
    };
    let text = serde_json::to_string_pretty(&shown).expect("texts and numbers are JSON");
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_the_grid_stay_in_their_columns() {
        let shown = [0, 999, 1_000, 99_999, 100_000, 999_999, 1_000_000, u64::MAX].map(short);
        assert_eq!(shown, ["0", "999", "1k", "99k", ".1M", ".9M", "1M", "99M"]);
    }
}
