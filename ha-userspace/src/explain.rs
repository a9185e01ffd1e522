//! `understudy explain`: what would become of this packet, and why?
//!
//! The pipeline itself says it, run on the host over the tables of the node as they are now ([`Source`]). What it asks and what it would
//! write is taken down on the way ([`Overlay`]), put into words ([`Explanation`]) and thrown away: no table, no counter and no daemon notices.

mod capture;
mod look;
mod names;
mod overlay;
mod packet;
mod source;
mod story;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use ha_common::abi::node_flags;
use ha_common::packet::HostPacket;
use ha_common::pipeline::{self, Ingress, Verdict};
use ha_common::tables::Tables;

pub use look::Look;
pub use names::Names;
pub use overlay::Overlay;
pub use packet::{End, Flags, Tuple};
pub use source::{Room, Source};
pub use story::{Explanation, Scene, Way};

use crate::datapath::View;
use capture::Captured;
use packet::Question;

/// What `understudy explain` is asked.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// tcp, udp or icmp and both ends, or a capture (pcap, pcapng)
    #[arg(required = true, num_args = 1..=3, value_names = ["PROTOCOL|FILE", "FROM", "TO"])]
    asked: Vec<String>,
    /// TCP flags, of SYN FIN RST PSH ACK URG
    #[arg(long, value_name = "SYN|ACK", default_value = "SYN")]
    flags: Flags,
    /// The interface that it comes in on; else the one that leads to its sender
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// The VLAN of its tag
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    vlan: Option<u16>,
    /// Its length in bytes, with the Ethernet header
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(..=9018))]
    len: Option<u16>,
    /// Of a capture: this packet alone, step by step
    #[arg(long, value_name = "NUMBER")]
    packet: Option<usize>,
    /// Directory of the node's pins
    #[arg(long, value_name = "DIR", default_value = crate::options::DEFAULT_PINS)]
    pins: PathBuf,
}

const EXAMPLES: &str = "\
The options may be spelt with one dash, as in commands. As root, in the network namespace of the node:
  understudy explain tcp 10.1.0.1:40000 10.1.0.100:80
  understudy explain tcp 10.2.0.11:80 10.1.0.1:40000 -flags 'SYN|ACK' -interface server0
  understudy explain icmp 2001:db8::1 2001:db8::100
  understudy explain seen.pcapng -packet 3
The packets of a capture are taken one after the other, each after what those before it would have left.";

/// Explains what is asked, and prints it.
///
/// # Errors
/// When the question is none, or the node left no maps here.
pub fn run(options: &Options, socket: &Path, json: bool) -> anyhow::Result<()> {
    let question = Question::of(options)?;
    let view = View::open(&options.pins).map_err(|error| {
        anyhow!(
            "{error}; has no node run here, or is this not root? What a stopped daemon left in {} is enough",
            options.pins.display()
        )
    })?;
    let names = Names::ask(socket);
    let mut out = io::stdout().lock();
    let explained = match &question {
        Question::Tuple(tuple) => {
            let ifindex = arrival(options, &view, Some(tuple.from.addr), || tuple.sender(&view))?;
            vec![explain(&Overlay::new(&view), &Scene::new(&view, &names), &tuple.frame(&view, ifindex)?, ifindex)]
        }
        Question::File(path) => file(options, &view, &names, &capture::read(path)?)?,
    };
    if let Some(fault) = view.fault() {
        bail!("cannot read the maps: {fault}");
    }
    let detailed = matches!(question, Question::Tuple(_)) || options.packet.is_some();
    let told = tell(&explained, detailed, json, &names, &mut out);
    // A reader that has gone (a closed pipe) wants no more.
    match told {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn file(options: &Options, view: &View, names: &Names, packets: &[Captured]) -> anyhow::Result<Vec<Explanation>> {
    let wanted = options.packet;
    if let Some(number) = wanted.filter(|number| !(1..=packets.len()).contains(number)) {
        bail!("there is no packet {number}: the capture has {}", packets.len());
    }
    let (overlay, scene) = (Overlay::new(view), Scene::new(view, names));
    let mut explained = Vec::new();
    for (number, captured) in (1..).zip(packets).take(wanted.unwrap_or(packets.len())) {
        if captured.left {
            if wanted == Some(number) {
                bail!("packet {number} has left the node: only what comes in is explained");
            }
            continue;
        }
        let named = captured.interface.as_deref().and_then(|name| nix::net::if_::if_nametoindex(name).ok());
        let named = named.filter(|ifindex| view.interface(*ifindex).is_some());
        let ifindex = match named.filter(|_| options.interface.is_none()) {
            Some(ifindex) => ifindex,
            None => arrival(options, view, captured.sender(), || None)?,
        };
        let explanation = explain(&overlay, &scene, &captured.frame, ifindex);
        if wanted.is_none_or(|wanted| wanted == number) {
            explained.push(Explanation { number: Some(number), ..explanation });
        }
    }
    Ok(explained)
}

/// Explains one frame that comes in on `ifindex`.
pub fn explain<S: Source>(overlay: &Overlay<'_, S>, scene: &Scene<'_>, frame: &[u8], ifindex: u32) -> Explanation {
    let (verdict, left, looks) = judge(overlay, frame, ifindex);
    story::tell(scene, frame, ifindex, verdict, &left, &looks)
}

/// What the pipeline makes of a frame: the verdict, the frame as it leaves, and what was asked on the way.
pub fn judge<S: Source>(overlay: &Overlay<'_, S>, frame: &[u8], ifindex: u32) -> (Verdict, Vec<u8>, Vec<Look>) {
    overlay.take_looks();
    // For whoever tells it: the pipeline itself asks only now and then what an interface is to the node.
    let _ = overlay.interface(ifindex);
    let mut packet = HostPacket::new(frame);
    let verdict = pipeline::process(&mut packet, overlay, Ingress { ifindex: overlay.arrival(ifindex) });
    (verdict, packet.frame().to_vec(), overlay.take_looks())
}

impl<S: Source> Overlay<'_, S> {
    /// The interface that everybody else knows a frame to have come in by: where the kernel names a member of a bond, the bond.
    fn arrival(&self, ifindex: u32) -> u32 {
        let bonds = self.below().node().flags & node_flags::BONDS != 0;
        let interface = self.below().interface(ifindex).filter(|_| bonds);
        interface.map_or(ifindex, |interface| interface.ifindex)
    }
}

/// The interface that is named, or that leads to the sender, or the first leg.
fn arrival(options: &Options, view: &View, sender: Option<IpAddr>, known: impl FnOnce() -> Option<u32>) -> anyhow::Result<u32> {
    let legs = view.legs();
    if let Some(name) = &options.interface {
        let ifindex = nix::net::if_::if_nametoindex(name.as_str())
            .with_context(|| format!("there is no interface {name} in this network namespace"))?;
        if view.interface(ifindex).is_none() {
            bail!("{name} is no interface of the node: its programs do not run there");
        }
        return Ok(ifindex);
    }
    let routed = || sender.and_then(|sender| packet::way(view, &legs, sender)).map(|hop| hop.ifindex);
    let found = known().or_else(routed).filter(|ifindex| legs.contains(ifindex));
    found.or(legs.first().copied()).context("the node has no leg: name the interface with -interface")
}

fn tell(explained: &[Explanation], detailed: bool, json: bool, names: &Names, out: &mut impl Write) -> io::Result<()> {
    if json {
        let value = match explained {
            [one] if detailed => serde_json::to_value(one),
            all => serde_json::to_value(all),
        };
        return writeln!(out, "{:#}", value?);
    }
    let mut text = String::new();
    for explanation in explained {
        // Writing to a string does not fail.
        let _ = if detailed { write!(text, "{explanation}") } else { writeln!(text, "{}", explanation.line()) };
    }
    if let Some(why) = names.missing() {
        let _ = writeln!(text, "\nNumbers stand for names: {why}");
    }
    write!(out, "{text}")
}
