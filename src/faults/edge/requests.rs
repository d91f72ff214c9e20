//! Image requests: refused where there is no link, their answers rewritten on the way to the device.

use bytes::{Bytes, BytesMut};

use crate::device::{DeviceInput, DeviceOutput};
use crate::time::SimTime;
use crate::wire::{ContentRange, DownloadError, DownloadEvent, DownloadRequest, ImageHead};

use super::super::kind::FaultKind;
use super::super::plan::{Happening, Narrowing};
use super::super::request::RequestFault;
use super::armed::Armed;
use super::{Edge, EdgeOutput, EdgeOutputs, UNREACHABLE_AFTER};

/// What is done to one answer. Each part names the fault that does it.
#[derive(Debug, Default)]
pub(super) struct Tampering {
    head: Option<(u16, HeadChange)>,
    corruption: Option<Corruption>,
    instead: Option<Instead>,
    cut: Option<Cut>,
    slowed_by: Option<u16>,
    /// Bits a second.
    pub(super) slow: Option<u64>,
    /// Bytes of the body so far.
    position: u64,
    /// Length of the body, once the head has come.
    length: Option<u64>,
    /// Nothing comes any more.
    stalled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadChange {
    Status(u16),
    /// Another offset, or another total.
    WrongRange {
        total: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corruption {
    fault: u16,
    bytes: u64,
    /// Where in the body it begins.
    from: u64,
    /// Bytes changed so far.
    done: u64,
    draw: u64,
}

/// The bytes of another image take the place of those that come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Instead {
    fault: u16,
    image: Bytes,
    /// Where in the image the body begins.
    from: u64,
    done: bool,
}

impl Instead {
    /// What comes in the place of `bytes` at `position` of the body; behind the end of the image, what erased flash holds.
    fn replace(&mut self, bytes: &mut Bytes, position: u64) {
        let start = usize::try_from(self.from + position).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        *bytes = match self.image.get(start..end) {
            Some(_) => self.image.slice(start..end),
            None => {
                let mut padded = BytesMut::from(self.image.get(start.min(self.image.len())..).unwrap_or_default());
                padded.resize(bytes.len(), 0xff);
                padded.freeze()
            }
        };
    }
}

/// The body ends here, in one way or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    fault: u16,
    how: CutKind,
    /// 64 bits for where.
    draw: u64,
    at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutKind {
    /// The connection closes.
    Close,
    /// The short length was announced.
    Short,
    /// Nothing comes any more.
    Stall,
}

impl Corruption {
    /// Position of the n-th byte to be changed in a body of this length: one in each of equal parts.
    fn place(&self, n: u64, length: u64) -> u64 {
        let room = length.saturating_sub(self.from);
        let parts = self.bytes.min(room).max(1);
        let (start, end) = (room * n / parts, room * (n + 1) / parts);
        self.from + start + self.draw.rotate_left(n as u32 * 11) % (end - start).max(1)
    }

    /// Changes what of `bytes`, which begin at `position` in a body of `length`, is to be changed; true if something was.
    fn change(&mut self, bytes: &mut Bytes, position: u64, length: u64) -> bool {
        let end = position + bytes.len() as u64;
        let wanted = self.bytes.min(length.saturating_sub(self.from));
        let before = self.done;
        let mut changed: Option<BytesMut> = None;
        while self.done < wanted && self.place(self.done, length) < end {
            let at = self.place(self.done, length);
            self.done += 1;
            if at >= position {
                let copy = changed.get_or_insert_with(|| BytesMut::from(&bytes[..]));
                copy[(at - position) as usize] ^= 0xff;
            }
        }
        if let Some(changed) = changed {
            *bytes = changed.freeze();
        }
        before == 0 && self.done > 0
    }
}

impl Tampering {
    /// Takes one fault's part; an earlier one of the same sort stays.
    fn add(&mut self, fault: u16, kind: RequestFault, in_turn: bool, draw: u64) {
        let cut = |how| Cut {
            fault,
            how,
            draw,
            at: None,
        };
        match kind {
            RequestFault::Http { status } => drop(self.head.get_or_insert((fault, HeadChange::Status(status)))),
            RequestFault::Redirect => drop(self.head.get_or_insert((fault, HeadChange::Status(302)))),
            RequestFault::WrongRange => {
                self.head.get_or_insert((fault, HeadChange::WrongRange { total: in_turn }));
            }
            RequestFault::Corrupt { bytes } => {
                self.corruption.get_or_insert(Corruption {
                    fault,
                    bytes,
                    from: self.position,
                    done: 0,
                    draw,
                });
            }
            RequestFault::Truncate { short: false } => drop(self.cut.get_or_insert(cut(CutKind::Close))),
            RequestFault::Truncate { short: true } => drop(self.cut.get_or_insert(cut(CutKind::Short))),
            RequestFault::Stall => drop(self.cut.get_or_insert(cut(CutKind::Stall))),
            RequestFault::Slow { rate } => {
                self.slowed_by = self.slowed_by.or(Some(fault));
                self.slow = Some(self.slow.map_or(rate, |slow| slow.min(rate)));
            }
            RequestFault::BadTls => {}
        }
    }

    /// Rewrites the head, and learns from it where the body is struck.
    fn on_head(&mut self, head: &mut ImageHead, out: &mut EdgeOutputs) {
        let length = head.content_length.unwrap_or(0);
        self.length = Some(length);
        if let Some((fault, change)) = self.head.take() {
            let happening = if change.apply(head) {
                Happening::Done
            } else {
                Happening::Spared
            };
            out.fault(fault, happening);
        }
        if !matches!(head.status, 200 | 206) {
            return;
        }
        if let Some(instead) = &mut self.instead {
            instead.from = head.content_range.map_or(0, |range| range.first);
        }
        if let Some(cut) = &mut self.cut {
            // At least a byte comes, and at least one is missing.
            let room = length.saturating_sub(self.position);
            let at = self.position + 1 + ((u128::from(cut.draw) * u128::from(room.saturating_sub(2))) >> 64) as u64;
            cut.at = Some(at.min(length));
            if cut.how == CutKind::Short {
                head.content_length = Some(at.min(length));
            }
        }
        if let Some(fault) = self.slowed_by.take() {
            out.fault(fault, Happening::Done);
        }
    }

    /// Tells of what has not come about with this answer and will not.
    fn give_up(&self, out: &mut EdgeOutputs) {
        let corruption = self.corruption.filter(|corruption| corruption.done == 0);
        let left = [
            self.head.map(|(fault, _)| fault),
            corruption.map(|corruption| corruption.fault),
            self.instead
                .as_ref()
                .filter(|instead| !instead.done)
                .map(|instead| instead.fault),
            self.cut.map(|cut| cut.fault),
            self.slowed_by,
        ];
        left.into_iter()
            .flatten()
            .for_each(|fault| out.fault(fault, Happening::Spared));
    }
}

impl HeadChange {
    /// Changes the head; false where it is not of the kind that can be changed so.
    fn apply(self, head: &mut ImageHead) -> bool {
        match self {
            HeadChange::Status(status) => {
                head.status = status;
                if status != 206 {
                    head.content_range = None;
                }
                true
            }
            HeadChange::WrongRange { total } => {
                let Some(range) = head.content_range.as_mut().filter(|_| head.status == 206) else {
                    return false;
                };
                let ContentRange { first, last, total: all } = range;
                if total {
                    (*last, *all) = (*last + 1, *all + 1);
                } else {
                    *first += 1;
                }
                true
            }
        }
    }
}

impl Armed {
    /// Whether it is on and not narrowed to anything else than `fetching`.
    fn is_about(&self, fetching: Option<&crate::model::FirmwareVersion>) -> bool {
        let fits = |narrowing: &Narrowing| match narrowing {
            Narrowing::Message(_) | Narrowing::Nth(_) => false,
            Narrowing::Version(firmware) => fetching == Some(firmware),
        };
        let only = &self.injection.only;
        self.on.is_some() && (only.is_empty() || only.iter().any(fits))
    }

    /// What it does to a request for `fetching`, if it could strike that.
    fn concerns(&self, offset: u64, fetching: Option<&crate::model::FirmwareVersion>) -> Option<RequestFault> {
        let FaultKind::Request(kind) = self.injection.kind else {
            return None;
        };
        let ranged = kind != RequestFault::WrongRange || offset > 0;
        (ranged && self.is_about(fetching)).then_some(kind)
    }
}

impl Edge {
    /// The device wants an image.
    pub(super) fn start_download(&mut self, mut request: DownloadRequest, now: SimTime, out: &mut EdgeOutputs) {
        self.lose_download();
        self.cheat_on_request(&mut request, out);
        self.transport.downloading = true;
        if self.link_down {
            self.transport.failing().download = Some((now + UNREACHABLE_AFTER, DownloadError::Unreachable));
            return out.queue.push(EdgeOutput::Requested(request));
        }
        let distrusted = request.target.tls && self.distrusts(now);
        if distrusted || self.tamper(&request, out) == Some(false) {
            let handshake = self.path.image_handshake(request.target.tls, now, self.draws());
            self.transport.failing().download = Some((now + handshake, DownloadError::Tls));
            return out.queue.push(EdgeOutput::Requested(request));
        }
        out.device(DeviceOutput::StartDownload(request));
    }

    /// Whether the device refuses the server's certificate: its own clock and its own anchor decide.
    pub(super) fn distrusts(&self, now: SimTime) -> bool {
        let trouble = self.trouble.as_ref();
        self.device.config().tls && trouble.is_some_and(|trouble| trouble.distrusts(self.device.running(), now))
    }

    /// Decides what is done to the answer of this request; false if the host is not trusted.
    fn tamper(&mut self, request: &DownloadRequest, out: &mut EdgeOutputs) -> Option<bool> {
        let draws = self.draws();
        let trouble = self.trouble.as_mut()?;
        let fetching = trouble.life.fetching.clone();
        let mut tampering = Tampering::default();
        let mut trusted = true;
        for armed in &mut trouble.armed {
            let fault = armed.injection.fault;
            let instead = armed.injection.image.clone();
            if let Some(image) = instead.filter(|_| armed.is_about(fetching.as_ref())) {
                if armed.is_struck(draws) {
                    tampering.instead = Some(Instead {
                        fault,
                        image,
                        from: 0,
                        done: false,
                    });
                } else {
                    out.fault(fault, Happening::Spared);
                }
                continue;
            }
            let Some(kind) = armed.concerns(request.offset, fetching.as_ref()) else {
                continue;
            };
            if !armed.is_struck(draws) {
                out.fault(fault, Happening::Spared);
                continue;
            }
            if kind == RequestFault::BadTls {
                out.fault(fault, Happening::Done);
                trusted = false;
                continue;
            }
            let draw = armed.place(0, draws);
            tampering.add(fault, kind, armed.struck % 2 == 0, draw);
        }
        if !trusted {
            tampering.give_up(out);
        }
        trouble.tampering = trusted.then_some(tampering);
        Some(trusted)
    }

    /// A fault that concerns bodies begins while an answer is on its way: that one is struck too, from where it is.
    pub(super) fn strike_running(&mut self, index: usize, kind: RequestFault, now: SimTime, out: &mut EdgeOutputs) {
        let draws = self.draws();
        let Some(trouble) = &mut self.trouble else {
            return;
        };
        let fetching = trouble.life.fetching.clone();
        let answered = trouble.tampering.as_ref().and_then(|tampering| tampering.length);
        let armed = &mut trouble.armed[index];
        if answered.is_none() || !self.transport.downloading || armed.concerns(0, fetching.as_ref()).is_none() {
            return;
        }
        let fault = armed.injection.fault;
        if !armed.is_struck(draws) {
            return out.fault(fault, Happening::Spared);
        }
        let draw = armed.place(0, draws);
        let Some(tampering) = &mut trouble.tampering else {
            return;
        };
        tampering.add(fault, kind, false, draw);
        if let Some(cut) = &mut tampering.cut {
            cut.at = cut.at.or(Some(tampering.position));
            // What was announced was announced.
            if cut.how == CutKind::Short {
                cut.how = CutKind::Close;
            }
        }
        if let RequestFault::Slow { rate } = kind {
            tampering.slowed_by = None;
            out.fault(fault, Happening::Done);
            self.path.slow_down(rate);
        }
        self.on_download(DownloadEvent::Body(Bytes::new()), now, out);
    }

    /// News of the running download, on its way to the device.
    pub(super) fn on_download(&mut self, event: DownloadEvent, now: SimTime, out: &mut EdgeOutputs) {
        if self.trouble().tampering.as_ref().is_some_and(|tampering| tampering.stalled) {
            return;
        }
        match event {
            DownloadEvent::Answered(head) => self.on_head(head, now, out),
            DownloadEvent::Body(bytes) => self.on_body(bytes, now, out),
            DownloadEvent::Finished | DownloadEvent::Closed | DownloadEvent::Broken(_) => {
                self.give_up_tampering(out);
                self.pass(DeviceInput::Download(event), now, out);
            }
        }
    }

    fn on_head(&mut self, mut head: ImageHead, now: SimTime, out: &mut EdgeOutputs) {
        let trouble = self.trouble();
        let tampering = trouble.tampering.get_or_insert_default();
        tampering.on_head(&mut head, out);
        match head.content_range {
            Some(range) => (trouble.life.received, trouble.life.total) = (range.first, Some(range.total)),
            None => {
                (trouble.life.received, trouble.life.total) = (0, head.content_length);
                trouble.life.download_began = None;
            }
        }
        if matches!(head.status, 200 | 206) {
            self.aim_at_download(now);
        }
        self.pass(DeviceInput::Download(DownloadEvent::Answered(head)), now, out);
    }

    fn on_body(&mut self, mut bytes: Bytes, now: SimTime, out: &mut EdgeOutputs) {
        let trouble = self.trouble();
        let tampering = trouble.tampering.get_or_insert_default();
        let length = tampering.length.unwrap_or(u64::MAX);
        if let Some(instead) = tampering.instead.as_mut().filter(|_| !bytes.is_empty()) {
            instead.replace(&mut bytes, tampering.position);
            if !std::mem::replace(&mut instead.done, true) {
                out.fault(instead.fault, Happening::Done);
            }
        }
        if let Some(corruption) = &mut tampering.corruption
            && corruption.change(&mut bytes, tampering.position, length)
        {
            out.fault(corruption.fault, Happening::Done);
        }
        let end = tampering.position + bytes.len() as u64;
        let cut = tampering.cut.filter(|cut| cut.at.is_some_and(|at| at <= end));
        if let Some(at) = cut.and_then(|cut| cut.at) {
            bytes.truncate((at - tampering.position.min(at)) as usize);
        }
        tampering.position += bytes.len() as u64;
        trouble.life.received += bytes.len() as u64;
        if let Some(cut) = cut {
            tampering.cut = None;
            tampering.stalled = true;
            out.fault(cut.fault, Happening::Done);
        }
        let delivers = !bytes.is_empty();
        if delivers {
            self.pass(DeviceInput::Download(DownloadEvent::Body(bytes)), now, out);
        }
        match cut.map(|cut| cut.how) {
            None | Some(CutKind::Stall) => {}
            Some(CutKind::Close) => self.close(DownloadEvent::Broken(DownloadError::Reset), now, out),
            Some(CutKind::Short) => self.close(DownloadEvent::Finished, now, out),
        }
        if delivers {
            self.aim_at_download(now);
        }
    }

    /// The answer ends here, whatever the server would still send.
    fn close(&mut self, event: DownloadEvent, now: SimTime, out: &mut EdgeOutputs) {
        if !self.transport.downloading {
            return;
        }
        out.device(DeviceOutput::StopDownload);
        self.pass(DeviceInput::Download(event), now, out);
    }

    /// The answer is over: what was to be done to it and was not, is not done.
    pub(super) fn give_up_tampering(&mut self, out: &mut EdgeOutputs) {
        if let Some(tampering) = self.trouble.as_mut().and_then(|trouble| trouble.tampering.take()) {
            tampering.give_up(out);
        }
    }
}
