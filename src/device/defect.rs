//! Defects planted on purpose: each makes a device break one rule, so that the checker of that rule, and the search for what breaks
//! it, can be seen to work. A scenario plants one with `defect` of a fleet.

use bytes::Bytes;

use super::Device;
use crate::model::word_enum;
use crate::wire::cbor::Writer;

word_enum! {
    /// A defect. Each is one place where the core takes a wrong branch; what the rule says stands in `docs/invariants.md`.
    Defect {
        /// UPDATE_RESULTS is wrapped into an array (rule 1).
        WrapResults = "wrap-results",
        /// UPDATE_RESULTS has a key that the message does not know (2).
        AddKey = "add-key",
        /// UPDATE_RESULTS has an empty list (3).
        SendEmptyList = "send-empty-list",
        /// Reports name the attempt after the one that was received (4).
        ReportUnknownId = "report-unknown-id",
        /// A message without a trustworthy id is answered with a report (5).
        AnswerUnreadable = "answer-unreadable",
        /// A malformed message with a trustworthy id is passed over (6).
        IgnoreMalformed = "ignore-malformed",
        /// Every rejection is reported as an unknown artifact type (7).
        MistakeError = "mistake-error",
        /// A result is published before its record is written (13).
        ReportBeforeDurable = "report-before-durable",
        /// From the second report on, success is reported as failure (14).
        ChangeReported = "change-reported",
        /// From the second report on, results are left out (15).
        ForgetReported = "forget-reported",
        /// The next handler is called while one runs (16).
        TwoHandlersAtOnce = "two-handlers-at-once",
        /// Artifacts are processed from the last to the first (16, 17).
        HandlersOutOfOrder = "handlers-out-of-order",
        /// A failure leaves the artifacts behind it pending (18).
        LeaveRestPending = "leave-rest-pending",
        /// A handler is called before the attempt has a record (19).
        AcceptWithoutRecord = "accept-without-record",
        /// A handler is called again as soon as it has returned (20).
        RunHandlerTwice = "run-handler-twice",
        /// No version record is written (21).
        ForgetVersionRecord = "forget-version-record",
        /// The version record is not looked at (22).
        IgnoreVersionRecord = "ignore-version-record",
        /// The manifest of an attempt that has ended starts it again (23).
        ReviveEnded = "revive-ended",
        /// The upgrade is requested without a probation record (24).
        SkipProbationRecord = "skip-probation-record",
        /// The probation record is deleted before the result is written (24).
        DeleteProbationEarly = "delete-probation-early",
        /// Main succeeds as soon as it is downloaded (25).
        SucceedWithoutBoot = "succeed-without-boot",
        /// Main succeeds on probation, before it is confirmed (25, 27).
        SucceedUnconfirmed = "succeed-unconfirmed",
        /// Main succeeds although the old image was put back (25, 26).
        SucceedAfterRollback = "succeed-after-rollback",
        /// Main fails although its image was confirmed (28).
        FailConfirmed = "fail-confirmed",
        /// Packages succeed without being installed (29).
        SucceedWithoutHandler = "succeed-without-handler",
        /// Pages are written without having been erased (flash as allowed).
        SkipErase = "skip-erase",
        /// The bootloader does not check what it swaps in (30).
        SkipImageCheck = "skip-image-check",
        /// The bootloader does not note which pages of a swap it has moved (30).
        SkipStatusEntry = "skip-status-entry",
        /// The bootloader passes over a swap that was interrupted (30).
        ForgetSwap = "forget-swap",
        /// A cancellation is obeyed whatever attempt it names (31).
        ObeyAnyCancel = "obey-any-cancel",
        /// A cancellation is obeyed after a success (32).
        CancelAfterSuccess = "cancel-after-success",
        /// A cancellation stops an upgrade that is being committed (33).
        CancelCommit = "cancel-commit",
        /// A cancelled attempt goes on (34).
        IgnoreCancel = "ignore-cancel",
        /// `isCanceled` is not looked at (35).
        IgnoreCanceledFlag = "ignore-canceled-flag",
        /// Of two pending attempts the first one wins (36).
        FirstPendingWins = "first-pending-wins",
        /// A newer attempt starts before the current one has ended (37).
        StartPendingEarly = "start-pending-early",
        /// A superseded attempt goes on (38).
        IgnoreSupersession = "ignore-supersession",
        /// The results of a superseded attempt are published (39).
        KeepSupersededResults = "keep-superseded-results",
        /// What a replaced incarnation came to is stored (40).
        KeepStaleOutcome = "keep-stale-outcome",
        /// Session metadata follows the subscriptions (41).
        MetadataLate = "metadata-late",
        /// The run id is the same in every boot (42).
        RunIdConstant = "run-id-constant",
        /// The last attempt id told is that of the stored record at the first connection, and none later (42).
        ForgetLargestId = "forget-largest-id",
        /// The last attempt id told does not regard the stored record (43).
        ForgetStoredId = "forget-stored-id",
        /// The secret of a download is published as a log (51).
        LeakSecret = "leak-secret",
        /// A redirect is followed, secret and all (52).
        FollowRedirect = "follow-redirect",
        /// The first piece of every download is handed over twice (53).
        RepeatBlock = "repeat-block",
        /// The range of an answer is not looked at (54).
        SkipContentRangeCheck = "skip-content-range-check",
        /// A quarter of the wait before a retry is thought enough (55).
        RetryTooSoon = "retry-too-soon",
        /// A permanent status is tried again (56).
        RetryPermanentStatus = "retry-permanent-status",
        /// The attempt record is padded beyond what is read back (58).
        LongRecord = "long-record",
        /// The probation record carries the secret of its artifact (60).
        StoreSecret = "store-secret",
        /// A cancellation of an attempt whose id is a multiple of ten is not understood (31).
        DeafAtTens = "deaf-at-tens",
        /// A main image whose upgrade was interrupted and that is confirmed at the next boot is taken for a failure (28).
        FailConfirmedAtBoot = "fail-confirmed-at-boot",
        /// The upgrade is requested for good: nothing puts the old image back (26).
        ConfirmEarly = "confirm-early",
        /// A confirmation that power failed in counts (26).
        CountTornConfirmation = "count-torn-confirmation",
        /// A download goes on at the last page written, not behind the last byte received, and does not notice (53, 54).
        ResumeAtPage = "resume-at-page",
        /// An answer is awaited without end (55, settles).
        WaitForEver = "wait-for-ever",
        /// The back-off counts failures in two bits, and begins again after the fourth (55).
        WrapBackoff = "wrap-backoff",
    }
}

impl Device {
    /// True if this defect was planted in its fleet.
    pub(super) fn has(&self, defect: Defect) -> bool {
        self.behaviors.defect == Some(defect)
    }
}

/// UPDATE_RESULTS as a device with a defect sends it.
pub(super) fn garble(defect: Option<Defect>, payload: Bytes) -> Bytes {
    let Some(defect) = defect else {
        return payload;
    };
    let mut writer = Writer::default();
    match defect {
        Defect::WrapResults => [&[0x81], &payload[..]].concat().into(),
        Defect::AddKey => {
            writer.uint(46).uint(0).end();
            [&payload[..payload.len() - 1], &writer.finish()].concat().into()
        }
        Defect::SendEmptyList => {
            writer.uint(44).open_array().end().end();
            [&payload[..payload.len() - 1], &writer.finish()].concat().into()
        }
        _ => payload,
    }
}
