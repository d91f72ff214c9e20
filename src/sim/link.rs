//! A device's transport, both ends of it: connections that the server may hold open longer than the device does, and the running
//! download. How long anything takes is the edge's to say.

use bytes::Bytes;

use crate::model::DeviceIndex;
use crate::server::ConnectionId;
use crate::time::SimTime;
use crate::wire::DownloadEvent;

/// The state of one device's transport, and where it stands in the queue.
#[derive(Debug, Default)]
pub(super) struct Port {
    /// The connection that the device made last and has not lost.
    pub(super) connection: Option<Connection>,
    /// The running download.
    pub(super) download: Option<Box<Download>>,
    /// The server counts a download of this device.
    served: bool,
    /// What passes between it and the server is shown to the auditor.
    pub(super) audited: bool,
    /// Its keep-alives are played once somebody looks at it.
    pub(super) resting: bool,
    /// When the wake that counts happens, and its generation.
    pub(super) wake: Option<SimTime>,
    pub(super) generation: u32,
    connections: u32,
    downloads: u32,
    sequence: u32,
    /// Events of the device in the queue, wakes left out.
    pub(super) under_way: u32,
    /// The newest connection that the server believes in.
    at_server: Option<u32>,
    /// Those before it, half-open since the device fell silent on them.
    half_open: Option<Box<HalfOpen>>,
}

/// Half-open connections; few devices have any.
#[derive(Debug)]
struct HalfOpen {
    connection: u32,
    before: Option<Box<HalfOpen>>,
}

/// A connection as the device sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) number: u32,
    /// Handshakes are done.
    pub(super) up: bool,
}

/// A download as the device sees it.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) number: u32,
    /// Bytes that may be handed over.
    pub(super) credit: usize,
    /// What was not handed over; `None` until the answer is there.
    pub(super) body: Option<Bytes>,
    /// The server answers it with an image.
    served: bool,
}

impl Port {
    /// One on which nothing has passed.
    pub(super) fn new(audited: bool) -> Port {
        Port {
            audited,
            ..Port::default()
        }
    }

    /// The next number of the device's own order.
    pub(super) fn next_sequence(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }

    /// Begins a connection; gives its number.
    pub(super) fn connect(&mut self) -> u32 {
        let number = self.connections;
        self.connections += 1;
        self.connection = Some(Connection { number, up: false });
        number
    }

    /// True if the device is on this connection.
    pub(super) fn is_on(&self, connection: u32) -> bool {
        self.connection.is_some_and(|current| current.number == connection)
    }

    /// The connection that packets can be sent on.
    pub(super) fn up(&self) -> Option<u32> {
        self.connection.filter(|current| current.up).map(|current| current.number)
    }

    /// The connection that packets can be sent on, if the server believes in it, and nothing is under way.
    pub(super) fn idle(&self) -> Option<u32> {
        let up = self.up().filter(|up| self.at_server == Some(*up));
        up.filter(|_| self.under_way == 0 && self.download.is_none())
    }

    /// The connection that packets can be sent on, if it is the only one that the server believes in.
    pub(super) fn sole(&self) -> Option<u32> {
        self.up().filter(|up| self.at_server == Some(*up) && self.half_open.is_none())
    }

    /// What the server calls the newest connection that it believes in.
    pub(super) fn line(&self, device: DeviceIndex) -> Option<ConnectionId> {
        self.at_server.map(|connection| connection_id(device, connection))
    }

    /// Begins a download; gives its number.
    pub(super) fn start_download(&mut self) -> u32 {
        let number = self.downloads;
        self.downloads += 1;
        self.download = Some(Box::new(Download {
            number,
            credit: 0,
            body: None,
            served: false,
        }));
        number
    }

    /// The running download, if it is this one.
    pub(super) fn running(&mut self, download: u32) -> Option<&mut Download> {
        self.download.as_deref_mut().filter(|running| running.number == download)
    }

    /// The next piece of the body, as far as there is credit, or its end.
    pub(super) fn next_of_body(&mut self) -> Option<DownloadEvent> {
        let running = self.download.as_mut()?;
        let body = running.body.as_mut()?;
        if body.is_empty() {
            self.download = None;
            return Some(DownloadEvent::Finished);
        }
        let bytes = std::mem::take(&mut running.credit).min(body.len());
        (bytes > 0).then(|| DownloadEvent::Body(body.split_to(bytes)))
    }

    /// What is left of the body, where none of it waits to be handed over.
    pub(super) fn body(&mut self) -> Option<&mut Bytes> {
        let running = self.download.as_mut().filter(|running| running.credit == 0)?;
        running.body.as_mut()
    }

    /// The server answers the running download with an image.
    pub(super) fn serve(&mut self) {
        self.served = self.download.is_some();
        if let Some(running) = &mut self.download {
            running.served = true;
        }
    }

    /// True, once, when the download that the server answered is over; a device that falls silent takes it along.
    pub(super) fn served_to_the_end(&mut self) -> bool {
        let running = self.download.as_ref().is_some_and(|download| download.served);
        let over = self.served && !running;
        self.served = running;
        over
    }

    /// The server learns of a connection.
    pub(super) fn open_at_server(&mut self, connection: u32) {
        if let Some(connection) = self.at_server.replace(connection) {
            let before = self.half_open.take();
            self.half_open = Some(Box::new(HalfOpen { connection, before }));
        }
    }

    /// The server believes in this connection.
    pub(super) fn is_at_server(&self, connection: u32) -> bool {
        let mut half_open = std::iter::successors(self.half_open.as_deref(), |open| open.before.as_deref());
        self.at_server == Some(connection) || half_open.any(|open| open.connection == connection)
    }

    /// Every connection that the server believes in, the newest first.
    pub(super) fn at_server(&self) -> impl Iterator<Item = u32> {
        let half_open = std::iter::successors(self.half_open.as_deref(), |open| open.before.as_deref());
        self.at_server.into_iter().chain(half_open.map(|open| open.connection))
    }

    /// The server is another one, which knows of no connection and serves nothing.
    pub(super) fn forget_server(&mut self) {
        self.served = false;
        self.at_server = None;
        self.half_open = None;
    }

    /// The server is done with a connection; true if it believed in it.
    pub(super) fn close_at_server(&mut self, connection: u32) -> bool {
        if self.at_server.take_if(|open| *open == connection).is_some() {
            return true;
        }
        let mut place = &mut self.half_open;
        while place.as_ref().is_some_and(|open| open.connection != connection) {
            place = &mut place.as_mut().expect("it was seen a moment ago").before;
        }
        let found = place.take();
        let is_found = found.is_some();
        *place = found.and_then(|open| open.before);
        is_found
    }
}

/// The name of a device's n-th connection at the server.
pub(super) fn connection_id(device: DeviceIndex, connection: u32) -> ConnectionId {
    ConnectionId(u64::from(device.0) << 32 | u64::from(connection))
}

/// The device and the number behind a [`connection_id`].
pub(super) fn connection_of(id: ConnectionId) -> (DeviceIndex, u32) {
    (DeviceIndex((id.0 >> 32) as u32), id.0 as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_may_believe_in_connections_that_the_device_fell_silent_on() {
        let mut port = Port::default();
        (1..=4).for_each(|connection| port.open_at_server(connection));
        assert!(port.close_at_server(2) && port.close_at_server(4));
        let believed: Vec<_> = (1..=4).filter(|connection| port.is_at_server(*connection)).collect();
        assert_eq!((believed, port.at_server().collect::<Vec<_>>()), (vec![1, 3], vec![3, 1]));
        assert!(!port.close_at_server(2) && port.close_at_server(3) && port.close_at_server(1));
    }

    #[test]
    fn an_idle_port_fits_a_cache_line() {
        assert!(size_of::<Port>() <= 64, "{}", size_of::<Port>());
    }
}
