//! One MQTT connection of a device behind its modelled path: packets go out and come in after the link's delay, in order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::device::LinkLoss;
use crate::time::SimTime;
use crate::wire::Packet;

use super::mqtt;
use super::stream::{OpenError, Stream};

/// Packets that wait for a device before its socket is left unread.
const INBOUND_MAX: usize = 1_024;
/// Bytes that wait for a server that does not read before the connection is given up.
const UNSENT_MAX: usize = 1024 * 1024;

/// Opens the connection; boxed, because few devices are connecting at any moment.
pub(crate) type Opening = Pin<Box<dyn Future<Output = Result<Stream, OpenError>>>>;

/// What a device gets from its connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// TCP and TLS are up.
    Up,
    /// A packet.
    Packet(Packet),
    /// It is gone; nothing comes after this.
    Lost(LinkLoss),
}

/// Says when a packet that comes from the server at a moment reaches the device; the modelled path stands behind it.
pub(crate) type Crossing<'c> = &'c mut dyn FnMut(&Packet, SimTime) -> SimTime;

/// A connection.
pub(crate) struct Link {
    state: State,
    /// When the handshakes are done on the modelled path, at the earliest.
    up_at: SimTime,
    inbound: VecDeque<(SimTime, Arrival)>,
    outbound: VecDeque<(SimTime, Packet)>,
    unread: BytesMut,
    unsent: BytesMut,
}

enum State {
    Opening(Opening),
    Open(Stream),
    Closed,
}

/// Whether a connection that its device has done with is still needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retired {
    /// It has packets on their way.
    Busy,
    /// All is said.
    Done,
}

impl Link {
    /// A connection that begins with `opening`, and that the device knows of at `up_at` at the earliest.
    pub fn new(opening: Opening, up_at: SimTime) -> Link {
        Link {
            state: State::Opening(opening),
            up_at,
            inbound: VecDeque::new(),
            outbound: VecDeque::new(),
            unread: BytesMut::new(),
            unsent: BytesMut::new(),
        }
    }

    /// Hands over a packet that reaches the server at `there`.
    pub fn transmit(&mut self, packet: Packet, there: SimTime) {
        self.outbound.push_back((there, packet));
    }

    /// Moves bytes as far as they go. `scratch` is room for reading, shared by a shard.
    pub fn drive(&mut self, cx: &mut Context<'_>, now: SimTime, scratch: &mut [u8], crossing: Crossing<'_>) {
        if let State::Opening(opening) = &mut self.state
            && let Poll::Ready(opened) = opening.as_mut().poll(cx)
        {
            self.on_opened(opened, now);
        }
        if let Err(loss) = self.send(cx, now).and_then(|()| self.receive(cx, now, scratch, crossing)) {
            // The end of a connection travels like its last packet.
            self.state = State::Closed;
            self.inbound
                .push_back((crossing(&Packet::Disconnect, now), Arrival::Lost(loss)));
        }
    }

    /// What has arrived by `now`.
    pub fn arrived(&mut self, now: SimTime) -> Option<Arrival> {
        let (due, _) = self.inbound.front()?;
        if *due > now {
            return None;
        }
        let arrival = self.inbound.pop_front().map(|(_, arrival)| arrival);
        if self.inbound.is_empty() {
            self.inbound = VecDeque::new();
        }
        arrival
    }

    /// When something arrives next.
    pub fn arrival_due(&self) -> Option<SimTime> {
        self.inbound.front().map(|(due, _)| *due)
    }

    /// When something is to be sent next; never where nothing can be sent.
    pub fn departure_due(&self) -> Option<SimTime> {
        self.outbound.front().filter(|_| self.has_socket()).map(|(due, _)| *due)
    }

    /// Whether there is a socket.
    pub fn has_socket(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Sends what was on its way when the device had done with this connection, and reads nothing.
    pub fn drive_retired(&mut self, cx: &mut Context<'_>, now: SimTime) -> Retired {
        match self.send(cx, now) {
            Ok(()) if !self.outbound.is_empty() || !self.unsent.is_empty() => Retired::Busy,
            Ok(()) | Err(_) => Retired::Done,
        }
    }

    /// Ends the connection in good order, as far as that goes without waiting.
    pub fn shut(mut self, cx: &mut Context<'_>) {
        if let State::Open(stream) = &mut self.state {
            // A socket that cannot take the close notice at once is closed without it.
            let _ = Pin::new(stream).poll_shutdown(cx);
        }
    }

    fn on_opened(&mut self, opened: Result<Stream, OpenError>, now: SimTime) {
        match opened {
            Ok(stream) => {
                self.state = State::Open(stream);
                self.inbound.push_back((self.up_at.max(now), Arrival::Up));
            }
            Err(error) => {
                let told_at = match error {
                    OpenError::Refused | OpenError::Unreachable | OpenError::TimedOut => now,
                    OpenError::Reset | OpenError::Tls => self.up_at.max(now),
                };
                self.state = State::Closed;
                self.inbound.push_back((told_at, Arrival::Lost(error.into())));
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, now: SimTime) -> Result<(), LinkLoss> {
        let State::Open(stream) = &mut self.state else { return Ok(()) };
        while let Some((due, packet)) = self.outbound.front() {
            if *due > now {
                break;
            }
            mqtt::encode(packet, &mut self.unsent).map_err(|_| LinkLoss::Closed)?;
            self.outbound.pop_front();
        }
        if self.outbound.is_empty() {
            self.outbound = VecDeque::new();
        }
        if self.unsent.len() > UNSENT_MAX {
            return Err(LinkLoss::Timeout);
        }
        while !self.unsent.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &self.unsent) {
                Poll::Ready(Ok(sent)) if sent > 0 => mqtt::consume(&mut self.unsent, sent),
                Poll::Ready(_) => return Err(LinkLoss::Closed),
                Poll::Pending => return Ok(()),
            }
        }
        // TLS keeps encrypted records back when the socket was full; without any, this costs nothing.
        match Pin::new(stream).poll_flush(cx) {
            Poll::Ready(Err(_)) => Err(LinkLoss::Closed),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        now: SimTime,
        scratch: &mut [u8],
        crossing: &mut dyn FnMut(&Packet, SimTime) -> SimTime,
    ) -> Result<(), LinkLoss> {
        let State::Open(stream) = &mut self.state else { return Ok(()) };
        while self.inbound.len() < INBOUND_MAX {
            let mut room = ReadBuf::new(scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut room) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) if !room.filled().is_empty() => self.unread.extend_from_slice(room.filled()),
                Poll::Ready(_) => return Err(LinkLoss::Closed),
            }
            while let Some(packet) = mqtt::decode(&mut self.unread).map_err(|_| LinkLoss::Closed)? {
                self.inbound.push_back((crossing(&packet, now), Arrival::Packet(packet)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::clock::Clock;
    use super::super::stream::{Dialer, Target};
    use crate::wire::ConnectCode;

    const ONE_WAY: Duration = Duration::from_millis(20);

    /// A link to a peer that `speak` plays on a thread of its own.
    fn link(speak: impl FnOnce(std::net::TcpStream) + Send + 'static) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            tls: false,
        };
        std::thread::spawn(move || speak(listener.accept().unwrap().0));
        let opening = async move { Dialer::new(None, 1, 1, Arc::default()).open(&target, 0).await };
        Link::new(Box::pin(opening), SimTime::ZERO + ONE_WAY)
    }

    async fn next(link: &mut Link, clock: Clock) -> (SimTime, Arrival) {
        let mut scratch = [0; 64];
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let arrival = std::future::poll_fn(|cx| {
            let now = clock.now();
            link.drive(cx, now, &mut scratch, &mut |_, now| now + ONE_WAY);
            while ticks.poll_tick(cx).is_ready() {}
            link.arrived(now).map_or(Poll::Pending, |arrival| Poll::Ready((now, arrival)))
        });
        tokio::time::timeout(Duration::from_secs(10), arrival)
            .await
            .expect("something arrives")
    }

    #[tokio::test(flavor = "current_thread")]
    async fn packets_cross_the_path_in_order_and_not_before_their_time() {
        let mut link = link(|mut peer| {
            let mut asked = [0; 2];
            peer.read_exact(&mut asked).unwrap();
            assert_eq!(asked, *b"\xc0\x00");
            // An acknowledgement in two pieces, and another packet at its heels.
            peer.write_all(b"\x20").unwrap();
            std::thread::park_timeout(Duration::from_millis(5));
            peer.write_all(b"\x02\x00\x00\xd0\x00").unwrap();
        });
        let clock = Clock::starting_in(Duration::ZERO);
        let (up_at, up) = next(&mut link, clock).await;
        assert_eq!(up, Arrival::Up);
        assert!(up_at >= SimTime::ZERO + ONE_WAY, "{up_at}");
        link.transmit(Packet::PingRequest, up_at + ONE_WAY);
        let (answered_at, answer) = next(&mut link, clock).await;
        let code = ConnectCode::Accepted;
        assert_eq!(answer, Arrival::Packet(Packet::ConnAck { code }));
        assert!(answered_at >= up_at + 2 * ONE_WAY, "{answered_at}");
        assert_eq!(next(&mut link, clock).await.1, Arrival::Packet(Packet::PingResponse));
        assert_eq!(next(&mut link, clock).await.1, Arrival::Lost(LinkLoss::Closed));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_peer_that_does_not_speak_mqtt_is_lost() {
        let mut link = link(|mut peer| {
            peer.write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
            std::thread::park_timeout(Duration::from_millis(200));
        });
        let clock = Clock::starting_in(Duration::ZERO);
        assert_eq!(next(&mut link, clock).await.1, Arrival::Up);
        assert_eq!(next(&mut link, clock).await.1, Arrival::Lost(LinkLoss::Closed));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_retired_connection_still_sends_what_was_on_its_way() {
        let (told, heard) = std::sync::mpsc::channel();
        let mut link = link(move |mut peer| {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            told.send(all).unwrap();
        });
        let clock = Clock::starting_in(Duration::ZERO);
        next(&mut link, clock).await;
        link.transmit(Packet::PingRequest, clock.now() + ONE_WAY);
        link.transmit(Packet::Disconnect, clock.now() + ONE_WAY);
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        std::future::poll_fn(|cx| {
            while ticks.poll_tick(cx).is_ready() {}
            match link.drive_retired(cx, clock.now()) {
                Retired::Busy => Poll::Pending,
                Retired::Done => Poll::Ready(()),
            }
        })
        .await;
        drop(link);
        assert_eq!(heard.recv_timeout(Duration::from_secs(10)).unwrap(), b"\xc0\x00\xe0\x00");
    }
}
