//! What goes into a device and what comes out.

use crate::model::Observation;
use crate::wire::{DownloadEvent, DownloadRequest, Packet};

/// What happens to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceInput {
    /// Power comes (back): the bootloader starts.
    PowerOn,
    /// Power fails, once this many more flash operations have been done; zero cuts now, tearing the operation under way.
    PowerCut {
        /// Operations that still complete.
        after_flash_ops: u32,
    },
    /// TCP and TLS are up.
    Connected,
    /// The connection that was asked for, or that was up, is gone.
    Disconnected(LinkLoss),
    /// A packet arrived.
    Received(Packet),
    /// News of the running download.
    Download(DownloadEvent),
}

/// How a connection ended or failed to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLoss {
    /// TCP connection refused.
    Refused,
    /// No answer in time.
    Timeout,
    /// The TLS handshake failed.
    Tls,
    /// Closed or reset by the peer.
    Closed,
}

/// What a device wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceOutput {
    /// Open TCP and TLS to the server; answered by `Connected` or `Disconnected`.
    Connect,
    /// Close the connection (or give up opening it); not answered.
    Disconnect,
    /// Send a packet on the connection.
    Transmit(Packet),
    /// Start a download on a connection of its own. At most one runs; nothing of an older one may be delivered any more.
    StartDownload(DownloadRequest),
    /// Close the running download; not answered.
    StopDownload,
    /// Read credit of the running download: up to this many more body bytes may be delivered. A busy flash gives none.
    Read {
        /// Bytes.
        bytes: u32,
    },
    /// The device went silent (power lost, reset): the connection and the download are neither served nor closed. The server sees
    /// a half-open connection until the device's next CONNECT or the keep-alive runs out.
    FallSilent,
    /// Something was seen.
    Observed(Observation),
}

/// The queue that outputs go into; owned by the driver and shared by its devices.
pub type Outputs = Vec<DeviceOutput>;
