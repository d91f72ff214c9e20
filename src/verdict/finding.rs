//! A broken rule.

use crate::model::DeviceId;
use crate::time::SimTime;

/// A rule that was broken, as often as it was, with the first piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule: `no-success-before-confirmation`.
    pub rule: &'static str,
    /// How often.
    pub count: u64,
    /// The first device that broke it; `None` where no single one did.
    pub device: Option<DeviceId>,
    /// When it was first broken.
    pub at: SimTime,
    /// What was seen, in words.
    pub evidence: String,
}
