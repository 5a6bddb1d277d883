//! The scene of tests of several tailnets: two control servers, a node in each.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Output;

use testbed::admin::KeyOptions;
use testbed::daemon::{Builder, Daemon, SOCKS};
use testbed::node::Node;
use testbed::socks;
use testbed::tailnet::Tailnet;

use crate::scene::{Scene, binary, command};

/// The proxy of the tailnet `customer`; that of `office` has the default.
pub const CUSTOMER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1056);

/// A tailnet `office` with the node `web`, a tailnet `customer` with the node `shop`, and the settings of both.
pub struct TwoTailnets {
    pub office: Scene,
    pub shop: Node,
    pub customer: Tailnet,
    directory: tempfile::TempDir,
}

impl TwoTailnets {
    pub fn new() -> Self {
        let office = Scene::new();
        let customer = Tailnet::start_beside().expect("a second tailnet");
        let shop = Node::join(&customer, "shop").expect("a node");
        let directory = tempfile::tempdir().expect("a directory");
        let two = Self { office, shop, customer, directory };
        let key = |tailnet: &Tailnet| tailnet.auth_key(KeyOptions { reusable: false, ephemeral: true }).expect("a key");
        two.write(&key(&two.office.tailnet), &key(&two.customer));
        two
    }

    /// Writes the file of settings, with these keys.
    pub fn write(&self, office_key: &str, customer_key: &str) {
        let table = |name: &str, tailnet: &Tailnet, key: &str, listen: SocketAddr| {
            let (url, ca) = (tailnet.control_url(), tailnet.ca_file());
            format!(
                "[tailnet.{name}]\ncontrol_url = \"{url}\"\nca_file = \"{}\"\nauth_key = \"{key}\"\nsocks_listen = \"{listen}\"\n",
                ca.display()
            )
        };
        let office = table("office", &self.office.tailnet, office_key, SOCKS);
        let customer = table("customer", &self.customer, customer_key, CUSTOMER);
        fs::write(self.file(), format!("hostname = \"app\"\n{office}{customer}")).expect("written");
    }

    pub fn file(&self) -> String {
        self.directory.path().join("tetherd.toml").to_string_lossy().into_owned()
    }

    pub fn daemon(&self) -> Builder {
        Daemon::builder(binary()).env("TETHERD_CONFIG", &self.file())
    }

    pub fn ask(&self, arguments: &[&str]) -> Output {
        command(arguments).env("TETHERD_CONFIG", self.file()).output().expect("runs")
    }
}

/// A page by way of a proxy.
pub fn page(proxy: SocketAddr, host: &str, port: u16) -> Result<String, socks::Error> {
    let mut stream = socks::connect(proxy, host, port, None)?;
    write!(stream, "GET / HTTP/1.0\r\n\r\n").expect("is sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    Ok(text)
}
