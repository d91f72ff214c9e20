//! What a device wears and what crosses its path: flash operations, bytes on the wire.

use serde::{Deserialize, Serialize};

/// Flash operations of a device, all boots together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlashCounts {
    /// All of them.
    pub ops: u32,
    /// Of these, pages erased.
    pub erases: u32,
    /// Erases of the most-erased page, where they are kept by page.
    pub wear: Option<u32>,
}

/// Bytes that crossed the path of a device, overhead of TCP and TLS included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Towards the server.
    pub up: u64,
    /// Towards the device, bodies of images left out.
    pub protocol: u64,
    /// Bodies of images.
    pub image: u64,
    /// Of the bodies, what came for nothing.
    pub wasted: u64,
}

impl Carried {
    /// Adds what crossed later.
    pub fn add(&mut self, more: Carried) {
        self.up += more.up;
        self.protocol += more.protocol;
        self.image += more.image;
        self.wasted += more.wasted;
    }

    /// True if nothing crossed.
    pub fn is_empty(&self) -> bool {
        *self == Carried::default()
    }

    /// Direction, purpose and number of bytes; what came for nothing, which is a part of the bodies, only where it is asked for.
    pub fn sorts(self, wasted: bool) -> Vec<(&'static str, &'static str, u64)> {
        let sorts = [
            ("up", "protocol", self.up),
            ("down", "protocol", self.protocol),
            ("down", "image", self.image),
            ("down", "wasted", self.wasted),
        ];
        sorts[..if wasted { 4 } else { 3 }].to_vec()
    }
}
