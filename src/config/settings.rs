//! The typed settings: everything that the daemon can be told.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::origin::Origin;
use crate::config::reader::Reader;
use crate::config::sections::auth::AuthSource;
use crate::config::sections::dns::DnsSettings;
use crate::config::sections::node::{NodeSettings, SocketSetting};
use crate::config::types::Words;
use crate::config::types::address::{ControlUrl, Forward, Listen};
use crate::config::types::enums::{
    AccessLog, AllProxy, Direct, LocalTargetSetting, LogFormat, LogLevel, LogoutSetting, OnFailure,
};
use crate::config::types::implied::Implied;
use crate::config::types::local_targets::LocalTargets;
use crate::config::types::node_label::NodeLabel;
use crate::config::types::rule::Rule;
use crate::config::types::units::{Limit, Memory};
use crate::net::server_tls::TlsFiles;
use crate::secret::Secret;
use crate::target::host::Target;

/// User and password that clients of the proxy must give.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

impl Credentials {
    /// Whether `user` and `password` are these; takes a time that does not tell which of the two differs.
    pub fn accept(&self, user: &str, password: &str) -> bool {
        let user = Secret::new(self.user.as_str()).matches(user);
        user & self.password.matches(password)
    }
}

/// Longest silence of a connection once one of its sides has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfCloseTimeout {
    /// Limit with a tailscaled that carries the end of each direction through.
    pub carried: Duration,
    /// Limit with a tailscaled that does not, where it cannot be told whether a client that has ended still waits for a
    /// response. What the user sets counts for both.
    pub held: Duration,
}

impl HalfCloseTimeout {
    /// Default of `held`.
    const HELD: Duration = Duration::from_secs(5);
}

/// Longest silence of a connection in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeout {
    /// Limit of clients on this machine.
    pub local: Option<Duration>,
    /// Limit of clients that come by a listener which other machines reach. What the user sets counts for both.
    pub network: Option<Duration>,
}

impl IdleTimeout {
    /// Default of `network`.
    const NETWORK: Duration = Duration::from_secs(3600);
}

/// Fault of settings in Lambda that are for others who connect.
const NOTHING_SERVED_IN_LAMBDA: &str = "is not for Lambda, where nobody can connect to a function that is frozen: the layer's tailscaled has no part for it; leave it out, or give another tailscaled by tailscaled_path";

/// Warning of `log_upload` in Lambda.
const NOTHING_UPLOADED_IN_LAMBDA: &str = "does nothing in Lambda: the layer's tailscaled has no part for it, and uploads neither logs nor network flow logs; give another one by tailscaled_path";

/// Tailscale's image takes the key out of a Secret by the cluster's API.
const NO_KEY_IN_KUBERNETES: &str = "there is no key, and nobody who opens the address of a login: give the auth key of a Secret as TS_AUTHKEY by \
    valueFrom.secretKeyRef, or another source of keys";

/// Everything that the daemon can be told. Each field has the name of its setting, or says where it comes from.
#[derive(Clone, Debug)]
pub struct Settings {
    pub auth: Option<AuthSource>,
    /// Address of Tailscale's API.
    pub api_url: ControlUrl,
    pub tailnet: String,
    pub control_url: Option<ControlUrl>,
    pub ca_file: Option<PathBuf>,
    /// Directory of the platform with more CA certificates.
    pub platform_ca_dir: Option<PathBuf>,
    pub hostname: Option<NodeLabel>,
    pub node: NodeSettings,
    pub socks_listen: Vec<Listen>,
    pub socks_credentials: Option<Credentials>,
    /// Path of the file of users.
    pub users: Option<PathBuf>,
    /// From `socks_tls_cert`, `socks_tls_key` and `socks_client_ca`.
    pub socks_tls: Option<TlsFiles>,
    /// Listeners of `socks_listen` and `forwards` with a balancer in front that speaks the PROXY protocol.
    pub proxy_protocol: Vec<Listen>,
    pub dns: DnsSettings,
    pub udp: bool,
    pub via: bool,
    pub forwards: Vec<Forward>,
    pub prewarm: Vec<Target>,
    pub direct: Direct,
    /// From `loopback` and `private`.
    pub local_targets: LocalTargets,
    pub allow: Vec<Rule>,
    pub deny: Vec<Rule>,
    pub connect_timeout: Duration,
    pub handshake_timeout: Duration,
    pub idle_timeout: IdleTimeout,
    pub half_close_timeout: HalfCloseTimeout,
    pub drain_timeout: Duration,
    pub start_timeout: Limit,
    pub max_connections: Option<NonZeroUsize>,
    /// The first is the one that commands ask. Empty for a supervised daemon alone.
    pub health_listen: Vec<SocketAddr>,
    pub tailscaled_path: Option<PathBuf>,
    pub tailscaled_args: Words,
    pub tailscaled_socket: Option<SocketSetting>,
    pub log_upload: bool,
    /// Whether tailscaled is confined by what the kernel has for that.
    pub confine: bool,
    pub state_dir: Option<PathBuf>,
    pub memory_limit: Option<Memory>,
    /// Whether the limit comes from the control group, and changes with it.
    pub memory_follows_group: bool,
    /// Whether the program that is served goes on where the tailnet cannot be had (`lambda_on_failure`).
    pub goes_on_without_tailnet: bool,
    pub logout: LogoutSetting,
    pub env_all_proxy: AllProxy,
    /// Name of the function to whose log metrics go.
    pub metrics_of_function: Option<String>,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    pub access_log: AccessLog,
}

impl Settings {
    /// Whether clients of the proxy have to give user and password.
    pub fn asks_for_password(&self) -> bool {
        self.socks_credentials.is_some() || self.users.is_some()
    }
}

impl Settings {
    /// Whether only programs of this machine reach a listener: it has no address of the network, and no balancer in front.
    pub fn is_private(&self, listen: &Listen) -> bool {
        listen.is_private() && !self.proxy_protocol.contains(listen)
    }
}

impl Reader {
    /// Reads the settings; `None` when a value without which they cannot be built is unusable.
    pub fn settings(&mut self, implied: &Implied) -> Option<Settings> {
        let health_listen = self.health_listen();
        self.health_listen = health_listen.first().copied();
        self.lambda_on_failure = self.value("lambda_on_failure");
        let logs_metrics = self.value("lambda_metrics").unwrap_or(false);
        let settings = Settings {
            platform_ca_dir: implied.ca_dir.clone(),
            health_listen,
            goes_on_without_tailnet: self.lambda_on_failure == Some(OnFailure::Continue),
            metrics_of_function: implied.function.clone().filter(|_| logs_metrics),
            ..self.given()
        };
        self.no_open_proxy(&settings);
        self.no_address_twice(&settings);
        self.balancers_before_listeners(&settings);
        self.no_credential_in_the_clear(&settings);
        if implied.platform == "kubernetes" && settings.auth.is_none() && settings.state_dir.is_none() {
            self.warnings.push(NO_KEY_IN_KUBERNETES.to_owned());
        }
        if implied.platform == "lambda" && settings.tailscaled_path.is_none() {
            let for_others = [
                ("serve_config", settings.node.serve_config.is_some()),
                ("advertise_routes", !settings.node.advertise_routes.is_empty()),
            ];
            let given = for_others.into_iter().filter(|(_, is_given)| *is_given);
            given.for_each(|(key, _)| self.fault_at(key, NOTHING_SERVED_IN_LAMBDA));
            if settings.log_upload {
                self.warn_at("log_upload", NOTHING_UPLOADED_IN_LAMBDA);
            }
        }
        // A stand-in below is never used: it is there only where a fault was noted.
        self.faults.is_empty().then_some(settings)
    }

    /// Reads what the user can give, with a stand-in for each value that is unusable.
    fn given(&mut self) -> Settings {
        let node = self.node();
        let socks_credentials = self.credentials();
        let users = self.users(socks_credentials.as_ref().map(|credentials| credentials.user.as_str()));
        Settings {
            auth: self.auth(!node.tags.is_empty()),
            api_url: self.api_url(),
            tailnet: self.value("tailnet").unwrap_or_default(),
            control_url: self.value("control_url"),
            ca_file: self.pem_file("ca_file"),
            platform_ca_dir: None,
            hostname: self.hostname(),
            node,
            socks_listen: self.filled_list("socks_listen"),
            socks_credentials,
            users,
            socks_tls: self.tls_files(),
            proxy_protocol: self.list("proxy_protocol"),
            dns: self.dns(),
            udp: self.value("udp").unwrap_or(false),
            via: self.value("via").unwrap_or(true),
            forwards: self.list("forwards"),
            prewarm: self.list("prewarm"),
            direct: self.value("direct").unwrap_or(Direct::Deny),
            local_targets: self.local_targets(),
            allow: self.list("allow"),
            deny: self.list("deny"),
            connect_timeout: self.value("connect_timeout").unwrap_or_default(),
            handshake_timeout: self.value("handshake_timeout").unwrap_or_default(),
            idle_timeout: self.idle_timeout(),
            half_close_timeout: self.half_close_timeout(),
            drain_timeout: self.value("drain_timeout").unwrap_or_default(),
            start_timeout: self.value("start_timeout").unwrap_or(Limit(None)),
            max_connections: self.value("max_connections"),
            health_listen: Vec::new(),
            tailscaled_path: self.value("tailscaled_path"),
            tailscaled_args: self.tailscaled_args(),
            tailscaled_socket: self.value("tailscaled_socket"),
            log_upload: self.value("log_upload").unwrap_or(false),
            confine: self.value("confine").unwrap_or(true),
            state_dir: self.value("state_dir"),
            memory_limit: self.value("memory_limit"),
            memory_follows_group: self.memory_follows_group(),
            goes_on_without_tailnet: false,
            logout: self.value("logout").unwrap_or(LogoutSetting::Auto),
            env_all_proxy: self.value("env_all_proxy").unwrap_or(AllProxy::Http),
            metrics_of_function: None,
            log_level: self.value("log_level").unwrap_or(LogLevel::Info),
            log_format: self.value("log_format").unwrap_or(LogFormat::Text),
            access_log: self.value("access_log").unwrap_or(AccessLog::Failures),
        }
    }

    /// Whether the control group decides on `memory_limit`, or would if it had a limit. To be asked behind the value.
    fn memory_follows_group(&self) -> bool {
        let origin = self.typed_origin("memory_limit");
        origin.is_none_or(|origin| matches!(origin, Origin::NotSet | Origin::ControlGroup(_)))
    }

    fn local_targets(&mut self) -> LocalTargets {
        let mut read = |name| self.value(name).unwrap_or(LocalTargetSetting::Deny);
        LocalTargets { loopback: read("loopback"), private: read("private") }
    }

    /// Reads `idle_timeout`, whose default depends on where a client comes from.
    fn idle_timeout(&mut self) -> IdleTimeout {
        let local = self.value("idle_timeout").unwrap_or(Limit(None)).0;
        let is_default = self.typed_origin("idle_timeout") == Some(&Origin::Default);
        IdleTimeout { local, network: if is_default { Some(IdleTimeout::NETWORK) } else { local } }
    }

    /// Reads `half_close_timeout`, whose default depends on the tailscaled that is found.
    fn half_close_timeout(&mut self) -> HalfCloseTimeout {
        let carried = self.value("half_close_timeout").unwrap_or_default();
        let is_default = self.typed_origin("half_close_timeout") == Some(&Origin::Default);
        HalfCloseTimeout { carried, held: if is_default { HalfCloseTimeout::HELD } else { carried } }
    }
}
