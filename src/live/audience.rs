//! Who watches a run: when each wants a picture, and what the shards have said about the devices in it.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use crate::model::{DeviceIndex, Why};
use crate::play::{Ask, Picture, Viewer};
use crate::time::SimTime;

/// How often devices are asked why they are where they are.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Everybody who watches.
#[derive(Debug)]
pub(crate) struct Audience {
    viewers: Vec<(Viewer, Interval)>,
    whys: BTreeMap<DeviceIndex, Why>,
    /// Those that came since devices were asked.
    fresh: BTreeMap<DeviceIndex, Why>,
    asked_at: Option<SimTime>,
}

impl Audience {
    /// Called within a runtime.
    pub fn new(viewers: Vec<Viewer>) -> Audience {
        let seated = viewers.into_iter().map(|viewer| {
            let mut period = tokio::time::interval(viewer.period.max(Duration::from_millis(1)));
            period.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (viewer, period)
        });
        Audience {
            viewers: seated.collect(),
            whys: BTreeMap::new(),
            fresh: BTreeMap::new(),
            asked_at: None,
        }
    }

    /// Waits until a viewer wants a picture; for ever where nobody watches.
    pub async fn next(&mut self) -> usize {
        std::future::poll_fn(|cx| {
            let due = self
                .viewers
                .iter_mut()
                .position(|(_, period)| period.poll_tick(cx).is_ready());
            due.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }

    /// What a viewer wants to see.
    pub fn ask(&self, viewer: usize) -> Ask {
        let ask = self.viewers[viewer].0.ask.lock();
        ask.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Hands a picture over, unless the viewer is behind or gone.
    pub fn show(&self, viewer: usize, picture: Picture) {
        drop(self.viewers[viewer].0.pictures.try_send(picture));
    }

    /// Why a device was where it is when it was asked last.
    pub fn why(&self, device: DeviceIndex) -> Option<Why> {
        self.fresh.get(&device).or_else(|| self.whys.get(&device)).cloned()
    }

    /// Whether devices may be asked again; then what they said before the last time is forgotten.
    pub fn may_ask(&mut self, now: SimTime) -> bool {
        let due = self.asked_at.is_none_or(|asked| now.since(asked) >= ASK_EVERY);
        if due {
            self.asked_at = Some(now);
            self.whys = std::mem::take(&mut self.fresh);
        }
        due
    }

    /// Devices have answered.
    pub fn explained(&mut self, whys: Vec<(DeviceIndex, Why)>) {
        self.fresh.extend(whys);
    }
}
