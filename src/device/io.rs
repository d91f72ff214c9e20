//! What goes into a device and what comes out.

use super::board::{BoardNews, BoardOrder};
use crate::model::{Observation, RecordKey};
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
    /// A reset that was held is released: as [`DeviceInput::PowerOn`], with its own reason.
    ResetReleased,
    /// From those that [`super::Device::flash_ops`] and [`super::Device::flash_erases`] count on, flash operations are counted, and at
    /// one of them something goes wrong; takes the place of an earlier trap of its sort.
    FlashTrap(FlashTrap),
    /// The settings store has no room for another record, or has again.
    FlashFull(bool),
    /// No trap is set any more, no record is to be lost, and the store has room.
    ForgetTraps,
    /// Bits of the image in the secondary slot turn over.
    FlipBits {
        /// How many, each in an equal part of the image.
        bits: u32,
        /// Where: 64 evenly distributed bits.
        draw: u64,
    },
    /// The record reads as absent at the next boot, unless it is written before.
    LoseRecord(RecordKey),
    /// The application aborts the main download; possible in downloading, retrying and staged (protocol 6.5).
    AppAbort,
    /// The application pauses the update of main (protocol 6.5): a download stops, what comes behind it waits.
    AppPause,
    /// The application lets a paused update go on.
    AppResume,
    /// TCP and TLS are up.
    Connected,
    /// The connection that was asked for, or that was up, is gone.
    Disconnected(LinkLoss),
    /// A packet arrived.
    Received(Packet),
    /// News of the running download.
    Download(DownloadEvent),
    /// News of the board that the firmware runs on, where it does not run here.
    Board(BoardNews),
}

/// Something that goes wrong in flash, by count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashTrap {
    /// Counts page erases only.
    pub erases: bool,
    /// So many still complete; the one behind them is struck.
    pub after: u32,
    /// What happens to it.
    pub springs: Springs,
}

/// What a trap does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Springs {
    /// Power fails and tears it.
    PowerFails {
        /// It is waited for; otherwise power fails when those before it are done, whether one follows or not.
        waits: bool,
    },
    /// It changes nothing and returns an error, once.
    Fails {
        /// An error that is not retried (protocol 6.3).
        permanent: bool,
    },
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
    /// To the board that the firmware runs on, where it does not run here.
    Board(BoardOrder),
    /// Something was seen.
    Observed(Observation),
}

/// The queue that outputs go into; owned by the driver and shared by its devices.
pub type Outputs = Vec<DeviceOutput>;
