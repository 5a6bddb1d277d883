//! Options of LocalAPI's `start`: preferences, and for a login the auth key.
//!
//! The key is fetched from its source each time.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::auth_keys::AuthKeys;
use crate::auth_keys::error::KeyError;
use crate::secret::SecretJson;
use crate::secret::redactor::{Redactor, WRAPPING};
use crate::tailscaled::exit_node::watch::ChosenExitNode;
use crate::text::printable;

/// The node's preferences (`ipn.Prefs`).
#[derive(Clone, Debug, Default)]
pub struct Preferences {
    /// URL of the control server; empty for Tailscale's own.
    pub control_url: String,
    pub hostname: String,
    pub tags: Vec<String>,
    /// Whether subnets that other nodes advertise are used.
    pub accept_routes: bool,
    /// Whether the tailnet's DNS configuration is used.
    pub accept_dns: bool,
    /// Whether incoming connections are blocked.
    pub shields_up: bool,
    pub advertise_routes: Vec<String>,
    pub exit_node: ChosenExitNode,
    /// Whether the machine's own networks are reached past the exit node. Heeded by tailscaled in kernel mode; in userspace mode
    /// the dialer does it.
    pub exit_node_allow_lan_access: bool,
}

/// Builds the options of LocalAPI's `start`.
#[derive(Clone)]
pub struct LoginOptions {
    preferences: Preferences,
    keys: Option<AuthKeys>,
    redactor: Redactor,
}

impl LoginOptions {
    /// Creates the options with `preferences`, and for logins with keys of `keys`. `redactor` knows what must not be
    /// logged.
    pub fn new(preferences: Preferences, keys: Option<AuthKeys>, redactor: Redactor) -> Self {
        Self { preferences, keys, redactor }
    }

    /// Returns the options for a node that the control server knows.
    pub fn without_key(&self) -> SecretJson {
        SecretJson::new(self.update())
    }

    /// Returns the options for a new login, with a new key of the source. Where no source is set tailscaled asks for a
    /// login in a browser.
    ///
    /// # Errors
    /// When the source has no key now.
    pub async fn with_new_key(&self) -> Result<SecretJson, KeyError> {
        let Some(keys) = &self.keys else { return Ok(self.without_key()) };
        let key = keys.fresh().await?;
        // Made after the key was fetched: whether the key carries the tags decides what the node asks for.
        let mut options = self.update();
        options["AuthKey"] = key.expose().into();
        // Otherwise a node that was known registers twice: with its old key as soon as it is started, and with a new
        // one when it is told to log in. At times the first comes last, and the control server knows the node by the
        // old one.
        options["UpdatePrefs"]["LoggedOut"] = true.into();
        Ok(SecretJson::new(options))
    }

    /// Name that the node asks for; empty where it is left to tailscaled.
    pub fn hostname(&self) -> &str {
        &self.preferences.hostname
    }

    /// Whether a source of keys is set.
    pub fn has_key(&self) -> bool {
        self.keys.is_some()
    }

    /// Describes the key's source, when getting a key takes time.
    pub fn remote_key_origin(&self) -> Option<String> {
        self.keys.as_ref().filter(|keys| keys.is_remote()).map(AuthKeys::origin)
    }

    /// Returns when the key of the login under way expires; `None` unless it was made for this login alone.
    pub fn key_expires_at(&self) -> Option<Instant> {
        self.keys.as_ref().and_then(AuthKeys::ends)
    }

    /// Describes the place where a new key is to be put.
    pub fn key_origin(&self) -> String {
        self.keys.as_ref().map_or_else(|| "auth_key".to_owned(), AuthKeys::origin)
    }

    /// Replaces secrets in `text`, which others wrote, and what would change how a log shows it.
    pub fn redact(&self, text: &str) -> String {
        printable(&self.redactor.redact(text))
    }

    fn update(&self) -> Value {
        json!({ "UpdatePrefs": self.preferences() })
    }

    fn preferences(&self) -> Value {
        let wanted = &self.preferences;
        // Headscale refuses a node that asks for tags with a key; a key that was made with tags has them anyway.
        let tags = if self.keys.as_ref().is_some_and(AuthKeys::carry_tags) { &[][..] } else { &wanted.tags };
        // These replace all earlier preferences: one that is not listed here gets its zero value.
        json!({
            "ControlURL": wanted.control_url,
            "Hostname": wanted.hostname,
            "WantRunning": true,
            "RouteAll": wanted.accept_routes,
            "CorpDNS": wanted.accept_dns,
            "ShieldsUp": wanted.shields_up,
            "AdvertiseTags": tags,
            "AdvertiseRoutes": wanted.advertise_routes,
            "ExitNodeID": wanted.exit_node.id(),
            "ExitNodeAllowLANAccess": wanted.exit_node_allow_lan_access,
        })
    }
}

/// Whether the auth key of these options is wrapped for Tailnet Lock, so that it signs the node.
pub fn has_wrapped_key(options: &SecretJson) -> bool {
    options.expose()["AuthKey"].as_str().is_some_and(|key| key.contains(WRAPPING))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth_keys::context::KeyContext;
    use crate::config::sections::auth::AuthSource;
    use crate::environment::Environment;
    use crate::secret::{Secret, SecretSource};

    fn login(source: SecretSource) -> LoginOptions {
        let preferences =
            Preferences { control_url: "https://h.example".into(), hostname: "app".into(), ..Preferences::default() };
        let surroundings = KeyContext {
            environment: &Environment::new(),
            ca_file: None,
            ca_directory: None,
            api_url: "",
            tailnet: "-",
            control_url: None,
            tags: Vec::new(),
            imds: false,
            redactor: Redactor::default(),
        };
        let keys = AuthKeys::new(AuthSource::Key(source), surroundings);
        LoginOptions::new(preferences, Some(keys), Redactor::default())
    }

    #[test]
    fn what_the_control_server_says_can_neither_show_a_secret_nor_forge_a_line() {
        let login = login(SecretSource::Inline(Secret::new("k")));
        let said = "key tskey-auth-a-b\u{2028}ERROR \u{202e}dekcatta\n";
        assert_eq!(login.redact(said), "key ***\\u{2028}ERROR \\u{202e}dekcatta\\n");
    }

    #[test]
    fn a_known_node_resumes_without_a_key() {
        let options = login(SecretSource::Inline(Secret::new("k"))).without_key();
        assert!(options.expose().get("AuthKey").is_none());
        assert_eq!(options.expose()["UpdatePrefs"]["Hostname"], "app");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_file_is_read_at_every_login() {
        let file = std::env::temp_dir().join(format!("tetherd-login-{}", std::process::id()));
        std::fs::write(&file, "first\n").expect("written");
        let login = login(SecretSource::File(file.clone()));
        assert_eq!(login.with_new_key().await.expect("is read").expose()["AuthKey"], "first");
        std::fs::write(&file, "second").expect("written");
        assert_eq!(login.with_new_key().await.expect("is read").expose()["AuthKey"], "second");
        std::fs::write(&file, "\"third\"").expect("written");
        let problem = login.with_new_key().await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(problem.contains("auth_key has quotes around it") && !problem.contains("third"), "{problem}");
        std::fs::remove_file(file).expect("removed");
        assert!(login.with_new_key().await.is_err());
    }
}
