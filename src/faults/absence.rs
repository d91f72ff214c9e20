//! Devices that are away: out of coverage, in a drawer, switched off. For minutes as a rule, for months sometimes; some by the clock.
//!
//! The spells are a mix of four lengths (profiles/absences.toml has the figures and where they come from), each a lognormal
//! distribution. All are laid out before the run, from the device's own luck, so that both modes see the same.

use std::fmt;
use std::time::Duration;

use super::latency::Latency;
use crate::luck::{Luck, Purpose};
use crate::model::{Share, parse_share, word_enum};
use crate::time::SimTime;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Parts of a hundred, median and 99th percentile of each length of spell, in seconds.
const SPELLS: [(u64, u64, u64); 4] = [
    (80, 7 * MINUTE, 46 * MINUTE),
    (15, 8 * HOUR, 40 * HOUR),
    (4, 4 * DAY, 20 * DAY),
    (1, 30 * DAY, 180 * DAY),
];

/// The same for the spell that a run begins in: a moment falls into a spell the likelier the longer it is, so that parts are weighed by
/// mean lengths, and medians grow by e^(s^2).
const FIRST_SPELLS: [(u64, u64, u64); 4] = [
    (1, 14 * MINUTE, 92 * MINUTE),
    (10, 13 * HOUR, 65 * HOUR),
    (30, 155 * HOUR, 775 * HOUR),
    (59, 54 * DAY, 324 * DAY),
];

/// The longest spell.
const LONGEST: Duration = Duration::from_secs(180 * DAY);

/// Their mean: that of a lognormal distribution is its median times e^(s^2 / 2), with s = ln(p99 / median) / 2.3263.
const MEAN: u64 = 961 * MINUTE;

/// The time in which a share of the fleet is lost.
const MONTH: u64 = 30 * DAY;

/// The 99th percentile of an exponential distribution by its median.
const EXPONENTIAL_P99: u64 = 7;

/// Draws from here on are about who is lost, two a month.
const LOST: u64 = u64::MAX / 4;

/// How many draws belong to one spell: its length, and the time before it.
const DRAWS: u64 = 4;

word_enum! {
    /// Hours in which most of a fleet is away, day for day; a run begins at midnight, on a Monday.
    Hours {
        /// Six of ten devices from 18 to 8 o'clock, and at the weekend.
        Office = "office",
        /// Nine of ten devices from 20 to 5 o'clock.
        Vehicle = "vehicle",
        /// Sixteen of a hundred from 1 to 9 o'clock: a fifth of the day around the trough at 5.
        Home = "home",
    }
}

impl Hours {
    /// Parts of a hundred that go, when they go and when they come back, in hours from midnight of the day that they go.
    const fn figures(self) -> (u64, u64, u64) {
        match self {
            Hours::Office => (60, 18, 32),
            Hours::Vehicle => (90, 20, 29),
            Hours::Home => (16, 25, 33),
        }
    }

    /// Whether they stay away for the whole day.
    const fn rests_on(self, day: u64) -> bool {
        matches!(self, Hours::Office) && day % 7 >= 5
    }
}

/// How the devices of a fleet are away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Of the time, as a mean over the fleet.
    pub share: Share,
    /// And by the clock, if so.
    pub hours: Option<Hours>,
    /// Of those that are still there, who goes for good in a month of 30 days.
    pub lost: Share,
}

impl Absence {
    /// Reads `4 %`, `office` or `4 % office`, and `lost 0.3 %` after a comma.
    ///
    /// # Errors
    /// How it is written.
    pub fn parse(text: &str) -> Result<Absence, String> {
        match text.rsplit_once(',') {
            Some((away, lost)) => Absence::parse_away(away)?.losing(lost),
            None => Absence::parse_away(text),
        }
    }

    /// The same, with what follows the comma.
    ///
    /// # Errors
    /// How it is written.
    pub fn losing(self, text: &str) -> Result<Absence, String> {
        let share = text.trim().strip_prefix("lost ").and_then(|share| parse_share(share).ok());
        let lost = share.filter(|share| (1..=Share::WHOLE.0 / 2).contains(&share.0));
        let hint =
            "write after the comma for example \"lost 0.3 %\", the part of the fleet that goes for good in 30 days; up to 50 %";
        lost.map(|lost| Absence { lost, ..self }).ok_or_else(|| hint.to_owned())
    }

    fn parse_away(text: &str) -> Result<Absence, String> {
        let hint =
            || "write for example \"4 %\", \"office\" or \"4 % office\"; up to 50 %; hours are office, vehicle, home".to_owned();
        let (share, word) = match text.trim().rsplit_once('%') {
            Some((number, word)) => (parse_share(&format!("{number}%")).map_err(|_| hint())?, word.trim()),
            None => (Share(0), text.trim()),
        };
        let hours = match word {
            "" => None,
            word => Some(Hours::from_word(word).ok_or_else(hint)?),
        };
        let sensible = share.0 <= Share::WHOLE.0 / 2 && (share.0 > 0 || hours.is_some());
        let lost = Share(0);
        sensible.then_some(Absence { share, hours, lost }).ok_or_else(hint)
    }

    /// When a device is away in a run that lasts until `end`: spells in order, none touching another.
    pub fn spells(&self, luck: Luck, device: u64, end: SimTime) -> Box<[(SimTime, SimTime)]> {
        let mut spells = self.by_chance(luck, device, end);
        spells.extend(
            self.hours
                .into_iter()
                .flat_map(|hours| by_the_clock(hours, luck, device, end)),
        );
        spells.extend(self.for_good(luck, device, end));
        spells.sort_unstable();
        let mut merged: Vec<(SimTime, SimTime)> = Vec::with_capacity(spells.len());
        for (from, until) in spells {
            match merged.last_mut().filter(|last| from <= last.1) {
                Some(last) => last.1 = last.1.max(until),
                None => merged.push((from, until)),
            }
        }
        merged.into()
    }

    /// From when on a device is lost, if it is within the run: whatever it has been through, the next month takes the same share.
    fn for_good(&self, luck: Luck, device: u64, end: SimTime) -> Option<(SimTime, SimTime)> {
        let months = end.as_nanos() / (MONTH * 1_000_000_000);
        let lost_in = |month: &u64| luck.below(Purpose::Absence, device, LOST + 2 * month, Share::WHOLE.0) < self.lost.0;
        let month = (0..=months).find(lost_in).filter(|_| self.lost.0 > 0)?;
        let within = luck.below(Purpose::Absence, device, LOST + 2 * month + 1, MONTH);
        let from = SimTime::from_secs(month * MONTH + within);
        (from < end).then(|| (from, end + LONGEST))
    }

    /// A spell, presence, a spell, and so on; the run begins at a random point of it.
    fn by_chance(&self, luck: Luck, device: u64, end: SimTime) -> Vec<(SimTime, SimTime)> {
        let mut spells = Vec::new();
        if self.share.0 == 0 {
            return spells;
        }
        let mean = MEAN * (Share::WHOLE.0 - self.share.0) / self.share.0;
        // The median of an exponential distribution is ln 2 of its mean.
        let presence = lognormal(mean * 69 / 100, mean * 69 / 100 * EXPONENTIAL_P99);
        let draw = |ordinal: u64| luck.draw(Purpose::Absence, device, ordinal);
        let away_at_first = self.share.0 > luck.below(Purpose::Absence, device, u64::MAX, Share::WHOLE.0);
        let part = |time: Duration, draw: u64| Duration::from_nanos(((u128::from(draw) * time.as_nanos()) >> 64) as u64);
        let mut at = SimTime::ZERO;
        for spell in 0.. {
            let begun = spell == 0 && away_at_first;
            let lengths = if begun { &FIRST_SPELLS } else { &SPELLS };
            let length = length_of(lengths, draw(DRAWS * spell), draw(DRAWS * spell + 1));
            let before = presence.of_draw(draw(DRAWS * spell + 2));
            // Presence has no memory: what is left of it is as long as the whole.
            let (before, length) = if begun {
                (Duration::ZERO, part(length, draw(DRAWS * spell + 3)))
            } else {
                (before, length)
            };
            at += before;
            if at >= end {
                break;
            }
            spells.push((at, at + length));
            at += length;
        }
        spells
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.share, self.hours) {
            (share, None) => share.fmt(f),
            (Share(0), Some(hours)) => hours.fmt(f),
            (share, Some(hours)) => write!(f, "{share} {hours}"),
        }?;
        match self.lost {
            Share(0) => Ok(()),
            lost => write!(f, ", lost {lost}"),
        }
    }
}

fn lognormal(median: u64, p99: u64) -> Latency {
    Latency::lognormal(Duration::from_secs(median), Duration::from_secs(p99))
}

/// The length of a spell: one draw for which sort it is, one for how long.
fn length_of(lengths: &[(u64, u64, u64)], sort: u64, length: u64) -> Duration {
    let mut hundredth = ((u128::from(sort) * 100) >> 64) as u64;
    for &(parts, median, p99) in lengths {
        if hundredth < parts {
            return lognormal(median, p99).of_draw(length).min(LONGEST);
        }
        hundredth -= parts;
    }
    LONGEST
}

/// Day for day, whether the device goes with the others; each draws for itself, within a quarter of an hour.
fn by_the_clock(hours: Hours, luck: Luck, device: u64, end: SimTime) -> Vec<(SimTime, SimTime)> {
    const SPREAD: Duration = Duration::from_secs(15 * MINUTE);
    let (parts, goes, comes) = hours.figures();
    let of_those = luck.below(Purpose::Absence, device, u64::MAX - 1, 100) < parts;
    let mut spells = Vec::new();
    if !of_those {
        return spells;
    }
    for day in 0..=end.as_nanos() / (DAY * 1_000_000_000) {
        let hour = |hour: u64| SimTime::from_secs(day * DAY + hour * HOUR);
        let late = |part: u64| {
            luck.duration(
                Purpose::Absence,
                device,
                u64::MAX / 2 + 2 * day + part,
                Duration::ZERO..=SPREAD,
            )
        };
        if hours.rests_on(day) {
            spells.push((hour(0), hour(32) + late(1)));
        } else {
            spells.push((hour(goes) + late(0), hour(comes) + late(1)));
        }
        // The night before the first day.
        if day == 0 && comes > 24 {
            spells.push((SimTime::ZERO, hour(comes - 24) + late(1)));
        }
    }
    spells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::luck::device_key;

    fn away(absence: &str, devices: u32, end: SimTime) -> Vec<Box<[(SimTime, SimTime)]>> {
        let absence = Absence::parse(absence).unwrap();
        let spells = |number| absence.spells(Luck::new(7), device_key("fleet", number), end);
        (0..devices).map(spells).collect()
    }

    fn at(spells: &[(SimTime, SimTime)], moment: SimTime) -> bool {
        spells.iter().any(|(from, until)| *from <= moment && moment < *until)
    }

    #[test]
    fn the_part_of_a_fleet_that_is_away_is_the_one_asked_for_at_any_time() {
        let fleet = away("4 %", 10_000, SimTime::from_secs(60 * DAY));
        for day in [0, 1, 10, 30, 59] {
            let moment = SimTime::from_secs(day * DAY);
            let away = fleet.iter().filter(|spells| at(spells, moment)).count();
            assert!((250..550).contains(&away), "{away} of 10,000 on day {day}");
        }
        let longest = fleet.iter().flatten().map(|(from, until)| until.since(*from)).max().unwrap();
        assert!(longest > Duration::from_secs(30 * DAY) && longest <= LONGEST, "{longest:?}");
    }

    #[test]
    fn who_is_lost_never_returns_and_each_month_takes_its_share_of_the_rest() {
        let end = SimTime::from_secs(90 * DAY);
        let fleet = away("office, lost 10 %", 10_000, end);
        let lost_by = |day: u64| {
            let gone = |spells: &&[(SimTime, SimTime)]| {
                spells
                    .last()
                    .is_some_and(|(from, until)| *from <= SimTime::from_secs(day * DAY) && *until > end + LONGEST / 2)
            };
            fleet.iter().map(|spells| &**spells).filter(gone).count()
        };
        assert!((440..580).contains(&lost_by(15)), "{}", lost_by(15));
        assert!((900..1_100).contains(&lost_by(30)), "{}", lost_by(30));
        assert!((2_560..2_860).contains(&lost_by(90)), "{}", lost_by(90));
    }

    #[test]
    fn spells_are_in_order_and_none_touches_another() {
        for spells in away("30 % office", 500, SimTime::from_secs(30 * DAY)) {
            assert!(spells.iter().all(|(from, until)| from < until));
            assert!(spells.windows(2).all(|pair| pair[0].1 < pair[1].0), "{spells:?}");
        }
    }

    #[test]
    fn an_office_is_empty_at_night_and_at_the_weekend() {
        let fleet = away("office", 1_000, SimTime::from_secs(14 * DAY));
        let share = |day: u64, hour: u64| {
            let moment = SimTime::from_secs(day * DAY + hour * HOUR + 30 * MINUTE);
            fleet.iter().filter(|spells| at(spells, moment)).count()
        };
        let gone = fleet.iter().filter(|spells| !spells.is_empty()).count();
        assert!((550..650).contains(&gone), "{gone}");
        assert_eq!(
            [
                share(0, 3),
                share(0, 12),
                share(1, 20),
                share(5, 12),
                share(6, 12),
                share(7, 12)
            ],
            [gone, 0, gone, gone, gone, 0]
        );
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["4 %", "office", "0.5 % vehicle", "4 %, lost 0.3 %", "home, lost 2 %"] {
            assert_eq!(Absence::parse(text).unwrap().to_string(), text);
        }
        for wrong in [
            "",
            "4",
            "60 %",
            "4 % nightly",
            "0 %",
            "4 %, lost",
            "4 %, lost 0 %",
            "lost 3 %",
            "4 %, 3 %",
        ] {
            assert!(Absence::parse(wrong).is_err(), "{wrong}");
        }
    }
}
