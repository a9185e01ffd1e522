//! What can be seen of the connections that this node knows.

use super::attribute::{flag, view};
use super::{Entity, Kind, Scope, Verb};
use crate::command::words::{ConnectionDetail, ConnectionState};
use crate::connections::ROWS_MAX;

/// `show ns connectiontable`.
pub static TABLE: Entity = Entity {
    group: "ns",
    word: "connectiontable",
    noun: "connection",
    rest: "nsconnectiontable",
    verbs: &[Verb::Show],
    scope: Scope::Node,
    attributes: &[
        view("filterexpression", "filterexpression", Kind::Filter).help("which connections; all if not given"),
        flag("detail", "detail", Kind::Word(ConnectionDetail::WORDS)).help(
            "LINK adds the service's side and the client's link, NAME the names, CONNFAILOVER what becomes of it on a failover, FULL all, \
             with packets, bytes and age",
        ),
        flag("srcIP", "srcip", Kind::Ip).help("of this client"),
        flag("srcPort", "srcport", Kind::Port).help("from this port"),
        flag("dstIP", "dstip", Kind::Ip).help("to this VIP"),
        flag("dstPort", "dstport", Kind::Port).help("to this port of it"),
        flag("lbVserver", "lbvserver", Kind::Name).help("with this virtual server"),
        flag("svcName", "svcname", Kind::Name).help("with this service"),
        flag("tcpState", "tcpstate", Kind::Word(ConnectionState::WORDS)).help("in this state"),
        flag("count", "count", Kind::Number { min: 1, max: ROWS_MAX }).or("1000").help("rows that are shown at most"),
    ],
};
