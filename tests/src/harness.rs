//! Lab harness: a pair of nodes, a switch, clients and backends in network namespaces, with faults, probes and captures.
//!
//! | room | question it answers |
//! |---|---|
//! | [`run`] | under which name do namespaces, processes and files of one lab exist, and how do they vanish? |
//! | [`netns`], [`netdev`], [`napi`] | how does a thread act inside a namespace, and on an interface there? |
//! | [`topology`] | which hosts, legs and cables are there? |
//! | [`wire`], [`relay`] | how is a cable cut at an instant, in one direction, or made lossy; how does it duplicate and reorder? |
//! | [`prober`], [`frame`], [`tally`], [`rt`] | does the VIP answer, once per millisecond, and from where? |
//! | [`tap`], [`packet_socket`] | what did each node really send, as the switch saw it? |
//! | [`station`] | what does a bystander hear who speaks in a VLAN? |
//! | [`connections`], [`echo`], [`transfer`] | do TCP connections through the VIP survive, byte for byte? |
//! | [`ftp`] | who serves files, with data connections in every way? |
//! | [`ways`], [`exchange`], [`direct`], [`unwrapper`] | does all arrive both ways; how does a backend own the VIP, behind a tunnel or not? |
//! | [`node`], [`client`], [`process`], [`freezer`], [`disk`] | how is a daemon started, asked, stopped, killed, frozen, left without disk? |
//! | [`keepalived`] | how does the same pair run under the daemon it is compared with? |
//! | [`lab`], [`scenario`], [`report`], [`history`], [`screen`] | what happens when the pair is hurt in a chosen way? |
//! | [`trial`] | does a claim hold on a machine that itself may stall? |
//!
//! Traffic exists only inside namespaces made here. The harness never judges a packet with the code under test.

pub mod client;
pub mod connections;
pub mod counters;
pub mod direct;
pub mod disk;
pub mod echo;
pub mod exchange;
pub mod frame;
pub mod freezer;
pub mod ftp;
pub mod history;
pub mod keepalived;
pub mod lab;
pub mod napi;
pub mod netdev;
pub mod netns;
pub mod node;
pub mod packet_socket;
pub mod prober;
pub mod process;
pub mod relay;
pub mod report;
pub mod rt;
pub mod run;
pub mod scenario;
pub mod screen;
pub mod station;
pub mod tally;
pub mod tap;
pub mod topology;
pub mod transfer;
pub mod trial;
pub mod unwrapper;
pub mod ways;
pub mod wire;
