//! Where the auth key comes from: the settings that say so, of which one source may be given, and its type.

use std::fmt;
use std::net::IpAddr;

use crate::config::origin::NOT_SET;
use crate::config::reader::Reader;
use crate::config::types::address::ControlUrl;
use crate::secret::SecretSource;
use crate::secret::redactor::{CLIENT_SECRET_PREFIX, HEADSCALE_API_KEY_PREFIX, looks_like_a_key};

/// The field of a JSON secret that holds the key, unless another is named.
pub const DEFAULT_FIELD: &str = "key";

/// The label of the version of a secret that is in use.
pub const CURRENT: &str = "AWSCURRENT";

/// One source of auth keys.
#[derive(Clone, Debug)]
pub enum AuthSource {
    /// An auth key, an OAuth client's secret or a Headscale API key.
    Key(SecretSource),
    /// Any of these in AWS Secrets Manager.
    Stored(StoredSecret),
    Client {
        id: Option<String>,
        secret: SecretSource,
    },
    Identity {
        client: String,
        token: IdentityToken,
    },
}

/// A secret of AWS Secrets Manager.
#[derive(Clone, Debug)]
pub struct StoredSecret {
    /// Name or ARN.
    pub id: String,
    pub field: String,
    pub stage: String,
}

/// What proves the workload's identity.
#[derive(Clone, Debug)]
pub enum IdentityToken {
    Given(SecretSource),
    /// From the platform, for this audience.
    For(String),
}

impl AuthSource {
    /// Whether it takes a network to get a key, as things are now: a file may hold another kind of key later.
    pub fn needs_network(&self) -> bool {
        match self {
            Self::Key(source) => {
                let prefixes = [CLIENT_SECRET_PREFIX, HEADSCALE_API_KEY_PREFIX];
                source.read().is_ok_and(|secret| prefixes.iter().any(|prefix| secret.expose().starts_with(prefix)))
            }
            Self::Stored(_) | Self::Client { .. } | Self::Identity { .. } => true,
        }
    }
}

impl fmt::Display for AuthSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => f.write_str("auth_key"),
            Self::Stored(stored) => write!(f, "auth_secret {}", stored.id),
            Self::Client { .. } => f.write_str("oauth_client_secret"),
            Self::Identity { .. } => f.write_str("oauth_client_id"),
        }
    }
}

impl Reader {
    /// The one source that is given.
    pub fn auth(&mut self, has_tags: bool) -> Option<AuthSource> {
        let key = self.secret("auth_key");
        let stored = self.stored();
        let id: Option<String> = self.value("oauth_client_id");
        let client = self.secret("oauth_client_secret");
        let token = self.secret("id_token").map(IdentityToken::Given);
        let audience = self.value("id_token_audience").map(IdentityToken::For);
        self.one_of(&[&["auth_key", "auth_key_file"], &["auth_secret"], &["oauth_client_id", "oauth_client_secret"]]);
        self.one_of(&[
            &["oauth_client_secret", "oauth_client_secret_file"],
            &["id_token", "id_token_file"],
            &["id_token_audience"],
        ]);
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

    /// Credentials go there: in the clear on this machine alone.
    pub fn api_url(&mut self) -> ControlUrl {
        let url = self.value("api_url").unwrap_or_else(|| ControlUrl(String::new()));
        let host =
            url.0.strip_prefix("http://").and_then(|_| url.0.parse::<hyper::Uri>().ok()?.host().map(str::to_owned));
        let is_loopback = |host: &str| {
            let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
            host == "localhost" || address.is_some_and(|address| address.is_loopback())
        };
        if host.is_some_and(|host| !is_loopback(&host)) {
            self.fault_at("api_url", "would send credentials in the clear: use https://");
        }
        url
    }

    fn stored(&mut self) -> Option<StoredSecret> {
        let field = self.value("auth_secret_field").unwrap_or_else(|| DEFAULT_FIELD.to_owned());
        let stage = self.value("auth_secret_stage").unwrap_or_else(|| CURRENT.to_owned());
        let id: String = self.value("auth_secret")?;
        if looks_like_a_key(&id) {
            self.fault_at("auth_secret", "names a secret of AWS Secrets Manager, but is a key: give it as auth_key");
        }
        Some(StoredSecret { id, field, stage })
    }

    /// Notes a fault when two of these groups are given.
    fn one_of(&mut self, groups: &[&[&'static str]]) {
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

    fn is_given(&self, name: &str) -> bool {
        let origin = self.origin(name);
        !origin.is_empty() && origin != NOT_SET
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;
    use crate::environment::environment;

    fn fault(pairs: &[(&str, &str)]) -> Option<String> {
        load(&environment(pairs), None, &vec![]).settings.err().map(|faults| faults.to_string())
    }

    #[test]
    fn credentials_never_go_in_the_clear_over_a_network() {
        assert!(fault(&[("TETHERD_API_URL", "http://api.example")]).is_some_and(|text| text.contains("https://")));
        for url in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "https://api.example"] {
            assert_eq!(fault(&[("TETHERD_API_URL", url)]), None, "{url}");
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
