//! Medians, verdicts, the printed tables and the file for machines.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// All measurements of one thing.
pub struct Series {
    name: &'static str,
    unit: &'static str,
    /// In ascending order; never empty.
    values: Vec<f64>,
}

impl Series {
    pub fn new(name: &'static str, unit: &'static str, mut values: Vec<f64>) -> Result<Self> {
        ensure!(!values.is_empty(), "{name}: nothing was measured");
        values.sort_by(f64::total_cmp);
        Ok(Self { name, unit, values })
    }

    pub fn median(&self) -> f64 {
        let count = self.values.len();
        (self.values[(count - 1) / 2] + self.values[count / 2]) / 2.0
    }

    fn min(&self) -> f64 {
        self.values[0]
    }

    fn max(&self) -> f64 {
        self.values[self.values.len() - 1]
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit,
            "median": self.median(), "min": self.min(), "max": self.max(), "values": self.values,
        })
    }
}

/// One goal and what was measured for it.
pub struct Row {
    name: &'static str,
    goal: f64,
    /// Whether reaching exactly the goal counts.
    inclusive: bool,
    unit: &'static str,
    measured: f64,
}

impl Row {
    pub fn at_most(name: &'static str, goal: f64, unit: &'static str, measured: f64) -> Self {
        Self { name, goal, inclusive: true, unit, measured }
    }

    pub fn under(name: &'static str, goal: f64, unit: &'static str, measured: f64) -> Self {
        Self { name, goal, inclusive: false, unit, measured }
    }

    fn verdict(&self) -> &'static str {
        let passes = self.measured < self.goal || (self.inclusive && self.measured == self.goal);
        if passes { "pass" } else { "falls short" }
    }

    fn sign(&self) -> &'static str {
        if self.inclusive { "<=" } else { "<" }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit, "comparison": self.sign(), "goal": self.goal,
            "measured": self.measured, "verdict": self.verdict(),
        })
    }
}

/// What the benchmark found.
pub struct Report {
    pub rows: Vec<Row>,
    pub series: Vec<Series>,
}

impl Report {
    pub fn save(&self, path: &Path) -> Result<()> {
        let rows: Vec<_> = self.rows.iter().map(Row::json).collect();
        let series: Vec<_> = self.series.iter().map(Series::json).collect();
        let text = format!("{:#}\n", json!({ "rows": rows, "series": series }));
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rounds = self.series.first().map_or(0, |series| series.values.len());
        writeln!(f, "{:<44} {:>12} {:>12}  verdict", format!("goal (medians of {rounds})"), "goal", "measured")?;
        for row in &self.rows {
            let goal = format!("{} {} {}", row.sign(), row.goal, row.unit);
            let measured = format!("{:.2} {}", row.measured, row.unit);
            writeln!(f, "{:<44} {:>12} {:>12}  {}", row.name, goal.trim(), measured.trim(), row.verdict())?;
        }
        writeln!(f, "\n{:<44} {:>12} {:>12} {:>12}", "measured", "median", "min", "max")?;
        for series in &self.series {
            let shown = |value: f64| format!("{value:.0} {}", series.unit);
            let (median, min, max) = (shown(series.median()), shown(series.min()), shown(series.max()));
            writeln!(f, "{:<44} {median:>12} {min:>12} {max:>12}", series.name)?;
        }
        Ok(())
    }
}
