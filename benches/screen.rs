//! What the screen costs: `cargo bench --bench screen`.
//!
//! 100,000 devices update in virtual time; ten times a second a picture is made and drawn. Printed is the processor time of pictures
//! and drawing alone, as a share of one core at ten frames a second.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use squall::dashboard::Screen;
use squall::scenario::{Overrides, Source, load};
use squall::sim::{Pulse, play_shown};
use squall::time::SimTime;

const SCENARIO: &str = r#"
scenario = { duration = "3m", trace = "off" }
firmware.app = { "1.0.0" = { size = "8 KiB" }, "1.1.0" = { size = "8 KiB", boot = { "confirm after 1s" = "97 %", "crash after 1s" = "3 %" } } }
fleet.demo = { count = 100000, runs = "app@1.0.0", arrive = "over 20s", tags.site = ["north", "south", "east", "west"] }
cohort.north.where = "tag.site:north"
cohort.south.where = "tag.site:south"
step = [{ at = "5s", deploy = "app@1.1.0", to = "all" }]
expect = ["devices{state:succeeded} share >= 90 %", "update_time p(95) < 60s"]
"#;
const FRAMES_A_SECOND: u32 = 10;

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn main() {
    let plan = load(Source::Stdin(SCENARIO.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    for (width, height) in [(120, 35), (200, 60)] {
        let mut terminal = Terminal::with_options(
            CrosstermBackend::new(std::io::sink()),
            ratatui::TerminalOptions {
                viewport: ratatui::Viewport::Fixed(ratatui::layout::Rect::new(0, 0, width, height)),
            },
        )
        .expect("a sink takes everything");
        let mut screen = Screen::new(true);
        let (mut pictured, mut drawn, mut worst, mut frames) = (Duration::ZERO, Duration::ZERO, Duration::ZERO, 0_u32);
        let frame = Duration::from_secs(1) / FRAMES_A_SECOND;
        let mut next = SimTime::ZERO;
        play_shown(plan.clone().into(), &mut |mut scene| {
            if scene.now >= next {
                let began = Instant::now();
                let picture = scene.picture(&screen.ask());
                let made = began.elapsed();
                terminal
                    .draw(|area| screen.draw(area, &picture))
                    .expect("a sink takes everything");
                let whole = began.elapsed();
                pictured += made;
                drawn += whole - made;
                worst = worst.max(whole);
                frames += 1;
                next = scene.now + frame;
            }
            Pulse::Until(next)
        });
        let share = |spent: Duration| spent.as_secs_f64() / f64::from(frames) * f64::from(FRAMES_A_SECOND) * 100.0;
        println!(
            "{width} x {height}: {frames} frames of 100,000 devices, {:.2} % of a core at {FRAMES_A_SECOND} frames a second \
             (pictures {:.2} %, drawing {:.2} %), worst frame {:.1} ms",
            share(pictured + drawn),
            share(pictured),
            share(drawn),
            worst.as_secs_f64() * 1e3
        );
    }
}
