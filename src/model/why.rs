//! Why a device is where it is: the answer of `Device::explain`, in fields; whoever shows it makes the sentence.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observation::RetryReason;
use super::quantity::{show_count, show_duration};

/// What a device waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// Not yet powered on, or without power.
    Off,
    /// Nothing is asked of it.
    AtRest,
    /// Waits before it connects again.
    Reconnecting {
        /// Until the next try.
        next_in: Duration,
    },
    /// A connection is being made.
    Connecting,
    /// Online, and needs its manifest (again).
    AwaitsManifest,
    /// Handlers run, or will.
    Installing,
    /// A download is running.
    Downloading {
        /// Bytes handed to the consumer.
        received: u64,
        /// Bytes in all, once known.
        total: Option<u64>,
    },
    /// Waits before the next request.
    Retrying {
        /// What went wrong.
        reason: RetryReason,
        /// How often something went wrong.
        failures: u32,
        /// Until the next request.
        next_in: Duration,
    },
    /// The bootloader or the end of the download works in flash.
    Flashing {
        /// Until it is done.
        done_in: Duration,
    },
    /// Runs a new image that has not been confirmed.
    OnProbation {
        /// Until it confirms; `None` when it never does by itself.
        confirms_in: Option<Duration>,
    },
    /// Its own firmware keeps it from going on.
    Hangs,
    /// No bootable image.
    Bricked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Off => f.write_str("power is off"),
            Why::AtRest => f.write_str("nothing is asked of it"),
            Why::Reconnecting { next_in } => write!(f, "offline; connects again in {}", show_duration(*next_in)),
            Why::Connecting => f.write_str("connecting"),
            Why::AwaitsManifest => f.write_str("awaits its manifest"),
            Why::Installing => f.write_str("its install handler runs"),
            Why::Downloading {
                received,
                total: Some(total),
            } => write!(f, "downloading, {} of {} B", show_count(*received), show_count(*total)),
            Why::Downloading { received, total: None } => write!(f, "downloading, {} B so far", show_count(*received)),
            Why::Retrying {
                reason,
                failures,
                next_in,
            } => {
                write!(
                    f,
                    "download failed {failures} times, last by {reason}; next request in {}",
                    show_duration(*next_in)
                )
            }
            Why::Flashing { done_in } => write!(f, "works in flash for another {}", show_duration(*done_in)),
            Why::OnProbation { confirms_in: Some(left) } => write!(f, "on probation; confirms in {}", show_duration(*left)),
            Why::OnProbation { confirms_in: None } => f.write_str("on probation; never confirms by itself"),
            Why::Hangs => f.write_str("its firmware hangs"),
            Why::Bricked => f.write_str("no bootable image"),
        }
    }
}
