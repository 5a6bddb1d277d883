//! A tailnet with a private zone, name servers, and `dig` at `dns_listen`.
//!
//! The zone `corp.test` has a name server that the tailnet alone knows, and one of the public says otherwise of it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testbed::daemon::Builder;
use testbed::dnsmasq;
use testbed::process::Process;
use testbed::tailnet::Tailnet;
use testbed::{Daemon, Node, netns};

use crate::scene::{OUTSIDE, binary};
use crate::tailnet_names::container_resolvers;

/// Where the name server of the zone `corp.test` is.
pub const PRIVATE: &str = "127.0.0.9";
/// Where the name server of `silent.test` is: it takes questions and answers none.
pub const SILENT: &str = "127.0.0.10";
/// Where the daemon answers.
pub const DNS: &str = "127.0.0.1:5300";
/// More addresses than fit 512 bytes, and 4096.
pub const MANY: usize = 60;
pub const VERY_MANY: usize = 300;

/// A tailnet with the zones, and everything that answers for a name.
pub struct DnsScene {
    pub tailnet: Tailnet,
    pub web: Node,
    _servers: Vec<Process>,
}

/// Headscale's settings of DNS, with the zone `corp.test`.
pub fn with_zone() -> Value {
    json!({
        "nameservers": { "global": [], "split": { "corp.test": [PRIVATE], "silent.test": [SILENT] } },
        "search_domains": ["corp.test"],
    })
}

impl DnsScene {
    /// With these settings of headscale.
    pub fn new(dns: Value) -> Self {
        netns::enter_new().expect("a namespace");
        let tailnet = Tailnet::start_with_dns(dns).expect("a tailnet");
        let web = Node::join(&tailnet, "web").expect("a node");
        let own = web.addresses().0;
        let mut private = vec![
            format!("--host-record=db.corp.test,{own}"),
            format!("--host-record=www.db.corp.test,{own}"),
            format!("--host-record=both.corp.test,{own}"),
            "--cname=alias.corp.test,db.corp.test".to_owned(),
            "--txt-record=db.corp.test,private text".to_owned(),
        ];
        for (name, count) in [("many", MANY), ("verymany", VERY_MANY)] {
            let record = |number| format!("--host-record={name}.corp.test,10.7.{}.{}", number / 200, number % 200 + 1);
            private.extend((0..count).map(record));
        }
        let mut servers = vec![name_server(PRIVATE, &private)];
        let public = [
            format!("--host-record=both.corp.test,{OUTSIDE}"),
            format!("--host-record=secret.corp.test,{OUTSIDE}"),
            format!("--host-record=public.example,{OUTSIDE}"),
            "--host-record=control.tail.test,127.0.0.1".to_owned(),
            "--txt-record=public.example,public text".to_owned(),
            format!("--ptr-record={},public.example", "7.113.0.203.in-addr.arpa"),
        ];
        servers.extend(container_resolvers().iter().map(|address| name_server(address, &public)));
        Self { tailnet, web, _servers: servers }
    }

    /// The daemon, told to join as `app` and to answer at [`DNS`].
    pub fn daemon(&self) -> Builder {
        let daemon = Daemon::builder(binary()).joining(&self.tailnet, "app").expect("a key");
        daemon.env("TETHERD_DNS_LISTEN", DNS)
    }
}

/// A name server with these records, options of dnsmasq. What it does not know is not there.
pub fn name_server(address: &str, records: &[String]) -> Process {
    let zones = ["test", "example", "in-addr.arpa", "ip6.arpa"].map(|zone| format!("--local=/{zone}/"));
    let others = ["--domain-needed", "--edns-packet-max=4096"].map(str::to_owned);
    dnsmasq::start(address, others.into_iter().chain(zones).chain(records.iter().cloned())).expect("dnsmasq starts")
}

/// What `dig` was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Such as `NOERROR`; empty where there was no answer.
    pub status: String,
    /// Data of the records, in their order.
    pub records: Vec<String>,
    /// Letters of the flags, such as `qr rd ra`.
    pub flags: String,
    text: String,
}

/// Asks the daemon once, by `dig` with these arguments, which gives up after the 5 s of resolv.conf(5).
pub fn dig(arguments: &str) -> Answer {
    let address: SocketAddr = DNS.parse().expect("an address");
    let mut command = Command::new("dig");
    command.args([&format!("@{}", address.ip()), "-p", &address.port().to_string(), "+tries=1", "+time=5", "+noall"]);
    command.args(["+comments", "+answer", "+nosearch"]).args(arguments.split_whitespace());
    let output = command.stdin(Stdio::null()).output().expect("dig runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |before: &str| text.split_once(before).and_then(|(_, rest)| rest.split([',', ';']).next());
    let records = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    let records = records.map(|line| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ")).collect();
    Answer {
        status: field("status: ").unwrap_or_default().to_owned(),
        flags: field(";; flags: ").unwrap_or_default().to_owned(),
        records,
        text,
    }
}

/// Checks what `dig` is answered.
pub fn assert_dig(arguments: &str, status: &str, records: &[&str]) {
    let answer = dig(arguments);
    assert!(answer.status == status && answer.records == records, "{arguments}: {}", answer.text);
}
