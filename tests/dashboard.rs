//! Tests of the dashboard: frames of a picture made by hand, and the real program in a pseudo-terminal.

mod rig;
mod terminal;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use squall::dashboard::{Pace, Wish};
use squall::model::DeviceIndex;
use squall::play::{Ask, Picture, Stands};
use squall::scenario::{Overrides, Source, load};
use squall::sim::{Pulse, play_shown};
use squall::time::SimTime;

use rig::{Shown, drawn, picture, with_life};

#[test]
fn the_large_screen_looks_like_this() {
    insta::assert_snapshot!(drawn(200, 60, &[], &picture()));
}

#[test]
fn the_screen_of_the_contract_looks_like_this() {
    insta::assert_snapshot!(drawn(120, 35, &[], &picture()));
}

#[test]
fn the_common_terminal_looks_like_this() {
    insta::assert_snapshot!(drawn(80, 24, &[], &picture()));
}

#[test]
fn the_small_screen_keeps_fleet_throughput_and_log() {
    insta::assert_snapshot!(drawn(60, 20, &[], &picture()));
}

#[test]
fn on_a_small_screen_tab_brings_the_other_panes() {
    insta::assert_snapshot!("devices", drawn(60, 20, &[KeyCode::Tab], &picture()));
    let flow = [KeyCode::BackTab, KeyCode::BackTab];
    insta::assert_snapshot!("flow", drawn(60, 20, &flow, &picture()));
}

#[test]
fn enter_tells_a_devices_story_and_help_lists_the_keys() {
    insta::assert_snapshot!("story", drawn(100, 24, &[KeyCode::Enter], &with_life(picture())));
    insta::assert_snapshot!("help", drawn(100, 24, &[KeyCode::Char('?')], &picture()));
}

#[test]
fn no_size_breaks_the_screen() {
    let picture = picture();
    for width in [1, 40, 59, 60, 79, 80, 109, 110, 180] {
        for height in [1, 19, 20, 23, 24, 34, 35, 60] {
            for key in ['f', '?', '/'] {
                let text = drawn(width, height, &[KeyCode::Char(key), KeyCode::Enter], &picture);
                assert_eq!(text.lines().count(), usize::from(height));
            }
        }
    }
}

#[test]
fn text_of_devices_cannot_move_the_cursor_or_turn_its_direction() {
    let text = drawn(200, 60, &[], &picture());
    assert!(text.contains("[2Jevil"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']));
}

#[test]
fn keys_change_what_the_next_picture_shows() {
    let mut shown = Shown::new(120, 35);
    let picture = picture();
    shown.draw(&picture);
    let ask = |shown: &Shown| shown.screen.ask();
    assert_eq!(
        (ask(&shown).cohort, ask(&shown).seconds_a_bar, ask(&shown).life),
        (None, 1, None)
    );
    shown.press(KeyCode::Char('c'));
    assert_eq!(ask(&shown).cohort.unwrap().as_str(), "canary");
    for _ in 0..3 {
        shown.press(KeyCode::Char('c'));
    }
    assert_eq!(ask(&shown).cohort, None);
    shown.press(KeyCode::Char('+'));
    assert_eq!(ask(&shown).seconds_a_bar, 2);
    for key in ['/', 'q', '0', '4'] {
        assert_eq!(shown.press(KeyCode::Char(key)), None, "`{key}` belongs to the filter");
    }
    assert_eq!(ask(&shown).filter, "q04");
    shown.press(KeyCode::Esc);
    assert_eq!(ask(&shown).filter, "");
    shown.press(KeyCode::Down);
    shown.press(KeyCode::Down);
    shown.press(KeyCode::Enter);
    assert_eq!(ask(&shown).life, Some(DeviceIndex(1_803)));
    assert_eq!(shown.press(KeyCode::Char('q')), None, "q closes a story");
    assert_eq!(shown.press(KeyCode::Char('q')), Some(Wish::Stop));
    let ctrl_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    shown.press(KeyCode::Char('/'));
    assert_eq!(
        shown.screen.on_key(ctrl_c),
        Some(Wish::Stop),
        "Ctrl-C ends the run from anywhere"
    );
}

#[test]
fn totals_take_the_place_of_rates_and_the_pace_is_told() {
    let mut shown = Shown::new(120, 35);
    shown.press(KeyCode::Char('r'));
    shown.screen.set_pace(Pace {
        speed: Some(10.0),
        paused: true,
        back: 0,
    });
    let text = shown.draw(&picture());
    assert!(text.contains("in all") && text.contains("42.0 MiB"), "{text}");
    assert!(text.contains("PAUSED") && text.contains("space pause"), "{text}");
}

/// Pictures of a simulation, one every two seconds.
fn pictures(scenario: &str, ask: &Ask) -> Vec<Picture> {
    let plan = load(Source::Stdin(scenario.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    let mut pictures = Vec::new();
    let mut next = SimTime::ZERO;
    play_shown(plan.into(), &mut |mut scene| {
        if scene.now >= next {
            pictures.push(scene.picture(ask));
            next = scene.now + std::time::Duration::from_secs(2);
        }
        Pulse::Until(next)
    });
    pictures
}

#[test]
fn every_picture_of_a_run_adds_up() {
    let scenario = r#"
        scenario = { duration = "30s" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { boot = { "confirm after 1s" = "80 %", "crash after 1s" = "20 %" } } }
        fleet.demo = { count = 50, runs = "app@1.0.0", link = "wifi", arrive = "over 5s", tags.site = ["north", "south"] }
        cohort.north.where = "tag.site:north"
        step = [{ at = "4s", deploy = "app@1.1.0", to = "north" }, { at = "10s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices{state:succeeded} share >= 50 %"]
    "#;
    let ask = Ask {
        devices: 100,
        notes: 100,
        bars: 10,
        seconds_a_bar: 1,
        ..Ask::default()
    };
    let pictures = pictures(scenario, &ask);
    assert!(pictures.len() > 5, "{}", pictures.len());
    for picture in &pictures {
        let [north, all] = &picture.cohorts[..] else {
            panic!("{:?}", picture.cohorts);
        };
        assert_eq!((north.devices(), all.devices()), (25, 50));
        assert_eq!(picture.slowest.len() as u64, picture.open, "at {}", picture.at);
        assert!(
            picture
                .slowest
                .iter()
                .all(|device| device.open_for.is_some() && device.why.is_some())
        );
        assert_eq!(picture.sessions.iter().sum::<u64>(), 50);
    }
    assert!(pictures.iter().any(|picture| picture.open > 5), "some devices were seen open");
    let last = pictures.last().unwrap();
    let downloaded = last.throughput.rows.iter().find(|row| row.bytes).unwrap();
    assert!(downloaded.total > 50 * 64 * 1024 && downloaded.peak > 0.0, "{downloaded:?}");
    assert!(
        last.notes.iter().any(|note| note.device.starts_with("demo-")),
        "failures are in the log"
    );
    assert_eq!(last.expectations[0].stands, Stands::Holds);
}

#[test]
fn a_slow_device_names_the_fault_that_holds_it_and_the_one_that_struck_it() {
    let scenario = r#"
        scenario = { duration = "60s" }
        firmware.app = { "1.0.0" = {}, "1.1.0" = { size = "256 KiB" } }
        fleet.demo = { count = 10, runs = "app@1.0.0", link = "lte-m", connack_timeout = "5s" }
        step = [{ at = "10s", deploy = "app@1.1.0", to = "all" }]
        fault = [{ name = "tunnel", inject = "link-down", who = "all", at = "downloading 20 %", for = "10s" }]
        expect = ["devices count == 10"]
    "#;
    let ask = Ask {
        devices: 100,
        ..Ask::default()
    };
    let pictures = pictures(scenario, &ask);
    let named = pictures
        .iter()
        .flat_map(|picture| &picture.slowest)
        .filter_map(|device| device.fault.as_ref());
    let (on, struck): (Vec<_>, Vec<_>) = named.partition(|fault| fault.ago.is_none());
    assert!(on.len() >= 10 && on.iter().all(|fault| fault.name == "tunnel"), "{on:?}");
    assert!(!struck.is_empty(), "after it is over, it is told how long ago it struck");
}

#[test]
fn a_filter_finds_devices_by_id_and_follows_a_life() {
    let scenario = r#"
        scenario = { duration = "20s", ends = "duration" }
        firmware.app = ["1.0.0", "1.1.0"]
        fleet.demo = { count = 40, runs = "app@1.0.0" }
        step = [{ at = "2s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices count == 40"]
    "#;
    let ask = Ask {
        filter: "demo-0001".to_owned(),
        devices: 100,
        life: Some(DeviceIndex(12)),
        ..Ask::default()
    };
    let pictures = pictures(scenario, &ask);
    for picture in &pictures {
        assert_eq!(picture.slowest.len(), 10, "demo-00010 to demo-00019, open or not");
    }
    let life = pictures.last().unwrap().life.as_ref().unwrap();
    assert_eq!(life.device.id, "demo-00013");
    assert!(life.happened.as_ref().unwrap().len() > 10);
}

#[test]
fn a_device_that_was_not_offered_its_update_is_not_called_done() {
    let scenario = r#"
        scenario = { duration = "30s" }
        server.limits.offers = "1/s"
        firmware.app = ["1.0.0", "1.1.0"]
        fleet.demo = { count = 20, runs = "app@1.0.0" }
        step = [{ at = "5s", deploy = "app@1.1.0", to = "all" }]
        expect = ["devices count == 20"]
    "#;
    let ask = Ask {
        devices: 100,
        ..Ask::default()
    };
    let picture = pictures(scenario, &ask)
        .into_iter()
        .find(|picture| picture.open > 15)
        .unwrap();
    let mut shown = Shown::new(200, 60);
    let text = shown.draw(&picture);
    assert!(text.contains("waits until the server offers it"), "{text}");
    assert!(!text.contains("the server does not know yet"), "{text}");
}
