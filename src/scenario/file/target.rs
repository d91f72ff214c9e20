//! `target` and its companions in `[server]`: a server that is there already, what it is shown, and who carries out steps there.

use super::super::document::Words;
use super::super::error::Problems;
use super::super::fields::{Complaint, Fields, Written};
use super::super::target::{Address, Held};
use super::general::is_literal;

/// Keys that say something about an external server.
pub(super) const EXTERNAL: &[&str] = &["key", "ca", "cert", "cert_key", "insecure", "admin"];

/// Keys of `[server]` that only the embedded server heeds; `chase` bounds how long any fleet takes to come to rest.
const EMBEDDED: &[&str] = &["listen", "tls", "store", "delay", "deadline", "limits"];

/// An external server.
#[derive(Clone, Debug)]
pub(in super::super) struct TargetFile {
    pub address: Written<Address>,
    pub key: Option<Held>,
    pub ca: Option<Held>,
    /// Certificate of the devices, and its key.
    pub identity: Option<(Held, Held)>,
    pub insecure: bool,
    pub admin: AdminFile,
    /// Keys that are written and that only the embedded server heeds.
    pub unheeded: Vec<Written<String>>,
}

/// Who carries out steps on an external server.
#[derive(Clone, Debug)]
pub(in super::super) enum AdminFile {
    Nobody,
    Program(String),
    Api(Address),
}

/// The external server, where `target` names one.
pub(super) fn read(fields: &Fields<'_>, problems: &Problems) -> Option<TargetFile> {
    let address = fields.parsed("target", "\"embedded\"", |text| match text {
        "embedded" => Ok(None),
        _ => read_target(text).map(Some),
    });
    let held = ["key", "ca", "cert", "cert_key"].map(|key| read_held(fields, key, problems));
    let [key, ca, cert, cert_key] = held;
    let admin = fields.parsed("admin", "\"none\"", read_admin).map(|admin| admin.value);
    let insecure = fields.boolean("insecure").unwrap_or(false);
    let identity = match (cert, cert_key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let (there, missing) = if fields.node("cert").is_some() {
                ("cert", "cert_key")
            } else {
                ("cert_key", "cert")
            };
            // One that is written and wrong has been complained about.
            if fields.node(missing).is_none() {
                let message = format!("`{there}` of the server is there without `{missing}`");
                problems.add(fields.key_at(there), message, "a client certificate needs both");
            }
            None
        }
    };
    // A `target` that is wrong has been complained about.
    if address.is_none() && fields.node("target").is_some() {
        return None;
    }
    let found = address.and_then(|address| Some((address.value?, address.at)));
    let Some((target, at)) = found else {
        for key in fields.present(EXTERNAL) {
            let says_nothing = (key == "admin" && matches!(admin, Some(AdminFile::Nobody))) || (key == "insecure" && !insecure);
            // A literal secret has been complained about, and is wrong with any target.
            if !says_nothing && fields.node("target").is_none() {
                let message = format!("`{key}` of the server is for an external one");
                let hint = "give `target` the server's address, for example \"mqtts://127.0.0.1:8883\"";
                problems.add(fields.key_at(key), message, hint);
            }
        }
        return None;
    };
    let unheeded = fields.present(EMBEDDED).map(|key| Written {
        value: key.to_owned(),
        at: fields.key_at(key),
    });
    Some(TargetFile {
        address: Written { value: target, at },
        key,
        ca,
        identity,
        insecure,
        admin: admin.unwrap_or(AdminFile::Nobody),
        unheeded: unheeded.collect(),
    })
}

fn read_target(text: &str) -> Result<Address, Complaint> {
    let hint = "write \"embedded\", or \"mqtts://HOST:PORT\"; \"mqtt://HOST:PORT\" speaks no TLS";
    let address = Address::parse(text).filter(|address| matches!(address.scheme.as_str(), "mqtt" | "mqtts"));
    address.ok_or_else(|| Complaint::new("unknown `target` of the server", hint))
}

fn read_admin(text: &str) -> Result<AdminFile, Complaint> {
    if text == "none" {
        return Ok(AdminFile::Nobody);
    }
    if let Some(program) = text.strip_prefix("exec ") {
        return match program.trim() {
            "" => Err(Complaint::new(
                "`admin` of the server names no program",
                "write \"exec ./steps.sh\"",
            )),
            program => Ok(AdminFile::Program(program.to_owned())),
        };
    }
    let address = Address::parse(text).filter(|address| matches!(address.scheme.as_str(), "http" | "https"));
    let hint = "write \"none\", \"exec PROGRAM\", or the management address of a `squall serve`, \"https://HOST:PORT\"";
    let complaint = || Complaint::new("unknown `admin` of the server", hint);
    address.map(AdminFile::Api).ok_or_else(complaint)
}

/// `env:NAME` or a file.
fn read_held(fields: &Fields<'_>, key: &str, problems: &Problems) -> Option<Held> {
    let words: &Words = fields.text(key, "\"env:NAME\"")?;
    if key == "key" && is_literal(&words.text) {
        let hint = "write `env:NAME`, or the path of a file that holds it";
        problems.add(words.inner, format!("`{key}` of the server is a literal secret"), hint);
        return None;
    }
    match words.text.strip_prefix("env:") {
        Some("") => {
            problems.add(
                words.inner,
                format!("`{key}` of the server names no variable"),
                "write `env:NAME`",
            );
            None
        }
        Some(name) => Some(Held::Environment(name.to_owned())),
        None => Some(Held::File(words.text.clone().into())),
    }
}
