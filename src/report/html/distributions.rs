//! Charts of distributions over a fleet: how long a cohort, a phase, a connection took, how much data a device used.

use crate::model::show_count;
use crate::report::recording::Recording;
use crate::report::summary::MetricRow;

use super::axis::{Scale, TimeAxis, Unit, span, tick};
use super::svg::{Canvas, Chart};

/// Most cohorts that are drawn, the largest first.
const COHORTS_MAX: usize = 6;
/// Points of a curve over a distribution.
const CURVE: usize = 120;
/// The least part of the plot that a bar takes which is there at all.
const SEEN: f64 = 0.02;

/// Share of a cohort that is done, over the time since its deployment was due.
pub(super) fn deploy_curves(run: &Recording) -> Option<Chart> {
    let mut cohorts: Vec<_> = run.summary.devices.by_cohort.iter().collect();
    cohorts.sort_by_key(|(name, states)| (name.as_str() != "all", std::cmp::Reverse(states.values().sum::<u64>())));
    let mut curves = Vec::new();
    for (name, states) in cohorts {
        let (series, labels) = match name.as_str() {
            "all" => ("deploy_time".to_owned(), vec![]),
            name => (format!("deploy_time{{cohort:{name}}}"), vec![("cohort", name)]),
        };
        let open: u64 = ["pending", "in-progress"].iter().filter_map(|state| states.get(*state)).sum();
        let (Some(histogram), Some(row)) = (run.histogram(&series), run.summary.metric("deploy_time", &labels)) else {
            continue;
        };
        let whole = (row.count + open) as f64;
        let mut seen = 0;
        let steps = histogram.iter_recorded().map(|step| {
            seen += step.count_since_last_iteration();
            (step.value_iterated_to() as f64 / 1e6, seen as f64 / whole * 100.0)
        });
        curves.push((name.clone(), thin(steps.collect()), row.clone()));
    }
    curves.truncate(COHORTS_MAX + 1);
    let end = curves
        .iter()
        .filter_map(|(_, points, _)| points.last())
        .map(|(at, _)| *at)
        .fold(0.0, f64::max);
    if curves.is_empty() || end <= 0.0 {
        return None;
    }
    let axis = TimeAxis::new(end);
    let scale = Scale::Linear { low: 0.0, high: 100.0 };
    let mut canvas = Canvas::new("deploy");
    canvas.y_axis(scale, Unit::Percent, "attempts that ended");
    canvas.time_axis(axis, "time since the deployment was due");
    let classes = ["l-fg", "l1", "l2", "l3", "l4", "l5", "l7"];
    for ((_, points, _), class) in curves.iter().zip(classes) {
        let mut path = vec![(0.0, 0.0)];
        for (at, share) in points {
            let place = axis.place(*at);
            path.push((place, path.last().map_or(0.0, |last| last.1)));
            path.push((place, scale.place(*share)));
        }
        canvas.line(class, path);
    }
    for at in 0..60 {
        let (from, to) = (f64::from(at) / 60.0, f64::from(at + 1) / 60.0);
        let shares = curves.iter().map(|(name, points, _)| {
            let done = points
                .iter()
                .take_while(|(time, _)| *time <= to * end)
                .last()
                .map_or(0.0, |last| last.1);
            format!("{name} {done:.1} %")
        });
        let tip = format!("after {}\n{}", span(to * end), shares.collect::<Vec<_>>().join("\n"));
        canvas.tip(from, to, &tip);
    }
    let part = |value: Option<f64>| value.map_or("never".to_owned(), span);
    let all = &curves[0].2;
    let desc = format!(
        "Share of attempts that the server has the end of. {}: half after {}, 90 % after {}, 99 % after {}.",
        curves[0].0,
        part(all.med),
        part(all.p90),
        part(all.p99)
    );
    let legend = curves
        .iter()
        .zip(classes)
        .map(|((name, ..), class)| (class.to_owned(), name.clone()));
    let legend = legend.collect();
    Some(canvas.finish("Time since deployment, by cohort", desc, legend))
}

/// At most [`CURVE`] points of a rising curve, the last among them.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(CURVE).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points
        .into_iter()
        .enumerate()
        .filter(|(at, _)| at % every == 0 || *at == last);
    kept.map(|(_, point)| point).collect()
}

/// A row a phase: from the shortest visit to the longest, thick from the median to the 95th percentile.
pub(super) fn phase_times(run: &Recording) -> Option<Chart> {
    let rows: Vec<(&str, &MetricRow)> = run
        .summary
        .metrics
        .iter()
        .filter(|row| row.name == "phase_time" && row.labels.len() == 1 && row.count > 0)
        .filter_map(|row| Some((row.labels.get("phase")?.as_str(), row)))
        .collect();
    let low = rows.iter().filter_map(|(_, row)| row.min).fold(f64::MAX, f64::min).max(1e-4);
    let high = rows.iter().filter_map(|(_, row)| row.max).fold(0.0, f64::max);
    if rows.is_empty() || high <= 0.0 {
        return None;
    }
    let scale = Scale::decades(low, high);
    let each = 24.0;
    let mut canvas = Canvas::sized("phases", each * rows.len() as f64, 0);
    let ticks: Vec<_> = scale.ticks().into_iter().map(|at| (scale.place(at), tick(at))).collect();
    canvas.x_axis(&ticks, "time of one visit, logarithmic");
    for (number, (phase, row)) in rows.iter().enumerate() {
        let middle = canvas.top() + each * (number as f64 + 0.5);
        let x = |value: Option<f64>| Canvas::x(scale.place(value.unwrap_or(high)));
        let tip = format!(
            "{phase}: {} visits\nmin {}, median {}\np95 {}, p99 {}, max {}",
            show_count(row.count),
            span(row.min.unwrap_or(0.0)),
            span(row.med.unwrap_or(0.0)),
            span(row.p95.unwrap_or(0.0)),
            span(row.p99.unwrap_or(0.0)),
            span(row.max.unwrap_or(0.0))
        );
        let (thick, width) = (x(row.med), (x(row.p95) - x(row.med)).max(2.0));
        canvas.push(&format!(
            "<g><title>{}</title><text class=\"tick small\" x=\"74\" y=\"{:.1}\" text-anchor=\"end\">{phase}</text>\
             <path class=\"whisker l1\" d=\"M{:.1} {middle:.1}H{:.1}\"/><rect class=\"f1\" x=\"{thick:.1}\" y=\"{:.1}\" \
             width=\"{width:.1}\" height=\"10\"/><path class=\"median\" d=\"M{thick:.1} {:.1}v16\"/><path class=\"whisker l2\" \
             d=\"M{:.1} {:.1}v12\"/><rect class=\"hit\" x=\"0\" y=\"{:.1}\" width=\"620\" height=\"{each}\"/></g>",
            super::svg::escape(&tip),
            middle + 4.0,
            x(row.min),
            x(row.max),
            middle - 5.0,
            middle - 8.0,
            x(row.p99),
            middle - 6.0,
            middle - each / 2.0
        ));
    }
    let slowest = rows
        .iter()
        .max_by(|one, other| one.1.med.unwrap_or(0.0).total_cmp(&other.1.med.unwrap_or(0.0)))?;
    let desc = format!(
        "How long a device stays in a phase: line from shortest to longest visit, bar from median to 95th percentile, tick at the 99th. \
         Longest median: {}, {}.",
        slowest.0,
        span(slowest.1.med.unwrap_or(0.0))
    );
    Some(canvas.finish("Phase times", desc, Vec::new()))
}

/// Connect time by percentile, counted from the planned and from the actual start.
pub(super) fn spectrum(run: &Recording) -> Option<Chart> {
    let named = [
        ("l1 under", "planned start", "connect_time"),
        ("l2", "actual start (raw)", "connect_time_raw"),
    ];
    let found: Vec<_> = named
        .into_iter()
        .filter_map(|(class, name, series)| Some((class, name, run.histogram(series).filter(|h| !h.is_empty())?)))
        .collect();
    let longest = found.iter().map(|(_, _, histogram)| histogram.len()).max()?;
    // As many nines as there are values to tell them from.
    let nines = (longest as f64).log10().clamp(1.0, 5.0);
    let place = |share: f64| (-(1.0 - share).max(1e-9).log10() / nines).clamp(0.0, 1.0);
    let values = |histogram: &hdrhistogram::Histogram<u64>| -> Vec<(f64, f64)> {
        let point = |number: usize| {
            let at = number as f64 / CURVE as f64;
            let share = 1.0 - 10f64.powf(-at * nines);
            (at, histogram.value_at_quantile(share) as f64 / 1e6)
        };
        (0..=CURVE).map(point).collect()
    };
    let curves: Vec<_> = found
        .iter()
        .map(|(class, name, histogram)| (*class, *name, values(histogram)))
        .collect();
    let all = || {
        curves
            .iter()
            .flat_map(|(_, _, points)| points.iter().map(|(_, value)| *value))
    };
    let scale = Scale::decades(all().fold(f64::MAX, f64::min).max(1e-4), all().fold(0.0, f64::max));
    let mut canvas = Canvas::new("spectrum");
    canvas.y_axis(scale, Unit::Span, "connect time, logarithmic");
    let shares: [f64; 7] = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
    let ticks = shares.iter().filter(|share| -(1.0 - **share).log10() <= nines + 1e-9);
    let ticks: Vec<_> = ticks
        .map(|share| (place(*share), format!("{} %", (share * 1e7).round() / 1e5)))
        .collect();
    canvas.x_axis(&ticks, "percentile: this share of connections was as fast or faster");
    for (class, _, points) in &curves {
        canvas.line(class, points.iter().map(|(at, value)| (*at, scale.place(*value))));
    }
    for at in (0..CURVE).step_by(2) {
        let share = (1.0 - 10f64.powf(-curves[0].2[at].0 * nines)) * 100.0;
        let lines: Vec<_> = curves
            .iter()
            .map(|(_, name, points)| format!("{name}: {}", span(points[at].1)))
            .collect();
        let tip = format!("{share:.3} %\n{}", lines.join("\n"));
        canvas.tip(curves[0].2[at].0, curves[0].2[at + 2].0, &tip);
    }
    let row = run.summary.metric("connect_time", &[])?;
    let desc = format!(
        "From the moment a connection was wanted to the subscription, {} connections: median {}, p99 {}, longest {}. The raw curve counts \
         from the try that succeeded; where the two part, devices were kept waiting.",
        show_count(row.count),
        span(row.med.unwrap_or(0.0)),
        span(row.p99.unwrap_or(0.0)),
        span(row.max.unwrap_or(0.0))
    );
    let legend = curves
        .iter()
        .map(|(class, name, _)| ((*class).to_owned(), (*name).to_owned()))
        .collect();
    Some(canvas.finish("Latency spectrum: connect time", desc, legend))
}

/// How many devices used how much.
pub(super) fn data_used(run: &Recording) -> Option<Chart> {
    let histogram = run.histogram("data_used").filter(|histogram| !histogram.is_empty())?;
    let (low, high) = (histogram.min() as f64, histogram.max() as f64);
    let bins = 40;
    let width = ((high - low) / f64::from(bins)).max(1.0);
    let mut counts = vec![0u64; bins as usize];
    for step in histogram.iter_recorded() {
        let bin = ((step.value_iterated_to() as f64 - low) / width) as usize;
        counts[bin.min(bins as usize - 1)] += step.count_since_last_iteration();
    }
    let scale = Scale::from_zero(counts.iter().copied().max()? as f64);
    let mut canvas = Canvas::new("data");
    canvas.y_axis(scale, Unit::Count, "devices");
    let ticks: Vec<_> = (0..=4)
        .map(|quarter| f64::from(quarter) / 4.0)
        .map(|place| (place, Unit::Bytes.show(low + place * width * f64::from(bins))))
        .collect();
    canvas.x_axis(&ticks, "data used in the whole run, with the overhead of TLS and TCP");
    for (number, count) in counts.iter().enumerate() {
        let (from, to) = (number as f64 / f64::from(bins), (number + 1) as f64 / f64::from(bins));
        // One device among thousands is seen too.
        let top = if *count > 0 {
            scale.place(*count as f64).max(SEEN)
        } else {
            0.0
        };
        canvas.bar("f1 gap", from, to, 0.0, top);
        let [least, most] = [number, number + 1].map(|edge| Unit::Bytes.show(low + edge as f64 * width));
        canvas.tip(from, to, &format!("{least} to {most}\n{} devices", show_count(*count)));
    }
    let desc = format!(
        "{} devices: median {}, p99 {}, most {}.",
        show_count(histogram.len()),
        Unit::Bytes.show(histogram.value_at_quantile(0.5) as f64),
        Unit::Bytes.show(histogram.value_at_quantile(0.99) as f64),
        Unit::Bytes.show(high)
    );
    Some(canvas.finish("Data used a device", desc, Vec::new()))
}
