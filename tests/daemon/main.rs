//! The daemon on a real tailnet: real tailscaled, real headscale, each test in a network namespace of its own. A
//! module for each promise of the daemon, and for its exit codes, commands and settings.

mod adversity;
mod commands;
mod exec_and_env;
mod exec_as_a_process;
mod exit_codes;
mod frozen;
mod http_kept_connections;
mod http_proxy;
mod leaks;
mod limits;
mod listeners;
mod malformed;
mod malformed_http;
mod metrics;
mod node_settings;
mod policy;
mod prewarm;
mod promise_1_early_connections_wait;
mod promise_2_tailscaled_may_die;
mod promise_3_replies_tell_the_truth;
mod promise_4_half_close_keeps_the_answer;
mod promise_5_stopping;
mod promise_6_memory_stays_bounded;
mod promise_7_secrets_stay_secret;
mod routes;
mod scene;
mod tailscale_names;
mod throttled;
mod udp;
