//! The table of settings, the only list of their names.
//!
//! Command line, environment, files, `check` and the docs follow it.

/// Stand-in in the help of `runtime` for the names of the platforms, which the table does not know.
pub const PLATFORMS: &str = "{platforms}";

/// One setting.
pub struct Key {
    /// Name in files; `TETHERD_` and upper case in the environment, `--` and dashes on the command line.
    pub name: &'static str,
    /// Form of the value, as shown by `--help`.
    pub value: &'static str,
    /// The built-in default, in the form a user would write it.
    pub default: Option<&'static str>,
    /// Variables with the same effect, known from Tailscale's container image, the AWS sample and the community's layer. The
    /// first counts most.
    pub aliases: &'static [&'static str],
    /// Whether the value is never shown.
    pub secret: bool,
    /// Kind of the secret that the value names, if it names one that holds the auth key. The settings that begin with
    /// this one's name are options of it, as plain text.
    pub names_secret: Option<&'static str>,
    /// Text of `--help`; may hold [`PLATFORMS`].
    pub help: &'static str,
}

impl Key {
    /// Returns the variable's name, such as `TETHERD_SOCKS_LISTEN` for `socks_listen`.
    pub fn variable(&self) -> String {
        format!("TETHERD_{}", self.name.to_uppercase())
    }

    /// Returns the flag without its dashes, such as `socks-listen` for `socks_listen`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Whether the value says where to listen.
    pub fn listens(&self) -> bool {
        matches!(self.name, "dns_listen" | "health_listen" | "socks_listen")
    }

    /// Returns the secret that this setting gives as a file.
    pub fn twin_of(&self) -> Option<&'static Key> {
        find_key(self.name.strip_suffix("_file")?).filter(|key| key.secret)
    }
}

/// Returns the setting of this name.
pub fn find_key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Returns the known name nearest to `name`, if it is near enough to be meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (strsim::damerau_levenshtein(name, key.name), key.name))
        .min()
        .filter(|(distance, nearest)| *distance <= nearest.len().max(name.len()) / 2)
        .map(|(_, nearest)| nearest)
}

const fn key(name: &'static str, value: &'static str, default: Option<&'static str>, help: &'static str) -> Key {
    Key { name, value, default, aliases: &[], secret: false, names_secret: None, help }
}

impl Key {
    const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn names_secret(self, kind: &'static str) -> Self {
        Self { names_secret: Some(kind), ..self }
    }
}

/// All settings.
pub const KEYS: &[Key] = &[
    key("auth_key", "KEY", None, "auth key to join with; file:/path reads it from a file")
        .also(&["TS_AUTHKEY", "TS_AUTH_KEY", "TS_KEY"])
        .secret(),
    key("auth_key_file", "PATH", None, "file that holds the auth key; read anew whenever a login is needed")
        .also(&["TS_AUTHKEY_FILE"]),
    key("auth_secret", "NAME", None, "name or ARN of an AWS Secrets Manager secret that holds the auth key")
        .also(&["TS_SECRET_API_KEY", "SECRET_NAME"])
        .names_secret("a secret of AWS Secrets Manager"),
    key("auth_secret_field", "NAME", Some("key"), "field of auth_secret that holds the key, when it is JSON"),
    key("auth_secret_stage", "LABEL", Some("AWSCURRENT"), "version of auth_secret, by its staging label"),
    key("oauth_client_id", "ID", None, "OAuth client or federated identity of Tailscale that makes auth keys")
        .also(&["TS_CLIENT_ID"]),
    key("oauth_client_secret", "SECRET", None, "secret of the OAuth client; tags are required with it")
        .also(&["TS_CLIENT_SECRET"])
        .secret(),
    key("oauth_client_secret_file", "PATH", None, "file that holds the OAuth client's secret"),
    key("id_token", "TOKEN", None, "identity token for oauth_client_id; a file is better, since tokens expire")
        .also(&["TS_ID_TOKEN"])
        .secret(),
    key("id_token_file", "PATH", None, "file that holds the identity token; read anew whenever a login is needed"),
    key(
        "id_token_audience",
        "TEXT",
        None,
        "get the identity token from GitHub Actions, AWS or Google, for this audience",
    )
    .also(&["TS_AUDIENCE"]),
    key("api_url", "URL", Some("https://api.tailscale.com"), "Tailscale's API, which makes auth keys"),
    key(
        "tailnet",
        "NAME",
        Some("-"),
        "tailnet that auth keys are made for; - is the credential's own. With tables [tailnet.NAME] in the file: which one",
    ),
    key("control_url", "URL", None, "control server, such as Headscale's address; Tailscale's when not given"),
    key("ca_file", "PATH", None, "PEM file of CA certificates to trust beside the system's"),
    key("hostname", "NAME", None, "the node's name in the tailnet; the container's host name when not given")
        .also(&["TS_HOSTNAME"]),
    key("tags", "LIST", None, "tags that the node asks for, such as tag:web").also(&["TS_ADVERTISE_TAGS"]),
    key("accept_routes", "BOOL", Some("false"), "use the subnets that other nodes advertise"),
    key("accept_dns", "BOOL", Some("true"), "use the tailnet's DNS configuration").also(&["TS_ACCEPT_DNS"]),
    key("shields_up", "BOOL", None, "block what comes in; true, but false with serve_config or advertise_routes"),
    key("advertise_routes", "LIST", None, "networks that the node offers a way to, such as 10.0.0.0/8")
        .also(&["TS_ROUTES"]),
    key(
        "exit_node",
        "NODE",
        None,
        "name or address of the node that leads out of the tailnet, or auto:any, or location:CC or location:CC-city",
    )
    .also(&["TS_EXIT_NODE"]),
    key("exit_node_required", "BOOL", Some("false"), "not ready without the exit node")
        .also(&["TS_EXIT_NODE_REQUIRED"]),
    key("exit_node_allow_lan_access", "BOOL", Some("false"), "reach the container's own networks past the exit node"),
    key("serve_config", "PATH", None, "what the node serves to the tailnet, in the form of TS_SERVE_CONFIG")
        .also(&["TS_SERVE_CONFIG"]),
    key("advertise_services", "BOOL", Some("true"), "advertise the services of serve_config, until the daemon drains")
        .also(&["TS_EXPERIMENTAL_SERVICE_AUTO_ADVERTISEMENT"]),
    key(
        "socks_listen",
        "LIST",
        Some("127.0.0.1:1055"),
        "where SOCKS5 and HTTP proxying are served: host:port or unix:/path, several separated by commas",
    )
    .also(&["TS_SOCKS5_SERVER"]),
    key("socks_user", "NAME", None, "user that clients must name (RFC 1929, Basic); needs socks_password"),
    key("socks_password", "PASSWORD", None, "password that clients must give").secret(),
    key("socks_password_file", "PATH", None, "file that holds the clients' password"),
    key(
        "users",
        "PATH",
        None,
        "TOML file of users, each with a hashed password and rules of its own; read again when it changes",
    ),
    key(
        "socks_tls_cert",
        "PATH",
        None,
        "PEM file of the certificate, and those up to its root, that listeners serve TLS with",
    ),
    key("socks_tls_key", "PATH", None, "PEM file of the certificate's key; both are read again when they change"),
    key(
        "socks_client_ca",
        "PATH",
        None,
        "PEM file of CA certificates, one of which must have signed a client's own certificate",
    ),
    key("allow_open_proxy", "BOOL", Some("false"), "allow a listener that others can reach without a password"),
    key(
        "proxy_protocol",
        "LIST",
        None,
        "listeners behind a balancer: addresses of socks_listen or forwards where each connection begins with a PROXY header",
    ),
    key(
        "dns_listen",
        "LIST",
        None,
        "where DNS is served over UDP and TCP, with the answers that the proxy resolves by: 127.0.0.1:53; off when not given",
    ),
    key(
        "dns_upstream",
        "LIST",
        None,
        "name servers that dns_listen asks for names outside the tailnet; those of /etc/resolv.conf when not given",
    ),
    key("udp", "BOOL", Some("true"), "serve UDP ASSOCIATE of SOCKS5"),
    key("via", "BOOL", Some("true"), "add Via to HTTP messages that are sent on; some servers do not compress for it"),
    key(
        "forwards",
        "LIST",
        None,
        "plain ports that lead to one target each: 127.0.0.1:5432=db:5432, or udp:127.0.0.1:5353=dns:53",
    ),
    key("direct", "allow|deny", Some("allow"), "targets outside the tailnet: dialled directly, or refused"),
    key(
        "loopback",
        "auto|allow|deny",
        Some("auto"),
        "targets on this machine's loopback and at its own addresses; auto: not for clients of listeners that other machines reach",
    ),
    key(
        "private",
        "auto|allow|deny",
        Some("auto"),
        "targets at private addresses outside the tailnet, such as 10.0.0.0/8; auto as for loopback",
    ),
    key("allow", "LIST", None, "only these may be reached: host, *.suffix or CIDR, each with :port or :port-port"),
    key("deny", "LIST", None, "these may not be reached, written as in allow; deny wins"),
    key(
        "connect_timeout",
        "DURATION",
        Some("15s"),
        "longest time from a client's request to an answer, waiting included",
    ),
    key(
        "handshake_timeout",
        "DURATION",
        Some("10s"),
        "longest time from accept to a client's complete request, its password included",
    ),
    key("idle_timeout", "DURATION", Some("off"), "longest silence of a connection in both directions"),
    key("half_close_timeout", "DURATION", Some("60s"), "longest silence once one side of a connection has ended"),
    key("drain_timeout", "DURATION", Some("10s"), "longest time that running connections get to finish at a stop"),
    key("start_timeout", "DURATION", Some("off"), "exit with 69 when not ready after this time")
        .also(&["TS_BOOT_TIMEOUT"]),
    key("max_connections", "NUMBER", None, "connections at once, further ones wait; by the limit of open files"),
    key(
        "health_listen",
        "LIST",
        Some("127.0.0.1:9002"),
        "where health, status and metrics are served: host:port, several separated by commas",
    )
    .also(&["TS_LOCAL_ADDR_PORT", "TS_HEALTHCHECK_ADDR_PORT"]),
    key("tailscaled_path", "PATH", None, "tailscaled to run; found beside tetherd and on PATH when not given"),
    key("tailscaled_args", "WORDS", None, "more arguments for tailscaled, separated by spaces")
        .also(&["TS_TAILSCALED_EXTRA_ARGS"]),
    key(
        "tailscaled_socket",
        "PATH",
        None,
        "where tailscaled's LocalAPI listens; in a private directory when not given",
    )
    .also(&["TS_SOCKET"]),
    key("log_upload", "BOOL", Some("false"), "let tailscaled upload its logs and network flow logs to Tailscale"),
    key(
        "confine",
        "BOOL",
        Some("true"),
        "confine tetherd and tailscaled to their own files and processes (Landlock, seccomp)",
    ),
    key("state_dir", "DIR", None, "where the node's identity is kept; a temporary directory when not given")
        .also(&["TS_STATE_DIR"]),
    key("memory_limit", "SIZE", None, "memory that tailscaled keeps to if it can, such as 100MiB, at least 16MiB"),
    key("prewarm", "LIST", None, "targets dialled once at the start, so that the first request finds a warm path"),
    key("logout", "auto|always|never", Some("auto"), "leave the tailnet at exit; auto: when the state is temporary"),
    key(
        "env_all_proxy",
        "http|socks5h|off",
        Some("http"),
        "form of the proxy's address in ALL_PROXY for programs (exec, env, Lambda's wrapper), or no such variable",
    ),
    key("runtime", "NAME", Some("auto"), PLATFORMS),
    key(
        "lambda_on_failure",
        "fail|continue",
        Some("fail"),
        "without a tailnet the Lambda function does not start, or starts and is told why connections fail",
    ),
    key(
        "lambda_metrics",
        "BOOL",
        Some("true"),
        "write metrics to the log of the Lambda function, in CloudWatch's form",
    ),
    key("log_level", "LEVEL", Some("info"), "error, warn, info, debug or trace"),
    key("log_format", "text|json", Some("text"), "form of the log lines on stderr"),
    key(
        "access_log",
        "off|failures|all",
        Some("failures"),
        "lines about clients: none, one for each that got no connection, or one for each connection as well",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_meant() {
        assert_eq!(nearest("soks_listen"), Some("socks_listen"));
        assert_eq!(nearest("authkey"), Some("auth_key"));
        assert_eq!(nearest("connect_timout"), Some("connect_timeout"));
        assert_eq!(nearest("xyzzy"), None);
    }

    #[test]
    fn every_secret_has_a_file_twin() {
        for key in KEYS.iter().filter(|key| key.secret) {
            let twin = find_key(&format!("{}_file", key.name)).expect(key.name);
            assert_eq!(twin.twin_of().map(|of| of.name), Some(key.name));
        }
    }
}
