//! Builds the DNS server of `dns_listen`.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};

use crate::config::settings::Settings;
use crate::config::types::address::ControlUrl;
use crate::daemon::listeners::{bind, bind_datagrams};
use crate::dns::answer::Answers;
use crate::dns::server::{serve_tcp, serve_udp};
use crate::dns::upstream::Upstream;
use crate::exit_reason::ExitReason;
use crate::proxy::policy::own_listeners::OwnListeners;
use crate::target::host::HostName;
use crate::target::tailnet_names::TailnetNames;

/// The open sockets of the DNS server: one of each kind for each address.
pub struct DnsListeners(Vec<(TcpListener, UdpSocket)>);

impl DnsListeners {
    /// Opens the sockets of `dns_listen`. Fails when one of them cannot be opened.
    pub fn open(settings: &Settings) -> Result<Self, ExitReason> {
        const KEY: &str = "dns_listen";
        let open = settings.dns.listen.iter().map(|address| {
            let tcp = bind(KEY, *address)?;
            // The port that the kernel has chosen, where it was to choose one.
            let bound = tcp.local_addr().unwrap_or(*address);
            Ok((tcp, bind_datagrams(KEY, bound)?))
        });
        open.collect::<Result<_, _>>().map(Self)
    }

    /// Returns the addresses, each of which stands for TCP and UDP.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().filter_map(|(tcp, _)| tcp.local_addr().ok())
    }

    /// Answers questions from now on, by `names`.
    pub fn serve<N: TailnetNames>(self, names: Arc<N>, settings: &Settings, own: OwnListeners) {
        if self.0.is_empty() {
            return;
        }
        let is_own = Box::new(move |server: SocketAddr| own.has(server.ip().to_canonical(), server.port()));
        let upstream = Upstream { given: settings.dns.upstream.clone(), is_own };
        let answers = Arc::new(Answers::new(names, upstream, needed_to_join(settings)));
        for (tcp, udp) in self.0 {
            tokio::spawn(serve_tcp(tcp, Arc::clone(&answers)));
            tokio::spawn(serve_udp(udp, Arc::clone(&answers)));
        }
    }
}

/// Lists the hosts that joining the tailnet needs. Programs of this container may ask here for all names, tetherd and tailscaled
/// among them.
fn needed_to_join(settings: &Settings) -> Vec<HostName> {
    let urls = [settings.control_url.as_ref(), Some(&settings.api_url)];
    let hosts = urls.into_iter().flatten().filter_map(ControlUrl::host);
    hosts.filter_map(|host| HostName::parse(&host).ok()).collect()
}
