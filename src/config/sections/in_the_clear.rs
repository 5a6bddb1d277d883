//! Checks that no credential that makes auth keys goes over plain HTTP.
//!
//! Whatever names the address: only loopback is left out.
//!
//! What a service gives later, such as AWS Secrets Manager, is checked when it is there (`auth_keys`).

use crate::config::reader::Reader;
use crate::config::sections::auth::AuthSource;
use crate::config::settings::Settings;
use crate::config::types::Value;
use crate::config::types::address::ControlUrl;
use crate::secret::redactor::{CLIENT_SECRET_PREFIX, HEADSCALE_API_KEY_PREFIX};

impl Reader {
    /// Notes a fault for each address that a credential of the settings would be sent to in the clear.
    pub fn no_credential_in_the_clear(&mut self, settings: &Settings) {
        match &settings.auth {
            Some(AuthSource::Key(source)) => {
                let Ok(secret) = source.read() else { return };
                if secret.expose().starts_with(CLIENT_SECRET_PREFIX) {
                    self.no_suffix_in_the_clear(&["auth_key", "auth_key_file"], secret.expose());
                } else if secret.expose().starts_with(HEADSCALE_API_KEY_PREFIX)
                    && settings.control_url.as_ref().is_some_and(ControlUrl::is_in_the_clear)
                {
                    self.fault_at("control_url", "would send Headscale's API key in the clear: use https://");
                }
            }
            Some(AuthSource::Client { secret, .. }) => {
                let Ok(secret) = secret.read() else { return };
                self.no_suffix_in_the_clear(&["oauth_client_secret", "oauth_client_secret_file"], secret.expose());
            }
            Some(AuthSource::Identity { client, .. }) => self.no_suffix_in_the_clear(&["oauth_client_id"], client),
            Some(AuthSource::Stored(_)) | None => {}
        }
    }

    /// Notes a fault at the one of `keys` that was given, where the suffix `baseURL` of its text names an address in the clear.
    fn no_suffix_in_the_clear(&mut self, keys: &[&'static str], text: &str) {
        let suffixes = text.split_once('?').map_or("", |(_, suffixes)| suffixes).split('&');
        let mut addresses = suffixes.filter_map(|suffix| ControlUrl::parse(suffix.strip_prefix("baseURL=")?));
        if addresses.any(|address| address.is_in_the_clear())
            && let Some(key) = keys.iter().find(|key| self.is_given(key))
        {
            self.fault_at(key, "would send a credential in the clear, by its suffix baseURL: use https:// there");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::environment::environment;

    const HEADSCALE: &str = "hskey-api-0123456789ab-0123456789";
    const OAUTH: &str = "tskey-client-a-b";
    const ADDRESSES: [(&str, bool); 9] = [
        ("http://h.example", true),
        ("HTTP://h.example", true),
        ("http://10.0.0.1:8080", true),
        ("http://localhost.example", true),
        ("http://127.0.0.1:1", false),
        ("http://[::1]:1", false),
        ("http://localhost", false),
        ("HTTPS://h.example", false),
        ("https://h.example", false),
    ];

    /// The faults of these settings, with those that sources need beside them.
    fn faults(pairs: &[(&str, &str)]) -> String {
        let all = [pairs, &[("TETHERD_TAGS", "tag:web")]].concat();
        load(&environment(&all), None, &vec![]).settings.err().map_or_else(String::new, |faults| faults.to_string())
    }

    #[test]
    fn credentials_never_go_in_the_clear_whatever_names_the_address() {
        let directory = tempfile::tempdir().expect("a directory");
        for (address, refused) in ADDRESSES {
            let suffixed = format!("{OAUTH}?ephemeral=true&baseURL={address}");
            let client = format!("T1/kFederated?baseURL={address}");
            let files = [("hs", HEADSCALE), ("ts", &suffixed)].map(|(name, text)| {
                let path = directory.path().join(name);
                std::fs::write(&path, text).expect("written");
                path.to_str().expect("UTF-8").to_owned()
            });
            let [headscale_file, suffixed_file] = &files;
            let login = format!("--login-server={address} --auth-key={HEADSCALE}");
            for (pairs, key) in [
                (&[("TETHERD_API_URL", address)][..], "api_url"),
                (&[("TETHERD_CONTROL_URL", address), ("TETHERD_AUTH_KEY", HEADSCALE)], "control_url"),
                (&[("TETHERD_CONTROL_URL", address), ("TETHERD_AUTH_KEY_FILE", headscale_file)], "control_url"),
                (&[("TS_EXTRA_ARGS", &login)], "control_url"),
                (&[("TS_AUTHKEY", &suffixed)], "auth_key"),
                (&[("TETHERD_AUTH_KEY_FILE", suffixed_file)], "auth_key_file"),
                (&[("TS_CLIENT_SECRET", &suffixed)], "oauth_client_secret"),
                (&[("TETHERD_OAUTH_CLIENT_SECRET_FILE", suffixed_file)], "oauth_client_secret_file"),
                (&[("TETHERD_OAUTH_CLIENT_ID", &client), ("TETHERD_ID_TOKEN", "x")], "oauth_client_id"),
            ] {
                let text = faults(pairs);
                assert_eq!(
                    text.contains("in the clear") && text.contains(&format!("{key} (from")),
                    refused,
                    "{pairs:?}: {text}"
                );
                assert_eq!(text.is_empty(), !refused, "{pairs:?}: {text}");
                assert!(!text.contains(OAUTH) && !text.contains(HEADSCALE), "{text}");
            }
        }
    }

    /// What a node joins with is sealed by tailscaled, whatever carries it.
    #[test]
    fn an_auth_key_may_go_to_a_control_server_by_plain_http() {
        let control = ("TETHERD_CONTROL_URL", "http://headscale:8080");
        for key in ["tskey-auth-a-b", "hskey-auth-a-b", "0123456789abcdef"] {
            assert_eq!(faults(&[control, ("TETHERD_AUTH_KEY", key)]), "", "{key}");
        }
        assert_eq!(faults(&[control, ("TETHERD_AUTH_SECRET", "ts")]), "");
    }
}
