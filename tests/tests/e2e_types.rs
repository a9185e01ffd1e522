//! Where virtual servers live and what they take, with a real pair and real backends: VLANs, service types, every port, FTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::MutexGuard;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_tests::harness::client::Role;
use ha_tests::harness::frame::{self, Content};
use ha_tests::harness::lab::{Lab, Options};
use ha_tests::harness::station::Station;
use ha_tests::harness::topology::{CLIENT_V4, Host, Leg, SNIP_V4, VIP_V4, backend_v4};
use ha_tests::harness::unwrapper::Unwrapper;
use ha_tests::harness::ways::{Family, connect, datagrams, listen, pair, transfer};
use ha_tests::harness::{direct, exchange::exchange, ftp, netdev, netns::Netns, trial};

/// A VLAN of the clients' leg, with a subnet of its own.
const VLAN: u16 = 30;
/// Its VIPs.
const VLAN_VIP: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 100);
const VLAN_VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 3, 0, 0, 0, 0, 0, 0x100);
/// A client there.
const VLAN_CLIENT: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 3, 0, 2), 4000);
const PORT: u16 = 53;

fn mac_of(lab: &Lab, host: Host) -> Result<[u8; 6]> {
    lab.topology.site(host).netns.run(|| netdev::mac(Leg::Client.interface()))
}

/// A server that says again what it hears, until it is dropped with its namespace.
fn echo_datagrams(netns: &Netns, address: (Ipv4Addr, u16)) -> Result<()> {
    let socket = netns.run(|| UdpSocket::bind(address).with_context(|| format!("listen on {address:?}")))?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..len], from);
        }
    });
    Ok(())
}

#[test]
fn a_vip_in_a_vlan_is_found_announced_and_served_with_its_tag_and_nowhere_else() -> Result<()> {
    let more = format!(
        "add vlan {VLAN}\nbind vlan {VLAN} -ifnum client0 -tagged\n\
         bind vlan {VLAN} -IPAddress 10.3.0.1 255.255.255.0\nbind vlan {VLAN} -IPAddress fd00:3::1/64\n\
         add lb vserver in-vlan UDP {VLAN_VIP} {PORT}\nadd lb vserver in-vlan6 UDP {VLAN_VIP6} {PORT}\n\
         add service behind {} UDP {PORT} -usip YES\nbind lb vserver in-vlan behind\n",
        backend_v4(1)
    );
    let Some((lab, first, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
    let claim = || {
        echo_datagrams(&lab.topology.backends[0], (backend_v4(1), PORT))?;
        let station = Station::new(&lab.topology)?;
        for vip in [IpAddr::V4(VLAN_VIP), VLAN_VIP6.into()] {
            ensure!(station.find(VLAN, vip)? == Some(mac_of(&lab, first)?), "{vip} is not found in its VLAN");
            ensure!(station.find(0, vip)?.is_none(), "{vip} is found without a tag");
            ensure!(station.find(VLAN + 1, vip)?.is_none(), "{vip} is found in another VLAN");
        }
        let talk = |host: Host, words: &[u8]| {
            station.forget()?;
            station.say(VLAN, mac_of(&lab, host)?, VLAN_CLIENT, (VLAN_VIP, PORT), words)?;
            let heard = station.hear(|heard| Some((heard.vlan, heard.words((VLAN_VIP, PORT), VLAN_CLIENT)?)))?;
            ensure!(
                heard.as_ref() == Some(&(VLAN, words.to_vec())),
                "{heard:?} is heard instead of {words:?} with the tag {VLAN}"
            );
            Ok(())
        };
        talk(first, b"to the Primary")?;
        let second = first.peer();
        lab.wait_well(second)?;
        station.forget()?;
        lab.node(first).command(&["force", "ha", "failover", "-force"])?;
        lab.wait_role(second, Role::Primary)?;
        let mac = mac_of(&lab, second)?;
        let mut told = Vec::new();
        let all = station.hear(|heard| {
            let found = frame::read(&heard.bytes)?;
            let says = matches!(found.content, Content::Arp { asker: None } | Content::Advertisement { asker: None });
            if says && found.mac == mac && found.speaker.is_some_and(|ip| ip == VLAN_VIP || ip == VLAN_VIP6) {
                told.push((found.speaker, heard.vlan));
            }
            (told.len() == 2).then_some(())
        })?;
        ensure!(all.is_some() && told.iter().all(|(_, vlan)| *vlan == VLAN), "announced by the new Primary: {told:?}");
        talk(second, b"to its successor")?;
        let shown = lab.node(second).command(&["show", "vlan"])?;
        ensure!(shown.contains("client0(T)") && shown.contains(&VLAN_VIP.to_string()), "{shown}");
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

/// IPv4.
const V4: Family = Family { v6: false };
/// Ports that no virtual server has.
const ODD: [u16; 2] = [4_433, 7_000];

#[test]
fn every_port_that_nobody_has_reaches_the_same_port_of_a_backend_and_the_others_stay_where_they_are() -> Result<()> {
    for (usip, seen_as) in [("YES", CLIENT_V4), ("NO", SNIP_V4)] {
        let more = format!(
            "add lb vserver rest ANY {VIP_V4} *\nadd service every {} ANY * -usip {usip}\nbind lb vserver rest every\n",
            backend_v4(1)
        );
        let Some((lab, primary, _alone)) = pair(&more, |_| Ok(()))? else { return Ok(()) };
        let claim = || {
            for port in ODD {
                let seen = transfer(&lab, V4, port, backend_v4(1).into()).with_context(|| format!("TCP {port}"))?;
                ensure!(seen.ip() == seen_as, "TCP {port} is seen as {seen}");
                let seen = datagrams(&lab, V4, port, backend_v4(1).into()).with_context(|| format!("UDP {port}"))?;
                ensure!(seen.ip() == seen_as, "UDP {port} is seen as {seen}");
            }
            // Port 80 is another's, which has a server there.
            connect(&lab.topology.client, (VIP_V4, 80).into())?;
            let shown = lab.node(primary).command(&["show", "lb", "vserver", "rest"])?;
            ensure!(shown.contains(&format!("rest ({VIP_V4}:*) - ANY")), "{shown}");
            let table = lab.node(primary).command(&["show", "ns", "connectiontable"])?;
            ensure!(ODD.iter().all(|port| table.contains(&port.to_string())), "{table}");
            Ok(())
        };
        claim().map_err(|error| lab.explain(error.context(format!("-usip {usip}"))))?;
    }
    Ok(())
}

#[test]
fn what_is_routed_here_for_any_address_goes_on_to_a_next_hop_as_it_came() -> Result<()> {
    /// Somebody beyond, whom the backend plays.
    const FAR: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 9);
    let more = format!("add lb vserver fw ANY * * -m MAC\nadd service wall {} ANY *\nbind lb vserver fw wall\n", backend_v4(1));
    let own = |topology: &_| direct::own(topology, 1, &[FAR.into()]);
    let Some((lab, primary, _alone)) = pair(&more, own)? else { return Ok(()) };
    let claim = || {
        lab.topology.client.ip(&format!("route add {FAR}/32 via {}\n", primary.client_v4()))?;
        for port in ODD {
            let listener = listen(&lab, (FAR, port).into())?;
            let client = connect(&lab.topology.client, (FAR, port).into())?;
            let (server, seen) = listener.accept()?;
            ensure!(seen.ip() == CLIENT_V4, "{seen}");
            exchange(client, server, 1 << 20)?;
        }
        let counted = lab.node(primary).counters()?;
        ensure!(counted.iter().any(|(name, packets)| *name == "forward_hash" && *packets > 100), "{counted:?}");
        Ok(())
    };
    claim().map_err(|error| lab.explain(error))
}

/// What curl is told, by what it says to the server.
const EPSV: &[&str] = &[];
const PASV: &[&str] = &["--disable-epsv", "--no-ftp-skip-pasv-ip"];
const EPRT: &[&str] = &["--ftp-port", "-"];
const PORT_COMMAND: &[&str] = &["--ftp-port", "-", "--disable-eprt"];
/// Large enough for many segments.
const FILE: usize = 300_000;

/// A pair before two FTP servers, in a mode.
fn ftp_pair(mode: &str, usip: &str) -> Result<Option<(Lab, MutexGuard<'static, ()>)>> {
    let services: String = (1..=2)
        .map(|number| {
            format!(
                "add service f{number} {} FTP 21 -usip {usip} -healthMonitor NO\nbind lb vserver files f{number}\n",
                backend_v4(number)
            )
        })
        .collect();
    let more = format!("add lb vserver files FTP {VIP_V4} 21 -m {mode}\n{services}");
    let Some(alone) = trial::alone() else { return Ok(None) };
    let options = Options { dead: Duration::from_millis(500), backends: 2, ..Options::small()? };
    let owns = mode != "IP";
    let lab = Lab::raise_with(&options, &more, |topology| {
        (1..=2).filter(|_| owns).try_for_each(|number| direct::own(topology, number, &[VIP_V4.into()]))
    })?;
    lab.wait_settled()?;
    for (index, netns) in lab.topology.backends.iter().enumerate() {
        let address: SocketAddr = (if owns { VIP_V4 } else { backend_v4(index + 1) }, 21).into();
        ftp::serve(netns, address, vec![b'a' + index as u8; FILE])?;
    }
    Ok(Some((lab, alone)))
}

/// Fetches a file from address `from` of the client; the letter that it is full of says whose it is.
fn fetch(lab: &Lab, from: &str, words: &[&str]) -> Result<u8> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "8", "--interface", from]).args(words);
    curl.arg(format!("ftp://{VIP_V4}/file")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = lab.topology.client.spawn(curl)?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "curl {words:?} from {from}: {said}");
    let letter = *output.stdout.first().context("an empty file")?;
    ensure!(output.stdout == vec![letter; FILE], "{} bytes instead of {FILE} of one kind", output.stdout.len());
    Ok(letter)
}

/// Fetches files in all of these ways, from several addresses of the client; both servers have been asked then.
fn fetch_all(lab: &Lab, ways: &[&[&str]]) -> Result<()> {
    let mut asked = std::collections::BTreeSet::new();
    for last in 2..10 {
        let from = format!("10.1.0.{last}");
        if last > 2 {
            lab.topology.client.ip(&format!("addr add {from}/24 dev client0\n"))?;
        }
        let letters = ways.iter().map(|way| fetch(lab, &from, way)).collect::<Result<Vec<_>>>()?;
        ensure!(letters.iter().all(|letter| *letter == letters[0]), "{from} was served by both: {letters:?}");
        asked.insert(letters[0]);
    }
    ensure!(asked.len() == 2, "all clients were served by one: {asked:?}");
    Ok(())
}

#[test]
fn ftp_past_the_pair_works_in_every_mode_by_every_command() -> Result<()> {
    let Some((lab, _alone)) = ftp_pair("MAC", "NO")? else { return Ok(()) };
    fetch_all(&lab, &[EPSV, PASV, EPRT, PORT_COMMAND]).map_err(|error| lab.explain(error))
}

#[test]
fn ftp_through_tunnels_works_in_every_mode_by_every_command() -> Result<()> {
    let Some((lab, _alone)) = ftp_pair("IPTUNNEL", "NO")? else { return Ok(()) };
    let claim = || {
        let _ends = lab.topology.backends.iter().map(Unwrapper::start).collect::<Result<Vec<_>>>()?;
        fetch_all(&lab, &[EPSV, PASV, EPRT, PORT_COMMAND])
    };
    claim().map_err(|error| lab.explain(error))
}

#[test]
fn ftp_through_the_pair_works_passive_by_epsv_and_active_where_servers_see_their_clients() -> Result<()> {
    let Some((lab, _alone)) = ftp_pair("IP", "YES")? else { return Ok(()) };
    fetch_all(&lab, &[EPSV, EPRT, PORT_COMMAND]).map_err(|error| lab.explain(error))
}

#[test]
fn ftp_of_hidden_clients_works_passive_by_epsv() -> Result<()> {
    let Some((lab, _alone)) = ftp_pair("IP", "NO")? else { return Ok(()) };
    fetch_all(&lab, &[EPSV]).map_err(|error| lab.explain(error))
}
