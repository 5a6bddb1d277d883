//! Builds the node's preferences, host name, exit node and serve file.

use tokio::sync::watch;

use crate::auth_keys::AuthKeys;
use crate::config::sections::node::NodeSettings;
use crate::config::settings::Settings;
use crate::config::types::node_label::NodeLabel;
use crate::daemon::readiness::StatePublisher;
use crate::platform::interface::Identity;
use crate::proxy::policy::reserved::leads_to_metadata;
use crate::secret::redactor::Redactor;
use crate::state::Watcher;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::exit_node::watch::{ChosenExitNode, ExitNodeProblem, ExitNodeWatch};
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::serve_file::ServeFile;
use crate::tailscaled::session::preferences::{LoginOptions, Preferences};

/// Starts the tasks that keep the serve file and the exit node in force. Returns a receiver of the problem that keeps a
/// required exit node from being used; without such a setting there never is a problem.
pub fn configure_node(
    settings: &Settings,
    api: &LocalApi,
    chosen: &ChosenExitNode,
    state: &StatePublisher,
) -> watch::Receiver<ExitNodeProblem> {
    let node = &settings.node;
    if let Some(path) = &node.serve_config {
        if node.shields_up {
            tracing::warn!("shields_up blocks all that comes in, and with it what serve_config serves");
        }
        let file = ServeFile::new(path.clone(), api.clone(), node.advertise_services);
        tokio::spawn(file.keep_serving(state.watch()));
    }
    let nothing = watch::Sender::new(None).subscribe();
    let Some(wanted) = node.exit_node.clone() else { return nothing };
    let exit_node = ExitNodeWatch::new(api.clone(), wanted, chosen.clone());
    let problem = exit_node.problem();
    tokio::spawn(exit_node.follow(state.watch()));
    if node.exit_node_required { problem } else { nothing }
}

/// Waits until the daemon is ready, then warns of what peers reach where tailscaled has no calls, which would keep them off.
pub async fn warn_of_peers(node: NodeSettings, calls: Calls, mut state: Watcher) {
    if node.shields_up || state.wait_for(|state| state.is_ready()).await.is_err() || !calls.is_stock() {
        return;
    }
    let metadata = node.advertise_routes.iter().any(|route| leads_to_metadata(route.0));
    let more = if metadata { ", and by advertise_routes the container's metadata addresses" } else { "" };
    tracing::warn!(
        "shields are down and this tailscaled has no calls of tetherd's: nodes of the tailnet reach tetherd's own ports on \
         loopback as this machine's programs do{more}; use the tailscaled that comes with tetherd"
    );
}

/// Builds the login: the node's preferences, and where its keys come from.
pub fn login(
    settings: &Settings,
    identity: &Identity,
    exit_node: ChosenExitNode,
    keys: Option<AuthKeys>,
    redactor: Redactor,
) -> LoginOptions {
    let node = &settings.node;
    let preferences = Preferences {
        control_url: settings.control_url.as_ref().map_or_else(String::new, |url| url.0.clone()),
        hostname: hostname(settings, identity),
        tags: node.tags.iter().map(|tag| tag.0.clone()).collect(),
        accept_routes: node.accept_routes,
        accept_dns: node.accept_dns,
        shields_up: node.shields_up,
        advertise_routes: node.advertise_routes.iter().map(|route| route.0.to_string()).collect(),
        exit_node,
        exit_node_allow_lan_access: node.exit_node_allow_lan_access,
    };
    LoginOptions::new(preferences, keys, redactor)
}

/// Chooses the node's name: as set, else as the platform names the container, else the container's host name.
fn hostname(settings: &Settings, identity: &Identity) -> String {
    let wanted = settings.hostname.as_ref().map(|name| name.0.clone());
    wanted.or_else(|| identity.hostname.clone()).unwrap_or_else(own_hostname)
}

/// Reads the container's host name as one DNS label. Empty where it cannot be one, which leaves the name to tailscaled.
fn own_hostname() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    NodeLabel::near(name.split('.').next().unwrap_or_default()).map_or_else(String::new, |label| label.0)
}
