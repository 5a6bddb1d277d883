//! The flags of `tailscale up` and `tailscale set`, and what each does here.

/// What a flag does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Gives the setting of this name.
    Gives(&'static str),
    /// Offers a way out of the tailnet: two more routes.
    ExitNode,
    /// Asks for nothing, or for what is so anyway.
    Nothing,
    /// Has no effect in userspace mode, which is said where the switch is this.
    Unmet { said_if: bool, why: &'static str },
    /// Is refused unless it is false or empty, with this way out.
    Refused(&'static str),
}

/// A flag.
pub struct Flag {
    pub name: &'static str,
    /// Whether it needs no value.
    pub is_switch: bool,
    pub effect: Effect,
}

const fn valued(name: &'static str, effect: Effect) -> Flag {
    Flag { name, is_switch: false, effect }
}

const fn gives(name: &'static str, key: &'static str) -> Flag {
    valued(name, Effect::Gives(key))
}

const fn switch(name: &'static str, effect: Effect) -> Flag {
    Flag { name, is_switch: true, effect }
}

const fn refused(name: &'static str, instead: &'static str) -> Flag {
    switch(name, Effect::Refused(instead))
}

const NO_RELAY: &str = "leave it out: the node is no relay for others";

/// Every flag.
pub const FLAGS: &[Flag] = &[
    gives("auth-key", "auth_key"),
    gives("authkey", "auth_key"),
    gives("login-server", "control_url"),
    gives("hostname", "hostname"),
    gives("advertise-tags", "tags"),
    switch("accept-routes", Effect::Gives("accept_routes")),
    switch("accept-dns", Effect::Gives("accept_dns")),
    switch("shields-up", Effect::Gives("shields_up")),
    gives("advertise-routes", "advertise_routes"),
    gives("exit-node", "exit_node"),
    switch("exit-node-allow-lan-access", Effect::Gives("exit_node_allow_lan_access")),
    gives("client-id", "oauth_client_id"),
    gives("client-secret", "oauth_client_secret"),
    gives("id-token", "id_token"),
    gives("audience", "id_token_audience"),
    gives("timeout", "start_timeout"),
    switch("advertise-exit-node", Effect::ExitNode),
    valued("accept-risk", Effect::Nothing),
    valued("netfilter-mode", Effect::Nothing),
    valued("nickname", Effect::Nothing),
    valued("operator", Effect::Nothing),
    valued("qr-format", Effect::Nothing),
    switch("host-routes", Effect::Nothing),
    switch("json", Effect::Nothing),
    switch("qr", Effect::Nothing),
    switch("reset", Effect::Nothing),
    switch("sync", Effect::Nothing),
    switch("unattended", Effect::Nothing),
    switch("update-check", Effect::Nothing),
    switch(
        "snat-subnet-routes",
        Effect::Unmet { said_if: false, why: "targets of routes see this container's address always" },
    ),
    switch("stateful-filtering", Effect::Unmet { said_if: true, why: "there are no firewall rules" }),
    refused("advertise-connector", "leave it out: the node is no app connector"),
    refused("auto-update", "leave it out: tailscaled is updated with the image"),
    refused("force-reauth", "leave it out: the node logs in again whenever that is needed"),
    refused("remote-config", "leave it out: the settings decide"),
    refused("report-posture", "leave it out: nothing of the machine is reported"),
    refused("ssh", "leave it out: serve the port of an SSH server by serve_config"),
    refused("webclient", "leave it out: the status is served at health_listen"),
    valued("relay-server-port", Effect::Refused(NO_RELAY)),
    valued("relay-server-static-endpoints", Effect::Refused(NO_RELAY)),
];

/// Returns the flag of this name.
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}
