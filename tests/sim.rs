//! Tests of `play` and `sim` across modules.

mod cheats;
mod command;
mod determinism;
mod director;
mod faults;
mod flaws;
mod history;
mod limits;
mod server_faults;
mod simulation;
mod slow_links;

use std::sync::Arc;

use squall::scenario::{Overrides, Plan, Source, load};

/// The plan of a scenario written here.
pub(crate) fn plan_of(text: &str) -> Plan {
    load(Source::Stdin(text.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The plan of a built-in example, with this seed.
pub(crate) fn example(name: &str, seed: u64) -> Arc<Plan> {
    let overrides = Overrides {
        seed: Some(seed),
        ..Overrides::default()
    };
    let plan = load(Source::Example(name.to_owned()), &overrides);
    Arc::new(plan.unwrap_or_else(|errors| panic!("{errors}")))
}
