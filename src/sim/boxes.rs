//! Boxes for packets on their way: most are opened soon, and used again then.

use crate::wire::Packet;

/// Most empty boxes that are kept.
const KEPT: usize = 1_024;

/// Empty boxes.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    #[expect(clippy::vec_box, reason = "it is the boxes that are kept")]
    empty: Vec<Box<Packet>>,
}

impl Boxes {
    /// Puts a packet into a box.
    pub(super) fn pack(&mut self, packet: Packet) -> Box<Packet> {
        match self.empty.pop() {
            Some(mut place) => {
                *place = packet;
                place
            }
            None => Box::new(packet),
        }
    }

    /// Takes a packet out of its box.
    pub(super) fn unpack(&mut self, mut packed: Box<Packet>) -> Packet {
        let packet = std::mem::replace(&mut *packed, Packet::PingRequest);
        if self.empty.len() < KEPT {
            self.empty.push(packed);
        }
        packet
    }
}
