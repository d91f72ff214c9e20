//! Devices with a defect in whole runs: the server is the real one, and knows nothing of it.

use squall::device::Defect;

use super::found_in_sim;

/// One main image.
const MAIN: &str = r#"
    scenario = { duration = "60s", settle = "20s" }
    firmware.app = ["1.0.0", "1.1.0"]
    fleet.demo = { count = 2, runs = "app@1.0.0" }
    step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]"#;

/// A package, then main.
const PACKAGES: &str = r#"
    scenario = { duration = "60s", settle = "20s" }
    firmware.modem = ["2.0.0", "2.1.0"]
    firmware.app = ["1.0.0", "1.1.0"]
    fleet.demo = { count = 2, runs = ["app@1.0.0", "modem@2.0.0"] }
    step = [{ at = "2s", deploy = ["modem@2.1.0", "app@1.1.0"], main = "app", to = "all" }]"#;

/// A package that fails, then main.
const FAILING: &str = r#"
    scenario = { duration = "60s", settle = "20s" }
    firmware.modem = { "2.0.0" = {}, "2.1.0" = { install = "fail after 1s" } }
    firmware.app = ["1.0.0", "1.1.0"]
    fleet.demo = { count = 2, runs = ["app@1.0.0", "modem@2.0.0"] }
    step = [{ at = "2s", deploy = ["modem@2.1.0", "app@1.1.0"], main = "app", to = "all" }]"#;

/// A main image that crashes before it confirms.
const CRASHING: &str = r#"
    scenario = { duration = "60s", settle = "20s" }
    firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = "crash after 3s" } }
    fleet.demo = { count = 2, runs = "app@1.0.0" }
    step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]"#;

/// A main image that takes its time to confirm.
const PATIENT: &str = r#"
    scenario = { duration = "60s", settle = "20s" }
    firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = "confirm after 15s" } }
    fleet.demo = { count = 2, runs = "app@1.0.0" }
    step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]"#;

/// The same version twice.
const AGAIN: &str = r#"
    scenario = { duration = "90s", settle = "20s" }
    firmware.app = ["1.0.0", "1.1.0"]
    fleet.demo = { count = 2, runs = "app@1.0.0" }
    step = [{ name = "one", at = "2s", deploy = "app@1.1.0", to = "all" },
      { name = "again", at = "40s", deploy = "app@1.1.0", to = "all" }]"#;

/// A newer deployment while the older one is being downloaded.
const SUPERSEDED: &str = r#"
    scenario = { duration = "90s", settle = "20s" }
    firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "256 KiB" }, "1.2.0" = {} }
    fleet.demo = { count = 2, runs = "app@1.0.0" }
    step = [{ name = "one", at = "2s", deploy = "app@1.1.0", to = "all" },
      { name = "two", at = "5s", deploy = "app@1.2.0", to = "all" }]"#;

#[test]
fn rule_1_finds_results_that_are_no_map() {
    found_in_sim(MAIN, Defect::WrapResults, "results-are-one-map");
}

#[test]
fn rule_2_finds_a_foreign_key() {
    found_in_sim(MAIN, Defect::AddKey, "keys-of-the-table");
}

#[test]
fn rule_3_finds_an_empty_list() {
    found_in_sim(MAIN, Defect::SendEmptyList, "well-formed-results");
}

#[test]
fn rule_4_finds_an_attempt_that_the_cloud_never_named() {
    found_in_sim(MAIN, Defect::ReportUnknownId, "no-unknown-attempt");
}

#[test]
fn rule_13_finds_a_report_ahead_of_its_record() {
    found_in_sim(PACKAGES, Defect::ReportBeforeDurable, "durable-before-reported");
}

#[test]
fn rule_14_finds_a_result_that_changes() {
    found_in_sim(PACKAGES, Defect::ChangeReported, "reported-result-never-changes");
}

#[test]
fn rule_15_finds_a_result_that_vanishes() {
    found_in_sim(PACKAGES, Defect::ForgetReported, "reports-only-grow");
}

#[test]
fn rule_16_finds_two_handlers_at_once() {
    found_in_sim(PACKAGES, Defect::TwoHandlersAtOnce, "handlers-in-order");
}

#[test]
fn rule_17_finds_a_handler_that_does_not_wait_for_the_one_before() {
    found_in_sim(PACKAGES, Defect::HandlersOutOfOrder, "handler-after-success");
}

#[test]
fn rule_18_finds_artifacts_left_pending_behind_a_failure() {
    found_in_sim(FAILING, Defect::LeaveRestPending, "failure-ends-the-rest");
}

#[test]
fn rule_19_finds_a_handler_without_a_record() {
    found_in_sim(MAIN, Defect::AcceptWithoutRecord, "record-before-handler");
}

#[test]
fn rule_20_finds_a_handler_called_twice() {
    found_in_sim(PACKAGES, Defect::RunHandlerTwice, "handler-once-a-boot");
}

#[test]
fn rule_21_finds_a_success_without_its_version() {
    found_in_sim(PACKAGES, Defect::ForgetVersionRecord, "version-before-success");
}

#[test]
fn rule_22_finds_work_for_a_version_that_is_there() {
    found_in_sim(AGAIN, Defect::IgnoreVersionRecord, "nothing-for-installed-versions");
}

#[test]
fn rule_24_finds_an_upgrade_without_probation_and_a_probation_that_ends_too_early() {
    found_in_sim(MAIN, Defect::SkipProbationRecord, "probation-around-the-upgrade");
    found_in_sim(MAIN, Defect::DeleteProbationEarly, "probation-around-the-upgrade");
}

#[test]
fn rule_25_finds_a_main_image_that_succeeds_without_having_run() {
    found_in_sim(MAIN, Defect::SucceedWithoutBoot, "main-succeeds-running");
}

#[test]
fn rule_26_finds_a_success_after_the_old_image_was_put_back() {
    found_in_sim(CRASHING, Defect::SucceedAfterRollback, "unconfirmed-goes-back");
}

#[test]
fn rule_27_finds_a_success_reported_on_probation() {
    found_in_sim(PATIENT, Defect::SucceedUnconfirmed, "no-success-before-confirmation");
}

#[test]
fn rule_28_finds_a_confirmed_image_that_is_called_a_failure() {
    found_in_sim(MAIN, Defect::FailConfirmed, "confirmed-succeeds");
}

#[test]
fn rule_29_finds_a_success_without_grounds() {
    found_in_sim(PACKAGES, Defect::SucceedWithoutHandler, "success-has-grounds");
}

#[test]
fn rule_37_finds_a_pending_attempt_that_does_not_wait() {
    found_in_sim(SUPERSEDED, Defect::StartPendingEarly, "pending-waits");
}

#[test]
fn rule_39_finds_results_of_a_superseded_attempt() {
    found_in_sim(SUPERSEDED, Defect::KeepSupersededResults, "superseded-is-silent");
}

#[test]
fn rule_41_finds_metadata_behind_the_subscriptions() {
    found_in_sim(MAIN, Defect::MetadataLate, "metadata-then-subscriptions");
}

#[test]
fn rule_42_finds_a_run_id_that_outlives_its_boot() {
    found_in_sim(MAIN, Defect::RunIdConstant, "run-id-names-the-boot");
}

#[test]
fn rule_43_finds_a_stored_attempt_that_is_not_told() {
    found_in_sim(MAIN, Defect::ForgetStoredId, "last-attempt-covers-the-record");
}

#[test]
fn rule_51_finds_a_secret_in_a_log() {
    found_in_sim(MAIN, Defect::LeakSecret, "secrets-stay");
}

#[test]
fn rule_53_finds_a_block_handed_over_twice() {
    found_in_sim(MAIN, Defect::RepeatBlock, "bytes-once-in-order");
    found_in_sim(PACKAGES, Defect::RepeatBlock, "bytes-once-in-order");
}

#[test]
fn rule_58_finds_a_record_that_is_too_long() {
    found_in_sim(MAIN, Defect::LongRecord, "sound-records");
}

#[test]
fn rule_60_finds_a_secret_in_storage() {
    found_in_sim(MAIN, Defect::StoreSecret, "nothing-secret-stored");
}
