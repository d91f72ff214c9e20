//! A plan of which one shard is played: what cannot be known in one shard of what happens in the others is refused.

use crate::faults::{Cheat, Moment};
use crate::model::{Key, Selector, Split};
use crate::verdict::JudgedAt;

use super::plan::{Plan, StepVerb};

impl Plan {
    /// The plan with only the devices of one shard played. It names all devices all the same: what is dealt by rank is dealt as in the
    /// whole.
    ///
    /// # Errors
    ///
    /// What stands in the way, a sentence each, with the line of the file where it has one.
    pub fn sharded(self, split: Split) -> Result<Plan, Vec<String>> {
        let problems = self.unshardable();
        match problems.is_empty() {
            true => Ok(Plan { split, ..self }),
            false => Err(problems),
        }
    }

    /// What hangs on more devices than a shard sees.
    fn unshardable(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let changing = |who: &Selector| who.keys().any(Key::changes);
        for step in &self.steps {
            let (name, line) = (&step.name, step.line);
            if step.when.is_some() {
                problems.push(format!(
                    "line {line}: step `{name}` has a `when`, which no shard can judge: give it a time"
                ));
            }
            let who = match &step.verb {
                StepVerb::Join { who, .. }
                | StepVerb::Leave { who, .. }
                | StepVerb::Tag { who, .. }
                | StepVerb::Untag { who, .. } => who,
                StepVerb::Deploy { .. }
                | StepVerb::Cancel { .. }
                | StepVerb::Pause { .. }
                | StepVerb::Resume { .. }
                | StepVerb::Retry { .. } => continue,
            };
            if changing(who) {
                problems.push(format!(
                    "line {line}: step `{name}` picks by what changes during the run, which no shard sees of the others: `{who}`"
                ));
            }
        }
        for fault in &self.faults {
            let judged_later = matches!(fault.at, Moment::Time(_) | Moment::Step { .. });
            if judged_later && changing(&fault.who) {
                let (name, who) = (&fault.name, &fault.who);
                problems.push(format!(
                    "fault `{name}` picks by what changes during the run, which no shard sees of the others: `{who}`"
                ));
            }
        }
        for expectation in &self.expectations {
            if expectation.at != JudgedAt::End || expectation.abort_on_fail {
                problems.push(format!(
                    "line {}: `{}` is judged during the run, which no shard can: let it be judged at the end",
                    expectation.line, expectation.text
                ));
            }
        }
        problems.extend(self.server_faults.iter().map(|fault| {
            format!(
                "fault `{}` befalls the server, which every shard meets at a time of its own",
                fault.name
            )
        }));
        if self.cheats.iter().any(|row| row.cheat == Cheat::StealTopic) {
            problems.push("cheat `steal-topic` has a victim in another shard".to_owned());
        }
        if self.server.target.is_none() {
            let limits = &self.server.limits;
            let shared = [
                ("connections", limits.connections.is_some()),
                ("connects", limits.connects.is_some()),
                ("downloads", limits.downloads.is_some()),
                ("egress", limits.egress.is_some()),
                ("offers", limits.offers.is_some()),
            ];
            let shared = shared.into_iter().filter(|(_, set)| *set);
            problems.extend(
                shared.map(|(limit, _)| format!("`server.limits.{limit}` is for all devices together, and no shard has them all")),
            );
            if !self.server.delay.is_zero() {
                problems.push("`server.delay` makes devices wait for one another, and no shard has them all".to_owned());
            }
        }
        problems
    }
}
