//! After a claim: do floating addresses reach the gateways of their legs?

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ha_common::abi::Term;
use ha_common::ha::announce::Subject;
use rtnetlink::Handle;
use tracing::warn;

use super::helpers::Helpers;
use crate::alarm::{Board, Kind};
use crate::net::address::{self, LocalAddress};
use crate::net::announce::Roll;
use crate::net::gateway;
use crate::net::link::{self, Link};

/// How often a gateway that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// A question to put: on which leg, from which MAC, as whom, to whom.
type Question = (u32, [u8; 6], IpAddr, IpAddr);

/// By name of the leg, under which its alarm is raised.
type Questions = BTreeMap<String, Vec<Question>>;

/// Asks the gateway of each leg once per term and roll, as a floating address, and keeps the alarms of those that do not answer.
pub async fn watch(helpers: Helpers, handle: Handle, board: Board) {
    let mut changes = helpers.changes();
    let mut asked: Option<(Term, Arc<Roll>)> = None;
    let mut silent = Questions::new();
    loop {
        changes.mark_unchanged();
        let present = helpers.announced();
        if present != asked {
            // Former questions are of addresses and MACs that may be no more; so are their alarms, unless they are raised again.
            let questions = match &present {
                Some((_, roll)) => questions(&handle, roll).await,
                None => Questions::new(),
            };
            silent.retain(|leg, _| !questions.contains_key(leg));
            silent.keys().for_each(|leg| board.clear(Kind::GatewayUnreached, leg));
            silent = ask(&board, questions).await;
            asked = present;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if !silent.is_empty() => {
                if helpers.announced() == asked {
                    silent = ask(&board, std::mem::take(&mut silent)).await;
                }
            }
        }
    }
}

/// One question for each leg and gateway.
async fn questions(handle: &Handle, roll: &Roll) -> Questions {
    let read = async { Ok::<_, rtnetlink::Error>((gateway::gateways(handle).await?, address::list(handle).await?)) };
    let (gateways, own) = match read.await {
        Ok(read) => read,
        Err(error) => {
            warn!(%error, "cannot read the routes and the host's addresses: gateways are not asked");
            return Questions::new();
        }
    };
    let links = link::links().unwrap_or_default();
    let mut questions = Questions::new();
    for (ifindex, gateway) in gateways {
        let device = links.iter().find(|link| link.ifindex == ifindex);
        let is_leg = roll.macs.contains_key(&ifindex);
        let place = device.filter(|_| !is_leg).map_or((ifindex, 0), Link::place);
        let source = source_for(roll, &own, ifindex, place, gateway);
        let Some((source, [v4, v6])) = source.zip(roll.macs.get(&place.0).copied()) else { continue };
        let mac = if source.is_ipv4() { v4 } else { v6 };
        let name = device.map_or_else(|| ifindex.to_string(), |device| device.name.clone());
        questions.entry(name).or_default().push((ifindex, mac, source, gateway));
    }
    questions
}

/// The first address at `place`, a leg and a VLAN of it for which interface `ifindex` stands, that `gateway` takes for a neighbour: it shares a subnet of the leg with it. A router answers no
/// questions of addresses that it reaches by a route. One that is known by its link-local address has the leg's other subnets, too.
fn source_for(roll: &Roll, own: &[LocalAddress], ifindex: u32, place: (u32, u16), gateway: IpAddr) -> Option<IpAddr> {
    let subnets = own.iter().filter(|local| local.ifindex == ifindex);
    let subnets: Vec<_> = subnets.filter(|local| is_link_local(gateway) || local.contains(gateway)).collect();
    roll.announcements.iter().find_map(|announcement| match announcement.subject {
        Subject::Address(address)
            if (announcement.ifindex, announcement.vlan) == place && address.is_ipv4() == gateway.is_ipv4() =>
        {
            // An own address is no floating one: a floating address that the host owns is a subnet of its own.
            let on_link = subnets.iter().any(|local| local.address != address && local.contains(address));
            on_link.then_some(address)
        }
        Subject::Address(_) | Subject::Mac(_) => None,
    })
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Puts all questions at once; those of legs that were not answered.
async fn ask(board: &Board, questions: Questions) -> Questions {
    let put = |&(ifindex, mac, source, gateway): &Question| {
        tokio::task::spawn_blocking(move || gateway::reaches(ifindex, mac, source, gateway))
    };
    let answers: Vec<_> = questions.values().map(|asked| asked.iter().map(put).collect::<Vec<_>>()).collect();
    let mut silent = Questions::new();
    for ((leg, asked), answers) in questions.into_iter().zip(answers) {
        let mut unanswered = None;
        for (&(_, _, source, gateway), answer) in asked.iter().zip(answers) {
            match answer.await {
                Ok(Ok(true)) => continue,
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => warn!(leg, %gateway, %error, "cannot ask the gateway"),
            }
            unanswered = Some((source, gateway));
        }
        board.set(Kind::GatewayUnreached, &leg, unanswered.is_some(), || why(&leg, unanswered));
        if unanswered.is_some() {
            silent.insert(leg, asked);
        }
    }
    silent
}

fn why(leg: &str, unanswered: Option<(IpAddr, IpAddr)>) -> String {
    let Some((source, gateway)) = unanswered else { return String::new() };
    format!(
        "{source} does not reach the gateway {gateway} on {leg}: three questions were not answered; does the switch send what is for it \
         here, and is the gateway there?"
    )
}

#[cfg(test)]
mod tests {
    use ha_common::ha::announce::Announcement;

    use super::*;

    fn source(vips: &[&str], gateway: &str) -> Option<String> {
        let own = |ifindex, text: &str, prefix_len| LocalAddress { ifindex, address: text.parse().unwrap(), prefix_len };
        let own = [
            own(2, "10.1.0.11", 24),
            own(2, "10.1.0.99", 32),
            own(2, "2001:db8::11", 64),
            own(2, "fe80::11", 64),
            own(3, "10.7.0.11", 24),
        ];
        let subject = |text: &&str| Subject::Address(text.parse().unwrap());
        let announcements = vips.iter().map(|vip| Announcement { ifindex: 2, vlan: 0, subject: subject(vip) });
        // What lives in a VLAN of the same leg is another segment's, whatever its number.
        let tagged = Announcement { ifindex: 2, vlan: 10, subject: subject(&"10.1.0.98") };
        let roll = Roll { announcements: std::iter::once(tagged).chain(announcements).collect(), ..Roll::default() };
        source_for(&roll, &own, 2, (2, 0), gateway.parse().unwrap()).map(|source| source.to_string())
    }

    #[test]
    fn a_gateway_of_a_vlan_is_asked_by_an_address_that_is_announced_there() {
        let own = [LocalAddress { ifindex: 7, address: "10.1.0.11".parse().unwrap(), prefix_len: 24 }];
        let at = |vlan, text: &str| Announcement { ifindex: 2, vlan, subject: Subject::Address(text.parse().unwrap()) };
        let roll = Roll { announcements: vec![at(0, "10.1.0.98"), at(10, "10.1.0.99")], ..Roll::default() };
        let source = source_for(&roll, &own, 7, (2, 10), "10.1.0.1".parse().unwrap());
        assert_eq!(source, Some("10.1.0.99".parse().unwrap()));
    }

    #[test]
    fn a_gateway_is_asked_by_an_address_of_its_own_subnet_or_not_at_all() {
        assert_eq!(source(&["10.7.0.100", "192.0.2.1", "10.1.0.99"], "10.1.0.1").as_deref(), Some("10.1.0.99"));
        assert_eq!(source(&["10.7.0.100", "192.0.2.1"], "10.1.0.1"), None, "only routed to us, or of another leg's subnet");
        assert_eq!(source(&["10.1.0.100"], "10.9.0.1"), None, "the gateway is in no subnet of the leg");
        assert_eq!(source(&["10.1.0.100"], "2001:db8::1"), None, "of another family");
    }

    #[test]
    fn a_gateway_with_a_link_local_address_knows_the_subnets_of_the_leg() {
        assert_eq!(source(&["2001:db8:9::100", "2001:db8::100"], "fe80::1").as_deref(), Some("2001:db8::100"));
        assert_eq!(source(&["2001:db8:9::100"], "fe80::1"), None);
    }
}
