//! Builds the source of auth keys, and what looks after its keys.

use crate::auth_keys::AuthKeys;
use crate::auth_keys::context::KeyContext;
use crate::auth_keys::expiry;
use crate::daemon::context::BuildInputs;
use crate::secret::redactor::Redactor;
use crate::state::Watcher;
use crate::tailscaled::keeper::is_known;
use crate::tailscaled::local_api::LocalApi;

/// Builds the source of auth keys that the settings name; `None` where they name none.
pub fn build_auth_keys(inputs: BuildInputs<'_>, redactor: &Redactor) -> Option<AuthKeys> {
    let (settings, context) = (inputs.settings, inputs.context);
    let key_context = KeyContext {
        environment: context.environment,
        ca_file: settings.ca_file.as_deref(),
        ca_directory: settings.platform_ca_dir.as_deref(),
        api_url: &settings.api_url.0,
        tailnet: &settings.tailnet,
        control_url: settings.control_url.as_ref().map(|url| url.0.as_str()),
        tags: settings.node.tags.iter().map(|tag| tag.0.clone()).collect(),
        imds: context.platform.has_instance_metadata(),
        redactor: redactor.clone(),
    };
    settings.auth.clone().map(|source| AuthKeys::new(source, key_context))
}

/// Fetches the first key while tailscaled starts, unless the node is known already and needs none.
pub fn fetch_first_key(keys: Option<AuthKeys>, inputs: BuildInputs<'_>) {
    let Some(keys) = keys.filter(|_| !is_known(inputs.state_dir.state())) else { return };
    if inputs.start_gate.is_open() {
        keys.begin();
        return;
    }
    let gate = inputs.start_gate.clone();
    tokio::spawn(async move {
        gate.opened().await;
        keys.begin();
    });
}

/// Starts the task that warns before the auth key or the node expires.
pub fn warn_before_expiry(keys: Option<&AuthKeys>, api: LocalApi, state: Watcher) {
    tokio::spawn(expiry::watch_expiry(keys.map(AuthKeys::expiry), state, move || {
        let api = api.clone();
        async move { expiry::expiry_of(&api.status(false).await.ok()?.node?.key_expiry?) }
    }));
}
