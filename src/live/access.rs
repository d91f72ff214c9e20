//! What it takes to speak to an external server: credentials read from where they are held, and TLS settings made of them. All of it
//! is read before anything begins, so that what is missing is said at once.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use serde::Deserialize;

use crate::scenario::{AdminPlan, Held, Plan, TargetPlan};

use super::stream::{Authority, Identity, Target, client_config_of};

/// Where Debian and its kin keep the authorities that the machine trusts; `SSL_CERT_FILE` names another.
const MACHINE_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Largest credential that is read, bytes.
const HELD_MAX: u64 = 4 << 20;

/// How an external server is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// Where devices connect.
    pub broker: Target,
    /// Their password.
    pub ingest_key: String,
    /// What the management API asks for.
    pub token: Option<String>,
    /// How servers are verified.
    pub tls: Option<Arc<ClientConfig>>,
    /// Who carries out steps.
    pub admin: AdminPlan,
}

/// The credentials file of a `squall serve`, as far as it is of use here.
#[derive(Deserialize)]
struct Credentials {
    token: String,
    ingest_key: String,
}

/// Whether what the plan says of an external server is there: credentials, authorities, and a token where the management API is used.
///
/// # Errors
///
/// A sentence that names what is missing.
pub fn check_access(plan: &Plan) -> Result<(), String> {
    plan.server.target.as_ref().map(Access::of).transpose().map(drop)
}

impl Access {
    /// Reads what the plan names.
    ///
    /// # Errors
    ///
    /// A sentence that names what is missing, and never its value.
    pub(crate) fn of(plan: &TargetPlan) -> Result<Access, String> {
        let broker = Target::parse(&plan.address.to_string()).ok_or_else(|| format!("`target` is no address: {}", plan.address))?;
        let key = plan.key.as_ref().map(|key| read("key", key)).transpose()?.unwrap_or_default();
        let text = String::from_utf8(key).map_err(|_| "`key` of the server is not text".to_owned())?;
        let (ingest_key, token) = match serde_json::from_str::<Credentials>(&text) {
            Ok(both) => (both.ingest_key, Some(both.token)),
            // A line of a file ends with its end.
            Err(_) => (text.trim_end_matches(['\r', '\n']).to_owned(), None),
        };
        let api = match &plan.admin {
            AdminPlan::Api(address) => Some(address),
            AdminPlan::Nobody | AdminPlan::Program(_) => None,
        };
        if api.is_some() && token.is_none() {
            return Err(
                "`admin` of the server needs a token: let `key` name the credentials file that `squall serve` \
                        wrote, which holds it beside the devices' password"
                    .to_owned(),
            );
        }
        // Images may be encrypted where MQTT is not: whoever is trusted is trusted for both.
        let encrypted = broker.tls || plan.ca.is_some() || plan.insecure || api.is_some_and(|address| address.scheme == "https");
        let tls = encrypted.then(|| tls(plan)).transpose()?;
        Ok(Access {
            broker,
            ingest_key,
            token,
            tls,
            admin: plan.admin.clone(),
        })
    }
}

fn tls(plan: &TargetPlan) -> Result<Arc<ClientConfig>, String> {
    let authority = match (&plan.ca, plan.insecure) {
        (_, true) => Authority::Anybody,
        (Some(ca), false) => Authority::Signed(read("ca", ca)?),
        (None, false) => {
            let path = std::env::var_os("SSL_CERT_FILE").map_or_else(|| PathBuf::from(MACHINE_AUTHORITIES), PathBuf::from);
            let unreadable = |why: String| format!("whom this machine trusts is not known ({why}): give `ca` of the server");
            Authority::Signed(read("ca", &Held::File(path)).map_err(unreadable)?)
        }
    };
    let identity = plan.identity.as_ref().map(|(certificate, key)| {
        Ok::<_, String>(Identity {
            certificate: read("cert", certificate)?,
            key: read("cert_key", key)?,
        })
    });
    client_config_of(authority, identity.transpose()?)
}

/// The value of a credential.
fn read(what: &str, held: &Held) -> Result<Vec<u8>, String> {
    let told = |why: &dyn std::fmt::Display| format!("`{what}` of the server: {held}: {why}");
    match held {
        Held::Environment(name) => match std::env::var(name) {
            Ok(value) if !value.is_empty() => Ok(value.into_bytes()),
            Ok(_) | Err(_) => Err(told(&"this variable is not set")),
        },
        Held::File(path) => {
            let length = std::fs::metadata(path).map_err(|error| told(&error))?.len();
            if length > HELD_MAX {
                return Err(told(&"this file is too large for a credential"));
            }
            std::fs::read(path).map_err(|error| told(&error))
        }
    }
}
