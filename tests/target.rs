//! Runs against servers that are there already: a `squall serve` elsewhere, and a broker that is none of ours.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use squall::model::{Artifact, AttemptId, Manifest, Secret, Url};
use squall::wire::ota::{CloudMessage, encode_cloud};
use tempfile::TempDir;

use super::outside::{Broker, Serve, said, squall};

/// A scenario of twenty devices that all update, with this `[server]` and these expectations.
fn scenario(folder: &TempDir, server: &str, expect: &str) {
    let text = format!(
        r#"
scenario = {{ duration = "20s" }}
server = {{ {server} }}
firmware.app = {{ "1.0.0" = {{ size = "8 KiB" }}, "1.1.0" = {{ size = "8 KiB" }} }}
fleet.few = {{ count = 20, runs = "app@1.0.0", flash = {{ like = "nrf52840", time_scale = 0.1 }} }}
step = [{{ name = "one", at = "1s", deploy = "app@1.1.0", to = "all" }}]
expect = [{expect}]
"#
    );
    std::fs::write(folder.path().join("there.toml"), text).unwrap();
}

/// What was expected of a run came. A machine that is busy with other tests may make a harness late: that is then said, and all else must hold.
#[track_caller]
fn held(ran: &Output) {
    let valid = matches!(ran.status.code(), Some(0 | 102));
    assert!(valid && said(ran).contains('✓') && !said(ran).contains('✗'), "{}", said(ran));
}

#[test]
fn a_squall_that_serves_elsewhere_is_told_the_steps_and_tells_the_states() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = Serve::start();
    scenario(
        &folder,
        &serve.keys(),
        r#""devices{state:succeeded} share == 100 %", "disagreements count == 0""#,
    );
    let ran = squall(folder.path(), &["run", "there.toml"]);
    held(&ran);
    assert!(said(&ran).contains("external, mqtts://127.0.0.1:"), "{}", said(&ran));

    // A second run finds there what it needs, its deployment gets a name of its own, and a simulation of it comes to the same.
    let again = squall(folder.path(), &["run", "there.toml", "--twin"]);
    held(&again);
    assert!(
        said(&again).contains("the same in sim passed: states are alike"),
        "{}",
        said(&again)
    );
    let latest = folder.path().join("runs/latest");
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(latest.join("summary.json")).unwrap()).unwrap();
    assert_eq!(
        summary["twin"]["states"],
        serde_json::json!([{ "name": "succeeded", "run": 20, "sim": 20 }])
    );
    let ratio = &summary["twin"]["times"][0]["ratio"];
    assert!(ratio["med"].as_f64().is_some_and(|ratio| ratio > 0.0), "{ratio}");
    let page = std::fs::read_to_string(latest.join("report.html")).unwrap();
    assert!(page.contains("The same in virtual time"));
    let path = folder.path().join("there.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace(r#""1.1.0" = { size = "8 KiB" }"#, r#""1.1.0" = { size = "12 KiB" }"#),
    )
    .unwrap();
    let other = squall(folder.path(), &["run", "there.toml"]);
    assert_eq!(other.status.code(), Some(1), "{}", said(&other));
    assert!(said(&other).contains("it has another image of app@1.1.0"), "{}", said(&other));

    // What it does not trust it does not speak to.
    scenario(
        &folder,
        &serve.trusted_by("/etc/ssl/certs/ca-certificates.crt"),
        r#""connects{result:tls} count > 0""#,
    );
    let soon = ["run", "there.toml", "--duration", "5s", "--set", "scenario.settle=1s"];
    let doubted = squall(folder.path(), &soon);
    assert_ne!(doubted.status.code(), Some(0), "{}", said(&doubted));
    assert!(
        said(&doubted).contains("✓ connects{result:tls} count > 0"),
        "{}",
        said(&doubted)
    );
    // Nor is the server left in ruins: it goes on.
    assert!(serve.is_on());
}

#[test]
fn a_broker_that_is_none_of_ours_gets_its_manifests_from_a_program() {
    if !crate::foreign_tool("mosquitto") || !crate::foreign_tool("mosquitto_pub") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let broker = Broker::start(folder.path(), "allow_anonymous true\n");
    let images = images_of(at("image"));
    let manifest = CloudMessage::UpdateArtifacts {
        attempt: AttemptId::new(7).unwrap(),
        manifest: Manifest {
            canceled: false,
            artifacts: vec![Artifact {
                slug: "app".parse().unwrap(),
                main: true,
                url: Url::new(format!("http://{images}/a/7/0")).unwrap(),
                secret: Secret::new("q7Zk2mXw9RtB4nVc8LdY1pHs").unwrap(),
                version: "1.1.0".parse().unwrap(),
            }],
        },
    };
    std::fs::write(at("manifest"), encode_cloud(&manifest)).unwrap();
    let steps = r#"#!/bin/sh
step=$(cat)
here=$(dirname "$0")
case "$step" in
*'"verb":"deploy"'*) mosquitto_pub -h 127.0.0.1 -p "${SQUALL_TARGET##*:}" -q 1 -r -t ota-cbor-c2d -f "$here/manifest" ;;
*'"version":"app@1.1.0"'*) cp "$(printf %s "$step" | sed 's/.*"image":"\([^"]*\)".*/\1/')" "$here/image" ;;
esac
"#;
    std::fs::write(at("steps.sh"), steps).unwrap();
    std::fs::set_permissions(at("steps.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    let server = format!(r#"target = "mqtt://127.0.0.1:{}", admin = "exec ./steps.sh""#, broker.port);
    scenario(
        &folder,
        &server,
        r#""devices{runs:app@1.1.0} share == 100 %", "attempts{result:succeeded} count == 20""#,
    );

    let refused = squall(folder.path(), &["run", "there.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("allow it with `--allow-exec`"), "{}", said(&refused));
    assert!(!at("image").exists(), "a program was started that nobody allowed");

    let ran = squall(folder.path(), &["run", "there.toml", "--allow-exec"]);
    held(&ran);
    assert!(said(&ran).contains("it tells nothing"), "{}", said(&ran));
}

#[test]
fn a_broker_that_asks_for_passwords_and_certificates_gets_both() {
    if !crate::foreign_tool("mosquitto") || !crate::foreign_tool("mosquitto_passwd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // Names that differ: OpenSSL takes a certificate of its own issuer's name for one that nobody else has signed.
    let named = |params: &mut rcgen::CertificateParams, name: &str| params.distinguished_name.push(rcgen::DnType::CommonName, name);
    named(&mut authority, "authority");
    let authority = rcgen::CertifiedIssuer::self_signed(authority, rcgen::KeyPair::generate().unwrap()).unwrap();
    std::fs::write(at("ca.pem"), authority.pem()).unwrap();
    for (name, host) in [("broker", "127.0.0.1"), ("devices", "devices.example")] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        named(&mut certificate, name);
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        std::fs::write(at(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(at(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let users: String = (1..=3).map(|number| format!("few-{number:05}:correct horse\n")).collect();
    std::fs::write(at("users"), users).unwrap();
    let hashed = Command::new("mosquitto_passwd").arg("-U").arg(at("users")).output().unwrap();
    assert!(hashed.status.success(), "{}", said(&hashed));
    for name in ["users", "broker.key"] {
        std::fs::set_permissions(at(name), PermissionsExt::from_mode(0o644)).unwrap();
    }
    let here = folder.path().display();
    let config = format!(
        "allow_anonymous false\npassword_file {here}/users\ncafile {here}/ca.pem\ncertfile {here}/broker.pem\nkeyfile \
         {here}/broker.key\nrequire_certificate true\n"
    );
    let broker = Broker::start(folder.path(), &config);
    let port = broker.port;

    std::fs::write(at("right"), "correct horse\n").unwrap();
    std::fs::write(at("wrong"), "correct hoarse\n").unwrap();
    let plays = |server: &str, expect: &str| {
        let text = format!(
            r#"
scenario = {{ duration = "6s", ends = "duration" }}
server = {{ target = "mqtts://127.0.0.1:{port}", {server} }}
firmware.app = ["1.0.0"]
fleet.few = {{ count = 3, runs = "app@1.0.0", connack_timeout = "10s" }}
expect = [{expect}]
"#
        );
        std::fs::write(at("broker.toml"), text).unwrap();
        let ran = squall(folder.path(), &["run", "broker.toml"]);
        held(&ran);
        said(&ran)
    };
    let certificate = r#"cert = "./devices.pem", cert_key = "./devices.key""#;
    plays(
        &format!(r#"ca = "./ca.pem", key = "./right", {certificate}"#),
        r#""devices{session:online} share == 100 %", "connects{result:ok} count == 3""#,
    );
    // Believing anybody is said, and does not replace the password.
    let told = plays(
        &format!(r#"insecure = true, key = "./wrong", {certificate}"#),
        r#""connects{result:auth} count >= 3", "connects{result:ok} count == 0""#,
    );
    assert!(told.contains("any certificate of the server was believed"), "{told}");
    assert!(!told.contains("hoarse"), "a secret is shown: {told}");
    plays(
        r#"ca = "./ca.pem", key = "./right""#,
        r#""connects{result:ok} count == 0", "connects count >= 3""#,
    );
}

/// Serves whatever lies at `path` by then to whoever asks, from the offset that is asked for.
fn images_of(path: std::path::PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A device that goes away in the middle asks again.
            let _ = serve(stream, &std::fs::read(&path).unwrap());
        }
    });
    address
}

fn serve(mut stream: TcpStream, image: &[u8]) -> std::io::Result<()> {
    let mut range = None;
    for line in BufReader::new(stream.try_clone()?.take(8_192)).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        range = line
            .strip_prefix("Range: bytes=")
            .map(|range| range.trim_end_matches('-').to_owned())
            .or(range);
    }
    let offset = range.as_deref().and_then(|range| range.parse().ok()).unwrap_or(0);
    let (rest, total) = (&image[offset..], image.len());
    match range {
        None => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n")?,
        Some(_) => write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {offset}-{}/{total}\r\n\r\n",
            rest.len(),
            total - 1
        )?,
    }
    stream.write_all(rest)
}

#[test]
fn a_file_can_neither_storm_a_third_party_nor_do_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let says = |server: &str, arguments: &[&str], what: &str| {
        scenario(&folder, server, "");
        let output = squall(folder.path(), &[&["run", "there.toml"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{server}: {}", said(&output));
        assert!(said(&output).contains(what), "{server}: {}", said(&output));
        assert!(!folder.path().join("runs").exists(), "{server}: something was begun");
    };
    // 192.0.2.0/24 is nobody's (RFC 5737); nothing is sent there.
    let exec = r#"admin = "exec ./steps.sh""#;
    let third = format!(r#"target = "mqtt://192.0.2.1:1883", {exec}"#);
    says(
        &third,
        &["--allow-exec"],
        "name it on the command line too, `--target mqtt://192.0.2.1:1883`",
    );
    says(
        &third,
        &["--allow-exec", "--set", "server.target=mqtt://192.0.2.2:1883"],
        "name it on the command line too",
    );
    says(r#"target = "mqtt://127.0.0.1:1""#, &[], "nobody carries out step");
    let keyed = |key: &str| format!(r#"target = "mqtt://127.0.0.1:1", key = "{key}", {exec}"#);
    says(
        &keyed("env:SQUALL_TEST_NOT_SET"),
        &["--allow-exec"],
        "env:SQUALL_TEST_NOT_SET: this variable is not set",
    );
    says(&keyed("./not-there.key"), &["--allow-exec"], "not-there.key: No such file");
    says(&keyed("correct horse"), &["--allow-exec"], "is a literal secret");
    let api = r#"target = "mqtt://127.0.0.1:1", admin = "http://127.0.0.1:2""#;
    says(api, &[], "needs a token");
    let elsewhere = r#"target = "mqtt://127.0.0.1:1", admin = "https://192.0.2.1:443""#;
    says(elsewhere, &[], "is on another machine");
    says(r#"target = "mqtt://127.0.0.1""#, &[], "unknown `target` of the server");
    says(r#"admin = "exec ./steps.sh""#, &[], "is for an external one");
    says(
        &format!(r#"target = "mqtt://127.0.0.1:1", cert = "./a.pem", {exec}"#),
        &["--allow-exec"],
        "without `cert_key`",
    );
}
