//! Which handlers run: in order, one at a time, once, and only where there is something left to do.

use crate::model::{AttemptId, FirmwareVersion};

use super::{Rule, Scene, Tally};
use crate::verdict::view::{Stored, fold_slug, fold_version};

const IN_ORDER: Rule = Rule {
    name: "handlers-in-order",
    statement: "handlers run in the order of the manifest, one at a time",
    protocol: &[16],
};
pub(in crate::verdict) const AFTER_SUCCESS: Rule = Rule {
    name: "handler-after-success",
    statement: "a handler is called only when every artifact before it has durably succeeded",
    protocol: &[17],
};
const RECORD_FIRST: Rule = Rule {
    name: "record-before-handler",
    statement: "the attempt record is durable before the first handler of the attempt is called",
    protocol: &[19],
};
const ONCE_A_BOOT: Rule = Rule {
    name: "handler-once-a-boot",
    statement: "a handler is called at most once in a boot, and never for an artifact with a durable result",
    protocol: &[20],
};
pub(in crate::verdict) const NOTHING_FOR_INSTALLED: Rule = Rule {
    name: "nothing-for-installed-versions",
    statement: "for a version that is stored as installed there is neither a handler call nor a request",
    protocol: &[22],
};
pub(in crate::verdict) const ENDED_IS_ENDED: Rule = Rule {
    name: "ended-runs-nothing",
    statement: "an attempt whose record is terminal is never accepted again and runs nothing",
    protocol: &[23],
};

/// A handler call.
#[derive(Clone, Copy, Debug)]
pub(in crate::verdict) struct Call<'a> {
    /// Which attempt.
    pub(in crate::verdict) attempt: AttemptId,
    /// Position in the manifest.
    pub(in crate::verdict) index: usize,
    /// Version requested.
    pub(in crate::verdict) firmware: &'a FirmwareVersion,
}

/// Watches handlers.
#[derive(Debug)]
pub(in crate::verdict) struct Handlers {
    order: Tally,
    success: Tally,
    record: Tally,
    once: Tally,
    installed: Tally,
    ended: Tally,
}

impl Default for Handlers {
    fn default() -> Self {
        Handlers {
            order: Tally::new(&IN_ORDER),
            success: Tally::new(&AFTER_SUCCESS),
            record: Tally::new(&RECORD_FIRST),
            once: Tally::new(&ONCE_A_BOOT),
            installed: Tally::new(&NOTHING_FOR_INSTALLED),
            ended: Tally::new(&ENDED_IS_ENDED),
        }
    }
}

impl Handlers {
    pub(in crate::verdict) fn tallies(&self) -> [&Tally; 6] {
        [
            &self.order,
            &self.success,
            &self.record,
            &self.once,
            &self.installed,
            &self.ended,
        ]
    }

    pub(in crate::verdict) fn called(&mut self, scene: &Scene<'_>, call: &Call<'_>) {
        let Call {
            attempt,
            index,
            firmware,
        } = *call;
        let view = scene.view;
        let handler = || format!("handler {index} of attempt {attempt} was called");
        let stored = view.stored_of(attempt);
        self.record
            .hold(scene, stored.is_some(), || format!("{} without a record of it", handler()));
        if let Some(marks) = stored.and_then(Stored::marks) {
            let before = (1_u64 << index.min(32)) - 1;
            let missing = before as u32 & !marks.succeeded;
            self.success.hold(scene, missing == 0, || {
                format!("{} before artifact {} had succeeded", handler(), missing.trailing_zeros())
            });
            let result = marks.of(index);
            self.once.hold(scene, result.is_none(), || {
                format!(
                    "{}, which was stored as {}",
                    handler(),
                    result.map_or("nothing", |result| result.word())
                )
            });
        }
        if stored.is_some() {
            self.ended.hold(scene, !stored.is_some_and(Stored::is_terminal), || {
                format!("{} after its end was stored", handler())
            });
        }
        if let Some(open) = view.open_of(attempt) {
            let again = index < 32 && open.called >> index & 1 == 1;
            self.once
                .hold(scene, !again, || format!("{} for the second time in this boot", handler()));
            let first = open.last.is_none_or(|last| index >= last);
            self.order
                .hold(scene, open.running.is_none() && first, || match (open.running, open.last) {
                    (Some(running), _) => format!("{} while handler {running} ran", handler()),
                    (None, Some(last)) => format!("{} after handler {last}", handler()),
                    (None, None) => handler(),
                });
        }
        let stored = view.has_version(fold_slug(&firmware.slug), fold_version(&firmware.version));
        self.installed.hold(scene, !stored, || {
            format!("{} for {firmware}, which was stored as installed", handler())
        });
    }

    /// An image request went out.
    pub(in crate::verdict) fn requested(&mut self, scene: &Scene<'_>) {
        let running = scene.view.open.as_ref().is_some_and(|open| open.running.is_some());
        self.installed
            .hold(scene, running, || "a request was sent while no handler ran".to_owned());
    }

    /// A manifest was accepted into RAM as that of an attempt which was not open.
    pub(in crate::verdict) fn accepted(&mut self, scene: &Scene<'_>, attempt: AttemptId) {
        let terminal = scene.view.stored_of(attempt).is_some_and(Stored::is_terminal);
        self.ended.hold(scene, !terminal, || {
            format!("attempt {attempt} was accepted again after its end was stored")
        });
    }
}
