//! What came of holding the server against its own rules, which happens where the server is.

use std::collections::BTreeMap;

use crate::model::DeviceId;
use crate::time::SimTime;
use crate::verdict::{Audit, Finding, server_rule};

/// The server's rules in this run.
#[derive(Debug, Default)]
pub(super) struct Audited {
    /// By rule, the first break and how many were told.
    found: BTreeMap<&'static str, Finding>,
    /// The sum; nothing where the server has no auditor, or ended before it gave it.
    audit: Audit,
}

impl Audited {
    /// The auditor told of a break; rules that are not the server's are passed over.
    pub(super) fn told(&mut self, at: SimTime, rule: &str, device: Option<&DeviceId>, evidence: &str) {
        let Some(rule) = server_rule(rule) else { return };
        let first = || Finding {
            rule: rule.name,
            count: 0,
            device: device.cloned(),
            at,
            evidence: evidence.to_owned(),
        };
        self.found.entry(rule.name).or_insert_with(first).count += 1;
    }

    /// The auditor gave its sum.
    pub(super) fn summed(&mut self, audit: Audit) {
        self.audit = audit;
    }

    /// Rules that were held, and single checks made.
    pub(super) fn checks(&self) -> (u32, u64) {
        (self.audit.rules.len() as u32, self.audit.checks())
    }

    /// Rules that were broken, and how often.
    pub(super) fn broken(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.found.values().map(|finding| (finding.rule, self.count(finding)))
    }

    /// Findings with their counts.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        self.found.values().map(|finding| Finding {
            count: self.count(finding),
            ..finding.clone()
        })
    }

    /// The sum counts every break; what is told may be the first of each device alone.
    fn count(&self, finding: &Finding) -> u64 {
        let mut rules = self.audit.rules.iter();
        let summed = rules.find(|(rule, _, broken)| *rule == finding.rule && *broken > 0);
        summed.map_or(finding.count, |(_, _, broken)| *broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_break_is_kept_and_the_sum_counts() {
        let mut audited = Audited::default();
        for (at, device) in [(1, "d-1"), (2, "d-2")] {
            let at = SimTime::from_secs(at);
            audited.told(at, "own-messages-only", Some(&device.into()), "to another");
            audited.told(at, "metadata-then-subscriptions", Some(&device.into()), "a device's rule");
        }
        assert_eq!(audited.broken().collect::<Vec<_>>(), [("own-messages-only", 2)]);
        audited.summed(Audit {
            rules: vec![("manifest-within-limits", 7, 0), ("own-messages-only", 9, 5)],
        });
        let findings: Vec<_> = audited.findings().collect();
        assert_eq!((findings[0].count, findings[0].at), (5, SimTime::from_secs(1)));
        assert_eq!(audited.checks(), (2, 16));
    }
}
