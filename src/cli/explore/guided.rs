//! `explore --prefer-new`: generation after generation of seeds, each with the faults that the guide deals it.

use std::ops::ControlFlow;

use crate::cli::refusal::Refusal;
use crate::explore::{Draft, Exploration, GENERATION, Guide, Halt, Hooks, News, Tally, explore};

use super::teller::Teller;
use super::{SEEDS, Search};

/// Seed after seed of the scenario, half of them without some of its faults. What failed is kept as it was played.
pub(super) fn seeds(search: &Search<'_>, teller: &mut Teller<'_>) -> Result<Tally, Refusal> {
    let args = search.args;
    let draft = Draft::read(&search.first.resolved);
    let mut guide = Guide::new(&draft.faults());
    let all = args.seeds.or(search.time.is_none().then_some(SEEDS));
    let (mut tally, mut played, mut over) = (Tally::default(), 0, false);
    while !over && search.halt() == Halt::GoOn && all.is_none_or(|all| played < all) {
        let count = all.map_or(GENERATION, |all| GENERATION.min(all - played));
        let first = search.first.seed.wrapping_add(played);
        guide.deal(first, count);
        let exploration = Exploration {
            first,
            seeds: Some(count),
            jobs: search.jobs,
        };
        let dealt = &guide;
        let hooks = Hooks {
            plan: &|seed| {
                let without = dealt.without(seed);
                let left = without
                    .iter()
                    .fold(draft.clone(), |draft, name| draft.without_fault(name).unwrap_or(draft));
                search.plan_of(&left, Some(seed))
            },
            keep: &|seed, outcome| Ok(search.keep(&seed.to_string(), outcome)?),
            halt: &|| search.halt(),
        };
        let mut told = Vec::new();
        let generation = explore(&exploration, &hooks, &mut |news| {
            match news {
                News::Seed(result) => {
                    teller.result(&format!("seed {}", result.seed), &result.seed.to_string(), result);
                    told.push((result.seed, result.reached.clone()));
                    over |= args.first && result.failure.is_some();
                }
                News::Tick(now) => teller.tick(now),
            }
            match over {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        told.iter().for_each(|(seed, reached)| guide.learn(*seed, reached));
        tally.absorb(&generation);
        played += count;
    }
    if args.first {
        search.forget_all_but(&teller.folders())?;
    }
    Ok(tally)
}
