//! Reports a benchmark: medians, verdicts, printed tables and a JSON file.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// All measurements of one thing.
#[derive(Deserialize, Serialize)]
pub struct Series {
    name: String,
    unit: String,
    median: f64,
    min: f64,
    max: f64,
    /// In ascending order; never empty.
    values: Vec<f64>,
}

impl Series {
    pub fn new(name: impl Into<String>, unit: &str, mut values: Vec<f64>) -> Result<Self> {
        let name = name.into();
        ensure!(!values.is_empty(), "{name}: nothing was measured");
        values.sort_by(f64::total_cmp);
        let median = quantile(&values, 0.5);
        let (min, max) = (values[0], values[values.len() - 1]);
        Ok(Self { name, unit: unit.to_owned(), median, min, max, values })
    }

    pub fn median(&self) -> f64 {
        self.median
    }

    #[allow(dead_code, reason = "shared by several benchmarks")]
    pub fn max(&self) -> f64 {
        self.max
    }
}

/// The value that this part of `values` does not exceed; of values in ascending order, at least one.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let place = (values.len() - 1) as f64 * part;
    let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// One goal and what was measured for it.
#[derive(Deserialize, Serialize)]
pub struct Row {
    name: String,
    comparison: String,
    goal: f64,
    unit: String,
    measured: f64,
    verdict: String,
}

// Each benchmark uses those that it needs.
#[allow(dead_code, reason = "shared by several benchmarks")]
impl Row {
    pub fn at_most(name: impl Into<String>, goal: f64, unit: &str, measured: f64) -> Self {
        Self::new(name, ("<=", goal, measured <= goal), unit, measured)
    }

    pub fn under(name: impl Into<String>, goal: f64, unit: &str, measured: f64) -> Self {
        Self::new(name, ("<", goal, measured < goal), unit, measured)
    }

    pub fn at_least(name: impl Into<String>, goal: f64, unit: &str, measured: f64) -> Self {
        Self::new(name, (">=", goal, measured >= goal), unit, measured)
    }

    fn new(name: impl Into<String>, (sign, goal, passes): (&str, f64, bool), unit: &str, measured: f64) -> Self {
        let verdict = if passes { "pass" } else { "falls short" };
        let (comparison, unit, verdict) = (sign.to_owned(), unit.to_owned(), verdict.to_owned());
        Self { name: name.into(), comparison, goal, unit, measured, verdict }
    }
}

/// What a benchmark found.
#[derive(Default, Deserialize, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub series: Vec<Series>,
}

#[allow(dead_code, reason = "shared by several benchmarks")]
impl Report {
    /// Where the report `name` is kept: in cargo's target directory, wherever that is.
    pub fn path(name: &str) -> Result<PathBuf> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("the target directory has no name")?;
        Ok(target.join("bench").join(name).with_extension("json"))
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The table of the goals alone.
    pub fn table(&self) -> String {
        let mut table = format!("{:<60} {:>12} {:>12}  verdict\n", "goal", "goal", "measured");
        for row in &self.rows {
            let goal = format!("{} {} {}", row.comparison, row.goal, row.unit);
            let measured = format!("{:.2} {}", row.measured, row.unit);
            table += &format!("{:<60} {:>12} {:>12}  {}\n", row.name, goal.trim(), measured.trim(), row.verdict);
        }
        table
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table())?;
        writeln!(f, "\n{:<60} {:>12} {:>12} {:>12}", "measured", "median", "min", "max")?;
        for series in &self.series {
            let digits = if series.median < 10.0 { 2 } else { 0 };
            let shown = |value: f64| format!("{value:.digits$} {}", series.unit);
            let (median, min, max) = (shown(series.median), shown(series.min), shown(series.max));
            writeln!(f, "{:<60} {median:>12} {min:>12} {max:>12}", series.name)?;
        }
        Ok(())
    }
}
