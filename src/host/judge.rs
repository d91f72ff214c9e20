//! The judge of `squall serve --judge`: shows a [`Witness`] what the host sees of devices, and says what it finds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::{Verdict, listen};
use crate::model::{DeviceId, FirmwareVersion, ServerEvent, UpdateState};
use crate::server::Server;
use crate::time::SimTime;
use crate::verdict::{Fetched, Finding, Witness};
use crate::wire::Packet;

/// Findings kept for the last line; beyond them they are counted alone.
const FINDINGS_MAX: usize = 1_000;
/// Schema of the last line.
const SCHEMA: &str = "squall.judge/1";

/// An image request that was answered, on its way to the judge.
#[derive(Debug)]
pub(crate) struct SeenRequest {
    /// Path with query.
    pub(crate) path: String,
    /// Value of `Authorization`.
    pub(crate) authorization: Option<String>,
    /// Status of the answer.
    pub(crate) status: u16,
}

/// The judge; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Judge(Arc<Mutex<Bench>>);

#[derive(Default)]
struct Bench {
    witness: Witness,
    findings: Vec<Finding>,
}

/// What is said last, as one line of JSON on standard output.
#[derive(Serialize)]
struct Summary<'a> {
    schema: &'static str,
    devices: usize,
    checks: u64,
    rules: Vec<RuleLine>,
    findings: Vec<FindingLine<'a>>,
}

#[derive(Serialize)]
struct RuleLine {
    rule: &'static str,
    checks: u64,
    broken: u64,
}

#[derive(Serialize)]
struct FindingLine<'a> {
    rule: &'static str,
    device: Option<&'a DeviceId>,
    at_ns: u64,
    evidence: &'a str,
}

impl Judge {
    /// Begins to watch what a server holds already.
    pub(crate) fn begin(&self, server: &Server) {
        let mut bench = self.lock();
        for firmware in server.firmware() {
            let versions = firmware.versions.iter();
            let named = versions.filter_map(|version| format!("{}@{}", firmware.slug, version.version).parse().ok());
            named.for_each(|firmware| bench.stored(&firmware, server));
        }
        let mut after = None;
        loop {
            let page = server.devices(after.as_ref(), 1_000);
            for device in &page.items {
                let sent = device.attempts.iter().filter(|attempt| attempt.state != UpdateState::Pending);
                bench.witness.meet(&device.id, sent.map(|attempt| attempt.id).max());
            }
            match page.next {
                Some(next) => after = Some(DeviceId::new(next)),
                None => return,
            }
        }
    }

    /// The catalog has a new version.
    pub(crate) fn stored(&self, firmware: &FirmwareVersion, server: &Server) {
        self.lock().stored(firmware, server);
    }

    /// A device sent a packet.
    pub(crate) fn sent(&self, at: SimTime, device: &DeviceId, packet: &Packet) {
        self.lock().witness.sent(at, device, packet);
    }

    /// A device was sent a packet.
    pub(crate) fn transmitted(&self, at: SimTime, device: &DeviceId, packet: &Packet) {
        self.lock().witness.transmitted(at, device, packet);
    }

    /// An image request was answered.
    pub(crate) fn fetched(&self, at: SimTime, request: &SeenRequest, server: &Server) {
        let Some((device, attempt, index)) = server.artifact_at(&request.path) else {
            return;
        };
        let secret = request
            .authorization
            .as_deref()
            .and_then(|value| value.strip_prefix("OtaSecret "));
        let fetched = Fetched {
            attempt,
            index,
            secret,
            status: request.status,
        };
        self.lock().witness.fetched(at, &device, &fetched);
    }

    /// The server told something.
    pub(crate) fn server(&self, at: SimTime, event: &ServerEvent) {
        self.lock().witness.server(at, event);
    }

    /// Says what was found since the last time.
    pub(crate) fn speak(&self) {
        let mut bench = self.lock();
        for finding in bench.witness.take_findings() {
            listen::say(&line(&finding));
            if bench.findings.len() < FINDINGS_MAX {
                bench.findings.push(finding);
            }
        }
    }

    /// Says the sum; gives the verdict.
    pub(crate) fn end(&self) -> Verdict {
        self.speak();
        let bench = self.lock();
        let held = bench.witness.held();
        let checks = held.iter().map(|held| held.checks).sum();
        let broken: Vec<_> = held.iter().filter(|held| held.broken > 0).collect();
        let (devices, rules) = (bench.witness.devices(), held.len());
        let outcome = match broken.len() {
            0 => "none broke".to_owned(),
            1 => "1 broke:".to_owned(),
            several => format!("{several} broke:"),
        };
        listen::say(&format!(
            "judge: {devices} devices, {rules} rules, {checks} checks, {outcome}"
        ));
        for held in &broken {
            let (name, statement) = (held.rule.name, held.rule.statement);
            listen::say(&format!("judge: {name}, {} of {}: {statement}", held.broken, held.checks));
        }
        let summary = Summary {
            schema: SCHEMA,
            devices,
            checks,
            rules: held
                .iter()
                .map(|held| RuleLine {
                    rule: held.rule.name,
                    checks: held.checks,
                    broken: held.broken,
                })
                .collect(),
            findings: bench
                .findings
                .iter()
                .map(|finding| FindingLine {
                    rule: finding.rule,
                    device: finding.device.as_ref(),
                    at_ns: finding.at.as_nanos(),
                    evidence: &finding.evidence,
                })
                .collect(),
        };
        Verdict {
            line: serde_json::to_string(&summary).expect("a summary has a JSON form"),
            broken: bench.witness.is_broken(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bench> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bench {
    fn stored(&mut self, firmware: &FirmwareVersion, server: &Server) {
        if let Some(build_id) = server.build_id_of(firmware) {
            self.witness.stored(firmware.clone(), build_id);
        }
    }
}

/// A finding in one line. What a device sent is shown without its control characters.
fn line(finding: &Finding) -> String {
    let device = finding.device.as_ref().map(ToString::to_string).unwrap_or_default();
    let text = format!("judge: {} s {device}: {}: {}", finding.at, finding.rule, finding.evidence);
    text.chars()
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_control_characters() {
        let finding = Finding {
            rule: "secrets-stay",
            count: 1,
            device: Some("meter-1".into()),
            at: SimTime::from_millis(1_500),
            evidence: "published to \u{1b}[2Jx\ny".to_owned(),
        };
        let line = line(&finding);
        assert!(
            line.starts_with("judge: 1.5") && line.contains("meter-1: secrets-stay: published"),
            "{line}"
        );
        assert!(!line.chars().any(char::is_control), "{line}");
    }
}
