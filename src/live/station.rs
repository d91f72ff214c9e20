//! One device at its place: the core behind its edge, its MQTT connection, its download, and the task that keeps them going.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::device::{DeviceInput, DeviceOutput};
use crate::faults::{Edge, EdgeOutput, EdgeOutputs, Injection, Way};
use crate::model::{DeviceIndex, Why};
use crate::play::Sighting;
use crate::time::SimTime;
use crate::wire::{DownloadEvent, DownloadRequest, Packet};

use super::board::{Board, Word};
use super::download::{Download, Stages};
use super::link::{Arrival, Link, Retired};
use super::shard::Surroundings;

/// A device and its transports.
pub(crate) struct Station {
    index: DeviceIndex,
    edge: Edge,
    /// The board that its firmware runs on, if it is not simulated.
    board: Option<Board>,
    /// When power first comes; `None` once it has.
    boot_at: Option<SimTime>,
    link: Option<Link>,
    download: Option<Box<Download>>,
    /// What the device fell silent on: neither served nor closed until its next CONNACK.
    silent: Option<Box<Silent>>,
    /// Connections that the device has closed and whose last packets are on their way.
    closing: Vec<Link>,
    waker: Option<Waker>,
    /// A defect of ours struck here; nothing is done any more.
    broken: bool,
}

struct Silent {
    link: Option<Link>,
    download: Option<Box<Download>>,
}

/// Connections of one device that may be closing at once; older ones are dropped.
const CLOSING_MAX: usize = 2;

impl Station {
    /// A device behind its edge that is powered on at `boot_at`.
    pub fn new(index: DeviceIndex, edge: Edge, boot_at: SimTime) -> Station {
        Station {
            index,
            edge,
            board: None,
            boot_at: Some(boot_at),
            link: None,
            download: None,
            silent: None,
            closing: Vec::new(),
            waker: None,
            broken: false,
        }
    }

    /// The same device, its firmware on a board.
    #[must_use]
    pub fn on_board(mut self, board: Option<Board>) -> Station {
        self.board = board;
        self
    }

    /// Hands the device an input from outside its task.
    pub fn input(&mut self, input: DeviceInput, around: &Surroundings) {
        self.let_in(around, |edge, now, out| edge.handle_input(input, now, out));
    }

    /// Gives the device's edge a fault.
    pub fn inject(&mut self, injection: Injection, around: &Surroundings) {
        self.let_in(around, |edge, now, out| edge.inject(injection, now, out));
    }

    /// Trouble is over.
    pub fn end_trouble(&mut self, around: &Surroundings) {
        self.let_in(around, Edge::end_trouble);
    }

    fn let_in(&mut self, around: &Surroundings, call: impl FnOnce(&mut Edge, SimTime, &mut EdgeOutputs)) {
        if !self.broken {
            self.with_edge(around.clock.now(), around, call);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The latest moment at which the device moves on by itself, housekeeping left out.
    pub fn latest_timer(&self) -> Option<SimTime> {
        self.boot_at.or(self.edge.latest_timeout())
    }

    /// Tells how often its flash was worked on.
    pub fn tell_flash(&self, now: SimTime, around: &Surroundings) {
        around.report(now, Sighting::Flash(self.index, self.edge.flash_counts()));
    }

    /// Why the device is where it is.
    pub fn why(&self, now: SimTime) -> Why {
        self.edge.device().explain(now)
    }

    /// Why the device is not at rest, and whether its own firmware keeps it there; `None` if it is at rest.
    pub fn left_open(&self, now: SimTime) -> Option<(Why, bool)> {
        let device = self.edge.device();
        (!device.phase().at_rest()).then(|| (device.explain(now), device.stuck_by_firmware()))
    }

    /// Does everything that can be done at present; gives the moment of the next thing that is known.
    fn poll(&mut self, cx: &mut Context<'_>, around: &Surroundings) -> Option<SimTime> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        loop {
            let now = around.clock.now();
            self.drive_links(cx, now, around);
            if !self.step(cx, now, around) {
                break;
            }
        }
        self.next_due()
    }

    /// Hands the device the earliest thing that is due; false if nothing is.
    fn step(&mut self, cx: &mut Context<'_>, now: SimTime, around: &Surroundings) -> bool {
        let timer = self.boot_at.or_else(|| self.edge.next_timeout()).filter(|at| *at <= now);
        let arrival = self.link.as_ref().and_then(Link::arrival_due).filter(|at| *at <= now);
        if let Some(due) = arrival
            && timer.is_none_or(|timer| due <= timer)
            && let Some(arrival) = self.link.as_mut().and_then(|link| link.arrived(now))
        {
            self.on_arrival(arrival, now, around);
        } else if timer.is_some() {
            match self.boot_at.take() {
                Some(_) => self.handle(DeviceInput::PowerOn, now, around),
                None => self.with_edge(now, around, |edge, now, out| edge.handle_timeout(now, out)),
            }
        } else if let Some(Poll::Ready(event)) = self.poll_download(cx, now) {
            if let DownloadEvent::Body(bytes) = &event {
                around.gauges.count_image_bytes(bytes.len());
            }
            self.handle(DeviceInput::Download(event), now, around);
        } else if let Some(word) = self.board.as_mut().and_then(|board| board.poll(cx)) {
            match word {
                Word::News(news) => self.handle(DeviceInput::Board(news), now, around),
                Word::Broken(problem) => around.trouble(now, Some(self.index), problem),
            }
        } else {
            return false;
        }
        true
    }

    fn poll_download(&mut self, cx: &mut Context<'_>, now: SimTime) -> Option<Poll<DownloadEvent>> {
        let edge = &mut self.edge;
        let download = self.download.as_mut()?;
        Some(download.poll(cx, now, |head, now| edge.head_arrives(head, now)))
    }

    fn on_arrival(&mut self, arrival: Arrival, now: SimTime, around: &Surroundings) {
        match arrival {
            Arrival::Up => self.handle(DeviceInput::Connected, now, around),
            Arrival::Packet(packet) => {
                if matches!(packet, Packet::ConnAck { .. }) {
                    self.silent = None;
                }
                self.handle(DeviceInput::Received(packet), now, around);
            }
            Arrival::Lost(loss) => {
                self.link = None;
                self.handle(DeviceInput::Disconnected(loss), now, around);
            }
        }
    }

    fn drive_links(&mut self, cx: &mut Context<'_>, now: SimTime, around: &Surroundings) {
        let mut scratch = around.scratch.borrow_mut();
        let edge = &mut self.edge;
        if let Some(link) = &mut self.link {
            link.drive(cx, now, &mut scratch, &mut |packet, now| {
                edge.packet_arrives(Way::Down, packet, now)
            });
        }
        if let Some(link) = self.silent.as_mut().and_then(|silent| silent.link.as_mut()) {
            link.drive_retired(cx, now);
        }
        let done = |link: &mut Link| link.drive_retired(cx, now) == Retired::Done;
        for link in self.closing.extract_if(.., done).collect::<Vec<_>>() {
            link.shut(cx);
        }
    }

    fn next_due(&self) -> Option<SimTime> {
        // What comes in on a connection that the device has done with is nobody's: waiting for it would be waiting for ever.
        let retired = self
            .closing
            .iter()
            .chain(self.silent.iter().filter_map(|silent| silent.link.as_ref()));
        let device = self.boot_at.or_else(|| self.edge.next_timeout());
        retired
            .map(Link::departure_due)
            .chain(self.link.iter().flat_map(|link| [link.departure_due(), link.arrival_due()]))
            .chain([device, self.download.as_ref().and_then(|download| download.due())])
            .flatten()
            .min()
    }

    fn handle(&mut self, input: DeviceInput, now: SimTime, around: &Surroundings) {
        self.with_edge(now, around, |edge, now, out| edge.handle_input(input, now, out));
    }

    /// The rule of use: call the edge, carry out what it wants.
    fn with_edge(&mut self, now: SimTime, around: &Surroundings, call: impl FnOnce(&mut Edge, SimTime, &mut EdgeOutputs)) {
        let mut outputs = around.outputs.take();
        call(&mut self.edge, now, &mut outputs);
        for output in outputs.drain() {
            self.carry_out(output, now, around);
        }
        around.outputs.replace(outputs);
        if let Some(board) = &mut self.board {
            board.hold(self.edge.is_frozen());
        }
        let carried = self.edge.take_carried();
        if !carried.is_empty() {
            around.report(now, Sighting::Carried(self.index, carried));
        }
        if around.asks_flash {
            self.tell_flash(now, around);
        }
    }

    fn carry_out(&mut self, output: EdgeOutput, now: SimTime, around: &Surroundings) {
        let device = self.index;
        match output {
            EdgeOutput::Device(output) => self.carry_out_for_device(output, now, around),
            EdgeOutput::Sent(packet) => around.report(now, Sighting::Sent(device, packet)),
            EdgeOutput::Late(packet) => self.transmit(packet, now),
            EdgeOutput::Delivered(packet) => around.report(now, Sighting::Delivered(device, packet)),
            EdgeOutput::Requested(request) => around.report(now, Sighting::Requested(device, request)),
            EdgeOutput::Headed(head) => around.report(now, Sighting::Headed(device, head)),
            EdgeOutput::Fault { fault, happening } => around.report(
                now,
                Sighting::Fault {
                    device,
                    fault,
                    happening,
                },
            ),
        }
    }

    fn carry_out_for_device(&mut self, output: DeviceOutput, now: SimTime, around: &Surroundings) {
        match output {
            DeviceOutput::Connect => self.link = Some(self.connect(now, around)),
            DeviceOutput::Disconnect => self.close(),
            DeviceOutput::Transmit(packet) => {
                around.report(now, Sighting::Sent(self.index, packet.clone()));
                self.transmit(packet, now);
            }
            DeviceOutput::StartDownload(request) => {
                around.report(now, Sighting::Requested(self.index, request.clone()));
                self.download = Some(Box::new(self.start_download(request, now, around)));
            }
            DeviceOutput::StopDownload => self.download = None,
            DeviceOutput::Read { bytes } => {
                if let Some(download) = &mut self.download {
                    download.read(bytes);
                }
            }
            DeviceOutput::FallSilent => {
                // Two resets without a CONNACK between them: what is left of the first stays where nothing takes its place.
                let before = self
                    .silent
                    .take()
                    .map_or((None, None), |silent| (silent.link, silent.download));
                self.silent = Some(Box::new(Silent {
                    link: self.link.take().filter(Link::has_socket).or(before.0),
                    download: self.download.take().or(before.1),
                }));
            }
            DeviceOutput::Board(order) => {
                if let Some(board) = &self.board {
                    board.order(order);
                }
            }
            DeviceOutput::Observed(observation) => around.report(now, Sighting::Observed(self.index, observation)),
        }
    }

    fn transmit(&mut self, packet: Packet, now: SimTime) {
        if let Some(link) = &mut self.link {
            let there = self.edge.packet_arrives(Way::Up, &packet, now);
            link.transmit(packet, there);
        }
    }

    fn connect(&mut self, now: SimTime, around: &Surroundings) -> Link {
        let (dialer, broker, device) = (Rc::clone(&around.dialer), Rc::clone(&around.broker), self.index.0);
        let first_packet_there = around.clock.instant(self.edge.first_packet_arrives(now));
        let opening = async move {
            tokio::time::sleep_until(first_packet_there).await;
            dialer.open(&broker, device).await
        };
        Link::new(Box::pin(opening), self.edge.connected_at(now))
    }

    fn start_download(&mut self, request: DownloadRequest, now: SimTime, around: &Surroundings) -> Download {
        let stages = Stages {
            first_packet: self.edge.first_packet_arrives(now),
            request: self.edge.request_arrives(&request, now),
            one_way: self.edge.one_way(),
        };
        Download::start(request, self.index.0, Rc::clone(&around.dialer), around.clock, stages)
    }

    fn close(&mut self) {
        let Some(link) = self.link.take().filter(Link::has_socket) else {
            return;
        };
        if self.closing.len() == CLOSING_MAX {
            self.closing.remove(0);
        }
        self.closing.push(link);
    }

    fn give_up(&mut self) {
        self.broken = true;
        self.board = None;
        self.link = None;
        self.download = None;
        self.silent = None;
        self.closing.clear();
    }
}

/// Keeps a device going until its shard ends. A defect of ours ends this device alone.
pub(crate) async fn keep_going(station: Rc<RefCell<Station>>, around: Rc<Surroundings>) {
    let mut sleep = pin!(tokio::time::sleep_until(around.clock.instant(SimTime::ZERO)));
    let mut armed: Option<SimTime> = None;
    std::future::poll_fn(|cx| {
        loop {
            if let Some(due) = armed
                && sleep.as_mut().poll(cx).is_ready()
            {
                around.gauges.woke_late(around.clock.now().since(due));
                armed = None;
            }
            let next = match catch_unwind(AssertUnwindSafe(|| station.borrow_mut().poll(cx, &around))) {
                Ok(next) => next,
                Err(defect) => {
                    let now = around.clock.now();
                    let index = station.borrow().index;
                    station.borrow_mut().give_up();
                    around.trouble(
                        now,
                        Some(index),
                        format!("device defect at {now}: {}", panic_text(defect.as_ref())),
                    );
                    return Poll::Ready(());
                }
            };
            if next == armed {
                return Poll::Pending;
            }
            armed = next;
            match next {
                Some(due) => sleep.as_mut().reset(around.clock.instant(due)),
                None => return Poll::Pending,
            }
        }
    })
    .await;
}

/// What a panic said.
pub(crate) fn panic_text(defect: &(dyn std::any::Any + Send)) -> String {
    let text = defect.downcast_ref::<String>().map(String::as_str);
    text.or(defect.downcast_ref::<&str>().copied())
        .unwrap_or("no text")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::Write;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::clock::Clock;
    use super::super::stream::{Dialer, Target};
    use crate::device::{Device, LinkLoss};
    use crate::scenario::{Overrides, Source, load};

    const ONE_WAY: Duration = Duration::from_secs(3_600);

    /// A device that is switched off for good.
    fn station() -> Station {
        let scenario =
            "scenario = { duration = \"1s\" }\nfirmware.app = [\"1.0.0\"]\nfleet.one = { count = 1, runs = \"app@1.0.0\" }";
        let plan = load(Source::Stdin(scenario.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
        let (fleet, index) = (&plan.fleets[0], DeviceIndex(0));
        let (config, behaviors) = (Arc::clone(&fleet.config), Arc::clone(&fleet.behaviors));
        let device = Device::new(plan.identity(index), config, behaviors, plan.luck(), fleet.image.clone());
        let edge = Edge::new(device, Arc::clone(&fleet.link));
        let mut station = Station::new(index, edge, SimTime::ZERO);
        station.boot_at = None;
        station
    }

    /// A connection on which a packet is on its way to the device, and one to the server; with its other end.
    async fn busy_link(clock: Clock) -> (Link, std::net::TcpStream) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::parse(&format!("mqtt://{}", listener.local_addr().unwrap())).unwrap();
        let opening = async move { Dialer::new(None, 1, 1, Arc::default()).open(&target, 0).await };
        let mut link = Link::new(Box::pin(opening), SimTime::ZERO);
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let mut drive = async |link: &mut Link| {
            std::future::poll_fn(|cx| {
                while ticks.poll_tick(cx).is_ready() {}
                link.drive(cx, clock.now(), &mut [0; 64], &mut |_, now| now + ONE_WAY);
                link.arrived(clock.now())
                    .map(drop)
                    .or(link.arrival_due().map(drop))
                    .map_or(Poll::Pending, Poll::Ready)
            })
            .await;
        };
        drive(&mut link).await;
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(b"\xd0\x00").unwrap();
        drive(&mut link).await;
        link.transmit(Packet::PingRequest, clock.now() + ONE_WAY);
        (link, peer)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn of_a_connection_that_a_device_has_done_with_only_what_goes_out_is_waited_for() {
        let clock = Clock::starting_in(Duration::ZERO);
        let mut station = station();
        let (link, _peer) = busy_link(clock).await;
        let (comes, goes) = (link.arrival_due().unwrap(), link.departure_due().unwrap());
        assert!(comes < goes);
        station.link = Some(link);
        assert_eq!(station.next_due(), Some(comes));
        station.silent = Some(Box::new(Silent {
            link: station.link.take(),
            download: None,
        }));
        assert_eq!(station.next_due(), Some(goes));
        station.closing = station.silent.take().and_then(|silent| silent.link).into_iter().collect();
        assert_eq!(station.next_due(), Some(goes));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn of_a_connection_that_is_gone_nothing_that_would_go_out_is_waited_for() {
        let clock = Clock::starting_in(Duration::ZERO);
        let (mut link, peer) = busy_link(clock).await;
        drop(peer);
        std::future::poll_fn(|cx| {
            link.drive(cx, clock.now(), &mut [0; 64], &mut |_, now| now + ONE_WAY);
            if link.has_socket() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        assert_eq!(link.departure_due(), None);
        assert!(matches!(link.arrived(clock.now() + 2 * ONE_WAY), Some(Arrival::Packet(_))));
        assert_eq!(link.arrived(clock.now() + 2 * ONE_WAY), Some(Arrival::Lost(LinkLoss::Closed)));
    }
}
