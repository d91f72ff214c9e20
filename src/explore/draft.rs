//! A resolved scenario as blocks of lines, to be cut down without losing its form.
//!
//! In a resolved scenario every table has a line of its own, and every key another below it; what is taken away is therefore whole
//! lines, and what stays reads as it did.

use std::fmt;

/// A scenario in blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    blocks: Vec<Block>,
}

/// A table: its header and its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    header: String,
    lines: Vec<String>,
}

impl Draft {
    /// Reads the text of a `resolved.toml`.
    pub fn read(text: &str) -> Draft {
        let mut blocks: Vec<Block> = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match blocks.last_mut().filter(|_| !line.starts_with('[')) {
                Some(block) => block.lines.push(line.to_owned()),
                None => blocks.push(Block {
                    header: line.to_owned(),
                    lines: Vec::new(),
                }),
            }
        }
        Draft { blocks }
    }

    /// Names of its faults, in their order.
    pub fn faults(&self) -> Vec<&str> {
        self.of("fault").filter_map(|block| block.text("name")).collect()
    }

    /// The same without the faults of this name; `None` if there are none.
    pub fn without_fault(&self, name: &str) -> Option<Draft> {
        let mut rest = self.clone();
        rest.blocks
            .retain(|block| block.noun() != "fault" || block.text("name") != Some(name));
        (rest.blocks.len() < self.blocks.len()).then_some(rest)
    }

    /// The same without any table of a noun.
    pub fn without_all(&self, noun: &str) -> Draft {
        let mut rest = self.clone();
        rest.blocks.retain(|block| block.noun() != noun);
        rest
    }

    /// The same with more tables at its end.
    pub fn with_more(&self, text: &str) -> Draft {
        let mut all = self.clone();
        all.blocks.extend(Draft::read(text).blocks);
        all
    }

    /// Positions of the tables of a noun.
    pub(super) fn positions(&self, noun: &str) -> Vec<usize> {
        let blocks = self.blocks.iter().enumerate();
        blocks.filter(|(_, block)| block.noun() == noun).map(|(at, _)| at).collect()
    }

    /// How many tables of a noun there are.
    pub fn count(&self, noun: &str) -> usize {
        self.of(noun).count()
    }

    /// Devices of all fleets.
    pub fn devices(&self) -> u64 {
        self.of("fleet")
            .filter_map(|fleet| fleet.value("count")?.parse::<u64>().ok())
            .sum()
    }

    /// The same without the table at a position.
    pub(super) fn without(&self, at: usize) -> Draft {
        let mut rest = self.clone();
        rest.blocks.remove(at);
        rest
    }

    /// The value of a key of the table at a position, as it is written.
    pub(super) fn value(&self, at: usize, key: &str) -> Option<&str> {
        self.blocks.get(at)?.value(key)
    }

    /// The same with another value, written as given, where the key has one.
    pub(super) fn with(&self, at: usize, key: &str, value: &str) -> Draft {
        let mut changed = self.clone();
        for line in &mut changed.blocks[at].lines {
            if line.split_once(" = ").is_some_and(|(found, _)| found == key) {
                *line = format!("{key} = {value}");
            }
        }
        changed
    }

    /// The same with this value, written as given, whether the key has had one or not.
    pub(super) fn having(&self, at: usize, key: &str, value: &str) -> Draft {
        if self.value(at, key).is_some() {
            return self.with(at, key, value);
        }
        let mut more = self.clone();
        more.blocks[at].lines.push(format!("{key} = {value}"));
        more
    }

    fn of<'d>(&'d self, noun: &'d str) -> impl Iterator<Item = &'d Block> {
        self.blocks.iter().filter(move |block| block.noun() == noun)
    }
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, block) in self.blocks.iter().enumerate() {
            let gap = if at > 0 { "\n" } else { "" };
            writeln!(f, "{gap}{}", block.header)?;
            block.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

impl Block {
    /// The first word of its header: `fleet` of `[fleet.meter]`.
    fn noun(&self) -> &str {
        let name = self.header.trim_matches(['[', ']']);
        name.split('.').next().unwrap_or(name)
    }

    fn value(&self, key: &str) -> Option<&str> {
        let pairs = self.lines.iter().filter_map(|line| line.split_once(" = "));
        let mut values = pairs.filter(|(found, _)| *found == key).map(|(_, value)| value);
        values.next()
    }

    /// The value of a key that is a text, without its quotes.
    fn text(&self, key: &str) -> Option<&str> {
        self.value(key)?.strip_prefix('"')?.strip_suffix('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Source, load};

    #[test]
    fn a_resolved_scenario_is_read_and_written_without_a_change() {
        let plan = load(Source::Example("power-cuts".to_owned()), &Overrides::default()).unwrap();
        let draft = Draft::read(&plan.resolved);
        assert_eq!(draft.to_string(), plan.resolved);
        assert_eq!((draft.faults(), draft.devices()), (vec!["any", "swap", "test", "back"], 500));
    }

    #[test]
    fn a_fault_is_taken_out_by_its_name() {
        let plan = load(Source::Example("power-cuts".to_owned()), &Overrides::default()).unwrap();
        let draft = Draft::read(&plan.resolved);
        let rest = draft.without_fault("swap").unwrap();
        assert_eq!(rest.faults(), ["any", "test", "back"]);
        assert_eq!(rest.without_fault("swap"), None);
    }
}
