//! Keeps tailscaled serving what the serve configuration says: applied once joined, again when the file has changed,
//! and again when tailscaled or its login is a new one that has forgotten it.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::sections::serve::{ServeConfig, for_domain, names_domain};
use crate::state::Watcher;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};

/// The file is read as often. Reading a few kilobytes sees every way in which files are changed: in place, by
/// renaming, by Kubernetes' swap of a symlink two directories away, on bind mounts and network file systems. inotify
/// misses some of them, and its instances run out on busy hosts (github.com/tailscale/tailscale/issues/15081).
const READ_EVERY: Duration = Duration::from_secs(1);

/// Applies one file.
pub struct ServeFile {
    path: PathBuf,
    api: LocalApi,
    /// The newest text that had the right form.
    good: String,
    applied: bool,
    /// What was said last of the file and of tailscaled's refusal, to say it once.
    fault: String,
    refusal: String,
}

impl ServeFile {
    pub fn new(path: PathBuf, api: LocalApi) -> Self {
        Self { path, api, good: String::new(), applied: false, fault: String::new(), refusal: String::new() }
    }

    /// Runs as long as there is a state to watch.
    pub async fn keep_serving(mut self, mut state: Watcher) {
        loop {
            self.read();
            let ready = state.borrow_and_update().is_ready();
            if !self.applied {
                match self.apply().await {
                    Ok(()) => self.applied = true,
                    // Before the node has joined, tailscaled takes nothing.
                    Err(error) if !ready => tracing::debug!(%error, "serve_config is not applied yet"),
                    Err(error) => say_once(&mut self.refusal, &format!("cannot be applied: {error}")),
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

    /// Takes the file's text when it has the right form, and keeps the old one when not.
    fn read(&mut self) {
        match ServeConfig::read(&self.path) {
            Ok(text) if text != self.good => {
                self.good = text;
                self.applied = false;
                self.refusal.clear();
                self.fault.clear();
            }
            Ok(_) => self.fault.clear(),
            Err(error) => say_once(&mut self.fault, &format!("{error}; what was served before stays")),
        }
    }

    async fn apply(&self) -> Result<(), LocalApiError> {
        let status = self.api.status(false).await?;
        let certified = status.cert_domains.and_then(|domains| domains.into_iter().next());
        // Without certificates, as with Headscale, the node's own name is what plain HTTP is asked for by.
        let own = || status.node.map(|node| node.dns_name.trim_end_matches('.').to_owned()).unwrap_or_default();
        let is_certified = certified.is_some();
        let domain = certified.unwrap_or_else(own);
        if domain.is_empty() && names_domain(&self.good) {
            return Err(LocalApiError::NotJoined);
        }
        let text = for_domain(&self.good, &domain);
        let Ok(wanted) = ServeConfig::parse(&text) else { return Ok(()) };
        let serving = self.api.serving().await?;
        let now: Option<ServeConfig> = serde_json::from_slice(&serving.text).unwrap_or_default();
        if now.as_ref() == Some(&wanted) || now.is_none() && wanted == ServeConfig::default() {
            return Ok(());
        }
        self.api.serve(&text, &serving).await?;
        tracing::info!(file = %self.path.display(), "serve_config is applied");
        if wanted.has_https() && !is_certified {
            tracing::warn!("serve_config asks for HTTPS, but this tailnet gives no certificates: enable HTTPS for it");
        }
        Ok(())
    }
}

fn say_once(said: &mut String, problem: &str) {
    if said != problem {
        tracing::warn!("serve_config {problem}");
        problem.clone_into(said);
    }
}
