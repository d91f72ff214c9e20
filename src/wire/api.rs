//! The management API's JSON: request bodies, views, the ready line of `serve`, problems. Server core, host and harness share it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{AttemptId, CohortName, DeploymentName, DeviceId, ServerEvent, StateReason, Tags, UpdateState};

/// First line that `squall serve` prints, once every listener is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyLine {
    /// `squall.ready/1`.
    pub schema: String,
    /// `mqtts://host:port` or `mqtt://host:port`.
    pub mqtt: String,
    /// Base URL of the images.
    pub images: String,
    /// Base URL of the management API.
    pub admin: String,
    /// Path of the CA certificate (PEM) that signed the server's; absent without TLS.
    pub ca: Option<String>,
    /// Path of the 0600 file with [`Credentials`].
    pub credentials: String,
}

/// Content of the credentials file (JSON). Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Bearer token of the management API.
    pub token: String,
    /// MQTT password of devices.
    pub ingest_key: String,
}

/// One line of standard input that a parent process hands its child server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildOrders {
    /// The parent's start of the run on the machine's monotonic clock, nanoseconds.
    pub epoch_monotonic_ns: u64,
    /// The server is to be held against its own rules.
    #[serde(default)]
    pub audit: bool,
    /// Devices that will come; zero where that is not known.
    #[serde(default)]
    pub devices: u64,
    /// A bug that is planted in it, by its word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defect: Option<String>,
}

/// Any later line of a child's standard input: how the server is to stand from here on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildCondition {
    /// Lets nobody in, and has put out who was there.
    pub outage: bool,
    /// Each message of a device takes this much longer, nanoseconds.
    pub slow_ns: u64,
    /// Nothing can be stored.
    pub disk_full: bool,
}

/// One line of the event stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    /// Growing number of the event.
    pub seq: u64,
    /// Nanoseconds since the server's epoch (its start, or the parent's run).
    pub at_ns: u64,
    /// What happened.
    #[serde(flatten)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub event: ServerEvent,
}

/// An error answer (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Kind of problem: `about:blank` or a word such as `unknown-cohort`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short, the same for every occurrence.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// This occurrence: names thing and value.
    pub detail: String,
    /// The field of the request that is wrong, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// `POST /v1/firmware`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirmwareBody {
    /// 1 to 32 bytes without `/`.
    pub slug: String,
}

/// A firmware with its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareView {
    /// Its identifier.
    pub slug: String,
    /// Versions in order of creation.
    pub versions: Vec<VersionView>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionView {
    /// Its name.
    pub version: String,
    /// Size of the image, bytes.
    pub size_bytes: u64,
    /// SHA-256 of the image file, hex.
    pub digest: String,
    /// Build id, hex, if the image has one.
    pub build_id: Option<String>,
    /// What MCUboot would see; left out of lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcuboot: Option<McubootView>,
}

/// An image as MCUboot sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct McubootView {
    /// Version in the header; absent where there is no header.
    pub version: Option<String>,
    /// Bytes of header and payload that the header tells of.
    pub image_size_bytes: Option<u32>,
    /// Kind of signature, if there is one; it is not checked, since the server has no keys.
    pub signature: Option<String>,
    /// What is wrong with the image, gravest first; empty if nothing is.
    pub defects: Vec<String>,
}

/// `POST /v1/devices`: one or many devices; known ones get their tags replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DevicesBody {
    /// Devices to make known.
    pub devices: Vec<DeviceBody>,
}

/// One device to register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceBody {
    /// Its id.
    #[schemars(with = "String")]
    pub id: DeviceId,
    /// Its tags.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub tags: Tags,
}

/// `PATCH /v1/devices/{id}` and `POST /v1/tags`: tags to set; `null` removes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagsBody {
    /// Devices concerned; left out where the path names one, or `who` selects them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub devices: Option<Vec<DeviceId>>,
    /// A selection such as `tag.region:west,!cohort:canary`, instead of `devices`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// Key to value, or to `null`.
    pub tags: BTreeMap<String, Option<String>>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceView {
    /// Its id.
    #[schemars(with = "String")]
    pub id: DeviceId,
    /// Its tags.
    #[schemars(with = "BTreeMap<String, String>")]
    pub tags: Tags,
    /// Cohorts that it is in, `all` left out.
    #[schemars(with = "Vec<String>")]
    pub cohorts: Vec<CohortName>,
    /// Connected and subscribed to its OTA topic.
    pub online: bool,
    /// Build id last reported, hex.
    pub build_id: Option<String>,
    /// `SLUG@VERSION` that it runs, as far as it told: by its build id, and by results.
    pub runs: Vec<String>,
    /// Attempts, oldest first.
    pub attempts: Vec<AttemptView>,
}

/// An attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// Its id, as text.
    #[schemars(with = "String")]
    pub id: AttemptId,
    /// Whose attempt.
    #[schemars(with = "String")]
    pub device: DeviceId,
    /// What it carries out.
    #[schemars(with = "String")]
    pub deployment: DeploymentName,
    /// What the server believes.
    #[schemars(with = "String")]
    pub state: UpdateState,
    /// A cancellation was asked for and the device has not answered.
    pub cancel_requested: bool,
    /// One entry an artifact: `succeeded`, `failed`, `canceled`, or `null` while pending.
    pub results: Vec<Option<String>>,
    /// Number of the attempt error, if the device reported one.
    pub error: Option<u64>,
    /// Why it ended, if it has.
    #[schemars(with = "Option<String>")]
    pub reason: Option<StateReason>,
}

/// Something that happened to a device or to one of its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryEntry {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The message that the server was handling: `management`, `connect`, `subscribe`, `ingest`, `update-results`, `packet`,
    /// `connection`, or `time`.
    pub by: String,
    /// The attempt, as text; absent where it is about the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub attempt: Option<AttemptId>,
    /// What: `created`, `manifest-sent`, `cancel-requested`, `results`, `refused`, `ended`; `registered`, `tagged`, `joined`, `left`.
    pub what: String,
    /// State of the attempt from here on, where it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub state: Option<UpdateState>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `POST /v1/cohorts`, `PATCH /v1/cohorts/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CohortBody {
    /// Its name; left out where the path names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub name: Option<CohortName>,
    /// Rule on tags, such as `tag.region:west`; left out for a cohort by hand.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// A cohort.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CohortView {
    /// Its name.
    #[schemars(with = "String")]
    pub name: CohortName,
    /// Its rule, if it has one.
    #[serde(rename = "where")]
    pub rule: Option<String>,
    /// Number of members.
    pub members: u64,
    /// The deployment that holds for it.
    #[schemars(with = "Option<String>")]
    pub deployment: Option<DeploymentName>,
}

/// `POST /v1/cohorts/{name}/join` and `/leave`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MembersBody {
    /// Devices to put in or take out.
    #[schemars(with = "Vec<String>")]
    pub devices: Vec<DeviceId>,
}

/// `POST /v1/deployments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentBody {
    /// Name, unique on the server; made up when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub name: Option<DeploymentName>,
    /// Which devices.
    #[schemars(with = "String")]
    pub cohort: CohortName,
    /// `SLUG@VERSION` in manifest order.
    pub packages: Vec<String>,
    /// Slug of the main package, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main: Option<String>,
}

/// A deployment and its progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeploymentView {
    /// Its name.
    #[schemars(with = "String")]
    pub name: DeploymentName,
    /// Which devices.
    #[schemars(with = "String")]
    pub cohort: CohortName,
    /// `SLUG@VERSION` in manifest order.
    pub packages: Vec<String>,
    /// Slug of the main package, if one is.
    pub main: Option<String>,
    /// False once cancelled or superseded.
    pub active: bool,
    /// It makes no new offers until it is resumed.
    pub paused: bool,
    /// Attempts by state.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub progress: BTreeMap<UpdateState, u64>,
    /// Attempts that have ended, by why: `results` and its like for those that devices ended, and what closed the others.
    #[schemars(with = "BTreeMap<String, u64>")]
    pub reasons: BTreeMap<StateReason, u64>,
}

/// How rules have fared at a server with a judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgeView {
    /// `squall.judge/1`.
    pub schema: String,
    /// Devices that were seen.
    pub devices: u64,
    /// Single checks made.
    pub checks: u64,
    /// Every rule that is held, in the order of findings.
    pub rules: Vec<JudgedRule>,
    /// The first break of each rule and device, as they came; beyond a thousand they are counted alone.
    pub findings: Vec<JudgeFinding>,
}

/// A rule at a server with a judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedRule {
    /// Its name.
    pub rule: String,
    /// How often it was checked.
    pub checks: u64,
    /// How often it was broken.
    pub broken: u64,
}

/// The first break of a rule by a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JudgeFinding {
    /// Name of the rule.
    pub rule: String,
    /// Whom it concerns, if one device.
    #[schemars(with = "Option<String>")]
    pub device: Option<DeviceId>,
    /// When, nanoseconds since the server's epoch.
    pub at_ns: u64,
    /// What was seen, in words.
    pub evidence: String,
}

/// How long the server took for what it was told, since its process began: from when it was told until whatever reveals the answer was on
/// its way, changes stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimesView {
    /// `squall.times/1`.
    pub schema: String,
    /// By what the server was told.
    pub ops: Vec<OpTimes>,
}

/// How long the server took for one sort of thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpTimes {
    /// `management`, `connect`, `subscribe`, `ingest`, `update-results`, `packet`, or `connection`.
    pub op: String,
    /// Microseconds, rising, three digits of them; each with how often it took so long.
    pub counts: Vec<(u64, u64)>,
}

/// A page of anything: items and where the next page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Value for `after` that gives the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
