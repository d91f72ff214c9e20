//! `squall picture`: the pictures of the museum are what it draws.

use std::path::{Path, PathBuf};

use super::{refused, squall, text};

/// Most bytes of a picture of the book.
const MOST: usize = 12_000;

fn book() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/incidents")
}

#[test]
fn the_pictures_of_the_book_are_drawn_from_runs() {
    let folder = tempfile::tempdir().unwrap();
    // The two that take least; `.ci/pictures` draws all.
    for incident in ["jeep-4xe", "hawkbit-in-sync"] {
        let drawn = squall(
            folder.path(),
            &["picture", incident, &format!("{incident}-survived"), "--out", "pair.svg"],
        );
        assert_eq!(drawn.status.code(), Some(0), "{}", text(&drawn.stderr));
        let [drawn, kept] = [folder.path().join("pair.svg"), book().join(format!("{incident}.svg"))]
            .map(|path| std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        assert_eq!(drawn, kept, "{incident}: `.ci/pictures` draws it anew");
    }
}

#[test]
fn a_picture_is_small_stands_by_itself_and_knows_the_dark() {
    let pictures: Vec<PathBuf> = std::fs::read_dir(book())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(pictures.len() >= 18, "{pictures:?}");
    for path in pictures {
        let svg = std::fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(svg.len() < MOST, "{name} has {} bytes", svg.len());
        for part in [
            "prefers-color-scheme:dark",
            "class=\"line l-bad\"",
            "class=\"line l-ok\"",
            "did not hold",
            ": held",
        ] {
            assert!(svg.contains(part), "{name} lacks {part}");
        }
        assert!(
            svg.contains(&format!(">{name}, ")) && svg.contains(&format!(">{name}-survived, passed<")),
            "{name}"
        );
        assert!(
            !svg.contains("<script") && svg.matches("http").count() == 1,
            "{name} asks for something from elsewhere"
        );
    }
}

#[test]
fn a_picture_of_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plan = "scenario.duration = \"9s\"\nfirmware.app = [\"1.0.0\"]\nfleet.demo = { count = 2, runs = \"app@1.0.0\" }\n";
    std::fs::write(folder.path().join("silent.toml"), plan).unwrap();
    for (line, said) in [
        (
            "picture silent.toml",
            "`silent` expects nothing that a curve could show: add an `expect`",
        ),
        ("picture none.toml", "none.toml"),
        ("picture", "<SCENARIO>"),
    ] {
        let answer = refused(folder.path(), line);
        assert!(answer.contains(said) && answer.ends_with("exit code 2\n"), "{answer}");
    }
}
