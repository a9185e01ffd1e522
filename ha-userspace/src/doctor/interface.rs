//! Gathers what concerns an interface.

use std::thread;

use aya::programs::loaded_programs;
use futures::TryStreamExt as _;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached};

use super::{
    facts::{Attached, Examined, Interface, Link, Mode},
    netdev,
    syscall::{ask_driver, ethtool},
};

/// Looks at each interface in the calling thread's network namespace.
pub fn gather(interfaces: &[Interface]) -> Vec<Examined> {
    let links = links(interfaces);
    let examine = |(interface, message): (&Interface, Option<LinkMessage>)| Examined {
        interface: interface.clone(),
        link: message.map(|message| link(&interface.name, &message)),
    };
    interfaces.iter().zip(links).map(examine).collect()
}

/// Asks the kernel for each interface, in a thread of its own: the caller may or may not be inside a runtime.
fn links(interfaces: &[Interface]) -> Vec<Option<LinkMessage>> {
    let nothing = || vec![None; interfaces.len()];
    let asked = thread::scope(|scope| {
        let ask = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().ok()?;
            runtime.block_on(async {
                let (connection, handle, _) = rtnetlink::new_connection().ok()?;
                tokio::spawn(connection);
                let mut found = Vec::new();
                for interface in interfaces {
                    let mut answer = handle.link().get().match_name(interface.name.clone()).execute();
                    found.push(answer.try_next().await.ok().flatten());
                }
                Some(found)
            })
        };
        scope.spawn(ask).join()
    });
    asked.ok().flatten().unwrap_or_else(nothing)
}

fn link(name: &str, message: &LinkMessage) -> Link {
    let mut link = Link {
        driver: driver(name).unwrap_or_default(),
        mtu: 0,
        carrier: false,
        rx_queues: 1,
        max_rx_queues: 1,
        lro: None,
        rx_vlan_offload: None,
        xdp_features: netdev::xdp_features(message.header.index),
        attached: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Carrier(carrier) => link.carrier = *carrier == 1,
            LinkAttribute::NumRxQueues(queues) => (link.rx_queues, link.max_rx_queues) = (*queues, *queues),
            LinkAttribute::Xdp(xdp) => link.attached = attached(xdp),
            _ => {}
        }
    }
    if let Ok(table) = ask_driver(name, ethtool::CHANNELS) {
        (link.rx_queues, link.max_rx_queues) = (table[5] + table[8], table[1].max(table[4]));
    }
    if let Ok(table) = ask_driver(name, ethtool::FLAGS) {
        link.lro = Some(table[1] & ethtool::LRO != 0);
        link.rx_vlan_offload = Some(table[1] & ethtool::RX_VLAN != 0);
    }
    link
}

fn driver(name: &str) -> Option<String> {
    let table = ask_driver(name, ethtool::DRIVER).ok()?;
    let bytes: Vec<u8> = table[1..9].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

fn attached(xdp: &[LinkXdp]) -> Option<Attached> {
    let mode = xdp.iter().find_map(|one| match one {
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(Mode::Generic),
        LinkXdp::Attached(XdpAttached::Hardware) => Some(Mode::Offloaded),
        LinkXdp::Attached(XdpAttached::Driver | XdpAttached::Multiple) => Some(Mode::Native),
        _ => None,
    })?;
    let id = xdp.iter().find_map(|one| match one {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => Some(*id),
        _ => None,
    })?;
    Some(Attached { mode, id, name: program_name(id) })
}

fn program_name(id: u32) -> String {
    let program = loaded_programs().flatten().find(|program| program.id() == id);
    program.and_then(|program| program.name_as_str().map(str::to_owned)).unwrap_or_default()
}
