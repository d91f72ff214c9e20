//! What a connected device costs, in harness and server, beside bare connections of the same libraries that only stay open:
//! `cargo bench --bench connected [plain|tls] [COUNT…]`; without counts 1,000, 10,000 and 100,000.
//!
//! Devices of `squall run` are connected and subscribed, have their records and their flash, and are watched by the rules of both sides.
//! User memory is what each process has resident beyond what it has with a hundred; kernel memory is the growth of the machine's slabs,
//! for both ends. Prints, and judges nothing: the goals stand beside the figures.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

mod bare;
#[expect(dead_code, reason = "other benches use more of it")]
#[path = "../server/process.rs"]
mod process;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bare::Bare;
use process::resident;

/// Devices, where no count is given.
const USUAL: [u32; 3] = [1_000, 10_000, 100_000];
/// Devices whose memory does not count: with them comes what does not grow.
const FEW: u32 = 100;

/// Bytes resident in client and server, and slabs of the kernel.
#[derive(Clone, Copy)]
struct Memory {
    client: u64,
    server: u64,
    kernel: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare-server", count, certificates] => return bare::serve(count.parse().expect("a count"), certificates),
        ["bare-client", address, count, certificates] => {
            let (address, count) = (address.parse().expect("an address"), count.parse().expect("a count"));
            return bare::connect(address, count, certificates);
        }
        _ => {}
    }
    let counts: Vec<u32> = words.iter().filter_map(|word| word.parse().ok()).collect();
    if let Some(unknown) = words
        .iter()
        .find(|word| word.parse::<u32>().is_err() && !["plain", "tls"].contains(*word))
    {
        eprintln!("unknown word `{unknown}`: write plain or tls, and counts of devices");
        std::process::exit(2);
    }
    for (word, tls, goal) in [("plain", false, 6.0), ("tls", true, 16.0)] {
        if words.contains(&"plain") != words.contains(&"tls") && !words.contains(&word) {
            continue;
        }
        let counts = if counts.is_empty() { USUAL.as_slice() } else { &counts };
        println!("\n{word}, KiB a connection       client   server   kernel, both ends");
        let (few, few_bare) = (squall(FEW, tls), bare(FEW, tls));
        for &count in counts {
            let show = |what: &str, few: Memory, many: Memory| {
                let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / 1024.0 / f64::from(count - FEW);
                println!(
                    "{what:6} {count:>8}          {:14.2} {:8.2} {:8.2}",
                    each(few.client, many.client),
                    each(few.server, many.server),
                    each(few.kernel, many.kernel),
                );
                each(few.client, many.client).max(each(few.server, many.server))
            };
            show("bare", few_bare, bare(count, tls));
            let most = show("squall", few, squall(count, tls));
            println!(
                "                        the larger is {:.0} % of {goal} KiB",
                100.0 * most / goal
            );
        }
    }
}

/// A run in which devices come and stay.
fn squall(count: u32, tls: bool) -> Memory {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let a_second = if tls { 500 } else { 4_000 };
    let scenario = format!(
        r#"
        scenario = {{ duration = "{}s", ends = "duration", trace = "off" }}
        server.tls = "{}"
        firmware.app = {{ "1.0.0" = {{ size = "16 KiB" }} }}
        fleet.meter = {{ count = {count}, runs = "app@1.0.0", arrive = "{a_second}/s" }}
        expect = ["devices count == {count}"]
        "#,
        count / a_second + 600,
        if tls { "auto" } else { "off" },
    );
    std::fs::write(folder.path().join("connected.toml"), scenario).expect("a file can be written");
    let kernel = slabs();
    let mut harness = Command::new(env!("CARGO_BIN_EXE_squall"))
        .args(["run", "connected.toml", "--no-tui"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("squall starts");
    let told = BufReader::new(harness.stderr.take().expect("it was piped"));
    let online = format!("online={count} ");
    let mut lines = told.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(&online)), "not every device comes online");
    let memory = Memory {
        client: resident(harness.id()),
        server: resident(server_of(harness.id())),
        kernel: slabs().saturating_sub(kernel),
    };
    interrupt(&harness);
    lines.for_each(drop);
    harness.wait().expect("it ends");
    memory
}

fn bare(count: u32, tls: bool) -> Memory {
    let kernel = slabs();
    let bare = Bare::start(count, tls);
    std::thread::sleep(Duration::from_secs(1));
    Memory {
        client: resident(bare.client.id()),
        server: resident(bare.server.id()),
        kernel: slabs().saturating_sub(kernel),
    }
}

fn server_of(harness: u32) -> u32 {
    let children = format!("/proc/{harness}/task/{harness}/children");
    let children = std::fs::read_to_string(children).expect("the harness runs");
    children.trim().parse().expect("it has one child, its server")
}

fn interrupt(process: &Child) {
    let id = rustix::process::Pid::from_child(process);
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
}

/// Kernel memory for objects such as sockets, bytes.
fn slabs() -> u64 {
    let mut text = String::new();
    let mut file = std::fs::File::open("/proc/meminfo").expect("Linux has it");
    file.read_to_string(&mut text).expect("it is text");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Slab:"))
        .expect("it tells of slabs");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
