//! Auth keys: each time a login is needed, a fresh one is fetched from its source.
//!
//! A source gives an auth key, or a credential that one is made from: an OAuth client's secret or Headscale's API key.

pub(crate) mod context;
pub(crate) mod credential;
pub(crate) mod error;
pub(crate) mod expiry;
pub(crate) mod fetched;
pub(crate) mod https;
pub(crate) mod key_source;
pub(crate) mod sources;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::auth_keys::context::KeyContext;
use crate::auth_keys::credential::CredentialKind;
use crate::auth_keys::error::KeyError;
use crate::auth_keys::expiry::KeyExpiry;
use crate::auth_keys::fetched::Fetched;
use crate::auth_keys::https::Https;
use crate::auth_keys::key_source::KeySource;
use crate::auth_keys::sources::headscale::Headscale;
use crate::auth_keys::sources::tailscale_api::TailscaleApi;
use crate::auth_keys::sources::{key_source, platform_token};
use crate::config::sections::auth::AuthSource;
use crate::config::written::slip_in_key;
use crate::secret::Secret;
use crate::secret::redactor::Redactor;
use crate::sync::IgnorePoison;
use crate::text::printable;

/// A fetch in a task of its own.
type FetchTask = JoinHandle<Result<Secret, KeyError>>;

/// Fetches auth keys from the source that the settings name. Cheap to clone; clones share the key that was fetched
/// early.
#[derive(Clone)]
pub struct AuthKeys {
    source: Arc<dyn KeySource>,
    https: Https,
    tailscale: TailscaleApi,
    headscale: Headscale,
    redactor: Redactor,
    expiry: KeyExpiry,
    /// Whether a fetch needs the network, as far as could be told at the start.
    needs_network: bool,
    /// Whether the latest auth key was made by this daemon, with the node's tags.
    carries_tags: Arc<AtomicBool>,
    /// Time at which the latest key can no longer be used, if it was made for one login.
    ends: Arc<Mutex<Option<Instant>>>,
    /// The fetch that [`Self::begin`] started, until [`Self::fresh`] takes it.
    early: Arc<Mutex<Option<FetchTask>>>,
}

impl AuthKeys {
    pub fn new(source: AuthSource, context: KeyContext<'_>) -> Self {
        let https = Https::new(&context);
        platform_token::learn_request_token(context.environment, &context.redactor);
        let source = key_source(source, &context, &https);
        Self {
            needs_network: source.needs_network(),
            carries_tags: Arc::new(source.carries_tags().into()),
            source,
            tailscale: TailscaleApi::new(&context, &https),
            headscale: Headscale::new(&context, &https),
            https,
            redactor: context.redactor,
            expiry: KeyExpiry::default(),
            ends: Arc::default(),
            early: Arc::default(),
        }
    }

    /// Begins to fetch a key for the next [`Self::fresh`], where that needs the network. Must be called inside the
    /// event loop.
    pub fn begin(&self) {
        if self.needs_network {
            let keys = self.clone();
            *self.early() = Some(tokio::spawn(async move { keys.fetch().await }));
        }
    }

    /// Returns an auth key for a login now: the one of [`Self::begin`] if it has not been taken, otherwise a new one.
    pub async fn fresh(&self) -> Result<Secret, KeyError> {
        let early = self.early().take();
        match early {
            // A task that panicked or was cancelled has no key.
            Some(task) => match task.await {
                Ok(result) => result,
                Err(_) => self.fetch().await,
            },
            None => self.fetch().await,
        }
    }

    /// Name of the source for people, such as `auth_secret tailscale/key`.
    pub fn origin(&self) -> String {
        self.source.origin()
    }

    /// Whether fetching a key needs the network, and so takes time.
    pub fn is_remote(&self) -> bool {
        self.needs_network
    }

    /// Whether the latest key was made with the node's tags.
    pub fn carry_tags(&self) -> bool {
        self.carries_tags.load(Ordering::Relaxed)
    }

    /// Time at which the latest key can no longer be used; `None` unless it was made for one login.
    pub fn ends(&self) -> Option<Instant> {
        *self.ends.lock().ignore_poison()
    }

    /// Expiry of the latest key, shared with later fetches.
    pub fn expiry(&self) -> KeyExpiry {
        self.expiry.clone()
    }

    async fn fetch(&self) -> Result<Secret, KeyError> {
        let begun = Instant::now();
        // A file of certificates may have been replaced. Between logins they would be memory for nothing.
        self.https.forget_certificates();
        let fetched = self.fetch_key().await;
        self.https.forget_certificates();
        let key = fetched.map_err(|failure| failure.map(|text| printable(&self.redactor.redact(text))))?;
        self.redactor.learn(&key.secret);
        self.expiry.set(key.expires);
        *self.ends.lock().ignore_poison() = key.valid_for.map(|valid| begun + valid);
        tracing::debug!(origin = self.origin(), ms = begun.elapsed().as_millis(), "auth key in hand");
        Ok(key.secret)
    }

    async fn fetch_key(&self) -> Result<Fetched, KeyError> {
        let fetched = self.source.fetch().await?;
        if let Some(slip) = slip_in_key(fetched.secret.expose()) {
            return Err(KeyError::Misconfigured(format!("the key of {} {slip}", self.origin())));
        }
        if fetched.is_made() { Ok(fetched) } else { self.key_from(fetched).await }
    }

    /// Returns what was fetched if it is an auth key, or makes one if it is a credential.
    async fn key_from(&self, fetched: Fetched) -> Result<Fetched, KeyError> {
        let kind = CredentialKind::of(&fetched.secret)?;
        let is_credential = matches!(kind, CredentialKind::ClientSecret(_) | CredentialKind::HeadscaleApiKey(_));
        self.carries_tags.store(is_credential, Ordering::Relaxed);
        match kind {
            CredentialKind::AuthKey => Ok(fetched),
            CredentialKind::ClientSecret(credential) => self.tailscale.key_by_client(None, credential).await,
            CredentialKind::HeadscaleApiKey(credential) => self.headscale.create_key(credential).await,
            CredentialKind::TailscaleApiKey => Err(KeyError::Misconfigured(
                "the secret is a person's API key, which can do far more than join: create an auth key, or an OAuth \
                 client with the scope auth_keys, and put its secret there"
                    .into(),
            )),
        }
    }

    fn early(&self) -> MutexGuard<'_, Option<FetchTask>> {
        self.early.lock().ignore_poison()
    }
}
