//! The settings store: the records of an attempt, of a probation and of installed versions, in their exact bytes (protocol 7).
//!
//! What is stored is bytes; they are read strictly, and whatever is not a valid record counts as absent.

use bytes::Bytes;

use super::content::Content;
use crate::model::{ArtifactResult, AttemptError, AttemptId, BuildId, Few, RecordKey, Slug, Version};
use crate::wire::CborError;
use crate::wire::cbor::{Reader, Writer};

/// Longest value that is read back (protocol 7.1), bytes.
pub(super) const VALUE_LIMIT: usize = 192;

/// Most artifacts that any device is built for (protocol 3.1).
pub(super) const MOST_ARTIFACTS: u8 = 32;

const SCHEMA: u64 = 1;

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    attempt: Option<Content>,
    /// Longer, and not there for long.
    probation: Option<Box<Content>>,
    versions: Few<(Slug, Content)>,
}

/// Record `attempt` (protocol 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttemptRecord {
    /// Which attempt.
    pub(super) attempt: AttemptId,
    /// Results, or why it was refused.
    pub(super) body: RecordBody,
}

/// The two forms of the attempt record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordBody {
    /// What became of each artifact.
    Results {
        /// A cancellation was accepted.
        cancel: bool,
        /// By position in the manifest.
        results: Results,
    },
    /// The attempt was refused.
    Error(AttemptError),
}

/// Record `probation` (protocol 7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProbationRecord {
    /// Which attempt.
    pub(super) attempt: AttemptId,
    /// Position of the main artifact in its manifest.
    pub(super) index: u8,
    /// Its slug.
    pub(super) slug: Slug,
    /// Its version.
    pub(super) version: Version,
    /// Build id of the image to be tested.
    pub(super) build_id: BuildId,
}

/// A result or none for each of up to 32 artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Results {
    /// Two bits each, as in the record: 0 pending, 1 succeeded, 2 failed, 3 canceled.
    bits: u64,
    count: u8,
}

impl Results {
    /// `count` artifacts without a result.
    pub(super) fn pending(count: u8) -> Results {
        Results { bits: 0, count }
    }

    /// Number of artifacts.
    pub(super) fn count(&self) -> u8 {
        self.count
    }

    /// The result of one.
    pub(super) fn of(&self, index: u8) -> Option<ArtifactResult> {
        match self.number(index) {
            0 => None,
            number => Some(ArtifactResult::ALL[usize::from(number) - 1]),
        }
    }

    /// Gives one its result.
    pub(super) fn set(&mut self, index: u8, result: ArtifactResult) {
        let shift = 2 * u32::from(index);
        self.bits = self.bits & !(3 << shift) | (result as u64 + 1) << shift;
    }

    /// Every pending artifact but `except` becomes canceled.
    pub(super) fn cancel_pending(&mut self, except: Option<u8>) {
        for index in 0..self.count {
            if self.of(index).is_none() && except != Some(index) {
                self.set(index, ArtifactResult::Canceled);
            }
        }
    }

    /// More artifacts become known, all pending.
    pub(super) fn extend_to(&mut self, count: u8) {
        self.count = self.count.max(count);
    }

    /// The first without a result.
    pub(super) fn first_pending(&self) -> Option<u8> {
        (0..self.count).find(|&index| self.of(index).is_none())
    }

    /// True if one has this result.
    pub(super) fn any(&self, result: ArtifactResult) -> bool {
        (0..self.count).any(|index| self.of(index) == Some(result))
    }

    /// True if none has a result.
    pub(super) fn is_untouched(&self) -> bool {
        self.bits == 0
    }

    /// Positions with this result, ascending.
    pub(super) fn positions(&self, result: ArtifactResult) -> Few<u64> {
        let with = |&index: &u8| self.of(index) == Some(result);
        (0..self.count).filter(with).map(u64::from).collect()
    }

    fn number(&self, index: u8) -> u8 {
        (self.bits >> (2 * u32::from(index)) & 3) as u8
    }
}

impl Records {
    /// Stores a value.
    pub(super) fn write(&mut self, key: &RecordKey, content: &[u8]) {
        let content = Content::from(content);
        match key {
            RecordKey::Attempt => self.attempt = Some(content),
            RecordKey::Probation => self.probation = Some(Box::new(content)),
            RecordKey::Version(slug) => match self.versions.iter_mut().find(|(stored, _)| stored == slug) {
                Some((_, value)) => *value = content,
                None => self.versions.push((slug.clone(), content)),
            },
        }
    }

    /// True if there is a value, valid or not.
    pub(super) fn holds(&self, key: &RecordKey) -> bool {
        match key {
            RecordKey::Attempt => self.attempt.is_some(),
            RecordKey::Probation => self.probation.is_some(),
            RecordKey::Version(slug) => self.versions.iter().any(|(stored, _)| stored == slug),
        }
    }

    /// Removes a value.
    pub(super) fn delete(&mut self, key: &RecordKey) {
        match key {
            RecordKey::Attempt => self.attempt = None,
            RecordKey::Probation => self.probation = None,
            RecordKey::Version(slug) => self.versions.retain(|(stored, _)| stored != slug),
        }
    }

    /// The attempt record, if there is a valid one.
    pub(super) fn attempt(&self, max_artifacts: u8) -> Option<AttemptRecord> {
        AttemptRecord::decode(readable(self.attempt.as_deref())?, max_artifacts)
    }

    /// The probation record, if there is a valid one.
    pub(super) fn probation(&self, max_artifacts: u8) -> Option<ProbationRecord> {
        ProbationRecord::decode(readable(self.probation.as_deref().map(|content| &**content))?, max_artifacts)
    }

    /// True if the version record of `slug` says `version`, byte for byte (protocol 6.8).
    pub(super) fn is_installed(&self, slug: &Slug, version: &Version) -> bool {
        let stored = self.versions.iter().find(|(stored, _)| stored == slug);
        let text = stored.and_then(|(_, value)| readable(Some(value))?.strip_suffix(&[0]));
        text == Some(version.as_bytes())
    }
}

fn readable(value: Option<&[u8]>) -> Option<&[u8]> {
    value.filter(|value| value.len() <= VALUE_LIMIT)
}

/// The value of a version record: the text with a terminating zero.
pub(super) fn encode_version(version: &Version) -> Bytes {
    [version.as_bytes(), &[0]].concat().into()
}

impl AttemptRecord {
    /// The record's bytes.
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.open_map().uint(0).uint(SCHEMA).uint(1).uint(self.attempt.number());
        match &self.body {
            RecordBody::Results { cancel, results } => {
                writer.uint(3).uint(u64::from(results.count)).uint(4).boolean(*cancel);
                writer.uint(5).open_array();
                (0..results.count).for_each(|index| {
                    writer.uint(u64::from(results.number(index)));
                });
                writer.end();
            }
            RecordBody::Error(error) => {
                writer.uint(2).uint(u64::from(error.number()));
            }
        }
        writer.end();
        writer.finish()
    }

    /// Reads a record; `None` unless it is valid in every detail (protocol 7.2).
    pub(super) fn decode(bytes: &[u8], max_artifacts: u8) -> Option<AttemptRecord> {
        read_attempt(bytes, max_artifacts.min(MOST_ARTIFACTS)).ok()
    }
}

impl ProbationRecord {
    /// The record's bytes.
    pub(super) fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        writer.open_map().uint(0).uint(SCHEMA).uint(1).uint(self.attempt.number());
        writer.uint(2).uint(u64::from(self.index));
        writer
            .uint(3)
            .text(self.slug.as_bytes())
            .uint(4)
            .text(self.version.as_bytes());
        writer.uint(5).bytes(self.build_id.0).end();
        writer.finish()
    }

    /// Reads a record; `None` unless it is valid in every detail (protocol 7.3).
    pub(super) fn decode(bytes: &[u8], max_artifacts: u8) -> Option<ProbationRecord> {
        read_probation(bytes, max_artifacts).ok()
    }
}

fn read_attempt(bytes: &[u8], max_artifacts: u8) -> Result<AttemptRecord, CborError> {
    let mut fields = Fields::new(bytes)?;
    let attempt = fields.schema_and_attempt()?;
    let next = fields.next()?;
    let body = if next == 2 {
        let error = AttemptError::from_number(fields.reader.uint()?).ok_or(CborError::Type)?;
        RecordBody::Error(error)
    } else {
        fields.require(next == 3)?;
        let count = u8::try_from(fields.reader.uint()?).map_err(|_| CborError::Type)?;
        fields.require((1..=max_artifacts).contains(&count))?;
        fields.key(4)?;
        let cancel = fields.reader.boolean()?;
        fields.key(5)?;
        let results = read_results(&mut fields.reader, count)?;
        RecordBody::Results { cancel, results }
    };
    fields.close()?;
    Ok(AttemptRecord { attempt, body })
}

fn read_results(reader: &mut Reader<'_>, count: u8) -> Result<Results, CborError> {
    let mut array = reader.array()?;
    let mut results = Results::pending(count);
    let mut index = 0;
    while reader.more(&mut array)? {
        let number = reader.uint()?;
        if index == count || number > 3 {
            return Err(CborError::Type);
        }
        results.bits |= number << (2 * u32::from(index));
        index += 1;
    }
    if index == count { Ok(results) } else { Err(CborError::Type) }
}

fn read_probation(bytes: &[u8], max_artifacts: u8) -> Result<ProbationRecord, CborError> {
    let mut fields = Fields::new(bytes)?;
    let attempt = fields.schema_and_attempt()?;
    fields.key(2)?;
    let index = u8::try_from(fields.reader.uint()?).map_err(|_| CborError::Type)?;
    fields.require(index < max_artifacts)?;
    fields.key(3)?;
    let slug = Slug::new(fields.reader.text()?).map_err(|_| CborError::Type)?;
    fields.key(4)?;
    let version = Version::new(fields.reader.text()?).map_err(|_| CborError::Type)?;
    fields.key(5)?;
    let build_id = BuildId(fields.reader.bytes()?.try_into().map_err(|_| CborError::Type)?);
    fields.close()?;
    Ok(ProbationRecord {
        attempt,
        index,
        slug,
        version,
        build_id,
    })
}

/// A map whose keys stand in a fixed order.
struct Fields<'b> {
    reader: Reader<'b>,
    map: crate::wire::cbor::Container,
}

impl<'b> Fields<'b> {
    fn new(bytes: &'b [u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(bytes);
        let map = reader.map()?;
        Ok(Fields { reader, map })
    }

    fn schema_and_attempt(&mut self) -> Result<AttemptId, CborError> {
        self.key(0)?;
        let schema = self.reader.uint()?;
        self.require(schema == SCHEMA)?;
        self.key(1)?;
        AttemptId::new(self.reader.uint()?).ok_or(CborError::Type)
    }

    fn next(&mut self) -> Result<u64, CborError> {
        let more = self.reader.more(&mut self.map)?;
        self.require(more)?;
        self.reader.uint()
    }

    fn key(&mut self, key: u64) -> Result<(), CborError> {
        let found = self.next()?;
        self.require(found == key)
    }

    fn require(&self, holds: bool) -> Result<(), CborError> {
        if holds { Ok(()) } else { Err(CborError::Type) }
    }

    fn close(&mut self) -> Result<(), CborError> {
        let more = self.reader.more(&mut self.map)?;
        self.require(!more && self.reader.at_end())
    }
}

/// What must hold for whatever stands in the settings store: nothing panics a reader, and a record that counts is read back as it was
/// written.
#[cfg(fuzzing)]
pub fn records_hold(bytes: &[u8], max_artifacts: u8) {
    if let Some(record) = AttemptRecord::decode(bytes, max_artifacts) {
        assert_eq!(AttemptRecord::decode(&record.encode(), max_artifacts), Some(record));
    }
    if let Some(record) = ProbationRecord::decode(bytes, max_artifacts) {
        assert_eq!(ProbationRecord::decode(&record.encode(), max_artifacts), Some(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn id(number: u64) -> AttemptId {
        AttemptId::new(number).unwrap()
    }

    #[test]
    fn attempt_records_have_the_bytes_of_the_protocol() {
        let mut results = Results::pending(3);
        results.set(0, ArtifactResult::Succeeded);
        results.set(1, ArtifactResult::Failed);
        results.set(2, ArtifactResult::Canceled);
        let finished = AttemptRecord {
            attempt: id(101),
            body: RecordBody::Results { cancel: true, results },
        };
        let refused = AttemptRecord {
            attempt: id(102),
            body: RecordBody::Error(AttemptError::CannotParseMessage),
        };
        for (record, bytes) in [
            (finished, "bf0001011865030304f5059f010203ffff"),
            (refused, "bf00010118660203ff"),
        ] {
            assert_eq!(record.encode(), hex(bytes));
            assert_eq!(AttemptRecord::decode(&hex(bytes), 4), Some(record));
        }
    }

    #[test]
    fn probation_records_have_the_bytes_of_the_protocol() {
        let record = ProbationRecord {
            attempt: id(7),
            index: 1,
            slug: "main".parse().unwrap(),
            version: "1.2.3".parse().unwrap(),
            build_id: BuildId(std::array::from_fn(|at| at as u8 + 1)),
        };
        let encoded = record.encode();
        assert_eq!(
            encoded,
            hex("bf00010107020103646d61696e0465312e322e3305540102030405060708090a0b0c0d0e0f1011121314ff")
        );
        assert_eq!(ProbationRecord::decode(&encoded, 4), Some(record.clone()));
        assert_eq!(ProbationRecord::decode(&encoded, 1), None);
        assert!(encoded.len() <= VALUE_LIMIT);
    }

    #[test]
    fn definite_lengths_are_read_too() {
        let record = AttemptRecord::decode(&hex("a500010107030204f405820100"), 4).unwrap();
        let RecordBody::Results { cancel, results } = record.body else {
            panic!("{record:?}");
        };
        assert!(!cancel);
        assert_eq!((results.of(0), results.of(1)), (Some(ArtifactResult::Succeeded), None));
    }

    #[test]
    fn whatever_is_not_valid_in_every_detail_is_absent() {
        for broken in [
            "bf0002011865030304f5059f010203ffff",     // schema 2
            "bf00010100030304f5059f010203ffff",       // id 0
            "bf0001011865030004f5059fffff",           // count 0
            "bf0001011865030504f5059f0000000000ffff", // count above the device's
            "bf0001011865030304f5059f0102ffff",       // fewer results
            "bf0001011865030304f5059f01020304ffff",   // more results
            "bf0001011865030304f5059f010204ffff",     // result 4
            "bf00010118660204ff",                     // error 4
            "bf000101186602030304ff",                 // both forms
            "bf0001011865030304f5059f010203ff0600ff", // extra key
            "bf0118650001030304f5059f010203ffff",     // reordered
            "bf0001011865030304f5059f010203ff",       // cut off
            "bf00010118660203ff00",                   // bytes behind
            "",
        ] {
            assert_eq!(AttemptRecord::decode(&hex(broken), 4), None, "{broken}");
        }
    }

    /// Any bytes, and records of which a few bytes are others or the end is missing.
    fn stored_bytes() -> impl Strategy<Value = Vec<u8>> {
        let whole = prop_oneof![
            Just("bf0001011865030304f5059f010203ffff"),
            Just("bf00010118660203ff"),
            Just("a500010107030204f405820100"),
            Just("bf00010107020103646d61696e0465312e322e3305540102030405060708090a0b0c0d0e0f1011121314ff"),
        ];
        let bent = (
            whole,
            proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            any::<prop::sample::Index>(),
        );
        let bent = bent.prop_map(|(whole, changes, cut)| {
            let mut bytes = hex(whole);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            // Every second one is cut.
            let cut = cut.index(2 * bytes.len());
            bytes.truncate(cut.max(1));
            bytes
        });
        prop_oneof![1 => proptest::collection::vec(any::<u8>(), 0..200), 3 => bent]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn invariant_59_any_bytes_are_a_valid_record_or_absent(bytes in stored_bytes(), limit in 1u8..=32) {
            if let Some(record) = AttemptRecord::decode(&bytes, limit) {
                prop_assert_eq!(AttemptRecord::decode(&record.encode(), limit), Some(record));
                prop_assert!(record.encode().len() <= VALUE_LIMIT);
                if let RecordBody::Results { results, .. } = record.body {
                    prop_assert!((1..=limit).contains(&results.count()));
                    prop_assert_eq!(results.bits.checked_shr(2 * u32::from(results.count())).unwrap_or(0), 0);
                }
            }
            if let Some(record) = ProbationRecord::decode(&bytes, limit) {
                prop_assert_eq!(ProbationRecord::decode(&record.encode(), limit), Some(record.clone()));
                prop_assert!(record.index < limit && record.encode().len() <= VALUE_LIMIT);
            }
            let (slug, version) = (Slug::new("app").unwrap(), Version::new("1.2.3").unwrap());
            let mut records = Records::default();
            records.write(&RecordKey::Version(slug.clone()), &bytes);
            prop_assert_eq!(records.is_installed(&slug, &version), bytes == b"1.2.3\0");
        }
    }

    #[test]
    fn the_longest_records_are_read_back() {
        let record = ProbationRecord {
            attempt: id(u64::MAX),
            index: 31,
            slug: Slug::new([b's'; 32]).unwrap(),
            version: Version::new([b'v'; 64]).unwrap(),
            build_id: BuildId([9; 20]),
        };
        let mut records = Records::default();
        records.write(&RecordKey::Probation, &record.encode());
        assert_eq!(records.probation(32), Some(record));
        let text = Version::new([b'v'; 64]).unwrap();
        let slug = Slug::new("modem").unwrap();
        records.write(&RecordKey::Version(slug.clone()), &encode_version(&text));
        assert!(records.is_installed(&slug, &text));
        assert!(!records.is_installed(&slug, &Version::new([b'v'; 63]).unwrap()));
    }
}
