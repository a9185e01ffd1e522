//! What the real-time threads share with the kernel: no lock, no system call, one word at a time.
//!
//! Every method is a few loads or stores. A field that is one word changes at once; fields that only mean something together
//! are stored in the order that their method names.

use std::io;
use std::mem::offset_of;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::fence;

use ha_common::abi::{Fence, GROUPS, Key, Link, Node, NodeGroup, Term, Trace, node_flags};
use ha_common::ha::Standing;
use ha_common::time::{Nanos, Ticks};

use super::array::Array;
use super::tracing;

/// Tries to read a link between two writes of the kernel, each of which takes about a hundred nanoseconds.
const LINK_TRIES: usize = 1000;

/// `NODE`, `FENCE` and `LINKS`.
#[derive(Debug)]
pub struct Shared {
    node: Array<Node>,
    fence: Array<Fence>,
    links: Array<Link>,
}

impl Shared {
    pub(super) fn new(node: Array<Node>, fence: Array<Fence>, links: Array<Link>) -> Self {
        Shared { node, fence, links }
    }

    /// What the kernel has decided about this node's role.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        self.fence.fence(0)
    }

    /// What the kernel heard on heartbeat link `number`; `None` if it never stopped writing while this tried to read.
    ///
    /// # Panics
    /// When there is no link of that number.
    #[must_use]
    pub fn read_link(&self, number: usize) -> Option<Link> {
        let generation = self.links.word64(number, offset_of!(Link, generation));
        (0..LINK_TRIES).find_map(|_| {
            let before = generation.load(Acquire);
            let link = self.links.get(number);
            fence(Acquire);
            let quiet = before.is_multiple_of(2) && generation.load(Relaxed) == before;
            if !quiet {
                std::hint::spin_loop();
            }
            quiet.then_some(link)
        })
    }

    /// What this node tells its kernel at present.
    #[must_use]
    pub fn node(&self) -> Node {
        self.node.get(0)
    }

    /// Stores all of `node`: for a kernel that holds nothing of this node's life yet. The role comes last.
    pub fn begin(&self, node: &Node) {
        self.node.set(0, &Node { groups: [NodeGroup::default(); GROUPS], ..*node });
        for (group, own) in node.groups.iter().enumerate() {
            self.set_consent(group, own.consent);
            self.set_armed(group, own.armed_term, own.armed_over);
            self.set_role_term(group, own.role_term);
            self.store_group(group, offset_of!(NodeGroup, since), Term(own.since.0));
        }
    }

    /// Takes the role under `term`, or leaves it ([`Term::NONE`]).
    pub fn set_role_term(&self, group: usize, term: Term) {
        self.begin_change(group);
        self.store_group(group, offset_of!(NodeGroup, role_term), term);
        self.end_change(group);
    }

    /// Is ready to serve under `term` once the peer is proved not to serve under `over`; [`Term::NONE`] for no longer. Never
    /// shows a term with another one's `over`.
    pub fn set_armed(&self, group: usize, term: Term, over: Term) {
        self.begin_change(group);
        self.store_group(group, offset_of!(NodeGroup, armed_term), Term::NONE);
        self.store_group(group, offset_of!(NodeGroup, armed_over), over);
        self.store_group(group, offset_of!(NodeGroup, armed_term), term);
        self.end_change(group);
    }

    /// What the peer hears is not an answer to what is being written.
    fn begin_change(&self, group: usize) {
        self.store_group(group, offset_of!(NodeGroup, since), Term(u64::MAX));
    }

    /// Every frame that is composed from now on says what was written.
    fn end_change(&self, group: usize) {
        self.store_group(group, offset_of!(NodeGroup, since), Term(crate::clock::now().0));
    }

    /// Consents that a claim over `term` be obeyed at once.
    pub fn set_consent(&self, group: usize, term: Term) {
        self.store_group(group, offset_of!(NodeGroup, consent), term);
    }

    /// Says who this node and its peer are. The peer's address comes last: without it no heartbeat is for this node.
    pub fn set_pair(&self, nsip: u32, node_id: u32, peer_nsip: u32, peer_id: u32) {
        self.store32(offset_of!(Node, peer_nsip), 0);
        self.store32(offset_of!(Node, nsip), nsip);
        self.store32(offset_of!(Node, node_id), node_id);
        self.store32(offset_of!(Node, peer_id), peer_id);
        self.store32(offset_of!(Node, peer_nsip), peer_nsip);
    }

    /// Gives this node's life a number.
    pub fn set_boot_nonce(&self, nonce: u64) {
        self.store64(offset_of!(Node, boot_nonce), nonce);
    }

    /// Sets `node_flags`, but for [`node_flags::TRACED`], which belongs to whoever traces.
    pub fn set_flags(&self, flags: u32) {
        let word = self.node.word32(0, offset_of!(Node, flags));
        let wanted = |present| Some(present & node_flags::TRACED | flags & !node_flags::TRACED);
        // Never refused: there is always something wanted.
        let _ = word.fetch_update(Release, Relaxed, wanted);
    }

    /// See [`super::Maps::clear_trace`].
    pub(super) fn clear_trace(&self, trace: &Array<Trace>, ticks: impl FnOnce() -> io::Result<Ticks>) -> io::Result<bool> {
        tracing::clear(&self.node, trace, ticks)
    }

    /// The next sequence number for a heartbeat: no two threads get the same, and the kernel knows it before the frame leaves.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.node.word64(0, offset_of!(Node, sent_seq)).fetch_add(1, Relaxed) + 1
    }

    /// The highest sequence number that a heartbeat was given.
    pub fn set_sent_seq(&self, seq: u64) {
        self.store64(offset_of!(Node, sent_seq), seq);
    }

    /// The HA driver has completed a loop.
    pub fn set_controller_at(&self, at: Nanos) {
        self.store64(offset_of!(Node, controller_at), at.0);
    }

    /// Sets the dead interval.
    pub fn set_dead(&self, nanos: u64) {
        self.store64(offset_of!(Node, dead), nanos);
    }

    /// What an ICMP message costs of the budget.
    pub fn set_icmp_cost(&self, nanos: u64) {
        self.store64(offset_of!(Node, icmp_cost), nanos);
    }

    /// What a TCP reset costs of their budget.
    pub fn set_reset_cost(&self, nanos: u64) {
        self.store64(offset_of!(Node, reset_cost), nanos);
    }

    /// Nanoseconds without a loop after which the controller is hung.
    pub fn set_controller_dead(&self, nanos: u64) {
        self.store64(offset_of!(Node, controller_dead), nanos);
    }

    /// This node's place in the one order.
    pub fn set_standing(&self, standing: &Standing) {
        let base = offset_of!(Node, standing);
        for (offset, value) in [
            (offset_of!(Standing, granted_over), standing.granted_over.0),
            (offset_of!(Standing, merits), standing.merits),
            (offset_of!(Standing, commit_term), standing.commit_term.0),
            (offset_of!(Standing, commit_incarnation), standing.commit_incarnation),
            (offset_of!(Standing, last_term), standing.last_term.0),
            (offset_of!(Standing, id), standing.id),
        ] {
            self.store64(base + offset, value);
        }
    }

    /// What every frame says of this node: `wire::heartbeat::flags`.
    pub fn set_said_flags(&self, flags: u32) {
        self.store32(offset_of!(Node, said_flags), flags);
    }

    /// Bit by link: the peer is heard there.
    pub fn set_hears(&self, hears: u32) {
        self.store32(offset_of!(Node, hears), hears);
    }

    /// Names the configuration.
    pub fn set_config_identity(&self, identity: u64) {
        self.store64(offset_of!(Node, config_identity), identity);
    }

    /// How far flow replication is acknowledged.
    pub fn set_sync_watermark(&self, watermark: u64) {
        self.store64(offset_of!(Node, sync_watermark), watermark);
    }

    /// Changes the keys. While a key is half-stored it has no id, so that no frame is judged by it.
    pub fn set_keys(&self, tx: &Key, rx: &[Key; 2]) {
        let rx_base = offset_of!(Node, rx_keys);
        let places = [offset_of!(Node, tx_key), rx_base, rx_base + size_of::<Key>()];
        for (base, key) in places.into_iter().zip([tx, &rx[0], &rx[1]]) {
            self.store64(base + offset_of!(Key, id), 0);
            self.store64(base + offset_of!(Key, k0), key.k0);
            self.store64(base + offset_of!(Key, k1), key.k1);
            self.store64(base + offset_of!(Key, id), key.id);
        }
    }

    /// The former key `id` opens nothing any more. Another key that has taken its place meanwhile stays.
    pub fn forget_key(&self, id: u64) {
        let place = offset_of!(Node, rx_keys) + size_of::<Key>() + offset_of!(Key, id);
        // Not equal: the keys have just been changed by another thread, which is as good.
        let _ = self.node.word64(0, place).compare_exchange(id, 0, Release, Relaxed);
    }

    /// Changes the public first part of heartbeats, as it stands in echoes.
    pub fn set_public(&self, public: &[u32; PUBLIC_WORDS]) {
        for (word, &value) in public.iter().enumerate() {
            self.store32(offset_of!(Node, public) + 4 * word, value);
        }
    }

    fn store_group(&self, group: usize, field: usize, term: Term) {
        assert!(group < GROUPS, "there is no group {group}");
        self.store64(offset_of!(Node, groups) + group * size_of::<NodeGroup>() + field, term.0);
    }

    fn store32(&self, offset: usize, value: u32) {
        self.node.word32(0, offset).store(value, Release);
    }

    fn store64(&self, offset: usize, value: u64) {
        self.node.word64(0, offset).store(value, Release);
    }
}

/// Words of the public first part of a heartbeat.
pub const PUBLIC_WORDS: usize = ha_common::wire::heartbeat::PUBLIC_LEN / 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::array::tests::array;

    fn shared() -> Shared {
        Shared::new(array(1), array(1), array(8))
    }

    #[test]
    fn every_setter_stores_its_field_and_no_other() {
        let shared = shared();
        let mut wanted = Node {
            flags: 1,
            nsip: 2,
            peer_nsip: 3,
            node_id: 4,
            peer_id: 5,
            boot_nonce: 6,
            sent_seq: 7,
            controller_at: Nanos(8),
            controller_dead: 9,
            dead: 34,
            icmp_cost: 35,
            reset_cost: 36,
            standing: Standing {
                granted_over: Term(10),
                merits: 11,
                commit_term: Term(12),
                commit_incarnation: 13,
                last_term: Term(14),
                id: 15,
            },
            said_flags: 16,
            hears: 17,
            config_identity: 18,
            sync_watermark: 19,
            tx_key: Key { k0: 20, k1: 21, id: 22 },
            rx_keys: [Key { k0: 23, k1: 24, id: 25 }, Key { k0: 26, k1: 27, id: 28 }],
            public: std::array::from_fn(|word| 100 + word as u32),
            ..Node::default()
        };
        wanted.groups[0] =
            NodeGroup { role_term: Term(29), armed_term: Term(30), armed_over: Term(31), since: Nanos(33), consent: Term(32) };
        shared.begin(&Node::default());
        shared.set_flags(wanted.flags);
        shared.set_pair(2, 4, 3, 5);
        shared.set_boot_nonce(6);
        shared.set_sent_seq(7);
        shared.set_controller_at(Nanos(8));
        shared.set_controller_dead(9);
        shared.set_standing(&wanted.standing);
        shared.set_said_flags(16);
        shared.set_hears(17);
        shared.set_config_identity(18);
        shared.set_sync_watermark(19);
        shared.set_keys(&wanted.tx_key, &wanted.rx_keys);
        shared.set_public(&wanted.public);
        shared.set_role_term(0, Term(29));
        shared.set_armed(0, Term(30), Term(31));
        shared.set_consent(0, Term(32));
        shared.set_dead(34);
        shared.set_icmp_cost(35);
        shared.set_reset_cost(36);
        let since = shared.node().groups[0].since;
        assert!(since > Nanos::NEVER && since <= crate::clock::now());
        wanted.groups[0].since = since;
        assert_eq!(shared.node(), wanted);
        let whole = self::shared();
        whole.begin(&wanted);
        assert_eq!(whole.node(), wanted);
    }

    #[test]
    fn whoever_sets_flags_leaves_a_trace_alone() {
        let shared = shared();
        shared.node.word32(0, offset_of!(Node, flags)).store(node_flags::TRACED | node_flags::BONDS, Relaxed);
        shared.set_flags(node_flags::FENCE_IGNORED);
        assert_eq!(shared.node().flags, node_flags::TRACED | node_flags::FENCE_IGNORED);
        shared.set_flags(node_flags::TRACED);
        assert_eq!(shared.node().flags, node_flags::TRACED);
    }

    #[test]
    fn a_link_that_is_being_written_is_not_read() {
        let shared = shared();
        let mut link = Link { generation: 3, requests: 7, ..Link::default() };
        shared.links.set(1, &link);
        assert_eq!(shared.read_link(1), None);
        link.generation = 4;
        shared.links.set(1, &link);
        assert_eq!(shared.read_link(1), Some(link));
    }

    #[test]
    fn fence_is_read_where_the_kernel_writes_it() {
        let shared = shared();
        shared.fence.word64(0, offset_of!(Fence, granted_term)).store(9, Relaxed);
        assert_eq!(shared.fence().granted_term[0].load(Relaxed), 9);
    }
}
