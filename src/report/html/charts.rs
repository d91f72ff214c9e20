//! The charts of a report, in the order in which it shows them. One that has nothing to show is left out.

use crate::model::{UpdateState, show_count};
use crate::report::recording::Recording;
use crate::report::summary::Summary;

use super::axis::{Scale, TimeAxis, Unit, span, tick};
use super::distributions::{data_used, deploy_curves, phase_times, spectrum};
use super::svg::{Canvas, Chart, Mark, rows_needed};

/// Every chart that has something to show.
pub(super) fn charts(run: &Recording) -> Vec<Chart> {
    let time = Time::of(run);
    let over_time = [states(&time), flow(&time), connects(&time), requests(&time)];
    let distributions = [deploy_curves(run), phase_times(run), spectrum(run), data_used(run)];
    let late = lateness(run);
    let all = over_time.into_iter().chain(distributions).chain([late]);
    all.flatten().collect()
}

/// What charts over the time of the run share.
struct Time<'a> {
    run: &'a Recording,
    axis: TimeAxis,
    marks: Vec<Mark>,
    from: Vec<f64>,
    to: Vec<f64>,
}

/// One series of a chart over time.
struct Line {
    class: &'static str,
    name: String,
    values: Vec<f64>,
}

impl<'a> Time<'a> {
    fn of(run: &'a Recording) -> Time<'a> {
        let points = run.timeline().points();
        let end = points.to.last().copied().unwrap_or(0.0).max(run.summary.elapsed_s);
        Time {
            run,
            axis: TimeAxis::new(end),
            marks: marks(&run.summary, end),
            from: points.from,
            to: points.to,
        }
    }

    fn empty(&self) -> bool {
        self.to.is_empty()
    }

    fn canvas(&self, id: &'static str) -> Canvas {
        Canvas::with_rows(id, rows_needed(&self.marks, self.axis))
    }

    /// Where curves have their points: the beginning of the run, then the end of each interval.
    fn places(&self) -> Vec<f64> {
        std::iter::once(0.0)
            .chain(self.to.iter().map(|to| self.axis.place(*to)))
            .collect()
    }

    fn tips(&self, canvas: &mut Canvas, unit: Unit, lines: &[Line]) {
        for (at, (from, to)) in self.from.iter().zip(&self.to).enumerate() {
            let values = lines.iter().filter(|line| line.values[at] > 0.0);
            let values: Vec<_> = values
                .map(|line| format!("{} {}", line.name, unit.show(line.values[at])))
                .collect();
            let values = if values.is_empty() {
                "none".to_owned()
            } else {
                values.join("\n")
            };
            let tip = format!("at {}\n{values}", span(*to));
            canvas.tip(self.axis.place(*from), self.axis.place(*to), &tip);
        }
    }

    /// Lines over the time of the run.
    fn lines(&self, id: &'static str, title: &str, unit: Unit, y_title: &str, desc: String, lines: Vec<Line>) -> Option<Chart> {
        let lines: Vec<_> = lines
            .into_iter()
            .filter(|line| line.values.iter().any(|value| *value > 0.0))
            .collect();
        if self.empty() || lines.is_empty() {
            return None;
        }
        let high = lines.iter().flat_map(|line| &line.values).copied().fold(0.0, f64::max);
        let scale = Scale::from_zero(high);
        let mut canvas = self.canvas(id);
        canvas.y_axis(scale, unit, y_title);
        canvas.time_axis(self.axis, "time since the start of the run");
        canvas.windows(&self.marks, self.axis);
        for line in &lines {
            let values = from_start(&line.values);
            let points = self.places().into_iter().zip(values.map(|value| scale.place(value)));
            canvas.line(line.class, points);
        }
        canvas.marks(&self.marks, self.axis);
        self.tips(&mut canvas, unit, &lines);
        Some(canvas.finish(title, desc, legend(&lines)))
    }

    /// Areas on top of one another over the time of the run.
    fn stack(&self, id: &'static str, title: &str, unit: Unit, y_title: &str, desc: String, lines: Vec<Line>) -> Option<Chart> {
        let lines: Vec<_> = lines
            .into_iter()
            .filter(|line| line.values.iter().any(|value| *value > 0.0))
            .collect();
        if self.empty() || lines.is_empty() {
            return None;
        }
        let sums: Vec<f64> = (0..self.to.len())
            .map(|at| lines.iter().map(|line| line.values[at]).sum())
            .collect();
        let scale = Scale::from_zero(sums.iter().copied().fold(0.0, f64::max));
        let mut canvas = self.canvas(id);
        canvas.y_axis(scale, unit, y_title);
        canvas.time_axis(self.axis, "time since the start of the run");
        canvas.windows(&self.marks, self.axis);
        let mut below = vec![0.0; self.to.len()];
        let places = self.places();
        for line in &lines {
            let above: Vec<f64> = below.iter().zip(&line.values).map(|(below, value)| below + value).collect();
            let [low, high] = [&below, &above].map(|edge| from_start(edge).map(|value| scale.place(value)).collect::<Vec<_>>());
            canvas.area(line.class, &places, &low, &high);
            below = above;
        }
        canvas.marks(&self.marks, self.axis);
        self.tips(&mut canvas, unit, &lines);
        Some(canvas.finish(title, desc, legend(&lines)))
    }
}

/// The values of the intervals, the first of them at the beginning of the run too.
fn from_start(values: &[f64]) -> impl Iterator<Item = f64> {
    values.first().into_iter().chain(values).copied()
}

fn legend(lines: &[Line]) -> Vec<(String, String)> {
    lines.iter().map(|line| (line.class.to_owned(), line.name.clone())).collect()
}

/// Steps that fired and faults that have a time, in order.
pub(super) fn marks(summary: &Summary, end: f64) -> Vec<Mark> {
    let steps = summary.steps.iter().filter_map(|step| {
        Some(Mark {
            name: step.name.clone(),
            what: format!("step {} at {}: {}", step.name, tick(step.at_s?), step.what),
            from: step.at_s?,
            to: None,
        })
    });
    let windows = summary.windows.iter().map(|window| {
        let to = window.to_s.unwrap_or(end).min(end);
        Mark {
            name: window.name.clone(),
            what: format!(
                "fault {} ({}) from {} to {}",
                window.name,
                window.kind,
                tick(window.from_s),
                tick(to)
            ),
            from: window.from_s,
            to: Some(to),
        }
    });
    let mut marks: Vec<_> = steps.chain(windows).filter(|mark| mark.from <= end).collect();
    marks.sort_by(|one, other| one.from.total_cmp(&other.from));
    marks
}

fn states(time: &Time<'_>) -> Option<Chart> {
    let class = |state: UpdateState| match state {
        UpdateState::None => "f-none",
        UpdateState::Pending => "f7",
        UpdateState::InProgress => "f1",
        UpdateState::Succeeded => "f-ok",
        UpdateState::Failed => "f-bad",
        UpdateState::Cancelled => "f4",
    };
    let order = [
        UpdateState::Succeeded,
        UpdateState::Failed,
        UpdateState::Cancelled,
        UpdateState::InProgress,
        UpdateState::Pending,
        UpdateState::None,
    ];
    let lines = order.map(|state| Line {
        class: class(state),
        name: state.to_string(),
        values: time.run.timeline().gauge(&format!("state_{state}").replace('-', "_")),
    });
    let at_end = |state: &str| time.run.summary.devices.by_state.get(state).copied().unwrap_or(0);
    let desc = format!(
        "What the server believes of {} devices. At the end: {} succeeded, {} failed, {} in progress.",
        show_count(time.run.summary.devices.total),
        show_count(at_end("succeeded")),
        show_count(at_end("failed")),
        show_count(at_end("in-progress")),
    );
    time.stack("states", "States over time", Unit::Count, "devices", desc, lines.into())
}

fn flow(time: &Time<'_>) -> Option<Chart> {
    let timeline = time.run.timeline();
    let ended: Vec<Vec<f64>> = ["succeeded", "failed", "cancelled", "rejected", "superseded"]
        .iter()
        .map(|result| timeline.rate(&format!("ended_{result}")))
        .collect();
    let results: Vec<f64> = (0..time.to.len()).map(|at| ended.iter().map(|one| one[at]).sum()).collect();
    let line = |class, name: &str, values| Line {
        class,
        name: name.to_owned(),
        values,
    };
    let lines = vec![
        line("l1", "offers received", timeline.rate("manifests")),
        line("l2", "starts", timeline.rate("starts")),
        line("l3", "results", results),
    ];
    let desc = format!(
        "Manifests that reached devices, installations that began, attempts that ended. In all {} offers, {} results.",
        show_count(timeline.total("manifests") as u64),
        show_count(
            ["succeeded", "failed", "cancelled", "rejected", "superseded"]
                .iter()
                .map(|result| timeline.total(&format!("ended_{result}")))
                .sum::<f64>() as u64
        ),
    );
    time.lines(
        "flow",
        "Offers, starts and results",
        Unit::Rate,
        "events a second",
        desc,
        lines,
    )
}

fn connects(time: &Time<'_>) -> Option<Chart> {
    let timeline = time.run.timeline();
    let line = |class, name: &str, column| Line {
        class,
        name: name.to_owned(),
        values: timeline.rate(column),
    };
    let lines = vec![
        line("f3", "connected", "connects_ok"),
        line("f-bad", "failed", "connects_failed"),
    ];
    let peak = timeline.rate("connects_ok").into_iter().zip(timeline.rate("connects_failed"));
    let peak = peak.map(|(ok, failed)| ok + failed).fold(0.0, f64::max);
    let desc = format!(
        "Tries to connect, the herd: {} connected, {} failed, at most {}.",
        show_count(timeline.total("connects_ok") as u64),
        show_count(timeline.total("connects_failed") as u64),
        Unit::Rate.show(peak),
    );
    time.stack("connects", "Connects", Unit::Rate, "tries a second", desc, lines)
}

fn requests(time: &Time<'_>) -> Option<Chart> {
    let timeline = time.run.timeline();
    let known = [
        ("f3", "200", "answers_200"),
        ("f1", "206", "answers_206"),
        ("f4", "3xx", "answers_3xx"),
        ("f7", "4xx", "answers_4xx"),
        ("f2", "503", "answers_503"),
        ("f-bad", "other 5xx", "answers_5xx"),
    ];
    let lines = known.map(|(class, name, column)| Line {
        class,
        name: name.to_owned(),
        values: timeline.rate(column),
    });
    let totals = known.iter().map(|(_, name, column)| (name, timeline.total(column)));
    let totals: Vec<_> = totals
        .filter(|(_, total)| *total > 0.0)
        .map(|(name, total)| format!("{} times {name}", show_count(total as u64)))
        .collect();
    let desc = format!(
        "Answers to image requests by HTTP status: {}.",
        if totals.is_empty() {
            "none".to_owned()
        } else {
            totals.join(", ")
        }
    );
    time.stack(
        "requests",
        "Image requests by code",
        Unit::Rate,
        "answers a second",
        desc,
        lines.into(),
    )
}

/// How late the harness itself was; its own limit is a line.
fn lateness(run: &Recording) -> Option<Chart> {
    let harness = run.summary.harness.as_ref()?;
    let points = &harness.lateness;
    let high = points.iter().map(|point| point.p99_s).fold(0.0, f64::max);
    if points.is_empty() || high <= 0.0 {
        return None;
    }
    let end = points.last()?.t_s;
    let axis = TimeAxis::new(end.max(run.summary.elapsed_s));
    let scale = Scale::from_zero(high);
    let mut canvas = Canvas::new("lateness");
    canvas.y_axis(scale, Unit::Span, "timer lateness, p99");
    canvas.time_axis(axis, "time since the start of the run");
    canvas.line(
        "l1",
        points.iter().map(|point| (axis.place(point.t_s), scale.place(point.p99_s))),
    );
    if scale.place(0.05) < 1.0 {
        canvas.line("l-bad dashed", [(0.0, scale.place(0.05)), (1.0, scale.place(0.05))]);
    }
    let mut from = 0.0;
    for point in points {
        let tip = format!(
            "at {}\np99 {}\n{} wakes",
            span(point.t_s),
            span(point.p99_s),
            show_count(point.wakes)
        );
        canvas.tip(axis.place(from), axis.place(point.t_s), &tip);
        from = point.t_s;
    }
    let desc = format!(
        "How late timers of the harness woke their devices. Over the whole run p99 {}; the run is invalid above 50 ms.",
        span(harness.late_p99_s)
    );
    let mut legend = vec![("l1".to_owned(), "p99 of each interval".to_owned())];
    if scale.place(0.05) < 1.0 {
        legend.push(("l-bad".to_owned(), "limit for the whole run".to_owned()));
    }
    Some(canvas.finish("Harness lateness", desc, legend))
}
