//! `serve --store`: what is known after a restart, what cannot be used is named, and where secrets lie.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde_json::Value;
use squall::wire::ota::{CloudMessage, decode_cloud};
use squall::wire::topic;

use super::images::manifest;
use super::mqtt::Client;
use super::rig::{Serve, address, image, request, squall, within_patience};

/// A server on a store, without TLS, for which the client of these tests does.
fn start(store: &Path) -> Serve {
    let store = store.to_str().expect("the place has a plain name");
    Serve::start(&["--tls", "off", "--store", store])
}

/// Ends a server as power would.
fn kill(mut serve: Serve) {
    serve.child.kill().expect("a child can be killed");
    let _status = serve.child.wait();
}

fn online(serve: &Serve, device: &str) -> Client {
    let mut client = Client::connect(serve, device);
    client.subscribe(topic::OTA_C2D);
    client
}

/// Everything that lists show.
fn shown(serve: &Serve) -> Vec<Value> {
    let paths = ["firmware", "devices", "cohorts", "deployments", "deployments/up/attempts"];
    paths
        .iter()
        .map(|path| serve.done("GET", &format!("/v1/{path}"), ""))
        .collect()
}

#[test]
fn a_killed_server_goes_on_where_it_was() {
    let place = tempfile::tempdir().unwrap();
    let serve = start(place.path());
    let bytes = serve.deploy_to_all("up");
    serve.done(
        "POST",
        "/v1/devices",
        r#"{"devices":[{"id":"d-2","tags":{"region":"west"}}]}"#,
    );
    serve.done("POST", "/v1/cohorts", r#"{"name":"west","where":"tag.region:west"}"#);
    let mut client = online(&serve, "d-1");
    let offered = client.publish_received();
    serve.await_state("d-1", "in-progress");
    let before = shown(&serve);
    let told: Vec<Value> = serve.events("?after=0").take(6).collect();
    let key = serve.credentials.ingest_key.clone();
    kill(serve);

    let serve = start(place.path());
    assert_eq!(serve.credentials.ingest_key, key, "devices keep their password");
    let mut after = shown(&serve);
    after[1]["items"][0]["online"] = true.into();
    assert_eq!(after, before);
    let told_again: Vec<Value> = serve.events("?after=0").take(6).collect();
    assert_eq!(told_again, told, "events keep their numbers");
    let mut client = online(&serve, "d-1");
    let again = client.publish_received();
    let (first, second) = (manifest(&offered), manifest(&again));
    assert_eq!(
        first.artifacts[0].secret, second.artifacts[0].secret,
        "a secret that was handed out still opens"
    );
    let attempt = |payload: &[u8]| match decode_cloud(payload, 4).unwrap() {
        CloudMessage::UpdateArtifacts { attempt, .. } => attempt,
        other => panic!("a manifest, not {other:?}"),
    };
    assert_eq!(attempt(&offered), attempt(&again));
    let digest = &before[0]["items"][0]["versions"][0]["digest"];
    let file = place.path().join("images").join(digest.as_str().unwrap());
    assert_eq!(std::fs::read(file).unwrap(), bytes);
}

#[test]
fn a_request_with_a_key_is_not_carried_out_again_after_a_kill() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let deploy = |serve: &Serve, body: &str| {
        let bearer = format!("Bearer {}", serve.credentials.token);
        let headers = [("Authorization", bearer.as_str()), ("Idempotency-Key", "k-1")];
        request(
            address(&serve.ready.admin),
            "POST",
            "/v1/deployments",
            &headers,
            body.as_bytes(),
        )
    };
    let body = r#"{"cohort":"all","packages":["app@1.1.0"],"main":"app"}"#;
    let serve = start(&store);
    serve.done("POST", "/v1/firmware", r#"{"slug":"app"}"#);
    serve.done("PUT", "/v1/firmware/app/versions/1.1.0", image("1.1.0", 8_000));
    let first = deploy(&serve, body);
    assert_eq!(
        (first.status, first.header("idempotency-replayed")),
        (201, None),
        "{}",
        first.text()
    );
    kill(serve);
    for _ in 0..2 {
        let serve = start(&store);
        let again = deploy(&serve, body);
        assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
        assert_eq!(again.json(), first.json());
        let all = serve.done("GET", "/v1/deployments", "");
        assert_eq!(all["items"].as_array().map(Vec::len), Some(1), "{all}");
        assert_eq!(deploy(&serve, "{}").status, 422);
        kill(serve);
    }
    // One that was killed after the change and before the answer says that much, and changes nothing.
    let tables = rusqlite::Connection::open(store.join("squall.db")).unwrap();
    tables.execute("UPDATE answers SET status = NULL", []).unwrap();
    drop(tables);
    let serve = start(&store);
    let unheard = deploy(&serve, body);
    assert_eq!((unheard.status, &unheard.json()["type"]), (409, &"carried-out".into()));
}

#[test]
fn devices_trust_a_restarted_server_by_the_authority_they_know() {
    let place = tempfile::tempdir().unwrap();
    let start = || Serve::start(&["--tls", "auto", "--store", place.path().to_str().unwrap()]);
    let serve = start();
    let known = place.path().join("known.pem");
    std::fs::copy(serve.ca(), &known).unwrap();
    kill(serve);
    let serve = start();
    let output = Command::new("openssl")
        .args([
            "s_client",
            "-verify_return_error",
            "-connect",
            &serve.mqtt().to_string(),
            "-CAfile",
        ])
        .arg(&known)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            println!("not run: openssl missing");
            assert!(std::env::var_os("SQUALL_REQUIRE_TOOLS").is_none(), "openssl is missing");
        }
    }
}

#[test]
fn secrets_are_private_and_the_tables_know_none() {
    let place = tempfile::tempdir().unwrap();
    let serve = Serve::start(&["--tls", "off", "--store", place.path().to_str().unwrap()]);
    serve.deploy_to_all("up");
    let mut client = online(&serve, "d-1");
    let manifest = manifest(&client.publish_received());
    let secrets = [
        serve.credentials.token.clone().into_bytes(),
        serve.credentials.ingest_key.clone().into_bytes(),
        manifest.artifacts[0].secret.as_bytes().to_vec(),
        std::fs::read(place.path().join("artifact.key")).unwrap(),
    ];
    let mut looked_at = 0;
    for entry in std::fs::read_dir(place.path()).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match name.as_str() {
            "credentials.json" | "artifact.key" => assert_eq!(mode, 0o600, "{name}"),
            _ if name.starts_with("squall.db") => {
                let content = std::fs::read(&path).unwrap();
                looked_at += content.len();
                for secret in &secrets {
                    assert!(
                        !content.windows(secret.len()).any(|part| part == secret),
                        "{name} holds a secret"
                    );
                }
            }
            _ => {}
        }
    }
    assert!(looked_at > 100_000, "{looked_at} bytes of tables");
    let mode = std::fs::metadata(place.path().join("images")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
}

#[test]
fn credentials_may_be_taken_away_or_replaced() {
    let place = tempfile::tempdir().unwrap();
    let first = start(place.path());
    let old = first.credentials.clone();
    let file = place.path().join("credentials.json");
    kill(first);
    std::fs::rename(&file, place.path().join("vault.json")).unwrap();
    let mut command = squall(&["--tls", "off", "--store", place.path().to_str().unwrap()]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert!(!file.exists(), "nothing is made in the place of what is known");
    let admin = super::rig::address(ready["admin"].as_str().unwrap());
    let status = |token: &str| {
        let bearer = format!("Bearer {token}");
        request(admin, "GET", "/v1/devices", &[("Authorization", &bearer)], b"").status
    };
    assert_eq!((status(&old.token), status("another")), (200, 401));
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(&file, r#"{"token":"new token","ingest_key":"new key"}"#).unwrap();
    let serve = start(place.path());
    let bearer = format!("Bearer {}", old.token);
    let refused = request(
        super::rig::address(&serve.ready.admin),
        "GET",
        "/v1/devices",
        &[("Authorization", &bearer)],
        b"",
    );
    assert_eq!(refused.status, 401);
    serve.done("GET", "/v1/devices", "");
}

fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().expect("squall starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_store_that_cannot_be_used_is_named() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let flags = ["--tls", "off", "--store", store.to_str().unwrap()];
    let serve = Serve::start(&flags);
    serve.deploy_to_all("up");
    let (code, error) = refused(&mut squall(&flags));
    assert_eq!(code, Some(1));
    assert!(
        error.contains("store: `") && error.contains("is in use by another server"),
        "{error}"
    );
    kill(serve);

    let images = store.join("images");
    let image_file = std::fs::read_dir(&images).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&image_file).unwrap();
    std::fs::write(&image_file, &bytes[1..]).unwrap();
    let (code, error) = refused(&mut squall(&flags));
    assert_eq!(code, Some(1));
    assert!(error.contains("its bytes have changed: bring it back from a copy"), "{error}");
    std::fs::write(&image_file, &bytes).unwrap();

    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, error) = refused(&mut squall(&["--store", file.to_str().unwrap()]));
    assert_eq!(code, Some(1));
    assert!(error.starts_with("error: store: cannot create `"), "{error}");
    let serve = Serve::start(&flags);
    assert_eq!(serve.done("GET", "/v1/deployments", "")["items"][0]["name"], "up");
}

/// The modes of the folder forbid writing. Root, whom no mode stops, first gives up the capability to overlook them.
#[test]
fn a_read_only_folder_is_named_and_the_store_unharmed() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let flags = ["--tls", "off", "--store", store.to_str().unwrap()];
    let serve = Serve::start(&flags);
    serve.deploy_to_all("up");
    kill(serve);
    let as_it_was = permit(&store, |mode| mode & 0o555);
    // What a thread gives up its children do not have; the other tests keep it.
    let (code, error) = std::thread::scope(|scope| {
        let refused = scope.spawn(|| {
            let probe = store.join("probe");
            if std::fs::write(&probe, "").is_ok() {
                std::fs::remove_file(probe).unwrap();
                remove_capability_from_bounding_set(CapabilitySet::DAC_OVERRIDE).expect("root may give up a capability");
            }
            refused(&mut squall(&flags))
        });
        refused.join().unwrap()
    });
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains("store: cannot write to `") && error.contains("ermission denied"),
        "{error}"
    );
    for (path, mode) in as_it_was {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let serve = Serve::start(&flags);
    assert_eq!(serve.done("GET", "/v1/deployments", "")["items"][0]["name"], "up");
}

/// Changes the modes of a folder and everything in it; gives what they were, the innermost first.
fn permit(path: &Path, change: fn(u32) -> u32) -> Vec<(PathBuf, u32)> {
    let mut before = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            before.extend(permit(&entry.unwrap().path(), change));
        }
    }
    let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    std::fs::set_permissions(path, Permissions::from_mode(change(mode))).unwrap();
    before.push((path.to_owned(), mode));
    before
}

/// Files may not grow beyond a limit, as if the disk were full: the server says so, tells nobody anything that is not stored, and goes
/// on when there is room.
#[test]
fn on_a_full_disk_everybody_waits_and_nothing_is_lost() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let flags = ["--tls", "off", "--store", store.to_str().unwrap()];
    kill(Serve::start(&flags));
    let errors = place.path().join("errors");
    // Blocks of 512 bytes: 1 MiB.
    let limited = "ulimit -f 2048; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command
        .args(["-c", limited, env!("CARGO_BIN_EXE_squall"), "serve"])
        .args(flags);
    command.stdin(Stdio::null()).stderr(std::fs::File::create(&errors).unwrap());
    let serve = Serve::from_command(&mut command);
    serve.deploy_to_all("up");
    let bearer = format!("Bearer {}", serve.credentials.token);
    let admin = super::rig::address(&serve.ready.admin);
    let mut acknowledged = 0;
    let full = (0..2_000).any(|number| {
        let devices: Vec<String> = (0..50).map(|n| format!(r#"{{"id":"d-{number}-{n}"}}"#)).collect();
        let body = format!(r#"{{"devices":[{}]}}"#, devices.join(","));
        let mut stream = super::rig::open_request(admin, "POST", "/v1/devices", &[("Authorization", &bearer)], body.as_bytes());
        stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        let mut byte = [0];
        match std::io::Read::read(&mut stream, &mut byte) {
            Ok(1) => acknowledged += 50,
            Ok(_) | Err(_) => return true,
        }
        false
    });
    assert!(full && acknowledged > 0, "{acknowledged} devices, and still room");
    let said = || std::fs::read_to_string(&errors).unwrap();
    assert!(
        within_patience(|| said().contains("everybody waits until it can be written")),
        "{}",
        said()
    );
    kill(serve);

    let serve = Serve::start(&flags);
    let tables = rusqlite::Connection::open(store.join("squall.db")).unwrap();
    let check: String = tables.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let known: u32 = tables
        .query_row("SELECT count(*) FROM devices", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    assert!(
        known == acknowledged || known == acknowledged + 50,
        "{known} of {acknowledged}"
    );
    serve.done("POST", "/v1/devices", r#"{"devices":[{"id":"late"}]}"#);
}

/// The last page of a write-ahead log that was being written when power failed.
#[test]
fn a_torn_end_of_the_log_costs_nothing_that_was_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("squall.db-wal");
    let serve = start(place.path());
    serve.deploy_to_all("up");
    let before = shown(&serve);
    let acknowledged = std::fs::metadata(&log).unwrap().len();
    serve.done("POST", "/v1/devices", r#"{"devices":[{"id":"d-9"}]}"#);
    kill(serve);
    let whole = std::fs::read(&log).unwrap();
    assert!(whole.len() as u64 > acknowledged, "the log has not grown");
    let cut = (acknowledged as usize + whole.len()) / 2;
    std::fs::write(&log, &whole[..cut]).unwrap();
    let serve = start(place.path());
    assert_eq!(shown(&serve), before, "half of a change is no change");
    serve.done("POST", "/v1/devices", r#"{"devices":[{"id":"d-9"}]}"#);
}
