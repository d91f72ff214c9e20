//! The command that plays a run again.

use std::fmt::Write;

use super::summary::ScenarioRow;

/// The command that plays the same again, in the folder from which it was played. It stands on one line, however long, so that it can be copied.
pub fn rerun_command(mode: &str, scenario: &ScenarioRow) -> String {
    let played = scenario.file.as_ref().unwrap_or(&scenario.name);
    let mut command = format!("squall {mode} {} --seed {}", quoted(played), scenario.seed);
    for (key, value) in &scenario.overrides {
        let _ = match key.as_str() {
            "scenario.seed" => Ok(()),
            "devices" => write!(command, " -d {}", quoted(value)),
            _ => write!(command, " --set {}", quoted(&format!("{key}={value}"))),
        };
    }
    command
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:/@=%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rerun_command_names_the_file_and_else_the_built_in_scenario() {
        let mut played = ScenarioRow {
            name: "storm".to_owned(),
            file: Some("plans/my storm.toml".to_owned()),
            hash: String::new(),
            seed: 3,
            overrides: [("devices".to_owned(), "40".to_owned())].into(),
        };
        assert_eq!(
            rerun_command("run", &played),
            "squall run 'plans/my storm.toml' --seed 3 -d 40"
        );
        played.file = None;
        assert_eq!(rerun_command("sim", &played), "squall sim storm --seed 3 -d 40");
    }

    #[test]
    fn the_rerun_command_survives_a_shell() {
        assert_eq!(quoted("fleet.demo.count=50"), "fleet.demo.count=50");
        assert_eq!(quoted("scenario.duration=30 s"), "'scenario.duration=30 s'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
