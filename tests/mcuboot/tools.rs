//! Keys made by openssl and images judged by imgtool, for whoever tests against them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A folder with a key of each kind in each form that openssl and imgtool write. `NAME.pem` is private, `NAME.pub.pem` public.
pub struct Keys {
    folder: PathBuf,
}

/// Scheme, and names of the files that hold a key for it.
pub const KEYS: [(&str, &[&str]); 3] = [
    ("ed25519", &["ed25519", "ed25519-imgtool"]),
    ("ecdsa-p256", &["ec", "ec-sec1", "ec-params", "ec-imgtool"]),
    ("rsa-2048", &["rsa", "rsa-pkcs1", "rsa-imgtool"]),
];

impl Keys {
    /// Keys that are made once and stay, because RSA takes its time.
    pub fn made() -> Keys {
        static MAKING: Mutex<()> = Mutex::new(());
        let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let within = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let keys = Keys {
            folder: within.join("image-keys"),
        };
        if !keys.folder.exists() {
            let fresh = tempfile::tempdir_in(within).unwrap();
            make_keys(fresh.path());
            // Another run may have been faster; its keys are as good.
            let _ = std::fs::rename(fresh.path(), &keys.folder);
        }
        keys
    }

    /// Derives or makes one more key, outside of the folder.
    pub fn openssl(&self, arguments: &str, to: &Path) -> PathBuf {
        let mut command = openssl(arguments);
        run(command.arg("-out").arg(to).current_dir(&self.folder));
        to.to_owned()
    }

    pub fn private(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    pub fn public(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pub.pem"))
    }
}

fn make_keys(folder: &Path) {
    let make = |arguments: &str| run(openssl(arguments).current_dir(folder));
    make("genpkey -algorithm ed25519 -out ed25519.pem");
    make("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem");
    make("pkey -in ec.pem -traditional -out ec-sec1.pem");
    make("ecparam -name prime256v1 -genkey -out ec-params.pem");
    make("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    make("pkey -in rsa.pem -traditional -out rsa-pkcs1.pem");
    for (kind, name) in [("ed25519", "ed25519"), ("ecdsa-p256", "ec"), ("rsa-2048", "rsa")] {
        let file = folder.join(format!("{name}-imgtool.pem"));
        run(Command::new("imgtool").args(["keygen", "-t", kind, "-k"]).arg(file));
    }
    for name in KEYS.iter().flat_map(|(_, names)| *names) {
        make(&format!("pkey -in {name}.pem -pubout -out {name}.pub.pem"));
    }
}

fn openssl(arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' '));
    command
}

/// Whether imgtool accepts an image, with this key if one is given, and what it says.
pub fn imgtool_verify(image: &Path, key: Option<&Path>) -> (bool, String) {
    let mut command = Command::new("imgtool");
    command.arg("verify");
    if let Some(key) = key {
        command.arg("-k").arg(key);
    }
    let output = command.arg(image).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Runs a program that must succeed; gives what it printed.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}
