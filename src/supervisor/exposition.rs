//! Merges the metrics of several daemons into one document.
//!
//! A family is there once, with the samples of all daemons, each with the label `tailnet`: a format that names a family twice is
//! refused by those who scrape. <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::Write;

use crate::health::metrics::Format;

/// Last line of a document of OpenMetrics.
const END: &str = "# EOF";

/// One family: its lines of metadata, and its samples.
#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    metadata: Vec<&'a str>,
    samples: Vec<String>,
}

/// Merges the documents `texts`, each behind the name of its tailnet, a plain word.
pub fn merged(texts: &[(&str, String)], format: Format) -> String {
    let mut families: Vec<Family<'_>> = Vec::new();
    for (tailnet, text) in texts {
        let mut current = None;
        for line in text.lines().filter(|line| !line.is_empty() && *line != END) {
            if let Some(name) = family_of(line) {
                let at = *current.insert(position(&mut families, name));
                let known = &mut families[at].metadata;
                // Of two texts for the same keyword the first counts.
                if !known.iter().any(|other| keyword(other) == keyword(line)) {
                    known.push(line);
                }
            } else if !line.starts_with('#') {
                let belongs = current.filter(|at| sample_name(line).starts_with(families[*at].name));
                let at = belongs.unwrap_or_else(|| position(&mut families, sample_name(line)));
                families[at].samples.push(labelled(line, tailnet));
            }
        }
    }
    let mut document = String::new();
    for family in families {
        let samples = family.samples.iter().map(String::as_str);
        family.metadata.iter().copied().chain(samples).for_each(|line| {
            // Writing to a String does not fail.
            let _ = writeln!(document, "{line}");
        });
    }
    if format == Format::OpenMetrics {
        let _ = writeln!(document, "{END}");
    }
    document
}

/// Finds a family, or adds it.
fn position<'a>(families: &mut Vec<Family<'a>>, name: &'a str) -> usize {
    families.iter().position(|family| family.name == name).unwrap_or_else(|| {
        families.push(Family { name, ..Family::default() });
        families.len() - 1
    })
}

/// Returns the family that a line of metadata is about; `None` for a sample and for a remark.
fn family_of(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("# ")?.split(' ');
    matches!(words.next()?, "HELP" | "TYPE" | "UNIT").then(|| words.next()).flatten()
}

fn keyword(line: &str) -> Option<&str> {
    line.split(' ').nth(1)
}

/// Returns the name that a sample begins with.
fn sample_name(line: &str) -> &str {
    &line[..line.find(['{', ' ']).unwrap_or(line.len())]
}

/// Adds the label to a sample, before those it has.
fn labelled(sample: &str, tailnet: &str) -> String {
    let (name, rest) = sample.split_at(sample_name(sample).len());
    let label = format!("tailnet=\"{tailnet}\"");
    match rest.strip_prefix('{') {
        Some(others) if others.starts_with('}') => format!("{name}{{{label}{others}"),
        Some(others) => format!("{name}{{{label},{others}"),
        None => format!("{name}{{{label}}}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_there_once_with_the_samples_of_all() {
        let one =
            "# HELP a_total Things, {some}.\n# TYPE a_total counter\na_total{x=\"1 } y\"} 7\n# TYPE b gauge\nb 1\n";
        let other = "# TYPE b gauge\n# HELP b Bees.\nb{} 2\n# HELP a_total Other words.\n# TYPE a_total counter\na_total 3 1700\n\
                     # TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 2\nh_count 1\n# a remark\nlone 4\n";
        let texts = [("one", one.to_owned()), ("other", other.to_owned())];
        let expected = "# HELP a_total Things, {some}.\n# TYPE a_total counter\na_total{tailnet=\"one\",x=\"1 } y\"} 7\n\
                        a_total{tailnet=\"other\"} 3 1700\n\
                        # TYPE b gauge\n# HELP b Bees.\nb{tailnet=\"one\"} 1\nb{tailnet=\"other\"} 2\n\
                        # TYPE h histogram\nh_bucket{tailnet=\"other\",le=\"+Inf\"} 1\nh_sum{tailnet=\"other\"} 2\n\
                        h_count{tailnet=\"other\"} 1\nlone{tailnet=\"other\"} 4\n";
        assert_eq!(merged(&texts, Format::Prometheus), expected);
    }

    #[test]
    fn openmetrics_ends_once() {
        let text = "# TYPE a counter\na_total 1\n# EOF\n".to_owned();
        let merged = merged(&[("x", text.clone()), ("y", text)], Format::OpenMetrics);
        assert_eq!(merged, "# TYPE a counter\na_total{tailnet=\"x\"} 1\na_total{tailnet=\"y\"} 1\n# EOF\n");
    }
}
