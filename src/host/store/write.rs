//! Records to rows: each change to the journal, and what comes of it to the table where a person looks for it.

use rusqlite::{Connection, Params};

use super::super::events::KEPT_MAX;
use super::{Batch, StoreError};
use crate::model::{AttemptId, CohortRule, Prompt, Tags, UpdateState};
use crate::server::{DeviceNumber, Record, Stamp};

/// Events between two clean-ups of the table.
const SWEEP: u64 = 4_096;

/// Writes changes.
pub(super) fn records(database: &Connection, records: &[(Stamp, Record)]) -> Result<(), StoreError> {
    records.iter().try_for_each(|(stamp, record)| {
        let at = signed(stamp.at_ms);
        let writer = Writer { database, at };
        writer.note(stamp.by, record)?;
        writer.carry_out(record)
    })
}

/// Writes the events of a batch, and forgets those too old to be asked for.
pub(super) fn events(database: &Connection, batch: &Batch<'_>) -> Result<(), StoreError> {
    let writer = Writer { database, at: 0 };
    let at_ns = i64::try_from(batch.at.as_nanos()).unwrap_or(i64::MAX);
    for (seq, event) in (batch.first_event..).zip(batch.events) {
        let event = serde_json::to_string(event).expect("an event has a JSON form");
        let insert = "INSERT INTO events (seq, at_ns, event) VALUES (?, ?, ?)";
        writer.execute(insert, (signed(seq), at_ns, event))?;
        if seq.is_multiple_of(SWEEP) {
            let oldest = seq.saturating_sub(KEPT_MAX as u64);
            writer.execute("DELETE FROM events WHERE seq <= ?", [signed(oldest)])?;
        }
    }
    Ok(())
}

struct Writer<'d> {
    database: &'d Connection,
    /// Milliseconds since 1970.
    at: i64,
}

impl Writer<'_> {
    fn execute(&self, statement: &str, parameters: impl Params) -> Result<(), StoreError> {
        self.database.prepare_cached(statement)?.execute(parameters)?;
        Ok(())
    }

    /// Adds a record to the journal.
    fn note(&self, prompt: Prompt, record: &Record) -> Result<(), StoreError> {
        let (device, attempt) = match record {
            // Of each boot of each device: the newest is enough.
            Record::SessionSeen { .. } => return Ok(()),
            Record::DeviceTagged { device, .. } | Record::CohortJoined { device, .. } | Record::CohortLeft { device, .. } => {
                (Some(device.0), None)
            }
            Record::AttemptCreated { attempt, device, .. } => (Some(device.0), Some(row_id(*attempt))),
            Record::ManifestSent { attempt }
            | Record::CancelRequested { attempt }
            | Record::ResultsKnown { attempt, .. }
            | Record::AttemptRefused { attempt, .. }
            | Record::AttemptEnded { attempt, .. } => (None, Some(row_id(*attempt))),
            Record::FirmwareCreated { .. }
            | Record::ImageStored { .. }
            | Record::VersionCreated { .. }
            | Record::VersionDeleted { .. }
            | Record::DeviceRegistered { .. }
            | Record::CohortCreated { .. }
            | Record::CohortChanged { .. }
            | Record::DeploymentCreated { .. }
            | Record::DeploymentCancelled { .. }
            | Record::DeploymentPaused { .. }
            | Record::DeploymentResumed { .. } => (None, None),
        };
        let json = serde_json::to_string(record).expect("a record has a JSON form");
        let insert = "INSERT INTO changes (at_unix_ms, prompt, change, device, attempt, record)
            VALUES (?1, ?2, ?5 ->> '$.change', ?3, ?4, ?5)";
        self.execute(insert, (self.at, prompt.word(), device, attempt, json))
    }

    /// Makes the tables say what has come of a record.
    fn carry_out(&self, record: &Record) -> Result<(), StoreError> {
        match record {
            Record::FirmwareCreated { slug } => self.execute(
                "INSERT INTO firmware (slug, created_unix_ms) VALUES (?, ?)",
                (slug.to_string(), self.at),
            ),
            Record::ImageStored { digest, build_id, image } => self.execute(
                "INSERT INTO images (digest, size_bytes, build_id, created_unix_ms) VALUES (?, ?, ?, ?)",
                (
                    digest.to_string(),
                    signed(image.len() as u64),
                    build_id.map(|id| id.to_string()),
                    self.at,
                ),
            ),
            Record::VersionCreated { firmware, digest } => self.execute(
                "INSERT INTO versions (slug, version, digest, created_unix_ms) VALUES (?, ?, ?, ?)",
                (
                    firmware.slug.to_string(),
                    firmware.version.to_string(),
                    digest.to_string(),
                    self.at,
                ),
            ),
            Record::VersionDeleted { firmware } => {
                let delete = "DELETE FROM versions WHERE slug = ? AND version = ?";
                self.execute(delete, (firmware.slug.to_string(), firmware.version.to_string()))?;
                self.execute("DELETE FROM images WHERE digest NOT IN (SELECT digest FROM versions)", [])
            }
            Record::DeviceRegistered { device, tags } => {
                // Numbers count from zero in the order of registration, as those of the core do.
                let insert = "INSERT INTO devices (number, id, registered_unix_ms)
                    VALUES ((SELECT coalesce(max(number) + 1, 0) FROM devices), ?, ?)";
                self.execute(insert, (device.as_str(), self.at))?;
                let number = u32::try_from(self.database.last_insert_rowid()).expect("devices are bounded");
                self.write_tags(DeviceNumber(number), tags)
            }
            Record::DeviceTagged { device, tags } => {
                self.execute("DELETE FROM tags WHERE device = ?", [device.0])?;
                self.write_tags(*device, tags)
            }
            Record::SessionSeen { device, session } => self.execute(
                "UPDATE devices SET run_id = ?, build_id = ?, last_attempt = ? WHERE number = ?",
                (
                    signed(session.run_id),
                    session.build_id.map(|id| id.to_string()),
                    session.last_attempt.map(row_id),
                    device.0,
                ),
            ),
            Record::CohortCreated { cohort, rule } => {
                let insert = "INSERT INTO cohorts (number, name, rule, created_unix_ms)
                    VALUES ((SELECT coalesce(max(number), 0) + 1 FROM cohorts), ?, ?, ?)";
                self.execute(insert, (cohort.as_str(), rule_text(rule), self.at))
            }
            Record::CohortChanged { cohort, rule } => {
                let update = "UPDATE cohorts SET rule = ? WHERE number = ?";
                self.execute(update, (rule_text(rule), cohort.0))
            }
            Record::CohortJoined { device, cohort } => self.execute(
                "INSERT OR IGNORE INTO members (cohort, device, joined_unix_ms) VALUES (?, ?, ?)",
                (cohort.0, device.0, self.at),
            ),
            Record::CohortLeft { device, cohort } => {
                let delete = "DELETE FROM members WHERE cohort = ? AND device = ?";
                self.execute(delete, (cohort.0, device.0))
            }
            Record::DeploymentCreated {
                deployment,
                cohort,
                packages,
                main,
            } => {
                let insert = "INSERT INTO deployments (number, name, cohort, main, created_unix_ms)
                    VALUES ((SELECT coalesce(max(number) + 1, 0) FROM deployments), ?, ?, ?, ?)";
                self.execute(insert, (deployment.as_str(), cohort.0, main, self.at))?;
                let number = self.database.last_insert_rowid();
                let insert = "INSERT INTO packages (deployment, position, slug, version) VALUES (?, ?, ?, ?)";
                (0_u32..).zip(packages).try_for_each(|(position, package)| {
                    let (slug, version) = (package.slug.to_string(), package.version.to_string());
                    self.execute(insert, (number, position, slug, version))
                })
            }
            Record::DeploymentCancelled { deployment } => {
                self.execute("UPDATE deployments SET cancelled = 1 WHERE number = ?", [deployment.0])
            }
            Record::DeploymentPaused { deployment } => {
                self.execute("UPDATE deployments SET paused = 1 WHERE number = ?", [deployment.0])
            }
            Record::DeploymentResumed { deployment } => {
                self.execute("UPDATE deployments SET paused = 0 WHERE number = ?", [deployment.0])
            }
            Record::AttemptCreated {
                attempt,
                device,
                deployment,
            } => self.execute(
                "INSERT INTO attempts (id, device, deployment, state) VALUES (?, ?, ?, ?)",
                (row_id(*attempt), device.0, deployment.0, UpdateState::Pending.word()),
            ),
            Record::ManifestSent { attempt } => {
                let update = "UPDATE attempts
                    SET sent = 1, state = CASE state WHEN 'pending' THEN 'in-progress' ELSE state END WHERE id = ?";
                self.execute(update, [row_id(*attempt)])
            }
            Record::CancelRequested { attempt } => {
                self.execute("UPDATE attempts SET cancel_requested = 1 WHERE id = ?", [row_id(*attempt)])
            }
            Record::ResultsKnown { attempt, results } => self.execute(
                "UPDATE attempts SET succeeded = ?, failed = ?, canceled = ? WHERE id = ?",
                (results.succeeded, results.failed, results.canceled, row_id(*attempt)),
            ),
            Record::AttemptRefused { attempt, error } => {
                let update = "UPDATE attempts SET error = ? WHERE id = ?";
                self.execute(update, (signed(*error), row_id(*attempt)))
            }
            Record::AttemptEnded { attempt, state, reason } => self.execute(
                "UPDATE attempts SET state = ?, reason = ? WHERE id = ?",
                (state.word(), reason.word(), row_id(*attempt)),
            ),
        }
    }

    fn write_tags(&self, device: DeviceNumber, tags: &Tags) -> Result<(), StoreError> {
        let insert = "INSERT INTO tags (device, key, value) VALUES (?, ?, ?)";
        tags.iter()
            .try_for_each(|(key, value)| self.execute(insert, (device.0, key, value)))
    }
}

/// The same 64 bits as SQLite keeps them.
const fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn row_id(attempt: AttemptId) -> i64 {
    signed(attempt.number())
}

fn rule_text(rule: &CohortRule) -> Option<String> {
    match rule {
        CohortRule::ByHand => None,
        CohortRule::Where(selector) => Some(selector.to_string()),
    }
}
