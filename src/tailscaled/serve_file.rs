//! Keeps tailscaled serving what the file of `serve_config` says.
//!
//! It is applied once the node has joined, again when the file has changed, and again when tailscaled or its login is a
//! new one that has forgotten it.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::sections::serve::{ServeConfig, for_domain, names_domain};
use crate::state::Watcher;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};

/// How often the file is read. Reading a few kilobytes sees every way in which files are changed: in place, by
/// renaming, by Kubernetes' swap of a symlink two directories away, on bind mounts and network file systems. inotify
/// misses some of them, and its instances run out on busy hosts (github.com/tailscale/tailscale/issues/15081).
const READ_EVERY: Duration = Duration::from_secs(1);

/// Applies one serve configuration file.
pub struct ServeFile {
    path: PathBuf,
    api: LocalApi,
    /// The newest text that had the right form.
    valid_text: String,
    applied: bool,
    /// The last warning about the file, to log it once.
    file_warning: String,
    /// The last warning that tailscaled refused the file, to log it once.
    refusal_warning: String,
}

impl ServeFile {
    /// Applies the file at `path` to the tailscaled of `api`.
    pub fn new(path: PathBuf, api: LocalApi) -> Self {
        Self {
            path,
            api,
            valid_text: String::new(),
            applied: false,
            file_warning: String::new(),
            refusal_warning: String::new(),
        }
    }

    /// Applies the file as often as needed, until the publisher of `state` is gone.
    pub async fn keep_serving(mut self, mut state: Watcher) {
        loop {
            self.read();
            let ready = state.borrow_and_update().is_ready();
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
        if domain.is_empty() && names_domain(&self.valid_text) {
            return Err(LocalApiError::NotJoined);
        }
        let text = for_domain(&self.valid_text, &domain);
        let Ok(wanted) = ServeConfig::parse(&text) else { return Ok(()) };
        let served = self.api.serve_config().await?;
        let now: Option<ServeConfig> = serde_json::from_slice(&served.text).unwrap_or_default();
        if now.as_ref() == Some(&wanted) || now.is_none() && wanted == ServeConfig::default() {
            return Ok(());
        }
        self.api.set_serve_config(&text, &served).await?;
        tracing::info!(file = %self.path.display(), "serve_config is applied");
        if wanted.has_https() && !has_certificate {
            tracing::warn!("serve_config asks for HTTPS, but this tailnet gives no certificates: enable HTTPS for it");
        }
        Ok(())
    }
}

fn warn_once(last: &mut String, problem: &str) {
    if last != problem {
        tracing::warn!("serve_config {problem}");
        problem.clone_into(last);
    }
}
