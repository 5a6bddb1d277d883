//! Auth keys from where they are kept: each time a login is needed the source is asked for a fresh one. Sources are a
//! text or file, AWS Secrets Manager, an OAuth client, a federated identity and Headscale's API.

pub(crate) mod credential;
pub(crate) mod error;
pub(crate) mod expiry;
pub(crate) mod https;
pub(crate) mod sources;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::auth_keys::credential::{CredentialKind, credential};
use crate::auth_keys::error::KeyError;
use crate::auth_keys::expiry::{KeyExpiry, expiry_of};
use crate::auth_keys::https::Https;
use crate::auth_keys::sources::aws_config::AwsConfig;
use crate::auth_keys::sources::headscale::Headscale;
use crate::auth_keys::sources::oauth::{KEY_SECONDS, TailscaleApi};
use crate::auth_keys::sources::platform_token::PlatformToken;
use crate::auth_keys::sources::secrets_manager;
use crate::config::sections::auth::{AuthSource, IdentityToken};
use crate::environment::Environment;
use crate::secret::redactor::Redactor;
use crate::secret::{Secret, SecretSource};

/// A secret, and when it stops working where that is known.
pub struct Fetched {
    pub secret: Secret,
    pub expires: Option<SystemTime>,
    /// How long it can be used, where it was made for this one login.
    pub lasts: Option<Duration>,
}

impl Fetched {
    /// A key that is kept somewhere.
    fn kept(secret: Secret, expires: Option<SystemTime>) -> Self {
        Self { secret, expires, lasts: None }
    }

    /// One made for one login, soon: its expiry concerns nobody else. `times` are when it was made and when it expires, both
    /// by the clock of its maker; what was asked for counts where it says nothing of them.
    fn made(secret: Secret, times: [Option<&str>; 2]) -> Self {
        let [made, ends] = times.map(|text| text.and_then(expiry_of));
        let said = made.zip(ends).and_then(|(made, ends)| ends.duration_since(made).ok());
        let asked = Duration::from_secs(KEY_SECONDS);
        Self { secret, expires: None, lasts: Some(said.unwrap_or(asked).min(asked)) }
    }
}

/// What fetching needs to know beside the source.
pub struct KeyContext<'a> {
    pub environment: &'a Environment,
    pub ca_file: Option<&'a Path>,
    /// A directory of more roots, that of the place.
    pub more_roots: Option<&'a Path>,
    pub api_url: &'a str,
    pub tailnet: &'a str,
    pub control_url: Option<&'a str>,
    pub tags: Vec<String>,
    /// Whether AWS's instance metadata may be asked.
    pub imds: bool,
    pub redactor: Redactor,
}

/// A fetch under way.
type Fetching = JoinHandle<Result<Secret, KeyError>>;

/// Where auth keys come from. Cheap to clone; clones share the one that was fetched ahead.
#[derive(Clone)]
pub struct AuthKeys {
    source: Arc<AuthSource>,
    redactor: Redactor,
    expiry: KeyExpiry,
    /// It takes a network to get one, as far as can be told at the start.
    is_remote: bool,
    remote: Remote,
    /// The latest key was made here, with the tags.
    tagged: Arc<AtomicBool>,
    /// When the latest key ends, if it was made here.
    ends: Arc<Mutex<Option<Instant>>>,
    ahead: Arc<Mutex<Option<Fetching>>>,
}

/// What is asked over a network.
#[derive(Clone)]
struct Remote {
    aws: AwsConfig,
    api: TailscaleApi,
    headscale: Headscale,
    platform: PlatformToken,
}

impl AuthKeys {
    pub fn new(source: AuthSource, surroundings: KeyContext<'_>) -> Self {
        let redactor = surroundings.redactor.clone();
        let tagged = matches!(source, AuthSource::Client { .. } | AuthSource::Identity { .. });
        Self {
            is_remote: source.needs_network(),
            source: Arc::new(source),
            redactor,
            expiry: KeyExpiry::default(),
            remote: Remote::new(surroundings),
            tagged: Arc::new(tagged.into()),
            ends: Arc::default(),
            ahead: Arc::default(),
        }
    }

    /// Begins to fetch a key now, for the next [`Self::fresh`]. To be called inside the event loop.
    pub fn begin(&self) {
        if self.is_remote {
            let keys = self.clone();
            *self.ahead() = Some(tokio::spawn(async move { keys.fetch().await }));
        }
    }

    /// An auth key to join with now.
    pub async fn fresh(&self) -> Result<Secret, KeyError> {
        let ahead = self.ahead().take();
        match ahead {
            // A task that panicked or was cancelled has no key.
            Some(task) => match task.await {
                Ok(result) => result,
                Err(_) => self.fetch().await,
            },
            None => self.fetch().await,
        }
    }

    /// Where the key comes from, for a person.
    pub fn origin(&self) -> String {
        self.source.to_string()
    }

    /// Whether it takes time to get one.
    pub fn is_remote(&self) -> bool {
        self.is_remote
    }

    /// Whether keys from here bring the node's tags with them.
    pub fn carry_tags(&self) -> bool {
        self.tagged.load(Ordering::Relaxed)
    }

    /// When the latest key can no longer be used, where it was made for one login.
    pub fn ends(&self) -> Option<Instant> {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn expiry(&self) -> KeyExpiry {
        self.expiry.clone()
    }

    async fn fetch(&self) -> Result<Secret, KeyError> {
        let begun = Instant::now();
        let key = self.get().await.map_err(|failure| failure.map(|text| self.redactor.redact(text)))?;
        self.redactor.learn(&key.secret);
        self.expiry.set(key.expires);
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = key.lasts.map(|lasts| begun + lasts);
        tracing::debug!(origin = self.origin(), ms = begun.elapsed().as_millis(), "auth key in hand");
        Ok(key.secret)
    }

    async fn get(&self) -> Result<Fetched, KeyError> {
        let remote = &self.remote;
        match &*self.source {
            AuthSource::Key(source) => self.resolve(read("the auth key", source)?).await,
            AuthSource::Stored(stored) => {
                let fetched = secrets_manager::fetch(&remote.aws, stored).await?;
                self.redactor.learn(&fetched.secret);
                self.resolve(fetched).await
            }
            AuthSource::Client { id, secret } => {
                let secret = read("oauth_client_secret", secret)?.secret;
                self.redactor.learn(&secret);
                remote.api.by_client(id.as_deref(), credential(secret.expose())?).await
            }
            AuthSource::Identity { client, token } => {
                let token = match token {
                    IdentityToken::Given(source) => read("the identity token", source)?.secret,
                    IdentityToken::For(audience) => remote.platform.get(audience).await?,
                };
                remote.api.by_identity(credential(client)?, &token).await
            }
        }
    }

    /// A key to join with, made where what was fetched is a credential to make one from.
    async fn resolve(&self, fetched: Fetched) -> Result<Fetched, KeyError> {
        let kind = CredentialKind::of(&fetched.secret)?;
        self.tagged.store(
            matches!(kind, CredentialKind::ClientSecret(_) | CredentialKind::HeadscaleApiKey(_)),
            Ordering::Relaxed,
        );
        match kind {
            CredentialKind::AuthKey => Ok(fetched),
            CredentialKind::ClientSecret(credential) => self.remote.api.by_client(None, credential).await,
            CredentialKind::HeadscaleApiKey(credential) => self.remote.headscale.create_key(credential).await,
            CredentialKind::TailscaleApiKey => Err(KeyError::Misconfigured(
                "the secret is a person's API key, which can do far more than join: create an auth key, or an OAuth \
                 client with the scope auth_keys, and put its secret there"
                    .into(),
            )),
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Option<Fetching>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remote {
    fn new(surroundings: KeyContext<'_>) -> Self {
        let KeyContext { environment, tags, redactor, .. } = surroundings;
        let https = Https::new(surroundings.ca_file, surroundings.more_roots, environment);
        let aws = AwsConfig { https: https.clone(), imds: surroundings.imds, redactor: redactor.clone() };
        let api = TailscaleApi {
            https: https.clone(),
            url: surroundings.api_url.to_owned(),
            tailnet: surroundings.tailnet.to_owned(),
            tags: tags.clone(),
            redactor: redactor.clone(),
        };
        let url = surroundings.control_url.map(str::to_owned);
        let headscale = Headscale { https, url, tags, redactor };
        let platform = PlatformToken::new(environment, aws.clone());
        Self { aws, api, headscale, platform }
    }
}

/// A file that is gone or empty for a while may be about to be replaced.
fn read(what: &str, source: &SecretSource) -> Result<Fetched, KeyError> {
    let secret = source.read().map_err(|error| KeyError::Passing(format!("{what} {error}")))?;
    Ok(Fetched::kept(secret, None))
}
