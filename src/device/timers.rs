//! Names of the moments at which a device wants to be woken.

/// What a wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The bootloader has hashed and verified.
    Boot,
    /// A stretch of flash work is over, or power fails within it.
    Flash,
    /// MQTT connects again.
    Reconnect,
    /// No CONNACK has come.
    ConnAck,
    /// No SUBACK has come.
    SubAck,
    /// A PINGREQ is due.
    KeepAlive,
    /// No PINGRESP has come.
    PingResponse,
    /// A download is tried again.
    Retry,
    /// The budget of a request is used up (protocol 5.5).
    RequestBudget,
    /// The downloaded image has been searched for its build id.
    Scan,
    /// An install handler returns.
    Install,
    /// The application confirms its image.
    Confirm,
    /// The application crashes or resets itself.
    Crash,
    /// The watchdog resets a silent application.
    Watchdog,
    /// The application falls silent.
    Mute,
}

impl Timer {
    /// True for what goes on for ever in a device that has nothing to do (keep-alive), and hence holds up no end of a run.
    pub const fn is_housekeeping(self) -> bool {
        matches!(self, Timer::KeepAlive | Timer::PingResponse)
    }
}
