//! Load balancing: virtual servers, services, and which service belongs to which virtual server.

use std::time::Duration;

use super::attribute::{flag, key, leave, leave_flag, optional_key, position};
use super::{Entity, Kind, Refused, Scope, Style, Verb};
use crate::command::span::Unit;
use crate::command::words::{ConnFailover, LbMethod, Mode, Persistence, Protocol, VserverResponse};

const SWITCH: Kind = Kind::Switch(Style::Enabled);
const ON_OFF: Kind = Kind::Switch(Style::On);
const YES_NO: Kind = Kind::Switch(Style::Yes);
const IDLE: Kind = Kind::Span { unit: Unit::Seconds, min: Duration::from_secs(1), max: Duration::from_secs(31_536_000) };
const VERBS: &[Verb] = &[Verb::Add, Verb::Set, Verb::Unset, Verb::Rm, Verb::Enable, Verb::Disable, Verb::Show];

const OTHER_TYPES: &[Refused] = &[Refused {
    words: &[
        "SSL_TCP",
        "DTLS",
        "NNTP",
        "DNS",
        "DHCPRA",
        "SIP_UDP",
        "SIP_TCP",
        "DNS_TCP",
        "RTSP",
        "PUSH",
        "SSL_PUSH",
        "RADIUS",
        "RDP",
        "MYSQL",
        "MSSQL",
        "DIAMETER",
        "SSL_DIAMETER",
        "TFTP",
        "ORACLE",
        "SMPP",
        "SYSLOGTCP",
        "SYSLOGUDP",
        "FIX",
    ],
    why: "this is a layer 4 load balancer: allowed are TCP, UDP, ANY, HTTP, SSL, SSL_BRIDGE and FTP; TCP and UDP carry the bytes of every \
          protocol above them unread",
}];

const OTHER_METHODS: &[Refused] = &[Refused {
    words: &[
        "LEASTRESPONSETIME",
        "URLHASH",
        "DOMAINHASH",
        "LEASTBANDWIDTH",
        "LEASTPACKETS",
        "TOKEN",
        "LRTM",
        "CALLIDHASH",
        "CUSTOMLOAD",
        "LEASTREQUEST",
        "AUDITLOGHASH",
        "STATICPROXIMITY",
        "USER_TOKEN",
    ],
    why: "this method needs what a layer 4 load balancer does not know; allowed are SRCIPSRCPORTHASH, SOURCEIPHASH, DESTINATIONIPHASH, \
          SRCIPDESTIPHASH, ROUNDROBIN, LEASTCONNECTION",
}];

const OTHER_PERSISTENCE: &[Refused] = &[Refused {
    words: &[
        "COOKIEINSERT",
        "SSLSESSION",
        "RULE",
        "URLPASSIVE",
        "CUSTOMSERVERID",
        "CALLID",
        "RTSPSID",
        "DIAMETER",
        "FIXSESSION",
        "USERSESSION",
    ],
    why: "this is a layer 4 load balancer, which knows clients by their addresses: use SOURCEIP, DESTIP, SRCIPDESTIP or NONE",
}];

const OTHER_MODES: &[Refused] =
    &[Refused { words: &["TOS"], why: "this redirection is not supported; allowed are IP, MAC, IPTUNNEL" }];

const KEPT_PORT: &[Refused] =
    &[Refused { words: &["YES"], why: "ports are not translated: the client's port is kept; leave -useproxyport at NO" }];

/// `add|set|unset|rm|enable|disable|show lb vserver`.
pub static VSERVER: Entity = Entity {
    group: "lb",
    word: "vserver",
    noun: "virtual server",
    rest: "lbvserver",
    verbs: VERBS,
    scope: Scope::Pair,
    attributes: &[
        key("name", "name", Kind::Name).help("its name"),
        position("serviceType", "servicetype", Kind::Word(Protocol::WORDS)).refusing(OTHER_TYPES).help("its protocol"),
        position("IPAddress", "ipv46", Kind::Vip).help("the VIP, made by this command if it is none yet; * for any (-m MAC)"),
        position("port", "port", Kind::ServicePort).help("the port; * for all that no other virtual server there has"),
        flag("lbMethod", "lbmethod", Kind::Word(LbMethod::WORDS))
            .or("SRCIPSRCPORTHASH")
            .refusing(OTHER_METHODS)
            .help("how a service is chosen"),
        flag("m", "m", Kind::Word(Mode::WORDS))
            .or("IP")
            .refusing(OTHER_MODES)
            .help("IP translates addresses; with MAC and IPTUNNEL the service has the VIP and answers the client itself"),
        flag("l2Conn", "l2conn", ON_OFF).or("OFF").help(
            "whether clients with the same address and port are told apart by MAC address, VLAN and interface; its services have to be -usip NO",
        ),
        flag("state", "state", SWITCH).or("ENABLED").help("whether it is in use"),
        flag("sessionless", "sessionless", SWITCH)
            .or("DISABLED")
            .help("choose by hash for every packet, keeping no table of connections"),
        flag("connFailover", "connfailover", Kind::Word(ConnFailover::WORDS))
            .or("DISABLED")
            .help("whether connections are mirrored to the peer"),
        flag("cltTimeout", "clttimeout", IDLE)
            .help("idle time after which a connection is forgotten; 9000 for TCP and FTP, 180 for HTTP and SSL, 120 for UDP and ANY if not given"),
        flag("flowLog", "flowlog", SWITCH).or("DISABLED").help("report the opening and closing of each connection"),
        flag("icmpVsrResponse", "icmpvsrresponse", Kind::Word(VserverResponse::WORDS)).or("PASSIVE").help(
            "at a VIP with -icmpResponse VSVR_CNTRLD: ACTIVE if echo requests shall be answered only while this one is up",
        ),
        flag("persistenceType", "persistencetype", Kind::Word(Persistence::WORDS))
            .or("NONE")
            .refusing(OTHER_PERSISTENCE)
            .help("which clients stay with the service that they had before"),
        flag("timeout", "timeout", Kind::Number { min: 2, max: 1_440 })
            .or("2")
            .help("minutes without a connection after which a client may get another service"),
        flag("persistMask", "persistmask", Kind::Mask)
            .or("255.255.255.255")
            .help("clients whose IPv4 addresses are equal under it stay together"),
        flag("v6persistmasklen", "v6persistmasklen", Kind::Number { min: 1, max: 128 })
            .or("128")
            .help("clients whose IPv6 addresses have so many bits in common stay together"),
        flag("backupVServer", "backupvserver", Kind::Name)
            .help("the virtual server whose services take the clients while none of its own is up"),
        flag("ipset", "ipset", Kind::Name).help("further addresses that it serves"),
        flag("downStateFlush", "downstateflush", SWITCH)
            .or("ENABLED")
            .help("whether its connections are cut off when it, or their service, goes down; otherwise they go on if the service says so, too"),
        flag("maxConnPerSource", "maxconnpersource", Kind::Number { min: 0, max: 10_000_000 })
            .or("0")
            .help("connections that one source may have open; 0 for any number"),
        flag("maxRatePerSource", "maxratepersource", Kind::Number { min: 0, max: 1_000_000 })
            .or("0")
            .help("connections that one source may open in a second; 0 for any number"),
        flag("sourceMask", "sourcemask", Kind::Mask)
            .or("255.255.255.255")
            .help("IPv4 clients that are alike in these bits are one source"),
        flag("v6SourceMaskLen", "v6sourcemasklen", Kind::Number { min: 0, max: 128 })
            .or("64")
            .help("IPv6 clients that are alike in so many bits are one source"),
    ],
};

/// `add|set|unset|rm|enable|disable|show service`.
pub static SERVICE: Entity = Entity {
    group: "",
    word: "service",
    noun: "service",
    rest: "service",
    verbs: VERBS,
    scope: Scope::Pair,
    attributes: &[
        key("name", "name", Kind::Name).help("its name"),
        position("IP", "ipaddress", Kind::Ip).help("the backend's address"),
        position("serviceType", "servicetype", Kind::Word(Protocol::WORDS)).refusing(OTHER_TYPES).help("its protocol"),
        position("port", "port", Kind::ServicePort).help("the backend's port; * for the one that the client speaks to"),
        leave("delay", "delay", Kind::Span { unit: Unit::Seconds, min: Duration::ZERO, max: Duration::from_secs(31_536_000) })
            .help("how long the connections that it has may go on; not at all if not given"),
        flag("usip", "usip", YES_NO).or("NO").help("whether the backend sees the client's address"),
        flag("useproxyport", "useproxyport", YES_NO)
            .or("NO")
            .refusing(KEPT_PORT)
            .help("whether the client's port is translated"),
        flag("sp", "sp", Kind::Switch(Style::On))
            .or("OFF")
            .help("surge protection: with many connections open, let new ones through one by one (set ns spParams)"),
        flag("healthMonitor", "healthmonitor", YES_NO).or("YES").help("whether it is probed; otherwise it counts as up"),
        flag("svrTimeout", "svrtimeout", IDLE)
            .help("idle time after which a connection with it is forgotten, if shorter than the virtual server's -cltTimeout"),
        flag("downStateFlush", "downstateflush", SWITCH)
            .or("ENABLED")
            .help("whether connections with it are cut off when it goes down; otherwise they go on if the virtual server says so, too"),
        flag("accessDown", "accessdown", YES_NO).or("NO").help("whether packets are sent to it although its monitor says that it is down"),
        flag("state", "state", SWITCH).or("ENABLED").help("whether it is in use"),
        leave_flag("graceFul", "graceful", YES_NO).or("NO").help("let them go on until the last one has ended"),
        flag("maxClient", "maxclient", Kind::Number { min: 0, max: 4_294_967_294 })
            .or("0")
            .help("connections that it takes at once; 0: any number"),
    ],
};

/// `show|clear lb persistentSessions`.
pub static SESSIONS: Entity = Entity {
    group: "lb",
    word: "persistentSessions",
    noun: "persistent session",
    rest: "lbpersistentsessions",
    verbs: &[Verb::Show, Verb::Clear],
    scope: Scope::Node,
    attributes: &[optional_key("vServer", "vserver", Kind::Name).help("the virtual server; all if not given")],
};

/// `bind|unbind lb vserver`: a service, or clients that are let in or kept out.
pub static BINDING: Entity = Entity {
    group: "lb",
    word: "vserver",
    noun: "binding",
    rest: "lbvserver_service_binding",
    verbs: &[Verb::Bind, Verb::Unbind],
    scope: Scope::Pair,
    attributes: &[
        key("name", "name", Kind::Name).help("the virtual server"),
        optional_key("serviceName", "servicename", Kind::Name).help("the service"),
        flag("weight", "weight", Kind::Number { min: 1, max: 100 }).or("1").help("its share of the connections"),
        flag("allow", "allow", Kind::Route)
            .help("instead of a service: clients that are let in, all others are not; the longest prefix wins"),
        flag("deny", "deny", Kind::Route).help("instead of a service: clients that are kept out; the longest prefix wins"),
    ],
};
