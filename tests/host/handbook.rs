//! `docs/server.md`, command by command, against a real server and meters that do what the page says.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rumqttc::mqttbytes::{QoS, v4};
use squall::model::AttemptId;
use squall::wire::ota::{CloudMessage, Report, UpdateResults, decode_cloud, encode_results};

use super::mqtt::Client;
use super::rig::Serve;
use crate::foreign_tool;

const PAGE: &str = include_str!("../../docs/server.md");
const END_OF_BLOCK: &str = "-- end of block --";

/// What the page says next.
#[derive(Debug)]
enum Part {
    Commands(String),
    Meter(String, bool),
}

fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        if line == "```sh" {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            parts.push(Part::Commands(block.join("\n")));
        } else if let Some(said) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            let (meter, ends) = said.split_once(' ').expect("a meter does something");
            parts.push(Part::Meter(meter.to_owned(), ends == "succeeds"));
        }
    }
    parts
}

/// Takes the offered attempt to its end.
fn play(serve: &Serve, meter: &str, succeeds: bool) {
    let mut client = Client::connect(serve, meter);
    client.subscribe("ota-cbor-c2d");
    let attempt: AttemptId = match decode_cloud(&client.publish_received(), 4) {
        Ok(CloudMessage::UpdateArtifacts { attempt, .. }) => attempt,
        other => panic!("no manifest: {other:?}"),
    };
    let (succeeded, failed) = if succeeds { (vec![0], vec![]) } else { (vec![], vec![0]) };
    let report = Report::Results {
        succeeded: succeeded.into(),
        failed: failed.into(),
        canceled: vec![].into(),
    };
    let payload = encode_results(&UpdateResults { attempt, report });
    client.send(v4::Packet::Publish(v4::Publish::new(
        "ota-cbor-d2c",
        QoS::AtMostOnce,
        payload.to_vec(),
    )));
    serve.await_state(meter, if succeeds { "succeeded" } else { "failed" });
}

#[test]
fn the_handbook_rolls_out_as_it_says() {
    if !["bash", "curl", "openssl"].into_iter().all(foreign_tool) {
        return;
    }
    let serve = Serve::start(&["--tls", "off"]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ready.json"), serde_json::to_string(&serve.ready).unwrap()).unwrap();
    let ours = Path::new(env!("CARGO_BIN_EXE_squall")).parent().unwrap();
    let path = format!("{}:{}", ours.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("bash")
        .args(["-euo", "pipefail"])
        .current_dir(folder.path())
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut commands = shell.stdin.take().unwrap();
    let mut said = BufReader::new(shell.stdout.take().unwrap());
    let mut outputs = Vec::new();
    for part in parts() {
        match part {
            Part::Meter(meter, succeeds) => play(&serve, &meter, succeeds),
            Part::Commands(block) => {
                writeln!(commands, "{block}\necho\necho '{END_OF_BLOCK}'").unwrap();
                let mut output = String::new();
                while !output.ends_with(&format!("{END_OF_BLOCK}\n")) {
                    if said.read_line(&mut output).unwrap() == 0 {
                        let mut errors = String::new();
                        shell.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                        panic!("{block}\nsaid {output}\nand {errors}");
                    }
                }
                outputs.push(output);
            }
        }
    }
    drop(commands);
    assert!(shell.wait().unwrap().success());
    let said = outputs.join("\n");
    for words in [
        r#""defects":[]"#,
        r#""next":"meter-2""#,
        r#""what":"manifest-sent""#,
        r#""paused":true"#,
        r#""reason":"results""#,
        r#""field":"name""#,
    ] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    let canary = serve.done("GET", "/v1/deployments/canary-1", "");
    assert_eq!(canary["progress"]["succeeded"], 1);
    let all = serve.done("GET", "/v1/deployments/everyone-1", "");
    assert_eq!(
        (&all["active"], &all["progress"]["failed"]),
        (&false.into(), &1.into()),
        "{all}"
    );
}
