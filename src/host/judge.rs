//! The judge at the server's door: shows an [`Auditor`], and with `--judge` a [`Witness`], what passes, and says what they find.
//!
//! The auditor holds the server against its own rules; the witness holds the devices. A run carries the auditor alone, since its
//! devices are watched where they are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Verdict, listen};
use crate::model::{DeviceId, FirmwareVersion, ServerEvent, UpdateState};
use crate::server::{ConnectionId, Server, ServerInput, ServerOutput};
use crate::time::SimTime;
use crate::verdict::{Auditor, Fetched, Finding, Witness};
use crate::wire::api::{JudgeFinding, JudgeView, JudgedRule};
use crate::wire::{ImageAnswer, ImageRequest, Packet};

/// Findings kept for the summary; beyond them they are counted alone.
const FINDINGS_MAX: usize = 1_000;
/// Schema of the summary.
const SCHEMA: &str = "squall.judge/1";
/// Devices and attempts read at once when the watch begins.
const PAGE: usize = 1_000;

/// An image request that was answered, on its way to the judge.
#[derive(Debug)]
pub(crate) struct SeenRequest {
    /// Path with query.
    pub(crate) path: String,
    /// Value of `Authorization`.
    pub(crate) authorization: Option<String>,
    /// Value of `Range`.
    pub(crate) range: Option<String>,
    /// What the core answered.
    pub(crate) answer: ImageAnswer,
}

/// The judge; clones are the same one.
#[derive(Clone)]
pub(crate) struct Judge(Arc<Mutex<Bench>>);

struct Bench {
    auditor: Auditor,
    /// Holds devices too.
    witness: Option<Witness>,
    chase: Duration,
    /// When it is looked next whether the server fell silent.
    look_at: SimTime,
    findings: Vec<Finding>,
    /// Rule and device of the server's rules whose first break was told.
    told: BTreeSet<(&'static str, Option<DeviceId>)>,
}

impl Judge {
    /// A judge of a server that asks for missing results every `chase`, and of its devices if they are to be held too. Nobody who chooses
    /// ids of devices knows the `key`.
    pub(crate) fn new(chase: Duration, devices_too: bool, key: u64) -> Judge {
        Judge(Arc::new(Mutex::new(Bench {
            auditor: Auditor::new(chase).keyed(key),
            witness: devices_too.then(Witness::default),
            chase,
            look_at: SimTime::ZERO + chase,
            findings: Vec::new(),
            told: BTreeSet::new(),
        })))
    }

    /// Begins to watch what a server holds already.
    pub(crate) fn begin(&self, server: &Server) {
        let mut bench = self.lock();
        for firmware in server.firmware() {
            let versions = firmware.versions.iter();
            let named = versions.filter_map(|version| format!("{}@{}", firmware.slug, version.version).parse().ok());
            named.for_each(|firmware| bench.stored(&firmware, server));
        }
        for deployment in server.deployments() {
            bench.auditor.had(&deployment);
        }
        let mut after = None;
        loop {
            let page = server.devices(after.as_ref(), PAGE);
            for device in page.items {
                let sent = device.attempts.iter().filter(|attempt| attempt.state != UpdateState::Pending);
                let last_sent = sent.map(|attempt| attempt.id).max();
                if let Some(witness) = &mut bench.witness {
                    witness.meet(&device.id, last_sent);
                }
                bench.auditor.had_device(&device);
            }
            match page.next {
                Some(next) => after = Some(DeviceId::new(next)),
                None => return,
            }
        }
    }

    /// The server is about to be given this input.
    pub(crate) fn before(&self, at: SimTime, input: &ServerInput) {
        let auditor = &mut self.lock().auditor;
        match input {
            ServerInput::Opened(line) => auditor.opened(line.0),
            ServerInput::Closed(line) => auditor.closed(line.0),
            ServerInput::Received { from, packet } => auditor.received(at, from.0, packet),
            ServerInput::Admin { action, .. } => auditor.asked(action),
        }
    }

    /// The server has handled an input, or what was due, and this is what it wants done.
    pub(crate) fn after(&self, at: SimTime, server: &Server, outputs: &[ServerOutput]) {
        let mut bench = self.lock();
        let refused = |output: &ServerOutput| matches!(output, ServerOutput::Answer { result: Err(_), .. });
        bench.auditor.decided(!outputs.iter().any(refused));
        for output in outputs {
            bench.watch(at, server, output);
        }
        bench.auditor.handled(at);
    }

    /// A device sent a packet, which the server has handled.
    pub(crate) fn sent(&self, at: SimTime, device: &DeviceId, packet: &Packet) {
        if let Some(witness) = &mut self.lock().witness {
            witness.sent(at, device, packet);
        }
    }

    /// An image request was answered.
    pub(crate) fn fetched(&self, at: SimTime, seen: &SeenRequest, server: &Server) {
        let mut bench = self.lock();
        let request = ImageRequest {
            path: &seen.path,
            authorization: seen.authorization.as_deref(),
            range: seen.range.as_deref(),
        };
        bench.auditor.served(at, &request, &seen.answer);
        let (Some((device, attempt, index)), Some(witness)) = (server.artifact_at(&seen.path), &mut bench.witness) else {
            return;
        };
        let secret = request.authorization.and_then(|value| value.strip_prefix("OtaSecret "));
        let fetched = Fetched {
            attempt,
            index,
            secret,
            status: seen.answer.status,
        };
        witness.fetched(at, &device, &fetched);
    }

    /// Says what was found since the last time, and gives it as events.
    pub(crate) fn speak(&self, now: SimTime) -> Vec<ServerEvent> {
        let mut bench = self.lock();
        if now >= bench.look_at && !bench.chase.is_zero() {
            bench.look_at = now + bench.chase;
            bench.auditor.look(now);
        }
        bench.speak()
    }

    /// How the rules have fared.
    pub(crate) fn view(&self) -> JudgeView {
        self.lock().view()
    }

    /// Says the sum; gives the verdict where devices were held too.
    pub(crate) fn end(&self, now: SimTime) -> Option<Verdict> {
        let mut bench = self.lock();
        bench.auditor.finish(now);
        let _last_events = bench.speak();
        bench.witness.as_ref()?;
        let view = bench.view();
        let broken: Vec<_> = view.rules.iter().filter(|rule| rule.broken > 0).collect();
        let outcome = match broken.len() {
            0 => "none broke".to_owned(),
            1 => "1 broke:".to_owned(),
            several => format!("{several} broke:"),
        };
        let (devices, rules, checks) = (view.devices, view.rules.len(), view.checks);
        listen::say(&format!(
            "judge: {devices} devices, {rules} rules, {checks} checks, {outcome}"
        ));
        for JudgedRule { rule, checks, broken } in broken.iter().copied() {
            let statement = bench.statement(rule);
            listen::say(&format!("judge: {rule}, {broken} of {checks}: {statement}"));
        }
        Some(Verdict {
            line: serde_json::to_string(&view).expect("a summary has a JSON form"),
            broken: !broken.is_empty(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Bench> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bench {
    fn stored(&mut self, firmware: &FirmwareVersion, server: &Server) {
        if let (Some(build_id), Some(witness)) = (server.build_id_of(firmware), &mut self.witness) {
            witness.stored(firmware.clone(), build_id);
        }
        if let Some(image) = server.image_of(firmware) {
            self.auditor.stored(firmware.clone(), image);
        }
    }

    /// Looks at what is about to be carried out.
    fn watch(&mut self, at: SimTime, server: &Server, output: &ServerOutput) {
        match output {
            ServerOutput::Record { record, .. } => {
                if let Some(firmware) = record.created_version() {
                    self.stored(firmware, server);
                }
            }
            ServerOutput::Transmit { to, packet } => {
                self.auditor.sent(at, to.0, packet);
                if let (Some(witness), Some(device)) = (&mut self.witness, server.device_on(*to)) {
                    witness.transmitted(at, &device, packet);
                }
            }
            ServerOutput::Observed(event) => {
                self.auditor.told(at, event);
                if let Some(witness) = &mut self.witness {
                    witness.server(at, event);
                }
            }
            ServerOutput::Close(ConnectionId(line)) => self.auditor.closed(*line),
            ServerOutput::Answer { .. } => {}
        }
    }

    /// Says of each rule and device the first break.
    fn speak(&mut self) -> Vec<ServerEvent> {
        let told = &mut self.told;
        let mut fresh = self.auditor.take_findings();
        fresh.retain(|finding| told.insert((finding.rule, finding.device.clone())));
        if let Some(witness) = &mut self.witness {
            fresh.extend(witness.take_findings());
        }
        let mut events = Vec::with_capacity(fresh.len());
        for finding in fresh {
            listen::say(&line(&finding));
            events.push(ServerEvent::RuleBroken {
                rule: finding.rule.to_owned(),
                device: finding.device.clone(),
                evidence: shown(&finding.evidence),
            });
            if self.findings.len() < FINDINGS_MAX {
                self.findings.push(finding);
            }
        }
        events
    }

    fn view(&self) -> JudgeView {
        let server = self.auditor.audit();
        let own = server.rules.iter().map(|(rule, checks, broken)| JudgedRule {
            rule: (*rule).to_owned(),
            checks: *checks,
            broken: *broken,
        });
        let held = self.witness.iter().flat_map(Witness::held);
        let rules: Vec<_> = held
            .map(|held| JudgedRule {
                rule: held.rule.name.to_owned(),
                checks: held.checks,
                broken: held.broken,
            })
            .chain(own)
            .collect();
        JudgeView {
            schema: SCHEMA.to_owned(),
            devices: self.witness.as_ref().map_or(self.auditor.devices(), Witness::devices) as u64,
            checks: rules.iter().map(|rule| rule.checks).sum(),
            rules,
            findings: self.findings.iter().map(view_of).collect(),
        }
    }

    /// What a rule says.
    fn statement(&self, name: &str) -> &'static str {
        let held = self.witness.iter().flat_map(Witness::held).map(|held| held.rule);
        let mut rules = held.chain(self.auditor.rules());
        rules.find(|rule| rule.name == name).map_or("", |rule| rule.statement)
    }
}

fn view_of(finding: &Finding) -> JudgeFinding {
    JudgeFinding {
        rule: finding.rule.to_owned(),
        device: finding.device.clone(),
        at_ns: finding.at.as_nanos(),
        evidence: finding.evidence.clone(),
    }
}

/// A finding in one line. What a device sent is shown without its control characters.
fn line(finding: &Finding) -> String {
    let device = finding.device.as_ref().map(ToString::to_string).unwrap_or_default();
    shown(&format!(
        "judge: {} s {device}: {}: {}",
        finding.at, finding.rule, finding.evidence
    ))
}

fn shown(text: &str) -> String {
    let harmless = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().map(harmless).collect()
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
