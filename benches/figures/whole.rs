//! Collects the rows of all benchmarks in one table.

use anyhow::Result;

use crate::report::Report;

const ALL: [&str; 8] = ["tailnet", "outside", "connections", "start", "memory", "sizes", "lambda", "webhook"];

/// Prints it, and keeps it for machines.
pub fn print() -> Result<()> {
    let mut whole = Report::default();
    for name in ALL {
        match Report::read(&Report::path(name)?) {
            Ok(report) => {
                whole.rows.extend(report.rows);
                whole.series.extend(report.series);
            }
            Err(error) => println!("{name} was not measured: {error:#}"),
        }
    }
    println!("{}", whole.table());
    let path = Report::path("all")?;
    println!("the values behind it: {}", path.display());
    whole.save(&path)
}
