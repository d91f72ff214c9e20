//! Which management requests are under way, and how long it has been quiet since the last answer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::SimTime;

/// How long another shard's request may take to show: clocks of machines differ, and an image or a fleet takes a while.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// The directives that await an answer.
#[derive(Debug, Default)]
pub(super) struct Requests {
    next: u64,
    /// Request to the step that made it.
    open: BTreeMap<u64, usize>,
    last_answer: Option<SimTime>,
}

impl Requests {
    /// A number for a request of this step.
    pub(super) fn ask(&mut self, step: usize) -> u64 {
        let request = self.next;
        self.next += 1;
        self.open.insert(request, step);
        request
    }

    /// Takes an answer; gives the step, if the request is one of ours.
    pub(super) fn answered(&mut self, request: u64, at: SimTime) -> Option<usize> {
        self.last_answer = self.last_answer.max(Some(at));
        self.open.remove(&request)
    }

    /// Another shard asks for something: its answer is not told here.
    pub(super) fn asked_elsewhere(&mut self, now: SimTime) {
        self.last_answer = self.last_answer.max(Some(now + ELSEWHERE));
    }

    /// True when every request has its answer, the last one for at least `quiet`.
    pub(super) fn quiet(&self, now: SimTime, quiet: Duration) -> bool {
        self.open.is_empty() && self.last_answer.is_none_or(|last| now.since(last) >= quiet)
    }
}
