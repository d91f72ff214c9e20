//! Downloads: requests and their answers, what came, and what of it came for nothing.

use crate::model::DeviceIndex;
use crate::time::SimTime;

use super::super::fetching::{Again, Fetching, Request, rate};
use super::super::group::{Bytes, Entry};
use super::super::selection::Facts;
use super::Recorder;

impl Recorder {
    pub(super) fn on_requested(&mut self, at: SimTime, device: DeviceIndex, offset: u64, due: SimTime) {
        self.ahead.happened(at).requests += 1;
        let Some(fetching) = &mut self.roster.rows[device.at()].fetching else {
            return;
        };
        match fetching.asked(at, offset, due) {
            Some(Again::Resume(why)) => self.enter(at, device, Entry::Resume, self.why(device, why)),
            Some(Again::Restart(why, lost)) => {
                self.enter(at, device, Entry::Restart, self.why(device, why));
                self.wasted(at, device, lost);
            }
            None => {}
        }
    }

    pub(super) fn on_answered(&mut self, at: SimTime, device: DeviceIndex, status: u16) {
        let fetching = self.roster.rows[device.at()].fetching.as_mut();
        if let Some(request) = fetching.and_then(|fetching| fetching.answered(status)) {
            let entry = Entry::FirstByte {
                planned: at.since(request.due),
                raw: at.since(request.sent),
            };
            self.enter(at, device, entry, self.of_request(device, request));
        }
    }

    /// A request is over, answered or not.
    pub(super) fn request_over(&mut self, at: SimTime, device: DeviceIndex, over: impl FnOnce(&mut Fetching) -> Option<Request>) {
        let fetching = self.roster.rows[device.at()].fetching.as_mut();
        let Some(request) = fetching.and_then(|fetching| over(fetching)) else {
            return;
        };
        let facts = self.of_request(device, request);
        self.enter(at, device, Entry::Request, facts);
        if request.code.is_some() {
            let entry = Entry::RequestTime {
                planned: at.since(request.due),
                raw: at.since(request.sent),
            };
            self.enter(at, device, entry, facts);
        }
    }

    /// All of an artifact has come.
    pub(super) fn downloaded(&mut self, at: SimTime, device: DeviceIndex, bytes: u64) {
        let fetching = self.roster.rows[device.at()].fetching.as_ref();
        let of_last = fetching.and_then(|fetching| fetching.rate_of_last(at, bytes));
        self.request_over(at, device, |fetching| fetching.over(bytes, None));
        let fetching = self.roster.rows[device.at()].fetching.as_ref();
        let took = fetching.and_then(|fetching| fetching.took(at));
        let facts = Facts {
            attempt: self.roster.rows[device.at()].current,
            ..Facts::default()
        };
        if let Some(rate) = took.and_then(|took| rate(bytes, took)) {
            self.enter(at, device, Entry::DownloadRate(rate), facts);
        }
        if let Some(rate) = of_last {
            self.enter(at, device, Entry::DownloadRateRaw(rate), facts);
        }
    }

    fn of_request(&self, device: DeviceIndex, request: Request) -> Facts {
        Facts {
            code: request.code.unwrap_or(0),
            flag: request.ranged,
            attempt: self.roster.rows[device.at()].current,
            ..Facts::default()
        }
    }

    pub(super) fn wasted(&mut self, at: SimTime, device: DeviceIndex, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.roster.rows[device.at()].carried.wasted += bytes;
        let facts = Facts {
            dir: "down",
            bytes: "wasted",
            ..Facts::default()
        };
        self.enter(at, device, Entry::Bytes(Bytes::Wasted(bytes)), facts);
    }
}
