//! Holds back a node that Tailnet Lock locks out, and says how it is signed.
//!
//! In a tailnet with Tailnet Lock the others drop a node whose key no signing node has signed. A wrapped auth key brings a signature
//! along: `tskey-auth-…--TL…-…`, where what follows `--TL` is a private key, too.

use crate::auth_keys::error::KeyError;
use crate::secret::SecretJson;
use crate::tailscaled::local_api::types::TailnetLockStatus;
use crate::tailscaled::session::Session;
use crate::tailscaled::session::preferences::has_wrapped_key;
use crate::tailscaled::session::state::SessionEnd;

impl Session<'_> {
    /// Takes tailscaled's word on whether the node is `locked_out`.
    ///
    /// # Errors
    /// When tailscaled does not answer.
    pub async fn handle_lock(&mut self, locked_out: bool) -> Result<(), SessionEnd> {
        let was_locked_out = std::mem::replace(&mut self.progress.locked_out, locked_out);
        if locked_out && !was_locked_out && self.progress.ready {
            return self.wait_for_signature().await;
        }
        if !locked_out && self.progress.awaits_signature && self.progress.running {
            return self.joined().await;
        }
        Ok(())
    }

    /// Publishes that the node waits for somebody who signs its key.
    ///
    /// # Errors
    /// When tailscaled does not answer.
    pub async fn wait_for_signature(&mut self) -> Result<(), SessionEnd> {
        let lock = self.api.tailnet_lock().await?.unwrap_or_default();
        self.needs_login(&how_to_sign(&lock));
        self.progress.awaits_signature = true;
        Ok(())
    }

    /// Checks that tailscaled can unwrap the key of these options for a login. One that cannot would send all of it to the control
    /// server.
    ///
    /// # Errors
    /// [`KeyError::Misconfigured`] when it cannot; within, when tailscaled does not answer.
    pub async fn check_wrapped_key(&self, options: &SecretJson) -> Result<Result<(), KeyError>, SessionEnd> {
        if !has_wrapped_key(options) || self.api.tailnet_lock().await?.is_some() {
            return Ok(Ok(()));
        }
        Ok(Err(KeyError::Misconfigured(format!(
            "the key of {} is wrapped for Tailnet Lock, and this tailscaled was built without that: use the one that comes with \
             tetherd, or set tailscaled_path to one that has it",
            self.login.key_origin()
        ))))
    }
}

/// Returns why a locked-out node is not ready, and what to do.
fn how_to_sign(lock: &TailnetLockStatus) -> String {
    let node_key = lock.node_key.as_deref().unwrap_or("of this node");
    // As the `tailscale` command writes it.
    let own_key = lock.public_key.replacen("nlpub:", "tlpub:", 1);
    format!(
        "Tailnet Lock locks this node out until its key is signed: run \"tailscale lock sign {node_key} {own_key}\" on a signing \
         node, or give it an auth key that \"tailscale lock sign\" has wrapped"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_signs_the_node_is_said() {
        let lock = r#"{"Enabled":true,"PublicKey":"nlpub:12ab","NodeKey":"nodekey:34cd","NodeKeySigned":false,"VisiblePeers":[{}]}"#;
        let told = how_to_sign(&serde_json::from_str(lock).expect("parses"));
        assert!(told.contains("\"tailscale lock sign nodekey:34cd tlpub:12ab\""), "{told}");
    }
}
