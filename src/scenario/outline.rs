//! A plan told before it is played: who does what when, and how much of each fault is to be expected.

use std::fmt::Write as _;
use std::time::Duration;

use crate::faults::{Moment, PlannedFault, PlannedServerFault, Target};
use crate::model::{CohortRule, FirmwareVersion, Key, Selector, Share, show_count, show_duration};
use crate::verdict::{Expectation, JudgedAt, Modes};

use super::deal::taken;
use super::fault;
use super::plan::{Ends, Plan, PlannedCohort, PlannedFleet, PlannedStep, Settle, StepTime, StepVerb};
use super::start::AtStart;
use super::text::{exact_time, exact_times};

/// Columns of the outline.
const WIDTH: usize = 80;
/// Columns of a row's name and of its number.
const NAME: usize = 14;
const NUMBER: usize = 9;

/// Tells a plan in 80 columns, the same for the same plan.
pub fn outline(plan: &Plan) -> String {
    let mut out = Table::default();
    out.head(plan);
    let start = AtStart {
        fleets: &plan.fleets,
        devices: &plan.devices,
        cohorts: &plan.cohorts,
    };
    out.section("fleet", "devices", "what they are, and when they are first powered on");
    for fleet in &plan.fleets {
        out.row(&fleet.name, &show_count(fleet.count.into()), &fleet_text(plan, fleet));
    }
    out.section("cohort", "devices", "who is in it at the start");
    out.row("all", &show_count(plan.devices.len() as u64), "every device, always");
    for cohort in &plan.cohorts {
        out.row(cohort.name.as_str(), &show_count(start.members(cohort)), &cohort_text(cohort));
    }
    if !plan.steps.is_empty() {
        out.section("step", "devices", "when, and what; devices as they stand at the start");
        for step in &plan.steps {
            out.row(&step.name, &step_devices(step, plan, start), &step_text(step));
        }
    }
    if !(plan.faults.is_empty() && plan.server_faults.is_empty()) {
        out.section("fault", "expected", "what, to whom, when");
        let mut planned = 0;
        for row in &plan.faults {
            let expected = Expected::of(row, plan, start);
            planned += expected.planned();
            out.row(&row.name, &expected.number(), &fault_text(row, &expected));
        }
        for row in &plan.server_faults {
            planned += row.times.map_or(0, u64::from);
            let expected = row.times.map_or_else(|| "?".to_owned(), |times| show_count(times.into()));
            out.row(&row.name, &expected, &server_fault_text(row));
        }
        out.row(
            "all together",
            &show_count(planned),
            "planned; shares and repetitions without end left out",
        );
    }
    if !plan.cheats.is_empty() {
        out.section("cheat", "devices", "what they do");
        for row in &plan.cheats {
            let text = format!("{}, counted by {}", row.cheat.does(), row.cheat.strikes());
            out.row(&row.name, &show_count(row.devices.len() as u64), &text);
        }
    }
    if !plan.expectations.is_empty() {
        out.section("expect", "", "when it is judged");
        for expectation in &plan.expectations {
            let name = expectation
                .name
                .clone()
                .unwrap_or_else(|| format!("line {}", expectation.line));
            out.row(&name, "", &expectation_text(expectation));
        }
    }
    out.text
}

#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn head(&mut self, plan: &Plan) {
        let ends = match (plan.ends, plan.settle) {
            (Ends::Duration, _) | (Ends::Settled, Settle::Off) => "then ends".to_owned(),
            (Ends::Settled, Settle::Auto) => "then settles".to_owned(),
            (Ends::Settled, Settle::For(time)) => format!("then settles within {}", exact_time(time)),
        };
        let head = format!(
            "{}: {} devices, seed {}, plays for up to {}, {ends}",
            plan.name,
            show_count(plan.devices.len() as u64),
            plan.seed,
            exact_time(plan.duration)
        );
        for line in wrapped(&head, WIDTH) {
            self.line(&line);
        }
    }

    fn section(&mut self, noun: &str, number: &str, text: &str) {
        self.line(&format!("{noun:<width$} {number:>NUMBER$}  {text}", width = NAME + 2));
    }

    /// A row; a long text goes on under itself, a long name stands in a line of its own.
    fn row(&mut self, name: &str, number: &str, text: &str) {
        let mut name = name;
        if name.chars().count() > NAME {
            self.line(&format!("  {name}"));
            name = "";
        }
        let mut number = number;
        for line in wrapped(text, WIDTH - NAME - NUMBER - 5) {
            self.line(&format!("  {name:<NAME$} {number:>NUMBER$}  {line}"));
            (name, number) = ("", "");
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "{}", line.trim_end()).expect("writing to a string cannot fail");
    }
}

/// A text in lines of at most `width` characters, broken at spaces, but not before a `%`; a longer word is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    const KEPT: &str = "\u{a0}%";
    let mut lines = vec![String::new()];
    for word in text.replace(" %", KEPT).split(' ') {
        let mut word: Vec<char> = word.replace(KEPT, " %").chars().collect();
        loop {
            let line = lines.last_mut().expect("there is a line");
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            if used + gap + word.len() <= width {
                line.extend(std::iter::repeat_n(' ', gap).chain(word));
                break;
            }
            if used == 0 {
                let rest = word.split_off(width);
                line.extend(word);
                word = rest;
            }
            lines.push(String::new());
        }
    }
    lines
}

fn fleet_text(plan: &Plan, fleet: &PlannedFleet) -> String {
    let first = fleet.first.at();
    let boots = plan.devices[first..first + fleet.count as usize]
        .iter()
        .map(|device| device.boot_at.since(crate::time::SimTime::ZERO));
    let (from, until) = (boots.clone().min().unwrap_or_default(), boots.max().unwrap_or_default());
    let on = match from == until {
        true => format!("on at {}", show_duration(from)),
        false => format!("on from {} to {}", show_duration(from), show_duration(until)),
    };
    let power = fleet.sleep.as_ref().map_or_else(String::new, |sleep| {
        format!(", awake {} every {}", exact_time(sleep.awake), exact_time(sleep.every))
    });
    let away = fleet.absence.map_or_else(String::new, |absence| format!(", away {absence}"));
    format!(
        "{}; link {}, flash {}; {on}{power}{away}",
        versions(&fleet.runs),
        fleet.link.name,
        fleet.config.chip.name
    )
}

fn cohort_text(cohort: &PlannedCohort) -> String {
    match cohort.rule {
        CohortRule::ByHand => cohort.who.to_string(),
        CohortRule::Where(_) => format!("{}, followed always", cohort.who),
    }
}

/// How many devices a step is about, as far as the start tells.
fn step_devices(step: &PlannedStep, plan: &Plan, start: AtStart<'_>) -> String {
    let found = |who: &Selector| match who.keys().any(Key::changes) {
        true => "then".to_owned(),
        false => show_count(taken(who.pick, start.matching(who))),
    };
    match &step.verb {
        StepVerb::Deploy { cohort, .. } => match plan.cohorts.iter().find(|known| known.name == *cohort) {
            Some(cohort) => show_count(start.members(cohort)),
            None => show_count(plan.devices.len() as u64),
        },
        StepVerb::Cancel { .. } | StepVerb::Pause { .. } | StepVerb::Resume { .. } | StepVerb::Retry { .. } => String::new(),
        StepVerb::Join { who, .. } | StepVerb::Leave { who, .. } | StepVerb::Tag { who, .. } | StepVerb::Untag { who, .. } => {
            found(who)
        }
    }
}

fn step_text(step: &PlannedStep) -> String {
    let at = match &step.at {
        StepTime::At(at) => exact_time(at.since(crate::time::SimTime::ZERO)),
        StepTime::After { step, by } => format!("step:{step}+{}", exact_time(*by)),
    };
    let when = match &step.when {
        None => format!("at {at}"),
        Some(measure) => {
            let held = match step.held_for.is_zero() {
                true => String::new(),
                false => format!(" for {}", exact_time(step.held_for)),
            };
            let late = match step.late.is_zero() {
                true => String::new(),
                false => format!(", {} late", exact_time(step.late)),
            };
            format!("from {at} on, once {measure}{held}{late}")
        }
    };
    let does = match &step.verb {
        StepVerb::Deploy { packages, cohort, main } => {
            let main = match main {
                Some(slug) if packages.len() > 1 => format!(", main {slug}"),
                Some(_) => String::new(),
                None => ", none of it main".to_owned(),
            };
            format!("deploy {} to {cohort}{main}", versions(packages))
        }
        StepVerb::Cancel { steps } => format!("cancel {}", steps.join(", ")),
        StepVerb::Pause { steps } => format!("pause {}", steps.join(", ")),
        StepVerb::Resume { steps } => format!("resume {}", steps.join(", ")),
        StepVerb::Retry { steps } => format!("retry {}", steps.join(", ")),
        StepVerb::Join { who, cohort } => format!("{who} join {cohort}"),
        StepVerb::Leave { who, cohort } => format!("{who} leave {cohort}"),
        StepVerb::Tag { who, tags } => {
            let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("tag {who} {}", tags.join(", "))
        }
        StepVerb::Untag { who, keys } => format!("untag {who} {}", keys.join(", ")),
    };
    format!("{when}: {does}")
}

/// How much of a fault is to be expected.
struct Expected {
    /// Devices, where the start tells.
    devices: Option<u64>,
    each: Each,
}

/// How much of a fault a device is to expect.
enum Each {
    /// So many times.
    Times(u64),
    /// So many times at most, within the scenario's duration.
    AtMost(u64),
    /// As often as its moment comes.
    Recurring,
    /// A part of what it could strike.
    Part(Share),
}

impl Expected {
    fn of(row: &PlannedFault, plan: &Plan, start: AtStart<'_>) -> Expected {
        let counted = row.planned_each();
        let single = match row.kind.target() {
            Target::Messages | Target::Requests => true,
            Target::Flash => row.times.is_some() && counted.is_none(),
            Target::Device | Target::Link => false,
        };
        let each = match (counted, row.every) {
            (Some(times), _) => Each::Times(times),
            (None, _) if single => Each::Part(row.chance),
            (None, Some(every)) => match begins(&row.at) {
                Some(from) => Each::AtMost(repetitions(plan.duration.saturating_sub(from), every)),
                None => Each::Recurring,
            },
            (None, None) => Each::Recurring,
        };
        let changes = row.who.keys().any(Key::changes);
        Expected {
            devices: (!changes).then(|| taken(row.who.pick, start.matching(&row.who))),
            each,
        }
    }

    /// Happenings that are planned, as a report counts them.
    fn planned(&self) -> u64 {
        match (&self.each, self.devices) {
            (Each::Times(times), Some(devices)) => devices.saturating_mul(*times),
            (Each::Times(_) | Each::AtMost(_) | Each::Recurring | Each::Part(_), _) => 0,
        }
    }

    fn number(&self) -> String {
        match (&self.each, self.devices) {
            (Each::Times(_), Some(_)) => show_count(self.planned()),
            (Each::AtMost(times), Some(devices)) => format!("<= {}", show_count(devices.saturating_mul(*times))),
            (Each::Times(_) | Each::AtMost(_), None) => "then".to_owned(),
            (Each::Recurring, _) => "open".to_owned(),
            (Each::Part(share), _) => share.to_string(),
        }
    }

    fn devices_text(&self) -> String {
        match self.devices {
            Some(1) => "1 device".to_owned(),
            Some(devices) => format!("{} devices", show_count(devices)),
            None => "whoever it is then".to_owned(),
        }
    }
}

/// When a fault begins at the earliest, where its moment is a time.
fn begins(moment: &Moment) -> Option<Duration> {
    match moment {
        Moment::Start => Some(Duration::ZERO),
        Moment::Time(times) => Some(*times.start()),
        Moment::Phase { .. } | Moment::Step { .. } | Moment::Progress { .. } | Moment::Flash { .. } => None,
    }
}

/// How many beginnings, `every` apart, lie within a time; one at its very end would last no time.
fn repetitions(within: Duration, every: Duration) -> u64 {
    let count = within.as_nanos().div_ceil(every.as_nanos().max(1)).max(1);
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn server_fault_text(row: &PlannedServerFault) -> String {
    let lasting = row.lasting.clone().or_else(|| row.kind.lasts().map(|own| own..=own));
    let lasting = lasting.map_or_else(
        || " until trouble ends".to_owned(),
        |lasting| format!(" for {}", exact_times(&lasting)),
    );
    let times = match (row.times, row.every) {
        (Some(1), _) | (None, None) => String::new(),
        (Some(times), None) => format!(", {} times", show_count(times.into())),
        (Some(times), Some(every)) => format!(", {} times, every {}", show_count(times.into()), exact_time(every)),
        (None, Some(every)) => format!(", again every {}", exact_time(every)),
    };
    let (kind, at) = (fault::server_kind(row.kind), fault::moment(&row.at));
    format!("{kind}: the server, at {at}{lasting}{times}")
}

fn fault_text(row: &PlannedFault, expected: &Expected) -> String {
    let mut text = fault::kind(&row.kind);
    if !row.only.is_empty() {
        let only: Vec<_> = row.only.iter().map(ToString::to_string).collect();
        write!(text, " only {}", only.join(", ")).expect("writing to a string cannot fail");
    }
    if let Each::Part(_) = expected.each {
        let what = match row.kind.target() {
            Target::Messages => "messages",
            Target::Requests => "image requests",
            Target::Flash => "flash operations",
            Target::Device | Target::Link => "times",
        };
        write!(text, ", of {what}").expect("writing to a string cannot fail");
    }
    let lasting = match row.lasting.clone().or_else(|| row.kind.lasts().map(|own| own..=own)) {
        Some(lasting) if lasting.end().is_zero() => String::new(),
        Some(lasting) => format!(" for {}", exact_times(&lasting)),
        None => " until trouble ends".to_owned(),
    };
    let times = match (row.times, row.every) {
        (Some(1), _) | (None, None) => String::new(),
        (Some(times), None) => format!(", {} times each", show_count(times.into())),
        (Some(times), Some(every)) => format!(", {} times each, every {}", show_count(times.into()), exact_time(every)),
        (None, Some(every)) => format!(", again every {}", exact_time(every)),
    };
    format!(
        "{text}: {} ({}), at {}{lasting}{times}",
        row.who,
        expected.devices_text(),
        fault::moment(&row.at)
    )
}

fn expectation_text(expectation: &Expectation) -> String {
    let when = match &expectation.at {
        JudgedAt::End => "at the end".to_owned(),
        JudgedAt::Always => "always".to_owned(),
        JudgedAt::Time(at) => format!("at {}", exact_time(at.since(crate::time::SimTime::ZERO))),
        JudgedAt::AfterStep { step, by } => format!("at step:{step}+{}", exact_time(*by)),
    };
    let aborts = match expectation.abort_on_fail {
        true => format!(", ends the run if it fails after {}", exact_time(expectation.after)),
        false => String::new(),
    };
    let mode = match expectation.mode {
        Modes::Both => "",
        Modes::Run => ", in run alone",
        Modes::Sim => ", in sim alone",
    };
    format!("{when}: {}{aborts}{mode}", expectation.text)
}

fn versions(versions: &[FirmwareVersion]) -> String {
    versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_wrap_at_spaces_and_long_words_are_cut() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrapped("", 4), [""]);
        assert_eq!(wrapped("under 5 % of", 8), ["under", "5 % of"]);
        for line in wrapped(&"é word ".repeat(40), 11) {
            assert!(line.chars().count() <= 11);
        }
    }

    #[test]
    fn repetitions_fill_the_time_there_is() {
        let seconds = Duration::from_secs;
        assert_eq!(repetitions(seconds(60), seconds(20)), 3);
        assert_eq!(repetitions(seconds(61), seconds(20)), 4);
        assert_eq!(repetitions(Duration::ZERO, seconds(20)), 1);
    }
}
