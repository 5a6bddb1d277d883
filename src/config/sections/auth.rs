//! Settings of the source of auth keys, of which only one may be given.

use std::collections::BTreeMap;

use crate::config::origin::NOT_SET;
use crate::config::reader::Reader;
use crate::config::table::{KEYS, Key};
use crate::config::types::address::ControlUrl;
use crate::secret::SecretSource;
use crate::secret::redactor::looks_like_a_key;

/// Settings of one source of auth keys.
#[derive(Clone, Debug)]
pub enum AuthSource {
    /// An auth key, an OAuth client's secret or a Headscale API key, as a text or a file.
    Key(SecretSource),
    /// An auth key or one of these credentials in a service that keeps secrets.
    Stored(StoredSecret),
    /// An OAuth client of Tailscale; its id may be left out.
    Client { id: Option<String>, secret: SecretSource },
    /// A federated identity of Tailscale, by its id, with a token that proves the workload's identity.
    Identity { client: String, token: IdentityToken },
}

/// A secret that a service keeps, as the settings name it.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// The setting that names the secret, such as `auth_secret`.
    pub setting: &'static str,
    /// Name of the secret in the service, such as an ARN.
    pub id: String,
    /// Values of the settings that begin with `setting`, by the rest of their name: `field` for `auth_secret_field`.
    pub options: BTreeMap<&'static str, String>,
}

/// A token that proves the workload's identity.
#[derive(Clone, Debug)]
pub enum IdentityToken {
    /// A token in the settings or in a file.
    Given(SecretSource),
    /// A token that the platform issues for this audience.
    For(String),
}

impl Reader {
    /// Reads the source of auth keys. A fault is noted when several are given, or when one lacks a setting that it
    /// needs.
    pub fn auth(&mut self, has_tags: bool) -> Option<AuthSource> {
        let key = self.secret("auth_key");
        let stored = self.stored_secret();
        let id: Option<String> = self.value("oauth_client_id");
        let client = self.secret("oauth_client_secret");
        let token = self.secret("id_token").map(IdentityToken::Given);
        let audience = self.value("id_token_audience").map(IdentityToken::For);
        self.only_one_source();
        let of_api = client.is_some() || id.is_some();
        if of_api && !has_tags {
            let given = if id.is_some() { "oauth_client_id" } else { "oauth_client_secret" };
            self.fault_at(given, "needs tags beside it, such as tag:web: keys made by the API must be tagged");
        }
        let token = token.or(audience);
        if token.is_some() && id.is_none() {
            let given = ["id_token", "id_token_file", "id_token_audience"].into_iter().find(|name| self.is_given(name));
            self.fault_at(given.unwrap_or("id_token_file"), "needs oauth_client_id beside it");
        }
        match (key, stored, client, id, token) {
            (Some(source), ..) => Some(AuthSource::Key(source)),
            (_, Some(stored), ..) => Some(AuthSource::Stored(stored)),
            (_, _, Some(secret), id, _) => Some(AuthSource::Client { id, secret }),
            (_, _, _, Some(client), Some(token)) => Some(AuthSource::Identity { client, token }),
            (_, _, None, Some(_), None) => {
                let missing = "needs oauth_client_secret, id_token_file or id_token_audience beside it";
                self.fault_at("oauth_client_id", missing);
                None
            }
            (_, _, _, None, _) => None,
        }
    }

    /// Reads the address of Tailscale's API. Credentials are sent there, so `http://` is a fault unless it is loopback.
    pub fn api_url(&mut self) -> ControlUrl {
        let Some(url) = self.value::<ControlUrl>("api_url") else { return ControlUrl(String::new()) };
        if url.is_in_the_clear() {
            self.fault_at("api_url", "would send credentials in the clear: use https://");
        }
        url
    }

    /// Reads every setting that names a secret, and its options. Returns the first that is given.
    fn stored_secret(&mut self) -> Option<StoredSecret> {
        let mut first = None;
        for key in naming_secrets() {
            let options =
                options_of(key).filter_map(|option| Some((option.suffix, self.value(option.name)?))).collect();
            let Some(id) = self.value::<String>(key.name) else { continue };
            if looks_like_a_key(&id) {
                let kind = key.names_secret.unwrap_or_default();
                self.fault_at(key.name, format!("names {kind}, but is a key: give it as auth_key"));
            }
            first = first.or(Some(StoredSecret { setting: key.name, id, options }));
        }
        first
    }

    /// Notes a fault when settings of several sources are given, or of several tokens for one.
    fn only_one_source(&mut self) {
        let stored: Vec<[&'static str; 1]> = naming_secrets().map(|key| [key.name]).collect();
        let mut sources: Vec<&[&'static str]> = vec![&["auth_key", "auth_key_file"]];
        sources.extend(stored.iter().map(|group| &group[..]));
        sources.push(&["oauth_client_id", "oauth_client_secret", "oauth_client_secret_file"]);
        self.only_one_of(&sources);
        self.only_one_of(&[
            &["oauth_client_secret", "oauth_client_secret_file"],
            &["id_token", "id_token_file"],
            &["id_token_audience"],
        ]);
    }

    /// Notes a fault when settings of two of these groups are given.
    fn only_one_of(&mut self, groups: &[&[&'static str]]) {
        let given = groups.iter().filter_map(|group| group.iter().copied().find(|name| self.is_given(name)));
        let given: Vec<&'static str> = given.collect();
        if let [first, others @ ..] = given.as_slice()
            && !others.is_empty()
        {
            let named = others.iter().map(|name| format!("{name} (from {})", self.origin(name)));
            let problem = format!("is given together with {}: give only one", named.collect::<Vec<_>>().join(" and "));
            self.fault_at(first, problem);
        }
    }

    /// Whether a setting has a value.
    pub fn is_given(&self, name: &str) -> bool {
        let origin = self.origin(name);
        !origin.is_empty() && origin != NOT_SET
    }
}

/// A setting that is an option of one that names a secret.
struct SecretOption {
    /// The whole name, such as `auth_secret_field`.
    name: &'static str,
    /// The rest of the name, such as `field`.
    suffix: &'static str,
}

/// Settings that name a secret which holds the auth key.
fn naming_secrets() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.names_secret.is_some())
}

/// Options of a setting that names a secret: the plain settings whose names begin with its own.
fn options_of(key: &Key) -> impl Iterator<Item = SecretOption> {
    KEYS.iter().filter(|option| !option.secret && option.names_secret.is_none()).filter_map(|option| {
        let suffix = option.name.strip_prefix(key.name)?.strip_prefix('_')?;
        Some(SecretOption { name: option.name, suffix })
    })
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::environment::environment;

    fn fault(pairs: &[(&str, &str)]) -> Option<String> {
        load(&environment(pairs), None, &vec![]).settings.err().map(|faults| faults.to_string())
    }

    #[test]
    fn two_sources_are_named_whichever_setting_gives_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        std::fs::write(&file, "tskey-client-a-b").expect("written");
        let file = file.to_str().expect("UTF-8");
        let sources: [&[(&str, &str)]; 3] = [
            &[("TETHERD_AUTH_KEY", "tskey-auth-a-b"), ("TETHERD_AUTH_KEY_FILE", file)],
            &[("TETHERD_AUTH_SECRET", "ts")],
            &[
                ("TETHERD_OAUTH_CLIENT_SECRET", "tskey-client-a-b"),
                ("TETHERD_OAUTH_CLIENT_SECRET_FILE", file),
                ("TETHERD_OAUTH_CLIENT_ID", "a"),
            ],
        ];
        for (place, ones) in sources.iter().enumerate() {
            for (one, other) in
                ones.iter().flat_map(|one| sources[place + 1..].concat().into_iter().map(move |other| (one, other)))
            {
                let text = fault(&[*one, other, ("TETHERD_TAGS", "tag:web")]).unwrap_or_default();
                assert!(
                    text.contains(one.0) && text.contains(other.0) && text.contains("give only one"),
                    "{one:?} {other:?}: {text}"
                );
            }
        }
    }

    #[test]
    fn names_of_lambda_samples_and_of_tailscales_image_are_sources() {
        for pairs in [
            &[("SECRET_NAME", "ts")][..],
            &[("TS_SECRET_API_KEY", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ts")],
            &[("TS_CLIENT_SECRET", "tskey-client-a-b"), ("TETHERD_TAGS", "tag:web")],
            &[("TS_CLIENT_ID", "a"), ("TS_AUDIENCE", "b"), ("TS_EXTRA_ARGS", "--advertise-tags=tag:web")],
        ] {
            assert_eq!(fault(pairs), None, "{pairs:?}");
        }
    }
}
