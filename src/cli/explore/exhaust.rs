//! A fault at every flash operation, or every message, of one update: one simulation for each, in which it strikes every device there.

use std::ops::ControlFlow;

use crate::cli::refusal::Refusal;
use crate::explore::{Draft, Exploration, Halt, Hooks, News, Tally, explore};

use super::summary::Counted;
use super::teller::Teller;
use super::{Exhaust, Search};

/// More operations, or messages, than any update has.
const MOST: u64 = 1_000_000;

impl Exhaust {
    /// How its places are called.
    const fn places(self) -> &'static str {
        match self {
            Exhaust::Flash => "flash operations",
            Exhaust::Messages => "messages",
        }
    }

    /// The faults that are put in each.
    const fn kinds(self) -> &'static [&'static str] {
        match self {
            Exhaust::Flash => &["power-cut", "flash-fail", "flash-fail permanent"],
            Exhaust::Messages => &["lose", "duplicate", "delay 3s"],
        }
    }

    /// The table of a fault in the n-th place, from 1.
    fn fault(self, kind: &str, number: u64) -> String {
        let place = match self {
            Exhaust::Flash => format!("at = \"flash {number}\""),
            Exhaust::Messages => format!("only = \"message {number}\""),
        };
        format!(
            "[[fault]]\nname = \"{}\"\ninject = \"{kind}\"\nwho = \"all\"\n{place}\n",
            folder(kind, number)
        )
    }
}

/// Places one after the other with one kind of fault, then with the next, each until there is no device left that it finds.
pub(super) fn exhaust(search: &Search<'_>, what: Exhaust, teller: &mut Teller<'_>) -> Result<(Counted, Tally), Refusal> {
    // The one fault is to be alone; expectations speak of the scenario as it was.
    let plain = Draft::read(&search.first.resolved).without_all("fault").without_all("expect");
    let mut all = Tally::default();
    let mut places = 0;
    for kind in what.kinds() {
        let exploration = Exploration {
            first: 1,
            seeds: Some(MOST),
            jobs: search.jobs,
        };
        let hooks = Hooks {
            plan: &|number| search.plan_of(&plain.with_more(&what.fault(kind, number)), None),
            keep: &|number, outcome| Ok(search.keep(&folder(kind, number), outcome)?),
            halt: &|| search.halt(),
        };
        let mut beyond = false;
        let mut tally = explore(&exploration, &hooks, &mut |news| {
            match news {
                News::Seed(result) if result.reached.strikes() == 0 => beyond = true,
                News::Seed(result) => {
                    places = places.max(result.seed);
                    let which = format!("{} {} {kind}", what.places().trim_end_matches('s'), result.seed);
                    teller.result(&which, &folder(kind, result.seed), result);
                }
                News::Tick(tally) => teller.tick(tally),
            }
            match beyond {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        // The last one struck nobody: it is none of the places.
        tally.played -= u64::from(beyond);
        all.absorb(&tally);
        if search.halt() != Halt::GoOn {
            break;
        }
    }
    let counted = Counted::Places {
        what: what.places(),
        places,
        faults: what.kinds().len(),
    };
    Ok((counted, all))
}

/// Where a failure is kept: `power-cut-12`.
fn folder(kind: &str, number: u64) -> String {
    format!("{}-{number}", kind.replace(' ', "-"))
}
