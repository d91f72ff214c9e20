//! The management API, in plain HTTP.

use serde_json::{Value, json};

use super::rig::{Serve, address, image, request};

/// A problem as the contract wants it: content type, status, field, and a detail that holds `words`.
fn assert_problem(answer: &super::rig::Answer, status: u16, field: Option<&str>, words: &[&str]) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem.get("field").and_then(Value::as_str), field, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    words
        .iter()
        .for_each(|word| assert!(detail.contains(word), "{word:?} is not in {detail:?}"));
}

#[test]
fn nobody_passes_without_the_token_but_the_health_check() {
    let serve = Serve::start(&["--tls", "off"]);
    let admin = address(&serve.ready.admin);
    let health = request(admin, "GET", "/healthz", &[], b"");
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    for headers in [
        &[][..],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", "Basic eDp5")],
    ] {
        for path in ["/v1/devices", "/v1/events", "/nowhere"] {
            let refused = request(admin, "GET", path, headers, b"");
            assert_problem(&refused, 401, None, &["Authorization: Bearer"]);
            assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        }
    }
}

#[test]
fn errors_name_thing_and_value() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
    let ask = |method, path, body: &str| serve.ask(method, path, body);
    assert_problem(&ask("GET", "/v2/x", ""), 404, None, &["/v2/x"]);
    assert_problem(&ask("DELETE", "/v1/devices", ""), 405, None, &["DELETE", "/v1/devices"]);
    assert_problem(&ask("POST", "/v1/firmware", r#"{"slug":"a/b"}"#), 422, Some("slug"), &["a/b"]);
    assert_problem(&ask("POST", "/v1/firmware", r#"{"slug":"app"}"#), 409, None, &["app"]);
    assert_problem(&ask("POST", "/v1/firmware", r#"{"slug":7}"#), 400, Some("slug"), &["7"]);
    assert_problem(&ask("POST", "/v1/firmware", "{"), 400, None, &["EOF"]);
    assert_problem(&ask("GET", "/v1/firmware/modem", ""), 404, None, &["modem"]);
    assert_problem(&ask("GET", "/v1/firmware/app/versions/9.9.9", ""), 404, None, &["app@9.9.9"]);
    assert_problem(&ask("PUT", "/v1/firmware/modem/versions/1.0.0", "x"), 404, None, &["modem"]);
    assert_problem(&ask("GET", "/v1/devices/meter-7", ""), 404, None, &["meter-7"]);
    assert_problem(
        &ask("POST", "/v1/devices", r#"{"devices":[{"id":"x","tags":{"region":"we st"}}]}"#),
        422,
        Some("tags"),
        &["we st"],
    );
    assert_problem(
        &ask("POST", "/v1/tags", r#"{"devices":["ghost"],"tags":{"a":"b"}}"#),
        422,
        None,
        &["ghost"],
    );
    assert_problem(
        &ask("POST", "/v1/cohorts", r#"{"name":"west","where":"fleet:x"}"#),
        422,
        Some("where"),
        &["fleet"],
    );
    assert_problem(
        &ask("POST", "/v1/cohorts", r#"{"name":"West"}"#),
        422,
        Some("name"),
        &["West"],
    );
    assert_problem(
        &ask("POST", "/v1/cohorts", r#"{"where":"tag.a:b"}"#),
        422,
        Some("name"),
        &["name"],
    );
    assert_problem(
        &ask("POST", "/v1/cohorts/west/join", r#"{"devices":[]}"#),
        404,
        None,
        &["west"],
    );
    assert_problem(
        &ask("POST", "/v1/deployments", r#"{"cohort":"west","packages":["app"]}"#),
        422,
        Some("packages[0]"),
        &["app"],
    );
    assert_problem(
        &ask("POST", "/v1/deployments", r#"{"cohort":"west","packages":["app@1.0.0"]}"#),
        422,
        None,
        &["west"],
    );
    assert_problem(&ask("POST", "/v1/deployments/x/cancel", ""), 404, None, &["x"]);
    assert_problem(&ask("GET", "/v1/devices?limit=many", ""), 400, None, &["limit"]);
    assert_problem(&ask("GET", "/v1/cohorts?after=nobody", ""), 422, Some("after"), &["nobody"]);
    assert_problem(&ask("GET", "/v1/events?after=99", ""), 422, Some("after"), &["99"]);
}

#[test]
fn an_image_beyond_the_limit_is_refused_as_it_comes() {
    let serve = Serve::start(&["--tls", "off", "--limit", "image=1 MiB"]);
    serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
    let answer = serve.ask("PUT", "/v1/firmware/app/versions/1.0.0", vec![0; (1 << 20) + 1]);
    assert_problem(&answer, 413, None, &["the image", "1048576"]);
    assert_eq!(serve.done("GET", "/v1/firmware/app", "")["versions"], json!([]));
}

#[test]
fn every_noun_can_be_made_read_listed_and_changed() {
    let serve = Serve::start(&["--tls", "off", "--first-attempt", "1001"]);
    let image = image("1.1.0", 20_000);
    assert_eq!(
        serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#),
        json!({"slug": "app", "versions": []})
    );
    let version = serve.done("PUT", "/v1/firmware/app/versions/1.1.0", &image);
    assert_eq!(
        (&version["version"], &version["size_bytes"]),
        (&json!("1.1.0"), &json!(20_000))
    );
    assert_eq!(serve.done("GET", "/v1/firmware/app/versions/1.1.0", ""), version);
    let mut listed = version.clone();
    listed.as_object_mut().unwrap().remove("mcuboot");
    assert_eq!(serve.done("GET", "/v1/firmware", "")["items"][0]["versions"][0], listed);

    serve.done(
        "POST",
        "/v1/devices",
        r#"{"devices":[{"id":"a","tags":{"region":"west"}},{"id":"b"},{"id":"c"}]}"#,
    );
    let first = serve.done("GET", "/v1/devices?limit=2", "");
    assert_eq!((first["items"].as_array().unwrap().len(), &first["next"]), (2, &json!("b")));
    let second = serve.done("GET", "/v1/devices?limit=2&after=b", "");
    assert_eq!((&second["items"][0]["id"], second.get("next")), (&json!("c"), None));

    let west = serve.done("POST", "/v1/cohorts", r#"{"name":"west","where":"tag.region:west"}"#);
    assert_eq!((&west["members"], &west["where"]), (&json!(1), &json!("tag.region:west")));
    assert_eq!(
        serve.done("PATCH", "/v1/devices/b", r#"{"tags":{"region":"west","rev":"a"}}"#)["cohorts"],
        json!(["west"])
    );
    serve.done("POST", "/v1/tags", r#"{"devices":["a","b"],"tags":{"region":null}}"#);
    assert_eq!(serve.done("GET", "/v1/cohorts/west", "")["members"], 0);
    assert_eq!(
        serve.done("PATCH", "/v1/cohorts/west", r#"{"where":"tag.rev:a"}"#)["members"],
        1
    );

    serve.done("POST", "/v1/cohorts", r#"{"name":"hand"}"#);
    assert_eq!(
        serve.done("POST", "/v1/cohorts/hand/join", r#"{"devices":["a","c"]}"#)["members"],
        2
    );
    assert_eq!(
        serve.done("POST", "/v1/cohorts/hand/leave", r#"{"devices":["a"]}"#)["members"],
        1
    );
    assert_eq!(serve.done("GET", "/v1/cohorts/hand/members", "")["items"], json!(["c"]));

    let made = serve.done(
        "POST",
        "/v1/deployments",
        r#"{"cohort":"hand","packages":["app@1.1.0"],"main":"app"}"#,
    );
    assert_eq!(
        (&made["name"], &made["progress"]["pending"]),
        (&json!("deployment-1"), &json!(1))
    );
    let attempts = serve.done("GET", "/v1/deployments/deployment-1/attempts", "");
    assert_eq!(
        (&attempts["items"][0]["id"], &attempts["items"][0]["device"]),
        (&json!("1001"), &json!("c"))
    );
    let cancelled = serve.done("POST", "/v1/deployments/deployment-1/cancel", "");
    assert_eq!(
        (&cancelled["active"], &cancelled["progress"]["cancelled"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(serve.done("GET", "/v1/deployments", "")["items"], json!([cancelled]));
}

#[test]
fn events_are_told_in_order_to_late_and_early_readers() {
    let serve = Serve::start(&["--tls", "off"]);
    let mut early = serve.events("?after=0");
    serve.done("POST", "/v1/devices", r#"{"devices":[{"id":"a"},{"id":"b"}]}"#);
    serve.deploy_to_all("d");
    let seen: Vec<Value> = early.by_ref().take(4).collect();
    let said: Vec<_> = seen
        .iter()
        .map(|event| {
            (
                event["seq"].as_u64().unwrap(),
                event["event"].as_str().unwrap(),
                event["device"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (1, "device-registered", "a"),
            (2, "device-registered", "b"),
            (3, "state-changed", "a"),
            (4, "state-changed", "b")
        ]
    );
    assert_eq!(
        (&seen[3]["from"], &seen[3]["to"], &seen[3]["deployment"]),
        (&json!("none"), &json!("pending"), &json!("d"))
    );
    assert_eq!(serve.events("?after=3").next().as_ref(), seen.last());
    let mut fresh = serve.events("");
    serve.done("POST", "/v1/deployments/d/cancel", "");
    assert_eq!(fresh.next().map(|event| event["seq"].clone()), Some(json!(5)));
}

#[test]
fn a_head_beyond_the_limit_is_refused() {
    let serve = Serve::start(&["--tls", "off"]);
    let long = "x".repeat(20_000);
    for to in [address(&serve.ready.admin), serve.images()] {
        assert_eq!(request(to, "GET", "/healthz", &[("X-Long", &long)], b"").status, 431);
    }
}

#[test]
fn lists_are_filtered_by_tag_cohort_state_and_version() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.deploy_to_all("d");
    let devices = r#"{"devices":[{"id":"a","tags":{"rev":"1"}},{"id":"b","tags":{"rev":"2"}},{"id":"c","tags":{"rev":"1"}}]}"#;
    serve.ask("POST", "/v1/devices", devices);
    serve.done("POST", "/v1/cohorts", r#"{"name":"few"}"#);
    serve.done("POST", "/v1/cohorts/few/join", r#"{"devices":["a","b"]}"#);
    let ids = |query: &str| {
        let page = serve.done("GET", &format!("/v1/devices{query}"), "");
        let ids = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned());
        (ids.collect::<Vec<_>>().join(" "), page["next"].as_str().map(str::to_owned))
    };
    for (query, expected) in [
        ("?tag=rev:1", "a c"),
        ("?cohort=few&tag=rev:1", "a"),
        ("?state=pending", "a b c"),
        ("?state=failed", ""),
        ("?version=app@1.1.0", ""),
        ("?who=tag.rev:1,!cohort:few", "c"),
    ] {
        assert_eq!(ids(query), (expected.to_owned(), None), "{query}");
    }
    assert_eq!(ids("?tag=rev:1&limit=1"), ("a".to_owned(), Some("a".to_owned())));
    assert_eq!(ids("?tag=rev:1&limit=1&after=a"), ("c".to_owned(), None));
    let attempts = |state: &str| serve.done("GET", &format!("/v1/deployments/d/attempts?state={state}"), "")["items"].clone();
    assert_eq!(
        (attempts("pending").as_array().unwrap().len(), attempts("failed")),
        (3, json!([]))
    );
    assert_problem(&serve.ask("GET", "/v1/devices?state=odd", ""), 422, Some("state"), &["odd"]);
    assert_problem(&serve.ask("GET", "/v1/devices?who=2+of+all", ""), 422, Some("who"), &["pick"]);
    assert_problem(&serve.ask("GET", "/v1/devices?color=red", ""), 400, None, &["color"]);
}

#[test]
fn a_change_is_made_only_if_nobody_was_faster() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.ask("POST", "/v1/devices", r#"{"devices":[{"id":"a"}]}"#);
    let bearer = format!("Bearer {}", serve.credentials.token);
    let patch = |tag: &str, body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("If-Match", tag)];
        request(
            address(&serve.ready.admin),
            "PATCH",
            "/v1/devices/a",
            &headers,
            body.as_bytes(),
        )
    };
    let seen = serve.ask("GET", "/v1/devices/a", "").header("etag").unwrap().to_owned();
    let changed = patch(&seen, r#"{"tags":{"rev":"1"}}"#);
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(seen.as_str()));
    assert_problem(&patch(&seen, r#"{"tags":{"rev":"2"}}"#), 412, None, &["ETag"]);
    assert_eq!(serve.done("GET", "/v1/devices/a", "")["tags"]["rev"], "1");
    assert_eq!(patch("\"x\", *", r#"{"tags":{"rev":"3"}}"#).status, 200);
}

#[test]
fn a_creation_under_a_key_is_made_once() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.deploy_to_all("d");
    let bearer = format!("Bearer {}", serve.credentials.token);
    let create = |key: &str, body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", key)];
        request(
            address(&serve.ready.admin),
            "POST",
            "/v1/deployments",
            &headers,
            body.as_bytes(),
        )
    };
    let body = r#"{"cohort":"all","packages":["app@1.1.0"]}"#;
    let (first, second) = (create("k-1", body), create("k-1", body));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.json()["name"], second.json()["name"]);
    assert_eq!(
        (first.header("idempotency-replayed"), second.header("idempotency-replayed")),
        (None, Some("true"))
    );
    assert_ne!(create("k-2", body).json()["name"], first.json()["name"]);
    assert_problem(&create("k-1", "{}"), 422, Some("Idempotency-Key"), &["k-1"]);
    assert_problem(&create("a b", body), 422, Some("Idempotency-Key"), &["printable"]);
    assert_eq!(serve.done("GET", "/v1/deployments", "")["items"].as_array().unwrap().len(), 3);
}

#[test]
fn an_upload_is_held_against_its_digest_and_its_header() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
    let image = image("1.1.0", 8_000);
    let bearer = format!("Bearer {}", serve.credentials.token);
    let headers = [("Authorization", bearer.as_str()), ("Content-Digest", "sha-256=:AAAA:")];
    let path = "/v1/firmware/app/versions/1.1.0";
    let refused = request(address(&serve.ready.admin), "PUT", path, &headers, &image);
    assert_problem(&refused, 422, Some("Content-Digest"), &["sha-256=:"]);
    let strict =
        |version: &str, image: &[u8]| serve.ask("PUT", &format!("/v1/firmware/app/versions/{version}?require=mcuboot"), image);
    assert_problem(&strict("1.2.0", &image), 422, Some("version"), &["1.1.0", "1.2.0"]);
    assert_problem(&strict("1.1.0", &[7; 64]), 422, Some("image"), &["MCUboot"]);
    assert_eq!(strict("1.1.0", &image).status, 201);
    let seen = &serve.done("GET", path, "")["mcuboot"];
    assert_eq!((&seen["version"], &seen["defects"]), (&"1.1.0".into(), &json!([])));
    assert_eq!(serve.ask("DELETE", path, "").status, 204);
    assert_eq!(serve.ask("GET", path, "").status, 404);
}

#[test]
fn events_come_as_server_sent_events_and_are_resumed() {
    let serve = Serve::start(&["--tls", "off"]);
    serve.ask("POST", "/v1/devices", r#"{"devices":[{"id":"a"},{"id":"b"}]}"#);
    let bearer = format!("Bearer {}", serve.credentials.token);
    let follow = |last: &str| {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Accept", "text/event-stream"),
            ("Last-Event-ID", last),
        ];
        let stream = super::rig::open_request(address(&serve.ready.admin), "GET", "/v1/events", &headers, b"");
        let lines = std::io::BufRead::lines(std::io::BufReader::new(stream)).map(|line| line.unwrap());
        let told = lines.filter(|line| line.starts_with("id: ") || line.starts_with("data: ") || line.starts_with("content-type"));
        told.take(3).collect::<Vec<_>>()
    };
    let first = follow("0");
    assert_eq!(first[..2], ["content-type: text/event-stream", "id: 1"]);
    let second = follow("1");
    assert_eq!(second[1], "id: 2");
    assert!(second[2].contains(r#""device":"b""#), "{second:?}");
}

#[test]
fn the_document_of_the_api_is_open_and_names_its_version() {
    let serve = Serve::start(&["--tls", "off"]);
    let document = request(address(&serve.ready.admin), "GET", "/openapi.json", &[], b"").json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["components"]["schemas"]["DeviceView"]["type"], "object");
}
