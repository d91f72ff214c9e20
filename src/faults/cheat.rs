//! How a device cheats: what it does on purpose that an honest one never would. It is no fault, since it does not end with trouble.

use crate::model::word_enum;

word_enum! {
    /// A way to cheat, played at the device's edge in both modes.
    Cheat {
        /// Takes every manifest for itself and answers it at once: everything has succeeded.
        ClaimSuccess = "claim-success",
        /// Its results never leave.
        HideResults = "hide-results",
        /// Sends its results twice, and those of the attempt before once more with every new manifest.
        ReplayResults = "replay-results",
        /// Before its results come some for artifacts that the manifest does not have.
        BadIndex = "bad-index",
        /// Before its results comes what is no message.
        Garbage = "garbage",
        /// Never acknowledges a message.
        NoAck = "no-ack",
        /// Asks for images with a secret of its own making.
        WrongSecret = "wrong-secret",
        /// Subscribes to the topic of another device, and publishes its results there.
        StealTopic = "steal-topic",
        /// Sends a hundred logs a second for as long as it is connected.
        Flood = "flood",
        /// Says that all has succeeded when the image is written, before it has run.
        SuccessBeforeBoot = "success-before-boot",
        /// Never sends results, and forgets its attempt at every start: what fails, it does again.
        UpdateLoop = "update-loop",
    }
}

impl Cheat {
    /// What a device does that cheats so, as plans say it.
    pub const fn does(self) -> &'static str {
        match self {
            Cheat::ClaimSuccess => "answer every manifest at once: all has succeeded",
            Cheat::HideResults => "never send results",
            Cheat::ReplayResults => "send results twice, and old ones with every new manifest",
            Cheat::BadIndex => "send results of artifacts that there are not, before their own",
            Cheat::Garbage => "send what is no message, before their results",
            Cheat::NoAck => "never acknowledge a message",
            Cheat::WrongSecret => "ask for images with a secret of their own making",
            Cheat::StealTopic => "subscribe to another device's topic, and publish their results there",
            Cheat::Flood => "send a hundred logs a second",
            Cheat::SuccessBeforeBoot => "say that all has succeeded before the image has run",
            Cheat::UpdateLoop => "never send results, and forget their attempt at every start",
        }
    }

    /// What it is played on, once for each: as reports and plans say it.
    pub const fn strikes(self) -> &'static str {
        match self {
            Cheat::ClaimSuccess => "manifests and questions",
            Cheat::HideResults | Cheat::ReplayResults | Cheat::BadIndex | Cheat::Garbage => "results",
            Cheat::SuccessBeforeBoot => "images that are written",
            Cheat::UpdateLoop => "starts",
            Cheat::NoAck => "acknowledgements",
            Cheat::WrongSecret => "image requests",
            Cheat::StealTopic => "subscriptions and results",
            Cheat::Flood => "bursts",
        }
    }
}
