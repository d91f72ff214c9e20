//! `timeline.csv`, read back and thinned out to what a chart can show.

/// Most points of a chart over time: a pixel or two apart.
const POINTS_MAX: usize = 240;

/// Columns of numbers over time.
#[derive(Clone, Debug, Default)]
pub(in crate::report) struct Columns {
    heads: Vec<String>,
    rows: Vec<Vec<f64>>,
}

/// Points of a chart: intervals of the run, thinned out.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    /// Beginning of each interval, seconds.
    pub(super) from: Vec<f64>,
    /// End of each interval, seconds.
    pub(super) to: Vec<f64>,
}

impl Columns {
    /// Reads the file; cells that are no number count as zero.
    pub(in crate::report) fn parse(text: &str) -> Columns {
        let mut lines = text.lines();
        let heads: Vec<String> = lines.next().unwrap_or_default().split(',').map(str::to_owned).collect();
        let row = |line: &str| line.split(',').map(|cell| cell.parse().unwrap_or(0.0)).collect::<Vec<f64>>();
        let rows = lines.map(row).filter(|row| row.len() == heads.len()).collect();
        Columns { heads, rows }
    }

    fn chunk(&self) -> usize {
        self.rows.len().div_ceil(POINTS_MAX).max(1)
    }

    fn at(&self, name: &str) -> Option<usize> {
        self.heads.iter().position(|head| head == name)
    }

    /// The intervals that gauges and rates are given for.
    pub(super) fn points(&self) -> Points {
        let mut points = Points::default();
        let mut from = 0.0;
        for chunk in self.rows.chunks(self.chunk()) {
            let to = chunk.last().map_or(from, |row| row[0]);
            points.from.push(from);
            points.to.push(to);
            from = to;
        }
        points
    }

    /// A gauge at the end of each interval.
    pub(super) fn gauge(&self, name: &str) -> Vec<f64> {
        let Some(at) = self.at(name) else {
            return vec![0.0; self.rows.len().div_ceil(self.chunk())];
        };
        let chunks = self.rows.chunks(self.chunk());
        chunks.map(|chunk| chunk.last().map_or(0.0, |row| row[at])).collect()
    }

    /// What was counted in each interval, a second.
    pub(super) fn rate(&self, name: &str) -> Vec<f64> {
        let Some(at) = self.at(name) else {
            return vec![0.0; self.rows.len().div_ceil(self.chunk())];
        };
        let points = self.points();
        let sums = self
            .rows
            .chunks(self.chunk())
            .map(|chunk| chunk.iter().map(|row| row[at]).sum::<f64>());
        sums.zip(points.from.iter().zip(&points.to))
            .map(|(sum, (from, to))| sum / (to - from).max(0.05))
            .collect()
    }

    /// Everything that was counted.
    pub(super) fn total(&self, name: &str) -> f64 {
        self.at(name).map_or(0.0, |at| self.rows.iter().map(|row| row[at]).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_thinned_out_and_loses_nothing() {
        let mut text = "t_s,online,requests\n".to_owned();
        for second in 1..=3600 {
            text.push_str(&format!("{second}.000000,{second},2\n"));
        }
        let columns = Columns::parse(&text);
        let (points, online) = (columns.points(), columns.gauge("online"));
        assert_eq!((points.to.len(), online.len()), (240, 240));
        assert_eq!((points.to[239], online[239]), (3600.0, 3600.0));
        assert!(columns.rate("requests").iter().all(|rate| (rate - 2.0).abs() < 1e-9));
        assert_eq!(columns.total("requests"), 7200.0);
        assert_eq!(columns.rate("not_there").len(), 240);
    }
}
