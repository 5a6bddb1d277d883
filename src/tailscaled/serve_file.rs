//! Keeps tailscaled serving what the file of `serve_config` says.
//!
//! It is applied once the node has joined, again when the file has changed, and again when tailscaled or its login is a
//! new one that has forgotten it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::sections::serve::{ServeConfig, ServeText};
use crate::state::{Phase, Watcher};
use crate::tailscaled::local_api::{LocalApi, LocalApiError};

/// How often the file is read. Reading a few kilobytes sees every way in which files are changed: in place, by
/// renaming, by Kubernetes' swap of a symlink two directories away, on bind mounts and network file systems. inotify
/// misses some of them, and its instances run out on busy hosts (github.com/tailscale/tailscale/issues/15081).
const READ_EVERY: Duration = Duration::from_secs(1);

/// Applies one serve configuration file.
pub struct ServeFile {
    path: PathBuf,
    api: LocalApi,
    /// Whether services are advertised.
    advertises: bool,
    /// The newest text that had the right form.
    valid_text: ServeText,
    applied: bool,
    /// The last warning about the file, to log it once.
    file_warning: String,
    /// The last warning that tailscaled refused the file, to log it once.
    refusal_warning: String,
}

impl ServeFile {
    /// Applies the file at `path` to the tailscaled of `api`, and `advertises` its services.
    pub fn new(path: PathBuf, api: LocalApi, advertises: bool) -> Self {
        Self {
            path,
            api,
            advertises,
            valid_text: ServeText::default(),
            applied: false,
            file_warning: String::new(),
            refusal_warning: String::new(),
        }
    }

    /// Applies the file as often as needed, until the publisher of `state` is gone.
    pub async fn keep_serving(mut self, mut state: Watcher) {
        loop {
            self.read();
            let (ready, phase) = {
                let state = state.borrow_and_update();
                (state.is_ready(), state.phase)
            };
            if phase == Phase::Draining {
                return self.withdraw().await;
            }
            if !self.applied {
                match self.apply().await {
                    Ok(()) => self.applied = true,
                    // Before the node has joined, tailscaled accepts no serve configuration.
                    Err(error) if !ready => tracing::debug!(%error, "serve_config is not applied yet"),
                    Err(error) => warn_once(&mut self.refusal_warning, &format!("cannot be applied: {error}")),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(READ_EVERY) => {}
                changed = state.changed() => match changed {
                    Ok(()) => self.applied = false,
                    Err(_) => return,
                },
            }
        }
    }

    /// Reads the file. A text that has not the right form is logged, and the old one stays.
    fn read(&mut self) {
        match ServeConfig::read(&self.path) {
            Ok(text) if text != self.valid_text => {
                self.valid_text = text;
                self.applied = false;
                self.refusal_warning.clear();
                self.file_warning.clear();
            }
            Ok(_) => self.file_warning.clear(),
            Err(error) => warn_once(&mut self.file_warning, &format!("{error}; what was served before stays")),
        }
    }

    /// Has tailscaled serve the text, unless it does so already.
    async fn apply(&self) -> Result<(), LocalApiError> {
        let status = self.api.status(false).await?;
        let certificate_domain = status.cert_domains.and_then(|domains| domains.into_iter().next());
        // Without certificates, as with Headscale, the node's own name is what plain HTTP is asked for by.
        let own = || status.node.map(|node| node.dns_name.trim_end_matches('.').to_owned()).unwrap_or_default();
        let has_certificate = certificate_domain.is_some();
        let domain = certificate_domain.unwrap_or_else(own);
        if domain.is_empty() && self.valid_text.names_domain() {
            return Err(LocalApiError::NotJoined);
        }
        // Empty until the file was read once.
        let text = if self.valid_text.json.is_empty() { "{}".to_owned() } else { self.valid_text.for_domain(&domain) };
        let Ok(wanted) = ServeConfig::parse(&text) else { return Ok(()) };
        let served = self.api.serve_config().await?;
        let now: Option<ServeConfig> = serde_json::from_slice(&served.text).unwrap_or_default();
        let before = now.unwrap_or_default();
        if before == wanted {
            return self.advertise(&before, &wanted).await;
        }
        self.api.set_serve_config(&text, &served).await?;
        tracing::info!(file = %self.path.display(), "serve_config is applied");
        if wanted.has_https() && !has_certificate {
            tracing::warn!("serve_config asks for HTTPS, but this tailnet gives no certificates: enable HTTPS for it");
        }
        self.advertise(&before, &wanted).await
    }

    /// Advertises the services of the file, and those that were advertised by hand, but none that the file had `before` and has no
    /// more.
    async fn advertise(&self, before: &ServeConfig, wanted: &ServeConfig) -> Result<(), LocalApiError> {
        let of_file = |name: &str| before.services().chain(wanted.services()).any(|service| service == name);
        if !self.advertises || (before.services().next().is_none() && wanted.services().next().is_none()) {
            return Ok(());
        }
        let now = self.api.advertised_services().await?;
        let by_hand = now.iter().filter(|name| !of_file(name)).map(String::as_str);
        let shown = wanted.services().filter(|name| !self.valid_text.hidden.iter().any(|hidden| hidden == name));
        let all: BTreeSet<&str> = by_hand.chain(shown).collect();
        if all != now.iter().map(String::as_str).collect() {
            let names: Vec<String> = all.into_iter().map(str::to_owned).collect();
            self.api.advertise_services(&names).await?;
            tracing::info!(services = names.join(","), "the services of serve_config are advertised");
        }
        Ok(())
    }

    /// Withdraws the services of the file: other nodes are to take over while connections drain.
    async fn withdraw(&self) {
        let Ok(file) = ServeConfig::parse(&self.valid_text.json) else { return };
        if !self.advertises || file.services().next().is_none() {
            return;
        }
        let withdrawn = async {
            let now = self.api.advertised_services().await?;
            let kept: Vec<String> =
                now.into_iter().filter(|name| !file.services().any(|service| service == name)).collect();
            self.api.advertise_services(&kept).await
        };
        match withdrawn.await {
            Ok(()) => tracing::info!("the services of serve_config are withdrawn"),
            Err(error) => tracing::warn!(%error, "the services of serve_config cannot be withdrawn"),
        }
    }
}

fn warn_once(last: &mut String, problem: &str) {
    if last != problem {
        tracing::warn!("serve_config {problem}");
        problem.clone_into(last);
    }
}
