//! What a device is built to, as far as rules depend on it.

use std::time::Duration;

use crate::model::BuildId;

/// Build options and deviations of the devices of one fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Most artifacts of a manifest (protocol 3.1).
    pub max_artifacts: u8,
    /// Waits before a download is tried again (protocol 5.5).
    pub retry: Waits,
    /// Invariants of protocol section 9 that an older SDK generation does not promise (protocol, section 11).
    pub lifted: Vec<u8>,
    /// `isCanceled` in the manifest of an attempt under way cancels it, which the real SDK does not do (protocol 3.2.1).
    pub duplicates_cancel: bool,
    /// Flawed images that tell another build id when they run than is found in them: the one found, and the one told.
    pub disguised: Vec<(BuildId, BuildId)>,
}

impl Default for Build {
    /// The newest SDK with its defaults.
    fn default() -> Self {
        Build {
            max_artifacts: 4,
            retry: Waits {
                first: Duration::from_secs(5),
                max: Duration::from_secs(300),
                least: Least::Half,
            },
            lifted: Vec::new(),
            duplicates_cancel: false,
            disguised: Vec::new(),
        }
    }
}

/// How long waits may be; the ceiling doubles from `first` up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// First ceiling.
    pub first: Duration,
    /// Largest ceiling.
    pub max: Duration,
    /// The shortest wait below a ceiling.
    pub least: Least,
}

/// The shortest wait below a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Least {
    /// The ceiling itself.
    Whole,
    /// Half of it.
    Half,
    /// None.
    Nothing,
}

impl Waits {
    /// The shortest and the longest wait after the `failures`-th failure, from 1.
    pub(super) fn bounds(&self, failures: u32) -> (Duration, Duration) {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.first.saturating_mul(1 << doublings).min(self.max.max(self.first));
        let least = match self.least {
            Least::Whole => ceiling,
            Least::Half => ceiling / 2,
            Least::Nothing => Duration::ZERO,
        };
        (least, ceiling)
    }
}

/// A set of invariant numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers(u64);

impl Numbers {
    /// Every number.
    pub(super) const ALL: Numbers = Numbers(u64::MAX);

    /// These numbers; what is no number of protocol section 9 is passed over.
    pub(super) fn of(numbers: &[u8]) -> Numbers {
        let known = numbers.iter().filter(|number| **number < 64);
        Numbers(known.fold(0, |set, number| set | 1 << number))
    }

    /// Both sets.
    pub(super) fn with(self, other: Numbers) -> Numbers {
        Numbers(self.0 | other.0)
    }

    /// True if one of these is in the set.
    pub(super) fn has_any(self, numbers: &[u8]) -> bool {
        self.0 != 0 && self.0 & Numbers::of(numbers).0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_ceiling() {
        let waits = Build::default().retry;
        let seconds = |failures| {
            let (least, most) = waits.bounds(failures);
            (least.as_millis(), most.as_millis())
        };
        assert_eq!(
            [1, 2, 7, 40].map(seconds),
            [(2_500, 5_000), (5_000, 10_000), (150_000, 300_000), (150_000, 300_000)]
        );
    }

    #[test]
    fn sets_know_their_numbers() {
        let set = Numbers::of(&[14, 15]).with(Numbers::of(&[60, 200]));
        assert!(set.has_any(&[15]) && set.has_any(&[1, 60]) && !set.has_any(&[16]) && !set.has_any(&[]));
    }
}
