//! Where virtual servers live and what they take, with a real pair and real backends: VLANs, service types, every port, FTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ha_tests::harness::client::Role;
use ha_tests::harness::frame::{self, Content};
use ha_tests::harness::lab::Lab;
use ha_tests::harness::station::Station;
use ha_tests::harness::topology::{Host, Leg, backend_v4};
use ha_tests::harness::ways::pair;
use ha_tests::harness::{netdev, netns::Netns};

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
