//! The management client: admin actions to requests of the API, answers to words.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{AdminAction, CohortName, CohortRule, DeploymentName, DeviceId, Whom};
use crate::wire::api::{
    CohortBody, CohortView, DeploymentBody, DeviceBody, DevicesBody, FirmwareBody, JudgeView, MembersBody, Problem, TagsBody,
    TimesView,
};

/// How long one change may take: an image of megabytes, or a thousand devices.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unmade {
    /// Nobody answered; it may have been made all the same.
    Unanswered(String),
    /// There is such a thing already, in the server's words.
    Exists(String),
    /// What else the server said against it.
    Refused(String),
}

impl fmt::Display for Unmade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Unmade::Unanswered(why) | Unmade::Exists(why) | Unmade::Refused(why)) = self;
        f.write_str(why)
    }
}

/// Speaks to the management API of one server.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    client: Client,
    base: Arc<str>,
    token: Arc<str>,
}

impl Admin {
    /// A client of the API at `base`, which is verified by `tls` if it is `https`.
    ///
    /// # Errors
    ///
    /// A sentence, when the client cannot be made.
    pub fn new(base: &str, token: &str, tls: Option<Arc<ClientConfig>>) -> Result<Admin, String> {
        let tls = match tls {
            Some(tls) => ClientConfig::clone(&tls),
            None => super::stream::trusting_nobody(),
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .connect_timeout(TIMEOUT);
        Ok(Admin {
            client: client
                .build()
                .map_err(|error| format!("management client: {}", chain(&error)))?,
            base: base.trim_end_matches('/').into(),
            token: token.into(),
        })
    }

    /// Asks for one change; tried once.
    ///
    /// # Errors
    ///
    /// What the server said against it, or what happened on the way.
    pub async fn carry_out(&self, action: AdminAction) -> Result<(), Unmade> {
        let answer = self.request(action).timeout(TIMEOUT).send().await;
        let answer = answer.map_err(|error| Unmade::Unanswered(format!("management API: {}", chain(&error))))?;
        accepted(answer).await.map(drop)
    }

    /// How the server's own rules have fared.
    ///
    /// # Errors
    ///
    /// What the server said against it, or what happened on the way.
    pub async fn judged(&self) -> Result<JudgeView, String> {
        self.ask(&["v1", "judge"]).await
    }

    /// How long the server took for what it was told.
    ///
    /// # Errors
    ///
    /// What the server said against it, or what happened on the way.
    pub async fn times(&self) -> Result<TimesView, String> {
        self.ask(&["v1", "times"]).await
    }

    /// The rule of a cohort, as text; `None` for one by hand.
    ///
    /// # Errors
    ///
    /// What the server said against it, or what happened on the way.
    pub async fn rule_of(&self, cohort: &CohortName) -> Result<Option<String>, String> {
        let found: CohortView = self.ask(&["v1", "cohorts", cohort.as_str()]).await?;
        Ok(found.rule)
    }

    async fn ask<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, String> {
        let asked = self.at(Method::GET, path).timeout(TIMEOUT).send().await;
        let answer = asked.map_err(|error| format!("management API: {}", chain(&error)))?;
        let answer = accepted(answer).await.map_err(|unmade| unmade.to_string())?;
        let body = answer.bytes().await.map_err(|error| chain(&error))?;
        serde_json::from_slice(&body).map_err(|error| format!("management API: the answer is none: {error}"))
    }

    /// Opens the event stream behind event number `after`, or with what happens next.
    ///
    /// # Errors
    ///
    /// What the server said against it, or what happened on the way.
    pub async fn events(&self, after: Option<u64>) -> Result<Response, String> {
        let asked = self
            .at(Method::GET, &["v1", "events"])
            .query(&after.map(|after| ("after", after)).as_slice());
        let answer = asked
            .send()
            .await
            .map_err(|error| format!("event stream: {}", chain(&error)))?;
        accepted(answer).await.map_err(|problem| problem.to_string())
    }

    fn request(&self, action: AdminAction) -> RequestBuilder {
        match action {
            AdminAction::CreateFirmware { slug } => self.post(&["v1", "firmware"], &FirmwareBody { slug: slug.to_string() }),
            AdminAction::CreateVersion { firmware, image } => {
                let (slug, version) = (firmware.slug.to_string(), firmware.version.to_string());
                self.at(Method::PUT, &["v1", "firmware", &slug, "versions", &version])
                    .body(image.bytes().clone())
            }
            AdminAction::DeleteVersion { firmware } => {
                let (slug, version) = (firmware.slug.to_string(), firmware.version.to_string());
                self.at(Method::DELETE, &["v1", "firmware", &slug, "versions", &version])
            }
            AdminAction::RegisterDevices { devices } => {
                let devices = devices.into_iter().map(|device| DeviceBody {
                    id: device.id,
                    tags: device.tags,
                });
                let devices = devices.collect();
                self.post(&["v1", "devices"], &DevicesBody { devices })
            }
            AdminAction::CreateCohort { cohort, rule } => self.post(&["v1", "cohorts"], &cohort_body(Some(cohort), &rule)),
            AdminAction::ChangeCohort { cohort, rule } => {
                let request = self.at(Method::PATCH, &["v1", "cohorts", cohort.as_str()]);
                request.json(&cohort_body(None, &rule))
            }
            AdminAction::Deploy {
                deployment,
                cohort,
                packages,
                main,
            } => {
                let body = DeploymentBody {
                    name: Some(deployment),
                    cohort,
                    packages: packages.iter().map(ToString::to_string).collect(),
                    main: main.map(|slug| slug.to_string()),
                };
                self.post(&["v1", "deployments"], &body)
            }
            AdminAction::Cancel { deployment } => self.rollout(&deployment, "cancel"),
            AdminAction::Pause { deployment } => self.rollout(&deployment, "pause"),
            AdminAction::Resume { deployment } => self.rollout(&deployment, "resume"),
            AdminAction::Retry { deployment } => self.rollout(&deployment, "retry"),
            AdminAction::Join { cohort, devices } => self.members(&cohort, "join", devices),
            AdminAction::Leave { cohort, devices } => self.members(&cohort, "leave", devices),
            AdminAction::ChangeTags { whom, set, remove } => {
                let set = set.into_iter().map(|(key, value)| (key, Some(value)));
                let tags = set.chain(remove.into_iter().map(|key| (key, None))).collect();
                let (devices, who) = match whom {
                    Whom::Devices(devices) => (Some(devices), None),
                    Whom::Matching(who) => (None, Some(who.to_string())),
                };
                self.post(&["v1", "tags"], &TagsBody { devices, who, tags })
            }
        }
    }

    fn rollout(&self, deployment: &DeploymentName, verb: &str) -> RequestBuilder {
        self.at(Method::POST, &["v1", "deployments", deployment.as_str(), verb])
    }

    fn members(&self, cohort: &CohortName, verb: &str, devices: Vec<DeviceId>) -> RequestBuilder {
        self.post(&["v1", "cohorts", cohort.as_str(), verb], &MembersBody { devices })
    }

    fn post(&self, path: &[&str], body: &impl Serialize) -> RequestBuilder {
        self.at(Method::POST, path).json(body)
    }

    fn at(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let path: String = path.iter().flat_map(|segment| ["/".to_owned(), escaped(segment)]).collect();
        self.client
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token)
    }
}

fn cohort_body(name: Option<CohortName>, rule: &CohortRule) -> CohortBody {
    let rule = match rule {
        CohortRule::ByHand => None,
        CohortRule::Where(selector) => Some(selector.to_string()),
    };
    CohortBody { name, rule }
}

async fn accepted(answer: Response) -> Result<Response, Unmade> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = answer.bytes().await.unwrap_or_default();
    Err(match serde_json::from_slice::<Problem>(&body) {
        // A server that ends has no time to make a change, and one that comes back has.
        Ok(problem) if status == StatusCode::SERVICE_UNAVAILABLE => Unmade::Unanswered(problem.detail),
        Ok(problem) if problem.kind.ends_with("-exists") => Unmade::Exists(problem.detail),
        Ok(problem) => Unmade::Refused(problem.detail),
        Err(_) => Unmade::Unanswered(format!("management API: HTTP status {}", status.as_u16())),
    })
}

/// A path segment: everything but unreserved characters (RFC 3986, 2.3) is percent-encoded.
fn escaped(segment: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    segment.bytes().map(escape).collect()
}

/// The error with its causes; reqwest's own text names only the outermost.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::NewDevice;

    fn admin() -> Admin {
        Admin::new("http://127.0.0.1:1/", "t", None).unwrap()
    }

    fn sent(action: AdminAction) -> (String, String, String) {
        let request = admin().request(action).build().unwrap();
        assert_eq!(request.headers()["authorization"], "Bearer t");
        let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
        (
            request.method().to_string(),
            request.url().path().to_owned(),
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[test]
    fn actions_become_requests() {
        let version = AdminAction::CreateVersion {
            firmware: "app@1.0/rc 1".parse().unwrap(),
            image: bytes::Bytes::from_static(b"image").into(),
        };
        assert_eq!(
            sent(version),
            ("PUT".into(), "/v1/firmware/app/versions/1.0%2Frc%201".into(), "image".into())
        );
        let devices = AdminAction::RegisterDevices {
            devices: vec![NewDevice {
                id: "d-1".into(),
                tags: [("region".to_owned(), "west".to_owned())].into(),
            }],
        };
        let body = r#"{"devices":[{"id":"d-1","tags":{"region":"west"}}]}"#;
        assert_eq!(sent(devices), ("POST".into(), "/v1/devices".into(), body.into()));
        let untag = AdminAction::ChangeTags {
            whom: Whom::Devices(vec!["d-1".into()]),
            set: [].into(),
            remove: vec!["region".to_owned()],
        };
        assert_eq!(
            sent(untag),
            (
                "POST".into(),
                "/v1/tags".into(),
                r#"{"devices":["d-1"],"tags":{"region":null}}"#.into()
            )
        );
        let deploy = AdminAction::Deploy {
            deployment: "one".into(),
            cohort: CohortName::all(),
            packages: vec!["app@1.1.0".parse().unwrap()],
            main: Some("app".parse().unwrap()),
        };
        let body = r#"{"name":"one","cohort":"all","packages":["app@1.1.0"],"main":"app"}"#;
        assert_eq!(sent(deploy), ("POST".into(), "/v1/deployments".into(), body.into()));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_server_that_is_not_there_is_told_with_its_cause() {
        let told = admin()
            .carry_out(AdminAction::Cancel {
                deployment: "one".into(),
            })
            .await
            .unwrap_err();
        assert!(matches!(&told, Unmade::Unanswered(why) if why.contains("refused")), "{told}");
    }
}
