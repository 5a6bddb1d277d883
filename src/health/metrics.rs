//! Renders the metrics document: tetherd's own metrics, then tailscaled's.
//!
//! The format is Prometheus' text format 0.0.4, or OpenMetrics for clients that ask for it.

use std::fmt::Write;

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

/// All metrics of one scrape.
#[derive(Debug)]
pub struct Measured {
    pub own: Registry,
    /// tailscaled's metrics as it gives them, in the format 0.0.4; absent while it does not answer.
    pub tailscaled: Option<String>,
}

/// Format of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Prometheus,
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>
    OpenMetrics,
}

impl Format {
    /// Chooses the format by the request's Accept header.
    pub fn wanted_by(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        if accepted.into_iter().any(|value| value.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Renders the document.
pub fn render_metrics(measured: &Measured, format: Format) -> Result<String, std::fmt::Error> {
    let mut document = String::new();
    let theirs = measured.tailscaled.as_deref().unwrap_or_default();
    match format {
        Format::Prometheus => {
            prometheus_text::encode(&mut document, &measured.own)?;
            document.push_str(theirs);
        }
        Format::OpenMetrics => {
            text::encode_registry(&mut document, &measured.own)?;
            theirs.lines().try_for_each(|line| writeln!(document, "{}", in_openmetrics(line)))?;
            text::encode_eof(&mut document)?;
        }
    }
    Ok(document)
}

/// Rewrites one line of tailscaled's metrics: OpenMetrics names the family of a counter without the `_total` of its
/// samples.
fn in_openmetrics(line: &str) -> String {
    let Some((keyword, rest)) = line.strip_prefix("# ").and_then(|line| line.split_once(' ')) else {
        return line.to_owned();
    };
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let kind = match (rest, name.strip_suffix("_total")) {
        ("counter", None) | ("untyped", _) => "unknown",
        _ => rest,
    };
    format!("# {keyword} {} {kind}", name.strip_suffix("_total").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use prometheus_client::metrics::counter::Counter;

    fn measured() -> Measured {
        let mut own = Registry::with_prefix("tetherd");
        own.register("connections", "Connections", Counter::<u64>::default());
        let tailscaled = "# TYPE tailscaled_bytes_total counter\n# HELP tailscaled_bytes_total Bytes\n\
                          tailscaled_bytes_total{path=\"derp\"} 7\n# TYPE tailscaled_odd counter\ntailscaled_odd 1\n";
        Measured { own, tailscaled: Some(tailscaled.into()) }
    }

    #[test]
    fn the_plain_format_passes_tailscaleds_metrics_through() {
        let document = render_metrics(&measured(), Format::Prometheus).expect("is written");
        assert!(
            document.contains("# TYPE tetherd_connections_total counter\ntetherd_connections_total 0\n"),
            "{document}"
        );
        assert!(document.ends_with(measured().tailscaled.as_deref().expect("given")), "{document}");
    }

    #[test]
    fn openmetrics_names_families_without_total_and_has_one_end() {
        let document = render_metrics(&measured(), Format::OpenMetrics).expect("is written");
        assert!(document.contains("# TYPE tetherd_connections counter\ntetherd_connections_total 0\n"), "{document}");
        let theirs = "# TYPE tailscaled_bytes counter\n# HELP tailscaled_bytes Bytes\n\
                      tailscaled_bytes_total{path=\"derp\"} 7\n# TYPE tailscaled_odd unknown\ntailscaled_odd 1\n# EOF\n";
        assert!(document.ends_with(theirs), "{document}");
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let mut headers = HeaderMap::new();
        assert_eq!(Format::wanted_by(&headers), Format::Prometheus);
        headers.insert(ACCEPT, HeaderValue::from_static("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"));
        assert_eq!(Format::wanted_by(&headers), Format::OpenMetrics);
    }
}
