//! Watches a run from outside and holds the invariants.

use crate::measure::Census;
use crate::model::{DeploymentName, DeviceIndex, FirmwareVersion, Observation, Phase, ServerEvent};
use crate::time::SimTime;
use crate::wire::Packet;

use super::finding::Finding;

/// What a referee has to know beforehand.
#[derive(Clone, Copy, Debug)]
pub struct RefereeSetup<'a> {
    /// Who takes part and what it runs.
    pub census: &'a Census,
}

/// Holds every invariant at once.
#[derive(Debug)]
pub struct Referee {}

impl Referee {
    /// How many rules are held.
    pub const RULES: u32 = 10;

    /// Ready to watch from the start of a run.
    pub fn new(setup: RefereeSetup<'_>) -> Self {
        let _ = setup;
        Referee {}
    }

    /// A device showed something.
    pub fn observed(&mut self, at: SimTime, device: DeviceIndex, observation: &Observation) {
        let _ = (at, device, observation);
    }

    /// A device handed this packet to its transport.
    pub fn sent(&mut self, at: SimTime, device: DeviceIndex, packet: &Packet) {
        let _ = (at, device, packet);
    }

    /// A device was given this packet.
    pub fn delivered(&mut self, at: SimTime, device: DeviceIndex, packet: &Packet) {
        let _ = (at, device, packet);
    }

    /// The server told something.
    pub fn server(&mut self, at: SimTime, event: &ServerEvent) {
        let _ = (at, event);
    }

    /// A step asks for this deployment; called before the server is told.
    pub fn deployed(&mut self, deployment: &DeploymentName, packages: &[FirmwareVersion]) {
        let _ = (deployment, packages);
    }

    /// Settling is over and this device, which its own firmware does not hang, still has an open attempt.
    pub fn unsettled(&mut self, at: SimTime, device: DeviceIndex, phase: Phase, why: &str) {
        let _ = (at, device, phase, why);
    }

    /// The run is over: findings in the order of the rules, and the number of checks made. `settled` is true when the run came to
    /// rest; only then must an attempt that ended at the device have ended at the server too.
    pub fn finish(&mut self, at: SimTime, settled: bool) -> (Vec<Finding>, u64) {
        let _ = (at, settled);
        (Vec::new(), 0)
    }
}
