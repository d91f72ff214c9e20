//! The scenario that a failing seed came down to, played again: it has to fail as that seed did.

use std::path::Path;
use std::sync::Arc;

use crate::cli::INTERNAL;
use crate::cli::interrupt::Interrupt;
use crate::cli::refusal::Refusal;
use crate::explore::{Draft, Failure};
use crate::play::Status;
use crate::scenario::{Overrides, Source, load};

use super::ReplayArgs;
use super::recorded::Recorded;

/// Plays the scenario file, and compares with the run whose folder it stands in; gives the exit code, or 1 if it fails in another way, or
/// not at all. A file that stands alone is played, and nothing compared.
pub(super) fn play(args: &ReplayArgs) -> Result<u8, Refusal> {
    if args.device.is_some() || args.from.is_some() || args.to.is_some() {
        let problem = format!(
            "`{0}` is a scenario and has no trace: play it with `squall sim {0}` and tell the story of that run",
            args.run.display()
        );
        return Err(Refusal::bad_input(&problem));
    }
    let mut plan =
        load(Source::Path(args.run.clone()), &Overrides::default()).map_err(|errors| Refusal::told(errors.to_string()))?;
    if !args.without.is_empty() {
        let mut draft = Draft::read(&plan.resolved);
        for name in &args.without {
            draft = draft.without_fault(name).ok_or_else(|| {
                let known = draft.faults().join("`, `");
                Refusal::bad_input(&format!("`--without {name}`: it has no fault of this name, but `{known}`"))
            })?;
        }
        let source = Source::Beside(args.run.parent().map(Path::to_owned).unwrap_or_default(), draft.to_string());
        plan = load(source, &Overrides::default()).map_err(|errors| Refusal::told(errors.to_string()))?;
    }
    let beside = args.run.parent().filter(|folder| folder.join("summary.json").is_file());
    let found = beside.map(Recorded::open).transpose()?;
    let interrupt = Interrupt::listen();
    let outcome = args.simulate(Arc::new(plan), &interrupt, &|_| false);
    if interrupt.asked() {
        return Ok(Status::Interrupted.exit_code());
    }
    args.output().say(&outcome, None);
    let failure = Failure::of(&outcome);
    let kind = failure.as_ref().map(Failure::kind);
    let Some(found) = found.filter(|_| args.without.is_empty()) else {
        return Ok(outcome.status().exit_code());
    };
    let then = found.summary.kind();
    if kind != then {
        eprintln!(
            "error: the replay differs: `{}` was found, and this comes to `{}`",
            then.unwrap_or("nothing"),
            kind.unwrap_or("nothing")
        );
        return Ok(INTERNAL);
    }
    if !args.quiet {
        eprintln!(
            "replayed: it fails as seed {} does, by `{}`",
            found.summary.scenario.seed,
            kind.unwrap_or("nothing")
        );
    }
    Ok(outcome.status().exit_code())
}
