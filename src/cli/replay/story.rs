//! One device's story, or what befell all of them within some time, read from the trace of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use crate::cli::refusal::Refusal;
use crate::cli::results::put;
use crate::measure::{TraceLine, TraceNames};
use crate::model::{closest, parse_duration};
use crate::story::{Moment, Sentence, Story};
use crate::time::SimTime;

use super::ReplayArgs;
use super::recorded::{Damage, Recorded, TRACE, TraceLines};

/// Prints the story of `device`; gives the exit code.
pub(super) fn tell(args: &ReplayArgs, recorded: &Recorded, device: &str) -> Result<u8, Refusal> {
    if args.json {
        return Err(Refusal::bad_input(&"not supported yet: `--json` with `--device`"));
    }
    let from = moment("--from", args.from.as_deref())?;
    let to = moment("--to", args.to.as_deref())?;
    let found = Life::read(lines(recorded)?, device).map_err(|damage| broken(recorded, &damage))?;
    if found.moments.is_empty() && !is_listed(recorded, device) {
        return Err(unknown(recorded, device, &found.others));
    }
    let story = Story::tell(&found.moments, &found.names, end(recorded)).between(from, to);
    show(recorded, device, &story);
    Ok(0)
}

/// Prints what befell every device from one moment to another, in the order of time; gives the exit code.
pub(super) fn tell_all(args: &ReplayArgs, recorded: &Recorded) -> Result<u8, Refusal> {
    if args.json {
        return Err(Refusal::bad_input(&"not supported yet: `--json` with `--from` or `--to`"));
    }
    let from = moment("--from", args.from.as_deref())?;
    let to = moment("--to", args.to.as_deref())?;
    let mut lives: BTreeMap<String, Vec<Moment>> = BTreeMap::new();
    let mut names = TraceNames::default();
    let mut lines = lines(recorded)?;
    while let Some((number, line)) = lines.next().map_err(|damage| broken(recorded, &damage))? {
        let read = TraceLine::read(line, &mut names).map_err(|error| {
            let what = error.to_string();
            broken(recorded, &Damage { line: number, what })
        })?;
        if let Some(TraceLine { at, device, happening }) = read {
            lives.entry(device).or_default().push(Moment { at, happening });
        }
    }
    let mut sentences = Vec::new();
    for (device, moments) in &lives {
        let story = Story::tell(moments, &names, end(recorded)).between(from, to);
        sentences.extend(story.sentences.into_iter().map(|sentence| Sentence {
            text: format!("{device}  {}", sentence.text),
            ..sentence
        }));
    }
    // Of one moment they stay in the order of devices.
    sentences.sort_by_key(|sentence| sentence.at);
    let devices = format!("{} devices", lives.len());
    show(recorded, &devices, &Story { sentences, ending: None });
    Ok(0)
}

fn show(recorded: &Recorded, whom: &str, story: &Story) {
    let summary = &recorded.summary;
    let (name, seed) = (&summary.scenario.name, summary.scenario.seed);
    let heading = format!("{whom} in {name}, {} with seed {seed}: {}", summary.mode, summary.status);
    put(&format!("{}\n{story}", heading.replace(char::is_control, " ")));
}

fn end(recorded: &Recorded) -> SimTime {
    SimTime::from(Duration::try_from_secs_f64(recorded.summary.elapsed_s).unwrap_or_default())
}

fn lines(recorded: &Recorded) -> Result<TraceLines, Refusal> {
    let lines = recorded
        .trace()
        .map_err(|error| no_trace(recorded, &format!("cannot be read: {error}")))?;
    lines.ok_or_else(|| no_trace(recorded, "is missing"))
}

fn moment(flag: &str, text: Option<&str>) -> Result<Option<SimTime>, Refusal> {
    let Some(text) = text else {
        return Ok(None);
    };
    let time = parse_duration(text).map_err(|error| Refusal::bad_input(&format!("`{flag} {text}`: {error}")))?;
    Ok(Some(SimTime::from(time)))
}

/// What a trace holds of one device.
struct Life {
    moments: Vec<Moment>,
    names: TraceNames,
    /// Ids of the other devices.
    others: BTreeSet<String>,
}

impl Life {
    fn read(mut lines: TraceLines, device: &str) -> Result<Life, Damage> {
        let mut life = Life {
            moments: Vec::new(),
            names: TraceNames::default(),
            others: BTreeSet::new(),
        };
        let own = format!("\"device\":{},", serde_json::Value::from(device));
        let mut last = String::new();
        while let Some((number, line)) = lines.next()? {
            let is_own = line.contains(&own);
            // Only ids are of interest in other lines, and only new ones.
            if !is_own && !life.moments.is_empty() {
                continue;
            }
            let read = TraceLine::read(line, &mut life.names).map_err(|error| Damage {
                line: number,
                what: error.to_string(),
            })?;
            let Some(TraceLine { at, device, happening }) = read else {
                continue;
            };
            if is_own {
                life.moments.push(Moment { at, happening });
            } else if device != last {
                last.clone_from(&device);
                life.others.insert(device);
            }
        }
        Ok(life)
    }
}

/// Whether `devices.csv` has a line of the device: it took part, and nothing happened to it.
fn is_listed(recorded: &Recorded, device: &str) -> bool {
    let Ok(file) = File::open(recorded.folder.join("devices.csv")) else {
        return false;
    };
    let start = format!("{device},");
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .any(|line| line.starts_with(&start))
}

fn unknown(recorded: &Recorded, device: &str, others: &BTreeSet<String>) -> Refusal {
    let ids = || others.iter().map(String::as_str);
    let hint = match (closest(device, ids()), ids().next(), ids().next_back()) {
        (Some(close), _, _) => format!("did you mean `{close}`?"),
        (None, Some(first), Some(last)) => format!("there are {} devices, from `{first}` to `{last}`", others.len()),
        (None, _, _) => "the trace is empty".to_owned(),
    };
    Refusal::bad_input(&format!(
        "`--device {device}`: {} has no such device; {hint}",
        recorded.folder.display()
    ))
}

fn no_trace(recorded: &Recorded, problem: &str) -> Refusal {
    let again = recorded.rerun(" --set scenario.trace=on");
    Refusal::bad_input(&format!(
        "{} {problem}: a story needs it; have one written with\n  {again}",
        path(recorded)
    ))
}

fn broken(recorded: &Recorded, damage: &Damage) -> Refusal {
    let again = recorded.rerun("");
    Refusal::bad_input(&format!(
        "{}: {damage}; have it written again with\n  {again}",
        recorded.folder.display()
    ))
}

fn path(recorded: &Recorded) -> String {
    recorded.folder.join(TRACE).display().to_string()
}
