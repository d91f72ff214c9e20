//! How the ids of a fleet are written.

use crate::model::is_word;

use super::super::fields::{Complaint, cut};

/// How the ids of a fleet are made: literal text, the fleet's name, and the device's number in the fleet, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct IdPattern {
    pub text: String,
    parts: Vec<IdPart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum IdPart {
    Literal(String),
    Fleet,
    /// Padded with zeros to this width.
    Number(usize),
}

impl IdPattern {
    /// Reads `{fleet}-{n:05}`.
    ///
    /// # Errors
    /// How it is written.
    pub fn parse(text: &str) -> Result<IdPattern, Complaint> {
        const HINT: &str = "write for example \"{fleet}-{n:05}\": letters, digits, `.`, `_`, `-`, {fleet}, {n}, {n:05}";
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let literal_end = rest.find('{').unwrap_or(rest.len());
            if literal_end > 0 {
                let literal = &rest[..literal_end];
                if !is_word(literal) {
                    return Err(Complaint::new(format!("`{}` is not a pattern of ids", cut(text)), HINT));
                }
                parts.push(IdPart::Literal(literal.to_owned()));
                rest = &rest[literal_end..];
                continue;
            }
            let Some(end) = rest.find('}') else {
                return Err(Complaint::new(format!("`{}` is not a pattern of ids", cut(text)), HINT));
            };
            let width = |digits: &str| digits.parse().ok().filter(|width| (1..=20).contains(width));
            parts.push(match &rest[1..end] {
                "fleet" => IdPart::Fleet,
                "n" => IdPart::Number(1),
                inner => match inner.strip_prefix("n:0").and_then(width) {
                    Some(width) => IdPart::Number(width),
                    None => return Err(Complaint::new(format!("`{}` is not a pattern of ids", cut(text)), HINT)),
                },
            });
            rest = &rest[end + 1..];
        }
        match parts.is_empty() {
            true => Err(Complaint::new("the pattern of ids is empty", HINT)),
            false => Ok(IdPattern {
                text: text.to_owned(),
                parts,
            }),
        }
    }

    /// Whether ids of one fleet differ.
    pub fn has_number(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, IdPart::Number(_)))
    }

    /// The id of the device with this number, from zero; the id counts from one.
    pub fn id(&self, fleet: &str, number: u32) -> String {
        use std::fmt::Write as _;
        let mut id = String::with_capacity(24);
        for part in &self.parts {
            match part {
                IdPart::Literal(text) => id.push_str(text),
                IdPart::Fleet => id.push_str(fleet),
                IdPart::Number(width) => {
                    write!(id, "{:0width$}", u64::from(number) + 1).expect("writing to a string cannot fail");
                }
            }
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_their_pattern_and_count_from_one() {
        let id = |pattern: &str, number| IdPattern::parse(pattern).ok().map(|pattern| pattern.id("meter", number));
        assert_eq!(id("{fleet}-{n:05}", 411).unwrap(), "meter-00412");
        assert_eq!(id("x.{n}", 0).unwrap(), "x.1");
        assert_eq!(id("{n:03}", 12_344).unwrap(), "12345");
        for wrong in ["", "{", "{m}", "a b", "{n:}", "{n:099}", "é{n}", "}{"] {
            assert_eq!(id(wrong, 0), None, "{wrong}");
        }
    }
}
