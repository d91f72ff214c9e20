//! No secret is found where it does not belong: neither in what the server says, nor in what it keeps.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::images::manifest;
use super::mqtt::Client;
use super::rig::{Serve, address, request, squall};

/// Every file below `folder`.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn no_secret_is_told_or_kept_in_clear() {
    // A store and a judge keep and say the most.
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    let flags = ["--tls", "off", "--judge", "--store", store.to_str().unwrap()];
    let mut serve = Serve::from_command(squall(&flags).stdin(Stdio::null()).stderr(Stdio::piped()));
    serve.deploy_to_all("d");
    let mut client = Client::connect(&serve, "meter-1");
    client.subscribe("ota-cbor-c2d");
    let manifest = manifest(&client.publish_received());
    let artifact = String::from_utf8(manifest.artifacts[0].secret.as_bytes().to_vec()).unwrap();
    let secrets = [
        serve.credentials.token.clone(),
        serve.credentials.ingest_key.clone(),
        artifact.clone(),
    ];
    let path = format!(
        "/a/{}/0",
        serve.done("GET", "/v1/devices/meter-1", "")["attempts"][0]["id"]
            .as_str()
            .unwrap()
    );

    // Whoever asks wrongly is told no secret either, and a secret sent to the wrong place is not repeated.
    let mut told: Vec<(String, Vec<u8>)> = Vec::new();
    for secret in &secrets {
        for header in [format!("Bearer {secret}x"), format!("OtaSecret {secret}x"), secret.clone()] {
            let headers = [("Authorization", header.as_str())];
            let (admin, images) = (address(&serve.ready.admin), serve.images());
            for (to, path) in [(admin, "/v1/devices"), (images, path.as_str()), (images, "/nothing")] {
                let answer = request(to, "GET", path, &headers, b"");
                assert!(matches!(answer.status, 401 | 403 | 404), "{path}: {}", answer.status);
                told.push((
                    format!("the answer of {path}"),
                    [answer.head.into_bytes(), answer.body].concat(),
                ));
            }
        }
    }
    let views = [
        "/v1/firmware",
        "/v1/firmware/app/versions/1.1.0",
        "/v1/devices",
        "/v1/devices/meter-1",
        "/v1/devices/meter-1/history",
        "/v1/cohorts",
        "/v1/deployments",
        "/v1/deployments/d/attempts",
        "/v1/judge",
        "/openapi.json",
        "/metrics",
    ];
    for view in views {
        told.push((view.to_owned(), serve.ask("GET", view, "").body));
    }
    let events: Vec<_> = serve.events("?after=0").take(4).map(|event| event.to_string()).collect();
    told.push(("the events".to_owned(), events.join("\n").into_bytes()));

    let credentials = PathBuf::from(&serve.ready.credentials);
    let mut kept = Vec::new();
    files(credentials.parent().unwrap(), &mut kept);
    kept.retain(|file| *file != credentials);
    assert!(kept.contains(&store.join("squall.db")), "{kept:?}");
    for file in kept {
        told.push((file.display().to_string(), std::fs::read(&file).unwrap()));
    }
    let pid = serve.child.id().to_string();
    told.push((
        "the command line".to_owned(),
        std::fs::read(format!("/proc/{pid}/cmdline")).unwrap(),
    ));
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let mut said = Vec::new();
    serve.child.stderr.take().unwrap().read_to_end(&mut said).unwrap();
    serve.stdout.read_to_end(&mut said).unwrap();
    told.push(("the output".to_owned(), said));
    told.push(("the ready line".to_owned(), serde_json::to_vec(&serve.ready).unwrap()));

    assert!(told.len() > 35, "{} places were looked at", told.len());
    for (place, bytes) in &told {
        for secret in &secrets {
            assert!(!holds(bytes, secret), "{place} holds a secret");
        }
    }
}

#[test]
fn a_device_gets_its_own_messages_whatever_it_subscribes_to_and_publishes_elsewhere_for_nothing() {
    let serve = Serve::start(&["--tls", "off"]);
    let mut greedy = Client::connect(&serve, "greedy");
    for topic in ["ota-cbor-c2d/victim", "#", "+/victim", "ota-cbor-c2d/#", "ota-cbor-c2d"] {
        greedy.subscribe(topic);
    }
    let mut victim = Client::connect(&serve, "victim");
    victim.subscribe("ota-cbor-c2d/victim");
    serve.deploy_to_all("d");
    let own = |client: &mut Client| manifest(&client.publish_received()).artifacts[0].url.to_string();
    let (first, second) = (own(&mut greedy), own(&mut victim));
    assert_ne!(first, second);
    for topic in ["ota-cbor-c2d", "ota-cbor-c2d/victim", "ota-cbor-d2c/victim", "anything"] {
        use rumqttc::mqttbytes::{QoS, v4};
        greedy.send(v4::Packet::Publish(v4::Publish::new(
            topic,
            QoS::AtMostOnce,
            b"\xa0".to_vec(),
        )));
    }
    greedy.send(rumqttc::mqttbytes::v4::Packet::PingReq);
    assert!(
        matches!(greedy.receive(), Some(rumqttc::mqttbytes::v4::Packet::PingResp)),
        "nothing else came"
    );
    let mut quiet = Client::connect(&serve, "victim");
    assert!(victim.receive().is_none(), "the later connection takes over");
    quiet.send(rumqttc::mqttbytes::v4::Packet::PingReq);
    assert!(
        matches!(quiet.receive(), Some(rumqttc::mqttbytes::v4::Packet::PingResp)),
        "nothing was delivered to it"
    );
}
