//! What happens to cables.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Event, Host, Lab, Result, at_once, ensure, rt, sequel, wait_as_it_is};
use crate::harness::relay::{Mischief, Relay};
use crate::harness::topology::{CLIENT_V4, Leg};
use crate::harness::wire::Direction;

/// Frames that a bad cable loses.
const LOSS: f64 = 0.3;
/// How often a link changes its carrier, and how long it stays as it is.
const FLAPS: u32 = 20;
const FLAP: Duration = Duration::from_millis(40);
/// How long a switch that recalculates its spanning tree forwards nothing.
const SPANNING_TREE: Duration = Duration::from_secs(2);

/// Loss at random on all HA links, in both directions.
///
/// A request is answered over at least one of two links with probability 1 - (1 - 0.7²)² = 0.74. Death takes a whole dead interval without
/// an answer, and during its second half requests leave at the pace of the round trip (0.3 ms at least): some fifty of them in 15 ms, all
/// unanswered once in 10^28 intervals.
pub fn lossy_links(lab: &mut Lab, _: Host) -> Result<Event> {
    let event = at_once(|| lose(lab, LOSS))?;
    Ok(Event { end: sequel(|lab| lose(lab, 0.0)), ..event })
}

fn lose(lab: &Lab, probability: f64) -> Result<()> {
    for (host, leg) in Host::BOTH.into_iter().flat_map(|host| Leg::HA.map(|leg| (host, leg))) {
        for direction in [Direction::FromHost, Direction::ToHost] {
            // Each frame passes two ports, the sender's and the receiver's.
            lab.topology.wire.lose(lab.topology.site(host).port(leg), direction, 1.0 - (1.0 - probability).sqrt());
        }
    }
    Ok(())
}

/// Every heartbeat comes a second time, later than the next one.
pub fn duplicating_links(lab: &mut Lab, _: Host) -> Result<Event> {
    let later = lab.options.hello * 3 / 2;
    relay(lab, Mischief::Duplicate(later))
}

/// Heartbeats overtake each other: each takes its own time, up to two fifths of the dead interval.
///
/// There and back takes at most four fifths of it, and the patience with a request grows with the round trip up to the whole: no request
/// stays unanswered for that long, so nobody can be taken for dead.
pub fn reordering_links(lab: &mut Lab, _: Host) -> Result<Event> {
    let detour = lab.options.dead * 2 / 5;
    relay(lab, Mischief::Reorder(detour))
}

fn relay(lab: &mut Lab, mischief: Mischief) -> Result<Event> {
    let at = rt::now();
    let relay = Relay::start(&lab.topology, &Leg::HA, mischief)?;
    let end = sequel(move |lab| {
        let done = relay.release(&lab.topology)?;
        let (delivered, repeated, overtaken) =
            (done.delivered.load(Relaxed), done.repeated.load(Relaxed), done.overtaken.load(Relaxed));
        eprintln!("relay: {delivered} frames, {repeated} of them again, {overtaken} of them overtaken");
        let enough = match mischief {
            Mischief::Duplicate(_) => repeated,
            Mischief::Reorder(_) => overtaken,
        };
        ensure!(enough >= 100, "{mischief:?} befell only {enough} of {delivered} frames: nothing was tried");
        Ok(())
    });
    Ok(Event { at, then: None, end })
}

/// One HA link falls silent, carrier up.
pub fn cut_link(lab: &mut Lab, primary: Host) -> Result<Event> {
    cut(lab, primary, &[Leg::Ha0], &[Direction::FromHost, Direction::ToHost])
}

/// One HA link loses what the Primary sends.
pub fn cut_link_out(lab: &mut Lab, primary: Host) -> Result<Event> {
    cut(lab, primary, &[Leg::Ha0], &[Direction::FromHost])
}

/// One HA link loses what the Primary should receive.
pub fn cut_link_in(lab: &mut Lab, primary: Host) -> Result<Event> {
    cut(lab, primary, &[Leg::Ha0], &[Direction::ToHost])
}

/// Nothing that the Primary says on HA links arrives, not even its echoes: the Secondary cannot know that it lives.
pub fn cut_links_out(lab: &mut Lab, primary: Host) -> Result<Event> {
    cut(lab, primary, &Leg::HA, &[Direction::FromHost])
}

/// Nothing that the Secondary says on HA links arrives; the requests of the Primary do, and show that it serves.
pub fn cut_links_in(lab: &mut Lab, primary: Host) -> Result<Event> {
    cut(lab, primary, &Leg::HA, &[Direction::ToHost])
}

fn cut(lab: &Lab, host: Host, legs: &'static [Leg], directions: &'static [Direction]) -> Result<Event> {
    let set = move |lab: &Lab, cut| directions.iter().for_each(|direction| lab.topology.cut(host, legs, *direction, cut));
    let event = at_once(|| {
        set(lab, true);
        Ok(())
    })?;
    let end = sequel(move |lab| {
        set(lab, false);
        Ok(())
    });
    Ok(Event { end, ..event })
}

/// The HA links lose and find their carrier in turn: one of them is always there.
pub fn flap_links(lab: &mut Lab, primary: Host) -> Result<Event> {
    at_once(|| {
        for flap in 0..FLAPS {
            let leg = Leg::HA[flap as usize % Leg::HA.len()];
            lab.topology.set_carrier(primary, leg, false)?;
            rt::sleep_until(rt::now() + FLAP);
            lab.topology.set_carrier(primary, leg, true)?;
            rt::sleep_until(rt::now() + FLAP);
        }
        Ok(())
    })
}

/// The switches forward nothing for a while: both nodes' legs and the HA link through the switch are silent, the direct one is not.
pub fn spanning_tree(lab: &mut Lab, _: Host) -> Result<Event> {
    let silence = |silent| {
        let ports = Host::BOTH.map(|host| [Leg::Client, Leg::Server, Leg::Ha1].map(|leg| lab.topology.site(host).port(leg)));
        lab.topology.wire.silence(&ports.concat(), silent);
    };
    at_once(|| {
        silence(true);
        rt::sleep_until(rt::now() + SPANNING_TREE);
        silence(false);
        Ok(())
    })
}

/// The client leg falls silent while its carrier stays, as behind a switch that has lost its uplink. Both nodes ask the client whether
/// they are connected, as they would their gateway.
pub fn cut_client_silently(lab: &mut Lab, primary: Host) -> Result<Event> {
    let asked = CLIENT_V4.to_string();
    for host in Host::BOTH {
        lab.node(host).command(&["set", "interface", Leg::Client.interface(), "-probe", &asked])?;
    }
    // Silence says something only once somebody was heard.
    wait_as_it_is();
    cut(lab, primary, &[Leg::Client], &[Direction::FromHost, Direction::ToHost])
}

/// Only the HA links are cut: both serve, each on its side, until the heal.
pub fn split_and_heal(lab: &mut Lab, primary: Host) -> Result<Event> {
    let silence = move |lab: &Lab, silent| {
        lab.topology.wire.silence(&Leg::HA.map(|leg| lab.topology.site(primary).port(leg)), silent);
        Ok(())
    };
    let event = at_once(|| silence(lab, true))?;
    let then = sequel(move |lab| {
        wait_as_it_is();
        silence(lab, false)
    });
    Ok(Event { then, ..event })
}
