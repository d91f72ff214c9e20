//! What the recorder of one shard holds, and how such parts become the recorder of the whole: figures add up, devices stand where their
//! own shard left them. Names are numbers in a recorder, given as they appear, so that each part brings its own.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    AttemptId, Carried, CohortName, DeploymentName, DeviceIndex, FirmwareVersion, FlashCounts, Phase, Session, Tags,
};
use crate::time::SimTime;

use super::super::fault::FaultFigures;
use super::super::group::Group;
use super::super::line::LineError;
use super::super::matrix::Matrix;
use super::super::roster::{AttemptRow, Names, Row};
use super::super::series::Figure;
use super::super::timeline::Timeline;
use super::{Recorder, SLOWEST_MAX};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// The figures of one shard.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    cohorts: Vec<CohortName>,
    firmware: Vec<FirmwareVersion>,
    deployments: Vec<DeploymentName>,
    devices: Vec<Stands>,
    total: Group,
    by_fleet: Vec<Group>,
    /// By position in `cohorts`.
    by_cohort: Vec<Group>,
    /// In order of what was asked for.
    requested: Vec<Figure>,
    matrix: Matrix,
    matrices: Vec<Matrix>,
    timeline: Timeline,
    /// Image bytes by the end of their second.
    seconds: Vec<(SimTime, u64)>,
    left_out: u64,
    fingerprint: u64,
    slowest: Vec<(Duration, DeviceIndex)>,
    faults: Vec<FaultFigures>,
}

/// How a device stands at the end.
#[derive(Debug, Serialize, Deserialize)]
struct Stands {
    device: DeviceIndex,
    tags: Tags,
    cohorts: Vec<u16>,
    runs: Vec<u16>,
    phase: Phase,
    session: Session,
    phase_since: SimTime,
    sequence: u32,
    current: Option<AttemptId>,
    attempts: Vec<AttemptRow>,
    carried: Carried,
    flash: Option<FlashCounts>,
}

impl Recorder {
    /// What a shard's recorder holds once its run is over.
    pub fn part(&self) -> Part {
        let stands = |device: DeviceIndex| {
            let row = &self.roster.rows[device.at()];
            Stands {
                device,
                tags: row.tags.as_ref().clone(),
                cohorts: row.cohorts.to_vec(),
                runs: row.runs.to_vec(),
                phase: row.phase,
                session: row.session,
                phase_since: row.phase_since,
                sequence: row.sequence,
                current: row.current,
                attempts: row.attempts.to_vec(),
                carried: row.carried,
                flash: self.flash.as_ref().map(|flash| flash[device.at()]),
            }
        };
        Part {
            cohorts: self.roster.cohorts.values().to_vec(),
            firmware: self.roster.firmware.values().to_vec(),
            deployments: self.roster.deployments.values().to_vec(),
            devices: self.counted().map(stands).collect(),
            total: self.total.clone(),
            by_fleet: self.fleets.clone(),
            by_cohort: self.cohorts.clone(),
            requested: self.requested.iter().map(|series| series.figure().clone()).collect(),
            matrix: self.matrix.clone(),
            matrices: self.matrices.clone(),
            timeline: self.timeline.clone(),
            seconds: self.seconds.clone().unwrap_or_default(),
            left_out: self.trace.as_ref().map_or(0, |trace| trace.left_out()),
            fingerprint: self.fingerprint,
            slowest: self.slowest().map(|(device, took)| (took, device)).collect(),
            faults: self.roster.faults.clone(),
        }
    }

    /// Makes a recorder that has observed nothing the one of all these parts, of a run that was over at `end`.
    pub fn add_up(&mut self, parts: Vec<Part>, end: SimTime) {
        let mut timelines = Vec::with_capacity(parts.len());
        let mut seconds: BTreeMap<u64, u64> = BTreeMap::new();
        for part in parts {
            for (at, bytes) in &part.seconds {
                *seconds.entry(at.as_nanos().div_ceil(SECOND)).or_default() += bytes;
            }
            timelines.push(part.timeline.clone());
            self.add(part);
        }
        self.timeline = Timeline::sum(timelines);
        for (second, bytes) in seconds {
            self.flowed(second, bytes, end);
        }
        self.count_anew();
    }

    /// Takes a line of a shard's trace, where a trace is kept.
    ///
    /// # Errors
    /// [`LineError`] if it is none, or of a device that does not take part.
    pub fn add_trace_line(&mut self, line: &str) -> Result<(), LineError> {
        let roster = &self.roster;
        match &mut self.trace {
            Some(trace) => trace.read_line(line, |id| roster.find(id)),
            None => Ok(()),
        }
    }

    fn add(&mut self, part: Part) {
        let cohorts = numbered(&mut self.roster.cohorts, &part.cohorts);
        let firmware = numbered(&mut self.roster.firmware, &part.firmware);
        let deployments = numbered(&mut self.roster.deployments, &part.deployments);
        let known = self.roster.cohorts.values().len();
        self.cohorts.resize(known.max(self.cohorts.len()), Group::default());
        self.total.add(&part.total);
        self.fleets
            .iter_mut()
            .zip(&part.by_fleet)
            .for_each(|(sum, more)| sum.add(more));
        for (number, more) in cohorts.iter().zip(&part.by_cohort) {
            self.cohorts[usize::from(*number)].add(more);
        }
        self.requested
            .iter_mut()
            .zip(&part.requested)
            .for_each(|(sum, more)| sum.add(more));
        self.matrix.merge(&part.matrix);
        self.matrices
            .iter_mut()
            .zip(&part.matrices)
            .for_each(|(sum, more)| sum.merge(more));
        self.roster
            .faults
            .iter_mut()
            .zip(&part.faults)
            .for_each(|(sum, more)| sum.add(more));
        self.fingerprint = self.fingerprint.wrapping_add(part.fingerprint);
        self.slowest
            .extend(part.slowest.iter().map(|(took, device)| (*took, Reverse(*device))));
        while self.slowest.len() > SLOWEST_MAX {
            self.slowest.pop_first();
        }
        if let Some(trace) = &mut self.trace {
            trace.leave_out(part.left_out);
        }
        let devices = part
            .devices
            .into_iter()
            .filter(|stands| stands.device.at() < self.roster.rows.len());
        for mut stands in devices.collect::<Vec<_>>() {
            let renumber = |numbers: &[u16], by: &[u16]| {
                numbers
                    .iter()
                    .filter_map(|number| by.get(usize::from(*number)).copied())
                    .collect()
            };
            for attempt in &mut stands.attempts {
                attempt.deployment = attempt
                    .deployment
                    .and_then(|number| deployments.get(usize::from(number)).copied());
            }
            if let (Some(flash), Some(counts)) = (&mut self.flash, stands.flash) {
                flash[stands.device.at()] = counts;
            }
            stands.cohorts = renumber(&stands.cohorts, &cohorts);
            stands.runs = renumber(&stands.runs, &firmware);
            self.roster.adopt(stands.device, stands.into_row());
        }
    }

    /// So many image bytes came in a second, which the end of the run may have cut short.
    fn flowed(&mut self, second: u64, bytes: u64, end: SimTime) {
        let until = (second * SECOND).min(end.as_nanos());
        let lasted = until - second.saturating_sub(1) * SECOND;
        if lasted > 0 && SimTime::from_nanos(until) >= self.warmup {
            let rate = u128::from(bytes) * u128::from(SECOND) / u128::from(lasted);
            self.throughput.0.record_amount(rate as u64);
        }
    }
}

impl Stands {
    fn into_row(self) -> Row {
        let mut row = Row::at_rest(Arc::new(self.tags));
        row.cohorts = self.cohorts.into_iter().collect();
        row.runs = self.runs.into_iter().collect();
        row.phase = self.phase;
        row.session = self.session;
        row.phase_since = self.phase_since;
        row.sequence = self.sequence;
        row.current = self.current;
        row.attempts = self.attempts.into_iter().collect();
        row.carried = self.carried;
        row
    }
}

/// The numbers that the names of a part have here, in its order.
fn numbered<T: Ord + Clone>(names: &mut Names<T>, of_part: &[T]) -> Vec<u16> {
    of_part.iter().map(|name| names.number(name)).collect()
}
