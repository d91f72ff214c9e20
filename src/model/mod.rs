//! The words of the product: identities, firmware versions, phases, results, tags, selectors, quantities, what is done to a server
//! and what is seen of devices. Plain values without behavior of their own; every other module speaks in them.

mod admin;
mod carried;
mod event;
mod few;
mod ids;
mod image;
mod manifest;
mod observation;
mod phase;
mod places;
mod quantity;
mod selector;
mod sorted;
mod sparing;
mod split;
mod text;
mod why;
mod words;

pub use admin::{AdminAction, CohortRule, NewDevice, Tags, Whom};
pub use carried::{Carried, FlashCounts};
pub use event::{Prompt, ServerEvent, StateReason};
pub use few::Few;
pub use ids::{AttemptId, BuildId, CohortName, DeploymentName, DeviceId, DeviceIndex, Digest, HashError, IngestKey, KeyHash};
pub use image::ImageFile;
pub use manifest::{Artifact, ArtifactResult, AttemptError, Manifest};
pub use observation::{AttemptResult, BootReason, ConnectResult, FailureReason, Observation, RecordKey, RetryReason};
pub use phase::{Cause, LEGAL, Phase, Session, Transition, UpdateState};
pub(crate) use places::{Places, hash_of_name, hash_of_number};
pub use quantity::{
    EventRate, QuantityError, Share, parse_data_rate, parse_duration, parse_event_rate, parse_share, parse_size, show_count,
    show_duration, show_size,
};
pub use selector::{GrammarError, Key, Pick, Selector, Term, Test, Who, closest, is_word};
pub(crate) use sorted::{Sorted, SortedMap};
pub(crate) use sparing::push_sparingly;
pub use split::{NoSplit, Split};
pub use text::{FirmwareVersion, Secret, Slug, TextError, Url, Version};
pub use why::Why;
pub(crate) use words::word_enum;
