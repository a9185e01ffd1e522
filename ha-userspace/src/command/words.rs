//! The words that attributes take, each set as one type.

use super::value::{Field, Value};

macro_rules! words {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every word, as the table lists them.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Returns the canonical word.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl Field for $name {
            fn from_value(value: Option<Value>) -> Self {
                match value {
                    $(Some(Value::Word($word)) => Self::$variant,)+
                    other => panic!("{other:?} is no {}: the table and its record disagree", stringify!($name)),
                }
            }

            fn to_value(&self) -> Option<Value> {
                Some(Value::Word(self.word()))
            }
        }
    )+};
}

words! {
    /// What a node may become in the pair.
    HaStatus {
        /// Normal election and failover.
        Enabled = "ENABLED",
        /// The HA engine is off.
        Disabled = "DISABLED",
        /// Primary while healthy.
        StayPrimary = "STAYPRIMARY",
        /// Never takes over.
        StaySecondary = "STAYSECONDARY",
    }
    /// What an address is for.
    AddressType {
        /// Clients come to it; it floats.
        Vip = "VIP",
        /// The pair speaks to backends from it; it floats.
        Snip = "SNIP",
    }
    /// Type of a virtual server or service.
    Protocol {
        /// TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
        /// Both.
        Any = "ANY",
        /// HTTP, unread.
        Http = "HTTP",
        /// TLS, unread.
        Ssl = "SSL",
        /// TLS, unread here and in the public product.
        SslBridge = "SSL_BRIDGE",
        /// FTP with its data connections.
        Ftp = "FTP",
    }
    /// How a virtual server chooses a service.
    LbMethod {
        /// Hash of the client's address and port.
        SrcIpSrcPortHash = "SRCIPSRCPORTHASH",
        /// Hash of the client's address.
        SourceIpHash = "SOURCEIPHASH",
        /// Hash of the address that the client speaks to.
        DestinationIpHash = "DESTINATIONIPHASH",
        /// Hash of both addresses.
        SrcIpDestIpHash = "SRCIPDESTIPHASH",
        /// One service after the other.
        RoundRobin = "ROUNDROBIN",
        /// The service with the fewest connections for its weight.
        LeastConnection = "LEASTCONNECTION",
    }
    /// Which clients stay with the service that they had before.
    Persistence {
        /// None.
        None = "NONE",
        /// Those with the same address.
        SourceIp = "SOURCEIP",
        /// Those that speak to the same address.
        DestIp = "DESTIP",
        /// Those with the same address that speak to the same address.
        SrcIpDestIp = "SRCIPDESTIP",
    }
    /// How packets are redirected to a service.
    Mode {
        /// The destination address is translated; replies come back through the pair.
        Ip = "IP",
        /// Only the destination MAC is written; the backend answers the client itself.
        Mac = "MAC",
        /// The packet travels to the backend in another one; the backend answers the client itself.
        IpTunnel = "IPTUNNEL",
    }
    /// What lowers a virtual router's priority.
    Tracking {
        /// Nothing.
        None = "NONE",
    }
    /// Which virtual servers of an address have to be up for echo requests to it to be answered.
    IcmpResponse {
        /// None: it answers always.
        None = "NONE",
        /// At least one.
        OneVserver = "ONE_VSERVER",
        /// Every one.
        AllVservers = "ALL_VSERVERS",
        /// At least one of those that say so themselves: [`VserverResponse`].
        VserverControlled = "VSVR_CNTRLD",
    }
    /// Which virtual servers of an address have to be up for questions about its link-layer address to be answered.
    NeighbourResponse {
        /// None: it answers always.
        None = "NONE",
        /// At least one.
        OneVserver = "ONE_VSERVER",
        /// Every one.
        AllVservers = "ALL_VSERVERS",
    }
    /// Whether a virtual server's state counts, where its address leaves that to it.
    VserverResponse {
        /// It does not.
        Passive = "PASSIVE",
        /// It does.
        Active = "ACTIVE",
    }
    /// At which distances new connections are let through to a service that has many.
    Throttle {
        /// Long ones.
        Aggressive = "Aggressive",
        /// Longer ones with more connections.
        Normal = "Normal",
        /// Short ones.
        Relaxed = "Relaxed",
    }
    /// Whether connections live on after a failover.
    ConnFailover {
        /// They do not.
        Disabled = "DISABLED",
        /// They are made anew from their packets.
        Stateless = "STATELESS",
        /// They are mirrored to the peer.
        Stateful = "STATEFUL",
    }
    /// How much of connections is shown.
    ConnectionDetail {
        /// The service's side, and the client's link.
        Link = "LINK",
        /// Names.
        Name = "NAME",
        /// What becomes of them on a failover.
        ConnFailover = "CONNFAILOVER",
        /// Everything.
        Full = "FULL",
    }
    /// How far a connection is.
    ConnectionState {
        /// Only its first segment was seen.
        SynReceived = "SYN_RECEIVED",
        /// Both sides may send.
        Established = "ESTABLISHED",
        /// The client has sent its last byte.
        CloseWait = "CLOSE_WAIT",
        /// The service has.
        FinWait = "FIN_WAIT_1",
        /// Both have.
        TimeWait = "TIME_WAIT",
        /// One side has reset it.
        Closed = "CLOSED",
        /// It has no states.
        Na = "NA",
    }
}
