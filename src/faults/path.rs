//! The path of one device as its edge uses it: the link in force, the body under way, when the network is there and when it is not.

use std::sync::Arc;
use std::time::Duration;

use crate::luck::Purpose;
use crate::memory;
use crate::model::Carried;
use crate::time::SimTime;
use crate::wire::overhead::{Traffic, answer_head_len, packet_len, request_len};
use crate::wire::{DownloadRequest, ImageHead, Packet};

use super::flow::Flow;
use super::link::{Draws, Link, Way, longest, on_wire};
use super::profile::{LinkProfile, Sleep};

/// The path of a device. What it draws it draws with the device's key, which is handed in.
#[derive(Debug)]
pub(super) struct Path {
    /// The fleet's profile.
    usual: Arc<LinkProfile>,
    link: Link,
    /// The answer under way.
    flow: Option<Box<Flow>>,
    joins: u32,
    joined_at: SimTime,
    /// MQTT over TLS.
    tls: bool,
    /// The running download's.
    image_tls: bool,
    /// Trouble is over: the link does not drop any more.
    calm: bool,
    /// Few paths have any of it.
    rare: Option<Box<Rare>>,
    /// What has crossed since it was last asked for.
    crossed: Crossed,
}

/// Bytes that crossed between two looks of the driver, which are an event apart: far below 4 GiB.
#[derive(Debug, Default)]
struct Crossed {
    up: u32,
    protocol: u32,
    image: u32,
}

/// What is so of few paths.
#[derive(Debug, Default)]
struct Rare {
    /// The profile that a fault has put in the place of the usual one.
    instead: Option<Arc<LinkProfile>>,
    /// When the device sleeps.
    times: Option<Sleep>,
    /// First power-on; times of sleep count from it.
    since: Option<SimTime>,
    /// Spells in which it is away, in order.
    away: Box<[(SimTime, SimTime)]>,
}

impl Rare {
    /// The device neither sleeps nor is ever away.
    fn never_leaves(&self) -> bool {
        self.times.is_none() && self.away.is_empty()
    }
}

impl Path {
    pub(super) fn new(profile: Arc<LinkProfile>, tls: bool) -> Path {
        Path {
            usual: profile,
            link: Link::default(),
            flow: None,
            joins: 0,
            joined_at: SimTime::ZERO,
            tls,
            image_tls: tls,
            calm: false,
            rare: None,
            crossed: Crossed::default(),
        }
    }

    /// Has the answer under way ready, of which more soon comes.
    pub(super) fn fetch_flow(&self) {
        if let Some(flow) = &self.flow {
            memory::fetch(&**flow);
        }
    }

    /// An application has started; its network comes later.
    pub(super) fn join(&mut self, now: SimTime, draws: Draws) {
        let Draws { luck, device } = draws;
        let ordinal = u64::from(self.joins);
        self.joins = self.joins.wrapping_add(1);
        self.joined_at = now + luck.duration(Purpose::LinkJoin, device, ordinal, self.profile().join.clone());
    }

    /// When the network is there for what is wanted at `now`.
    pub(super) fn joined(&self, now: SimTime) -> SimTime {
        now.max(self.joined_at)
    }

    /// The usual time of one message in one direction.
    pub(super) fn one_way(&self) -> Duration {
        self.profile().latency.median()
    }

    /// When the handshakes of an MQTT connection that is wanted at `now` are done.
    pub(super) fn connected_at(&mut self, now: SimTime, draws: Draws) -> SimTime {
        let from = now.max(self.joined_at);
        self.connects(self.tls);
        let profile = in_force(&self.rare, &self.usual);
        from + self.link.handshake(profile, self.tls, now, draws)
    }

    /// When an MQTT packet that leaves at `now` arrives.
    pub(super) fn packet(&mut self, way: Way, packet: &Packet, now: SimTime, draws: Draws) -> SimTime {
        let profile = in_force(&self.rare, &self.usual);
        let passage = self.link.packet(profile, way, self.tls, packet_len(packet), now, draws);
        match way {
            Way::Up => self.crossed.up += passage.on_wire as u32,
            Way::Down => self.crossed.protocol += passage.on_wire as u32,
        }
        if let (Way::Down, Some(flow)) = (way, &mut self.flow) {
            flow.make_way(passage.begins, passage.left.since(passage.begins));
        }
        passage.arrives
    }

    /// The longest that a PINGREQ and its answer are under way together where nothing else is; `None` if something is at `at`, if another
    /// profile is in force, or if packets use up a quota.
    pub(super) fn longest_ping(&self, at: SimTime) -> Option<Duration> {
        let replaced = self.rare.as_ref().is_some_and(|rare| rare.instead.is_some());
        if replaced || self.usual.quota.is_some() || !self.link.is_clear(at) {
            return None;
        }
        let way = |way, packet: &Packet| longest(&self.usual, way, self.tls, packet_len(packet));
        Some(way(Way::Up, &Packet::PingRequest) + way(Way::Down, &Packet::PingResponse))
    }

    /// So many PINGREQs went up and were answered, each before the next.
    pub(super) fn pings(&mut self, number: u32) {
        let on_wire = |packet: &Packet| on_wire(self.tls, packet_len(packet)) as u32 * number;
        self.crossed.up += on_wire(&Packet::PingRequest);
        self.crossed.protocol += on_wire(&Packet::PingResponse);
        self.link.passed(number);
    }

    /// Time for the handshakes of a download.
    pub(super) fn image_handshake(&mut self, tls: bool, now: SimTime, draws: Draws) -> Duration {
        self.connects(tls);
        let profile = in_force(&self.rare, &self.usual);
        self.link.handshake(profile, tls, now, draws)
    }

    fn connects(&mut self, tls: bool) {
        let traffic = Traffic::connecting(tls);
        self.crossed.up += traffic.sent as u32;
        self.crossed.protocol += traffic.received as u32;
    }

    /// What has crossed since this was last asked.
    pub(super) fn take_carried(&mut self) -> Carried {
        let Crossed { up, protocol, image } = std::mem::take(&mut self.crossed);
        Carried {
            up: up.into(),
            protocol: protocol.into(),
            image: image.into(),
            wasted: 0,
        }
    }

    /// When an image request that is wanted at `now` is at the server.
    pub(super) fn request(&mut self, request: &DownloadRequest, now: SimTime, draws: Draws) -> SimTime {
        self.image_tls = request.target.tls;
        self.flow = None;
        let from = now.max(self.joined_at);
        let handshake = self.image_handshake(self.image_tls, now, draws);
        let profile = in_force(&self.rare, &self.usual);
        self.crossed.up += on_wire(self.image_tls, request_len(request)) as u32;
        let asking = self.link.request(profile, self.image_tls, request_len(request), now, draws);
        from + handshake + asking
    }

    /// When the head of an image answer that leaves at `now` arrives; the body follows it, no faster than `slow` bits a second.
    pub(super) fn head(&mut self, head: &ImageHead, slow: Option<u64>, now: SimTime, draws: Draws) -> SimTime {
        let profile = in_force(&self.rare, &self.usual);
        let passage = self.link.head(profile, self.image_tls, answer_head_len(head), now, draws);
        self.crossed.protocol += passage.on_wire as u32;
        let flow = Flow::behind(
            passage,
            profile,
            self.link.requests(),
            self.image_tls,
            head.content_length,
            slow,
            draws,
        );
        self.flow = Some(Box::new(flow));
        passage.arrives
    }

    /// Bytes of the body that can still come; all there are where nothing is known of it.
    pub(super) fn rest(&self) -> u64 {
        self.flow.as_ref().map_or(u64::MAX, |flow| flow.rest())
    }

    /// When `bytes` more of the body have arrived.
    pub(super) fn arrival(&self, bytes: u64) -> SimTime {
        self.flow.as_ref().map_or(SimTime::ZERO, |flow| flow.arrival(bytes))
    }

    /// The device has read this much of the body.
    pub(super) fn read(&mut self, bytes: u64, now: SimTime, draws: Draws) {
        let profile = in_force(&self.rare, &self.usual);
        if let Some(flow) = &mut self.flow {
            let free = self.link.down_free_at();
            let on_wire = flow.read(bytes, profile, now, free, draws);
            self.link.charge(profile, on_wire, now);
            self.crossed.image += bytes as u32;
            self.crossed.protocol += on_wire.saturating_sub(bytes) as u32;
        }
    }

    /// From here on the body comes no faster.
    pub(super) fn slow_down(&mut self, rate: u64) {
        if let Some(flow) = &mut self.flow {
            flow.slow = Some(rate);
        }
    }

    /// The answer is over.
    pub(super) fn answered(&mut self) {
        self.flow = None;
    }

    /// Another MQTT connection takes the place of the last one.
    pub(super) fn reconnects(&mut self, now: SimTime) {
        self.link.cleared(now);
    }

    /// Connections are gone, and what was under way with them.
    pub(super) fn cleared(&mut self, now: SimTime) {
        self.link.cleared(now);
        self.flow = None;
    }

    /// Another profile is in force, or the fleet's again.
    pub(super) fn replace(&mut self, profile: Option<Arc<LinkProfile>>) {
        if profile.is_some() || self.rare.is_some() {
            self.rare.get_or_insert_default().instead = profile;
        }
    }

    /// Trouble is over.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
    }

    /// The device sleeps.
    pub(super) fn set_sleep(&mut self, sleep: Option<Sleep>) {
        if sleep.is_some() {
            self.rare.get_or_insert_default().times = sleep;
        }
    }

    /// The device is away in these spells, which are in order.
    pub(super) fn set_away(&mut self, away: Box<[(SimTime, SimTime)]>) {
        if !away.is_empty() {
            self.rare.get_or_insert_default().away = away;
        }
    }

    /// Power is there; sleep counts from the first time.
    pub(super) fn powered(&mut self, now: SimTime) {
        if let Some(rare) = &mut self.rare {
            rare.since.get_or_insert(now);
        }
    }

    /// Until when the device sleeps or is away, if it does or is: it does not try to connect then.
    pub(super) fn asleep_until(&self, now: SimTime) -> Option<SimTime> {
        let rare = self.rare.as_ref()?;
        let sleep = rare.times.zip(rare.since).and_then(|(times, since)| times.until(since, now));
        let spell = rare.away.partition_point(|(_, until)| *until <= now);
        let away = rare.away.get(spell).filter(|(from, _)| *from <= now);
        sleep.max(away.map(|(_, until)| *until))
    }

    /// What is wanted of the network has to wait until then.
    pub(super) fn joins_at(&mut self, at: SimTime) {
        self.joined_at = self.joined_at.max(at);
    }

    /// True if neither the profile, nor sleep, nor absence ever takes the link down.
    pub(super) fn is_steady(&self) -> bool {
        let profile = self.profile();
        profile.drops.is_none() && profile.quota.is_none() && self.rare.as_ref().is_none_or(|rare| rare.never_leaves())
    }

    /// True if what crosses may take the link down.
    pub(super) fn is_metered(&self) -> bool {
        self.profile().quota.is_some()
    }

    /// Until when profile, sleep or absence have taken the link down, if they have.
    pub(super) fn down_until(&self, now: SimTime, draws: Draws) -> Option<SimTime> {
        let profile = self.link.down_until(self.profile(), self.calm, now, draws);
        profile.max(self.asleep_until(now))
    }

    /// When that changes next by time alone.
    pub(super) fn changes_at(&self, now: SimTime, draws: Draws) -> Option<SimTime> {
        let drop = || Link::next_drop(self.profile(), now, draws).filter(|_| !self.calm);
        let sleeps = || {
            let rare = self.rare.as_ref()?;
            Some(rare.times?.changes_at(rare.since?, now))
        };
        let leaves = || {
            let away = &self.rare.as_ref()?.away;
            let spell = away.partition_point(|(from, _)| *from <= now);
            away.get(spell).map(|(from, _)| *from)
        };
        let next = || [drop(), sleeps(), leaves()].into_iter().flatten().min();
        self.down_until(now, draws).or_else(next)
    }

    fn profile(&self) -> &LinkProfile {
        in_force(&self.rare, &self.usual)
    }
}

/// The profile that counts.
fn in_force<'a>(rare: &'a Option<Box<Rare>>, usual: &'a Arc<LinkProfile>) -> &'a LinkProfile {
    rare.as_ref().and_then(|rare| rare.instead.as_ref()).unwrap_or(usual)
}
