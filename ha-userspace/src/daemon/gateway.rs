//! After a claim: do floating addresses reach the gateways of their legs?

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ha_common::abi::Term;
use ha_common::ha::announce::Subject;
use rtnetlink::Handle;
use tracing::warn;

use super::helpers::Helpers;
use crate::alarm::{Board, Kind};
use crate::net::announce::Roll;
use crate::net::{gateway, link};

/// How often a gateway that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// A question to put: on which leg, from which MAC, as whom, to whom.
type Question = (u32, [u8; 6], IpAddr, IpAddr);

/// By name of the leg, under which its alarm is raised.
type Questions = BTreeMap<String, Vec<Question>>;

/// Asks the gateway of each leg once per term, as a floating address, and keeps the alarms of those that do not answer.
pub async fn watch(helpers: Helpers, handle: Handle, board: Board) {
    let mut changes = helpers.changes();
    let mut asked: Option<Term> = None;
    let mut silent: Questions = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        match helpers.announced() {
            None => {
                asked = None;
                for leg in std::mem::take(&mut silent).into_keys() {
                    board.clear(Kind::GatewayUnreached, &leg);
                }
            }
            Some((term, roll)) if asked != Some(term) => {
                asked = Some(term);
                silent = ask(&board, questions(&handle, &roll).await).await;
            }
            Some(_) => {}
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if !silent.is_empty() => {
                silent = ask(&board, std::mem::take(&mut silent)).await;
            }
        }
    }
}

/// One question for each leg and gateway.
async fn questions(handle: &Handle, roll: &Roll) -> Questions {
    let gateways = match gateway::gateways(handle).await {
        Ok(gateways) => gateways,
        Err(error) => {
            warn!(%error, "cannot read the routes: gateways are not asked");
            return Questions::new();
        }
    };
    let mut questions = Questions::new();
    for (ifindex, gateway) in gateways {
        let source = roll.announcements.iter().find_map(|announcement| match announcement.subject {
            Subject::Address(address) if announcement.ifindex == ifindex && address.is_ipv4() == gateway.is_ipv4() => {
                Some(address)
            }
            Subject::Address(_) | Subject::Mac(_) => None,
        });
        let Some((source, [v4, v6])) = source.zip(roll.macs.get(&ifindex).copied()) else { continue };
        let mac = if source.is_ipv4() { v4 } else { v6 };
        questions.entry(name_of(ifindex)).or_default().push((ifindex, mac, source, gateway));
    }
    questions
}

fn name_of(ifindex: u32) -> String {
    let links = link::links().unwrap_or_default();
    links.into_iter().find(|link| link.ifindex == ifindex).map_or_else(|| ifindex.to_string(), |link| link.name)
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
