//! Virtual servers of every mode and family, and what goes through them, every byte checked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::sync::MutexGuard;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::exchange::exchange;
use super::lab::{Lab, Options};
use super::netns::Netns;
use super::topology::{CLIENT_V4, CLIENT_V6, Host, SNIP_V4, SNIP_V6, Topology, VIP_V4, VIP_V6, backend_v4, backend_v6};
use super::trial;

/// Sent each way in a transfer.
pub const BYTES: usize = 4 << 20;
/// How long anything may take that has no time of its own.
pub const WITHIN: Duration = Duration::from_secs(10);
/// The kernel's own range is 32768 to 60999; what is below, from 1024 on, is the pair's.
pub const HALVES: [Range<u16>; 2] = [1_024..16_896, 16_896..32_768];

/// Both.
pub const FAMILIES: [Family; 2] = [Family { v6: false }, Family { v6: true }];

/// IPv4 or IPv6.
#[derive(Clone, Copy)]
pub struct Family {
    /// Which.
    pub v6: bool,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.v6 { "IPv6" } else { "IPv4" })
    }
}

impl Family {
    /// One of two.
    pub fn of<A: Into<IpAddr>, B: Into<IpAddr>>(self, v4: A, v6: B) -> IpAddr {
        if self.v6 { v6.into() } else { v4.into() }
    }

    /// Where the virtual servers are.
    pub fn vip(self) -> IpAddr {
        self.of(VIP_V4, VIP_V6)
    }

    /// What a hidden client is seen as.
    pub fn snip(self) -> IpAddr {
        self.of(SNIP_V4, SNIP_V6)
    }

    /// The client.
    pub fn client(self) -> IpAddr {
        self.of(CLIENT_V4, CLIENT_V6)
    }

    /// The backend.
    pub fn backend(self) -> IpAddr {
        self.of(backend_v4(1), backend_v6(1))
    }

    /// Any.
    pub fn unspecified(self) -> IpAddr {
        self.of(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
    }
}

/// Commands for the services of `backend` on `port`, TCP and UDP, and for what they are behind: a virtual server of each of `families`.
pub fn service(families: &[Family], port: u16, mode: &str, usip: &str, backend: Family) -> String {
    let of_protocol = |protocol: &str| {
        let name = format!("s-{protocol}-{port}-{backend}");
        let front = |family: &Family| {
            format!(
                "add lb vserver v-{protocol}-{port}-{family} {protocol} {} {port} -m {mode}\n\
                 bind lb vserver v-{protocol}-{port}-{family} {name}\n",
                family.vip()
            )
        };
        let fronts: String = families.iter().map(front).collect();
        format!("add service {name} {} {protocol} {port} -usip {usip} -healthMonitor NO\n{fronts}", backend.backend())
    };
    ["TCP", "UDP"].map(of_protocol).concat()
}

/// The same for both families, each with backends of its own.
pub fn services(port: u16, mode: &str, usip: &str) -> String {
    FAMILIES.map(|family| service(&[family], port, mode, usip, family)).concat()
}

/// A pair with `more` commands, its Primary, and the lock that keeps other labs waiting. `None` without root.
pub fn pair(more: &str, prepare: impl FnOnce(&Topology) -> Result<()>) -> Result<Option<(Lab, Host, MutexGuard<'static, ()>)>> {
    let Some(alone) = trial::alone() else { return Ok(None) };
    let lab = Lab::raise_with(&Options { dead: Duration::from_millis(500), ..Options::small()? }, more, prepare)?;
    let primary = lab.wait_settled()?;
    Ok(Some((lab, primary, alone)))
}

/// What a node may give out.
pub fn half(host: Host) -> Range<u16> {
    HALVES[host as usize].clone()
}

/// Listens on the backend.
pub fn listen(lab: &Lab, address: SocketAddr) -> Result<TcpListener> {
    lab.topology.backends[0].run(|| TcpListener::bind(address).with_context(|| format!("listen on {address}")))
}

/// Connects from the namespace `client`.
pub fn connect(client: &Netns, address: SocketAddr) -> Result<TcpStream> {
    client.run(|| TcpStream::connect_timeout(&address, WITHIN).with_context(|| format!("connect to {address}")))
}

/// A connection through the VIP: the client's end, the server's, and whom the server sees.
pub fn converse(lab: &Lab, vip: SocketAddr, listener: &TcpListener) -> Result<(TcpStream, TcpStream, SocketAddr)> {
    let client = connect(&lab.topology.client, vip)?;
    let (server, seen) = listener.accept()?;
    Ok((client, server, seen))
}

/// Datagrams of many sizes to `listening` by way of the VIP and back; whom the server sees.
pub fn datagrams(lab: &Lab, family: Family, port: u16, listening: IpAddr) -> Result<SocketAddr> {
    let server = lab.topology.backends[0].run(|| Ok(UdpSocket::bind((listening, port))?))?;
    let client = lab.topology.client.run(|| Ok(UdpSocket::bind((family.unspecified(), 0))?))?;
    client.connect((family.vip(), port))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(WITHIN))?;
    }
    let mut seen = None;
    for length in [0, 1, 2, 63, 512, 1_400] {
        let message: Vec<u8> = (0..length).map(|n| (n * 7 + length) as u8).collect();
        let mut heard = [0; 2_000];
        client.send(&message)?;
        let (count, from) = server.recv_from(&mut heard).with_context(|| format!("{length} bytes to the backend"))?;
        ensure!(heard[..count] == message, "{length} bytes came changed to the backend");
        ensure!(*seen.get_or_insert(from) == from, "one client was seen as {seen:?} and then as {from}");
        server.send_to(&message, from)?;
        let count = client.recv(&mut heard).with_context(|| format!("{length} bytes back"))?;
        ensure!(heard[..count] == message, "{length} bytes came changed to the client");
    }
    seen.context("nothing was sent")
}

/// A transfer through a listener of the backend on `at`; whom the backend sees.
pub fn transfer(lab: &Lab, family: Family, port: u16, at: IpAddr) -> Result<SocketAddr> {
    let listener = listen(lab, (at, port).into())?;
    let (client, server, seen) = converse(lab, (family.vip(), port).into(), &listener)?;
    exchange(client, server, BYTES)?;
    Ok(seen)
}
