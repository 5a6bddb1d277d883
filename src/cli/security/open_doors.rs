//! Listeners, the node and the control server: what is open to others by them.

use crate::cli::security::facts::Facts;
use crate::config::types::address::{ControlUrl, Listen};

/// Fewest characters of a password that nobody guesses.
const SAFE_LENGTH: usize = 12;

pub fn in_the_clear(facts: &Facts<'_>) -> Vec<String> {
    let settings = facts.settings;
    let is_clear = settings.asks_for_password() && settings.socks_tls.is_none();
    // What a balancer brings to loopback may have been TLS before.
    let listens = facts.on_the_network().filter(|listen| is_clear && !listen.is_private());
    listens.map(|listen| format!("user and password cross the network in clear at {listen}")).collect()
}

pub fn short_password(facts: &Facts<'_>) -> Vec<String> {
    let password = facts.settings.socks_credentials.as_ref().map(|credentials| &credentials.password);
    let is_short = password.is_some_and(|password| password.expose().chars().count() < SAFE_LENGTH);
    is_short.then(|| format!("the password has fewer than {SAFE_LENGTH} characters")).into_iter().collect()
}

pub fn without_password(facts: &Facts<'_>) -> Vec<String> {
    let settings = facts.settings;
    let asks = settings.asks_for_password() || settings.socks_tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let listens = facts.on_the_network().filter(|_| !asks);
    listens.map(|listen| format!("socks_listen {listen} asks for no password")).collect()
}

pub fn forwards(facts: &Facts<'_>) -> Vec<String> {
    let settings = facts.settings;
    let open = settings.forwards.iter().filter(|forward| !settings.is_private(&forward.listen));
    open.map(|forward| format!("{} leads to {} without a password", forward.listen, forward.target)).collect()
}

pub fn dns(facts: &Facts<'_>) -> Vec<String> {
    let listens = facts.settings.dns.listen.iter().copied().map(Listen::Tcp).filter(|listen| !listen.is_private());
    listens.map(|listen| format!("{listen} tells names and addresses of the tailnet")).collect()
}

pub fn health(facts: &Facts<'_>) -> Vec<String> {
    let listens = facts.settings.health_listen.iter().copied().map(Listen::Tcp).filter(|listen| !listen.is_private());
    listens.map(|listen| format!("{listen} tells phase, reason and metrics")).collect()
}

pub fn shields(facts: &Facts<'_>) -> Vec<String> {
    let node = &facts.settings.node;
    let open = match (node.shields_up, node.serve_config.is_some(), node.advertise_routes.is_empty()) {
        (true, ..) => return Vec::new(),
        (_, true, _) => {
            "the node takes connections from the tailnet, for what serve_config serves and all that listens on loopback"
        }
        (_, _, false) => {
            "the node takes connections from the tailnet, for the networks of advertise_routes and all that listens on loopback"
        }
        (_, false, true) => "the node takes connections from the tailnet, which reach all that listens on loopback",
    };
    vec![open.to_owned()]
}

pub fn control(facts: &Facts<'_>) -> Vec<String> {
    let url = facts.settings.control_url.as_ref().filter(|url| ControlUrl::is_in_the_clear(url));
    url.map(|url| format!("the node joins over plain HTTP, at {}", url.0)).into_iter().collect()
}

pub fn log_upload(facts: &Facts<'_>) -> Vec<String> {
    let uploads = facts.settings.log_upload;
    uploads.then(|| "tailscaled's logs, which name nodes and addresses, are uploaded".to_owned()).into_iter().collect()
}
