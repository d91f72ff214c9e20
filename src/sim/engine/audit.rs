//! The auditor at the door of the simulated server. It sees what the server wants done when it is decided, whatever a store makes of it
//! later; a crash that loses some of it has the auditor learn anew from what the store holds.

use crate::model::{DeviceId, ServerEvent};
use crate::play::Sighting;
use crate::server::{ConnectionId, ServerInput, ServerOutput};

use super::super::link::connection_of;
use super::Engine;

/// Devices read at once.
const PAGE: usize = 1_000;

impl Engine {
    /// Gives the server an input, before the auditor's eyes.
    pub(super) fn hand_in(&mut self, input: ServerInput) {
        self.ahead.server_moves();
        let asked = matches!(input, ServerInput::Admin { .. });
        match &input {
            ServerInput::Opened(line) if self.audits(*line) => self.auditor.opened(line.0),
            ServerInput::Closed(line) if self.audits(*line) => self.auditor.closed(line.0),
            ServerInput::Received { from, packet } if self.audits(*from) => self.auditor.received(self.now, from.0, packet),
            ServerInput::Admin { action, .. } => self.auditor.asked(action),
            ServerInput::Opened(_) | ServerInput::Closed(_) | ServerInput::Received { .. } => {}
        }
        self.server.handle_input(input, self.now, &mut self.server_outputs);
        if asked {
            let refused = |output: &ServerOutput| matches!(output, ServerOutput::Answer { result: Err(_), .. });
            self.auditor.decided(!self.server_outputs.iter().any(refused));
        }
        self.audit();
    }

    /// Shows the auditor what the server wants done.
    pub(super) fn audit(&mut self) {
        for output in &self.server_outputs {
            match output {
                ServerOutput::Transmit { to, packet } if self.audits(*to) => self.auditor.sent(self.now, to.0, packet),
                ServerOutput::Close(line) if self.audits(*line) => self.auditor.closed(line.0),
                ServerOutput::Observed(event) if self.director.concerns(event) => self.auditor.told(self.now, event),
                ServerOutput::Transmit { .. } | ServerOutput::Close(_) | ServerOutput::Observed(_) => {}
                ServerOutput::Record { .. } | ServerOutput::Answer { .. } => {}
            }
        }
        self.auditor.handled(self.now);
        self.tell_findings();
    }

    /// In a large fleet only some devices are watched: of the others the auditor is spared what it would pass over.
    fn audits(&self, line: ConnectionId) -> bool {
        self.ports[connection_of(line).0.at()].audited
    }

    /// The server is another one, which knows what its store does.
    pub(super) fn audit_anew(&mut self) {
        self.auditor.restarted();
        for deployment in self.server.deployments() {
            self.auditor.had(&deployment);
        }
        let mut after = None;
        loop {
            let page = self.server.devices(after.as_ref(), PAGE);
            page.items.iter().for_each(|device| self.auditor.had_device(device));
            match page.next {
                Some(next) => after = Some(DeviceId::new(next)),
                None => return,
            }
        }
    }

    pub(super) fn tell_findings(&mut self) {
        if !self.auditor.has_findings() {
            return;
        }
        for finding in self.auditor.take_findings() {
            self.sight(Sighting::Server(ServerEvent::RuleBroken {
                rule: finding.rule.to_owned(),
                device: finding.device,
                evidence: finding.evidence,
            }));
        }
    }
}
