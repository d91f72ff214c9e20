//! `squall image make` and `squall image inspect`, as commands.

use std::path::Path;
use std::process::{Command, Output};

use crate::foreign_tool;
use crate::mcuboot::tools::{KEYS, Keys, imgtool_verify};

const FLAWS: [&str; 10] = [
    "bad-signature",
    "wrong-key",
    "unsigned",
    "no-build-id",
    "zero-build-id",
    "wrong-build-id",
    "wrong-digest",
    "bad-magic",
    "truncated",
    "too-big",
];

#[test]
fn the_same_arguments_make_the_same_file_and_nothing_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name| {
        squall(
            folder.path(),
            &format!("make --version 1.1.0 --size 20KiB --security-counter 3 -o {name}"),
        )
    };
    let said = stdout(make("a.bin"), 0);
    assert!(said.starts_with("a.bin: 20,480 bytes\n  version    1.1.0\n"), "{said}");
    assert!(
        said.contains("security-counter, protected, 4 bytes") && said.ends_with("good\n"),
        "{said}"
    );
    stdout(make("b.bin"), 0);
    assert_eq!(read(&folder, "a.bin"), read(&folder, "b.bin"));
    assert_eq!(stdout(squall(folder.path(), "inspect a.bin"), 0), said);
    stdout(
        squall(
            folder.path(),
            "make --version 1.1.0 --size 20KiB --security-counter 3 --seed 2 -o b.bin",
        ),
        0,
    );
    assert_ne!(read(&folder, "a.bin"), read(&folder, "b.bin"));
}

#[test]
fn patterns_fill_the_payload() {
    let folder = tempfile::tempdir().unwrap();
    let filling = |pattern: &str| {
        stdout(
            squall(
                folder.path(),
                &format!("make --version 1.1.0 --size 4KiB --pattern {pattern} -o image.bin"),
            ),
            0,
        );
        read(&folder, "image.bin")[0x218..0x228].to_vec()
    };
    assert_eq!(filling("zeros"), [0; 16]);
    assert_eq!(filling("counter"), [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    assert_ne!(filling("random"), [0; 16]);
}

#[test]
fn imgtool_accepts_what_the_command_signs_and_inspect_does_with_the_public_key() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    let rest = "--size 20KiB --security-counter 4 --dependency 1@2.0.0 --pad 64KiB --confirm -o image.bin";
    for (scheme, names) in KEYS {
        for name in names {
            let (key, public) = (keys.private(name), keys.public(name));
            let make = format!("make --version 2.0.0 --sign {scheme} --key {} {rest}", key.display());
            let said = stdout(squall(folder.path(), &make), 0);
            assert!(said.contains(&format!("signature  {scheme}, good")), "{said}");
            assert!(
                said.contains("image 1 at 2.0.0 or later") && said.contains("image_ok set"),
                "{said}"
            );
            assert_eq!(read(&folder, "image.bin").len(), 64 << 10);
            let (accepted, complaint) = imgtool_verify(&folder.path().join("image.bin"), Some(&public));
            assert!(accepted, "{name}: {complaint}");
            let inspect = format!("inspect image.bin --key {}", public.display());
            assert_eq!(stdout(squall(folder.path(), &inspect), 0), said);
        }
    }
}

#[test]
fn a_fleet_runs_only_what_the_key_that_it_trusts_has_signed() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    let mut scenario = "scenario = { duration = \"60s\" }\n".to_owned();
    let mut rows = String::new();
    for (scheme, names) in KEYS {
        let [own, .., foreign] = names else {
            panic!("several keys of each kind")
        };
        std::fs::copy(keys.public(own), folder.path().join(format!("{own}.pub.pem"))).unwrap();
        for (version, key) in [("1.0.0", own), ("1.1.0", own), ("1.2.0", foreign)] {
            let file = format!("{own}-{version}.bin");
            let key = keys.private(key);
            let made = format!(
                "make --version {version} --size 24KiB --sign {scheme} --key {} -o {file}",
                key.display()
            );
            stdout(squall(folder.path(), &made), 0);
        }
        scenario += &format!(
            "fleet.{own} = {{ count = 2, runs = \"{own}@1.0.0\", trusts = \"{own}.pub.pem\" }}\ncohort.{own}.members = \"fleet:{own}\"\n"
        );
        for version in ["1.0.0", "1.1.0", "1.2.0"] {
            scenario += &format!("firmware.{own}.\"{version}\" = {{ file = \"{own}-{version}.bin\" }}\n");
        }
        for (at, version) in [("1s", "1.1.0"), ("30s", "1.2.0")] {
            rows += &format!("[[step]]\nat = \"{at}\"\ndeploy = \"{own}@{version}\"\nto = \"{own}\"\n");
        }
        for that in [
            "attempts{fleet:KEY,result:succeeded} count == 2",
            "attempts{fleet:KEY,result:failed,reason:not-swapped} count == 2",
            "devices{runs:KEY@1.1.0} count == 2",
        ] {
            rows += &format!("[[expect]]\nthat = \"{}\"\n", that.replace("KEY", own));
        }
    }
    // One of them is imgtool's work.
    let by_imgtool = [
        "sign",
        "--header-size",
        "0x200",
        "--pad-header",
        "--slot-size",
        "0x40000",
        "--align",
        "4",
        "--version",
        "1.1.0",
        "-k",
    ];
    let ours = read(&folder, "ec-1.1.0.bin");
    let payload_len = u32::from_le_bytes(ours[12..16].try_into().unwrap()) as usize;
    std::fs::write(folder.path().join("payload"), &ours[0x200..0x200 + payload_len]).unwrap();
    let signed = Command::new("imgtool")
        .args(by_imgtool)
        .arg(keys.private("ec"))
        .args(["payload", "ec-1.1.0.bin"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(signed.status.success(), "{signed:?}");
    std::fs::write(folder.path().join("keys.toml"), scenario.clone() + &rows).unwrap();
    let squall = |scenario: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command.args(["sim", scenario, "--out", "runs"]).current_dir(folder.path());
        command.output().unwrap()
    };
    let played = squall("keys.toml");
    let warned = String::from_utf8_lossy(&played.stderr).into_owned();
    assert!(
        warned.contains("the bootloader of fleet `rsa` does not accept `rsa@1.2.0`: the image is signed by key"),
        "{warned}"
    );
    stdout(played, 0);

    let runs_foreign = scenario.replace("runs = \"ed25519@1.0.0\"", "runs = \"ed25519@1.2.0\"");
    std::fs::write(folder.path().join("dead.toml"), runs_foreign + &rows).unwrap();
    let refused = stderr(squall("dead.toml"), 2);
    assert!(
        refused.contains("does not accept `ed25519@1.2.0`") && refused.contains("a device cannot start with it"),
        "{refused}"
    );
}

#[test]
fn inspect_names_the_flaw_of_every_flawed_image() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image.bin");
    for (scheme, names) in KEYS {
        let (key, public) = (keys.private(names[0]), keys.public(names[0]));
        // What has nothing to do with keys is tried with one of them.
        let flaws = if scheme == "ed25519" {
            &FLAWS[..]
        } else {
            &["bad-signature", "wrong-key"]
        };
        for flaw in flaws {
            let make = format!("make --version 2.0.0 --size 20KiB --pad 64KiB --flaw {flaw} --sign {scheme}");
            stdout(
                squall(folder.path(), &format!("{make} --key {} -o image.bin", key.display())),
                0,
            );
            let inspect = format!("inspect image.bin --slot 64KiB --key {}", public.display());
            let said = stdout(squall(folder.path(), &inspect), 2);
            let wrong: Vec<_> = said.lines().filter(|line| line.starts_with("flawed: ")).collect();
            assert!(
                matches!(wrong[..], [line] if line.starts_with(&format!("flawed: {flaw}: "))),
                "{said}"
            );

            let passes = ["no-build-id", "zero-build-id", "wrong-build-id", "too-big"].contains(flaw);
            let (accepted, complaint) = imgtool_verify(&image, Some(&public));
            assert_eq!(accepted, passes, "{scheme} {flaw}: {complaint}");
        }
    }
}

#[test]
fn json_says_what_the_text_says() {
    let folder = tempfile::tempdir().unwrap();
    stdout(
        squall(
            folder.path(),
            "make --version 1.2.3+4 --pad 128KiB --security-counter 9 --flaw wrong-build-id -o image.bin",
        ),
        0,
    );
    let text = stdout(squall(folder.path(), "inspect image.bin"), 2);
    let json: serde_json::Value = serde_json::from_str(&stdout(squall(folder.path(), "inspect image.bin --json"), 2)).unwrap();
    assert_eq!(json["schema"], "squall.image/1");
    assert_eq!((&json["version"], &json["verdict"]), (&"1.2.3+4".into(), &"flawed".into()));
    assert_eq!(json["defects"][0]["flaw"], "wrong-build-id");
    assert_eq!(json["tlvs"][0]["name"], "security-counter");
    assert_eq!(json["tlvs"][0]["meaning"], "9");
    assert_eq!(json["digest"]["claimed"], json["digest"]["computed"]);
    assert_eq!(json["trailer"]["image_ok"], "unset");
    assert_eq!(json["signature"]["verdict"], "none");
    for said in [
        &json["digest"]["computed"],
        &json["build_ids"][0]["id"],
        &json["build_ids"][1]["id"],
        &json["defects"][0]["message"],
    ] {
        assert!(text.contains(said.as_str().unwrap()), "{said} in {text}");
    }
}

#[test]
fn nothing_of_a_private_key_is_printed_or_written() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let folder = tempfile::tempdir().unwrap();
    let mut looked = 0;
    for (scheme, names) in KEYS {
        let key = keys.private(names[0]);
        let make = format!("make --version 2.0.0 --sign {scheme} --key {} -o image.bin", key.display());
        let output = squall(folder.path(), &make);
        let json = squall(folder.path(), &format!("inspect image.bin --json --key {}", key.display()));
        let said = [
            output.stdout,
            output.stderr,
            json.stdout,
            json.stderr,
            read(&folder, "image.bin"),
        ]
        .concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        for secret in secrets(&std::fs::read_to_string(&key).unwrap()) {
            looked += 1;
            assert!(!said.contains(&secret), "{scheme}: {secret}");
        }
    }
    assert!(looked > 20, "only {looked} pieces of keys looked for");
}

#[test]
fn keys_that_cannot_sign_are_refused_by_name() {
    if !(foreign_tool("imgtool") && foreign_tool("openssl")) {
        return;
    }
    let keys = Keys::made();
    let others = tempfile::tempdir().unwrap();
    let other = |name: &str, arguments: &str| keys.openssl(arguments, &others.path().join(format!("{name}.pem")));
    let large = other("large", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072");
    let p384 = other("p384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384");
    let x25519 = other("x25519", "genpkey -algorithm x25519");
    let encrypted = other("encrypted", "pkey -in ec.pem -aes256 -passout pass:secret");
    let encrypted_pkcs1 = other("encrypted-pkcs1", "rsa -in rsa.pem -traditional -aes256 -passout pass:secret");
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image.bin");
    std::fs::write(&image, "older").unwrap();
    for (scheme, key, complaint) in [
        ("rsa-2048", large, "an RSA key of 3072 bits, not 2048"),
        ("ecdsa-p256", p384, "cannot be read as"),
        ("ed25519", x25519, "algorithm 1.3.101.110"),
        ("ecdsa-p256", encrypted, "encrypted with a passphrase"),
        ("rsa-2048", encrypted_pkcs1, "encrypted with a passphrase"),
        ("rsa-2048", keys.private("ec"), "is for ecdsa-p256, not for --sign rsa-2048"),
        ("ed25519", keys.public("ed25519"), "signing needs the private one"),
        ("ed25519", keys.private("missing"), "No such file"),
    ] {
        let key = key.display().to_string();
        let make = format!("make --version 2.0.0 --sign {scheme} --key {key} -o image.bin");
        let said = stderr(squall(folder.path(), &make), 2);
        assert!(said.contains(complaint) && said.contains(&key), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&image).unwrap(), "older");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn bad_input_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, complaint) in [
        ("make --version 1.1.0", "--output"),
        ("make -o image.bin", "--version"),
        ("make --version 1.1 -o image.bin", "`1.1` is no image version"),
        ("make --version 1.1.0 --size 64 -o image.bin", "64"),
        ("make --version 1.1.0 --size 100B -o image.bin", "too small"),
        ("make --version 1.1.0 --size 1GiB -o image.bin", "at most 268,435,456 bytes"),
        (
            "make --version 1.1.0 --pad 64KiB -o image.bin",
            "--pad: an image of 65536 bytes",
        ),
        ("make --version 1.1.0 --confirm -o image.bin", "--pad"),
        ("make --version 1.1.0 --align 3 -o image.bin", "one of 1, 2, 4, 8, 16, 32"),
        ("make --version 1.1.0 --sign ed25519 -o image.bin", "--key"),
        (
            "make --version 1.1.0 --flaw bad-signature -o image.bin",
            "add --sign and --key",
        ),
        ("make --version 1.1.0 --flaw too-big -o image.bin", "add --pad"),
        ("make --version 1.1.0 --flaw worst -o image.bin", "wrong-build-id"),
        ("make --version 1.1.0 --dependency 2.0.0 -o image.bin", "1@2.0.0"),
        ("make --version 1.1.0 -o none/image.bin", "none/image.bin"),
        ("inspect image.bin", "image.bin"),
        ("inspect .", ""),
    ] {
        let said = stderr(squall(folder.path(), arguments), 2);
        assert!(said.starts_with("error: ") && said.contains(complaint), "{arguments}: {said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments}");
    }
}

#[test]
fn whatever_is_no_image_is_flawed_and_named() {
    let folder = tempfile::tempdir().unwrap();
    for (content, word) in [
        (&[][..], "truncated"),
        (&[0xff; 31], "truncated"),
        (&[0xff; 4096], "bad-magic"),
    ] {
        std::fs::write(folder.path().join("file"), content).unwrap();
        let said = stdout(squall(folder.path(), "inspect file"), 2);
        assert!(said.contains(&format!("flawed: {word}: ")), "{said}");
    }
}

#[test]
fn help_shows_examples_that_work() {
    let folder = tempfile::tempdir().unwrap();
    let help = stdout(squall(folder.path(), "make --help"), 0);
    let examples: Vec<_> = help
        .lines()
        .filter_map(|line| line.trim().strip_prefix("squall image "))
        .collect();
    assert!(examples.len() >= 4, "{help}");
    for example in examples.iter().filter(|example| !example.contains("--key")) {
        let mut words = Vec::new();
        for (number, part) in example.split('\'').enumerate() {
            match number % 2 {
                0 => words.extend(part.split_ascii_whitespace()),
                _ => words.push(part),
            }
        }
        stdout(run(folder.path(), &words), 0);
    }
    assert!(help.contains("Exit codes:"));
    let help = stdout(squall(folder.path(), "inspect --help"), 0);
    assert!(
        help.contains("Examples:") && help.contains("2 bad input, or the image is flawed"),
        "{help}"
    );
}

/// Runs `squall image` with arguments that hold no spaces; `64KiB` stands for `64 KiB`.
fn squall(folder: &Path, arguments: &str) -> Output {
    run(folder, &arguments.split(' ').collect::<Vec<_>>())
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall"))
        .arg("image")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn stdout(output: Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

fn stderr(output: Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{said}");
    String::from_utf8(output.stderr).unwrap()
}

fn read(folder: &tempfile::TempDir, name: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(name)).unwrap()
}

/// Pieces of a private key as they could be printed: lines of its PEM, and its bytes in hexadecimal where they are only private.
fn secrets(pem: &str) -> Vec<String> {
    use base64::Engine as _;
    let lines: Vec<_> = pem
        .lines()
        .filter(|line| !line.starts_with('-') && line.len() >= 16)
        .collect();
    let der = base64::engine::general_purpose::STANDARD.decode(lines.concat()).unwrap();
    // The private number of an elliptic key, or what follows modulus and exponent of an RSA key.
    let private = match der.len() {
        0..200 => &der[der.len().min(if der.len() < 60 { 16 } else { 36 })..][..32],
        _ => &der[300..],
    };
    let hex = private
        .chunks_exact(16)
        .map(|piece| piece.iter().map(|byte| format!("{byte:02x}")).collect());
    lines.iter().map(|line| (*line).to_owned()).chain(hex).collect()
}
