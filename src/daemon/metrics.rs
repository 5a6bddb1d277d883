//! Metrics of the daemon as a whole: phase, start, restarts, limits, expiry.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::state::{Phase, State};

/// Label of the metric `phase`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

/// Facts that are read anew for each scrape.
#[derive(Debug, Default)]
pub struct ScrapeFacts {
    /// Starts of tailscaled after the first.
    pub restarts: u64,
    /// Number of freezes of the process so far.
    pub freezes: u64,
    pub tailscaled_version: Option<String>,
    pub node_key_expiry: Option<SystemTime>,
    pub auth_key_expiry: Option<SystemTime>,
    pub max_connections: usize,
    /// Labels that name the task or container.
    pub platform_labels: Vec<(&'static str, String)>,
}

/// Adds the metrics of the daemon as a whole to `registry`.
pub fn register(registry: &mut Registry, state: &State, facts: &ScrapeFacts) {
    let mut versions = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    versions.extend(facts.tailscaled_version.clone().map(|version| ("tailscaled", version)));
    registry.register("build", "Versions of tetherd and of the tailscaled that runs", Info::new(versions));

    if !facts.platform_labels.is_empty() {
        registry.register("place", "The task or container that this is", Info::new(facts.platform_labels.clone()));
    }
    let phases = Family::<PhaseLabel, Gauge>::default();
    for (phase, name) in Phase::ALL {
        phases.get_or_create(&PhaseLabel { phase: name }).set((phase == state.phase).into());
    }
    registry.register("phase", "1 for the phase the daemon is in, 0 for the others", phases);
    if let Some(time) = state.time_to_ready {
        let help = "Time from the daemon's start to the first time it was ready";
        registry.register_with_unit("time_to_ready", help, Unit::Seconds, seconds(time.as_secs_f64()));
    }
    registry.register("tailscaled_restarts", "Starts of tailscaled after the first", count(facts.restarts));
    registry.register("thaws", "Times that the daemon found itself frozen for a while", count(facts.freezes));
    let limit = Gauge::<i64>::default();
    limit.set(facts.max_connections.try_into().unwrap_or(i64::MAX));
    registry.register("connections_limit", "Connections at once; further ones wait", limit);
    let help = "When the node's key expires, in seconds since 1970; absent when it does not";
    register_expiry(registry, "node_key_expiry_timestamp", help, facts.node_key_expiry);
    let help = "When the auth key expires, in seconds since 1970; absent where that is not known";
    register_expiry(registry, "auth_key_expiry_timestamp", help, facts.auth_key_expiry);
}

/// Adds a point in time, in seconds since 1970, where there is one.
fn register_expiry(registry: &mut Registry, name: &str, help: &str, at: Option<SystemTime>) {
    if let Some(at) = at {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        registry.register_with_unit(name, help, Unit::Seconds, seconds(since.as_secs_f64()));
    }
}

/// A gauge with this value.
fn seconds(value: f64) -> Gauge<f64, std::sync::atomic::AtomicU64> {
    let gauge = Gauge::default();
    gauge.set(value);
    gauge
}

/// A counter with this value.
fn count(value: u64) -> Counter {
    let counter = Counter::default();
    counter.inc_by(value);
    counter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Publisher;
    use prometheus_client::encoding::prometheus_text::encode;
    use std::time::Duration;

    fn document(publisher: &Publisher, facts: &ScrapeFacts) -> String {
        let (mut registry, mut document) = (Registry::with_prefix("tetherd"), String::new());
        register(&mut registry, &publisher.watch().borrow(), facts);
        encode(&mut document, &registry).expect("is written");
        document
    }

    #[test]
    fn just_one_phase_is_the_present_one() {
        let publisher = Publisher::new();
        let before = document(&publisher, &ScrapeFacts::default());
        assert!(before.contains("tetherd_phase{phase=\"Starting\"} 1\n"), "{before}");
        assert!(!before.contains("time_to_ready"), "{before}");
        publisher.publish(Phase::Ready, "joined");
        let after = document(&publisher, &ScrapeFacts::default());
        assert!(after.contains("tetherd_phase{phase=\"Ready\"} 1\n"), "{after}");
        assert_eq!(after.matches("tetherd_phase{").count(), 6, "{after}");
        assert_eq!(after.matches("\"} 1\n").count(), 2, "the phase and the build: {after}");
        assert!(after.contains("\ntetherd_time_to_ready_seconds 0."), "{after}");
    }

    #[test]
    fn the_place_is_named_where_it_is_known() {
        let facts = ScrapeFacts {
            platform_labels: vec![("cluster", "a".into()), ("task", "b".into())],
            ..ScrapeFacts::default()
        };
        let with = document(&Publisher::new(), &facts);
        assert!(with.contains("tetherd_place_info{cluster=\"a\",task=\"b\"} 1\n"), "{with}");
        assert!(!document(&Publisher::new(), &ScrapeFacts::default()).contains("place"));
    }

    #[test]
    fn an_expiry_is_shown_where_there_is_one() {
        let expiry = Some(UNIX_EPOCH + Duration::from_secs(2_000_000_000));
        let document = document(&Publisher::new(), &ScrapeFacts { node_key_expiry: expiry, ..ScrapeFacts::default() });
        assert!(document.contains("tetherd_node_key_expiry_timestamp_seconds 2000000000.0\n"), "{document}");
        assert!(!document.contains("auth_key_expiry"), "{document}");
    }
}
