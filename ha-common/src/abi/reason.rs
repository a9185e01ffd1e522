//! Why a packet left the way it did: every packet exactly one, counted in `COUNTERS`.

/// Value of `COUNTERS`, by [`Reason`]. Per-CPU array. Writer: XDP and egress guard. Reader: daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Their bytes as they arrived, from the Ethernet header on.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Counter>() == 16);

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// Every way in which a packet leaves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Reason {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Reason {
            /// All of them, by number.
            pub const ALL: &[Reason] = &[$(Reason::$variant),*];

            /// Its name in counters, metrics and messages.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Reason::$variant => $name,)*
                }
            }

            /// What it means, in a sentence for people.
            #[cfg(any(test, feature = "std"))]
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Reason::$variant => concat!($($doc),*).trim_ascii_start(),)*
                }
            }
        }
    };
}

reasons! {
    // The host's business.
    /// Neither IP nor ARP: the host's.
    NotIp = "not_ip",
    /// More than one VLAN tag: the host's.
    VlanStacked = "vlan_stacked",
    /// No floating address and no backend is concerned: the host's.
    NotOurs = "not_ours",
    /// Too short or too damaged to tell whose it is: the host's stack judges it.
    Unreadable = "unreadable",
    /// To a floating address that a daemon on this machine is bound to.
    Local = "local",
    /// Says where a neighbour is, to a floating address that the host does not know: for packet sockets only.
    NeighbourHeard = "neighbour_heard",
    /// From a backend, but no answer that goes through the pair: the host's.
    BackendOwn = "backend_own",
    /// A map that the loader fills is missing its record: the host's, and an alarm.
    NotConfigured = "not_configured",

    // Forwarded.
    /// To a backend, flow recorded before.
    ForwardHit = "forward_hit",
    /// To a backend, flow recorded now.
    ForwardNew = "forward_new",
    /// To a backend, first segment of a connection: recorded by the next one.
    ForwardSyn = "forward_syn",
    /// To a backend by the ring alone: the vserver keeps no flows.
    ForwardHash = "forward_hash",
    /// To a backend by an exception of a vserver that keeps no flows.
    ForwardException = "forward_exception",
    /// To a backend by the ring alone: no room for one more flow.
    ForwardTableFull = "forward_table_full",
    /// To a backend, flow recorded now, and no room to remember that its client belongs there.
    ForwardNoSession = "forward_no_session",
    /// From a backend to the client, flow recorded before.
    ReturnHit = "return_hit",
    /// From a backend to the client of which only a SYN was seen.
    ReturnSyn = "return_syn",
    /// From a backend to the client, recorded now: the ring confirms it.
    ReturnNew = "return_new",
    /// From a backend to the client, not recorded: the ring confirms it.
    ReturnHash = "return_hash",

    // Answered in place.
    /// ARP request answered.
    ArpReply = "arp_reply",
    /// Neighbour solicitation answered.
    NeighbourAdvertisement = "neighbour_advertisement",
    /// Echo request answered.
    IcmpEcho = "icmp_echo",
    /// Too big for the way to the backend: the client was told (RFC 1191, RFC 8201).
    TooBig = "too_big",
    /// Time to live, or hop limit, exceeded here: the client was told.
    TimeExceeded = "time_exceeded",

    /// A segment to a vserver that is down, without a flow: its sender was told by a reset (`-downStateRST`).
    ResetDown = "reset_down",
    /// A segment of a connection that was cut off when its backend or vserver went down: its sender was told by a reset (`-downStateFlush`).
    ResetCutOff = "reset_cut_off",

    // Dropped: bad input to a floating address.
    /// Ends within a header.
    Truncated = "truncated",
    /// IP header length, total length or payload length is impossible.
    BadIpLength = "bad_ip_length",
    /// IP options or extension headers, which a vserver does not take.
    IpOptions = "ip_options",
    /// A fragment of neither TCP nor UDP, or one that no sender makes: it overlaps the transport header, or is no multiple of eight bytes.
    Fragment = "fragment",
    /// TCP data offset or UDP length is impossible.
    BadTransportLength = "bad_transport_length",
    /// UDP over IPv6 without a checksum (RFC 8200, 8.1).
    NoUdpChecksum = "no_udp_checksum",
    /// A transport protocol that is not served.
    ProtocolNotServed = "protocol_not_served",
    /// Sent by, or back to, one of our own floating addresses: a loop.
    Loop = "loop",
    /// From an address that no station may send from.
    BadSource = "bad_source",
    /// Time to live, or hop limit, exceeded here.
    TtlExceeded = "ttl_exceeded",
    /// To a floating address, in a frame for a group of stations.
    DropNotUnicast = "drop_not_unicast",

    // Dropped: nowhere to go.
    /// No vserver at this port.
    NoVserver = "no_vserver",
    /// The vserver is down.
    VserverDown = "vserver_down",
    /// From the address and port of another client of a vserver with `-l2Conn`, which cannot be told from it.
    L2Conflict = "l2_conflict",
    /// No source port is free towards the backend, whose clients' addresses are translated.
    NoPort = "no_port",
    /// No room to record a flow whose source is translated: without a record its answers would not be known.
    NoRoom = "no_room",
    /// No address to speak to the backend from (SNIP).
    NoSnip = "no_snip",
    /// No backend of the vserver is up.
    NoBackend = "no_backend",
    /// Every backend of the vserver that is up has as many flows as it may have.
    BackendsFull = "backends_full",
    /// The way to the backend is not known (yet).
    NoNextHop = "no_next_hop",
    /// The way to the client is not known (yet).
    NoClientHop = "no_client_hop",
    /// An answer of a backend that belongs to several vservers, without a record of which.
    ReturnUnknown = "return_unknown",
    /// ICMP to a floating address that is not, or not now, answered.
    IcmpIgnored = "icmp_ignored",
    /// An echo request, or a packet whose sender would be told by ICMP, above the rate of ICMP that this node sends.
    IcmpLimited = "icmp_limited",
    /// A segment whose sender would be told by a reset, above the rate of resets that this node sends.
    ResetLimited = "reset_limited",
    /// ARP or neighbour discovery for a floating address that is not, or not now, answered.
    NeighbourIgnored = "neighbour_ignored",
    /// The driver has no room in front of the frame, or none for a tag.
    NoHeadroom = "no_headroom",

    // This node does not serve.
    /// For the node that serves, and not carried to it: not unicast to this interface, or the other does not serve.
    NotServing = "not_serving",
    /// Carried to the peer over an HA link.
    StraySent = "stray_sent",
    /// A stray that does not fit the HA link's MTU.
    StrayTooBig = "stray_too_big",
    /// A stray, and no HA link on which the peer is heard.
    StrayNoPeer = "stray_no_peer",
    /// A stray above the rate that HA links carry.
    StrayLimited = "stray_limited",
    /// From a HA link: not a stray of the peer to this node.
    StrayNotForUs = "stray_not_for_us",
    /// From a HA link: the tag is wrong.
    StrayBadTag = "stray_bad_tag",
    /// From a HA link: too short, an unknown version, or a stray within a stray.
    StrayMalformed = "stray_malformed",
    /// From a HA link: for a leg that this node does not have.
    StrayNoLeg = "stray_no_leg",
    /// From a HA link: this node does not serve either.
    StrayNotServing = "stray_not_serving",
    /// From a HA link: taken, and handed to the host.
    StrayTaken = "stray_taken",

    // Egress guard.
    /// The host's own frame, from no floating address.
    EgressPass = "egress_pass",
    /// The host's own frame from a floating address, while this node serves.
    EgressServing = "egress_serving",
    /// The host's own frame from a floating address that this node does not serve: dropped.
    EgressAddress = "egress_address",
    /// The host's own frame that says in ARP or neighbour discovery that a floating address is here: dropped.
    EgressNeighbour = "egress_neighbour",
    /// The host's own frame from a virtual MAC that this node does not serve: dropped.
    EgressVmac = "egress_vmac",

    // Heartbeats.
    /// A request, turned into an echo.
    HeartbeatEchoed = "heartbeat_echoed",
    /// An echo of an own request.
    HeartbeatTaken = "heartbeat_taken",
    /// A claim, turned into an echo.
    HeartbeatClaim = "heartbeat_claim",
    /// An own frame that came back.
    HeartbeatOwn = "heartbeat_own",
    /// Too short, or not of this layout.
    HeartbeatMalformed = "heartbeat_malformed",
    /// The tag is wrong.
    HeartbeatBadTag = "heartbeat_bad_tag",
    /// Under a key that this node does not have.
    HeartbeatUnknownKey = "heartbeat_unknown_key",
    /// A recording, or of a life that is over.
    HeartbeatStale = "heartbeat_stale",
    /// For another pair.
    HeartbeatNotForUs = "heartbeat_not_for_us",
    /// From this node's own address, and another machine sent it.
    HeartbeatDuplicate = "heartbeat_duplicate",
    /// Its extension is of a version that this release does not know.
    HeartbeatVersion = "heartbeat_version",

    // Protection.
    /// From a client that a list of the vserver keeps out.
    Denied = "denied",
    /// The client's source has as many connections open as it may have.
    SourceConnections = "source_connections",
    /// The client's source opens connections faster than it may.
    SourceRate = "source_rate",
    /// The service has so many connections that a new one has to wait; the client asks again.
    Surge = "surge",

    // Packets about packets.
    /// An ICMP error about what a backend sent to a client: to the backend.
    ErrorForwarded = "error_forwarded",
    /// An ICMP error about what a client sent to a backend: to the client.
    ErrorReturned = "error_returned",
    /// An ICMP error about a packet of a flow that nothing is known of.
    ErrorUnknown = "error_unknown",
    /// An ICMP error whose checksum is wrong, or that is longer than any station makes one.
    ErrorBad = "error_bad",

    // Parts of packets. First fragments are forwarded and returned as packets are.
    /// A later fragment of a client's datagram, to where the first went.
    FragmentForwarded = "fragment_forwarded",
    /// A later fragment of a backend's datagram, to where the first went.
    FragmentReturned = "fragment_returned",
    /// A later fragment whose first was not seen, was not forwarded, or is forgotten.
    FragmentUnknown = "fragment_unknown",
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reasons_are_numbered_by_place_and_named_once() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for (number, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, number);
            assert!(reason.sentence().ends_with('.') && !reason.sentence().starts_with(' '), "{}", reason.name());
        }
    }
}
