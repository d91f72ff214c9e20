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
    pub(super) download: Option<Download>,
    /// The download that the server answers with an image.
    pub(super) served: Option<u32>,
    /// When the wake that counts happens, and its generation.
    pub(super) wake: Option<SimTime>,
    pub(super) generation: u32,
    connections: u32,
    downloads: u32,
    sequence: u32,
    /// Connections that the server believes in: beside the device's own, half-open ones that it fell silent on.
    at_server: Vec<u32>,
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
}

impl Port {
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

    /// Begins a download; gives its number.
    pub(super) fn start_download(&mut self) -> u32 {
        let number = self.downloads;
        self.downloads += 1;
        self.download = Some(Download {
            number,
            credit: 0,
            body: None,
        });
        number
    }

    /// The running download, if it is this one.
    pub(super) fn running(&mut self, download: u32) -> Option<&mut Download> {
        self.download.as_mut().filter(|running| running.number == download)
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

    /// True, once, when the download that the server answered is over; a device that falls silent takes it along.
    pub(super) fn served_to_the_end(&mut self) -> bool {
        let running = self.download.as_ref().map(|download| download.number);
        self.served.take_if(|served| running != Some(*served)).is_some()
    }

    /// The server learns of a connection.
    pub(super) fn open_at_server(&mut self, connection: u32) {
        self.at_server.push(connection);
    }

    /// The server believes in this connection.
    pub(super) fn is_at_server(&self, connection: u32) -> bool {
        self.at_server.contains(&connection)
    }

    /// The server loses every connection at once; gives those that it believed in.
    pub(super) fn lose_all_at_server(&mut self) -> Vec<u32> {
        self.served = None;
        std::mem::take(&mut self.at_server)
    }

    /// The server is done with a connection; true if it believed in it.
    pub(super) fn close_at_server(&mut self, connection: u32) -> bool {
        let found = self.at_server.iter().position(|open| *open == connection);
        found.map(|position| self.at_server.remove(position)).is_some()
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
