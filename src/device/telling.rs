//! What a device tells of itself beside updates, where its fleet has a heartbeat: its uptime, and a few log records (protocol 4.3, 4.4).

use super::Device;
use super::boot::Power;
use super::io::Outputs;
use crate::time::SimTime;
use crate::wire::config::Severity;
use crate::wire::telemetry::{LogRecord, Metric, encode_log, encode_metric};
use crate::wire::topic;

impl Device {
    /// When the next heartbeat is due: the first one at the start of the image.
    pub(super) fn beats_at(&self) -> Option<SimTime> {
        match &self.power {
            Power::On(app) if !app.silent => self.config.heartbeat.map(|every| app.started_at + every * app.beats),
            Power::Off | Power::Boot { .. } | Power::On(_) => None,
        }
    }

    /// A heartbeat is due; without a connection the latest one waits for the next.
    pub(super) fn beat(&mut self, now: SimTime, out: &mut Outputs) {
        if let Power::On(app) = &mut self.power {
            app.beats += 1;
            app.beat_owed = true;
        }
        self.publish_heartbeat(now, out);
    }

    /// Publishes the heartbeat that waits, if one does and there is a connection.
    pub(super) fn publish_heartbeat(&mut self, now: SimTime, out: &mut Outputs) {
        let open = self.memory.line.is_open();
        if let Power::On(app) = &mut self.power
            && open
            && std::mem::take(&mut app.beat_owed)
        {
            let uptime_ms = now.since(app.started_at).as_millis() as i64;
            self.publish(topic::INGEST, encode_metric(&Metric::heartbeat(uptime_ms)), now, out);
        }
    }

    /// Logs a sentence, if the fleet is to be heard, the severity reaches the threshold, and there is a connection. Never a URL or a
    /// secret.
    pub(super) fn log(&mut self, severity: Severity, source: &str, body: impl FnOnce() -> String, now: SimTime, out: &mut Outputs) {
        if self.config.heartbeat.is_none() || severity < self.severity || !self.memory.line.is_open() {
            return;
        }
        let Power::On(app) = &mut self.power else {
            return;
        };
        let record = LogRecord {
            sequence: app.logs.into(),
            severity,
            uptime_ms: now.since(app.started_at).as_millis() as u64,
            labels: vec![("source".into(), source.into())],
            body: body(),
            template: None,
        };
        app.logs += 1;
        self.publish(topic::INGEST, encode_log(&record), now, out);
    }
}
