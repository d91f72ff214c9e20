//! A simulation played again, and compared with what it left.

use std::sync::Arc;

use crate::cli::INTERNAL;
use crate::cli::interrupt::Interrupt;
use crate::cli::refusal::Refusal;
use crate::explore::Draft;
use crate::play::{Outcome, Status};
use crate::scenario::{Overrides, Plan, Source, load};
use crate::time::SimTime;

use super::ReplayArgs;
use super::recorded::{Recorded, TRACE};

/// What an interrupted run did so shortly before its end is not compared: its summary tells the end, and its lines their moments, to
/// microseconds.
const PRECISION_S: f64 = 2e-6;

/// Plays a simulation again; gives its exit code, or 1 if it came to something else.
pub(super) fn play(args: &ReplayArgs, recorded: &Recorded) -> Result<u8, Refusal> {
    if recorded.summary.mode != "sim" {
        let problem = format!(
            "`{}` was played in real time, which never comes to the same moment twice: tell one device's story with --device ID, \
             or play it in virtual time with `squall sim`",
            recorded.folder.display()
        );
        return Err(Refusal::bad_input(&problem));
    }
    if !args.without.is_empty() {
        return without(args, recorded);
    }
    let plan = plan(recorded)?;
    // A run that was interrupted went as far as its summary says; the same events up to there are compared.
    let cut = (recorded.summary.status == Status::Interrupted.word()).then_some(recorded.summary.elapsed_s);
    let interrupt = Interrupt::listen();
    let outcome = args.simulate(plan, &interrupt, &|at| cut.is_some_and(|cut| at.as_secs_f64() > cut));
    if interrupt.asked() {
        return Ok(Status::Interrupted.exit_code());
    }
    args.output().say_again(&outcome, &recorded.folder);
    if let Some(difference) = difference(recorded, &outcome, cut) {
        eprintln!("error: the replay differs: {difference}");
        let (then, today) = (&recorded.summary.squall.version, env!("CARGO_PKG_VERSION"));
        if then != today {
            eprintln!("it was played by squall {then}, and this is {today}");
        }
        return Ok(INTERNAL);
    }
    if !args.quiet {
        eprintln!("replayed: the same trace, fingerprint {}", recorded.summary.fingerprint);
    }
    Ok(recorded.summary.exit_code)
}

/// Plays the simulation without some of its faults, and tells whether it fails all the same; gives its exit code.
fn without(args: &ReplayArgs, recorded: &Recorded) -> Result<u8, Refusal> {
    let plan = plan(recorded)?;
    let mut draft = Draft::read(&plan.resolved);
    for name in &args.without {
        draft = draft.without_fault(name).ok_or_else(|| {
            let known = draft.faults().join("`, `");
            let hint = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has `{known}`")
            };
            Refusal::bad_input(&format!("`--without {name}`: the run has no fault of this name: {hint}"))
        })?;
    }
    let source = Source::Beside(recorded.folder.clone(), draft.to_string());
    let plan = load(source, &Overrides::default()).map_err(|errors| Refusal::told(errors.to_string()))?;
    let interrupt = Interrupt::listen();
    let outcome = args.simulate(Arc::new(plan), &interrupt, &|_| false);
    args.output().say(&outcome, None);
    if !args.quiet && !interrupt.asked() {
        let (then, now) = (&recorded.summary.status, outcome.status().word());
        eprintln!(
            "without `{}` it is {now}; with it, it was {then}",
            args.without.join("` and `")
        );
    }
    Ok(outcome.status().exit_code())
}

/// The plan of the resolved scenario.
fn plan(recorded: &Recorded) -> Result<Arc<Plan>, Refusal> {
    let path = recorded.folder.join("resolved.toml");
    let mut plan = load(Source::Path(path.clone()), &Overrides::default()).map_err(|errors| {
        let way_out = "images and certificates are looked for beside resolved.toml: copy it to where the scenario was and play it \
                       with `squall sim`";
        Refusal::told(format!("{errors}{way_out}"))
    })?;
    let played = &recorded.summary.scenario;
    if plan.hash != played.hash || plan.seed != played.seed {
        let problem = format!(
            "{} is not what was played: scenario {} with seed {}, played {} with seed {}",
            path.display(),
            plan.hash,
            plan.seed,
            played.hash,
            played.seed
        );
        return Err(Refusal::bad_input(&problem));
    }
    // The resolved scenario has them worked in; reports name them all the same.
    plan.overrides.clone_from(&played.overrides);
    plan.file = played.file.as_ref().map(Into::into);
    Ok(Arc::new(plan))
}

/// Where the outcome differs from what was left: in the trace, line by line, or in the fingerprint.
fn difference(recorded: &Recorded, outcome: &Outcome, cut: Option<f64>) -> Option<String> {
    let fingerprint = format!("{:016x}", outcome.recorder.fingerprint());
    let same = fingerprint == recorded.summary.fingerprint;
    let lines = match recorded.trace() {
        Ok(lines) => lines,
        Err(error) => return Some(format!("{TRACE} cannot be read: {error}")),
    };
    let (Some(mut lines), Some(trace)) = (lines, outcome.recorder.trace()) else {
        let problem = format!(
            "fingerprint {fingerprint}, not {}; without a trace there is no line to point to",
            recorded.summary.fingerprint
        );
        return (!same && cut.is_none()).then_some(problem);
    };
    let rows = trace.sorted();
    let early = |at: f64| cut.is_none_or(|cut| at < cut - PRECISION_S);
    let mut replayed = rows.iter().filter(|row| early(told(row.at)));
    let mut text = String::new();
    loop {
        let stored = match lines.next() {
            Ok(stored) => stored,
            Err(damage) => return Some(damage.to_string()),
        };
        let (number, stored) = match stored {
            Some((number, line)) if early(time_of(line)) => (number, Some(line)),
            Some((number, _)) => (number, None),
            None => (0, None),
        };
        text.clear();
        if let Some(row) = replayed.next() {
            trace.write_line(row, &outcome.plan.devices[row.device.at()].id, &mut text);
        }
        match (stored, text.trim_end()) {
            (None, "") => break,
            (Some(stored), line) if stored == line => {}
            (Some(stored), "") => return Some(format!("line {number} of the trace is not played: {stored}")),
            (Some(stored), line) => return Some(format!("line {number} of the trace\n  was   {stored}\n  is    {line}")),
            (None, line) => return Some(format!("the trace ends before this is played: {line}")),
        }
    }
    let problem = || {
        format!(
            "fingerprint {fingerprint}, not {}, though no line of the trace does",
            recorded.summary.fingerprint
        )
    };
    (!same && cut.is_none()).then(problem)
}

/// Seconds of a moment as a line of a trace tells them: whole microseconds.
fn told(at: SimTime) -> f64 {
    (at.as_nanos() / 1_000) as f64 / 1e6
}

/// The time of a line; infinite where it has none.
fn time_of(line: &str) -> f64 {
    let time = line.strip_prefix("{\"t\":").and_then(|rest| rest.split(',').next());
    time.and_then(|time| time.parse().ok()).unwrap_or(f64::INFINITY)
}
