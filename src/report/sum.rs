//! From an outcome to its summary.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::faults::{Moment, PlannedFault, Target};
use crate::measure::{Comparison, FaultFigures, Recorder, is_stuck};
use crate::model::{CohortName, DeviceIndex, LEGAL, Phase, UpdateState, show_count};
use crate::play::{Filled, HarnessReport, Mode, Outcome, RunEnd, ThreadFigures};
use crate::scenario::{Plan, StepVerb, TlsPlan};
use crate::time::SimTime;
use crate::verdict::Judgement;

use super::failures::{failures, short};
use super::fleets::{fleets, transitions};
use super::series::metrics;
use super::shard::SHARD;
use super::summary::{
    Coverage, Devices, ErrorRow, ExpectationRow, FailureRow, FaultRow, FilledRow, FindingRow, FirstFinding, HarnessRow, Invariants,
    LargestFleetRow, LatenessRow, MachineRow, Note, Product, SUMMARY_SCHEMA, ScenarioRow, SlowRow, SlowestRow, StepRow, StuckRow,
    Summary, ThreadRow, WindowRow,
};
use super::twin::TwinRow;
use super::untrusted::clean;

/// Most stuck devices that are listed.
const STUCK_MAX: usize = 1000;
/// Most slow devices that are listed.
const SLOW_MAX: usize = 50;

pub(super) fn sum_up(outcome: &Outcome) -> Summary {
    let mut summary = alone(outcome);
    summary.twin = outcome.twin.as_deref().map(|twin| TwinRow::of(&summary, &alone(twin)));
    summary
}

/// Without its twin.
fn alone(outcome: &Outcome) -> Summary {
    let (plan, recorder) = (&outcome.plan, &outcome.recorder);
    let census = Census::of(recorder);
    let stuck = stuck(outcome);
    let unseen = recorder.matrix().unseen();
    Summary {
        schema: SUMMARY_SCHEMA.to_owned(),
        squall: Product {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("SQUALL_COMMIT").map(str::to_owned),
        },
        mode: outcome.mode.word().to_owned(),
        status: outcome.status().word().to_owned(),
        exit_code: outcome.status().exit_code(),
        end: end_word(&outcome.end).to_owned(),
        elapsed_s: seconds(outcome.elapsed),
        started_at: outcome.started_at.clone(),
        scenario: ScenarioRow {
            name: clean(&plan.name),
            file: plan.file.as_ref().map(|path| clean(&path.to_string_lossy())),
            hash: plan.hash.clone(),
            seed: plan.seed,
            overrides: plan.overrides.iter().map(|(key, value)| (clean(key), clean(value))).collect(),
        },
        machine: outcome.harness.as_ref().map(machine),
        metrics: metrics(recorder, &census, outcome.elapsed),
        devices: census.devices,
        steps: steps(outcome),
        windows: windows(outcome),
        expectations: outcome
            .judgements
            .iter()
            .map(|judgement| expectation(plan, judgement))
            .collect(),
        invariants: Invariants {
            rules: outcome.checks.rules,
            checks: outcome.checks.checks,
        },
        findings: findings(outcome),
        errors: errors(outcome),
        failures: failures(outcome)
            .into_iter()
            .map(|group| FailureRow {
                count: group.count,
                reason: group.reason,
                detail: group.detail.map(|detail| clean(&detail)),
            })
            .collect(),
        transitions: transitions(recorder.matrix()),
        fleets: fleets(outcome),
        coverage: Coverage {
            legal: LEGAL.len() as u32,
            seen: (LEGAL.len() - unseen.len()) as u32,
            unseen: unseen.iter().map(|(from, to)| format!("{from}>{to}")).collect(),
        },
        stuck_total: stuck.len() as u64,
        stuck: stuck.into_iter().take(STUCK_MAX).collect(),
        slowest: recorder.slowest().next().map(|(device, took)| SlowestRow {
            device: clean(plan.devices[device.at()].id.as_str()),
            update_time_s: round(took.as_secs_f64()),
        }),
        slowest_devices: slowest_devices(outcome),
        faults: fault_rows(plan, recorder.faults()),
        notes: notes(outcome),
        fingerprint: format!("{:016x}", recorder.fingerprint()),
        harness: outcome.harness.as_ref().map(harness),
        twin: None,
        files: files(outcome),
    }
}

const fn end_word(end: &RunEnd) -> &'static str {
    match end {
        RunEnd::Settled => "settled",
        RunEnd::Duration => "duration",
        RunEnd::Aborted => "aborted",
        RunEnd::Interrupted => "interrupted",
        RunEnd::Failed(_) => "failed",
    }
}

/// Counts over the devices, made in one pass.
pub(super) struct Census {
    devices: Devices,
    /// Attempts that the server holds open: of all devices, by fleet, by cohort.
    pub(super) open: u64,
    pub(super) open_by_fleet: BTreeMap<String, u64>,
    pub(super) open_by_cohort: BTreeMap<String, u64>,
}

impl Census {
    fn of(recorder: &Recorder) -> Census {
        let no_states = || -> BTreeMap<String, u64> { UpdateState::ALL.iter().map(|state| (state.to_string(), 0)).collect() };
        let mut census = Census {
            devices: Devices {
                total: recorder.device_count(),
                by_state: UpdateState::ALL
                    .iter()
                    .map(|state| (state.to_string(), recorder.in_state(*state)))
                    .collect(),
                by_phase: Phase::ALL
                    .iter()
                    .map(|phase| (phase.to_string(), recorder.in_phase(*phase)))
                    .collect(),
                by_version: BTreeMap::new(),
                by_cohort: recorder
                    .by_cohort()
                    .map(|(cohort, _)| (clean(cohort.as_str()), no_states()))
                    .collect(),
            },
            open: 0,
            open_by_fleet: BTreeMap::new(),
            open_by_cohort: BTreeMap::new(),
        };
        census
            .devices
            .by_cohort
            .insert(CohortName::all().to_string(), census.devices.by_state.clone());
        for device in recorder.devices() {
            let held = device
                .attempts
                .iter()
                .filter(|attempt| attempt.deployment.is_some() && !attempt.state.ended());
            let open = held.count() as u64;
            census.open += open;
            *census.open_by_fleet.entry(device.fleet.to_owned()).or_default() += open;
            for runs in device.runs {
                *census.devices.by_version.entry(clean(&runs.to_string())).or_default() += 1;
            }
            for cohort in device.cohorts {
                *census.open_by_cohort.entry(cohort.to_string()).or_default() += open;
                let states = census
                    .devices
                    .by_cohort
                    .entry(clean(cohort.as_str()))
                    .or_insert_with(no_states);
                *states.entry(device.state.to_string()).or_default() += 1;
            }
        }
        census
    }
}

/// What was planned of a fault, and what came of it.
/// A row a fault of devices, then of the server, then a row a fleet and cheat.
fn fault_rows(plan: &Plan, came: &[FaultFigures]) -> Vec<FaultRow> {
    let faults = plan.faults.iter().zip(came).map(|(planned, came)| fault(planned, came));
    let of_server = &came[plan.faults.len()..plan.first_cheat()];
    let cheats = came[plan.first_cheat()..].iter().map(|came| FaultRow {
        name: clean(&came.name),
        kind: clean(&came.kind),
        devices: came.devices,
        planned: None,
        done: came.done,
        missed: None,
        missed_because: BTreeMap::new(),
        strikes: None,
        chance_percent: None,
        tried: None,
        phases: struck(came),
    });
    faults.chain(of_server.iter().map(fault_of_server)).chain(cheats).collect()
}

/// How often devices were struck in each phase.
fn struck(came: &FaultFigures) -> BTreeMap<String, u64> {
    let phases = Phase::ALL.iter().zip(came.phases).filter(|(_, count)| *count > 0);
    phases.map(|(phase, count)| (phase.to_string(), count)).collect()
}

fn fault(planned: &PlannedFault, came: &FaultFigures) -> FaultRow {
    let by_chance = planned.planned_each().is_none();
    let strikes = match planned.kind.target() {
        Target::Messages => Some("messages"),
        Target::Requests => Some("requests"),
        Target::Flash if by_chance => Some("operations"),
        Target::Flash | Target::Device | Target::Link => None,
    };
    FaultRow {
        name: clean(&came.name),
        kind: clean(&came.kind),
        devices: came.devices,
        planned: came.planned,
        done: came.done,
        missed: came.planned.map(|_| came.missed),
        missed_because: came.reasons.iter().map(|(why, count)| (why.to_string(), *count)).collect(),
        strikes: strikes.map(str::to_owned),
        chance_percent: strikes.map(|_| planned.chance.0 as f64 / 1e4),
        // Operations that it spared are not counted: most of them nobody sees.
        tried: strikes
            .filter(|strikes| *strikes != "operations")
            .map(|_| came.done + came.spared),
        phases: struck(came),
    }
}

/// What was planned of a fault of the server, and what came of it.
fn fault_of_server(came: &FaultFigures) -> FaultRow {
    FaultRow {
        name: clean(&came.name),
        kind: clean(&came.kind),
        devices: 0,
        planned: came.planned,
        done: came.done,
        missed: came.planned.map(|_| came.missed),
        missed_because: came.reasons.iter().map(|(why, count)| (why.to_string(), *count)).collect(),
        strikes: None,
        chance_percent: None,
        tried: None,
        phases: BTreeMap::new(),
    }
}

fn expectation(plan: &Plan, judgement: &Judgement) -> ExpectationRow {
    let expectation = &plan.expectations[judgement.expectation];
    let unit = expectation.measure.unit();
    let shown = |value: f64| if unit == "%" { value * 100.0 } else { value };
    let limit = expectation.measure.comparison.map_or(0.0, |Comparison { limit, .. }| limit);
    ExpectationRow {
        that: clean(&expectation.text),
        line: expectation.line,
        judged_at_s: seconds(judgement.judged_at),
        measured: judgement.measured.and_then(|value| finite(shown(value))),
        limit: round(shown(limit)),
        unit: unit.to_owned(),
        passed: judgement.passed,
        aborted: judgement.aborted,
        endless: judgement.measured.is_some_and(f64::is_infinite),
    }
}

fn findings(outcome: &Outcome) -> Vec<FindingRow> {
    let findings = outcome.findings.iter().map(|finding| FindingRow {
        rule: finding.rule.to_owned(),
        count: finding.count,
        first: FirstFinding {
            device: finding.device.as_ref().map(|device| clean(device.as_str())),
            at_s: seconds(finding.at),
            evidence: clean(&finding.evidence),
        },
    });
    findings.collect()
}

/// Trouble of the harness; what ended the run stands first.
fn errors(outcome: &Outcome) -> Vec<ErrorRow> {
    let mut rows: Vec<_> = outcome
        .errors
        .iter()
        .map(|error| ErrorRow {
            message: clean(&error.message),
            count: error.count,
            first_device: error.first_device.as_deref().map(clean),
        })
        .collect();
    if let RunEnd::Failed(why) = &outcome.end {
        let message = clean(why);
        if !rows.iter().any(|row| row.message == message) {
            let row = ErrorRow {
                message,
                count: 1,
                first_device: None,
            };
            rows.insert(0, row);
        }
    }
    rows
}

/// Devices that their own firmware hangs, and those that have been in a phase for far longer than others.
fn stuck(outcome: &Outcome) -> Vec<StuckRow> {
    let mut rows = Vec::new();
    for open in &outcome.left_open {
        let device = outcome.recorder.device(open.device);
        let spent = outcome.elapsed.since(device.phase_since);
        let long = is_stuck(spent, &outcome.recorder.total().phase_time[device.phase as usize]);
        if open.stuck_by_firmware || (long && !device.phase.at_rest()) {
            rows.push(StuckRow {
                device: clean(device.id.as_str()),
                phase: device.phase.to_string(),
                for_s: round(spent.as_secs_f64()),
                why: clean(&open.why.to_string()),
            });
        }
    }
    rows
}

/// Devices that are still open, longest first, then those whose update took longest.
fn slowest_devices(outcome: &Outcome) -> Vec<SlowRow> {
    let row = |device: DeviceIndex, took: Duration, why: Option<String>| {
        let shown = outcome.recorder.device(device);
        SlowRow {
            device: clean(shown.id.as_str()),
            cohorts: shown.cohorts.iter().map(|cohort| clean(cohort.as_str())).collect(),
            update_time_s: round(took.as_secs_f64()),
            finished: why.is_none(),
            phase: shown.phase.to_string(),
            why,
        }
    };
    let since = |device: DeviceIndex| outcome.recorder.device(device).phase_since;
    let mut open: Vec<_> = outcome.left_open.iter().collect();
    open.sort_by_key(|left| (since(left.device), left.device));
    let open = open.into_iter().take(SLOW_MAX).map(|left| {
        let device = outcome.recorder.device(left.device);
        let began = outcome.recorder.update_began(left.device).unwrap_or(device.phase_since);
        row(left.device, outcome.elapsed.since(began), Some(clean(&left.why.to_string())))
    });
    let mut rows: Vec<SlowRow> = open.collect();
    for (device, took) in outcome.recorder.slowest() {
        let id = clean(outcome.plan.devices[device.at()].id.as_str());
        if rows.len() < SLOW_MAX && !rows.iter().any(|row| row.device == id) {
            rows.push(row(device, took, None));
        }
    }
    rows
}

fn steps(outcome: &Outcome) -> Vec<StepRow> {
    let rows = outcome.plan.steps.iter().zip(&outcome.fired).map(|(step, fired)| StepRow {
        name: clean(&step.name),
        what: clean(&verb_words(&step.verb)),
        at_s: fired.map(seconds),
    });
    rows.collect()
}

/// As a person says it.
fn verb_words(verb: &StepVerb) -> String {
    match verb {
        StepVerb::Deploy { packages, cohort, .. } => {
            let packages: Vec<_> = packages.iter().map(ToString::to_string).collect();
            format!("deploy {} to {cohort}", packages.join(", "))
        }
        StepVerb::Cancel { steps } => format!("cancel {}", steps.join("|")),
        StepVerb::Pause { steps } => format!("pause {}", steps.join("|")),
        StepVerb::Resume { steps } => format!("resume {}", steps.join("|")),
        StepVerb::Retry { steps } => format!("retry {}", steps.join("|")),
        StepVerb::Join { who, cohort } => format!("join {who} to {cohort}"),
        StepVerb::Leave { who, cohort } => format!("leave {who} from {cohort}"),
        StepVerb::Tag { who, tags } => {
            let tags: Vec<_> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("tag {who} with {}", tags.join(", "))
        }
        StepVerb::Untag { who, keys } => format!("untag {who}: {}", keys.join(", ")),
    }
}

/// When each fault was on. One whose moment is a time, the start or a step has one window, from its first time to its last; one that
/// follows single devices has the window in which it was seen at work; one of the server has a window each time.
fn windows(outcome: &Outcome) -> Vec<WindowRow> {
    let plan = &outcome.plan;
    let rows = plan.faults.iter().enumerate().filter_map(|(position, fault)| {
        let (from, drawn) = match &fault.at {
            Moment::Start => (SimTime::ZERO, Duration::ZERO),
            Moment::Time(range) => (SimTime::from(*range.start()), range.end().saturating_sub(*range.start())),
            Moment::Step { step, after } => {
                let position = plan.steps.iter().position(|planned| planned.name == *step)?;
                let fired = (*outcome.fired.get(position)?)?;
                (fired + *after.start(), after.end().saturating_sub(*after.start()))
            }
            Moment::Phase { .. } | Moment::Progress { .. } | Moment::Flash { .. } => return seen_at_work(outcome, position),
        };
        let lasting = fault
            .lasting
            .as_ref()
            .map(|range| *range.end())
            .or_else(|| fault.kind.lasts());
        let again = match (fault.every, fault.times) {
            (None, _) => Some(Duration::ZERO),
            (Some(every), Some(times)) => Some(every * times.saturating_sub(1)),
            (Some(_), None) => None,
        };
        let to = lasting.zip(again).map(|(lasting, again)| from + drawn + again + lasting);
        let end = SimTime::from(plan.duration);
        Some(WindowRow {
            name: clean(&fault.name),
            kind: clean(&fault.kind.to_string()),
            from_s: seconds(from),
            to_s: Some(seconds(to.unwrap_or(end).min(end))),
        })
    });
    let of_server = outcome.server_windows.iter().map(|window| {
        let fault = &plan.server_faults[window.fault];
        WindowRow {
            name: clean(&fault.name),
            kind: clean(&fault.kind.to_string()),
            from_s: seconds(window.from),
            to_s: window.to.map(seconds),
        }
    });
    rows.filter(|row| row.from_s <= outcome.elapsed.as_secs_f64())
        .chain(of_server)
        .collect()
}

/// From the first moment at which a fault was seen at a device to the last, or to the end where it is still on.
fn seen_at_work(outcome: &Outcome, position: usize) -> Option<WindowRow> {
    let figures = outcome.recorder.faults().get(position)?;
    let (from, to) = figures.seen?;
    let to = if figures.on > 0 { outcome.elapsed } else { to };
    Some(WindowRow {
        name: clean(&figures.name),
        kind: clean(&figures.kind),
        from_s: seconds(from),
        to_s: Some(seconds(to)),
    })
}

/// Deviations and simplifications that every reader of the figures must know of.
fn notes(outcome: &Outcome) -> Vec<Note> {
    let plan = &outcome.plan;
    let note = |about: &str, text: String| Note {
        about: about.to_owned(),
        text,
    };
    let mut notes = Vec::new();
    if !plan.split.is_whole() {
        let (played, all) = (show_count(plan.played_count() as u64), show_count(plan.devices.len() as u64));
        let text = format!(
            "{}: {played} of {all} devices; `squall merge` judges what is expected of all",
            plan.split
        );
        notes.push(note("shard", text));
    }
    if let Some(target) = &plan.server.target {
        notes.push(note("server", format!("external, {}", clean(&target.address.to_string()))));
        if target.insecure {
            notes.push(note("insecure", "any certificate of the server was believed".to_owned()));
        }
        if !plan.server.tells() {
            let text = "it tells nothing: states at the server, and who assigned a version, are not judged".to_owned();
            notes.push(note("server", text));
        }
    }
    if plan.server.tls == TlsPlan::Off {
        let text = "off: MQTT and HTTP unencrypted, which real devices refuse".to_owned();
        notes.push(note("tls", text));
    }
    for fleet in plan.fleets.iter().filter(|fleet| fleet.on_boards) {
        let name = clean(&fleet.name);
        notes.push(match outcome.mode {
            Mode::Run => note(
                "boards",
                format!("fleet `{name}`: firmware on QEMU's nRF51822, whose flash takes no time"),
            ),
            Mode::Sim => note(
                "boards",
                format!("fleet `{name}` is simulated here: `squall run` starts its firmware"),
            ),
        });
    }
    if !plan.warmup.is_zero() {
        notes.push(note("warmup", format!("times leave the first {} out", short(plan.warmup))));
    }
    if let Some(left_out) = outcome
        .recorder
        .trace()
        .map(crate::measure::Trace::left_out)
        .filter(|count| *count > 0)
    {
        notes.push(note("trace", format!("full: {left_out} happenings are not in it")));
    }
    notes
}

fn thread(thread: &ThreadFigures) -> ThreadRow {
    ThreadRow {
        name: clean(&thread.name),
        cpu_percent: round(thread.cpu_percent),
        busiest_percent: round(thread.busiest_percent),
    }
}

fn filled(filled: Filled) -> FilledRow {
    FilledRow {
        most: filled.most,
        of: filled.of,
    }
}

fn machine(harness: &HarnessReport) -> MachineRow {
    MachineRow {
        cpu: clean(&harness.machine.cpu),
        cores: harness.machine.cores,
        memory_bytes: harness.machine.memory_bytes,
        os: clean(&harness.machine.os),
    }
}

fn harness(harness: &HarnessReport) -> HarnessRow {
    HarnessRow {
        valid: harness.valid,
        reasons: harness.reasons.iter().map(|reason| clean(reason)).collect(),
        carries: harness.carries.as_ref().map(|largest| LargestFleetRow {
            devices: largest.devices,
            basis: clean(&largest.basis),
        }),
        late_p99_s: round(harness.late_p99_s),
        late_at_rest_s: round(harness.late_at_rest_s),
        lateness: harness
            .lateness
            .iter()
            .map(|late| LatenessRow {
                t_s: seconds(late.at),
                p99_s: round(late.p99_s),
                wakes: late.wakes,
            })
            .collect(),
        cpu_percent: round(harness.cpu_percent),
        memory_bytes: harness.memory_bytes,
        free_memory_bytes: harness.free_memory_bytes,
        descriptors: harness.descriptors.map(filled),
        ports: harness.ports.map(filled),
        threads: harness.threads.iter().map(thread).collect(),
        dropped: harness.dropped,
        server_cpu_percent: harness.server_cpu_percent.map(round),
        server_memory_bytes: harness.server_memory_bytes,
    }
}

fn files(outcome: &Outcome) -> BTreeMap<String, String> {
    let mut files = vec![
        ("scenario", "scenario.toml"),
        ("resolved", "resolved.toml"),
        ("summary", "summary.json"),
        ("text", "summary.txt"),
        ("timeline", "timeline.csv"),
        ("devices", "devices.csv"),
        ("histograms", "histograms.hlog"),
        ("junit", "junit.xml"),
        ("report", "report.html"),
        ("log", "log.txt"),
    ];
    if outcome.recorder.trace().is_some() {
        files.push(("trace", "trace.ndjson.zst"));
    }
    if !outcome.plan.split.is_whole() {
        files.push(("shard", SHARD));
    }
    files
        .into_iter()
        .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
        .collect()
}

fn seconds(at: SimTime) -> f64 {
    round(at.as_secs_f64())
}

/// To six decimals, the precision of every time in a report.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then(|| round(value))
}
