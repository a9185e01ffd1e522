//! The node: its address, name and interfaces, its secrets, and the addresses it owns.

use super::attribute::{flag, key, position, switched};
use super::{Attribute, Entity, Kind, Refused, Scope, Style, Verb};
use crate::command::words::{AddressType, IcmpResponse, NeighbourResponse, Throttle};

const SWITCH: Kind = Kind::Switch(Style::Enabled);
const ON_OFF: Kind = Kind::Switch(Style::On);
const YES_NO: Kind = Kind::Switch(Style::Yes);

/// `set|show|save ns config`: the NSIP, and the configuration as a whole.
pub static CONFIG: Entity = Entity {
    group: "ns",
    word: "config",
    noun: "node configuration",
    rest: "nsconfig",
    verbs: &[Verb::Set, Verb::Show, Verb::Save],
    scope: Scope::Node,
    attributes: &[
        flag("IPAddress", "ipaddress", Kind::Ipv4).help("this node's own address (NSIP), by which it is known in the pair"),
        flag("netmask", "netmask", Kind::Mask).help("the NSIP's network mask"),
    ],
};

/// `set|show ns hostName`.
pub static HOST_NAME: Entity = Entity {
    group: "ns",
    word: "hostName",
    noun: "host name",
    rest: "nshostname",
    verbs: &[Verb::Set, Verb::Show],
    scope: Scope::Node,
    attributes: &[position("hostName", "hostname", Kind::HostName).help("the name shown beside the NSIP")],
};

/// `show ns version`.
pub static VERSION: Entity = Entity {
    group: "ns",
    word: "version",
    noun: "version",
    rest: "nsversion",
    verbs: &[Verb::Show],
    scope: Scope::Node,
    attributes: &[],
};

/// `set|unset|rm|enable|disable|show interface`: an interface that this node may use.
pub static INTERFACE: Entity = Entity {
    group: "",
    word: "interface",
    noun: "interface",
    rest: "Interface",
    verbs: &[Verb::Set, Verb::Unset, Verb::Rm, Verb::Enable, Verb::Disable, Verb::Show],
    scope: Scope::Node,
    attributes: &[
        key("id", "id", Kind::Interface).help("its Linux name; naming it lets the node use it, rm leaves it alone again"),
        flag("haMonitor", "hamonitor", ON_OFF)
            .or("ON")
            .always_printed()
            .help("a client or server leg: its carrier is this node's health"),
        flag("haHeartbeat", "haheartbeat", ON_OFF)
            .or("ON")
            .always_printed()
            .help("an HA link: heartbeats, and strays for the peer"),
        flag("throughput", "throughput", Kind::Number { min: 0, max: 1_600_000 })
            .or("0")
            .help("with haMonitor ON: speed in Mbit/s below which it counts as failed; 0 for any"),
        flag("probe", "probe", Kind::Probe)
            .or("GATEWAY")
            .help("a leg with VIPs: whose silence means that this node reaches nobody there; GATEWAY is the default gateway"),
        switched("state", "state", SWITCH).or("ENABLED").help("whether it is in use"),
    ],
};

/// `show ns alarms`: what is wrong, as long as it is.
pub static ALARMS: Entity = Entity {
    group: "ns",
    word: "alarms",
    noun: "alarm",
    rest: "nsalarms",
    verbs: &[Verb::Show],
    scope: Scope::Node,
    attributes: &[],
};

/// `set|unset|show ns rpcNode`: how the nodes know each other.
pub static RPC_NODE: Entity = Entity {
    group: "ns",
    word: "rpcNode",
    noun: "RPC node",
    rest: "nsrpcnode",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show],
    scope: Scope::Node,
    attributes: &[
        key("IPAddress", "ipaddress", Kind::Ip).help("the node's NSIP: this node's own, or the peer's after add ha node"),
        flag("password", "password", Kind::Secret).help("the password of that node; the same on both nodes for both addresses"),
        flag("srcIP", "srcip", Kind::IpOrStar).help("the address to connect from; * is the NSIP"),
        flag("secure", "secure", YES_NO).or("YES").help("whether connections to that node are encrypted"),
    ],
};

/// `set|unset|show ns rateControl`.
pub static RATE_CONTROL: Entity = Entity {
    group: "ns",
    word: "rateControl",
    noun: "rate control",
    rest: "nsratecontrol",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show],
    scope: Scope::Pair,
    attributes: &[
        flag("icmpThreshold", "icmpthreshold", Kind::Number { min: 0, max: 1_000_000 })
            .or("100")
            .help("ICMP messages (echo replies, errors) that the node sends within 10 ms; 0 for any number"),
        flag("tcprstThreshold", "tcprstthreshold", Kind::Number { min: 0, max: 1_000_000 })
            .or("100")
            .help("TCP resets that the node sends within 10 ms; 0 for any number"),
    ],
};

/// `set|unset|show ns tcpParam`.
pub static TCP_PARAM: Entity = Entity {
    group: "ns",
    word: "tcpParam",
    noun: "TCP parameter",
    rest: "nstcpparam",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show],
    scope: Scope::Pair,
    attributes: &[flag("downStateRST", "downstaterst", SWITCH)
        .or("DISABLED")
        .help("reset whoever speaks to a virtual server that is down, instead of letting it time out")],
};

/// `set|unset|show ns spParams`: surge protection of services with `-sp ON`.
pub static SP_PARAMS: Entity = Entity {
    group: "ns",
    word: "spParams",
    noun: "surge protection",
    rest: "nsspparams",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show],
    scope: Scope::Pair,
    attributes: &[
        flag("baseThreshold", "basethreshold", Kind::Number { min: 0, max: 32_767 }).help(
            "open connections of a service from which on new ones are let through one by one; if not given, 200, 16 or 500 by the throttle",
        ),
        flag("throttle", "throttle", Kind::Word(Throttle::WORDS)).or("Normal").help("at which distances"),
    ],
};

const fn entries(name: &'static str, rest: &'static str, default: &'static str) -> Attribute {
    flag(name, rest, Kind::Number { min: 64, max: 67_108_864 }).or(default)
}

/// `set|unset|show ns limits`: room in the data plane's tables; a word of this product.
pub static LIMITS: Entity = Entity {
    group: "ns",
    word: "limits",
    noun: "limits",
    rest: "nslimits",
    verbs: &[Verb::Set, Verb::Unset, Verb::Show],
    scope: Scope::Pair,
    attributes: &[
        entries("flows", "flows", "262144").help("connections that are recorded; new sizes need `understudy stop` and a start"),
        entries("embryonic", "embryonic", "65536").help("connections of which only the SYN was seen; the oldest give way"),
        entries("exceptions", "exceptions", "65536").help("connections without a record that are not where the hash says"),
        entries("reverse", "reverse", "65536")
            .help("source ports given out, and connections of services with several virtual servers"),
        entries("reverseEmbryonic", "reverseembryonic", "16384").help("the same for those of which only the SYN was seen"),
        entries("persist", "persist", "65536").help("clients that stay with a service"),
        entries("sources", "sources", "65536")
            .help("sources of virtual servers with limits for each source; the oldest give way"),
        entries("prefixes", "prefixes", "65536").help("prefixes of clients that are let in or kept out"),
    ],
};

const TYPE: Attribute =
    flag("type", "type", Kind::Word(AddressType::WORDS)).or("SNIP").fixed().help("what the address is for").refusing(&[
        Refused {
            words: &["NSIP"],
            why: "the NSIP is set by: set ns config -IPAddress <ip> -netmask <mask>; allowed here are VIP, SNIP",
        },
        Refused { words: &["MIP", "GSLBsiteIP", "CLIP"], why: "this type does not exist here; allowed are VIP, SNIP" },
    ]);
const ICMP: Attribute = flag("icmp", "icmp", SWITCH).or("ENABLED").help("whether echo requests to it are answered");
const ICMP_RESPONSE: Attribute = flag("icmpResponse", "icmpresponse", Kind::Word(IcmpResponse::WORDS)).or("NONE").help(
    "with -icmp ENABLED: of which of its virtual servers one, or all, must be up; VSVR_CNTRLD: one with -icmpVsrResponse ACTIVE, if there is any; \
     an address without virtual servers answers always",
);
const NEIGHBOUR_RESPONSE: Kind = Kind::Word(NeighbourResponse::WORDS);
const STATE: Attribute = flag("state", "state", SWITCH).or("ENABLED").help("whether it is in use");
const VRID: Kind = Kind::Number { min: 1, max: 255 };
const IP_VERBS: &[Verb] = &[Verb::Add, Verb::Set, Verb::Unset, Verb::Rm, Verb::Enable, Verb::Disable, Verb::Show];

/// `add|set|unset|rm|show ns ip`: an IPv4 address of the pair.
pub static IP: Entity = Entity {
    group: "ns",
    word: "ip",
    noun: "address",
    rest: "nsip",
    verbs: IP_VERBS,
    scope: Scope::Pair,
    attributes: &[
        key("IPAddress", "ipaddress", Kind::Ipv4).help("the address"),
        position("netmask", "netmask", Kind::Mask).help("its network mask"),
        TYPE,
        flag("arp", "arp", SWITCH).or("ENABLED").help("whether ARP requests for it are answered"),
        ICMP,
        STATE,
        flag("vrID", "vrid", VRID).help("it lives on the legs of this virtual router only"),
        ICMP_RESPONSE,
        flag("arpResponse", "arpresponse", NEIGHBOUR_RESPONSE).or("NONE").help(
            "with -arp ENABLED: whether one, or all, of its virtual servers must be up; an address without any answers always",
        ),
    ],
};

/// `add|set|unset|rm|show ns ip6`: an IPv6 address of the pair.
pub static IP6: Entity = Entity {
    group: "ns",
    word: "ip6",
    noun: "address",
    rest: "nsip6",
    verbs: IP_VERBS,
    scope: Scope::Pair,
    attributes: &[
        key("IPv6Address", "ipv6address", Kind::Prefix).help("the address and its prefix length"),
        TYPE,
        flag("nd", "nd", SWITCH).or("ENABLED").help("whether neighbour solicitations for it are answered"),
        ICMP,
        STATE,
        flag("vrID6", "vrid6", VRID).help("it lives on the legs of this virtual router only"),
        ICMP_RESPONSE,
        flag("ndResponse", "ndresponse", NEIGHBOUR_RESPONSE).or("NONE").help(
            "with -nd ENABLED: whether one, or all, of its virtual servers must be up; an address without any answers always",
        ),
    ],
};
