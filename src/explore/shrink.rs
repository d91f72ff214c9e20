//! A failing scenario made small: whatever can be left out or cut down while the same thing goes on failing.
//!
//! Tables go first, then devices, times and sizes, round after round until nothing more goes or the plays are used up. Bounded in plays
//! and not in time, so that a seed shrinks to the same scenario on every machine.

use std::path::Path;
use std::sync::Arc;

use crate::model::{parse_duration, parse_size};
use crate::scenario::{Overrides, Source, load};
use crate::sim::{Pulse, play_watched};

use super::draft::Draft;
use super::failure::Failure;

/// Seeds tried with fewer devices: whom chance picks changes with their number.
const SEEDS: u64 = 24;
/// Plays for which the first attempt may be given other ids, and for what follows from that.
const RENUMBERING: u32 = 1_000;
/// So few devices are few enough.
const FEW: u64 = 3;
/// Ids that the first attempt is given where nothing else makes devices few: with fewer of them, ids that a failure needs are not reached.
const FIRST_ATTEMPTS: u64 = 10;
/// Sizes that images are cut down to, as they are written, bytes.
const SIZES: [(&str, u64); 3] = [("16 KiB", 16 << 10), ("64 KiB", 64 << 10), ("256 KiB", 256 << 10)];

/// What a failing scenario came down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The scenario.
    pub draft: Draft,
    /// Simulations that were played for it.
    pub plays: u32,
    /// Nothing more can be left out: without any one of its faults the failure is gone.
    pub complete: bool,
}

impl Shrunk {
    /// What is left, in words.
    pub fn left(&self) -> String {
        let many = |count: u64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
        let tables = |noun: &str| many(self.draft.count(noun) as u64, noun);
        let devices = many(self.draft.devices(), "device");
        format!("{devices}, {}, {}", tables("step"), tables("fault"))
    }
}

/// Makes a scenario smaller while `fails` says that it fails as it did, in at most `plays` plays; `None` if it does not to begin with.
/// Where an expectation fails, `fleet` is false: it speaks of the fleet as it is, so that only faults and other expectations go.
pub fn shrink(resolved: &str, fleet: bool, plays: u32, fails: &mut dyn FnMut(&str) -> bool) -> Option<Shrunk> {
    let mut work = Work {
        best: Draft::read(resolved),
        left: plays,
        fails,
    };
    let best = work.best.clone();
    if !work.take(best) {
        return None;
    }
    work.cut_down(fleet);
    let complete = work.left > 0;
    let mut played = plays - work.left;
    if fleet && complete {
        // The last resort has plays of its own, all of few devices.
        work.left = RENUMBERING;
        if work.renumbered() {
            work.cut_down(fleet);
        }
        played += RENUMBERING - work.left;
    }
    Some(Shrunk {
        draft: work.best,
        plays: played,
        complete: complete && work.left > 0,
    })
}

/// True if a scenario, its files in `folder`, fails in this way (see [`Failure::kind`]); false as well where it is no scenario, or `halt`
/// says so.
pub fn fails_as(kind: &str, folder: &Path, scenario: &str, halt: &dyn Fn() -> bool) -> bool {
    let Ok(plan) = load(Source::Beside(folder.to_owned(), scenario.to_owned()), &Overrides::default()) else {
        return false;
    };
    let outcome = play_watched(Arc::new(plan), &mut |_, _| match halt() {
        true => Pulse::Interrupt,
        false => Pulse::GoOn,
    });
    !halt() && Failure::of(&outcome).is_some_and(|failure| failure.kind() == kind)
}

struct Work<'f> {
    /// The smallest that fails.
    best: Draft,
    /// Plays that are left.
    left: u32,
    fails: &'f mut dyn FnMut(&str) -> bool,
}

impl Work<'_> {
    /// Goes on with a smaller scenario if that fails too.
    fn take(&mut self, smaller: Draft) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let fails = (self.fails)(&smaller.to_string());
        if fails {
            self.best = smaller;
        }
        fails
    }

    /// Leaves out and cuts down, round after round, until nothing more goes.
    fn cut_down(&mut self, fleet: bool) {
        loop {
            let before = self.best.clone();
            self.leave_out(if fleet {
                &["fault", "step", "fleet", "expect", "cohort", "firmware", "link"]
            } else {
                &["fault", "expect"]
            });
            if fleet {
                self.fewer_devices();
                self.simpler_faults();
                self.smaller_images();
                self.shorter();
            }
            if self.best == before || self.left == 0 {
                return;
            }
        }
    }

    /// Few devices of the one fleet, with other ids of attempts; false where that is no help, or none is needed.
    fn renumbered(&mut self) -> bool {
        let positions = |noun| self.best.positions(noun).first().copied();
        let [Some(general), Some(server), Some(fleet)] = ["scenario", "server", "fleet"].map(positions) else {
            return false;
        };
        if self.best.devices() <= FEW || self.best.count("fleet") > 1 {
            return false;
        }
        let seed = self.seed(general);
        let tries = (1..=FEW).flat_map(|count| (0..SEEDS).map(move |more| (count, seed.wrapping_add(more))));
        let mut tries = tries.flat_map(|(count, seed)| (1..=FIRST_ATTEMPTS).map(move |first| (count, seed, first)));
        tries.any(|(count, seed, first)| {
            let draft = self.best.with(fleet, "count", &count.to_string());
            let draft = draft.with(general, "seed", &seed.to_string());
            self.take(draft.having(server, "first_attempt", &first.to_string()))
        })
    }

    /// The seed of the smallest.
    fn seed(&self, general: usize) -> u64 {
        let seed = self.best.value(general, "seed").and_then(|seed| seed.parse().ok());
        seed.unwrap_or(0)
    }

    fn leave_out(&mut self, nouns: &[&str]) {
        for noun in nouns {
            // From the last on, so that positions of those before stay.
            for at in self.best.positions(noun).into_iter().rev() {
                self.take(self.best.without(at));
            }
        }
    }

    fn fewer_devices(&mut self) {
        let Some(general) = self.best.positions("scenario").first().copied() else {
            return;
        };
        let seed = self.seed(general);
        for at in self.best.positions("fleet") {
            let count: u64 = self.best.value(at, "count").and_then(|count| count.parse().ok()).unwrap_or(0);
            let fewer = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500]
                .into_iter()
                .filter(|fewer| *fewer < count);
            let mut smaller = fewer.flat_map(|fewer| (0..SEEDS).map(move |more| (fewer, seed.wrapping_add(more))));
            smaller.any(|(fewer, seed)| {
                let draft = self.best.with(at, "count", &fewer.to_string());
                self.take(draft.with(general, "seed", &seed.to_string()))
            });
        }
    }

    fn simpler_faults(&mut self) {
        for at in self.best.positions("fault") {
            for (key, value) in [("who", "\"all\""), ("times", "1"), ("chance", "\"100 %\"")] {
                self.set(at, key, value);
            }
        }
    }

    fn smaller_images(&mut self) {
        for at in self.best.positions("firmware") {
            let size = |draft: &Draft| parse_size(draft.value(at, "size")?.trim_matches('"')).ok();
            let now = size(&self.best).unwrap_or(0);
            let smaller = SIZES.into_iter().filter(|(_, bytes)| *bytes < now);
            let _ = smaller
                .map(|(written, _)| format!("\"{written}\""))
                .any(|written| self.set(at, "size", &written));
        }
    }

    fn shorter(&mut self) {
        for at in self.best.positions("fleet") {
            self.set(at, "arrive", "\"at once\"");
        }
        for at in self.best.positions("scenario") {
            let seconds = |draft: &Draft| Some(parse_duration(draft.value(at, "duration")?.trim_matches('"')).ok()?.as_secs());
            while let Some(half) = seconds(&self.best).map(|all| all / 2).filter(|half| *half > 0) {
                if !self.set(at, "duration", &format!("\"{half}s\"")) {
                    break;
                }
            }
        }
    }

    /// Sets a key to something simpler; false where it has it already, or the failure is gone with it.
    fn set(&mut self, at: usize, key: &str, value: &str) -> bool {
        let other = self.best.value(at, key).is_some_and(|written| written != value);
        other && self.take(self.best.with(at, key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Behaviors, Defect};

    const FLEETS: &str = r#"
scenario = { duration = "3m", seed = 7 }
firmware.app = ["1.0.0", "1.1.0"]
fleet.old = { count = 4, runs = "app@1.1.0" }
fleet.field = { count = 8, runs = "app@1.0.0", arrive = "over 10s" }
step = [{ at = "5s", deploy = "app@1.1.0", to = "all" }, { name = "again", at = "2m", deploy = "app@1.0.0", to = "all" }]
fault = [
  { name = "lag", inject = "delay 100ms", who = "all", at = "start" },
  { name = "down", inject = "link-down", who = "20 % of all", at = "10s", for = "5s" },
  { name = "cut", inject = "power-cut", who = "50 % of fleet:field", at = "probation+100ms" },
]
"#;

    /// Plays a scenario whose devices have a defect; the rule that broke first.
    fn broken(scenario: &str, defect: Defect) -> Option<String> {
        let mut plan = load(Source::Stdin(scenario.to_owned()), &Overrides::default()).ok()?;
        for fleet in &mut plan.fleets {
            fleet.behaviors = Arc::new(Behaviors {
                defect: Some(defect),
                ..Behaviors::clone(&fleet.behaviors)
            });
        }
        let outcome = crate::sim::play(Arc::new(plan));
        Failure::of(&outcome).map(|failure| failure.kind().to_owned())
    }

    #[test]
    fn a_planted_defect_comes_down_to_one_device_and_the_fault_that_it_needs() {
        let defect = Defect::SucceedAfterRollback;
        let resolved = load(Source::Stdin(FLEETS.to_owned()), &Overrides::default())
            .unwrap()
            .resolved;
        let rule = broken(&resolved, defect).expect("the defect shows");
        let shrunk = shrink(&resolved, true, 200, &mut |scenario| {
            broken(scenario, defect).as_ref() == Some(&rule)
        });
        let shrunk = shrunk.expect("it failed a moment ago");
        assert_eq!(shrunk.left(), "1 device, 1 step, 1 fault", "{}", shrunk.draft);
        assert_eq!((shrunk.draft.faults(), shrunk.complete), (vec!["cut"], true));
        assert_eq!(broken(&shrunk.draft.to_string(), defect), Some(rule));
        // Sound devices break nothing in it.
        let sound = load(Source::Stdin(shrunk.draft.to_string()), &Overrides::default()).unwrap();
        assert_eq!(crate::sim::play(Arc::new(sound)).findings, []);
    }

    #[test]
    fn what_takes_many_devices_for_the_number_of_an_attempt_comes_down_to_one_device_with_that_number() {
        let fleet =
            "fleet.field = { count = 12, runs = \"app@1.0.0\" }\nstep = [{ at = \"5s\", deploy = \"app@1.1.0\", to = \"all\" }]";
        let text = format!(
            "scenario = {{ duration = \"30s\" }}\nfirmware.app = {{ \"1.0.0\" = {{}}, \"1.1.0\" = {{ size = \"4 KiB\" }} }}\n{fleet}"
        );
        let resolved = load(Source::Stdin(text), &Overrides::default()).unwrap().resolved;
        // An attempt a device, of which the tenth is the bad one.
        let mut fails = |scenario: &str| {
            let Ok(plan) = load(Source::Stdin(scenario.to_owned()), &Overrides::default()) else {
                return false;
            };
            let outcome = crate::sim::play(Arc::new(plan));
            let mut devices = outcome.recorder.devices();
            devices.any(|device| device.attempts.iter().any(|attempt| attempt.id.number() == 10))
        };
        let shrunk = shrink(&resolved, true, 1_000, &mut fails).expect("twelve devices have a tenth attempt");
        assert_eq!(shrunk.left(), "1 device, 1 step, 0 faults", "{}", shrunk.draft);
        assert!(
            shrunk.complete && shrunk.draft.to_string().contains("first_attempt = 10"),
            "{}",
            shrunk.draft
        );
    }

    #[test]
    fn an_expectation_keeps_its_fleet_and_shrinking_its_bounds() {
        let resolved = load(Source::Stdin(FLEETS.to_owned()), &Overrides::default())
            .unwrap()
            .resolved;
        let needs = |scenario: &str| scenario.contains("name = \"down\"");
        let shrunk = shrink(&resolved, false, 100, &mut |scenario| needs(scenario)).unwrap();
        assert_eq!(shrunk.left(), "12 devices, 2 steps, 1 fault");
        let stopped = shrink(&resolved, false, 2, &mut |scenario| needs(scenario)).unwrap();
        assert_eq!((stopped.plays, stopped.complete), (2, false));
        assert_eq!(shrink(&resolved, true, 100, &mut |_| false), None);
    }
}
