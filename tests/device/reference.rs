//! A second description of a device: what it must end up doing, from protocol sections 3, 6 and 7 alone. It shares no logic with the
//! core, knows no time, no flash operation and no byte, and is meant to be read beside the protocol.
//!
//! It moves from pause to pause: between them a device does at once what it has to. A pause is a handler that runs, an image on
//! probation, or having nothing to do.

use std::collections::{BTreeMap, BTreeSet};

/// What becomes of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Pending,
    Succeeded,
    Failed,
    Canceled,
}

use Fate::{Canceled, Failed, Pending, Succeeded};

/// One artifact of a manifest, and how its installation ends if nobody interferes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub firmware: &'static str,
    pub main: bool,
    pub ends: Fate,
    /// Its handler does not listen to cancellations.
    pub deaf: bool,
    /// Its image cannot be had.
    pub missing: bool,
}

/// What is stored and reported of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Results(Vec<Fate>),
    Refused,
}

impl Body {
    fn is_over(&self) -> bool {
        !matches!(self, Body::Results(results) if results.contains(&Pending))
    }

    fn has_success(&self) -> bool {
        matches!(self, Body::Results(results) if results.contains(&Succeeded))
    }

    fn is_untouched(&self) -> bool {
        matches!(self, Body::Results(results) if results.iter().all(|fate| *fate == Pending))
    }

    /// Every pending artifact is canceled but this one.
    fn cancel_rest(&mut self, except: Option<usize>) {
        if let Body::Results(results) = self {
            for (index, fate) in results.iter_mut().enumerate() {
                if *fate == Pending && Some(index) != except {
                    *fate = Canceled;
                }
            }
        }
    }
}

/// Where a device pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    Rest,
    Waiting,
    Installing,
    Downloading,
    Probation,
}

#[derive(Clone, Debug)]
struct Attempt {
    id: u64,
    body: Body,
    items: Option<Vec<Item>>,
    canceled: bool,
    superseded: bool,
}

#[derive(Clone, Debug)]
enum Next {
    Manifest(u64, Vec<Item>, bool),
    Refusal(u64),
}

#[derive(Clone, Debug)]
struct Running {
    index: usize,
    item: Item,
    /// Its attempt was replaced by a refusal.
    stale: bool,
}

/// The device.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    record: Option<(u64, Body, bool)>,
    installed: BTreeSet<&'static str>,
    /// The image on trial: attempt, position, whether it will be confirmed.
    trial: Option<(u64, usize, Item)>,
    /// Whether the new main image runs.
    pub runs_new: bool,
    current: Option<Attempt>,
    next: Option<Next>,
    running: Option<Running>,
    /// What the server sends at every subscription until it is answered in full.
    pub offer: Option<(u64, Vec<Item>)>,
    /// Handlers called so far.
    pub calls: Vec<(u64, usize)>,
    /// The last report of each attempt.
    pub reports: BTreeMap<u64, Body>,
    /// Attempts of which the server has had a report that leaves nothing open.
    answered: BTreeSet<u64>,
}

impl Reference {
    pub fn pause(&self) -> Pause {
        match (&self.running, &self.current) {
            (Some(running), _) if running.item.main => Pause::Downloading,
            (Some(_), _) => Pause::Installing,
            (None, _) if self.trial.is_some() => Pause::Probation,
            (None, Some(current)) if !current.body.is_over() => Pause::Waiting,
            (None, _) => Pause::Rest,
        }
    }

    pub fn stored(&self) -> Option<(u64, &Body)> {
        self.record.as_ref().map(|(id, body, _)| (*id, body))
    }

    pub fn current_id(&self) -> Option<u64> {
        self.current.as_ref().map(|current| current.id)
    }

    /// UPDATE_ARTIFACTS (3.8).
    pub fn manifest(&mut self, id: u64, items: &[Item], canceled: bool) {
        let on_trial = self.trial.as_ref().map(|(_, index, _)| *index);
        match &mut self.current {
            Some(current) if current.id == id => {
                let counts = !matches!(&current.body, Body::Results(results) if results.len() != items.len());
                if !counts {
                    return;
                }
                if current.items.is_none() && !current.body.is_over() {
                    current.items = Some(items.to_vec());
                    if canceled && !current.body.has_success() {
                        current.canceled = true;
                        current.body.cancel_rest(on_trial);
                    }
                }
                if !current.body.is_untouched() {
                    // Preparing a report stores the record once more (6.9); while a handler runs nothing is prepared.
                    if self.running.is_none() {
                        self.store();
                    }
                    self.report();
                }
            }
            Some(current) if !current.body.is_over() => self.supersede(Next::Manifest(id, items.to_vec(), canceled)),
            _ if self.running.is_some() => self.supersede(Next::Manifest(id, items.to_vec(), canceled)),
            _ => self.start(Next::Manifest(id, items.to_vec(), canceled)),
        }
        self.go_on();
    }

    /// CANCEL_UPDATE (6.6).
    pub fn cancel(&mut self, id: u64) {
        let on_trial = self.trial.as_ref().map(|(_, index, _)| *index);
        let Some(current) = self.current.as_mut().filter(|current| current.id == id) else {
            return;
        };
        if current.body.is_over() || current.body.has_success() {
            return;
        }
        current.canceled = true;
        if self.running.is_some() {
            self.ask_to_stop();
        } else {
            let before = current.body.clone();
            current.body.cancel_rest(on_trial);
            let changed = current.body != before;
            self.go_on();
            if changed {
                self.report();
            }
        }
    }

    /// A malformed message with this id (3.7).
    pub fn malformed(&mut self, id: u64) {
        match &self.current {
            Some(current) if current.id != id && (!current.body.is_over() || self.running.is_some()) => {
                self.supersede(Next::Refusal(id));
            }
            _ => {
                if let Some(running) = &mut self.running {
                    running.stale = true;
                }
                self.start(Next::Refusal(id));
                self.ask_to_stop();
            }
        }
        self.go_on();
    }

    /// REPORT_UPDATE_RESULTS (3.4).
    pub fn report_request(&mut self, id: u64) {
        if self.current_id() == Some(id) && self.running.is_none() {
            self.report();
        }
    }

    /// The pause ends by itself: the handler returns, the download is complete, the image confirms or crashes.
    pub fn advance(&mut self) {
        match (self.running.take(), self.trial.clone()) {
            (Some(running), _) if running.item.main && !running.stale => {
                let id = self.current_id().expect("a handler runs for an attempt");
                self.trial = Some((id, running.index, running.item));
                self.runs_new = true;
                self.boot();
            }
            (Some(running), _) => {
                let fate = running.item.ends;
                self.returned(running, fate);
            }
            (None, Some((_, index, item))) if item.ends == Succeeded => {
                self.trial = None;
                self.settle(index, Succeeded, item.firmware);
                self.go_on();
            }
            (None, Some(_)) => self.power_cut(),
            (None, None) => {}
        }
    }

    /// RAM is lost; an image that is not confirmed goes back (7.4).
    pub fn power_cut(&mut self) {
        let judged = self.trial.take();
        if judged.is_some() {
            self.runs_new = false;
        }
        self.restore();
        if let Some((_, index, item)) = judged {
            self.settle(index, Failed, item.firmware);
        }
        self.connect();
    }

    /// A new connection: the server repeats what was not answered (O5).
    pub fn connect(&mut self) {
        self.go_on();
        if let Some((id, items)) = self.offer.clone().filter(|(id, _)| !self.answered.contains(id)) {
            self.manifest(id, &items, false);
        }
    }

    fn boot(&mut self) {
        self.restore();
        self.connect();
    }

    fn restore(&mut self) {
        self.next = None;
        self.running = None;
        self.current = self.record.clone().map(|(id, body, canceled)| Attempt {
            id,
            body,
            items: None,
            canceled,
            superseded: false,
        });
    }

    fn start(&mut self, next: Next) {
        let (id, body, items, canceled) = match next {
            Next::Manifest(id, items, canceled) => {
                let mut body = Body::Results(vec![Pending; items.len()]);
                if canceled {
                    body.cancel_rest(None);
                }
                (id, body, Some(items), canceled)
            }
            Next::Refusal(id) => (id, Body::Refused, None, false),
        };
        self.current = Some(Attempt {
            id,
            body,
            items,
            canceled,
            superseded: false,
        });
        if self.running.is_none() {
            self.store();
            self.report_unless_untouched();
        }
    }

    /// Another attempt while this one is unfinished (6.7).
    fn supersede(&mut self, next: Next) {
        self.next = Some(next);
        let busy = self.running.as_ref().map(|running| running.index);
        let on_trial = self.trial.as_ref().map(|(_, index, _)| *index);
        let stale = self.running.as_ref().is_some_and(|running| running.stale);
        if let Some(current) = self.current.as_mut().filter(|_| !stale) {
            current.superseded = true;
            let before = current.body.clone();
            current.body.cancel_rest(busy.or(on_trial));
            if current.body != before && busy.is_none() {
                self.store();
                self.report();
            }
        }
        self.ask_to_stop();
    }

    fn ask_to_stop(&mut self) {
        if let Some(running) = self.running.take_if(|running| !running.item.deaf) {
            self.returned(running, Canceled);
        }
    }

    fn returned(&mut self, running: Running, fate: Fate) {
        if running.stale {
            self.store();
            self.report();
        } else {
            self.settle(running.index, fate, running.item.firmware);
        }
        self.go_on();
    }

    fn settle(&mut self, index: usize, fate: Fate, firmware: &'static str) {
        let current = self.current.as_mut().expect("an artifact has an attempt");
        if let Body::Results(results) = &mut current.body {
            results[index] = fate;
        }
        if fate == Succeeded {
            self.installed.insert(firmware);
            current.canceled = false;
        } else {
            current.body.cancel_rest(None);
        }
        self.store();
        self.report();
    }

    /// The worker: whatever can be done without a pause.
    fn go_on(&mut self) {
        while self.running.is_none() {
            self.store();
            let Some(current) = &self.current else { return };
            if current.body.is_over() {
                match self.next.take() {
                    Some(next) => self.start(next),
                    None => return,
                }
                continue;
            }
            if self.trial.is_some() || current.canceled || current.superseded {
                return;
            }
            let (Body::Results(results), Some(items)) = (&current.body, &current.items) else {
                return;
            };
            let index = results.iter().position(|fate| *fate == Pending).expect("it is not over");
            let item = items[index].clone();
            if self.installed.contains(item.firmware) {
                self.settle(index, Succeeded, item.firmware);
                continue;
            }
            self.calls.push((current.id, index));
            if item.missing {
                self.settle(index, Failed, item.firmware);
                continue;
            }
            self.running = Some(Running {
                index,
                item,
                stale: false,
            });
        }
    }

    fn store(&mut self) {
        if let Some(current) = &self.current {
            self.record = Some((current.id, current.body.clone(), current.canceled));
        }
    }

    /// What is stored is told, unless a newer attempt takes over (6.9).
    fn report(&mut self) {
        let Some((id, body, _)) = &self.record else { return };
        if self.running.is_some() || (body.is_over() && self.next.is_some()) {
            return;
        }
        if body.is_over() {
            self.answered.insert(*id);
        }
        self.reports.insert(*id, body.clone());
    }

    fn report_unless_untouched(&mut self) {
        if self.current.as_ref().is_some_and(|current| !current.body.is_untouched()) {
            self.report();
        }
    }
}
