//! Logs one JSON object a line on stdout, which CloudWatch Logs takes apart.

/// Once, before anything is written.
pub fn start() {
    // Lambda puts the time before every line itself.
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).without_time().init();
}
