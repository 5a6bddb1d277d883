//! Tests of the daemon on a real tailnet, with real tailscaled and headscale.
//!
//! Each test is in a network namespace of its own. There is a module for each promise of the daemon, and for its exit
//! codes, commands and settings.

mod adversity;
mod associations;
mod commands;
mod confinement;
mod doors;
mod exec_and_env;
mod exec_as_a_process;
mod exit_codes;
mod frozen;
mod health_port;
mod http_kept_connections;
mod http_proxy;
mod leaks;
mod limits;
mod listeners;
mod local_api_gone;
mod local_targets;
mod malformed;
mod malformed_http;
mod many_short_connections;
mod metrics;
mod node_settings;
mod nothing_listens;
mod policy;
mod policy_by_every_way;
mod prewarm;
mod promise_1_early_connections_wait;
mod promise_2_tailscaled_may_die;
mod promise_3_replies_tell_the_truth;
mod promise_4_ends;
mod promise_4_half_close_keeps_the_answer;
mod promise_4_last_word;
mod promise_4_programs;
mod promise_4_resets;
mod promise_5_logout;
mod promise_5_signals;
mod promise_5_stopping;
mod promise_6_memory_stays_bounded;
mod promise_7_secrets_stay_secret;
mod routes;
mod scene;
mod stock_tailscaled;
mod strangers;
mod tailnet_names;
mod tailscale_names;
mod tailscaled_calls;
mod throttled;
mod tls_listeners;
mod udp;
mod udp_clients;
mod vanished;
mod ways;
mod without_the_password;
