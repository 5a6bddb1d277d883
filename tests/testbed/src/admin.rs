//! Acts as administrator of the control server, by headscale's command line.
//!
//! 30 ms a request, 110 ms a new key, which it hashes.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::tailnet::Tailnet;

/// headscale numbers users from one, and there is only this one.
const USER_ID: &str = "1";

const USER: &str = "tester";

/// What an auth key allows; the default is single-use for a node that stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyOptions {
    pub reusable: bool,
    /// The node is removed when it logs out.
    pub ephemeral: bool,
}

/// An auth key and the number by which headscale knows it.
#[derive(Clone, Debug, Deserialize)]
pub struct AuthKey {
    pub id: u64,
    pub key: String,
}

/// A node as the control server sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct MachineInfo {
    pub id: u64,
    /// The MagicDNS name without the domain; numbered when a host name is taken already.
    #[serde(rename = "given_name")]
    pub name: String,
    #[serde(rename = "ip_addresses")]
    pub addresses: Vec<IpAddr>,
    #[serde(default)]
    pub online: bool,
    /// What it wants to be a way to, and what of it an administrator has approved.
    #[serde(default, rename = "available_routes")]
    pub routes: Vec<String>,
    #[serde(default)]
    pub approved_routes: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pre_auth_key: Option<UsedKey>,
}

#[derive(Clone, Debug, Deserialize)]
struct UsedKey {
    #[serde(default)]
    ephemeral: bool,
}

impl MachineInfo {
    pub fn is_ephemeral(&self) -> bool {
        self.pre_auth_key.as_ref().is_some_and(|key| key.ephemeral)
    }
}

impl Tailnet {
    pub fn create_key(&self, options: KeyOptions) -> Result<AuthKey> {
        let mut arguments = vec!["preauthkeys", "create", "--user", USER_ID];
        arguments.extend(options.reusable.then_some("--reusable"));
        arguments.extend(options.ephemeral.then_some("--ephemeral"));
        self.ask(&arguments)
    }

    /// The key's text alone.
    pub fn auth_key(&self, options: KeyOptions) -> Result<String> {
        Ok(self.create_key(options)?.key)
    }

    /// For one ephemeral node within this time, such as `3s`.
    pub fn brief_key(&self, lasts: &str) -> Result<String> {
        let arguments = ["preauthkeys", "create", "--user", USER_ID, "--ephemeral", "--expiration", lasts];
        self.ask::<AuthKey>(&arguments).map(|key| key.key)
    }

    /// New nodes can no longer join with it.
    pub fn expire_key(&self, id: u64) -> Result<()> {
        self.tell(&["preauthkeys", "expire", "--id", &id.to_string()])
    }

    pub fn nodes(&self) -> Result<Vec<MachineInfo>> {
        // Go prints an empty list as null.
        Ok(self.ask::<Option<_>>(&["nodes", "list"])?.unwrap_or_default())
    }

    pub fn node(&self, name: &str) -> Result<Option<MachineInfo>> {
        Ok(self.nodes()?.into_iter().find(|node| node.name == name))
    }

    /// The node is unknown from now on; nobody tells it.
    pub fn delete_node(&self, name: &str) -> Result<()> {
        self.tell(&["nodes", "delete", "--force", "--identifier", &self.id_of(name)?])
    }

    /// The node must log in again, and is told so.
    pub fn expire_node(&self, name: &str) -> Result<()> {
        self.tell(&["nodes", "expire", "--identifier", &self.id_of(name)?])
    }

    /// The node will have to log in again at this time (RFC 3339), and learns it now.
    pub fn expire_node_at(&self, name: &str, time: &str) -> Result<()> {
        self.tell(&["nodes", "expire", "--identifier", &self.id_of(name)?, "--expiry", time])
    }

    /// Lets other nodes use these routes of the node; none takes the permission back.
    pub fn approve_routes(&self, name: &str, routes: &str) -> Result<()> {
        self.tell(&["nodes", "approve-routes", "--identifier", &self.id_of(name)?, "--routes", routes])
    }

    /// Lets a node join that has no auth key: `address` is what it was told to open in a browser.
    pub fn register(&self, address: &str) -> Result<()> {
        let (_, key) = address.rsplit_once('/').context("no login address")?;
        self.tell(&["nodes", "register", "--user", USER, "--key", key])
    }

    /// Who may do what, in the form of Tailscale's policy files.
    pub fn set_policy(&self, policy: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), policy)?;
        self.tell(&["policy", "set", "--file", &file.path().to_string_lossy()])
    }

    /// An API key, as an administrator makes one.
    pub fn create_api_key(&self) -> Result<String> {
        self.ask(&["apikeys", "create"])
    }

    pub(crate) fn create_user(&self) -> Result<()> {
        self.tell(&["users", "create", USER])
    }

    /// One more than the one that every tailnet here has.
    pub fn create_another_user(&self, name: &str) -> Result<()> {
        self.tell(&["users", "create", name])
    }

    pub fn destroy_user(&self, name: &str) -> Result<()> {
        self.tell(&["users", "destroy", "--force", "--name", name])
    }

    fn id_of(&self, name: &str) -> Result<String> {
        let node = self.node(name)?.with_context(|| format!("the tailnet has no node {name}"))?;
        Ok(node.id.to_string())
    }

    fn tell(&self, arguments: &[&str]) -> Result<()> {
        self.run(arguments).map(drop)
    }

    fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let answer = self.run(arguments)?;
        serde_json::from_slice(&answer).with_context(|| format!("unexpected answer of headscale to {arguments:?}"))
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        // The command line would look for it for 5 s.
        ensure!(self.has_control(), "the control server is stopped");
        let output = self.headscale_command()?.args(arguments).args(["--output", "json"]).output()?;
        ensure!(
            output.status.success(),
            "headscale {arguments:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }
}
