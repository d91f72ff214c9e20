//! The server's invariants: silent on the real server, and each found where a bent one breaks it.

use std::time::Duration;

use squall::model::{AdminAction, DeviceId, ServerEvent, StateReason, UpdateState};
use squall::server::{ConnectionId, RequestId, Server, ServerInput, ServerOutput, ServerOutputs};
use squall::time::SimTime;
use squall::verdict::{Auditor, SECRETS_OPEN_IMAGES, SERVER_RULES};
use squall::wire::ota::{CloudMessage, Report, UpdateResults, decode_cloud, encode_cloud, encode_results};
use squall::wire::{ImageAnswer, ImageRequest, Packet, Publish, topic};

use super::rig::{CHASE, changed, config, connect, deploy_action, firmware, id, image, subscribe};

/// What a bent server makes of an input's outputs.
type Bend = Box<dyn FnMut(&ServerInput, ServerOutputs) -> ServerOutputs>;
/// What a bent server makes of an image answer.
type BendImage = fn(&ImageRequest<'_>, ImageAnswer) -> ImageAnswer;

/// A server, bent or not, and the auditor at its door.
struct Audited {
    server: Server,
    auditor: Auditor,
    bend: Bend,
    bend_image: BendImage,
    now: SimTime,
    secret: String,
}

impl Audited {
    fn sound() -> Self {
        Audited::bent(Box::new(|_, out| out))
    }

    fn bent(bend: Bend) -> Self {
        let mut audited = Audited {
            server: Server::new(config()),
            auditor: Auditor::new(CHASE),
            bend,
            bend_image: |_, answer| answer,
            now: SimTime::ZERO,
            secret: String::new(),
        };
        let slug = |slug: &str| AdminAction::CreateFirmware {
            slug: slug.parse().unwrap(),
        };
        audited.admin(slug("app"));
        audited.admin(slug("modem"));
        for version in ["app@1.0.0", "app@1.1.0", "app@1.2.0", "modem@2.0.0"] {
            audited.admin(AdminAction::CreateVersion {
                firmware: firmware(version),
                image: image(version).into(),
            });
        }
        audited
    }

    fn input(&mut self, input: ServerInput) {
        match &input {
            ServerInput::Opened(line) => self.auditor.opened(line.0),
            ServerInput::Closed(line) => self.auditor.closed(line.0),
            ServerInput::Received { from, packet } => self.auditor.received(self.now, from.0, packet),
            ServerInput::Admin { action, .. } => self.auditor.asked(action),
        }
        let mut out = Vec::new();
        self.server.handle_input(input.clone(), self.now, &mut out);
        let refused = |output: &ServerOutput| matches!(output, ServerOutput::Answer { result: Err(_), .. });
        self.auditor.decided(!out.iter().any(refused));
        let out = (self.bend)(&input, out);
        self.watch(out);
    }

    fn watch(&mut self, out: ServerOutputs) {
        for output in out {
            match output {
                ServerOutput::Transmit { to, packet } => {
                    if let Packet::Publish(publish) = &packet
                        && let Ok(CloudMessage::UpdateArtifacts { manifest, .. }) = decode_cloud(&publish.payload, 32)
                    {
                        self.secret = String::from_utf8_lossy(manifest.artifacts[0].secret.as_bytes()).into_owned();
                    }
                    self.auditor.sent(self.now, to.0, &packet);
                }
                ServerOutput::Close(line) => self.auditor.closed(line.0),
                ServerOutput::Observed(event) => self.auditor.told(self.now, &event),
                ServerOutput::Answer { .. } | ServerOutput::Record { .. } => {}
            }
        }
        self.auditor.handled(self.now);
    }

    fn admin(&mut self, action: AdminAction) {
        let request = RequestId(1);
        self.input(ServerInput::Admin { request, action });
    }

    fn packet(&mut self, line: u64, packet: Packet) {
        let from = ConnectionId(line);
        self.input(ServerInput::Received { from, packet });
    }

    fn online(&mut self, line: u64, device: &str) {
        self.input(ServerInput::Opened(ConnectionId(line)));
        self.packet(line, connect(device, super::rig::KEY));
        self.packet(line, subscribe(topic::OTA_C2D));
    }

    fn results(&mut self, line: u64, attempt: u64, succeeded: &[u64], failed: &[u64]) {
        let report = Report::Results {
            succeeded: succeeded.to_vec().into(),
            failed: failed.to_vec().into(),
            canceled: vec![].into(),
        };
        let payload = encode_results(&UpdateResults {
            attempt: id(attempt),
            report,
        });
        self.packet(line, Packet::Publish(Publish::at_most_once(topic::OTA_D2C, payload)));
    }

    fn fetch(&mut self, secret: Option<&str>, range: Option<&str>) {
        let authorization = secret.map(|secret| format!("OtaSecret {secret}"));
        let request = ImageRequest {
            path: "/a/1001/0",
            authorization: authorization.as_deref(),
            range,
        };
        let answer = (self.bend_image)(&request, self.server.serve_image(&request));
        self.auditor.served(self.now, &request, &answer);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.server.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.server.handle_timeout(self.now, &mut out);
            let out = (self.bend)(&ServerInput::Closed(ConnectionId(u64::MAX)), out);
            self.watch(out);
        }
        self.now = end;
    }

    /// The rules found broken.
    fn broken(&mut self) -> Vec<&'static str> {
        self.auditor.finish(self.now);
        let mut rules: Vec<_> = self.auditor.take_findings().iter().map(|finding| finding.rule).collect();
        rules.dedup();
        rules
    }

    /// A day of a server: two devices, two cohorts' worth of everything that the rules watch.
    fn day(&mut self) {
        self.online(1, "d1");
        self.online(2, "d2");
        self.admin(AdminAction::CreateCohort {
            cohort: "hand".into(),
            rule: squall::model::CohortRule::ByHand,
        });
        self.admin(AdminAction::Join {
            cohort: "hand".into(),
            devices: vec!["d1".into()],
        });
        self.admin(deploy_action("two", "hand", &["modem@2.0.0", "app@1.1.0"], Some("app")));
        self.fetch(Some(&self.secret.clone()), None);
        self.fetch(Some(&self.secret.clone()), Some("bytes=10-19"));
        self.fetch(Some("AAAAAAAAAAAAAAAAAAAAAAAA"), None);
        self.fetch(None, None);
        self.packet(1, subscribe(topic::OTA_C2D));
        self.packet(1, subscribe("ota-cbor-c2d/d1"));
        self.pass(CHASE * 3 / 2);
        self.admin(deploy_action("wide", "all", &["app@1.2.0"], Some("app")));
        self.results(1, 1001, &[0], &[]);
        self.results(1, 1001, &[0], &[1]);
        self.results(1, 1001, &[0, 1], &[]);
        self.results(2, 1001, &[0, 1], &[]);
        self.results(2, 1003, &[7], &[]);
        self.admin(deploy_action("wider", "all", &["app@1.1.0"], Some("app")));
        self.pass(CHASE * 3 / 2);
    }
}

#[test]
fn a_sound_server_breaks_none_of_its_rules_and_none_is_idle() {
    let mut audited = Audited::sound();
    audited.day();
    let audit = audited.auditor.finish(audited.now);
    assert_eq!(audited.auditor.take_findings(), []);
    assert_eq!(audit.rules.len(), SERVER_RULES.len() + 1);
    let idle: Vec<_> = audit.rules.iter().filter(|(_, checks, _)| *checks == 0).collect();
    assert!(idle.is_empty(), "{idle:?}");
}

/// Applies `change` to the manifests that a server transmits.
fn with_manifests(change: impl Fn(&mut squall::model::Manifest) + 'static) -> Bend {
    Box::new(move |_, out| {
        let bent = out.into_iter().map(|output| match output {
            ServerOutput::Transmit {
                to,
                packet: Packet::Publish(mut publish),
            } => {
                if let Ok(CloudMessage::UpdateArtifacts { attempt, mut manifest }) = decode_cloud(&publish.payload, 32) {
                    change(&mut manifest);
                    publish.payload = encode_cloud(&CloudMessage::UpdateArtifacts { attempt, manifest });
                }
                ServerOutput::Transmit {
                    to,
                    packet: Packet::Publish(publish),
                }
            }
            other => other,
        });
        bent.collect()
    })
}

fn is_message(output: &ServerOutput) -> bool {
    matches!(
        output,
        ServerOutput::Transmit {
            packet: Packet::Publish(_),
            ..
        }
    )
}

fn is_results(input: &ServerInput) -> bool {
    matches!(
        input,
        ServerInput::Received {
            packet: Packet::Publish(_),
            ..
        }
    )
}

#[track_caller]
fn assert_found(bend: Bend, invariant: u8) {
    let mut audited = Audited::bent(bend);
    audited.day();
    let rule = SERVER_RULES.iter().find(|rule| rule.protocol == [invariant]).unwrap();
    let broken = audited.broken();
    assert!(broken.contains(&rule.name), "{} was not found, but {broken:?}", rule.name);
}

#[test]
fn rule_9_finds_a_server_that_does_not_understand_an_encoding() {
    assert_found(Box::new(|input, out| if is_results(input) { Vec::new() } else { out }), 9);
}

#[test]
fn rule_10_finds_a_manifest_with_two_mains() {
    assert_found(
        with_manifests(|manifest| manifest.artifacts.iter_mut().for_each(|artifact| artifact.main = true)),
        10,
    );
}

#[test]
fn rule_11_finds_a_slug_that_stands_twice() {
    let twice = |manifest: &mut squall::model::Manifest| {
        let first = manifest.artifacts[0].clone();
        manifest.artifacts.push(squall::model::Artifact { main: false, ..first });
    };
    assert_found(with_manifests(twice), 11);
}

#[test]
fn rule_44_and_45_find_subscriptions_that_bring_nothing() {
    for invariant in [44, 45] {
        let subscribes = |input: &ServerInput| {
            matches!(
                input,
                ServerInput::Received {
                    packet: Packet::Subscribe { .. },
                    ..
                }
            )
        };
        let bend = move |input: &ServerInput, mut out: ServerOutputs| {
            if subscribes(input) {
                out.retain(|output| !is_message(output));
            }
            out
        };
        let mut audited = Audited::bent(Box::new(bend));
        audited.online(1, "d1");
        audited.admin(deploy_action("up", "all", &["app@1.1.0"], Some("app")));
        match invariant {
            44 => audited.online(2, "d1"),
            _ => audited.packet(1, subscribe(topic::OTA_C2D)),
        }
        let rule = SERVER_RULES.iter().find(|rule| rule.protocol == [invariant]).unwrap();
        assert_eq!(audited.broken(), [rule.name]);
    }
}

#[test]
fn rule_46_finds_a_message_that_goes_to_somebody_else() {
    let readdress = |_: &ServerInput, out: ServerOutputs| {
        let bent = out.into_iter().map(|output| match output {
            ServerOutput::Transmit {
                to: ConnectionId(1),
                packet: packet @ Packet::Publish(_),
            } => ServerOutput::Transmit {
                to: ConnectionId(2),
                packet,
            },
            other => other,
        });
        bent.collect()
    };
    assert_found(Box::new(readdress), 46);
}

#[test]
fn rule_47_finds_a_server_that_never_asks_again() {
    let never = |input: &ServerInput, mut out: ServerOutputs| {
        if *input == ServerInput::Closed(ConnectionId(u64::MAX)) {
            out.retain(|output| !is_message(output));
        }
        out
    };
    let mut audited = Audited::bent(Box::new(never));
    audited.online(1, "d1");
    audited.admin(deploy_action("up", "all", &["app@1.1.0"], Some("app")));
    for _ in 0..3 {
        // The device is there all the time.
        audited.packet(1, Packet::PingRequest);
        audited.pass(CHASE);
    }
    assert_eq!(audited.broken(), ["missing-results-are-asked-for"]);
}

#[test]
fn rule_48_finds_an_end_that_late_results_change() {
    let revive = |input: &ServerInput, mut out: ServerOutputs| {
        if is_results(input) && !out.iter().any(|output| matches!(output, ServerOutput::Record { .. })) {
            let event = changed(
                "d1",
                "two",
                1001,
                UpdateState::Succeeded,
                UpdateState::Failed,
                StateReason::Results,
            );
            out.push(ServerOutput::Observed(event));
        }
        out
    };
    let mut audited = Audited::bent(Box::new(revive));
    audited.online(1, "d1");
    audited.admin(deploy_action("two", "all", &["app@1.1.0"], Some("app")));
    audited.results(1, 1001, &[0], &[]);
    audited.results(1, 1001, &[], &[0]);
    assert_eq!(audited.broken(), ["late-results-change-nothing"]);
}

#[test]
fn rule_49_finds_an_older_manifest_that_comes_again() {
    let mut replay: Option<ServerOutput> = None;
    let mut audited = Audited::bent(Box::new(move |_, mut out| {
        match &replay {
            Some(old) => out.push(old.clone()),
            None => replay = out.iter().find(|output| is_message(output)).cloned(),
        }
        out
    }));
    audited.online(1, "d1");
    audited.admin(deploy_action("one", "all", &["app@1.1.0"], Some("app")));
    audited.results(1, 1001, &[0], &[]);
    audited.admin(deploy_action("two", "all", &["app@1.2.0"], Some("app")));
    assert!(audited.broken().contains(&"one-attempt-at-a-time"));
}

#[test]
fn rule_50_finds_a_supersession_without_cause() {
    let hasty = |input: &ServerInput, mut out: ServerOutputs| {
        if let ServerInput::Admin {
            action: AdminAction::Deploy { deployment, .. },
            ..
        } = input
            && deployment.as_str() == "wide"
        {
            let device = || DeviceId::from("d1");
            for (attempt, name, from, to, reason) in [
                (
                    1001,
                    "two",
                    UpdateState::InProgress,
                    UpdateState::Cancelled,
                    StateReason::Superseded,
                ),
                (
                    1002,
                    "wide",
                    UpdateState::Pending,
                    UpdateState::InProgress,
                    StateReason::Offered,
                ),
            ] {
                out.push(ServerOutput::Observed(ServerEvent::StateChanged {
                    device: device(),
                    deployment: name.into(),
                    attempt: id(attempt),
                    from,
                    to,
                    reason,
                }));
            }
        }
        out
    };
    assert_found(Box::new(hasty), 50);
}

#[test]
fn rule_57_finds_images_that_open_wrongly() {
    let bends: [(&str, BendImage); 3] = [
        ("closed to the right secret", |request, answer| match request.authorization {
            Some(_) => ImageAnswer {
                status: 403,
                body: bytes::Bytes::new(),
                ..answer
            },
            None => answer,
        }),
        ("open to everybody", |_, answer| ImageAnswer { status: 200, ..answer }),
        ("another image", |request, answer| match request.range {
            Some(_) => ImageAnswer {
                body: bytes::Bytes::from_static(b"0123456789"),
                ..answer
            },
            None => answer,
        }),
    ];
    for (what, bend) in bends {
        let mut audited = Audited::sound();
        audited.bend_image = bend;
        audited.day();
        assert_eq!(audited.broken(), [SECRETS_OPEN_IMAGES.name], "{what}");
    }
}

#[test]
fn every_rule_of_the_server_stands_on_the_page() {
    let page = include_str!("../../docs/invariants.md");
    for rule in SERVER_RULES.iter().chain([&SECRETS_OPEN_IMAGES]) {
        let line = format!("- {} `{}`: {}.", rule.protocol[0], rule.name, rule.statement);
        assert!(page.contains(&line), "{line}");
    }
}
