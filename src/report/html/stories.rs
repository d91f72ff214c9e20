//! The slowest devices of a run, each with its life read from the trace: a strip of phases, and its story in sentences.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use crate::measure::{Happening, TraceLine, TraceNames};
use crate::report::recording::Recording;
use crate::report::untrusted::clean;
use crate::report::words::span as shown;
use crate::story::{Moment, Story};
use crate::time::SimTime;

use super::axis::{TimeAxis, span};
use super::svg::escape;

/// Longest line of a trace that is read.
const LINE_MAX: u64 = 1 << 20;
/// Most happenings of one device that are told.
const MOMENTS_MAX: usize = 400;
/// Most sentences of a story.
const SENTENCES_MAX: usize = 80;

/// One slow device as the report shows it.
pub(super) struct Slow {
    pub(super) device: String,
    pub(super) cohorts: String,
    pub(super) took: String,
    pub(super) phase: String,
    pub(super) why: String,
    /// A strip of phases, SVG; empty without a trace.
    pub(super) strip: String,
    /// Its story, a line a sentence; empty without a trace.
    pub(super) story: Vec<String>,
}

/// The slowest devices, in the order of the summary.
pub(super) fn slowest(run: &Recording) -> Vec<Slow> {
    let rows = &run.summary.slowest_devices;
    let mut lives: BTreeMap<&str, Life> = rows.iter().map(|row| (row.device.as_str(), Life::default())).collect();
    // A trace that is missing or damaged costs the stories, not the report.
    let _ = read(&run.folder.join("trace.ndjson.zst"), &mut lives);
    let end = SimTime::from(Duration::try_from_secs_f64(run.summary.elapsed_s).unwrap_or_default());
    let slow = rows.iter().map(|row| {
        let life = &lives[row.device.as_str()];
        let told = (!life.moments.is_empty()).then(|| Story::tell(&life.moments, &life.names, end).to_string());
        let mut story: Vec<_> = told.iter().flat_map(|told| told.lines()).map(clean).collect();
        if story.len() > SENTENCES_MAX {
            let left_out = story.len() - SENTENCES_MAX;
            story.drain(SENTENCES_MAX / 2..SENTENCES_MAX / 2 + left_out);
            story.insert(SENTENCES_MAX / 2, format!("… {left_out} sentences left out …"));
        }
        Slow {
            device: row.device.clone(),
            cohorts: match row.cohorts.is_empty() {
                true => "–".to_owned(),
                false => row.cohorts.join(", "),
            },
            took: match row.finished {
                true => shown(Some(row.update_time_s)),
                false => format!("{}, open", shown(Some(row.update_time_s))),
            },
            phase: row.phase.clone(),
            why: row.why.clone().unwrap_or_else(|| life.longest()),
            strip: life.strip(run.summary.elapsed_s),
            story,
        }
    });
    slow.collect()
}

/// What a trace holds of one device.
#[derive(Default)]
struct Life {
    moments: Vec<Moment>,
    names: TraceNames,
    /// Phases with the moment in which each began.
    phases: Vec<(f64, &'static str)>,
    retries: u32,
    power_cuts: u32,
}

impl Life {
    fn take(&mut self, line: &str) {
        let Ok(Some(TraceLine { at, happening, .. })) = TraceLine::read(line, &mut self.names) else {
            return;
        };
        match happening {
            Happening::Transition { transition, .. } => self.phases.push((at.as_secs_f64(), transition.to.word())),
            Happening::Retry { .. } => self.retries += 1,
            Happening::PowerLost => self.power_cuts += 1,
            _ => {}
        }
        if self.moments.len() < MOMENTS_MAX {
            self.moments.push(Moment { at, happening });
        }
    }

    /// The phase that took longest, and what happened on the way.
    fn longest(&self) -> String {
        let next = self.phases.iter().skip(1);
        let spent = self
            .phases
            .iter()
            .zip(next)
            .map(|((from, phase), (to, _))| (*phase, to - from));
        let open = spent.filter(|(phase, _)| !AT_REST.contains(phase));
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        open.for_each(|(phase, spent)| *sums.entry(phase).or_default() += spent);
        let Some((phase, spent)) = sums.into_iter().max_by(|one, other| one.1.total_cmp(&other.1)) else {
            return String::new();
        };
        let mut text = format!("{} in {phase}", span(spent));
        let happened = [
            (self.retries, "wait before a retry", "waits before a retry"),
            (self.power_cuts, "loss of power", "losses of power"),
        ];
        for (count, one, several) in happened {
            match count {
                0 => {}
                1 => text.push_str(&format!(", 1 {one}")),
                _ => text.push_str(&format!(", {count} {several}")),
            }
        }
        text
    }

    fn strip(&self, elapsed: f64) -> String {
        if self.phases.is_empty() {
            return String::new();
        }
        let axis = TimeAxis::new(elapsed);
        let mut svg = "<svg class=\"strip\" viewBox=\"0 0 300 14\" role=\"img\" aria-label=\"phases over the run\">\
                       <rect class=\"f-none\" width=\"300\" height=\"14\"/>"
            .to_owned();
        let ends = self.phases.iter().skip(1).map(|(at, _)| *at).chain([elapsed]);
        for ((from, phase), to) in self.phases.iter().zip(ends) {
            let (x, width) = (axis.place(*from) * 300.0, (axis.place(to) - axis.place(*from)) * 300.0);
            let tip = format!("{phase}: {} from {}", span(to - from), span(*from));
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{x:.1}\" width=\"{:.1}\" height=\"14\"><title>{}</title></rect>",
                class(phase),
                width.max(0.7),
                escape(&tip)
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

const AT_REST: [&str; 5] = ["idle", "succeeded", "failed", "cancelled", "rejected"];

/// The color of a phase.
pub(super) fn class(phase: &str) -> &'static str {
    match phase {
        "downloading" => "f1",
        "retrying" => "f2",
        "waiting" => "f7",
        "swapping" | "reverting" => "f4",
        "probation" => "f5",
        "installing" | "accepted" | "staged" | "committing" => "f3",
        "succeeded" => "f-ok",
        "failed" | "rejected" => "f-bad",
        _ => "f-none",
    }
}

/// Gives each line of a trace to the life of its device.
fn read(path: &Path, lives: &mut BTreeMap<&str, Life>) -> std::io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, zstd::Decoder::new(File::open(path)?)?);
    let mut line = String::new();
    while reader.by_ref().take(LINE_MAX).read_line(&mut line)? > 0 {
        // The device stands second in every line; ids with a quote in them have no story here.
        let device = line.split_once("\"device\":\"").and_then(|(_, rest)| rest.split_once('"'));
        if let Some(life) = device.and_then(|(device, _)| lives.get_mut(device)) {
            life.take(line.trim_end());
        }
        line.clear();
    }
    Ok(())
}
