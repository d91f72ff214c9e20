//! What a judge beside the server has to know to tell whose doing something was.

use crate::model::{AttemptId, BuildId, DeviceId, FirmwareVersion};

use super::Server;
use super::io::ConnectionId;

impl Server {
    /// Whose connection this is, once its CONNECT was accepted.
    pub fn device_on(&self, connection: ConnectionId) -> Option<DeviceId> {
        let device = self.connections.get(connection)?.device?;
        Some(self.ledger.registry.at(device).id.clone())
    }

    /// Whose artifact the path of an image request names, whatever its secret.
    pub fn artifact_at(&self, path: &str) -> Option<(DeviceId, AttemptId, u8)> {
        let (id, index) = super::images::parse_path(path)?;
        let attempt = self.ledger.attempts.at(self.ledger.attempts.find(id)?);
        Some((self.ledger.registry.at(attempt.device).id.clone(), id, index))
    }

    /// The build id of a version's image, if it has one.
    pub fn build_id_of(&self, firmware: &FirmwareVersion) -> Option<BuildId> {
        self.ledger.catalog.image(&self.ledger.catalog.version(firmware)?)?.build_id
    }
}
