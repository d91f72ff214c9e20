//! Connections: who is on the other end, what it subscribed to, what is unacknowledged, and when it has been silent for too long.
//!
//! Nothing here outlives a connection. Keep-alive is lazy: a packet only notes the time, and the connection's one wake is put off when
//! its slot is opened, or looks whether it came too early; so a packet costs no reordering of timers.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::model::{AttemptId, Few};
use crate::time::SimTime;
use crate::wire::QoS;

use super::io::ConnectionId;
use super::record::DeviceNumber;
use super::table::ByConnection;
use super::wakes::Wakes;

/// Every connection, and when to look at which.
#[derive(Debug)]
pub(super) struct Connections {
    /// How long a new connection may take to its CONNECT.
    connect_time: Duration,
    /// How long a client may be silent at most; one that turned keep-alive off may be so long.
    silence_max: Duration,
    open: ByConnection<Connection>,
    by_device: Vec<Standing>,
    wakes: Wakes,
    online: u64,
}

/// What a wake is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// Look whether the connection has been silent for too long.
    Silence(ConnectionId),
    /// Ask for missing results.
    Chase(ConnectionId),
}

impl Wake {
    /// The connection that it is for.
    fn connection(self) -> ConnectionId {
        match self {
            Wake::Silence(id) | Wake::Chase(id) => id,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Whose, once CONNECT was accepted.
    pub device: Option<DeviceNumber>,
    /// Quality of service granted for the OTA topic; `None` while not subscribed.
    ota: Option<QoS>,
    heard_at: SimTime,
    /// Longest silence, milliseconds.
    silence_ms: u32,
    silence_wake: Option<SimTime>,
    chase_wake: Option<SimTime>,
    last_packet: u16,
    /// One of a kind; most connections see manifests alone.
    flights: Few<Flight>,
}

/// The connection of a device, if it has one: its id and one.
#[derive(Clone, Copy, Debug, Default)]
struct Standing(Option<NonZeroU64>);

impl Standing {
    fn on(id: ConnectionId) -> Standing {
        Standing(Some(NonZeroU64::MIN.saturating_add(id.0)))
    }

    fn connection(self) -> Option<ConnectionId> {
        self.0.map(|number| ConnectionId(number.get() - 1))
    }
}

/// Kinds of message to a device, each of which has at most one packet unacknowledged: what is in flight is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Manifest,
    Cancel,
    Report,
}

/// The last message of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flight {
    kind: Kind,
    attempt: AttemptId,
    canceled: bool,
    packet: u16,
    acknowledged: bool,
}

/// How a message is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub qos: QoS,
    pub packet: u16,
    /// The same message stands unacknowledged.
    pub dup: bool,
}

impl Connections {
    pub fn new(connect_time: Duration, silence_max: Duration) -> Self {
        Connections {
            connect_time,
            silence_max,
            open: ByConnection::default(),
            by_device: Vec::new(),
            wakes: Wakes::default(),
            online: 0,
        }
    }

    pub fn open(&mut self, id: ConnectionId, now: SimTime) {
        self.remove(id);
        self.open.insert(
            id,
            Connection {
                device: None,
                ota: None,
                heard_at: now,
                silence_ms: millis(self.connect_time),
                silence_wake: None,
                chase_wake: None,
                last_packet: 0,
                flights: Few::None,
            },
        );
        self.watch(id);
    }

    /// Forgets a connection and its wakes.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.open.remove(id)?;
        self.skip_unwanted_of(id);
        if let Some(device) = connection.device {
            self.by_device[device.0 as usize] = Standing::default();
        }
        self.online -= u64::from(connection.ota.is_some());
        Some(connection)
    }

    /// Says whose a connection is, and how long it may be silent from here on.
    pub fn authenticate(&mut self, id: ConnectionId, device: DeviceNumber, keep_alive_s: u16) {
        let place = device.0 as usize;
        if self.by_device.len() <= place {
            self.by_device
                .reserve_exact((place + 1 - self.by_device.len()).max(place / 8));
            self.by_device.resize(place + 1, Standing::default());
        }
        self.by_device[place] = Standing::on(id);
        if let Some(connection) = self.open.change(id) {
            connection.device = Some(device);
            connection.silence_ms = millis(match keep_alive_s {
                0 => self.silence_max,
                seconds => Duration::from_millis(u64::from(seconds) * 1500).min(self.silence_max),
            });
            connection.silence_wake = None;
        }
        self.watch(id);
        self.skip_unwanted_of(id);
    }

    /// Grants or withdraws the OTA topic.
    pub fn subscribe(&mut self, id: ConnectionId, ota: Option<QoS>) {
        if let Some(connection) = self.open.change(id) {
            self.online -= u64::from(connection.ota.is_some());
            self.online += u64::from(ota.is_some());
            connection.ota = ota;
            connection.flights = Few::None;
        }
        self.chase(id, None);
    }

    /// Notes that something came at `now`, and says from whom; `None` for a connection that is closed.
    pub fn hear(&mut self, id: ConnectionId, now: SimTime) -> Option<Option<DeviceNumber>> {
        let connection = self.open.change(id)?;
        connection.heard_at = now;
        Some(connection.device)
    }

    /// Stamps a message to a device; `None` if it is not subscribed. A message that stands unacknowledged is repeated under its
    /// packet identifier.
    pub fn stamp(&mut self, id: ConnectionId, kind: Kind, attempt: AttemptId, canceled: bool) -> Option<Stamp> {
        let connection = self.open.change(id)?;
        let qos = connection.ota?;
        if qos == QoS::AtMostOnce {
            let packet = 0;
            return Some(Stamp { qos, packet, dup: false });
        }
        let standing = connection
            .flight(kind)
            .copied()
            .filter(|flight| !flight.acknowledged && (flight.attempt, flight.canceled) == (attempt, canceled));
        let packet = standing.map_or_else(|| connection.next_packet(), |flight| flight.packet);
        connection.fly(Flight {
            kind,
            attempt,
            canceled,
            packet,
            acknowledged: false,
        });
        let dup = standing.is_some();
        Some(Stamp { qos, packet, dup })
    }

    /// Takes in a PUBACK.
    pub fn acknowledge(&mut self, id: ConnectionId, packet: u16) {
        if let Some(connection) = self.open.change(id) {
            let flights = connection.flights.iter_mut();
            flights
                .filter(|flight| flight.packet == packet)
                .for_each(|flight| flight.acknowledged = true);
        }
    }

    /// Notes that the device holds the manifest of `attempt`, whatever it acknowledged: its report proves it.
    pub fn prove_manifest(&mut self, id: ConnectionId, attempt: AttemptId) {
        if let Some(connection) = self.open.change(id)
            && let Some(flight) = connection.flight_mut(Kind::Manifest)
            && flight.attempt == attempt
        {
            flight.acknowledged = true;
        }
    }

    /// True if the manifest of `attempt` was sent on this connection and has arrived.
    pub fn has_manifest(&self, id: ConnectionId, attempt: AttemptId) -> bool {
        let flight = self.open.get(id).and_then(|connection| connection.flight(Kind::Manifest));
        flight.is_some_and(|flight| flight.attempt == attempt && flight.acknowledged)
    }

    /// Sets or clears the moment at which missing results are asked for.
    pub fn chase(&mut self, id: ConnectionId, at: Option<SimTime>) {
        if let Some(connection) = self.open.change(id) {
            connection.chase_wake = at;
            if let Some(at) = at {
                self.plan(at, Wake::Chase(id));
            }
            self.skip_unwanted_of(id);
        }
    }

    /// The next wake that is due at `now` and still wanted, taken off.
    pub fn due(&mut self, now: SimTime) -> Option<Wake> {
        let (_, wake) = self.wakes.first().filter(|(at, _)| *at <= now)?;
        self.wakes.take_first();
        if let Some(armed) = armed(&mut self.open, wake) {
            *armed = None;
        }
        self.skip_unwanted();
        Some(wake)
    }

    /// A wake of this connection may have been called off: takes it off if it would come next.
    fn skip_unwanted_of(&mut self, id: ConnectionId) {
        if self.wakes.first().is_some_and(|(_, wake)| wake.connection() == id) {
            self.skip_unwanted();
        }
    }

    /// Takes off what was called off and would come next; opens slots until one has something.
    fn skip_unwanted(&mut self) {
        loop {
            while let Some((at, wake)) = self.wakes.first() {
                if armed(&mut self.open, wake).is_some_and(|armed| *armed == Some(at)) {
                    return;
                }
                self.wakes.take_first();
            }
            let open = &mut self.open;
            if !self.wakes.open_next(|at, wake| put_off(open, wake, at)) {
                return;
            }
        }
    }

    /// Plans a look; one that comes next has to be known at once.
    fn plan(&mut self, at: SimTime, wake: Wake) {
        self.wakes.add(at, wake);
        if self.wakes.first().is_none() {
            self.skip_unwanted();
        }
    }

    /// True if the connection has been silent for too long; arms its next look if not.
    pub fn is_silent(&mut self, id: ConnectionId, now: SimTime) -> bool {
        let silent = self.open.get(id).is_some_and(|connection| connection.silent_from() <= now);
        if !silent {
            self.watch(id);
        }
        silent
    }

    /// Leaves an authenticated connection alone until [`Connections::stir`], if it may be silent for as long as `silence`.
    pub fn rest(&mut self, id: ConnectionId, silence: Duration) -> bool {
        let connection = self.open.change(id);
        let Some(connection) = connection.filter(|open| open.device.is_some() && millis(silence) < open.silence_ms) else {
            return false;
        };
        connection.silence_wake = None;
        self.skip_unwanted_of(id);
        true
    }

    /// Watches a connection again that was left alone, and was last heard at `heard_at` if it was heard at all.
    pub fn stir(&mut self, id: ConnectionId, heard_at: Option<SimTime>) {
        if let Some(connection) = self.open.change(id) {
            connection.heard_at = heard_at.map_or(connection.heard_at, |at| connection.heard_at.max(at));
            self.watch(id);
        }
    }

    pub fn next_wake(&self) -> Option<SimTime> {
        self.wakes.first().map(|(at, _)| at)
    }

    /// Has ready what is kept of a connection, in two steps.
    pub fn fetch(&self, id: ConnectionId) {
        self.open.fetch(id);
    }

    /// The second step.
    pub fn fetch_more(&self, id: ConnectionId) {
        self.open.fetch_value(id);
    }

    pub fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.open.get(id)
    }

    /// The connection of a device.
    pub fn of(&self, device: DeviceNumber) -> Option<ConnectionId> {
        self.by_device.get(device.0 as usize)?.connection()
    }

    /// The connection of a device that is subscribed to its OTA topic.
    pub fn online(&self, device: DeviceNumber) -> Option<ConnectionId> {
        self.of(device)
            .filter(|id| self.open.get(*id).is_some_and(|connection| connection.ota.is_some()))
    }

    /// How many connections there are, and how many devices are online.
    pub fn counts(&self) -> (u64, u64) {
        (self.open.len() as u64, self.online)
    }

    fn watch(&mut self, id: ConnectionId) {
        if let Some(connection) = self.open.change(id) {
            let at = connection.silent_from();
            connection.silence_wake = Some(at);
            self.plan(at, Wake::Silence(id));
        }
    }
}

/// When the look that `wake` stands for is wanted.
fn armed(open: &mut ByConnection<Connection>, wake: Wake) -> Option<&mut Option<SimTime>> {
    match wake {
        Wake::Silence(id) => open.change(id).map(|connection| &mut connection.silence_wake),
        Wake::Chase(id) => open.change(id).map(|connection| &mut connection.chase_wake),
    }
}

/// When a look planned for `at` is wanted now that its time draws near: as much later as the connection was heard meanwhile.
fn put_off(open: &mut ByConnection<Connection>, wake: Wake, at: SimTime) -> Option<SimTime> {
    let connection = open.change(wake.connection())?;
    match wake {
        Wake::Silence(_) => {
            connection.silence_wake.filter(|armed| *armed == at)?;
            connection.silence_wake = Some(connection.silent_from());
            connection.silence_wake
        }
        Wake::Chase(_) => connection.chase_wake.filter(|armed| *armed == at),
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

impl Connection {
    /// When it has been silent for too long.
    fn silent_from(&self) -> SimTime {
        self.heard_at + Duration::from_millis(u64::from(self.silence_ms))
    }

    /// When it is looked at next, because it is silent or because results are missing.
    pub fn wakes_at(&self) -> SimTime {
        self.chase_wake
            .map_or(self.silent_from(), |chase| chase.min(self.silent_from()))
    }

    fn flight(&self, kind: Kind) -> Option<&Flight> {
        self.flights.iter().find(|flight| flight.kind == kind)
    }

    fn flight_mut(&mut self, kind: Kind) -> Option<&mut Flight> {
        self.flights.iter_mut().find(|flight| flight.kind == kind)
    }

    /// The last message of its kind is this one.
    fn fly(&mut self, flight: Flight) {
        match self.flight_mut(flight.kind) {
            Some(last) => *last = flight,
            None => self.flights.push(flight),
        }
    }

    /// A packet identifier that is neither zero nor in flight.
    fn next_packet(&mut self) -> u16 {
        loop {
            self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
            if !self.flights.iter().any(|flight| flight.packet == self.last_packet) {
                return self.last_packet;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 56, "{}", size_of::<Connection>());
    }
}
