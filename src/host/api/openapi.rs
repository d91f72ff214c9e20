//! `GET /openapi.json`: what the management API takes and gives, as OpenAPI 3.1. Schemas come from the types of [`crate::wire::api`];
//! OpenAPI 3.1 speaks JSON Schema 2020-12 as they do. Paths stand in one table, which a test holds against the routes.

use axum::Json;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::wire::api::{
    AttemptView, CohortBody, CohortView, DeploymentBody, DeploymentView, DeviceView, DevicesBody, EventLine, FirmwareBody,
    FirmwareView, HistoryEntry, JudgeView, MembersBody, Page, Problem, TagsBody, TimesView, VersionView,
};

/// Makes the schema of one type.
type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What a body or an answer holds.
enum Content {
    Nothing,
    Json(SchemaOf),
    /// Bytes or text of this media type.
    Raw(&'static str),
    /// A line or a message an event.
    Events,
}

/// One operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// Parameters in the query, and in headers.
    parameters: &'static [Parameter],
    body: Content,
    /// Status and content of success.
    success: (u16, Content),
    /// Statuses beside those that every operation may answer.
    errors: &'static [u16],
}

/// A parameter beside those in the path.
#[derive(Clone, Copy)]
struct Parameter {
    name: &'static str,
    within: &'static str,
    kind: &'static str,
    what: &'static str,
}

const fn query(name: &'static str, kind: &'static str, what: &'static str) -> Parameter {
    let within = "query";
    Parameter {
        name,
        within,
        kind,
        what,
    }
}

const fn header(name: &'static str, what: &'static str) -> Parameter {
    let (within, kind) = ("header", "string");
    Parameter {
        name,
        within,
        kind,
        what,
    }
}

const AFTER: Parameter = query("after", "string", "`next` of the page before");
const LIMIT: Parameter = query("limit", "integer", "most items of a page: 1 to 1000, 100 if left out");
const KEY: Parameter = header(
    "Idempotency-Key",
    "a request sent again under its key is not carried out again",
);
const MATCH: Parameter = header("If-Match", "the change is made only if the resource still has this ETag");
const PAGE: &[Parameter] = &[AFTER, LIMIT];
const DEVICES: &[Parameter] = &[
    AFTER,
    LIMIT,
    query("who", "string", "a selection, such as `tag.region:west,!cohort:canary`"),
    query("tag", "string", "`KEY:VALUE`"),
    query("cohort", "string", "members of this cohort"),
    query("state", "string", "state of the latest attempt"),
    query("version", "string", "`SLUG@VERSION` that the device runs, as far as it told"),
];
const ATTEMPTS: &[Parameter] = &[AFTER, LIMIT, query("state", "string", "attempts in this state")];
const UPLOAD: &[Parameter] = &[
    query(
        "require",
        "string",
        "`mcuboot`: refuse what is no sound MCUboot image of this version",
    ),
    header(
        "Content-Digest",
        "`sha-256=:BASE64:` of the body (RFC 9530); another body is refused",
    ),
];
const EVENTS: &[Parameter] = &[
    query(
        "after",
        "integer",
        "begin behind the event of this number; zero: at the first one kept",
    ),
    header(
        "Last-Event-ID",
        "as `after`, for a stream of server-sent events that is resumed",
    ),
];

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

const fn get(path: &'static str, summary: &'static str, parameters: &'static [Parameter], gives: SchemaOf) -> Operation {
    Operation {
        method: "get",
        path,
        summary,
        parameters,
        body: Content::Nothing,
        success: (200, Content::Json(gives)),
        errors: &[],
    }
}

const fn post(path: &'static str, summary: &'static str, takes: Content, success: (u16, Content)) -> Operation {
    Operation {
        method: "post",
        path,
        summary,
        parameters: &[KEY],
        body: takes,
        success,
        errors: &[409],
    }
}

/// What needs no token.
const fn open_to_all(path: &'static str, summary: &'static str, gives: Content) -> Operation {
    Operation {
        method: "get",
        path,
        summary,
        parameters: &[],
        body: Content::Nothing,
        success: (200, gives),
        errors: &[],
    }
}

fn anything(_: &mut SchemaGenerator) -> Schema {
    Schema::from(true)
}

/// A verb on a deployment.
const fn steer(path: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: "post",
        path,
        summary,
        parameters: &[KEY, MATCH],
        body: Content::Nothing,
        success: (200, Content::Json(of::<DeploymentView>)),
        errors: &[409, 412],
    }
}

const fn change(path: &'static str, summary: &'static str, takes: SchemaOf, gives: SchemaOf) -> Operation {
    Operation {
        method: "patch",
        path,
        summary,
        parameters: &[MATCH],
        body: Content::Json(takes),
        success: (200, Content::Json(gives)),
        errors: &[409, 412],
    }
}

const VERSION: &str = "/v1/firmware/{slug}/versions/{version}";

const OPERATIONS: &[Operation] = &[
    get("/v1/firmware", "Firmware with its versions", PAGE, of::<Page<FirmwareView>>),
    post(
        "/v1/firmware",
        "Make a firmware",
        Content::Json(of::<FirmwareBody>),
        (201, Content::Json(of::<FirmwareView>)),
    ),
    get("/v1/firmware/{slug}", "One firmware", &[], of::<FirmwareView>),
    get(VERSION, "One version", &[], of::<VersionView>),
    Operation {
        method: "put",
        path: VERSION,
        summary: "Upload the image of a version; again with the same image changes nothing",
        parameters: UPLOAD,
        body: Content::Raw("application/octet-stream"),
        success: (201, Content::Json(of::<VersionView>)),
        errors: &[409],
    },
    Operation {
        method: "delete",
        path: VERSION,
        summary: "Take away a version that was never deployed",
        parameters: &[MATCH],
        body: Content::Nothing,
        success: (204, Content::Nothing),
        errors: &[409, 412],
    },
    get("/v1/devices", "Devices", DEVICES, of::<Page<DeviceView>>),
    post(
        "/v1/devices",
        "Make devices known, or replace the tags of known ones",
        Content::Json(of::<DevicesBody>),
        (204, Content::Nothing),
    ),
    get("/v1/devices/{id}", "One device", &[], of::<DeviceView>),
    change("/v1/devices/{id}", "Change its tags", of::<TagsBody>, of::<DeviceView>),
    get(
        "/v1/devices/{id}/history",
        "What happened to it: when, why, on which message",
        &[],
        of::<Vec<HistoryEntry>>,
    ),
    post(
        "/v1/tags",
        "Change tags of many devices, named or selected; all or none",
        Content::Json(of::<TagsBody>),
        (204, Content::Nothing),
    ),
    get("/v1/cohorts", "Cohorts", PAGE, of::<Page<CohortView>>),
    post(
        "/v1/cohorts",
        "Make a cohort",
        Content::Json(of::<CohortBody>),
        (201, Content::Json(of::<CohortView>)),
    ),
    get("/v1/cohorts/{name}", "One cohort", &[], of::<CohortView>),
    change("/v1/cohorts/{name}", "Change its rule", of::<CohortBody>, of::<CohortView>),
    get("/v1/cohorts/{name}/members", "Ids of its members", PAGE, of::<Page<String>>),
    post(
        "/v1/cohorts/{name}/join",
        "Put devices in",
        Content::Json(of::<MembersBody>),
        (200, Content::Json(of::<CohortView>)),
    ),
    post(
        "/v1/cohorts/{name}/leave",
        "Take devices out",
        Content::Json(of::<MembersBody>),
        (200, Content::Json(of::<CohortView>)),
    ),
    get(
        "/v1/deployments",
        "Deployments with their progress",
        PAGE,
        of::<Page<DeploymentView>>,
    ),
    post(
        "/v1/deployments",
        "Bring a cohort to versions",
        Content::Json(of::<DeploymentBody>),
        (201, Content::Json(of::<DeploymentView>)),
    ),
    get(
        "/v1/deployments/{name}",
        "One deployment with its progress",
        &[],
        of::<DeploymentView>,
    ),
    get(
        "/v1/deployments/{name}/attempts",
        "Its attempts",
        ATTEMPTS,
        of::<Page<AttemptView>>,
    ),
    steer("/v1/deployments/{name}/cancel", "Withdraw it"),
    steer("/v1/deployments/{name}/pause", "Make no new offers"),
    steer("/v1/deployments/{name}/resume", "Make offers again"),
    steer(
        "/v1/deployments/{name}/retry",
        "A new attempt for each device whose latest one failed",
    ),
    get("/v1/attempts/{id}", "One attempt", &[], of::<AttemptView>),
    get(
        "/v1/attempts/{id}/history",
        "What happened to it: when, why, on which message",
        &[],
        of::<Vec<HistoryEntry>>,
    ),
    Operation {
        errors: &[404],
        ..get(
            "/v1/judge",
            "How the rules have fared, at a server that was started with `--judge`",
            &[],
            of::<JudgeView>,
        )
    },
    get(
        "/v1/times",
        "How long the server took for what it was told, by what that was",
        &[],
        of::<TimesView>,
    ),
    open_to_all("/healthz", "Alive, if it answers", Content::Raw("text/plain")),
    open_to_all("/openapi.json", "This document", Content::Json(anything)),
    Operation {
        success: (200, Content::Raw("text/plain")),
        ..get("/metrics", "Counts in the text format of Prometheus", &[], anything)
    },
    Operation {
        method: "get",
        path: "/v1/events",
        summary: "Events as they happen, without end: NDJSON, or server-sent events if `Accept` asks for them",
        parameters: EVENTS,
        body: Content::Nothing,
        success: (200, Content::Events),
        errors: &[410],
    },
];

/// Paths that need no token.
const OPEN: [&str; 2] = ["/healthz", "/openapi.json"];

/// What any operation may answer: bad request, no token, too slow, too large, a wrong value, the server is ending.
const COMMON: [u16; 6] = [400, 401, 408, 413, 422, 503];

/// `GET /openapi.json`.
pub(super) async fn show() -> Json<Value> {
    Json(document())
}

fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let described = describe(operation, &mut generator, &problem);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "squall serve: management API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Firmware, devices, cohorts, deployments. Errors are RFC 9457 problems that name field and value.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
    let (status, content) = &operation.success;
    let mut answers = Map::new();
    let mut success = json!({ "description": "Done" });
    if let Some(content) = media(content, generator) {
        success["content"] = content;
    }
    answers.insert(status.to_string(), success);
    let unknown: &[u16] = if operation.path.contains('{') { &[404] } else { &[] };
    for status in COMMON.iter().chain(operation.errors).chain(unknown) {
        let content = json!({ "application/problem+json": { "schema": problem } });
        answers.insert(
            status.to_string(),
            json!({ "description": meaning(*status), "content": content }),
        );
    }
    let mut described = json!({
        "summary": operation.summary,
        "operationId": format!("{} {}", operation.method, operation.path),
        "parameters": parameters(operation),
        "responses": answers,
    });
    if OPEN.contains(&operation.path) {
        described["security"] = json!([]);
    }
    if let Some(content) = media(&operation.body, generator) {
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let named = operation.path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
    let in_path =
        named.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }));
    let beside = operation.parameters.iter().map(|parameter| {
        let mut schema = json!({ "type": parameter.kind });
        if parameter.kind == "integer" {
            schema["minimum"] = 0.into();
        }
        json!({ "name": parameter.name, "in": parameter.within, "description": parameter.what, "schema": schema })
    });
    in_path.chain(beside).collect()
}

fn media(content: &Content, generator: &mut SchemaGenerator) -> Option<Value> {
    match content {
        Content::Nothing => None,
        Content::Json(schema) => Some(json!({ "application/json": { "schema": schema(generator) } })),
        Content::Raw(media) => Some(json!({ *media: { "schema": { "type": "string" } } })),
        Content::Events => {
            let event = of::<EventLine>(generator);
            Some(json!({ "application/x-ndjson": { "itemSchema": event }, "text/event-stream": { "itemSchema": event } }))
        }
    }
}

const fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read",
        401 => "No token, or a wrong one",
        404 => "Something that the path names is not there",
        408 => "The body paused for too long",
        409 => "Not possible in this state",
        410 => "Events that were asked for are kept no longer",
        412 => "Changed meanwhile",
        413 => "The body is too long",
        422 => "A value is not acceptable",
        _ => "The server is ending",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let source = include_str!("mod.rs");
        let routes = source.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1));
        let mut routes: Vec<_> = routes.collect();
        routes.sort_unstable();
        let document = document();
        let mut described: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        described.sort_unstable();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        let document = document();
        let text = document.to_string();
        let names = text
            .split("\"#/components/schemas/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        let mut seen = 0;
        for name in names {
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
            seen += 1;
        }
        assert!(seen > 100, "{seen} references");
    }
}
