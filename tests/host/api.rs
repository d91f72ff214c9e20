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
    let serve = Serve::start(&["--tls", "off"]);
    serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
    let answer = serve.ask("PUT", "/v1/firmware/app/versions/1.0.0", vec![0; (16 << 20) + 1]);
    assert_problem(&answer, 413, None, &["the image", "16777216"]);
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
    assert_eq!(serve.done("GET", "/v1/firmware", "")["items"][0]["versions"][0], version);

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
