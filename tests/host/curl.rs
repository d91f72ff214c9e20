//! A whole rollout with nothing but `curl` and mosquitto's clients.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use squall::wire::ota::{CloudMessage, decode_cloud};

use super::rig::{Serve, within_patience};
use crate::foreign_tool;

/// UPDATE_RESULTS of attempt 1001 as the SDK writes it: artifact 0 succeeded (vector `results-succeeded`).
const SUCCEEDED: &str = "bf000918201903e9182a9f00ffff";

/// Made by imgtool; version 2.0.0, signed, with a build id.
const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware-fixtures/ed25519.bin");

struct Person<'a> {
    serve: &'a Serve,
}

impl Person<'_> {
    fn curl(&self, arguments: &[&str]) -> Vec<u8> {
        let Output { status, stdout, stderr } = Command::new("curl")
            .args(["-sS", "--max-time", "20"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        stdout
    }

    /// Status and JSON of a request to the management API.
    fn api(&self, method: &str, path: &str, data: &[&str]) -> (String, Value) {
        let bearer = format!("Authorization: Bearer {}", self.serve.credentials.token);
        let url = format!("{}{path}", self.serve.ready.admin);
        let mut arguments = vec!["-X", method, "-H", &bearer, "-w", "\n%{http_code}", &url];
        arguments.extend(data);
        let said = String::from_utf8(self.curl(&arguments)).unwrap();
        let (json, status) = said.rsplit_once('\n').unwrap();
        (status.to_owned(), serde_json::from_str(json).unwrap_or(Value::Null))
    }

    fn mosquitto(&self, program: &str, arguments: &[&str]) -> Command {
        let address = self.serve.mqtt();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(program);
        command.args([
            "-h",
            &host,
            "-p",
            &port,
            "--cafile",
            self.serve.ca(),
            "-i",
            "any",
            "-u",
            "meter-1",
            "-P",
            &self.serve.credentials.ingest_key,
        ]);
        command.args(arguments).stderr(Stdio::inherit());
        command
    }

    fn state(&self) -> String {
        let (_, attempts) = self.api("GET", "/v1/deployments/first/attempts", &[]);
        attempts["items"][0]["state"].as_str().unwrap().to_owned()
    }

    fn image(&self, url: &str, more: &[&str], to: &Path) -> String {
        let mut arguments = vec![
            "--cacert",
            self.serve.ca(),
            "-o",
            to.to_str().unwrap(),
            "-w",
            "%{http_code}",
            url,
        ];
        arguments.extend(more);
        String::from_utf8(self.curl(&arguments)).unwrap()
    }
}

#[test]
fn a_rollout_can_be_done_with_curl_and_mosquitto() {
    if !["curl", "mosquitto_sub", "mosquitto_pub"].into_iter().all(foreign_tool) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let got = folder.path().join("got.bin");
    let image = std::fs::read(IMAGE).unwrap();
    let serve = Serve::start(&["--first-attempt", "1001"]);
    let person = Person { serve: &serve };

    let upload = format!("@{IMAGE}");
    for (method, path, data) in [
        ("POST", "/v1/firmware", vec!["-d", r#"{"slug":"app"}"#]),
        ("PUT", "/v1/firmware/app/versions/2.0.0", vec!["--data-binary", &upload]),
        (
            "POST",
            "/v1/devices",
            vec!["-d", r#"{"devices":[{"id":"meter-1"},{"id":"meter-2"}]}"#],
        ),
        ("PATCH", "/v1/devices/meter-1", vec!["-d", r#"{"tags":{"region":"west"}}"#]),
        (
            "POST",
            "/v1/cohorts",
            vec!["-d", r#"{"name":"west","where":"tag.region:west"}"#],
        ),
        (
            "POST",
            "/v1/deployments",
            vec![
                "-d",
                r#"{"name":"first","cohort":"west","packages":["app@2.0.0"],"main":"app"}"#,
            ],
        ),
    ] {
        let (status, answer) = person.api(method, path, &data);
        assert!(status.starts_with('2'), "{method} {path}: {status} {answer}");
    }
    let (_, version) = person.api("GET", "/v1/firmware/app/versions/2.0.0", &[]);
    assert_eq!(version["build_id"], "4142434445464748494a4b4c4d4e4f5051525354");
    assert_eq!(person.state(), "pending");

    let subscribed = person
        .mosquitto(
            "mosquitto_sub",
            &["-t", "ota-cbor-c2d", "-q", "1", "-C", "1", "-W", "15", "-F", "%x"],
        )
        .output()
        .unwrap();
    assert!(subscribed.status.success(), "{subscribed:?}");
    let payload = unhex(String::from_utf8(subscribed.stdout).unwrap().trim());
    let Ok(CloudMessage::UpdateArtifacts { attempt, manifest }) = decode_cloud(&payload, 4) else {
        panic!("no manifest")
    };
    assert_eq!((attempt.to_string().as_str(), manifest.artifacts.len()), ("1001", 1));
    assert_eq!(person.state(), "in-progress");

    let artifact = &manifest.artifacts[0];
    let url = artifact.url.to_string();
    let secret = format!(
        "Authorization: OtaSecret {}",
        String::from_utf8_lossy(artifact.secret.as_bytes())
    );
    assert_eq!(person.image(&url, &["-H", &secret], &got), "200");
    assert!(std::fs::read(&got).unwrap() == image);
    assert_eq!(person.image(&url, &["-H", &secret, "-r", "1000-1999"], &got), "206");
    assert_eq!(std::fs::read(&got).unwrap(), &image[1000..2000]);
    std::fs::write(&got, &image[..1_234]).unwrap();
    assert_eq!(person.image(&url, &["-H", &secret, "-C", "-"], &got), "206");
    assert!(std::fs::read(&got).unwrap() == image, "a cut download is completed");
    assert_eq!(person.image(&url, &["-H", "Authorization: OtaSecret wrong"], &got), "403");
    assert_eq!(person.image(&url, &[], &got), "401");
    assert_eq!(person.image(&url, &["-H", &secret, "-r", "3156-"], &got), "416");

    let result = folder.path().join("result.cbor");
    std::fs::write(&result, unhex(SUCCEEDED)).unwrap();
    let published = person
        .mosquitto(
            "mosquitto_pub",
            &["-t", "ota-cbor-d2c", "-q", "0", "-f", result.to_str().unwrap()],
        )
        .status()
        .unwrap();
    assert!(published.success());
    assert!(
        within_patience(|| person.state() == "succeeded"),
        "the attempt is {}",
        person.state()
    );
    let (_, progress) = person.api("GET", "/v1/deployments/first", &[]);
    assert_eq!(progress["progress"]["succeeded"], 1, "{progress}");

    let (status, problem) = person.api("POST", "/v1/cohorts", &["-d", r#"{"name":"west"}"#]);
    assert_eq!((status.as_str(), &problem["type"]), ("409", &Value::from("cohort-exists")));
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).unwrap_or_else(|| panic!("{text:?} is not hex")) as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
