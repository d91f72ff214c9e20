//! What one shard measures about itself while it works; the conductor reads it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Sightings that may wait for the conductor before more are dropped; some 200 MB.
const WAITING_MAX: u64 = 2_000_000;

/// Figures of one shard.
#[derive(Debug)]
pub(crate) struct Gauges {
    /// Microseconds between the moment for which a timer was set and the wake.
    lateness: Mutex<Histogram<u64>>,
    image_bytes: AtomicU64,
    exhausted: AtomicU64,
    connections: AtomicU64,
    waiting: AtomicU64,
    dropped: AtomicU64,
}

impl Default for Gauges {
    fn default() -> Self {
        Gauges {
            lateness: Mutex::new(empty_histogram()),
            image_bytes: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }
}

impl Gauges {
    /// A timer woke its device this late.
    pub fn woke_late(&self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.lateness
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(micros);
    }

    /// This much of an image came.
    pub fn count_image_bytes(&self, bytes: usize) {
        self.image_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The machine had no descriptor or port for a connection.
    pub fn count_exhausted(&self) {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is open from here on, as long as the value lives.
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// Connections that are open.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Whether there is room for one more sighting; it is counted as waiting, or as dropped.
    pub fn may_keep(&self) -> bool {
        let room = self.waiting.load(Ordering::Relaxed) < WAITING_MAX;
        let counter = if room { &self.waiting } else { &self.dropped };
        counter.fetch_add(1, Ordering::Relaxed);
        room
    }

    /// The conductor has taken this many sightings.
    pub fn taken(&self, sightings: usize) {
        self.waiting.fetch_sub(sightings as u64, Ordering::Relaxed);
    }

    /// Image bytes that came.
    pub fn image_bytes(&self) -> u64 {
        self.image_bytes.load(Ordering::Relaxed)
    }

    /// Connections that the machine had nothing left for.
    pub fn exhausted(&self) -> u64 {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// Sightings dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Gauges>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The 99th percentile of lateness over all shards.
pub(crate) fn late_p99<'a>(shards: impl IntoIterator<Item = &'a Gauges>) -> Duration {
    p99(&lateness(shards))
}

/// The 99th percentile of lateness in microseconds.
pub(crate) fn p99(lateness: &Histogram<u64>) -> Duration {
    let micros = if lateness.is_empty() {
        0
    } else {
        lateness.value_at_quantile(0.99)
    };
    Duration::from_micros(micros)
}

/// Lateness over all shards, in microseconds.
pub(crate) fn lateness<'a>(shards: impl IntoIterator<Item = &'a Gauges>) -> Histogram<u64> {
    let mut all = empty_histogram();
    for gauges in shards {
        let one = gauges.lateness.lock().unwrap_or_else(PoisonError::into_inner);
        all.add(&*one).expect("both histograms have the same bounds");
    }
    all
}

/// From a microsecond to an hour, three digits.
fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds and digits are fit for a histogram")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_judged_over_all_shards() {
        let (calm, busy) = (Gauges::default(), Gauges::default());
        (0..980).for_each(|_| calm.woke_late(Duration::from_millis(1)));
        (0..20).for_each(|_| busy.woke_late(Duration::from_millis(80)));
        assert_eq!(late_p99([&calm]).as_millis(), 1);
        assert_eq!(late_p99([&calm, &busy]).as_millis(), 80);
        assert_eq!(late_p99([&Gauges::default()]), Duration::ZERO);
    }

    #[test]
    fn sightings_are_dropped_when_nobody_takes_them() {
        let gauges = Gauges::default();
        assert!((0..WAITING_MAX).all(|_| gauges.may_keep()));
        assert!(!gauges.may_keep());
        gauges.taken(1);
        assert!(gauges.may_keep());
        assert_eq!(gauges.dropped(), 1);
    }
}
