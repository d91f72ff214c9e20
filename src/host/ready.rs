//! Where a server can be reached, as its ready line says it.

use std::net::SocketAddr;
use std::path::Path;

use crate::wire::api::ReadyLine;

/// Schema of the ready line.
const SCHEMA: &str = "squall.ready/1";

/// Open listeners and written files of a server.
pub(crate) struct Ready<'a> {
    /// Where MQTT is spoken.
    pub(crate) mqtt: SocketAddr,
    /// Where images are.
    pub(crate) images: SocketAddr,
    /// Where the management API is.
    pub(crate) admin: SocketAddr,
    /// MQTT and images over TLS.
    pub(crate) tls: bool,
    /// The management API over TLS.
    pub(crate) admin_tls: bool,
    /// File with the run's own authorities.
    pub(crate) ca: Option<&'a Path>,
    /// File with the secrets.
    pub(crate) credentials: &'a Path,
}

impl Ready<'_> {
    /// Base URL of the images, as it stands in manifests.
    pub(crate) fn image_base(images: SocketAddr, tls: bool) -> String {
        format!("{}://{images}", if tls { "https" } else { "http" })
    }

    /// The line.
    pub(crate) fn line(&self) -> ReadyLine {
        ReadyLine {
            schema: SCHEMA.to_owned(),
            mqtt: format!("{}://{}", if self.tls { "mqtts" } else { "mqtt" }, self.mqtt),
            images: Ready::image_base(self.images, self.tls),
            admin: format!("{}://{}", if self.admin_tls { "https" } else { "http" }, self.admin),
            ca: self.ca.map(|path| path.display().to_string()),
            credentials: self.credentials.display().to_string(),
        }
    }
}
