//! One takeover, and when each VIP was reachable after it.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use super::stations::{Asked, Stations, vip};
use super::switch;
use crate::harness::lab::{Lab, Options, daemon};
use crate::harness::topology::{Host, Leg, Topology};
use crate::harness::{netdev, rt};

/// VRID of the runs with a virtual MAC.
const VRID: u8 = 60;
/// How long the Secondary may take to claim.
const CLAIM_WITHIN: Duration = Duration::from_secs(10);
/// How long all is watched before the Primary falls silent.
const BEFORE: Duration = Duration::from_millis(500);
/// Distance of two looks at the log.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of VIPs.
    pub vips: usize,
    /// Whether the client legs have a virtual MAC.
    pub vmac: bool,
    /// ARP packets per second that the switch lets pass of each node; none: all.
    pub policed: Option<u32>,
    /// And how many at once.
    pub burst: u32,
    /// Questions per second, over all VIPs.
    pub questions: u32,
    /// How long all is watched after the claim.
    pub after: Duration,
}

/// What came of it, in time after the claim.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Sample {
    /// After that no question to any VIP was lost.
    pub all_ms: f64,
    /// The same for half of the VIPs.
    pub half_ms: f64,
    /// The same for the first one.
    pub first_ms: f64,
    /// VIPs that no question reached to the end.
    pub never: usize,
    /// Announcements that the switch dropped.
    pub policed: u64,
    /// From the silence to the claim.
    pub claim_ms: f64,
}

/// Raises a pair, silences its Primary and measures.
pub fn measure(settings: &Settings) -> Result<Sample> {
    let options = Options {
        binary: daemon()?,
        hello: Duration::from_millis(20),
        dead: Duration::from_millis(200),
        controller_dead: Duration::from_secs(3),
        connections: 0,
        backends: 1,
        fence: true,
        packet_threads: false,
    };
    let lab = Lab::raise_with(&options, &configuration(settings), |topology| prepare(topology, settings))?;
    let primary = lab.wait_settled()?;
    run(&lab, primary, settings).map_err(|error| lab.explain(error))
}

fn configuration(settings: &Settings) -> String {
    let vrid = if settings.vmac { format!("add vrid {VRID}\nbind vrid {VRID} -ifnum client0\n") } else { String::new() };
    (0..settings.vips).fold(vrid, |text, number| text + &format!("add lb vserver v{number} TCP {} 80\n", vip(number)))
}

/// The VIPs have a subnet of their own on the clients' segment; there the switch polices.
fn prepare(topology: &Topology, settings: &Settings) -> Result<()> {
    for host in Host::BOTH {
        topology.site(host).netns.ip(&format!("addr add 10.1.31.{}/20 dev client0\n", 250 + host as u8))?;
    }
    settings.policed.map_or(Ok(()), |rate| switch::police(topology, rate, settings.burst))
}

fn run(lab: &Lab, primary: Host, settings: &Settings) -> Result<Sample> {
    let mac = if settings.vmac {
        [0, 0, 0x5e, 0, 1, VRID]
    } else {
        lab.topology.site(primary).netns.run(|| netdev::mac(Leg::Client.interface()))?
    };
    // The rounds after the first claim shall be over: what comes later would hide what is lost now.
    wait_for_silence(settings);
    let dropped = policed(lab, settings)?;
    let stations = Stations::start(&lab.topology, settings.vips, mac, settings.questions)?;
    std::thread::sleep(BEFORE);
    let silent_at = rt::now();
    lab.topology.silence(primary, true);
    let claimed_at = claim(lab, primary.peer(), silent_at)?;
    std::thread::sleep((claimed_at + settings.after).saturating_sub(rt::now()));
    let asked = stations.finish()?;
    let before = asked.iter().filter(|question| question.at < silent_at && question.answered).count();
    ensure!(before > settings.vips, "only {before} questions were answered before the fault: nothing to compare with");
    let found = reached(&asked, settings.vips, claimed_at);
    let mut times: Vec<Duration> = found.iter().flatten().copied().collect();
    times.sort();
    let at = |place: usize| times.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    Ok(Sample {
        all_ms: at(times.len().saturating_sub(1)),
        half_ms: at(times.len() / 2),
        first_ms: at(0),
        never: settings.vips - times.len(),
        policed: policed(lab, settings)? - dropped,
        claim_ms: claimed_at.saturating_sub(silent_at).as_secs_f64() * 1e3,
    })
}

/// Three rounds, at a thousand frames a second and at least a second each.
fn wait_for_silence(settings: &Settings) {
    let round = (settings.vips as f64 / 900.0).max(1.0);
    std::thread::sleep(Duration::from_secs_f64(3.0 * round + 1.0));
}

fn policed(lab: &Lab, settings: &Settings) -> Result<u64> {
    if settings.policed.is_none() { Ok(0) } else { switch::policed(&lab.topology) }
}

/// When `host` became Primary, by its own log.
fn claim(lab: &Lab, host: Host, since: Duration) -> Result<Duration> {
    let deadline = Instant::now() + CLAIM_WITHIN;
    loop {
        let log = lab.node(host).log()?;
        let line = log.lines().rev().find(|line| line.contains(" role ") || line.contains("helpers: role")).unwrap_or_default();
        if line.contains("to=Primary") {
            let at = line.rsplit("at=").next().and_then(|text| text.trim().parse::<f64>().ok());
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(at.context("a change of role has a time")?);
            let wall = at.duration_since(SystemTime::UNIX_EPOCH)?;
            let at = wall.saturating_sub(rt::wall_offset());
            if at >= since {
                return Ok(at);
            }
        }
        ensure!(Instant::now() < deadline, "the Secondary does not claim within {CLAIM_WITHIN:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// For each VIP, when its last question that was lost was asked, from the claim on; none if the last of all was lost.
fn reached(asked: &[Asked], vips: usize, claimed_at: Duration) -> Vec<Option<Duration>> {
    let mut found = vec![None; vips];
    for question in asked.iter().filter(|question| question.at >= claimed_at) {
        found[question.vip] = match (question.answered, found[question.vip]) {
            (true, None) => Some((Duration::ZERO, true)),
            (true, Some((lost, _))) => Some((lost, true)),
            (false, _) => Some((question.at - claimed_at, false)),
        };
    }
    found.into_iter().map(|last| last.and_then(|(lost, answered)| answered.then_some(lost))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_is_reached_when_its_last_question_was_lost_and_never_if_the_last_of_all_was() {
        let ms = Duration::from_millis;
        let asked = |vip, at, answered| Asked { vip, at: ms(at), answered };
        let questions = [
            asked(0, 5, false),
            asked(0, 10, true),
            asked(1, 11, false),
            asked(1, 12, true),
            asked(2, 12, true),
            asked(2, 13, false),
        ];
        assert_eq!(reached(&questions, 3, ms(10)), [Some(ms(0)), Some(ms(1)), None]);
    }
}
