//! Generations of the device SDK, and what each does otherwise (protocol, section 11).
//!
//! The newest is the rule; whatever an older one does is asked of [`Sdk`] by the name of what it does, where it is done.

use std::time::Duration;

use super::config::{Backoff, Jitter};

/// A generation of the device SDK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sdk {
    /// The newest.
    #[default]
    Newest,
    /// Release 0.9.0, the first with updates. It is known for its fixed waits; for the rest it is taken to do as the newest.
    Release090,
    /// The branch before the first release.
    Fota,
}

impl Sdk {
    /// Every generation.
    pub const ALL: [Sdk; 3] = [Sdk::Newest, Sdk::Release090, Sdk::Fota];

    /// Its word in scenarios.
    pub const fn word(self) -> &'static str {
        match self {
            Sdk::Newest => "newest",
            Sdk::Release090 => "0.9.0",
            Sdk::Fota => "fota",
        }
    }

    /// Waits before a download is tried again: growing with jitter, or a fixed 5 s.
    pub const fn retry(self) -> Backoff {
        let first = Duration::from_secs(5);
        match self {
            Sdk::Newest => Backoff {
                first,
                max: Duration::from_secs(300),
                jitter: Jitter::Half,
            },
            Sdk::Release090 | Sdk::Fota => Backoff {
                first,
                max: first,
                jitter: Jitter::Fixed,
            },
        }
    }

    /// Invariants of protocol section 9 that it does not promise, each with what breaks it.
    pub const fn breaks(self) -> &'static [u8] {
        match self {
            Sdk::Newest | Sdk::Release090 => &[],
            // 19: no record before the first handler. 24, 25: the probation record goes before the result is stored, and with it what
            // the result rests on. 26: a new image may be written over the one to go back to. 28: an attempt that was restored with
            // results stays stuck. 32: a cancellation while a result is stored is obeyed. 52: a URL without a path loses its query.
            // 53, 54: no range is checked.
            Sdk::Fota => &[19, 24, 25, 26, 28, 32, 52, 53, 54],
        }
    }

    /// The attempt record is durable before the first handler is called.
    pub(super) const fn records_first(self) -> bool {
        !self.is_fota()
    }

    /// A manifest that is repeated after a reboot lets an unfinished attempt go on.
    pub(super) const fn rehydrates(self) -> bool {
        !self.is_fota()
    }

    /// The result of main is stored before the probation record is deleted.
    pub(super) const fn stores_before_deleting(self) -> bool {
        !self.is_fota()
    }

    /// Nothing stops the reboot from the moment that the probation record is being stored; otherwise, from the upgrade request on.
    pub(super) const fn commits_for_good(self) -> bool {
        !self.is_fota()
    }

    /// A record that could not be stored is stored again later.
    pub(super) const fn stores_again(self) -> bool {
        !self.is_fota()
    }

    /// The range of an answer is looked at.
    pub(super) const fn checks_ranges(self) -> bool {
        !self.is_fota()
    }

    /// A pause closes the connection, and the download resumes by a range; otherwise it is not read any more.
    pub(super) const fn pauses_by_closing(self) -> bool {
        !self.is_fota()
    }

    /// A refused subscription ends the connection.
    pub(super) const fn minds_subacks(self) -> bool {
        !self.is_fota()
    }

    /// The slot is not written while the running image is unconfirmed.
    pub(super) const fn guards_slot(self) -> bool {
        !self.is_fota()
    }

    /// A report that is asked for waits until the handler has returned.
    pub(super) const fn reports_after_handlers(self) -> bool {
        !self.is_fota()
    }

    /// A cancellation that comes while a result is stored is too late.
    pub(super) const fn settles_undisturbed(self) -> bool {
        !self.is_fota()
    }

    /// A query without a path is asked for.
    pub(super) const fn keeps_bare_query(self) -> bool {
        !self.is_fota()
    }

    /// A probation record with an index that no manifest can have counts as absent.
    pub(super) const fn bounds_probation(self) -> bool {
        !self.is_fota()
    }

    const fn is_fota(self) -> bool {
        matches!(self, Sdk::Fota)
    }
}

/// What the SDK is known to do otherwise than it says, each named for what it does. On by default, as in the real device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// A clean close before the first byte of a first answer counts as an empty image, and before that of a ranged one as an answer
    /// without a range (protocol 5.3); otherwise both are tried again.
    pub close_is_success: bool,
    /// `isCanceled` on the manifest of an attempt that is known is not looked at (protocol 3.2.1).
    pub ignores_canceled_duplicate: bool,
    /// An attempt rebuilt from its probation record is over with the results known, although packages may come behind main (7.4, C2).
    pub forgets_packages_behind_main: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Quirks {
            close_is_success: true,
            ignores_canceled_duplicate: true,
            forgets_packages_behind_main: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_generations_wait_a_fixed_time() {
        assert_eq!(Sdk::Newest.retry().max, Duration::from_secs(300));
        for old in [Sdk::Release090, Sdk::Fota] {
            let retry = old.retry();
            assert_eq!(
                (retry.first, retry.max, retry.jitter),
                (retry.max, retry.first, Jitter::Fixed)
            );
        }
    }
}
