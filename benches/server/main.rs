//! What the server costs and carries, measured side by side: `cargo bench --bench server [PART…]`.
//!
//! Parts: `refusal` (CPU of a refused connection against an accepted one), `memory` (of a connected device), `scale` (15,000 connected
//! and 100,000 registered: offers and pages), `images` (bytes against a bare server of the same HTTP library), `hostile` (honest devices
//! undisturbed and disturbed). Each prints its figures and their ratios; none of them judges, for the machine is whose it is.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]

mod client;
mod hostile;
mod images;
mod process;
mod refusal;
#[expect(dead_code, reason = "tests use more of it")]
#[path = "../../tests/host/rig.rs"]
mod rig;
mod scale;

/// A part and what runs it.
const PARTS: [(&str, fn()); 5] = [
    ("refusal", refusal::measure),
    ("memory", scale::memory),
    ("scale", scale::offers_and_pages),
    ("images", images::measure),
    ("hostile", hostile::measure),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [bare, size] = arguments.as_slice()
        && bare == "bare-server"
    {
        return images::serve_bare(size.parse().expect("a size in bytes"));
    }
    process::raise_descriptor_limit();
    let known = |name: &String| PARTS.iter().any(|(part, _)| part == name);
    if let Some(unknown) = arguments.iter().find(|argument| !known(argument)) {
        eprintln!(
            "unknown part `{unknown}`: parts are {}",
            PARTS.map(|(name, _)| name).join(", ")
        );
        std::process::exit(2);
    }
    for (name, measure) in PARTS {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            println!("\n== {name}");
            measure();
        }
    }
}
