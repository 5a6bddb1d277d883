//! The registry of the sources of auth keys: makes the right one for the settings.
//!
//! A new source that is named by one setting, such as `auth_secret`, has a file of its own here, an arm in
//! [`stored_secret_source`], and its setting in `config/table.rs`, marked by `names_secret`. `aws_config`, `credential_process`,
//! `headscale`, `platform_token` and `tailscale_api` are no sources; they are what sources ask.

pub(crate) mod aws_config;
pub(crate) mod credential_process;
pub(crate) mod headscale;
pub(crate) mod oauth;
pub(crate) mod platform_token;
pub(crate) mod secrets_manager;
pub(crate) mod tailscale_api;
pub(crate) mod text;
pub(crate) mod workload_identity;

use std::sync::Arc;

use crate::auth_keys::context::KeyContext;
use crate::auth_keys::https::Https;
use crate::auth_keys::key_source::KeySource;
use crate::auth_keys::sources::aws_config::AwsConfig;
use crate::auth_keys::sources::oauth::OAuthClient;
use crate::auth_keys::sources::platform_token::PlatformToken;
use crate::auth_keys::sources::secrets_manager::SecretsManager;
use crate::auth_keys::sources::tailscale_api::TailscaleApi;
use crate::auth_keys::sources::text::TextSource;
use crate::auth_keys::sources::workload_identity::WorkloadIdentity;
use crate::config::sections::auth::{AuthSource, StoredSecret};

/// Makes the source of auth keys that the settings name.
pub fn key_source(source: AuthSource, context: &KeyContext<'_>, https: &Https) -> Arc<dyn KeySource> {
    match source {
        AuthSource::Key(text) => Arc::new(TextSource::new(text)),
        AuthSource::Stored(secret) => stored_secret_source(secret, context, https),
        AuthSource::Client { id, secret } => Arc::new(OAuthClient::new(id, secret, TailscaleApi::new(context, https))),
        AuthSource::Identity { client, token } => {
            let platform = PlatformToken::new(context.environment, AwsConfig::new(context, https));
            Arc::new(WorkloadIdentity { client, token, platform, api: TailscaleApi::new(context, https) })
        }
    }
}

/// Makes the source that reads a secret of a service, by the setting that names the secret.
fn stored_secret_source(secret: StoredSecret, context: &KeyContext<'_>, https: &Https) -> Arc<dyn KeySource> {
    match secret.setting {
        secrets_manager::SETTING => Arc::new(SecretsManager::new(secret, AwsConfig::new(context, https))),
        setting => unreachable!("{setting} names a secret in the table of keys, but no source of auth keys reads it"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::table::KEYS;
    use crate::environment::Environment;
    use crate::secret::redactor::Redactor;

    #[test]
    fn every_setting_that_names_a_secret_has_a_source() {
        let environment = Environment::new();
        let context = KeyContext {
            environment: &environment,
            ca_file: None,
            ca_directory: None,
            api_url: "",
            tailnet: "-",
            control_url: None,
            tags: Vec::new(),
            imds: false,
            redactor: Redactor::default(),
        };
        let https = Https::new(&context);
        for key in KEYS.iter().filter(|key| key.names_secret.is_some()) {
            let secret = StoredSecret { setting: key.name, id: "x".into(), options: BTreeMap::new() };
            let source = key_source(AuthSource::Stored(secret), &context, &https);
            assert_eq!(source.origin(), format!("{} x", key.name));
        }
    }
}
