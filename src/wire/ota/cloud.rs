//! What the cloud tells a device.

use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;

use crate::model::{Artifact, AttemptError, AttemptId, Few, Manifest, Secret, Slug, TextError, Url, Version};
use crate::wire::cbor::{CborError, Reader, Writer};

use super::{FIRMWARE, Seen, key, message};

/// A message from the cloud, with its manifest or what somebody needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudMessage<M = Manifest> {
    /// Carry out this manifest (type 6).
    UpdateArtifacts {
        /// Names the attempt.
        attempt: AttemptId,
        /// What to install.
        manifest: M,
    },
    /// Stop if that is still allowed (type 7).
    CancelUpdate {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Publish the cumulative results once more (type 8).
    ReportResults {
        /// Which attempt.
        attempt: AttemptId,
    },
}

/// A manifest whose texts stand where they came: for those who look at a message and keep little of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadManifest<'b> {
    /// As [`Manifest::canceled`].
    pub(crate) canceled: bool,
    /// As [`Manifest::artifacts`].
    pub(crate) artifacts: Few<ReadArtifact<'b>>,
}

/// An [`Artifact`] whose texts stand where they came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadArtifact<'b> {
    pub(crate) slug: &'b [u8],
    pub(crate) main: bool,
    pub(crate) url: &'b [u8],
    pub(crate) secret: &'b [u8],
    pub(crate) version: &'b [u8],
}

/// The secret is not shown.
impl fmt::Debug for ReadArtifact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.slug.escape_ascii(), self.version.escape_ascii())
    }
}

impl<M> CloudMessage<M> {
    /// The same message with something else in place of its manifest.
    pub(crate) fn map<N>(self, change: impl FnOnce(M) -> N) -> CloudMessage<N> {
        let Ok(changed) = self.try_map(|manifest| Ok::<_, Infallible>(change(manifest)));
        changed
    }

    fn try_map<N, E>(self, change: impl FnOnce(M) -> Result<N, E>) -> Result<CloudMessage<N>, E> {
        Ok(match self {
            CloudMessage::UpdateArtifacts { attempt, manifest } => CloudMessage::UpdateArtifacts {
                attempt,
                manifest: change(manifest)?,
            },
            CloudMessage::CancelUpdate { attempt } => CloudMessage::CancelUpdate { attempt },
            CloudMessage::ReportResults { attempt } => CloudMessage::ReportResults { attempt },
        })
    }

    /// The attempt that the message is about.
    pub fn attempt(&self) -> AttemptId {
        match self {
            CloudMessage::UpdateArtifacts { attempt, .. }
            | CloudMessage::CancelUpdate { attempt }
            | CloudMessage::ReportResults { attempt } => *attempt,
        }
    }
}

/// What a device does with a message that it cannot use (protocol 3.6): one variant a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No trustworthy id: log, no report, no change of state.
    #[error("ignored: {0}")]
    Ignore(#[source] Unreadable),
    /// The schema is broken: the attempt is rejected and the error reported (protocol 3.7).
    #[error("attempt {attempt} rejected: {error}")]
    Reject {
        /// The trustworthy id.
        attempt: AttemptId,
        /// What to report.
        error: AttemptError,
    },
    /// A value is unusable: log, no report, current attempt unchanged; the id counts as received.
    #[error("attempt {attempt} dropped: a text of artifact {artifact} {error}")]
    Drop {
        /// The trustworthy id.
        attempt: AttemptId,
        /// Position of the artifact in the manifest.
        artifact: u8,
        /// What is wrong with one of its texts.
        #[source]
        error: TextError,
    },
}

impl DecodeError {
    /// The id that counts as received (protocol 4.1): there unless the message is ignored.
    pub fn attempt(&self) -> Option<AttemptId> {
        match self {
            DecodeError::Ignore(_) => None,
            DecodeError::Reject { attempt, .. } | DecodeError::Drop { attempt, .. } => Some(*attempt),
        }
    }
}

/// Why no trustworthy id was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The top level is no map.
    #[error("the message is no map")]
    NotAMap,
    /// The message ends, or something in it cannot be skipped, before both header keys were read.
    #[error("the message breaks off or is malformed before both header keys were read")]
    Broken,
    /// The map has no `messageType`, or its first one is no unsigned integer of 32 bits.
    #[error("the message type is missing or unreadable")]
    MessageType,
    /// The map has no `updateAttemptId`, or its first one is no unsigned integer above zero.
    #[error("the attempt id is missing, zero or unreadable")]
    AttemptId,
}

/// Decodes what arrived on the OTA topic, as a device with room for `max_artifacts` artifacts does (protocol 3.6).
///
/// # Errors
/// [`DecodeError`] says what the device does about a message that it cannot use. Where several things are wrong, errors of the
/// manifest (counted and judged artifact by artifact, the type of each first) come before those around it.
pub fn decode_cloud(payload: &[u8], max_artifacts: u8) -> Result<CloudMessage, DecodeError> {
    let message = read_cloud(payload, max_artifacts)?;
    let attempt = message.attempt();
    message.try_map(|manifest| manifest.keep().map_err(|flaw| flaw.of(attempt)))
}

/// The same, without keeping anything of the message.
///
/// # Errors
/// As [`decode_cloud`].
pub(crate) fn read_cloud(payload: &[u8], max_artifacts: u8) -> Result<CloudMessage<ReadManifest<'_>>, DecodeError> {
    let (kind, attempt) = scan_header(payload).map_err(DecodeError::Ignore)?;
    let reject = |error| DecodeError::Reject { attempt, error };
    match u64::from(kind) {
        message::UPDATE_ARTIFACTS => {
            let manifest = read_update(payload, max_artifacts).map_err(reject)?;
            manifest.check().map_err(|flaw| flaw.of(attempt))?;
            Ok(CloudMessage::UpdateArtifacts { attempt, manifest })
        }
        message::CANCEL_UPDATE => {
            read_bare(payload).map_err(reject)?;
            Ok(CloudMessage::CancelUpdate { attempt })
        }
        message::REPORT_UPDATE_RESULTS => {
            read_bare(payload).map_err(reject)?;
            Ok(CloudMessage::ReportResults { attempt })
        }
        _ => Err(reject(AttemptError::CannotParseMessage)),
    }
}

/// Encodes a message with definite lengths; flags that are false are left out.
pub fn encode_cloud(message: &CloudMessage) -> Bytes {
    let mut writer = Writer::default();
    match message {
        CloudMessage::UpdateArtifacts { attempt, manifest } => {
            write_header(
                &mut writer,
                3 + usize::from(manifest.canceled),
                message::UPDATE_ARTIFACTS,
                *attempt,
            );
            if manifest.canceled {
                writer.uint(key::CANCELED).boolean(true);
            }
            writer.uint(key::MANIFEST).array(manifest.artifacts.len());
            manifest
                .artifacts
                .iter()
                .for_each(|artifact| write_artifact(&mut writer, artifact));
        }
        CloudMessage::CancelUpdate { attempt } => write_header(&mut writer, 2, message::CANCEL_UPDATE, *attempt),
        CloudMessage::ReportResults { attempt } => write_header(&mut writer, 2, message::REPORT_UPDATE_RESULTS, *attempt),
    }
    writer.finish()
}

fn write_header(writer: &mut Writer, pairs: usize, kind: u64, attempt: AttemptId) {
    writer
        .map(pairs)
        .uint(key::MESSAGE_TYPE)
        .uint(kind)
        .uint(key::ATTEMPT)
        .uint(attempt.number());
}

fn write_artifact(writer: &mut Writer, artifact: &Artifact) {
    writer.map(5 + usize::from(artifact.main));
    writer
        .uint(key::ARTIFACT_TYPE)
        .uint(FIRMWARE)
        .uint(key::SLUG)
        .text(artifact.slug.as_bytes());
    if artifact.main {
        writer.uint(key::MAIN).boolean(true);
    }
    writer.uint(key::URL).text(artifact.url.as_bytes());
    writer.uint(key::SECRET).text(artifact.secret.as_bytes());
    writer.uint(key::VERSION).text(artifact.version.as_bytes());
}

/// Layer 1: message type and attempt id, wherever they stand; the first of each counts. Looks at nothing behind the second.
fn scan_header(payload: &[u8]) -> Result<(u32, AttemptId), Unreadable> {
    let mut reader = Reader::new(payload);
    let mut map = reader.map().map_err(|_| Unreadable::NotAMap)?;
    let (mut kind, mut attempt) = (None, None);
    loop {
        if let (Some(kind), Some(attempt)) = (kind, attempt) {
            return Ok((kind, attempt));
        }
        if !reader.more(&mut map).map_err(|_| Unreadable::Broken)? {
            return Err(if kind.is_none() {
                Unreadable::MessageType
            } else {
                Unreadable::AttemptId
            });
        }
        match reader.key().map_err(|_| Unreadable::Broken)? {
            Some(key::MESSAGE_TYPE) if kind.is_none() => {
                kind = Some(
                    reader
                        .narrow_uint()
                        .map_err(|error| unreadable(error, Unreadable::MessageType))?,
                );
            }
            Some(key::ATTEMPT) if attempt.is_none() => {
                let number = reader.uint().map_err(|error| unreadable(error, Unreadable::AttemptId))?;
                attempt = Some(AttemptId::new(number).ok_or(Unreadable::AttemptId)?);
            }
            Some(_) | None => reader.skip().map_err(|_| Unreadable::Broken)?,
        }
    }
}

fn unreadable(error: CborError, field: Unreadable) -> Unreadable {
    match error {
        CborError::Type => field,
        CborError::End | CborError::Malformed => Unreadable::Broken,
    }
}

/// A text that cannot be used, and the position of its artifact.
struct Flaw(u8, TextError);

impl Flaw {
    fn of(self, attempt: AttemptId) -> DecodeError {
        let Flaw(artifact, error) = self;
        DecodeError::Drop {
            attempt,
            artifact,
            error,
        }
    }
}

impl ReadManifest<'_> {
    /// Layer 3: whether each text can be used.
    fn check(&self) -> Result<(), Flaw> {
        self.each(|artifact| {
            Slug::check(artifact.slug)?;
            Url::check(artifact.url)?;
            Secret::check(artifact.secret)?;
            Version::check(artifact.version)
        })
    }

    /// A manifest that stands for itself.
    fn keep(&self) -> Result<Manifest, Flaw> {
        let keep = |artifact: &ReadArtifact<'_>| {
            Ok(Artifact {
                slug: Slug::new(artifact.slug)?,
                main: artifact.main,
                url: Url::new(artifact.url)?,
                secret: Secret::new(artifact.secret)?,
                version: Version::new(artifact.version)?,
            })
        };
        Ok(Manifest {
            canceled: self.canceled,
            artifacts: self.each(keep)?,
        })
    }

    fn each<T, L: FromIterator<T>>(&self, what: impl Fn(&ReadArtifact<'_>) -> Result<T, TextError>) -> Result<L, Flaw> {
        let positions = 0u8..;
        let each = positions.zip(&self.artifacts);
        each.map(|(position, artifact)| what(artifact).map_err(|error| Flaw(position, error)))
            .collect()
    }
}

/// Layer 2 of CANCEL_UPDATE and REPORT_UPDATE_RESULTS: the two header keys and nothing else.
fn read_bare(payload: &[u8]) -> Result<(), AttemptError> {
    read_closed(&mut Reader::new(payload), |key, reader| match key {
        key::MESSAGE_TYPE | key::ATTEMPT => reader.skip().map(|()| true).map_err(broken),
        _ => Ok(false),
    })
}

/// Layer 2 of UPDATE_ARTIFACTS.
fn read_update(payload: &[u8], max_artifacts: u8) -> Result<ReadManifest<'_>, AttemptError> {
    let mut canceled = false;
    let mut manifest = None;
    read_closed(&mut Reader::new(payload), |key, reader| match key {
        key::MESSAGE_TYPE | key::ATTEMPT => reader.skip().map(|()| true).map_err(broken),
        key::CANCELED => Ok(read_flag(reader, &mut canceled)),
        key::MANIFEST => {
            manifest = Some(read_manifest(reader, max_artifacts)?);
            Ok(true)
        }
        _ => Ok(false),
    })?;
    let artifacts = manifest.ok_or(AttemptError::CannotParseMessage)?;
    Ok(ReadManifest { canceled, artifacts })
}

/// Reads a map in which every key is known and stands once. `read` consumes the value of a key that it knows; where it leaves
/// `false`, the value is skipped and the map is refused once it has been read to its end, so that a worse error in it is found.
fn read_closed<'b>(
    reader: &mut Reader<'b>,
    mut read: impl FnMut(u64, &mut Reader<'b>) -> Result<bool, AttemptError>,
) -> Result<(), AttemptError> {
    let mut map = reader.map().map_err(broken)?;
    let mut seen = Seen::default();
    let mut sound = true;
    while reader.more(&mut map).map_err(broken)? {
        let key = reader.key().map_err(broken)?.filter(|&key| !seen.again(key));
        let known = match key {
            Some(key) => read(key, reader)?,
            None => false,
        };
        if !known {
            sound = false;
            reader.skip().map_err(broken)?;
        }
    }
    if sound {
        Ok(())
    } else {
        Err(AttemptError::CannotParseMessage)
    }
}

/// Reads `false` or `true`; leaves anything else unread and answers `false`.
fn read_flag(reader: &mut Reader<'_>, flag: &mut bool) -> bool {
    let mut ahead = *reader;
    match ahead.boolean() {
        Ok(value) => {
            (*flag, *reader) = (value, ahead);
            true
        }
        Err(_) => false,
    }
}

fn read_manifest<'b>(reader: &mut Reader<'b>, max_artifacts: u8) -> Result<Few<ReadArtifact<'b>>, AttemptError> {
    let mut array = reader.array().map_err(broken)?;
    let mut artifacts = Few::None;
    let mut main_seen = false;
    while reader.more(&mut array).map_err(broken)? {
        if artifacts.len() >= usize::from(max_artifacts) && !reader.at_end() {
            return Err(AttemptError::ArtifactCountExceeded);
        }
        let artifact = read_artifact(reader)?;
        if artifact.main && main_seen {
            return Err(AttemptError::CannotParseMessage);
        }
        main_seen |= artifact.main;
        artifacts.push(artifact);
    }
    if artifacts.is_empty() {
        Err(AttemptError::CannotParseMessage)
    } else {
        Ok(artifacts)
    }
}

fn read_artifact<'b>(reader: &mut Reader<'b>) -> Result<ReadArtifact<'b>, AttemptError> {
    judge_type(*reader)?;
    let (mut slug, mut url, mut secret, mut version) = (None, None, None, None);
    let mut main = false;
    read_closed(reader, |key, reader| {
        let (field, limit) = match key {
            key::ARTIFACT_TYPE => return reader.skip().map(|()| true).map_err(broken),
            key::MAIN => return Ok(read_flag(reader, &mut main)),
            key::SLUG => (&mut slug, Slug::MAX),
            key::URL => (&mut url, Url::MAX),
            key::SECRET => (&mut secret, Secret::MAX),
            key::VERSION => (&mut version, Version::MAX),
            _ => return Ok(false),
        };
        let text = reader.text().map_err(broken)?;
        *field = Some(text);
        if text.len() <= limit {
            Ok(true)
        } else {
            Err(AttemptError::CannotParseMessage)
        }
    })?;
    let present = |field: Option<&'b [u8]>| field.ok_or(AttemptError::CannotParseMessage);
    Ok(ReadArtifact {
        slug: present(slug)?,
        main,
        url: present(url)?,
        secret: present(secret)?,
        version: present(version)?,
    })
}

/// Judges the type of an artifact before any of its other fields, wherever it stands (protocol 3.6, precedence).
fn judge_type(mut reader: Reader<'_>) -> Result<(), AttemptError> {
    let mut map = reader.map().map_err(broken)?;
    while reader.more(&mut map).map_err(broken)? {
        if reader.key().map_err(broken)? == Some(key::ARTIFACT_TYPE) {
            let known = reader.uint().map_err(broken)? == FIRMWARE;
            return if known {
                Ok(())
            } else {
                Err(AttemptError::UnknownArtifactType)
            };
        }
        reader.skip().map_err(broken)?;
    }
    Err(AttemptError::CannotParseMessage)
}

fn broken(_: CborError) -> AttemptError {
    AttemptError::CannotParseMessage
}
