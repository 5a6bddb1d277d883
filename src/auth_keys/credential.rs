//! What a text is, by its form: a key to join with, or a credential to make one from, with the suffixes that
//! Tailscale's own client knows: `tskey-client-…?ephemeral=false&preauthorized=true`.

use crate::auth_keys::error::KeyError;
use crate::config::types::Value;
use crate::config::types::address::ControlUrl;
use crate::secret::Secret;
use crate::secret::redactor::{CLIENT_SECRET_PREFIX, HEADSCALE_API_KEY_PREFIX};

/// What a secret is for.
pub enum CredentialKind {
    AuthKey,
    /// Of an OAuth client.
    ClientSecret(Credential),
    /// Of Headscale.
    HeadscaleApiKey(Credential),
    /// Of Tailscale: a person's own, which nothing here needs.
    TailscaleApiKey,
}

/// A credential, and what the key made from it is to be.
pub struct Credential {
    pub secret: Secret,
    pub wanted: Wanted,
}

/// What a key that is made here allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub ephemeral: bool,
    pub preauthorized: bool,
    pub api_url: Option<String>,
}

impl CredentialKind {
    pub fn of(secret: &Secret) -> Result<Self, KeyError> {
        let text = secret.expose();
        Ok(if text.starts_with(CLIENT_SECRET_PREFIX) {
            Self::ClientSecret(credential(text)?)
        } else if text.starts_with(HEADSCALE_API_KEY_PREFIX) {
            Self::HeadscaleApiKey(credential(text)?)
        } else if text.starts_with("tskey-api-") {
            Self::TailscaleApiKey
        } else {
            Self::AuthKey
        })
    }
}

/// Takes the suffixes off.
pub fn credential(text: &str) -> Result<Credential, KeyError> {
    let (secret, suffixes) = text.split_once('?').unwrap_or((text, ""));
    let mut wanted = Wanted { ephemeral: true, preauthorized: true, api_url: None };
    for suffix in suffixes.split('&').filter(|suffix| !suffix.is_empty()) {
        let (name, value) = suffix.split_once('=').unwrap_or((suffix, ""));
        let fault = |problem| Err(KeyError::Misconfigured(format!("the suffix {name} of the secret {problem}")));
        match (name, bool::parse(value)) {
            ("ephemeral", Some(value)) => wanted.ephemeral = value,
            ("preauthorized", Some(value)) => wanted.preauthorized = value,
            ("ephemeral" | "preauthorized", None) => return fault("is neither true nor false"),
            ("baseURL", _) => match ControlUrl::parse(value) {
                Some(url) => wanted.api_url = Some(url.0),
                None => return fault("is no address"),
            },
            _ => {
                let text = "the secret has a suffix that is not known: there are ephemeral, preauthorized and baseURL";
                return Err(KeyError::Misconfigured(text.into()));
            }
        }
    }
    Ok(Credential { secret: Secret::new(secret), wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Wanted {
        credential(text).map_err(|fault| fault.to_string()).expect("is right").wanted
    }

    #[test]
    fn suffixes_say_what_the_key_is_to_be() {
        assert_eq!(
            wanted("tskey-client-a-b"),
            Wanted { ephemeral: true, preauthorized: true, api_url: None },
            "unless told otherwise"
        );
        let given = wanted("tskey-client-a-b?ephemeral=false&preauthorized=0&baseURL=https://api.example/");
        assert!(!given.ephemeral && !given.preauthorized);
        assert_eq!(given.api_url.as_deref(), Some("https://api.example"));
        assert_eq!(credential("tskey-client-a-b?ephemeral=1").expect("is right").secret.expose(), "tskey-client-a-b");
        for text in ["s?ephemeral=maybe", "s?hidden=1", "s?baseURL=nowhere"] {
            let fault = credential(text).err().expect(text).to_string();
            assert!(fault.contains("suffix") && !fault.contains("hidden"), "{fault}");
        }
    }

    #[test]
    fn the_form_tells_what_a_secret_is() {
        let kind = |text| CredentialKind::of(&Secret::new(text)).expect("is right");
        assert!(matches!(kind("tskey-auth-a-b"), CredentialKind::AuthKey));
        assert!(matches!(kind("hskey-auth-a-b"), CredentialKind::AuthKey));
        assert!(matches!(kind("0123456789abcdef"), CredentialKind::AuthKey));
        assert!(matches!(kind("tskey-client-a-b"), CredentialKind::ClientSecret(_)));
        assert!(matches!(kind("hskey-api-a-b"), CredentialKind::HeadscaleApiKey(_)));
        assert!(matches!(kind("tskey-api-a-b"), CredentialKind::TailscaleApiKey));
    }
}
