//! `outage.html`: which outages a fleet comes back from, for one way to retry after the other, as two charts and a table.

use std::fmt::Write;

use askama::Template;

use super::svg::{Canvas, Chart, escape};

/// Height of the row of one way to retry.
const ROW: f64 = 24.0;

/// What became of a fleet after an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterOutage {
    /// It came back by itself.
    Back,
    /// It did not.
    Away,
    /// A shorter one was too long already.
    NotTried,
}

/// A way to retry and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryRow {
    /// The first wait, as an axis has it.
    pub first: String,
    /// As a scenario says it.
    pub written: String,
    /// Waits grow and are drawn anew.
    pub jittered: bool,
    /// By outage, in the order of the page's.
    pub after: Vec<AfterOutage>,
    /// The shortest outage that the fleet did not come back from, in words.
    pub never: String,
}

/// What the page tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutagePage {
    /// The scenario's name.
    pub name: String,
    /// What was tried, and what counts as being back.
    pub what: String,
    /// Outages, in words.
    pub outages: Vec<String>,
    /// Ways to retry.
    pub rows: Vec<RetryRow>,
}

#[derive(Template)]
#[template(path = "outage.html")]
struct Page<'a> {
    page: &'a OutagePage,
    charts: Vec<Chart>,
}

/// The page as HTML.
pub(in crate::report) fn outage_html(page: &OutagePage) -> String {
    let of = |jittered: bool| page.rows.iter().filter(|row| row.jittered == jittered).collect::<Vec<_>>();
    let charts = [
        ("constant", "Always the same wait", of(false)),
        (
            "jittered",
            "Waits that double to 60 times the first, with full jitter",
            of(true),
        ),
    ];
    let charts = charts.into_iter().filter(|(_, _, rows)| !rows.is_empty());
    let charts = charts
        .map(|(id, title, rows)| chart(id, title, &page.outages, &rows))
        .collect();
    let page = Page { page, charts };
    page.render().expect("a page is written to memory")
}

fn chart(id: &'static str, title: &str, outages: &[String], rows: &[&RetryRow]) -> Chart {
    let mut canvas = Canvas::sized(id, ROW * rows.len() as f64, 0);
    let (columns, lines) = (outages.len().max(1) as f64, rows.len() as f64);
    // Ahead of the cells, which its lines would cross.
    let ticks = outages.iter().enumerate();
    let ticks: Vec<_> = ticks
        .map(|(column, outage)| ((column as f64 + 0.5) / columns, outage.clone()))
        .collect();
    canvas.x_axis(&ticks, "length of the outage");
    for (line, row) in rows.iter().enumerate() {
        // From the top on.
        let (low, high) = (1.0 - (line + 1) as f64 / lines, 1.0 - line as f64 / lines);
        let middle = canvas.y((low + high) / 2.0) + 4.0;
        let mut text = format!(
            "<text class=\"tick\" x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>",
            Canvas::x(0.0) - 6.0,
            escape(&row.first)
        );
        for (column, after) in row.after.iter().enumerate() {
            let (from, to) = (column as f64 / columns, (column + 1) as f64 / columns);
            let class = match after {
                AfterOutage::Back => "f-ok gap",
                AfterOutage::Away => "f-bad gap",
                AfterOutage::NotTried => "f-none gap",
            };
            canvas.bar(class, from, to, low, high);
            if *after == AfterOutage::Away {
                let x = Canvas::x((from + to) / 2.0);
                let _ = write!(
                    text,
                    "<text class=\"cross\" x=\"{x:.1}\" y=\"{middle:.1}\" text-anchor=\"middle\">×</text>"
                );
            }
        }
        canvas.push(&text);
    }
    let named = rows.iter().map(|row| format!("{}: {}", row.written, row.never));
    let desc = format!(
        "The shortest outage not come back from. {}.",
        named.collect::<Vec<_>>().join("; ")
    );
    let legend = [
        ("f-ok", "comes back"),
        ("f-bad", "stays away"),
        ("f-none", "not tried: a shorter one was too long"),
    ];
    let legend = legend.map(|(class, name)| (class.to_owned(), name.to_owned())).to_vec();
    canvas.finish(title, desc, legend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_is_drawn_as_a_cell_for_each_outage_that_was_tried() {
        let row = |jittered, after: [AfterOutage; 3]| RetryRow {
            first: "500 ms".to_owned(),
            written: "500ms <b>".to_owned(),
            jittered,
            after: after.to_vec(),
            never: "2s".to_owned(),
        };
        use AfterOutage::{Away, Back, NotTried};
        let page = outage_html(&OutagePage {
            name: "storm".to_owned(),
            what: "back is who is online".to_owned(),
            outages: ["1s", "2s", "5s"].map(str::to_owned).to_vec(),
            rows: vec![row(false, [Back, Away, NotTried]), row(true, [Back, Back, Back])],
        });
        let count = |piece: &str| page.matches(piece).count();
        assert_eq!(count("<rect class=\"f-ok gap\""), 4, "{page}");
        assert_eq!(
            (count("<rect class=\"f-bad gap\""), count("<rect class=\"f-none gap\"")),
            (1, 1)
        );
        assert_eq!(count("<b>"), 0, "what a scenario says is escaped");
        assert!(!page.contains("://"), "the page needs no network");
    }
}
