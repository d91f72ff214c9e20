//! How a connection begins, and what it says of the image that runs.

use crate::verdict::rules::Beginning;
use crate::verdict::rules::outside::*;
use crate::verdict::rules::{LineStep, follow_line};
use crate::verdict::view::LineStage;
use crate::wire::Packet;
use crate::wire::session::SessionMetadata;

use super::Watch;
use super::seen::Session;

impl Watch<'_> {
    /// Holds the order of a connection's first packets.
    pub(super) fn line(&mut self, packet: &Packet) {
        let LineStep { checked, beginning } = follow_line(self.seen().stage, packet);
        if let Some(checked) = checked {
            let fault = checked.err();
            self.hold(&METADATA_THEN_SUBSCRIPTIONS, fault.is_none(), || fault.unwrap_or_default());
        }
        match beginning {
            Beginning::Other => {}
            Beginning::Stage(stage) => self.seen_mut().stage = stage,
            Beginning::Introduced(metadata) => {
                self.seen_mut().stage = LineStage::Introduced;
                if let Some(metadata) = metadata {
                    self.introduced(&metadata);
                }
            }
        }
    }

    fn introduced(&mut self, metadata: &SessionMetadata) {
        let now = Session {
            run_id: metadata.run_id,
            build_id: metadata.build_id,
            last_attempt: metadata.last_attempt,
        };
        if let Some(before) = self.seen().session.filter(|before| before.run_id == now.run_id) {
            let run = now.run_id;
            self.hold(&RUN_ID_NAMES_THE_BOOT, before.build_id == now.build_id, || {
                format!("run id {run} stayed while the image changed, which takes a reboot")
            });
            self.hold(&RUN_ID_NAMES_THE_BOOT, now.last_attempt >= before.last_attempt, || {
                let number = |session: Session| session.last_attempt.map_or(0, |attempt| attempt.number());
                let (told, last) = (number(before), number(now));
                format!("the last attempt id fell from {told} to {last} within run {run}")
            });
        }
        if let Some(reported) = self.seen().reported {
            let last = now.last_attempt;
            self.hold(&LAST_ATTEMPT_COVERS_THE_RECORD, last >= Some(reported), || {
                let last = last.map_or(0, |attempt| attempt.number());
                format!("the last attempt id was told as {last}, and results of attempt {reported} had been reported")
            });
        }
        self.runs(now);
        self.seen_mut().session = Some(now);
    }

    /// A main image that was reported as installed goes on running until another one is offered.
    fn runs(&mut self, now: Session) {
        let Some(proven) = self.seen().proven else { return };
        let newer = self
            .seen()
            .offers()
            .any(|offered| offered.attempt > proven.attempt && offered.items.iter().any(|item| item.main));
        let Some(image) = now.build_id.filter(|_| !newer) else {
            return;
        };
        // Whoever flashed another image by cable did not go back to the one before.
        let back = image != proven.image && Some(image) == proven.before;
        self.hold(&MAIN_SUCCEEDS_RUNNING, !back, || {
            format!(
                "attempt {} was reported as succeeded, and then the image before it ran again ({image})",
                proven.attempt
            )
        });
    }
}
