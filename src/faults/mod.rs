//! What goes wrong: between a device and its server, decided at the device's edge, alike in both modes; and with the server itself.

mod absence;
mod cheat;
mod edge;
mod flow;
mod kind;
mod latency;
mod link;
mod message;
mod moment;
mod path;
mod plan;
mod profile;
mod request;
mod server;

pub use absence::{Absence, Hours};
pub use cheat::Cheat;
pub use edge::{Edge, EdgeOutput, EdgeOutputs, KeptAlive, Rest, RestEnd};
pub use flow::WINDOW;
pub use kind::{FaultKind, LostRecord, Target};
pub use latency::Latency;
pub use link::Way;
pub use message::MessageFault;
pub use moment::Moment;
pub use plan::{Happening, Injection, MessageType, Narrowing, PlannedFault, Trigger};
pub use profile::{Drops, LinkProfile, Quota, Sleep};
pub use request::RequestFault;
pub use server::{PlannedServerFault, ServerCondition, ServerFaultKind};
