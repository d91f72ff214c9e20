//! A picture of several runs, one above the other: what one expectation measures, over the time of each run, with its limit. It stands by
//! itself, in light and dark, so that a page can hold it as an image.

use std::fmt::Write;

use crate::play::Outcome;
use crate::report::summary::{ExpectationRow, Summary};
use crate::report::words::value_of;

use super::axis::{Scale, TimeAxis, Unit, tick};
use super::charts::marks;
use super::svg::{BOTTOM, Canvas, Mark, WIDTH, escape, rows_needed};

/// Height of the part of a panel that holds its curve.
const PLOT: f64 = 104.0;
/// Height of what stands above the first panel, and of the title above each.
const HEAD: f64 = 30.0;
const TITLE: f64 = 22.0;

const STYLE: &str = "svg{--bg:#fff;--fg:#1c2430;--muted:#566272;--line:#d8dee6;--ok:#18793a;--bad:#bf2430;--c2:#b04d08}\
@media (prefers-color-scheme:dark){svg{--bg:#10151c;--fg:#e6ebf2;--muted:#a3b0bf;--line:#2c3744;--ok:#4cc26b;--bad:#ff7b72;--c2:#ffa657}}\
text{fill:var(--fg);font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}.page{fill:var(--bg)}\
.tick,.axis{fill:var(--muted)}.mark{font-size:12px}.head{font-weight:600}.grid{stroke:var(--line);fill:none}\
.line{fill:none;stroke-width:2;stroke-linejoin:round}.l-ok{stroke:var(--ok)}.l-bad{stroke:var(--bad)}.f-ok{fill:var(--ok)}.f-bad{fill:var(--bad)}\
.limit{stroke:var(--muted);stroke-width:1.5;stroke-dasharray:6 4}.step{stroke:var(--fg);stroke-dasharray:3 3;fill:none}\
.fault{stroke:var(--c2);stroke-dasharray:2 3;fill:none}.fault-name{fill:var(--c2)}.window{fill:var(--c2);fill-opacity:.1}.bar{fill:var(--c2)}";

/// One run of a picture.
#[derive(Clone, Debug)]
pub struct Panel {
    name: String,
    status: String,
    marks: Vec<Mark>,
    end: f64,
    expected: ExpectationRow,
    points: Vec<(f64, Option<f64>)>,
}

impl Panel {
    /// What the expectation at `position` of the plan measured in a run: `points` are seconds and values, in the unit of the measure.
    /// `None` if it was not judged.
    pub fn of(outcome: &Outcome, position: usize, points: Vec<(f64, Option<f64>)>) -> Option<Panel> {
        let summary = Summary::of(outcome);
        let row = outcome
            .judgements
            .iter()
            .position(|judgement| judgement.expectation == position)?;
        Some(Panel {
            name: summary.scenario.name.clone(),
            status: match summary.findings.first() {
                Some(finding) => format!("{}: {}", summary.status, finding.rule),
                None => summary.status.clone(),
            },
            marks: marks(&summary, summary.elapsed_s),
            end: summary.elapsed_s,
            expected: summary.expectations.get(row)?.clone(),
            points,
        })
    }

    fn class(&self) -> &'static str {
        if self.expected.passed { "ok" } else { "bad" }
    }

    fn said(&self) -> String {
        let verdict = if self.expected.passed { "held" } else { "did not hold" };
        format!(
            "{} at {}: {verdict}",
            value_of(&self.expected),
            tick(self.expected.judged_at_s)
        )
    }
}

/// The runs one above the other, over the same time and on the same scale; empty without any.
pub fn panels(panels: &[Panel]) -> String {
    let Some(first) = panels.first() else {
        return String::new();
    };
    let unit = unit_of(&first.expected.unit);
    let axis = TimeAxis::new(panels.iter().map(|panel| panel.end).fold(0.0, f64::max));
    let values = panels.iter().flat_map(|panel| &panel.points).filter_map(|(_, value)| *value);
    let high = values.map(|value| shown(unit, value)).fold(limit(first), f64::max);
    let scale = match unit {
        Unit::Percent => Scale::Linear { low: 0.0, high: 100.0 },
        _ => Scale::from_zero(high),
    };
    let (mut body, mut y) = (String::new(), HEAD);
    for (number, panel) in panels.iter().enumerate() {
        let last = number + 1 == panels.len();
        let (drawn, height) = draw(panel, axis, scale, unit, last);
        let _ = write!(
            body,
            "<text class=\"head\" x=\"12\" y=\"{:.0}\">{}</text><text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text><g transform=\"translate(0 {:.0})\">{drawn}</g>",
            y + 14.0,
            escape(&format!("{}, {}", panel.name, panel.status)),
            WIDTH - 14.0,
            y + 14.0,
            escape(&panel.said()),
            y + TITLE
        );
        y += TITLE + height + 10.0;
    }
    let told: Vec<_> = panels
        .iter()
        .map(|panel| format!("{}: {}", panel.name, panel.said()))
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {0:.0}\" role=\"img\"><title>{1}</title><desc>{2}</desc><style>{STYLE}</style>\
         <rect class=\"page\" width=\"{WIDTH:.0}\" height=\"{0:.0}\" rx=\"6\"/><text class=\"axis\" x=\"12\" y=\"20\">{1}</text>{body}</svg>\n",
        y + BOTTOM - 8.0,
        escape(&first.expected.that),
        escape(&told.join(". ")),
    )
}

fn draw(panel: &Panel, axis: TimeAxis, scale: Scale, unit: Unit, last: bool) -> (String, f64) {
    let mut canvas = Canvas::sized("panel", PLOT, rows_needed(&panel.marks, axis));
    canvas.y_axis(scale, unit, "");
    if last {
        canvas.time_axis(axis, "time since the start of the run");
    }
    canvas.windows(&panel.marks, axis);
    let bound = scale.place(limit(panel));
    canvas.line("limit", [(0.0, bound), (1.0, bound)]);
    let class = format!("l-{}", panel.class());
    for stretch in panel.points.split(|(_, value)| value.is_none()) {
        let places = corners(stretch);
        canvas.line(
            &class,
            places
                .into_iter()
                .map(|(at, value)| (axis.place(at), scale.place(shown(unit, value)))),
        );
    }
    canvas.marks(&panel.marks, axis);
    if let Some(value) = panel.expected.measured {
        let place = scale.place(if unit == Unit::Percent { value } else { shown(unit, value) });
        canvas.dot(
            &format!("f-{}", panel.class()),
            axis.place(panel.expected.judged_at_s),
            place,
            &panel.said(),
        );
    }
    canvas.into_parts()
}

/// Points of a stretch without those between two equal ones.
fn corners(stretch: &[(f64, Option<f64>)]) -> Vec<(f64, f64)> {
    let all: Vec<(f64, f64)> = stretch.iter().filter_map(|(at, value)| Some((*at, (*value)?))).collect();
    let between = |at: usize| at > 0 && at + 1 < all.len() && all[at - 1].1 == all[at].1 && all[at].1 == all[at + 1].1;
    (0..all.len()).filter(|at| !between(*at)).map(|at| all[at]).collect()
}

fn unit_of(unit: &str) -> Unit {
    match unit {
        "%" => Unit::Percent,
        "s" => Unit::Span,
        "1/s" => Unit::Rate,
        "B" | "B/s" => Unit::Bytes,
        _ => Unit::Count,
    }
}

/// A value of a measure as the axis counts: a share of one is shown in percent.
fn shown(unit: Unit, value: f64) -> f64 {
    if unit == Unit::Percent { value * 100.0 } else { value }
}

/// The limit, as the axis counts.
fn limit(panel: &Panel) -> f64 {
    panel.expected.limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_keeps_its_corners_and_nothing_between_them() {
        let points = [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 5.0), (4.0, 5.0)].map(|(at, value)| (at, Some(value)));
        assert_eq!(corners(&points), [(0.0, 1.0), (2.0, 1.0), (3.0, 5.0), (4.0, 5.0)]);
        assert_eq!(corners(&[]), []);
    }

    #[test]
    fn no_runs_are_no_picture() {
        assert_eq!(panels(&[]), "");
    }
}
