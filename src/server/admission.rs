//! Admission: who may come in, and how much may go out, decided before anything is spent on it.
//!
//! It counts what is there and paces what comes, with time as an argument, so that both modes refuse alike. Of devices and attempts it
//! knows nothing; a driver asks it at the door of a listener, and shows it every image answer before it is written.

use std::time::Duration;

use bytes::Bytes;

use crate::time::SimTime;
use crate::wire::ImageAnswer;

use super::limits::Limits;

/// How much of a rate may come at once.
const BURST: Duration = Duration::from_secs(1);

/// Where a connection comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// MQTT.
    Mqtt,
    /// Images over HTTP.
    Images,
}

/// Why somebody was turned away, or put out later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// More connections than are allowed.
    Connections,
    /// Connections came too fast.
    Connects,
    /// The process has no descriptors left but those it needs itself.
    Descriptors,
    /// More downloads than are allowed.
    Downloads,
    /// More image bytes than are allowed.
    Egress,
    /// The TLS handshake failed, or took too long.
    Handshake,
    /// No CONNECT came in time.
    NoConnect,
    /// CONNECT named no device, or not the ingest key.
    Credentials,
    /// Nothing came for one and a half times the keep-alive.
    Silent,
    /// A packet was too long.
    Packet,
    /// What came is no MQTT.
    Malformed,
    /// What was sent was not read.
    Unread,
    /// The head of an HTTP request was too long.
    Header,
    /// The body of an HTTP request was too long, or came too slowly.
    Body,
    /// More connections to the management API than are allowed.
    Management,
}

/// How often somebody was turned away, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals([u64; Refusal::ALL.len()]);

/// The gate of a server.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    /// Connections that the process can hold over both doors.
    descriptors: u64,
    doors: [Doorway; 2],
    downloads: u64,
    egress: Pace,
    accepted: u64,
    refusals: Refusals,
}

/// One listener.
#[derive(Debug, Default)]
struct Doorway {
    inside: u64,
    pace: Pace,
}

/// A rate that is kept by running into debt, which time pays off.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// When nothing is owed.
    even_at: SimTime,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Refusal; 15] = [
        Refusal::Connections,
        Refusal::Connects,
        Refusal::Descriptors,
        Refusal::Downloads,
        Refusal::Egress,
        Refusal::Handshake,
        Refusal::NoConnect,
        Refusal::Credentials,
        Refusal::Silent,
        Refusal::Packet,
        Refusal::Malformed,
        Refusal::Unread,
        Refusal::Header,
        Refusal::Body,
        Refusal::Management,
    ];

    /// Its name in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Refusal::Connections => "connections",
            Refusal::Connects => "connects",
            Refusal::Descriptors => "descriptors",
            Refusal::Downloads => "downloads",
            Refusal::Egress => "egress",
            Refusal::Handshake => "handshake",
            Refusal::NoConnect => "no-connect",
            Refusal::Credentials => "credentials",
            Refusal::Silent => "silent",
            Refusal::Packet => "packet",
            Refusal::Malformed => "malformed",
            Refusal::Unread => "unread",
            Refusal::Header => "header",
            Refusal::Body => "body",
            Refusal::Management => "management",
        }
    }
}

impl Refusals {
    /// Counts one.
    pub fn count(&mut self, why: Refusal) {
        self.0[why as usize] += 1;
    }

    /// How often for this reason.
    pub fn of(&self, why: Refusal) -> u64 {
        self.0[why as usize]
    }

    /// Both counts together.
    #[must_use]
    pub fn with(mut self, other: &Refusals) -> Refusals {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
        self
    }
}

impl Admission {
    /// An open door with nobody inside. `descriptors` bounds the connections of both doors together.
    pub fn new(limits: Limits, descriptors: u64) -> Admission {
        Admission {
            limits,
            descriptors,
            doors: [Doorway::default(), Doorway::default()],
            downloads: 0,
            egress: Pace::default(),
            accepted: 0,
            refusals: Refusals::default(),
        }
    }

    /// Lets a connection in, or not; one that is let in is told of by [`Admission::leave`] when it is gone.
    ///
    /// # Errors
    /// Why not.
    pub fn enter(&mut self, door: Door, now: SimTime) -> Result<(), Refusal> {
        let why = self.bar(door, now);
        match why {
            Some(why) => {
                self.refusals.count(why);
                Err(why)
            }
            None => {
                self.doors[door as usize].inside += 1;
                self.accepted += 1;
                Ok(())
            }
        }
    }

    /// A connection is gone.
    pub fn leave(&mut self, door: Door) {
        self.doors[door as usize].inside -= 1;
    }

    /// What is answered in place of `answer`: itself, or 503 where downloads or bytes are too many. True if a download begins, which
    /// [`Admission::download_over`] ends.
    pub fn answer(&mut self, answer: ImageAnswer, now: SimTime) -> (ImageAnswer, bool) {
        if answer.body.is_empty() {
            return (answer, false);
        }
        let full = self.limits.downloads.is_some_and(|most| self.downloads >= most);
        let why = match full {
            true => Some(Refusal::Downloads),
            false => self.limits.egress.and_then(|bits_a_second| {
                let nanos = answer.body.len() as u128 * 8 * 1_000_000_000 / u128::from(bits_a_second);
                (!self.egress.take(whole_nanos(nanos), now)).then_some(Refusal::Egress)
            }),
        };
        if let Some(why) = why {
            self.refusals.count(why);
            return (busy(), false);
        }
        self.downloads += 1;
        (answer, true)
    }

    /// A download has ended in whatever way.
    pub fn download_over(&mut self) {
        self.downloads -= 1;
    }

    /// Counts a connection that was put out after it had been let in.
    pub fn put_out(&mut self, why: Refusal) {
        self.refusals.count(why);
    }

    /// How often somebody was turned away so far.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Connections let in so far.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Connections inside a door.
    pub fn inside(&self, door: Door) -> u64 {
        self.doors[door as usize].inside
    }

    /// Downloads under way.
    pub fn downloads(&self) -> u64 {
        self.downloads
    }

    fn bar(&mut self, door: Door, now: SimTime) -> Option<Refusal> {
        let all: u64 = self.doors.iter().map(|doorway| doorway.inside).sum();
        let doorway = &mut self.doors[door as usize];
        if all >= self.descriptors {
            return Some(Refusal::Descriptors);
        }
        if self.limits.connections.is_some_and(|most| doorway.inside >= most) {
            return Some(Refusal::Connections);
        }
        let cost = self.limits.connects.and_then(|rate| rate.due(1));
        cost.is_some_and(|cost| !doorway.pace.take(cost, now))
            .then_some(Refusal::Connects)
    }
}

impl Pace {
    /// Takes what the rate gives in `cost`; false while more than a burst is owed.
    fn take(&mut self, cost: Duration, now: SimTime) -> bool {
        let from = self.even_at.max(now);
        let may = from.since(now) < BURST;
        if may {
            self.even_at = from + cost;
        }
        may
    }
}

fn whole_nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// 503: a device tries again later (protocol 5.4).
fn busy() -> ImageAnswer {
    ImageAnswer {
        status: 503,
        content_range: None,
        unsatisfied_total: None,
        body: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(written: &[&str]) -> Admission {
        let mut limits = Limits::open();
        written.iter().for_each(|limit| limits.set(limit).unwrap());
        Admission::new(limits, 1_000)
    }

    fn image(bytes: usize) -> ImageAnswer {
        ImageAnswer {
            status: 200,
            body: Bytes::from(vec![0; bytes]),
            ..busy()
        }
    }

    #[test]
    fn a_full_room_lets_in_as_many_as_leave() {
        let mut gate = admission(&["connections=2"]);
        let enter = |gate: &mut Admission| gate.enter(Door::Mqtt, SimTime::ZERO);
        assert_eq!(
            [(); 3].map(|()| enter(&mut gate)),
            [Ok(()), Ok(()), Err(Refusal::Connections)]
        );
        assert_eq!(
            gate.enter(Door::Images, SimTime::ZERO),
            Ok(()),
            "each door has a room of its own"
        );
        gate.leave(Door::Mqtt);
        assert_eq!([(); 2].map(|()| enter(&mut gate)), [Ok(()), Err(Refusal::Connections)]);
        assert_eq!((gate.refusals().of(Refusal::Connections), gate.accepted()), (2, 4));
    }

    #[test]
    fn a_rate_holds_over_time_and_gives_a_burst_of_a_second() {
        let mut gate = admission(&["connects=10/s"]);
        let mut let_in = |at: Duration| {
            let tries = (0..100).filter(|_| gate.enter(Door::Mqtt, SimTime::ZERO + at).is_ok());
            tries.count()
        };
        assert_eq!(let_in(Duration::ZERO), 10);
        assert_eq!(let_in(Duration::from_millis(100)), 1);
        assert_eq!(let_in(Duration::from_millis(1_100)), 10);
        let later: usize = (12..112).map(|tenths| let_in(Duration::from_millis(tenths * 100))).sum();
        assert_eq!(later, 100, "a hundred tenths of a second at ten a second");
        assert_eq!(gate.refusals().of(Refusal::Connects), 10_300 - 121);
    }

    #[test]
    fn descriptors_are_shared_by_both_doors() {
        let mut gate = Admission::new(Limits::open(), 1);
        assert_eq!(gate.enter(Door::Images, SimTime::ZERO), Ok(()));
        assert_eq!(gate.enter(Door::Mqtt, SimTime::ZERO), Err(Refusal::Descriptors));
    }

    #[test]
    fn downloads_beyond_their_number_are_answered_503_until_one_ends() {
        let mut gate = admission(&["downloads=1"]);
        let (answer, begun) = gate.answer(image(10), SimTime::ZERO);
        assert_eq!((answer.status, begun), (200, true));
        let (answer, begun) = gate.answer(image(10), SimTime::ZERO);
        assert_eq!((answer.status, answer.body.len(), begun), (503, 0, false));
        let refused = ImageAnswer { status: 403, ..busy() };
        assert_eq!(gate.answer(refused.clone(), SimTime::ZERO), (refused, false));
        gate.download_over();
        assert!(gate.answer(image(10), SimTime::ZERO).1);
    }

    #[test]
    fn image_bytes_are_paced_by_the_debt_of_those_before() {
        let mut gate = admission(&["egress=1 KiB/s"]);
        let mut status = |ms| {
            let at = SimTime::ZERO + Duration::from_millis(ms);
            gate.answer(image(4 << 10), at).0.status
        };
        // Four seconds' worth each: the next begins when no more than one of them is owed.
        assert_eq!([0, 2_999, 3_001, 6_999, 7_002].map(&mut status), [200, 503, 200, 503, 200]);
        assert_eq!(gate.refusals().of(Refusal::Egress), 2);
    }
}
