//! A rule about a name holds by search lists, aliases and hosts files.
//!
//! Other names are short ones of the search list, aliases of DNS, and those of the hosts file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use testbed::daemon::Builder;
use testbed::dnsmasq;
use testbed::process::Process;

use crate::node_settings::gateway;
use crate::policy_by_every_way::{at_loopback, end};
use crate::scene::{OUTSIDE, Scene, binary, connect, start_ready};
use crate::stock_tailscaled::with_stock_tailscaled;
use crate::tailnet_names::container_resolvers;
use crate::ways::{Servers, Verdict, assert_all, assert_streams};

use Verdict::{Reached, Refused};

const PORT: u16 = 4242;
/// Of the container's name server.
const RESOLVER: &str = "127.0.0.53";
const DENIED: &str = "vault.prod.svc.cluster.local";

/// A container as Kubernetes makes it: a search list, a hosts file, and a name server with `records`, options of dnsmasq.
struct Container {
    directory: TempDir,
    _server: Process,
}

impl Container {
    fn new(records: &[String]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let resolv = format!(
            "nameserver {RESOLVER}\nsearch prod.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
        );
        let hosts = format!("127.0.0.1 localhost\n{OUTSIDE} vault.corp.test vaulthost\n203.0.113.8 openhost\n");
        let script = format!(
            "#!/bin/sh\nd={}\nexec unshare -m --propagation private sh -c \"mount --bind $d/resolv.conf /etc/resolv.conf && \
             mount --bind $d/hosts /etc/hosts && exec {}\"\n",
            directory.path().display(),
            binary().display(),
        );
        for (name, text) in [("resolv.conf", resolv), ("hosts", hosts), ("tetherd", script)] {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        Self { directory, _server: name_server(RESOLVER, records) }
    }

    fn around(&self, builder: Builder) -> Builder {
        builder.program(self.directory.path().join("tetherd").to_str().expect("UTF-8"))
    }
}

fn name_server(address: &str, records: &[String]) -> Process {
    let zones = ["--local=/cluster.local/", "--local=/test/"].map(str::to_owned);
    dnsmasq::start(address, zones.into_iter().chain(records.iter().cloned())).expect("dnsmasq starts")
}

fn records() -> Vec<String> {
    [
        format!("--host-record={DENIED},{OUTSIDE}"),
        "--host-record=open.prod.svc.cluster.local,203.0.113.8".to_owned(),
        format!("--cname=alias.test,{DENIED}"),
        "--cname=far.test,alias.test".to_owned(),
        "--cname=fine.test,open.prod.svc.cluster.local".to_owned(),
    ]
    .into()
}

/// Names of the search list, of DNS, of the hosts file.
const SHORT: [&str; 5] = ["vault", "VAULT.", "vault.prod", "vault.prod.svc", DENIED];

#[test]
fn a_denied_name_is_reached_by_no_search_list_no_alias_and_no_hosts_file() {
    let scene = Scene::new();
    at_loopback(&["203.0.113.0/24"]);
    let _servers = Servers::at(PORT, &[OUTSIDE, "203.0.113.8"]);
    let container = Container::new(&records());
    for deny in [format!("{DENIED},vault.corp.test"), "*.prod.svc.cluster.local:4242,*.corp.test".to_owned()] {
        let daemon = start_ready(container.around(scene.daemon().env("TETHERD_DENY", &deny)));
        for name in SHORT.into_iter().chain(["alias.test", "far.test", "vaulthost", "vault.corp.test"]) {
            assert_all(name, PORT, Refused);
        }
        assert_all("openhost", PORT, Reached);
        end(daemon);
    }
    let _daemon = start_ready(container.around(scene.daemon().env("TETHERD_DENY", DENIED)));
    for name in ["open", "open.prod", "fine.test", "openhost", "vaulthost", "web"] {
        assert_all(name, PORT, Reached);
    }
}

#[test]
fn stock_tailscaled_a_denied_name_is_reached_by_no_search_list() {
    let scene = Scene::new();
    at_loopback(&["203.0.113.0/24"]);
    let _servers = Servers::at(PORT, &[OUTSIDE, "203.0.113.8"]);
    let container = Container::new(&records());
    let denying = with_stock_tailscaled(&scene).env("TETHERD_DENY", DENIED);
    let _daemon = start_ready(container.around(denying));
    for name in SHORT {
        assert_streams(name, PORT, Refused);
    }
    for name in ["open", "open.prod", "openhost", "web"] {
        assert_streams(name, PORT, Reached);
    }
}

#[test]
fn stock_tailscaled_a_single_label_leads_to_no_metadata_behind_an_exit_node() {
    let scene = Scene::new();
    at_loopback(&["203.0.113.0/24", "168.63.129.16/32", "fd00:ec2::/64"]);
    let _servers = Servers::at(PORT, &[OUTSIDE]);
    let names = ["--host-record=meta6,fd00:ec2::254", "--host-record=az1,168.63.129.16"].map(str::to_owned);
    let container = Container::new(&names);
    // The exit node asks those of the machine.
    let _servers_of_gateway: Vec<Process> =
        container_resolvers().iter().map(|address| name_server(address, &names)).collect();
    let _gateway = gateway(&scene);
    scene.tailnet.approve_routes("gw", "0.0.0.0/0,::/0").expect("approved");
    let by_exit_node = with_stock_tailscaled(&scene).env("TETHERD_EXIT_NODE", "gw");
    let _daemon = start_ready(container.around(by_exit_node));
    for name in ["meta6", "az1"] {
        assert!(connect(name, PORT).is_err(), "{name}");
    }
    assert_streams("web", PORT, Reached);
    assert_streams(OUTSIDE, PORT, Reached);
}

#[test]
fn the_owner_of_a_name_in_allow_leads_to_no_node_of_the_tailnet() {
    let scene = Scene::new();
    at_loopback(&["203.0.113.0/24"]);
    let _servers = Servers::at(PORT, &[OUTSIDE]);
    let (v4, v6) = scene.web.addresses();
    let records = [
        format!("--host-record=node.evil.test,{v4}"),
        format!("--host-record=node6.evil.test,{v6}"),
        format!("--host-record=public.evil.test,{OUTSIDE}"),
    ];
    let container = Container::new(&records);
    let by_name = start_ready(container.around(scene.daemon().env("TETHERD_ALLOW", "*.evil.test")));
    for name in ["node.evil.test", "node6.evil.test"] {
        assert_all(name, PORT, Refused);
    }
    assert_all("public.evil.test", PORT, Reached);
    end(by_name);
    let allow = format!("*.evil.test,web:4242,{v4}");
    let _daemon = start_ready(container.around(scene.daemon().env("TETHERD_ALLOW", &allow)));
    assert_all("node.evil.test", PORT, Reached);
    assert_all("node6.evil.test", PORT, Refused);
    assert_all("web", PORT, Reached);
}
