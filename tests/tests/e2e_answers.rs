//! Whether a VIP answers ping and neighbours while its services are down, and how often, with real daemons.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etherparse::{IpNumber, PacketBuilder};
use ha_tests::harness::client::Role;
use ha_tests::harness::frame::{self, Content, Frame};
use ha_tests::harness::lab::{Lab, Options};
use ha_tests::harness::topology::{Host, Leg, VIP_V4, VIP_V6, backend_v4};
use ha_tests::harness::{netdev, packet_socket};
use socket2::Socket;

/// Answers as its virtual server, which counts, stands.
const STRICT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 110);
/// Answers as every VIP does that nobody said anything about.
const PLAIN: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 111);
/// A port of the backend that nothing listens on at first.
const PORT: u16 = 81;
/// How long anything may take: a monitor asks a service that is down every 30 s, or when the node takes over.
const WITHIN: Duration = Duration::from_secs(45);
/// An answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// A bystander on the clients' segment who asks.
struct Asker {
    sending: Socket,
    hearing: Socket,
    asked: u32,
}

impl Asker {
    fn new(lab: &Lab) -> Result<Self> {
        lab.topology
            .observer
            .run(|| Ok(Asker { sending: packet_socket::sender("obs0")?, hearing: packet_socket::capture("obs0")?, asked: 0 }))
    }

    /// Whether `vip` at `mac` answers ping, and its neighbours.
    fn answers(&mut self, vip: Ipv4Addr, mac: [u8; 6]) -> Result<[bool; 2]> {
        let index = self.next();
        let echoes = self.ask(&ping(index, vip, mac)?, |content| content == Content::EchoReply { index })?;
        let question = frame::arp_request(index, vip)?;
        let is_answer = |content| matches!(content, Content::Arp { asker } if asker == Some(index % frame::ASKERS));
        Ok([echoes, self.ask(&question, is_answer)?])
    }

    /// Whether the IPv6 VIP answers its neighbours.
    fn is_found(&mut self) -> Result<bool> {
        let index = self.next();
        let question = frame::neighbor_solicitation(index, VIP_V6)?;
        self.ask(
            &question,
            |content| matches!(content, Content::Advertisement { asker } if asker == Some(index % frame::ASKERS)),
        )
    }

    /// Pings `vip` at `mac` this many times without waiting for answers.
    fn flood(&mut self, vip: Ipv4Addr, mac: [u8; 6], times: u64) -> Result<()> {
        for _ in 0..times {
            let index = self.next();
            self.sending.send(&ping(index, vip, mac)?).context("flood")?;
        }
        Ok(())
    }

    fn next(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    fn ask(&self, question: &[u8], is_answer: impl Fn(Content) -> bool) -> Result<bool> {
        self.sending.send(question).context("ask")?;
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut buffer = [0; 256];
        while Instant::now() < deadline {
            match packet_socket::receive(&self.hearing, &mut buffer)? {
                Some((len, _)) => {
                    if let Some(Frame { content, .. }) = frame::read(&buffer[..len])
                        && is_answer(content)
                    {
                        return Ok(true);
                    }
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(false)
    }
}

/// A ping of `vip` at `mac`.
fn ping(index: u32, vip: Ipv4Addr, mac: [u8; 6]) -> Result<Vec<u8>> {
    let mut ping = Vec::new();
    let headers = PacketBuilder::ethernet2([2, 0x55, 0x53, 0, 0, 2], mac).ipv4([10, 1, 0, 190], vip.octets(), 64);
    headers.write(&mut ping, IpNumber::ICMP, &frame::echo_request(index))?;
    Ok(ping)
}

/// Asks until the answer is `wanted`.
fn until<T: PartialEq + std::fmt::Debug>(lab: &Lab, what: &str, wanted: T, mut ask: impl FnMut() -> Result<T>) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let found = ask()?;
        if found == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{what}: {found:?} instead of {wanted:?}\n{}", lab.logs());
    }
}

fn mac_of(lab: &Lab, host: Host) -> Result<[u8; 6]> {
    lab.topology.site(host).netns.run(|| netdev::mac(Leg::Client.interface()))
}

/// Pings answered and not answered because they were too many, so far.
fn pings(lab: &Lab, host: Host) -> Result<[u64; 2]> {
    let counters = lab.node(host).counters()?;
    let count = |reason| counters.iter().find(|(name, _)| *name == reason).map_or(0, |(_, packets)| *packets);
    Ok(["icmp_echo", "icmp_limited"].map(count))
}

#[test]
fn a_flood_of_pings_is_answered_at_the_rate_that_is_set_and_wholly_without_one() -> Result<()> {
    const FLOOD: u64 = 2_000;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces and BPF");
        return Ok(());
    }
    let lab = Lab::raise_with(&Options::small()?, "set ns rateControl -icmpThreshold 1\n", |_| Ok(()))?;
    let host = lab.wait_settled()?;
    let (mut asker, mac) = (Asker::new(&lab)?, mac_of(&lab, host)?);
    let start = Instant::now();
    asker.flood(VIP_V4, mac, FLOOD)?;
    until(&lab, "every ping is counted", FLOOD, || Ok(pings(&lab, host)?.iter().sum()))?;
    let [answered, limited] = pings(&lab, host)?;
    let cpus = std::thread::available_parallelism()?.get() as u64;
    let allowed = cpus * (1 + start.elapsed().as_millis() as u64 / 10);
    ensure!((1..=allowed).contains(&answered), "{answered} of {FLOOD} answered, {limited} not; {allowed} are allowed");

    lab.node(host).command(&["set", "ns", "rateControl", "-icmpThreshold", "0"])?;
    asker.flood(VIP_V4, mac, FLOOD)?;
    until(&lab, "every ping is counted", 2 * FLOOD, || Ok(pings(&lab, host)?.iter().sum()))?;
    let now = pings(&lab, host)?;
    ensure!(now == [answered + FLOOD, limited], "answered and limited: {now:?} after {answered} and {limited}");
    Ok(())
}

#[test]
fn a_vip_falls_silent_with_its_services_only_where_that_is_wanted() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces and BPF");
        return Ok(());
    }
    let more = format!(
        "add ns ip {STRICT} 255.255.255.255 -type VIP -icmpResponse VSVR_CNTRLD -arpResponse ONE_VSERVER\n\
         add lb vserver strict TCP {STRICT} {PORT} -icmpVsrResponse ACTIVE\n\
         add lb vserver plain TCP {PLAIN} {PORT}\n\
         add service late {} TCP {PORT} -usip YES\n\
         bind lb vserver strict late\n\
         bind lb vserver plain late\n\
         set ns ip6 {VIP_V6}/128 -ndResponse ALL_VSERVERS\n",
        backend_v4(1)
    );
    let lab = Lab::raise_with(&Options::small()?, &more, |_| Ok(()))?;
    let first = lab.wait_settled()?;
    let mut asker = Asker::new(&lab)?;
    let mac = mac_of(&lab, first)?;

    until(&lab, "nothing listens: echo and ARP", [false, false], || asker.answers(STRICT, mac))?;
    until(&lab, "nothing listens, by default: echo and ARP", [true, true], || asker.answers(PLAIN, mac))?;
    let shown = lab.node(first).command(&["show", "lb", "vserver", "strict"])?;
    ensure!(shown.contains("State: DOWN") && shown.contains("IcmpResponse: ACTIVE"), "{shown}");

    let node = lab.node(first);
    node.command(&["set", "lb", "vserver", "strict", "-icmpVsrResponse", "PASSIVE"])?;
    until(&lab, "a passive vserver does not silence echo", [true, false], || asker.answers(STRICT, mac))?;
    node.command(&["set", "lb", "vserver", "strict", "-icmpVsrResponse", "ACTIVE"])?;
    until(&lab, "an active one does", [false, false], || asker.answers(STRICT, mac))?;

    until(&lab, "IPv6: its service is up", true, || asker.is_found())?;
    node.command(&["disable", "lb", "vserver", "web6"])?;
    until(&lab, "IPv6: out of service is down", false, || asker.is_found())?;
    node.command(&["enable", "lb", "vserver", "web6"])?;
    until(&lab, "IPv6: and up again", true, || asker.is_found())?;

    // Who takes over asks every service at once.
    let _listener = lab.topology.backends[0].run(|| TcpListener::bind((backend_v4(1), PORT)).context("listen"))?;
    lab.wait_well(first.peer())?;
    node.command(&["force", "ha", "failover", "-force"])?;
    lab.wait_role(first.peer(), Role::Primary)?;
    let mac = mac_of(&lab, first.peer())?;
    until(&lab, "it listens: echo and ARP", [true, true], || asker.answers(STRICT, mac))
}
