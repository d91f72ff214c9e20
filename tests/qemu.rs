//! Real firmware in QEMU: the fixtures against their sources and against imgtool, one board on its bench, power cuts, foreign clients.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use squall::mcuboot;
use squall::qemu::{
    BOOTLOADER, During, Ended, Flash, FlashAccess, Guest, Qemu, SlotState, Smp, SmpError, Standing, Sweep, Tear, pause,
};

use super::foreign_tool;

const PATIENCE: Duration = Duration::from_secs(20);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware-fixtures")
}

fn app(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(format!("app-{name}.bin"))).unwrap()
}

/// The QEMU that is installed, with the best that its version can do.
fn qemu() -> Qemu {
    Qemu::default().found().unwrap()
}

fn board(name: &str) -> Guest {
    board_on(qemu(), name)
}

fn board_on(qemu: Qemu, name: &str) -> Guest {
    let mut guest = Guest::new(qemu, Flash::of(BOOTLOADER, &app(name)).unwrap());
    guest.power_on(None).unwrap();
    guest.wait_until_up().unwrap();
    guest
}

fn client(guest: &mut Guest) -> &mut Smp {
    guest.smp().unwrap().0
}

/// The image that runs, once `wanted` holds of it.
fn running(guest: &mut Guest, wanted: impl Fn(&SlotState) -> bool) -> SlotState {
    eventually("the board comes there", || {
        guest.nudge().unwrap();
        match client(guest).images(Duration::from_secs(1)) {
            Ok(images) => images.into_iter().find(|image| image.active).filter(&wanted),
            Err(SmpError::Silent | SmpError::Garbled { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    })
}

/// What `look` finds, sooner or later.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..400 {
        if let Some(found) = look() {
            return found;
        }
        pause(Duration::from_millis(50));
    }
    panic!("not so: {what}");
}

/// Uploads an image, asks for its trial, resets.
fn update(guest: &mut Guest, image: &[u8]) -> Result<(), SmpError> {
    let smp = client(guest);
    smp.upload(image, PATIENCE, &mut |_| {})?;
    let images = smp.images(PATIENCE)?;
    let uploaded = images.iter().find(|image| image.slot == 1).unwrap();
    let hash = uploaded.hash.clone();
    smp.test(&hash, PATIENCE)?;
    smp.reset(PATIENCE)
}

#[test]
fn the_sources_build_to_the_committed_bytes() {
    if !foreign_tool("arm-none-eabi-gcc") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let built = Command::new(fixtures().join("build")).arg(folder.path()).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 8);
    for file in files {
        let committed = fixtures().join(file.file_name().unwrap());
        let same = std::fs::read(&file).unwrap() == std::fs::read(&committed).unwrap();
        assert!(same, "{} is not what its sources build to", committed.display());
    }
}

#[test]
fn every_application_is_an_image_that_imgtool_and_inspect_accept() {
    if !foreign_tool("imgtool") {
        return;
    }
    let mut build_ids = BTreeMap::new();
    for name in ["1.0.0", "1.1.0", "1.2.0", "1.3.0-crashes", "1.4.0-hangs", "1.5.0-refuses"] {
        let image = app(name);
        let seen = mcuboot::inspect(&image, None, Some(0x18000), 4);
        assert_eq!(seen.defects, [], "{name}");
        let file = fixtures().join(format!("app-{name}.bin"));
        let judged = Command::new("imgtool").arg("verify").arg(&file).output().unwrap();
        assert!(judged.status.success(), "{name}: {}", String::from_utf8_lossy(&judged.stdout));
        build_ids.insert(format!("{:?}", seen.build_ids), name);
    }
    assert_eq!(build_ids.len(), 6, "two images have one build id: {build_ids:?}");
}

#[test]
fn a_board_takes_an_update_and_keeps_it_through_a_power_cut() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    // Every QEMU can be asked for the flash in the old way.
    for qemu in [Qemu::default(), qemu()] {
        let mut guest = board_on(qemu, "1.0.0");
        update(&mut guest, &app("1.1.0")).unwrap();
        let trial = running(&mut guest, |image| image.version == "1.1.0");
        assert!(!trial.confirmed, "an image is on trial at first");
        running(&mut guest, |image| image.version == "1.1.0" && image.confirmed);
        guest.power_off().unwrap();
        assert!(!guest.flash().on_trial());
        guest.power_on(None).unwrap();
        guest.wait_until_up().unwrap();
        assert_eq!(running(&mut guest, |_| true).version, "1.1.0");
        let printed: Vec<String> = client(&mut guest).console().drain().collect();
        assert_eq!(printed, ["app 1.1.0, confirmed"]);
    }
}

#[test]
fn a_board_whose_process_is_killed_in_a_swap_goes_on_where_its_flash_is() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    let qemu = qemu();
    let mut in_swaps = 0;
    for after in (0..40).step_by(5).map(Duration::from_millis) {
        let mut guest = board_on(qemu.clone(), "1.0.0");
        update(&mut guest, &app("1.1.0")).unwrap();
        pause(after);
        let process = i32::try_from(guest.process().unwrap()).unwrap();
        kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
        eventually("the process ends", || (!guest.is_on()).then_some(()));
        let wanted = match guest.flash().standing() {
            Standing::Moving => "1.1.0",
            // It was on trial already, or its flash went with the process: it is as it was switched on.
            Standing::OnTrial | Standing::Settled => "1.0.0",
        };
        in_swaps += u32::from(wanted == "1.1.0");
        guest.power_on(None).unwrap();
        guest.wait_until_up().unwrap();
        let end = running(&mut guest, |image| image.confirmed);
        assert_eq!(end.version, wanted, "killed after {after:?}");
    }
    match qemu.access {
        FlashAccess::Shared => assert_ne!(in_swaps, 0, "no process was killed in a swap"),
        FlashAccess::Debugger => assert_eq!(in_swaps, 0, "the flash went with the process"),
    }
}

#[test]
fn an_image_that_crashes_or_hangs_is_put_back() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    for (name, version, watchdog) in [("1.3.0-crashes", "1.3.0", false), ("1.4.0-hangs", "1.4.0", true)] {
        let mut guest = board("1.0.0");
        update(&mut guest, &app(name)).unwrap();
        if watchdog {
            // It says hello, answers nothing, and no watchdog of its own resets it: the bench does.
            client(&mut guest).listen(Duration::from_secs(2)).unwrap();
            let printed: Vec<String> = client(&mut guest).console().drain().collect();
            assert!(printed.contains(&format!("on trial: app {version}")), "{printed:?}");
            guest.reset().unwrap();
        } else {
            running(&mut guest, |image| image.version == version && !image.confirmed);
        }
        let back = running(&mut guest, |image| image.version == "1.0.0");
        assert!(back.confirmed, "{name}");
    }
}

#[test]
fn a_board_refuses_what_it_must_not_do() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    let refused = |result: Result<(), SmpError>| matches!(result, Err(SmpError::Refused { .. }));
    let mut guest = board("1.5.0-refuses");
    assert!(refused(update(&mut guest, &app("1.1.0"))), "it was built to refuse");
    let mut guest = board("1.0.0");
    let mut damaged = app("1.1.0");
    damaged[0x300] ^= 1;
    client(&mut guest).upload(&damaged, PATIENCE, &mut |_| {}).unwrap();
    assert_eq!(
        client(&mut guest).images(PATIENCE).unwrap().len(),
        1,
        "a damaged image is none"
    );
    let garbage = [
        0x06, 0x09, b'!', 0xff, b'\n', 0x06, 0x09, b'A', b'A', b'\n', 0x04, 0x14, b'\n',
    ];
    client(&mut guest).disturb(&garbage).unwrap();
    assert_eq!(client(&mut guest).echo("still here", PATIENCE).unwrap(), "still here");
}

fn sweep(bootloader: &[u8], update: &str, tears: &[Tear]) -> Vec<squall::qemu::Point> {
    let sweep = Sweep {
        qemu: qemu(),
        bootloader: bootloader.to_vec(),
        image: app("1.0.0"),
        update: app(update),
        tears: tears.to_vec(),
        parallel: 8,
        seed: 1,
    };
    sweep.run(&|_, _| {}, &AtomicBool::new(false)).unwrap()
}

#[test]
fn a_cut_at_any_page_erase_leads_to_the_same_end() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    let points = sweep(BOOTLOADER, "1.3.0-crashes", &[Tear::Middle]);
    let broken: Vec<_> = points
        .iter()
        .filter(|point| matches!(point.ended, Ended::Broken { .. }))
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
    let during = |wanted: During| points.iter().filter(|point| point.during == wanted).count();
    println!("{} points", points.len());
    assert_eq!([During::Upload, During::Swap, During::Revert].map(during), [9, 18, 18]);
}

#[test]
fn a_bootloader_that_reverts_a_resumed_swap_is_found() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    let planted = std::fs::read(fixtures().join("boot-reverts-resumed.bin")).unwrap();
    let points = sweep(&planted, "1.1.0", &[Tear::Before]);
    let broken: Vec<u32> = points
        .iter()
        .filter(|point| matches!(point.ended, Ended::Broken { .. }))
        .map(|point| point.erase)
        .collect();
    assert_eq!(
        broken,
        (12..=27).collect::<Vec<_>>(),
        "every cut behind the first word of the swap"
    );
}

/// `squall qemu run` of an image, and the terminal that its serial line is on.
fn bench(image: &str) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["qemu", "run"])
        .arg(fixtures().join(image))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let terminal = line.split_whitespace().last().unwrap().to_owned();
    assert!(terminal.starts_with("/dev/"), "{line}");
    (child, terminal)
}

#[test]
fn smpmgr_updates_a_running_board_as_it_is() {
    if !foreign_tool("qemu-system-arm") || !foreign_tool("smpmgr") {
        return;
    }
    let (mut child, terminal) = bench("app-1.0.0.bin");
    let smpmgr = |arguments: &[&str]| {
        let output = Command::new("smpmgr")
            .args(["--timeout", "10", "--port", &terminal])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "smpmgr {arguments:?}: {said}");
        said
    };
    let update = fixtures().join("app-1.1.0.bin");
    smpmgr(&["upgrade", "--slot", "1", update.to_str().unwrap()]);
    eventually("the new image is confirmed", || {
        let said = smpmgr(&["image", "state-read"]);
        let primary = said.split("slot=1").next().unwrap();
        (primary.contains("1.1.0") && primary.contains("confirmed=True")).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The guests of a process, by what the kernel says of its children.
fn guests_of(process: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let child_of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let behind_name = stat.rsplit(") ").next().unwrap_or_default().to_owned();
        behind_name.split(' ').nth(1) == Some(&process.to_string())
    };
    all.filter(child_of).collect()
}

#[test]
fn no_guest_outlives_a_squall_that_is_killed() {
    if !foreign_tool("qemu-system-arm") {
        return;
    }
    let (mut child, _) = bench("app-1.0.0.bin");
    let guests = guests_of(child.id());
    assert_eq!(guests.len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let guest = format!("/proc/{}", guests[0]);
    eventually("the guest ends", || (!Path::new(&guest).exists()).then_some(()));
}

#[test]
fn what_is_missing_or_wrong_is_said_with_the_way_out() {
    let refusal = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_squall"))
            .arg("qemu")
            .args(arguments)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let image = fixtures().join("app-1.0.0.bin");
    let image = image.to_str().unwrap();
    let (code, said) = refusal(&["run", image, "--binary", "qemu-of-nowhere"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("`qemu-of-nowhere` is not there") && said.contains("apt-get install"),
        "{said}"
    );
    let folder = tempfile::tempdir().unwrap();
    for (version, said_of_it) in [
        ("6.2.0", "is of version 6.2.0: 7.0 or newer"),
        ("of my own", "is of version unknown"),
    ] {
        let old = pretended(folder.path(), version);
        let (code, said) = refusal(&["sweep", image, "--update", image, "--binary", &old]);
        assert_eq!(code, Some(1));
        assert!(said.contains(said_of_it), "{said}");
    }
    let (code, said) = refusal(&["run", "nowhere.bin"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("nowhere.bin"), "{said}");
    let broken = folder.path().join("broken.bin");
    std::fs::write(&broken, [0; 1000]).unwrap();
    let (code, said) = refusal(&["sweep", image, "--update", broken.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(said.contains("broken.bin"), "{said}");
}

/// A program that claims to be a QEMU of this version.
fn pretended(folder: &Path, version: &str) -> String {
    let program = folder.join(format!("qemu {version}"));
    std::fs::write(&program, format!("#!/bin/sh\necho QEMU emulator version {version}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program.to_str().unwrap().to_owned()
}
