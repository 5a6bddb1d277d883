//! What is open to other users, and to who takes a process over.

use std::path::Path;

use crate::auth_keys::sources::credential_process::may_start_a_program;
use crate::cli::security::facts::Facts;
use crate::process::confinement::is_binary;
use crate::tailscaled::process::{locate, openness};

pub fn unconfined(facts: &Facts<'_>) -> Vec<String> {
    let settings = facts.settings;
    let search = facts.environment.get("PATH").map(String::as_str);
    let found = locate::find_tailscaled(settings.tailscaled_path.as_deref(), search);
    let both = if !settings.confine {
        "confine = false"
    } else if !settings.tailscaled_args.0.is_empty() {
        "tailscaled_args may want anything"
    } else if found.is_ok_and(|program| !is_binary(&program)) {
        "tailscaled is a script, which may start anything"
    } else if may_start_a_program(settings.auth.as_ref(), facts.environment) {
        return vec![
            "tetherd is not confined (an AWS profile has a credential_process, which may want anything)".to_owned(),
        ];
    } else {
        return Vec::new();
    };
    vec![format!("neither tailscaled nor tetherd is confined ({both})")]
}

pub fn root(facts: &Facts<'_>) -> Vec<String> {
    facts.is_root.then(|| "tetherd and tailscaled run as root".to_owned()).into_iter().collect()
}

pub fn state_dir(facts: &Facts<'_>) -> Vec<String> {
    facts.settings.state_dir.as_deref().and_then(writers).into_iter().collect()
}

pub fn socket(facts: &Facts<'_>) -> Vec<String> {
    let socket = facts.settings.tailscaled_socket.as_ref();
    socket.and_then(|socket| writers(socket.0.parent()?)).into_iter().collect()
}

/// Says who else may write to a directory; one that is not there yet is made for this user alone.
fn writers(directory: &Path) -> Option<String> {
    openness::open_to(directory).ok().flatten()
}
