//! The museum, built in: each incident under its name, and the plan that survives it as `NAME-survived`.

macro_rules! pieces {
    ($($name:literal)*) => {
        &[$(
            ($name, include_str!(concat!("../../scenarios/incidents/", $name, ".toml"))),
            (concat!($name, "-survived"), include_str!(concat!("../../scenarios/incidents/", $name, "-survived.toml"))),
        )*]
    };
}

/// Name and text of each piece.
pub(super) const PIECES: &[(&str, &str)] = pieces![
    "asus-router" "bambu-cloud" "crowdstrike" "hawkbit-in-sync" "hp-officejet" "hpe-ssd" "jeep-4xe" "kindle-deadline" "lockstate"
    "nest-thermostat" "netgear-ntp" "pixel-6" "rivian" "samsung-blu-ray" "silent-failures" "skype-restart" "update-loop" "wink-hub"
];
