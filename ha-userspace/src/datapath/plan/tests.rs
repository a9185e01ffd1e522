use std::net::Ipv4Addr;

use ha_common::abi::{AMBIGUOUS, NO_BACKEND, address_flags, mode};
use ha_common::wire::Be16;
use proptest::prelude::*;

use super::*;

const NOW: Nanos = Nanos(1_000_000_000);
const POOL: u32 = 1 << 14;

fn ip(a: u8, b: u32) -> ha_common::abi::Ip {
    Ipv4Addr::from_bits(u32::from(a) << 24 | b).into()
}

fn backend(n: u32, up: bool) -> Backend {
    let flags = if up { backend_flags::UP } else { 0 };
    Backend { flags, addr: ip(10, n), port: Be16::new(80), ..Backend::default() }
}

fn vserver(n: u32, mode: u8, members: &[u32]) -> DesiredVserver {
    let member = |&n: &u32| Member { addr: ip(10, n), port: Be16::new(80), protocol: 6, weight: 1, backend: n };
    let key = ServiceKey { addr: ip(192, n), domain: 0, port: Be16::new(80), protocol: 6 };
    let members = members.iter().map(member).collect();
    DesiredVserver { key, mode, sessions: n, members, ..DesiredVserver::default() }
}

/// Vservers as (index, members), all in NAT mode and with an address, and backends as (index, up).
fn desired(vservers: &[(u32, &[u32])], backends: &[(u32, bool)]) -> Desired {
    let mut desired = Desired::default();
    for &(index, members) in vservers {
        let vserver = vserver(index, mode::NAT, members);
        desired.addresses.insert(
            AddressKey { addr: vserver.key.addr, domain: 0 },
            Address { flags: address_flags::VIP | address_flags::ARP, group: 0 },
        );
        desired.vservers.insert(index, vserver);
    }
    desired.backends = backends.iter().map(|&(n, up)| (n, backend(n, up))).collect();
    desired
}

/// Stands in for the kernel: carries out writes one by one and checks after each what a packet could see.
struct Kernel {
    present: Present,
    slots: Vec<u32>,
}

impl Kernel {
    fn new() -> Self {
        Kernel { present: Present::default(), slots: vec![u32::MAX - 1; POOL as usize] }
    }

    fn carry_out(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Ring(ring, content) = write {
                for (_, used) in self.places_in_use() {
                    let apart = ring.base() + ring.len() <= used.base() || used.base() + used.len() <= ring.base();
                    assert!(apart, "{ring:?} is written over {used:?}, which a packet may be reading");
                }
                self.slots[ring.base() as usize..][..content.len()].copy_from_slice(content);
            }
            self.present.apply(write);
            self.check(write);
        }
    }

    fn rings_in_use(&self) -> Vec<(u32, Ring)> {
        let mut rings = Vec::new();
        for (&index, vserver) in &self.present.vservers {
            rings.push((index, vserver.ring));
            if vserver.flags & vserver_flags::PREVIOUS != 0 {
                rings.push((index, vserver.previous));
            }
        }
        rings
    }

    /// Rings, and lists of choices, that a packet may be reading.
    fn places_in_use(&self) -> Vec<(u32, Ring)> {
        let mut rings = self.rings_in_use();
        for (&index, vserver) in &self.present.vservers {
            rings.extend(place_of(vserver.choices).map(|place| (index, place)));
        }
        rings
    }

    fn slots(&self, ring: Ring) -> Vec<u32> {
        self.slots[ring.base() as usize..][..ring.len() as usize].to_vec()
    }

    fn check(&self, after: &Write) {
        for (key, index) in &self.present.vserver_keys {
            let vserver = self.present.vservers.get(index);
            let vserver = vserver.unwrap_or_else(|| panic!("{key:?} leads to no vserver after {after:?}"));
            assert_eq!((vserver.vip, vserver.port), (key.addr, key.port));
        }
        for (index, ring) in self.rings_in_use() {
            let reachable = self.present.vserver_keys.values().any(|reached| *reached == index);
            for slot in self.slots(ring) {
                let there = slot == NO_BACKEND || self.present.backends.contains_key(&slot);
                // A backend that was removed altogether may still be in a previous ring: a zero record, which is down.
                let previous = self.present.vservers[&index].ring != ring;
                assert!(there || previous || !reachable, "slot of vserver {index} leads to {slot} after {after:?}");
            }
        }
        for vserver in self.present.vservers.values() {
            let choices = vserver.choices;
            for slot in choices.base()..choices.base() + choices.count() {
                let backend = Choice::of(self.slots[slot as usize]).backend();
                assert!(self.present.backends.contains_key(&backend), "a choice leads to {backend} after {after:?}");
            }
        }
        for owner in self.present.owners.values() {
            assert!(self.present.backends.contains_key(&owner.backend));
            assert!(owner.vserver == AMBIGUOUS || self.present.vservers.contains_key(&owner.vserver));
        }
        for (index, vserver) in &self.present.vservers {
            let some_down = self.slots(vserver.ring).iter().any(|&slot| slot != NO_BACKEND && !self.is_up(slot));
            if some_down && self.present.vserver_keys.values().any(|reached| reached == index) {
                assert!(
                    vserver.flags & vserver_flags::EXCEPTIONS != 0,
                    "a flow becomes an exception unnoticed after {after:?}"
                );
            }
        }
    }

    fn is_up(&self, backend: u32) -> bool {
        self.present.backends.get(&backend).is_some_and(|backend| backend.flags & backend_flags::UP != 0)
    }
}

struct Rig {
    planner: Planner,
    kernel: Kernel,
}

impl Rig {
    fn new() -> Self {
        Rig { planner: Planner::new(NOW, Present::default(), POOL, |_| unreachable!()), kernel: Kernel::new() }
    }

    fn reach(&mut self, now: Nanos, desired: &Desired) -> Vec<Write> {
        let writes = self.planner.plan(now, desired).expect("the pool has room");
        self.kernel.carry_out(&writes);
        assert_eq!(self.planner.present(), &self.kernel.present);
        assert_eq!(self.kernel.present.addresses, desired.addresses);
        assert_eq!(self.kernel.present.backends, desired.backends);
        assert_eq!(self.kernel.present.owners, desired.owners());
        assert!(self.kernel.present.vservers.keys().eq(desired.vservers.keys()));
        assert_eq!(self.planner.plan(now, desired).unwrap(), [], "a second plan has nothing to do");
        writes
    }

    /// A daemon that starts anew and finds what the kernel holds.
    fn restart(&mut self, now: Nanos) {
        self.planner = Planner::new(now, self.kernel.present.clone(), POOL, |ring| self.kernel.slots(ring));
    }
}

#[test]
fn nothing_points_to_what_is_not_there_yet_or_no_more() {
    let mut rig = Rig::new();
    rig.reach(NOW, &desired(&[(0, &[1, 2]), (1, &[2, 3])], &[(1, true), (2, true), (3, true)]));
    rig.reach(NOW, &desired(&[(1, &[3])], &[(3, true)]));
    rig.reach(NOW, &desired(&[], &[]));
    assert_eq!(rig.kernel.present, Present::default());
}

#[test]
fn a_backend_that_goes_down_costs_its_bit_and_no_ring() {
    let mut rig = Rig::new();
    rig.reach(NOW, &desired(&[(0, &[1, 2])], &[(1, true), (2, true)]));
    let writes = rig.reach(NOW, &desired(&[(0, &[1, 2])], &[(1, true), (2, false)]));
    assert!(matches!(writes[..], [Write::Vserver(0, _), Write::Backend(2, _)]), "{writes:?}");
    let writes = rig.reach(NOW, &desired(&[(0, &[1, 2])], &[(1, true), (2, true)]));
    assert!(matches!(writes[..], [Write::Backend(2, _)]), "its exceptions may still be there: {writes:?}");
    rig.planner.set_exceptions(HashSet::new());
    let writes = rig.reach(NOW, &desired(&[(0, &[1, 2])], &[(1, true), (2, true)]));
    assert!(matches!(writes[..], [Write::Vserver(0, Vserver { flags: 0, .. })]), "{writes:?}");
}

#[test]
fn vserver_is_down_without_a_backend_that_is_up() {
    let mut rig = Rig::new();
    let down = |rig: &Rig| rig.kernel.present.vservers[&0].flags & vserver_flags::DOWN != 0;
    rig.reach(NOW, &desired(&[(0, &[])], &[]));
    assert!(down(&rig));
    rig.reach(NOW, &desired(&[(0, &[1])], &[(1, false)]));
    assert!(down(&rig));
    rig.reach(NOW, &desired(&[(0, &[1])], &[(1, true)]));
    assert!(!down(&rig));
}

#[test]
fn a_changed_ring_is_flipped_to_and_the_one_before_is_kept_for_a_while() {
    let mut rig = Rig::new();
    let backends = [(1, true), (2, true), (3, true)];
    rig.reach(NOW, &desired(&[(0, &[1, 2])], &backends));
    let first = rig.kernel.present.vservers[&0];
    let second = desired(&[(0, &[1, 2, 3])], &backends);
    rig.reach(NOW, &second);
    let flipped = rig.kernel.present.vservers[&0];
    assert_eq!((flipped.previous, flipped.previous_generation, flipped.generation), (first.ring, 1, 2));
    assert!(flipped.flags & vserver_flags::PREVIOUS != 0);
    let due = rig.planner.poll_timeout().unwrap();
    rig.planner.set_exceptions(HashSet::new());
    rig.reach(due, &second);
    let settled = rig.kernel.present.vservers[&0];
    assert_eq!((settled.flags, settled.ring, settled.previous), (0, flipped.ring, Ring::default()));
    assert_eq!(rig.planner.poll_timeout(), None);
}

#[test]
fn a_backend_of_two_vservers_is_ambiguous_and_one_of_mac_mode_answers_by_itself() {
    let mut both = desired(&[(0, &[1, 2]), (1, &[2])], &[(1, true), (2, true), (3, true)]);
    both.vservers.insert(2, vserver(2, mode::MAC, &[3]));
    Rig::new().reach(NOW, &both);
    let owners: BTreeMap<u32, u32> = both.owners().values().map(|owner| (owner.backend, owner.vserver)).collect();
    assert_eq!(owners, [(1, 0), (2, AMBIGUOUS)].into());
}

#[test]
fn a_restart_writes_nothing_when_nothing_has_changed() {
    let mut rig = Rig::new();
    let state = desired(&[(0, &[1, 2]), (1, &[1, 2]), (2, &[3])], &[(1, true), (2, false), (3, true)]);
    rig.reach(NOW, &state);
    let usage = rig.planner.ring_usage();
    rig.restart(NOW);
    assert_eq!(rig.reach(NOW, &state), []);
    assert_eq!(rig.planner.ring_usage(), usage);
}

#[test]
fn equal_vservers_share_a_ring() {
    let mut rig = Rig::new();
    let members: &[u32] = &[1, 2];
    let vservers: Vec<(u32, &[u32])> = (0..100).map(|index| (index, members)).collect();
    let writes = rig.reach(NOW, &desired(&vservers, &[(1, true), (2, true)]));
    assert_eq!(writes.iter().filter(|write| matches!(write, Write::Ring(..))).count(), 1);
}

#[test]
fn a_pool_without_room_refuses_the_whole_plan() {
    let mut rig = Rig::new();
    let backends: Vec<(u32, bool)> = (0..200).map(|n| (n, true)).collect();
    let many: Vec<u32> = (0..200).collect();
    let before = rig.planner.present().clone();
    assert!(rig.planner.plan(NOW, &desired(&[(0, &many)], &backends)).is_err());
    assert_eq!(rig.planner.present(), &before);
    rig.reach(NOW, &desired(&[(0, &many[..20])], &backends));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of states, with restarts in between: the kernel's checks hold after every single write.
    #[test]
    fn no_packet_sees_half_a_change(states in proptest::collection::vec(state(), 1..8)) {
        let mut rig = Rig::new();
        let mut now = NOW;
        for (state, pause, restarts) in states {
            now = now + Duration::from_millis(pause);
            if restarts {
                rig.restart(now);
            }
            rig.reach(now, &state);
        }
    }
}

fn state() -> impl Strategy<Value = (Desired, u64, bool)> {
    let vservers = proptest::collection::btree_map(0u32..4, proptest::collection::btree_set(0u32..6, 0..5), 0..4);
    let ups = proptest::collection::vec(any::<bool>(), 6);
    (vservers, ups, 200u64..200_000, any::<bool>()).prop_map(|(vservers, ups, pause, restarts)| {
        let members: BTreeMap<u32, Vec<u32>> =
            vservers.into_iter().map(|(index, members)| (index, members.into_iter().collect())).collect();
        let used: HashSet<u32> = members.values().flatten().copied().collect();
        let backends: Vec<(u32, bool)> = (0..6).filter(|n| used.contains(n)).map(|n| (n, ups[n as usize])).collect();
        let vservers: Vec<(u32, &[u32])> = members.iter().map(|(&index, members)| (index, &members[..])).collect();
        (desired(&vservers, &backends), pause, restarts)
    })
}

#[test]
fn first_binding_leaves_no_previous_ring_because_nothing_can_have_begun_under_an_empty_one() {
    let mut planner = Planner::new(NOW, Present::default(), POOL, |_| Vec::new());
    let flags = |planner: &Planner| planner.present.vservers[&1].flags & vserver_flags::PREVIOUS;
    planner.plan(NOW, &desired(&[(1, &[])], &[(7, true)])).unwrap();
    planner.plan(NOW, &desired(&[(1, &[7])], &[(7, true)])).unwrap();
    assert_eq!(flags(&planner), 0);
    planner.plan(NOW, &desired(&[(1, &[7, 8])], &[(7, true), (8, true)])).unwrap();
    assert_ne!(flags(&planner), 0, "the second ring has a history");
}

#[test]
fn vrids_are_written_once_and_taken_back() {
    let mut planner = Planner::new(NOW, Present::default(), POOL, |_| Vec::new());
    let mut wanted = Desired { vrids: [(7, 1), (9, 2)].into(), ..Desired::default() };
    assert_eq!(planner.plan(NOW, &wanted).unwrap(), [Write::Vrid(7, 1), Write::Vrid(9, 2)]);
    assert_eq!(planner.plan(NOW, &wanted).unwrap(), []);
    wanted.vrids = [(9, 3)].into();
    assert_eq!(planner.plan(NOW, &wanted).unwrap(), [Write::Vrid(7, 0), Write::Vrid(9, 3)]);
}

/// The same with a method that looks at a list.
fn counted(flag: u32, members: &[u32], backends: &[(u32, bool)]) -> Desired {
    let mut desired = desired(&[(0, members)], backends);
    desired.vservers.get_mut(&0).unwrap().flags = flag;
    desired
}

fn choices(rig: &Rig) -> Vec<(u32, u32)> {
    let choices = rig.kernel.present.vservers[&0].choices;
    let list = &rig.kernel.slots[choices.base() as usize..][..choices.count() as usize];
    list.iter().map(|slot| (Choice::of(*slot).backend(), Choice::of(*slot).weight())).collect()
}

#[test]
fn a_list_of_choices_holds_who_is_up_and_is_given_back_with_its_method() {
    let mut rig = Rig::new();
    let mut state = counted(vserver_flags::LEAST, &[1, 2, 3], &[(1, true), (2, true), (3, true)]);
    rig.reach(NOW, &desired(&[(0, &[1, 2, 3])], &[(1, true), (2, true), (3, true)]));
    let without = rig.planner.ring_usage();
    rig.reach(NOW, &state);
    assert_eq!(choices(&rig), [(1, 1), (2, 1), (3, 1)]);
    assert!(rig.kernel.present.vservers[&0].flags & vserver_flags::EXCEPTIONS != 0);
    state.backends.insert(2, backend(2, false));
    state.backends.get_mut(&3).unwrap().flags |= backend_flags::LEAVING;
    rig.reach(NOW, &state);
    assert_eq!(choices(&rig), [(1, 1)], "who is down or leaves is not in it");
    state.backends.insert(1, backend(1, false));
    rig.reach(NOW, &state);
    assert_eq!(choices(&rig), []);
    state.backends.insert(1, backend(1, true));
    state.vservers.get_mut(&0).unwrap().flags = vserver_flags::IN_TURN;
    state.vservers.get_mut(&0).unwrap().members[0].weight = 3;
    rig.reach(NOW, &state);
    assert_eq!(choices(&rig), [(1, 3)], "alone, its weight makes no round longer");
    let later = NOW + Duration::from_secs(300);
    rig.reach(later, &desired(&[(0, &[1, 2, 3])], &[(1, true), (2, true), (3, true)]));
    let later = later + Duration::from_secs(300);
    rig.reach(later, &desired(&[(0, &[1, 2, 3])], &[(1, true), (2, true), (3, true)]));
    // What has rested long enough is taken away when somebody needs room.
    rig.planner.pool.take(later + Duration::from_secs(1), &vec![7; 4].into()).unwrap();
    assert_eq!(rig.planner.ring_usage(), (without.0 + 4, without.1), "nothing else is left");
}

#[test]
fn a_restart_finds_lists_of_choices_where_they_are() {
    let mut rig = Rig::new();
    let state = counted(vserver_flags::IN_TURN, &[1, 2, 3], &[(1, true), (2, true), (3, true)]);
    rig.reach(NOW, &state);
    let usage = rig.planner.ring_usage();
    rig.restart(NOW);
    assert_eq!(rig.reach(NOW, &state), []);
    assert_eq!(rig.planner.ring_usage(), usage);
    rig.reach(NOW, &desired(&[], &[]));
    assert_eq!(rig.kernel.present, Present::default());
}

#[test]
fn a_backend_with_a_limit_or_that_leaves_makes_its_vserver_look_for_exceptions() {
    let mut rig = Rig::new();
    let excepts = |rig: &Rig| rig.kernel.present.vservers[&0].flags & vserver_flags::EXCEPTIONS != 0;
    let mut state = desired(&[(0, &[1, 2])], &[(1, true), (2, true)]);
    rig.reach(NOW, &state);
    assert!(!excepts(&rig));
    state.backends.get_mut(&2).unwrap().flows_max = 5;
    rig.reach(NOW, &state);
    assert!(excepts(&rig));
}
