//! Defects planted on purpose: each makes a device break one rule, so that the checker of that rule can be seen to work.

use bytes::Bytes;

use super::Device;
use crate::wire::cbor::Writer;

/// A defect. Each is one place where the core takes a wrong branch; what the rule says stands in `docs/invariants.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// UPDATE_RESULTS is wrapped into an array (rule 1).
    WrapResults,
    /// UPDATE_RESULTS has a key that the message does not know (2).
    AddKey,
    /// UPDATE_RESULTS has an empty list (3).
    SendEmptyList,
    /// Reports name the attempt after the one that was received (4).
    ReportUnknownId,
    /// A message without a trustworthy id is answered with a report (5).
    AnswerUnreadable,
    /// A malformed message with a trustworthy id is passed over (6).
    IgnoreMalformed,
    /// Every rejection is reported as an unknown artifact type (7).
    MistakeError,
    /// A result is published before its record is written (13).
    ReportBeforeDurable,
    /// From the second report on, success is reported as failure (14).
    ChangeReported,
    /// From the second report on, results are left out (15).
    ForgetReported,
    /// The next handler is called while one runs (16).
    TwoHandlersAtOnce,
    /// Artifacts are processed from the last to the first (16, 17).
    HandlersOutOfOrder,
    /// A failure leaves the artifacts behind it pending (18).
    LeaveRestPending,
    /// A handler is called before the attempt has a record (19).
    AcceptWithoutRecord,
    /// A handler is called again as soon as it has returned (20).
    RunHandlerTwice,
    /// No version record is written (21).
    ForgetVersionRecord,
    /// The version record is not looked at (22).
    IgnoreVersionRecord,
    /// The manifest of an attempt that has ended starts it again (23).
    ReviveEnded,
    /// The upgrade is requested without a probation record (24).
    SkipProbationRecord,
    /// The probation record is deleted before the result is written (24).
    DeleteProbationEarly,
    /// Main succeeds as soon as it is downloaded (25).
    SucceedWithoutBoot,
    /// Main succeeds on probation, before it is confirmed (25, 27).
    SucceedUnconfirmed,
    /// Main succeeds although the old image was put back (25, 26).
    SucceedAfterRollback,
    /// Main fails although its image was confirmed (28).
    FailConfirmed,
    /// Packages succeed without being installed (29).
    SucceedWithoutHandler,
    /// Pages are written without having been erased (flash as allowed).
    SkipErase,
    /// The bootloader does not check what it swaps in (30).
    SkipImageCheck,
    /// The bootloader does not note which pages of a swap it has moved (30).
    SkipStatusEntry,
    /// The bootloader passes over a swap that was interrupted (30).
    ForgetSwap,
    /// A cancellation is obeyed whatever attempt it names (31).
    ObeyAnyCancel,
    /// A cancellation is obeyed after a success (32).
    CancelAfterSuccess,
    /// A cancellation stops an upgrade that is being committed (33).
    CancelCommit,
    /// A cancelled attempt goes on (34).
    IgnoreCancel,
    /// `isCanceled` is not looked at (35).
    IgnoreCanceledFlag,
    /// Of two pending attempts the first one wins (36).
    FirstPendingWins,
    /// A newer attempt starts before the current one has ended (37).
    StartPendingEarly,
    /// A superseded attempt goes on (38).
    IgnoreSupersession,
    /// The results of a superseded attempt are published (39).
    KeepSupersededResults,
    /// What a replaced incarnation came to is stored (40).
    KeepStaleOutcome,
    /// Session metadata follows the subscriptions (41).
    MetadataLate,
    /// The run id is the same in every boot (42).
    RunIdConstant,
    /// The last attempt id told is that of the stored record at the first connection, and none later (42).
    ForgetLargestId,
    /// The last attempt id told does not regard the stored record (43).
    ForgetStoredId,
    /// The secret of a download is published as a log (51).
    LeakSecret,
    /// A redirect is followed, secret and all (52).
    FollowRedirect,
    /// The first piece of every download is handed over twice (53).
    RepeatBlock,
    /// The range of an answer is not looked at (54).
    SkipContentRangeCheck,
    /// A quarter of the wait before a retry is thought enough (55).
    RetryTooSoon,
    /// A permanent status is tried again (56).
    RetryPermanentStatus,
    /// The attempt record is padded beyond what is read back (58).
    LongRecord,
    /// The probation record carries the secret of its artifact (60).
    StoreSecret,
}

impl Device {
    /// True if this defect was planted in its fleet.
    pub(super) fn has(&self, defect: Defect) -> bool {
        self.behaviors.defect == Some(defect)
    }
}

/// UPDATE_RESULTS as a device with a defect sends it.
pub(super) fn garble(defect: Option<Defect>, payload: Bytes) -> Bytes {
    let mut writer = Writer::default();
    match defect {
        Some(Defect::WrapResults) => [&[0x81], &payload[..]].concat().into(),
        Some(Defect::AddKey) => {
            writer.uint(46).uint(0).end();
            [&payload[..payload.len() - 1], &writer.finish()].concat().into()
        }
        Some(Defect::SendEmptyList) => {
            writer.uint(44).open_array().end().end();
            [&payload[..payload.len() - 1], &writer.finish()].concat().into()
        }
        _ => payload,
    }
}
