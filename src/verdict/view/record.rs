//! Records as their bytes tell (protocol 7.2, 7.3), read without the device's own reader.

use crate::model::{ArtifactResult, AttemptError, AttemptId, Slug, Version};
use crate::wire::CborError;
use crate::wire::cbor::{Container, Reader};
use crate::wire::ota::Report;

/// Most artifacts of any manifest (protocol 3.1).
const MOST_ARTIFACTS: u8 = 32;

/// An attempt record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) struct Stored {
    /// Which attempt.
    pub(in crate::verdict) attempt: AttemptId,
    /// Its content.
    pub(in crate::verdict) body: Body,
}

/// The two forms of an attempt record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict) enum Body {
    /// Results, by position.
    Results(Marks),
    /// The attempt was refused.
    Error(AttemptError),
}

/// Which artifacts have which result, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verdict) struct Marks {
    /// Number of artifacts; zero where it is not known.
    pub(in crate::verdict) count: u8,
    pub(in crate::verdict) succeeded: u32,
    pub(in crate::verdict) failed: u32,
    pub(in crate::verdict) canceled: u32,
    /// A cancellation was accepted, as a record says.
    pub(in crate::verdict) cancel: bool,
}

impl Marks {
    /// The results of a report; positions that no manifest has are left out.
    pub(in crate::verdict) fn reported(report: &Report) -> Option<Marks> {
        let bits = |list: &[u64]| list.iter().filter(|at| **at < 32).fold(0, |bits, at| bits | 1 << at);
        match report {
            Report::Results {
                succeeded,
                failed,
                canceled,
            } => Some(Marks {
                count: 0,
                succeeded: bits(succeeded),
                failed: bits(failed),
                canceled: bits(canceled),
                cancel: false,
            }),
            Report::Error(_) => None,
        }
    }

    /// Artifacts with a result.
    pub(in crate::verdict) fn ended(&self) -> u32 {
        self.succeeded | self.failed | self.canceled
    }

    /// Artifacts without one.
    pub(in crate::verdict) fn pending(&self) -> u32 {
        let all = u32::try_from((1_u64 << self.count) - 1).unwrap_or(u32::MAX);
        all & !self.ended()
    }

    /// The result of one.
    pub(in crate::verdict) fn of(&self, index: usize) -> Option<ArtifactResult> {
        let has = |bits: u32| bits.checked_shr(index as u32).is_some_and(|bits| bits & 1 == 1);
        match (has(self.succeeded), has(self.failed), has(self.canceled)) {
            (true, _, _) => Some(ArtifactResult::Succeeded),
            (_, true, _) => Some(ArtifactResult::Failed),
            (_, _, true) => Some(ArtifactResult::Canceled),
            _ => None,
        }
    }

    /// The first result in which these marks are not contained in others.
    pub(in crate::verdict) fn beyond(&self, others: &Marks) -> Option<(usize, ArtifactResult)> {
        (0..32).find_map(|index| {
            self.of(index)
                .filter(|result| others.of(index) != Some(*result))
                .map(|result| (index, result))
        })
    }
}

impl Stored {
    /// The results, unless the attempt was refused.
    pub(in crate::verdict) fn marks(&self) -> Option<&Marks> {
        match &self.body {
            Body::Results(marks) => Some(marks),
            Body::Error(_) => None,
        }
    }

    /// True if nothing is pending.
    pub(in crate::verdict) fn is_terminal(&self) -> bool {
        self.marks().is_none_or(|marks| marks.pending() == 0)
    }
}

/// A probation record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::verdict) struct ProbationRecord {
    /// Which attempt.
    pub(in crate::verdict) attempt: AttemptId,
    /// Position of main.
    pub(in crate::verdict) index: u8,
    /// Build id of the image on trial.
    pub(in crate::verdict) build_id: [u8; 20],
}

/// Reads an attempt record; every detail has to be right.
pub(in crate::verdict) fn read_attempt(content: &[u8], max_artifacts: u8) -> Result<Stored, CborError> {
    let (mut fields, attempt) = Fields::open(content)?;
    let body = if fields.next()? == 2 {
        let error = fields.reader.uint()?;
        Body::Error(AttemptError::from_number(error).ok_or(CborError::Type)?)
    } else {
        let count = u8::try_from(fields.reader.uint()?).map_err(|_| CborError::Type)?;
        require(fields.last == 3 && (1..=max_artifacts.min(MOST_ARTIFACTS)).contains(&count))?;
        fields.key(4)?;
        let cancel = fields.reader.boolean()?;
        fields.key(5)?;
        let mut array = fields.reader.array()?;
        let mut marks = Marks {
            count,
            cancel,
            ..Marks::default()
        };
        let mut index = 0;
        while fields.reader.more(&mut array)? {
            require(index < count)?;
            match fields.reader.uint()? {
                0 => {}
                1 => marks.succeeded |= 1 << index,
                2 => marks.failed |= 1 << index,
                3 => marks.canceled |= 1 << index,
                _ => return Err(CborError::Type),
            }
            index += 1;
        }
        require(index == count)?;
        Body::Results(marks)
    };
    fields.close()?;
    Ok(Stored { attempt, body })
}

/// Reads a probation record; every detail has to be right.
pub(in crate::verdict) fn read_probation(content: &[u8], max_artifacts: u8) -> Result<ProbationRecord, CborError> {
    let (mut fields, attempt) = Fields::open(content)?;
    fields.key(2)?;
    let index = fields.reader.uint()?;
    require(index < u64::from(max_artifacts))?;
    fields.key(3)?;
    require(Slug::new(fields.reader.text()?).is_ok())?;
    fields.key(4)?;
    require(Version::new(fields.reader.text()?).is_ok())?;
    fields.key(5)?;
    let build_id = fields.reader.bytes()?.try_into().map_err(|_| CborError::Type)?;
    fields.close()?;
    Ok(ProbationRecord {
        attempt,
        index: index as u8,
        build_id,
    })
}

/// Reads a version record: a text with a terminating zero.
pub(in crate::verdict) fn read_version(content: &[u8]) -> Option<&[u8]> {
    content.strip_suffix(&[0]).filter(|text| Version::new(text).is_ok())
}

fn require(holds: bool) -> Result<(), CborError> {
    if holds { Ok(()) } else { Err(CborError::Type) }
}

/// A map whose keys stand in their order.
struct Fields<'b> {
    reader: Reader<'b>,
    map: Container,
    last: u64,
}

impl<'b> Fields<'b> {
    /// Opens the map of schema 1 and reads the attempt's id.
    fn open(content: &'b [u8]) -> Result<(Self, AttemptId), CborError> {
        let mut reader = Reader::new(content);
        let map = reader.map()?;
        let mut fields = Fields { reader, map, last: 0 };
        fields.key(0)?;
        let schema = fields.reader.uint()?;
        require(schema == 1)?;
        fields.key(1)?;
        let attempt = AttemptId::new(fields.reader.uint()?).ok_or(CborError::Type)?;
        Ok((fields, attempt))
    }

    fn next(&mut self) -> Result<u64, CborError> {
        let more = self.reader.more(&mut self.map)?;
        require(more)?;
        self.last = self.reader.uint()?;
        Ok(self.last)
    }

    fn key(&mut self, key: u64) -> Result<(), CborError> {
        let found = self.next()?;
        require(found == key)
    }

    fn close(&mut self) -> Result<(), CborError> {
        let more = self.reader.more(&mut self.map)?;
        require(!more && self.reader.at_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn the_records_of_the_protocol_are_read() {
        let finished = read_attempt(&hex("bf0001011865030304f5059f010203ffff"), 4).unwrap();
        assert_eq!(finished.attempt.number(), 101);
        let marks = *finished.marks().unwrap();
        assert_eq!((marks.succeeded, marks.failed, marks.canceled, marks.pending()), (1, 2, 4, 0));
        assert!(finished.is_terminal() && marks.cancel);
        let refused = read_attempt(&hex("bf00010118660203ff"), 4).unwrap();
        assert_eq!(refused.body, Body::Error(AttemptError::CannotParseMessage));
        let trial = hex("bf00010107020103646d61696e0465312e322e3305540102030405060708090a0b0c0d0e0f1011121314ff");
        assert_eq!(read_probation(&trial, 4).unwrap().index, 1);
        assert_eq!(read_version(b"1.2.3\0"), Some(&b"1.2.3"[..]));
    }

    #[test]
    fn what_is_wrong_in_a_detail_is_not_read() {
        for broken in [
            "bf0002011865030304f5059f010203ffff",
            "bf0001011865030404f5059f010203ffff",
            "bf0001011865030504f5059f0000000000ffff",
            "bf0001011865030304f5059f010204ffff",
            "bf00010118660204ff",
            "bf00010118660203ff00",
        ] {
            assert!(read_attempt(&hex(broken), 4).is_err(), "{broken}");
        }
        assert_eq!((read_version(b"1.2.3"), read_version(b"\0")), (None, None));
    }

    #[test]
    fn marks_know_what_is_pending_and_what_goes_beyond_others() {
        let marks = Marks {
            count: 32,
            succeeded: 1,
            failed: 1 << 31,
            canceled: 0,
            cancel: false,
        };
        assert_eq!(marks.pending(), 0x7fff_fffe);
        assert_eq!(marks.of(31), Some(ArtifactResult::Failed));
        assert_eq!(marks.of(40), None);
        let less = Marks { failed: 0, ..marks };
        assert_eq!(marks.beyond(&less), Some((31, ArtifactResult::Failed)));
        assert_eq!(less.beyond(&marks), None);
    }
}
