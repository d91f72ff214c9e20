//! The edge of one device: it stands between transport and device core, in both drivers, against any server.
//!
//! What a device hands to its transport and what the transport hands to it passes through here. The edge knows the path (how long
//! anything takes, when the link is gone) and plays the faults that the Director sends: it drops, doubles, holds back and rewrites what
//! passes, and gives the device inputs of its own (power, resets, flash errors). A driver uses it as it would use the device.

mod aim;
mod armed;
mod cheating;
mod messages;
mod pages;
mod poison;
mod requests;
mod rest;
mod strike;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use crate::device::{Device, DeviceInput, DeviceOutput, LinkLoss, Outputs, Timer};
use crate::model::{Carried, FlashCounts, Observation, Session};
use crate::time::SimTime;
use crate::wire::{DownloadError, DownloadEvent, DownloadRequest, ImageHead, Packet};

use super::link::{Draws, Way};
use super::path::Path;
use super::plan::{Happening, Injection};
use super::profile::{LinkProfile, Sleep};

pub use rest::{KeptAlive, Rest, RestEnd};
use trouble::Trouble;

/// How long a device without a link takes to find that a name cannot be resolved.
const UNREACHABLE_AFTER: Duration = Duration::from_millis(10);

/// Most bytes that are asked of the transport at once: what a lost connection costs beyond what has arrived.
const READ_MAX: u64 = 16 * 1024;

/// What an edge wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeOutput {
    /// As if the device itself wanted it. Read credit is given once the bytes have crossed the path: they are then delivered at once.
    Device(DeviceOutput),
    /// The device has handed this packet to its transport; nothing is transmitted (yet).
    Sent(Packet),
    /// Transmit this packet, which the device has handed over earlier.
    Late(Packet),
    /// The device is given this packet.
    Delivered(Packet),
    /// The device has handed this image request to its transport, and it goes nowhere.
    Requested(DownloadRequest),
    /// The device is given this head of an image answer.
    Headed(ImageHead),
    /// Something came of a fault.
    Fault {
        /// Position of the fault in the plan.
        fault: u16,
        /// What.
        happening: Happening,
    },
}

/// The queue that outputs go into; owned by the driver and shared by its edges.
#[derive(Debug, Default)]
pub struct EdgeOutputs {
    queue: Vec<EdgeOutput>,
    /// What the device wants, on its way to the edge; empty between calls.
    inner: Outputs,
}

impl EdgeOutputs {
    /// Takes everything out, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, EdgeOutput> {
        self.queue.drain(..)
    }

    fn device(&mut self, output: DeviceOutput) {
        self.queue.push(EdgeOutput::Device(output));
    }

    fn fault(&mut self, fault: u16, happening: Happening) {
        self.queue.push(EdgeOutput::Fault { fault, happening });
    }
}

/// A device and its edge.
///
/// - **Input**: [`handle_input`](Self::handle_input), [`inject`](Self::inject), [`end_trouble`](Self::end_trouble) and
///   [`handle_timeout`](Self::handle_timeout), which append to the outputs.
/// - **Schedule**: after any of them, [`next_timeout`](Self::next_timeout) says when the edge wants to be woken.
/// - **Path**: [`connected_at`](Self::connected_at), [`packet_arrives`](Self::packet_arrives), [`request_arrives`](Self::request_arrives)
///   and [`head_arrives`](Self::head_arrives) each take one thing that enters the path, and say when it comes out.
#[derive(Debug)]
pub struct Edge {
    device: Device,
    path: Path,
    transport: Transport,
    /// When the profile takes the link down or gives it back.
    link_changes: Option<SimTime>,
    link_down: bool,
    trouble: Option<Box<Trouble>>,
    /// What comes next by time alone, as of the last thing that happened.
    next: Option<(SimTime, Wake)>,
}

/// What the device holds open, as it goes through its edge.
#[derive(Debug, Default)]
struct Transport {
    connection: Connection,
    downloading: bool,
    /// The device's credit, as far as it was not asked of the transport.
    credit: u32,
    /// Bytes that the transport may deliver at once and has not.
    asked: u32,
    /// What was asked for and will not come about; nothing for most of a device's life.
    failing: Option<Box<Failing>>,
}

/// What was asked for where there is no link, or no trust.
#[derive(Debug, Default)]
struct Failing {
    /// The connection fails then, like this.
    connect: Option<(SimTime, LinkLoss)>,
    /// So does the download, like this.
    download: Option<(SimTime, DownloadError)>,
}

impl Transport {
    fn failing(&mut self) -> &mut Failing {
        self.failing.get_or_insert_default()
    }

    /// Nothing fails any more of what `part` says.
    fn spare<T>(&mut self, part: impl FnOnce(&mut Failing) -> &mut Option<T>) {
        if let Some(failing) = &mut self.failing {
            *part(failing) = None;
            self.failing.take_if(|failing| failing.next().is_none());
        }
    }
}

impl Failing {
    fn next(&self) -> Option<SimTime> {
        let connect = self.connect.map(|(due, _)| due);
        let download = self.download.map(|(due, _)| due);
        [connect, download].into_iter().flatten().min()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Connection {
    #[default]
    None,
    Opening,
    Up,
}

/// What an edge wants to be woken for; of several at one moment the first is done first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    Trouble,
    Link,
    Refusal,
    Device(Timer),
    Read,
}

impl Edge {
    /// The edge of a device behind a link of this profile, which draws as the device does.
    pub fn new(device: Device, profile: Arc<LinkProfile>) -> Edge {
        let path = Path::new(profile, device.config().tls);
        let mut edge = Edge {
            link_changes: None,
            device,
            path,
            transport: Transport::default(),
            link_down: false,
            trouble: None,
            next: None,
        };
        edge.link_changes = edge.changes_at(SimTime::ZERO);
        edge.next = edge.next_wake();
        edge
    }

    /// The same device, asleep at times.
    #[must_use]
    pub fn sleeping(mut self, sleep: Option<Sleep>) -> Edge {
        self.path.set_sleep(sleep);
        self
    }

    /// The same device, away in these spells, which are in order.
    #[must_use]
    pub fn away(mut self, spells: Box<[(SimTime, SimTime)]>) -> Edge {
        self.path.set_away(spells);
        self.link_changes = self.changes_at(SimTime::ZERO);
        self
    }

    /// Something soon happens to this device, whose edge is at hand: has ready what both keep elsewhere.
    pub fn fetch_more(&self) {
        self.path.fetch_flow();
        self.device.fetch_more();
    }

    /// Takes one input for the device.
    pub fn handle_input(&mut self, input: DeviceInput, now: SimTime, out: &mut EdgeOutputs) {
        if input == DeviceInput::PowerOn {
            self.path.powered(now);
            self.link_changes = self.changes_at(now);
        }
        match input {
            _ if self.trouble.is_none() => self.hand_over(input, now, out),
            DeviceInput::Received(packet) => self.receive(packet, now, out),
            DeviceInput::Download(event) => self.on_download(event, now, out),
            DeviceInput::Connected | DeviceInput::Disconnected(_) | DeviceInput::Board(_) => self.pass(input, now, out),
            DeviceInput::PowerOn
            | DeviceInput::PowerCut { .. }
            | DeviceInput::ResetReleased
            | DeviceInput::FlashTrap(_)
            | DeviceInput::FlashFull(_)
            | DeviceInput::ForgetTraps
            | DeviceInput::FlipBits { .. }
            | DeviceInput::LoseRecord(_)
            | DeviceInput::AppAbort
            | DeviceInput::AppPause
            | DeviceInput::AppResume => self.hand_over(input, now, out),
        }
        self.settle(now, out);
        self.next = self.next_wake();
    }

    /// Takes a fault.
    pub fn inject(&mut self, injection: Injection, now: SimTime, out: &mut EdgeOutputs) {
        self.trouble.get_or_insert_default().arm(injection);
        self.settle(now, out);
        self.next = self.next_wake();
    }

    /// Trouble is over: every fault ends, what is planned is missed, the link does not drop any more.
    pub fn end_trouble(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        self.path.calm_down();
        self.end_faults(now, out);
        self.check_link(now, out);
        self.settle(now, out);
        self.next = self.next_wake();
    }

    /// Does what is due at `now`, in order.
    pub fn handle_timeout(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        while let Some((due, wake)) = self.next.filter(|(due, _)| *due <= now) {
            match wake {
                Wake::Trouble => self.do_due(now, out),
                Wake::Link => self.check_link(now, out),
                Wake::Refusal => self.refuse(now, out),
                Wake::Device(timer) => {
                    let next = self.call(now, out, |device, _, out| {
                        device.handle_timer(timer, due, due, &mut out.inner)
                    });
                    if self.trouble.is_none() && self.path.is_steady() {
                        // Nothing comes to the device behind that, which it has told already what it waits for.
                        self.next = self.wake_beside(next);
                        continue;
                    }
                }
                Wake::Read => self.give_credit(now, out),
            }
            self.settle(now, out);
            self.next = self.next_wake();
        }
    }

    /// When [`Edge::handle_timeout`] is wanted next; `None` means never.
    #[must_use]
    pub fn next_timeout(&self) -> Option<SimTime> {
        self.next.map(|(due, _)| due)
    }

    /// The latest moment at which the device moves on by itself: its timers, housekeeping left out, and a link that comes back.
    #[must_use]
    pub fn latest_timeout(&self) -> Option<SimTime> {
        let link = self.link_changes.filter(|_| self.link_down);
        self.device.latest_timeout().max(link).max(self.read_due())
    }

    /// Whether the device's processor is not scheduled.
    pub fn is_frozen(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.is_frozen())
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What has crossed the path since this was last asked, on the wire.
    pub fn take_carried(&mut self) -> Carried {
        self.path.take_carried()
    }

    /// Flash operations so far.
    pub fn flash_counts(&self) -> FlashCounts {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        FlashCounts {
            ops: count(self.device.flash_ops()),
            erases: count(self.device.flash_erases()),
            wear: self.device.wear(),
        }
    }

    /// When the handshakes of an MQTT connection that is opened at `now` are done.
    pub fn connected_at(&mut self, now: SimTime) -> SimTime {
        self.path.connected_at(now, self.draws())
    }

    /// When the first packet of a connection that is wanted at `now` is at the server, as a rule: in real time handshakes begin then.
    pub fn first_packet_arrives(&self, now: SimTime) -> SimTime {
        self.path.joined(now) + self.path.one_way()
    }

    /// The usual time of one message in one direction.
    pub fn one_way(&self) -> Duration {
        self.path.one_way()
    }

    /// When an MQTT packet that leaves at `now` arrives.
    pub fn packet_arrives(&mut self, way: Way, packet: &Packet, now: SimTime) -> SimTime {
        let at = self.path.packet(way, packet, now, self.draws());
        if self.transport.downloading {
            // A body makes way for it.
            self.next = self.next_wake();
        }
        at
    }

    /// When an image request that is wanted at `now` is at the server, handshakes included.
    pub fn request_arrives(&mut self, request: &DownloadRequest, now: SimTime) -> SimTime {
        let at = self.path.request(request, now, self.draws());
        self.next = self.next_wake();
        at
    }

    /// When the head of an image answer that leaves the server at `now` arrives.
    pub fn head_arrives(&mut self, head: &ImageHead, now: SimTime) -> SimTime {
        let slow = self.trouble.as_ref().and_then(|trouble| trouble.slow());
        let at = self.path.head(head, slow, now, self.draws());
        self.next = self.next_wake();
        at
    }

    /// With whose luck, and under which key, link and faults draw: the device's.
    fn draws(&self) -> Draws {
        let (luck, device) = self.device.luck();
        Draws { luck, device }
    }

    /// When the link changes next by its profile, by sleep or by absence.
    fn changes_at(&self, now: SimTime) -> Option<SimTime> {
        match self.path.is_steady() {
            true => None,
            false => self.path.changes_at(now, self.draws()),
        }
    }

    fn next_wake(&self) -> Option<(SimTime, Wake)> {
        let device = match self.is_frozen() {
            true => None,
            false => self.device.next_timeout(),
        };
        self.wake_beside(device)
    }

    /// What comes next, with what the device waits for by itself.
    fn wake_beside(&self, device: Option<(SimTime, Timer)>) -> Option<(SimTime, Wake)> {
        let mut first = None;
        let mut see = |due: Option<SimTime>, wake| {
            if let Some(due) = due
                && first.is_none_or(|(before, _)| due < before)
            {
                first = Some((due, wake));
            }
        };
        see(self.trouble.as_ref().and_then(|trouble| trouble.next_due()), Wake::Trouble);
        see(self.link_changes, Wake::Link);
        see(
            self.transport.failing.as_ref().and_then(|failing| failing.next()),
            Wake::Refusal,
        );
        if let Some((due, timer)) = device {
            see(Some(due), Wake::Device(timer));
        }
        see(self.read_due(), Wake::Read);
        first
    }

    /// Hands the device something from its transport, unless its processor is not scheduled: then it waits.
    fn pass(&mut self, input: DeviceInput, now: SimTime, out: &mut EdgeOutputs) {
        match self.trouble.as_mut().and_then(|trouble| trouble.frozen.as_mut()) {
            Some(waiting) => waiting.push((now, input)),
            None => self.hand_over(input, now, out),
        }
    }

    fn hand_over(&mut self, input: DeviceInput, now: SimTime, out: &mut EdgeOutputs) {
        match input {
            DeviceInput::Received(packet) => {
                return self.call(now, out, |device, now, out| {
                    device.receive(&packet, now, &mut out.inner);
                    // It is shown before what comes of it, which is still to be let through.
                    out.queue.push(EdgeOutput::Delivered(packet));
                });
            }
            DeviceInput::Connected => {
                self.transport.connection = Connection::Up;
                self.cheat_on_connection(Some(now));
            }
            DeviceInput::Disconnected(_) => self.lose_connection(),
            DeviceInput::Download(ref event) => self.see_event(event, now, out),
            DeviceInput::Board(_)
            | DeviceInput::PowerOn
            | DeviceInput::PowerCut { .. }
            | DeviceInput::ResetReleased
            | DeviceInput::FlashTrap(_)
            | DeviceInput::FlashFull(_)
            | DeviceInput::ForgetTraps
            | DeviceInput::FlipBits { .. }
            | DeviceInput::LoseRecord(_)
            | DeviceInput::AppAbort
            | DeviceInput::AppPause
            | DeviceInput::AppResume => {}
        }
        self.call(now, out, |device, now, out| device.handle_input(input, now, &mut out.inner));
    }

    fn see_event(&mut self, event: &DownloadEvent, now: SimTime, out: &mut EdgeOutputs) {
        match event {
            DownloadEvent::Answered(head) => out.queue.push(EdgeOutput::Headed(*head)),
            DownloadEvent::Body(bytes) => {
                let len = bytes.len() as u32;
                self.transport.asked = self.transport.asked.saturating_sub(len);
                self.path.read(u64::from(len), now, self.draws());
            }
            DownloadEvent::Finished | DownloadEvent::Closed | DownloadEvent::Broken(_) => self.lose_download(),
        }
    }

    /// The rule of use, once more: call the core, let through what it wants.
    fn call<T>(
        &mut self,
        now: SimTime,
        out: &mut EdgeOutputs,
        what: impl FnOnce(&mut Device, SimTime, &mut EdgeOutputs) -> T,
    ) -> T {
        let told = what(&mut self.device, now, out);
        if self.trouble.is_none() && out.inner.iter().all(is_plain) {
            out.queue.extend(out.inner.drain(..).map(EdgeOutput::Device));
        } else {
            let mut inner = std::mem::take(&mut out.inner);
            for output in inner.drain(..) {
                self.let_through(output, now, out);
            }
            out.inner = inner;
        }
        told
    }

    /// What the device wants goes on to its driver, unless something else becomes of it.
    fn let_through(&mut self, output: DeviceOutput, now: SimTime, out: &mut EdgeOutputs) {
        match output {
            DeviceOutput::Connect => {
                self.path.reconnects(now);
                self.transport.connection = Connection::Opening;
                if let Some(wakes_at) = self.path.asleep_until(now) {
                    // It does not try while it sleeps.
                    self.path.joins_at(wakes_at);
                } else if self.link_down {
                    self.transport.failing().connect = Some((now + UNREACHABLE_AFTER, LinkLoss::Timeout));
                    return;
                } else if self.distrusts(now) {
                    let due = self.path.connected_at(now, self.draws());
                    self.transport.failing().connect = Some((due, LinkLoss::Tls));
                    return;
                }
            }
            DeviceOutput::Disconnect => self.lose_connection(),
            DeviceOutput::Transmit(packet) if self.trouble.is_some() => return self.transmit(packet, now, out),
            DeviceOutput::StartDownload(request) => return self.start_download(request, now, out),
            DeviceOutput::StopDownload => {
                self.lose_download();
                self.give_up_tampering(out);
            }
            DeviceOutput::Read { bytes } => {
                self.transport.credit = self.transport.credit.saturating_add(bytes);
                return self.give_credit(now, out);
            }
            DeviceOutput::FallSilent => {
                self.lose_connection();
                self.lose_download();
                self.give_up_tampering(out);
                self.path.cleared(now);
                self.stop_reading();
                self.cheat_on_reset(out);
                out.device(DeviceOutput::FallSilent);
                if self.device.session() == Session::Off {
                    self.on_power_lost(now, out);
                }
                return;
            }
            DeviceOutput::Transmit(_) | DeviceOutput::Board(_) => {}
            DeviceOutput::Observed(ref observation) => {
                if let Observation::Booted { .. } = observation {
                    self.path.join(now, self.draws());
                }
                if self.trouble.is_some() {
                    self.watch(observation, now, out);
                }
            }
        }
        out.device(output);
    }

    /// Does what has become due or possible by what was just done.
    fn settle(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        if !self.path.is_steady() && !self.link_down && self.path.down_until(now, self.draws()).is_some() {
            self.check_link(now, out);
        }
        if self.trouble.is_some() {
            self.react(now, out);
        }
    }

    fn lose_connection(&mut self) {
        self.transport.connection = Connection::None;
        self.transport.spare(|failing| &mut failing.connect);
        self.cheat_on_connection(None);
        if let Some(trouble) = &mut self.trouble {
            trouble.forget_messages();
        }
    }

    fn lose_download(&mut self) {
        self.transport.downloading = false;
        self.transport.credit = 0;
        self.transport.asked = 0;
        self.transport.spare(|failing| &mut failing.download);
        self.path.answered();
    }

    /// When the bytes that the device waits for have arrived.
    fn read_due(&self) -> Option<SimTime> {
        let transport = &self.transport;
        let waits = transport.downloading && transport.asked == 0 && transport.credit > 0;
        waits.then(|| self.path.arrival(u64::from(self.wanted())))
    }

    /// Bytes that are asked for next: what is left of the body may be less.
    fn wanted(&self) -> u32 {
        let wanted = u64::from(self.transport.credit).min(READ_MAX);
        match self.path.rest() {
            0 => wanted as u32,
            rest => wanted.min(rest) as u32,
        }
    }

    /// Lets the transport deliver what has arrived.
    fn give_credit(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        if self.read_due().is_some_and(|due| due <= now) {
            let bytes = self.wanted();
            self.transport.credit -= bytes;
            self.transport.asked = bytes;
            out.device(DeviceOutput::Read { bytes });
        }
    }

    /// The link is gone or back: what is open falls silent, what is wanted fails.
    fn check_link(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        self.link_changes = self.changes_at(now);
        let faulty = self.trouble.as_ref().is_some_and(|trouble| trouble.takes_link());
        let down = faulty || self.path.down_until(now, self.draws()).is_some();
        if std::mem::replace(&mut self.link_down, down) == down || !down {
            return;
        }
        let before = std::mem::take(&mut self.transport.connection);
        let downloading = self.transport.downloading;
        if before == Connection::None && !downloading {
            return;
        }
        self.lose_download();
        self.give_up_tampering(out);
        self.path.cleared(now);
        out.device(DeviceOutput::FallSilent);
        let loss = match before {
            Connection::None => None,
            Connection::Opening => Some(LinkLoss::Timeout),
            Connection::Up => Some(LinkLoss::Closed),
        };
        if let Some(loss) = loss {
            self.pass(DeviceInput::Disconnected(loss), now, out);
        }
        if downloading {
            let broken = DownloadEvent::Broken(DownloadError::Reset);
            self.pass(DeviceInput::Download(broken), now, out);
        }
    }

    fn refuse(&mut self, now: SimTime, out: &mut EdgeOutputs) {
        let failing = self.transport.failing();
        if let Some((_, loss)) = failing.connect.take_if(|(due, _)| *due <= now) {
            self.pass(DeviceInput::Disconnected(loss), now, out);
        }
        let failing = self.transport.failing();
        if let Some((_, error)) = failing.download.take_if(|(due, _)| *due <= now) {
            self.pass(DeviceInput::Download(DownloadEvent::Broken(error)), now, out);
        }
        self.transport.failing.take_if(|failing| failing.next().is_none());
    }
}

/// True for what goes on to the driver as it is, where there is no trouble.
fn is_plain(output: &DeviceOutput) -> bool {
    match output {
        DeviceOutput::Transmit(_) | DeviceOutput::Board(_) => true,
        DeviceOutput::Observed(observation) => !matches!(observation, Observation::Booted { .. }),
        DeviceOutput::Connect
        | DeviceOutput::Disconnect
        | DeviceOutput::StartDownload(_)
        | DeviceOutput::StopDownload
        | DeviceOutput::Read { .. }
        | DeviceOutput::FallSilent => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_its_edge_and_both_slots_is_small() {
        assert!(size_of::<Edge>() <= 744, "{}", size_of::<Edge>());
    }
}
