//! Metrics as lines on stdout in CloudWatch's embedded metric format (EMF).
//!
//! They are for platforms where nobody can scrape `/metrics`; the counts are the same.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use tokio::time::{sleep, timeout};

use crate::proxy::context::ProxyContext;
use crate::proxy::metrics::counters::Counters;
use crate::state::Watcher;
use crate::status::Connections;
use crate::sync::IgnorePoison;
use crate::tailscaled::dialer::Dialer;

/// Time between two lines of an execution environment that serves much: log lines cost money.
const PERIOD: Duration = Duration::from_secs(60);

/// Longest wait for tailscaled's byte counts: a stop leaves only milliseconds for it.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(50);

/// Most values that the format allows in the array of one metric.
const LONGEST_ARRAY: u64 = 100;

const NAMESPACE: &str = "tetherd";
const BUCKET: &str = "dial_duration_seconds_bucket{";

/// Writes lines with what was counted since the line before. Clones share what was written.
#[derive(Clone)]
pub struct EmfWriter(Arc<Inner>);

struct Inner {
    source: EmfSource,
    /// The counts that the last line was written from.
    written: Mutex<Seen>,
}

/// Where the counts come from, and the function that they are of.
pub struct EmfSource {
    /// Name of the Lambda function, the dimension of each metric.
    pub function: String,
    pub counters: Counters,
    pub proxy: Arc<ProxyContext<Dialer>>,
    /// Starts of tailscaled after the first.
    pub restarts: Arc<AtomicU64>,
    pub state: Watcher,
}

/// The counts at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    connections: Connections,
    restarts: u64,
    /// Time from the start to the first time the daemon was ready.
    join: Option<Duration>,
    /// Upper bound of each bucket in seconds, and the number of dials up to it.
    dials: Vec<(f64, u64)>,
}

impl EmfWriter {
    /// Creates a writer of the counts of `source`.
    pub fn new(source: EmfSource) -> Self {
        Self(Arc::new(Inner { source, written: Mutex::default() }))
    }

    /// Writes a line once a minute, if anything is new. Never returns.
    pub async fn write_every_minute(self) {
        loop {
            sleep(PERIOD).await;
            self.write().await;
        }
    }

    /// Writes a line of what is new, if anything is.
    pub async fn write(&self) {
        let source = &self.0.source;
        let _ = timeout(ANSWER_TIMEOUT, source.proxy.count_traffic()).await;
        let now = source.look();
        let before = std::mem::replace(&mut *self.0.written.lock().ignore_poison(), now.clone());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(line) = line(&source.function, &before, &now, time) {
            // A reader that is gone is no reason to fail.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

impl EmfSource {
    /// Reads the counts as they are now.
    fn look(&self) -> Seen {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.counters.register(&mut registry);
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        Seen {
            connections: self.counters.now(),
            restarts: self.restarts.load(Ordering::Relaxed),
            join: self.state.borrow().time_to_ready,
            dials: dials(&text),
        }
    }
}

/// Reads the buckets of dial times, all paths together, from the text that scrapers get.
fn dials(text: &str) -> Vec<(f64, u64)> {
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix(BUCKET)) {
        let bound = line.split_once("le=\"").and_then(|(_, rest)| rest.split('"').next()?.parse::<f64>().ok());
        let count = line.rsplit(' ').next().and_then(|count| count.parse().ok());
        let (Some(bound), Some(count)) = (bound, count) else { continue };
        match buckets.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += count,
            None => buckets.push((bound, count)),
        }
    }
    buckets
}

/// Writes one line of what is new in `now`; `None` when nothing is. `time` is since 1970.
fn line(function: &str, before: &Seen, now: &Seen, time: Duration) -> Option<String> {
    if before == now {
        return None;
    }
    let (was, is) = (before.connections, now.connections);
    let mut values = Map::new();
    let mut units = Vec::new();
    let mut add = |name: &str, unit: &str, value: Value| {
        units.push(json!({ "Name": name, "Unit": unit }));
        values.insert(name.to_owned(), value);
    };
    add("Connections", "Count", (is.accepted - was.accepted).into());
    add("FailedConnections", "Count", (is.failed - was.failed).into());
    add("SentBytes", "Bytes", (is.sent_bytes - was.sent_bytes).into());
    add("ReceivedBytes", "Bytes", (is.received_bytes - was.received_bytes).into());
    add("Restarts", "Count", (now.restarts - before.restarts).into());
    if let Some(join) = now.join.filter(|_| before.join.is_none()) {
        add("JoinTime", "Milliseconds", u64::try_from(join.as_millis()).unwrap_or(u64::MAX).into());
    }
    if let Some(latency) = latency(&before.dials, &now.dials) {
        add("DialLatency", "Milliseconds", latency);
    }
    values.insert("FunctionName".into(), function.into());
    let metrics = json!([{ "Namespace": NAMESPACE, "Dimensions": [["FunctionName"]], "Metrics": units }]);
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    values.insert("_aws".into(), json!({ "Timestamp": millis, "CloudWatchMetrics": metrics }));
    Some(Value::Object(values).to_string())
}

/// Lists the times of the new dials in milliseconds, in ascending order: the upper bound of its bucket stands for each.
/// Where they are more than an array may hold every nth is taken, the longest among them. `None` without new dials.
fn latency(before: &[(f64, u64)], now: &[(f64, u64)]) -> Option<Value> {
    let longest = now.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).fold(0.0, f64::max);
    let earlier = |bound: f64| before.iter().find(|(known, _)| *known == bound).map_or(0, |(_, count)| *count);
    let new: Vec<(f64, u64)> =
        now.iter().map(|(bound, count)| (bound.min(longest) * 1000.0, count.saturating_sub(earlier(*bound)))).collect();
    let all = new.iter().map(|(_, up_to)| *up_to).max().unwrap_or(0);
    let taken = all.min(LONGEST_ARRAY);
    let ranks = (1..=taken).map(|nth| (nth * all).div_ceil(taken));
    let values: Vec<f64> =
        ranks.filter_map(|rank| new.iter().find(|(_, up_to)| *up_to >= rank)).map(|(bound, _)| *bound).collect();
    (!values.is_empty()).then(|| json!(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_is_new_and_nothing_is_told_twice() {
        let before = Seen { restarts: 1, join: Some(Duration::from_millis(150)), ..Seen::default() };
        let connections = Connections { accepted: 3, failed: 1, received_bytes: 10, ..Connections::default() };
        let dials = vec![(0.001, 1), (0.01, 3), (f64::INFINITY, 4)];
        let now = Seen { connections, dials: dials.clone(), ..before.clone() };
        let time = Duration::from_millis(1_700_000_000_123);
        let line = line("f", &before, &now, time).expect("there is something new");
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["Connections"], &line["Restarts"]), (&json!(3), &json!(0)));
        assert_eq!(line["DialLatency"], json!([1.0, 10.0, 10.0, 10.0]));
        assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_123_u64);
        assert!(line.get("JoinTime").is_none(), "told before");
        let named = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("a list");
        assert!(named.iter().all(|metric| line.get(metric["Name"].as_str().expect("a name")).is_some()), "{line}");
        assert_eq!(super::line("f", &now, &now, time), None);
    }

    #[test]
    fn of_many_dials_a_hundred_stand_for_all_and_the_longest_is_among_them() {
        let now = [(0.001, 900), (0.01, 999), (5.0, 1000)];
        let values = latency(&[(0.001, 0)], &now).expect("there are dials");
        let values = values.as_array().expect("an array");
        let of = |value: f64| values.iter().filter(|other| **other == json!(value)).count();
        assert_eq!((values.len(), of(1.0), of(10.0), of(5000.0)), (100, 90, 9, 1));
        assert_eq!(latency(&now, &now), None);
    }

    #[test]
    fn buckets_are_read_from_what_scrapers_get() {
        let text = "dial_duration_seconds_bucket{le=\"0.001\",path=\"tailnet\"} 2\n\
                    dial_duration_seconds_bucket{le=\"0.001\",path=\"direct\"} 3\n\
                    dial_duration_seconds_bucket{le=\"+Inf\",path=\"direct\"} 4\n";
        assert_eq!(dials(text), [(0.001, 5), (f64::INFINITY, 4)]);
    }
}
