use super::*;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 100));
const STRANGER: [u8; 6] = [2, 9, 9, 9, 9, 9];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn at(seconds: u64) -> Nanos {
    Nanos(1_000_000_000_000) + Duration::from_secs(seconds)
}

fn claimant(mac: [u8; 6]) -> Claimant {
    Claimant { address: VIP, ifindex: 3, mac }
}

/// A Primary for a long time, its peer well.
fn serving() -> Facts {
    Facts {
        serves: true,
        since: at(0),
        peer_heard: true,
        nsip: Some(Ipv4Addr::new(10, 9, 0, 1)),
        own: [OWN].into(),
        names: [(3, "client0".to_owned())].into(),
        ..Facts::default()
    }
}

fn standing_by() -> Facts {
    Facts { serves: false, peer_serves: true, ..serving() }
}

fn standing(conflicts: &Conflicts) -> Vec<(Kind, String)> {
    conflicts.board.list().into_iter().map(|(kind, subject, _)| (kind, subject)).collect()
}

fn said(conflicts: &Conflicts) -> String {
    conflicts.board.list().into_iter().map(|(.., standing)| standing.text).collect()
}

fn conflicts() -> Conflicts {
    Conflicts::new(Board::default())
}

#[test]
fn foreign_owner_of_a_served_address_is_a_conflict_until_it_is_silent() {
    let mut conflicts = conflicts();
    conflicts.claimed(at(100), claimant(STRANGER));
    assert!(conflicts.look(at(101), &serving()).is_empty(), "the peer is heard: nothing is held");
    assert_eq!(standing(&conflicts), [(Kind::IpConflict, "02:09:09:09:09:09 on client0".to_owned())]);
    assert!(said(&conflicts).contains("02:09:09:09:09:09 on client0 says that it has 10.1.0.100;"), "{}", said(&conflicts));
    conflicts.look(at(170), &serving());
    assert_eq!(standing(&conflicts).len(), 1);
    conflicts.look(at(176), &serving());
    assert!(standing(&conflicts).is_empty());
}

#[test]
fn a_station_with_many_addresses_is_one_alarm_that_counts_them() {
    let mut conflicts = conflicts();
    for last in [100, 7, 8] {
        let address = Ipv4Addr::new(10, 1, 0, last).into();
        conflicts.claimed(at(100) + Duration::from_millis(u64::from(last == 100)), Claimant { address, ..claimant(STRANGER) });
        conflicts.look(at(101), &serving());
    }
    assert_eq!(standing(&conflicts).len(), 1);
    assert!(said(&conflicts).contains("has 10.1.0.7 and 2 more"), "{}", said(&conflicts));
    let cut = Facts { peer_heard: false, ..serving() };
    assert_eq!(conflicts.look(at(102), &cut).len(), 3, "each of them is held");
}

#[test]
fn two_stations_at_one_address_are_two_alarms_and_made_up_ones_not_a_thousand() {
    let mut conflicts = conflicts();
    let count = |conflicts: &mut Conflicts, stations: std::ops::Range<u8>| {
        stations.for_each(|number| conflicts.claimed(at(100), claimant([2, 9, 9, 9, 9, number])));
        conflicts.look(at(101), &serving());
        standing(conflicts).len()
    };
    assert_eq!(count(&mut conflicts, 0..2), 2);
    assert_eq!(count(&mut conflicts, 0..200), STATIONS_MAX);
}

#[test]
fn own_macs_and_a_serving_peer_are_no_conflict() {
    let mut conflicts = conflicts();
    conflicts.claimed(at(100), claimant(OWN));
    conflicts.look(at(101), &serving());
    conflicts.claimed(at(102), claimant(STRANGER));
    conflicts.look(at(103), &standing_by());
    assert!(standing(&conflicts).is_empty());
    // Whoever was heard as the peer is not held against it once this node serves.
    conflicts.look(at(200), &serving());
    assert!(standing(&conflicts).is_empty());
}

#[test]
fn last_words_of_the_former_primary_are_no_conflict() {
    let mut conflicts = conflicts();
    let taken_over = Facts { since: at(100), ..serving() };
    conflicts.look(at(99), &standing_by());
    conflicts.claimed(at(101), claimant(STRANGER));
    conflicts.look(at(101), &taken_over);
    assert!(standing(&conflicts).is_empty());
    conflicts.claimed(at(103), claimant(STRANGER));
    conflicts.look(at(103), &taken_over);
    assert_eq!(standing(&conflicts).len(), 1);
}

#[test]
fn words_of_a_primary_that_died_since_the_last_look_are_no_conflict() {
    let mut conflicts = conflicts();
    conflicts.look(at(100), &Facts { peer_serves: false, ..standing_by() });
    conflicts.claimed(at(100), claimant(STRANGER));
    let taken_over = Facts { since: at(101), peer_heard: false, peer_serves: true, ..serving() };
    assert!(conflicts.look(at(101), &taken_over).is_empty());
    assert!(standing(&conflicts).is_empty());
}

#[test]
fn while_the_peer_is_unheard_a_conflict_holds_the_refresh_and_says_split() {
    let mut conflicts = conflicts();
    conflicts.claimed(at(100), claimant(STRANGER));
    let cut = Facts { peer_heard: false, ..serving() };
    assert_eq!(conflicts.look(at(101), &cut), [VIP].into());
    assert!(said(&conflicts).contains("split"), "{}", said(&conflicts));
    assert!(conflicts.look(at(102), &serving()).is_empty());
}

#[test]
fn answer_to_the_first_question_is_a_conflict_when_nobody_is_known_to_serve() {
    let mut conflicts = conflicts();
    conflicts.claimed(at(3), claimant(STRANGER));
    let fresh = Facts { serves: false, peer_heard: false, ..serving() };
    conflicts.look(at(4), &fresh);
    assert!(standing(&conflicts).is_empty(), "the peer may be heard in a moment");
    assert!(conflicts.look(at(5), &fresh).is_empty(), "a node that does not serve refreshes nothing");
    assert_eq!(standing(&conflicts).len(), 1);
    conflicts.look(at(6), &standing_by());
    assert!(standing(&conflicts).is_empty(), "the peer is heard now, and serves");
}

#[test]
fn answer_to_the_first_question_stands_after_the_first_claim() {
    let mut conflicts = conflicts();
    conflicts.look(at(0), &Facts { serves: false, peer_heard: false, ..serving() });
    conflicts.claimed(at(0), claimant(STRANGER));
    let claimed = Facts { since: at(0) + Duration::from_millis(50), peer_heard: false, ..serving() };
    conflicts.look(at(1), &claimed);
    assert_eq!(standing(&conflicts).len(), 1, "there is no former Primary whose word that could be");
}

#[test]
fn foreign_router_stands_until_it_is_silent() {
    let mut conflicts = conflicts();
    let router = Router { vrid: 7, priority: 200, address: VIP, ifindex: 3, mac: STRANGER };
    conflicts.routed(at(100), router);
    conflicts.look(at(101), &serving());
    assert_eq!(standing(&conflicts), [(Kind::ForeignVrrp, "VRID 7 on client0".to_owned())]);
    conflicts.look(at(176), &serving());
    assert!(standing(&conflicts).is_empty());
}

#[test]
fn doubles_are_named_by_link() {
    let mut conflicts = conflicts();
    let link = Link { duplicate_at: at(100), duplicate_mac: 0x0209_0909_0909, twin_at: at(90), ..Link::default() };
    let facts = Facts { links: vec![("ha0".into(), link), ("ha1".into(), Link::default())], ..serving() };
    conflicts.look(at(101), &facts);
    let both = [(Kind::DuplicateNode, "ha0".to_owned()), (Kind::DuplicateMac, "ha0".to_owned())];
    assert_eq!(standing(&conflicts), both);
    assert!(said(&conflicts).contains("02:09:09:09:09:09") && said(&conflicts).contains("10.9.0.1"));
    conflicts.look(at(170), &facts);
    assert_eq!(standing(&conflicts), both[..1]);
    conflicts.look(at(176), &facts);
    assert!(standing(&conflicts).is_empty());
}

#[test]
fn strays_are_alarming_ten_seconds_after_a_change_of_role_and_until_none_came_for_ten() {
    let mut conflicts = conflicts();
    let mut look = |seconds: u64, sent: u64| {
        let facts = Facts { since: at(100), strays: vec![("client0".into(), sent)], ..standing_by() };
        conflicts.look(at(seconds), &facts);
        !standing(&conflicts).is_empty()
    };
    assert!(!look(99, 5), "what was counted before is old");
    for second in 101..=110 {
        assert!(!look(second, second), "a switch may take so long");
    }
    assert!(look(111, 111));
    assert!(look(120, 111), "the last one came nine seconds ago");
    assert!(!look(121, 111));
    assert!(look(122, 112), "a single one is enough: the switch still points here");
}
