//! One machine, fed by hand: what it does with facts that two nodes on a clock rarely produce.

use super::*;
use crate::abi::MAX_LINKS;
use crate::wire::heartbeat::GroupState;

const DEAD: Duration = Duration::from_millis(30);
const PEER_TERM: Term = Term::new(7, 2);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A machine and what came out of it.
struct Bench {
    now: Nanos,
    machine: Machine,
    done: Vec<Action>,
    serving: Term,
    view: PeerView,
}

impl Bench {
    /// Node `id` of a pair, healthy, with nothing heard yet.
    fn new(id: u8, status: HaStatus) -> Bench {
        let settings = Settings { node_id: id, paired: true, status, hello: ms(10), dead: DEAD, ..Settings::default() };
        Bench::with(settings)
    }

    fn with(settings: Settings) -> Bench {
        let now = Nanos(1_000_000_000_000);
        let machine = Machine::new(now, settings, 100, 100 + TERM_BLOCK, Term::NONE);
        let mut bench = Bench { now, machine, done: Vec::new(), serving: Term::NONE, view: PeerView::default() };
        bench.feed(Event::Health(Health::WELL));
        bench.feed(Event::MirrorReady(true));
        bench
    }

    fn feed(&mut self, event: Event) {
        self.machine.handle_event(self.now, event);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match &action {
                Action::SetRole(term) => self.serving = *term,
                Action::Send => self.machine.handle_event(self.now, Event::Asked(self.now)),
                Action::Drain => self.machine.handle_event(self.now, Event::Drained),
                _ => {}
            }
            self.done.push(action);
        }
    }

    /// Lets `span` pass, turn by turn, asking each time.
    fn wait(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            let due = self.machine.poll_timeout(self.now);
            self.now = due.max(self.now + ms(1)).min(end);
            let (view, serving) = (Box::new(self.view.clone()), self.serving);
            self.feed(Event::Heard { view, serving });
            self.machine.handle_event(self.now, Event::Asked(self.now));
            self.machine.handle_timeout(self.now);
            self.collect();
        }
    }

    /// The peer lives for `span` and says `said` all the time.
    fn hear(&mut self, said: Extension, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.view.said = Some(said);
            self.view.echo_at = self.now;
            self.view.request_at = self.now;
            self.view.heard_at = [self.now; MAX_LINKS];
            self.view.rtt = 20_000;
            self.wait(ms(5));
        }
    }

    fn flag(&self, flag: u16) -> bool {
        self.machine.said().flags & flag != 0
    }

    fn role(&self) -> RoleName {
        self.machine.role().0
    }

    fn answer(&self) -> Option<Result<(), Refusal>> {
        self.done.iter().rev().find_map(|action| match action {
            Action::Answer(answer) => Some(*answer),
            _ => None,
        })
    }
}

const WELL: u64 = merits::HEALTHY | merits::CONNECTED;

/// A healthy peer with id 2 that serves under `term` (or does not).
fn peer(term: Term) -> Extension {
    let standing = Standing { merits: WELL, last_term: term, id: 2, ..Standing::default() };
    let groups = [GroupState { term, ..GroupState::default() }];
    Extension { flags: flags::ELIGIBLE | flags::MIRROR_READY | flags::WILLING, standing, groups, ..Extension::default() }
}

#[test]
fn stay_secondary_never_takes_over_from_a_dead_peer() {
    let mut bench = Bench::new(1, HaStatus::StaySecondary);
    bench.hear(peer(PEER_TERM), ms(100));
    bench.wait(ms(5_000));
    assert_eq!((bench.role(), bench.machine.peer_alive(bench.now)), (RoleName::Secondary, Some(false)));
    assert_eq!(bench.machine.said().node_state, 8);
}

#[test]
fn disabled_never_takes_over_and_says_so() {
    let mut bench = Bench::new(1, HaStatus::Disabled);
    bench.wait(ms(5_000));
    assert_eq!((bench.role(), bench.machine.said().node_state), (RoleName::Secondary, 9));
    assert!(bench.flag(flags::ENGINE_OFF));
}

#[test]
fn primary_that_is_disabled_hands_over_to_a_peer_that_can_and_otherwise_goes_on() {
    let mut bench = Bench::new(1, HaStatus::Enabled);
    bench.wait(ms(100));
    assert_eq!(bench.role(), RoleName::Primary);
    let off = Settings { status: HaStatus::Disabled, ..bench.machine.settings().clone() };
    bench.feed(Event::Settings(off));
    bench.wait(ms(1_000));
    assert_eq!(bench.role(), RoleName::Primary, "there is nobody else");
    bench.hear(peer(Term::NONE), ms(20));
    assert_eq!(bench.role(), RoleName::HandingOver);
    assert!(bench.flag(flags::HANDS_OVER));
}

#[test]
fn stay_primary_asks_for_the_role_only_after_its_hold_and_when_its_mirror_is_ready() {
    let mut bench = Bench::new(1, HaStatus::StayPrimary);
    bench.feed(Event::MirrorReady(false));
    bench.hear(peer(PEER_TERM), ms(29_000));
    assert!(!bench.flag(flags::WANTS_ROLE));
    bench.hear(peer(PEER_TERM), ms(2_000));
    assert!(!bench.flag(flags::WANTS_ROLE), "its mirror is not ready");
    bench.feed(Event::MirrorReady(true));
    bench.hear(peer(PEER_TERM), ms(10));
    assert!(bench.flag(flags::WANTS_ROLE));
    let wanting = Extension { flags: peer(PEER_TERM).flags | flags::HANDS_OVER, ..peer(PEER_TERM) };
    bench.hear(wanting, ms(5));
    assert_eq!(bench.role(), RoleName::Claiming);
}

#[test]
fn node_that_the_witness_refuses_is_told_how_to_serve_when_its_peer_is_lost_for_good() {
    for testimony in [Testimony::Refused, Testimony::Silent] {
        let settings = Settings { node_id: 1, paired: true, witness: true, hello: ms(10), dead: DEAD, ..Settings::default() };
        let mut bench = Bench::with(settings.clone());
        bench.hear(peer(PEER_TERM), ms(100));
        bench.wait(ms(200));
        bench.feed(Event::Witness(testimony));
        bench.wait(ms(10));
        bench.feed(Event::Force { force: true });
        let Some(Err(refusal)) = bench.answer() else { panic!("{testimony:?}: not refused") };
        assert!(refusal.code() == 364 && refusal.to_string().contains("set ha node -witness NONE"), "{testimony:?}: {refusal}");
        bench.feed(Event::Settings(Settings { witness: false, ..settings }));
        bench.wait(ms(50));
        assert_eq!(bench.role(), RoleName::Primary, "{testimony:?}: the remedy works");
    }
}

#[test]
fn what_is_left_of_a_preferred_primarys_hold_is_told_until_it_wants_the_role() {
    let mut bench = Bench::new(1, HaStatus::StayPrimary);
    assert_eq!(bench.machine.preference_left(bench.now), None, "nobody to take it back from");
    bench.hear(peer(PEER_TERM), ms(10_000));
    let left = bench.machine.preference_left(bench.now).unwrap();
    assert!(left > ms(19_900) && left <= ms(20_000), "{left:?}");
    bench.feed(Event::Health(Health { interfaces: Interfaces::SomeFail, ..Health::WELL }));
    assert_eq!(bench.machine.preference_left(bench.now), Some(PREFERENCE_HOLD), "it counts from when it is well");
    let mut other = Bench::new(1, HaStatus::Enabled);
    other.hear(peer(PEER_TERM), ms(100));
    assert_eq!(other.machine.preference_left(other.now), None);
}

#[test]
fn routes_are_judged_on_the_primary_after_the_hold_and_everywhere_with_inc() {
    let settings = Settings { paired: false, route_hold: ms(5_000), ..Settings::default() };
    let mut bench = Bench::with(settings.clone());
    assert_eq!(bench.machine.routes_judged(bench.now), Judged::Elsewhere);
    bench.wait(ms(100));
    assert_eq!(bench.role(), RoleName::Primary);
    assert!(matches!(bench.machine.routes_judged(bench.now), Judged::In(left) if left > ms(4_800) && left <= ms(5_000)));
    bench.wait(ms(5_000));
    assert_eq!(bench.machine.routes_judged(bench.now), Judged::Now);
    let inc = Bench::with(Settings { inc: true, ..settings });
    assert_eq!(inc.machine.routes_judged(inc.now), Judged::Now);
}

#[test]
fn node_whose_health_is_not_known_says_that_it_is_not_judged_rather_than_unwell() {
    let now = Nanos(1_000_000_000_000);
    let settings = Settings { node_id: 1, paired: true, ..Settings::default() };
    let mut machine = Machine::new(now, settings, 100, 200, Term::NONE);
    assert!(machine.said().flags & flags::UNJUDGED != 0 && !machine.is_judged());
    machine.handle_event(now, Event::Health(Health { interfaces: Interfaces::AllFail, ..Health::WELL }));
    machine.handle_timeout(now + ms(1));
    assert!(machine.said().flags & flags::UNJUDGED == 0 && machine.is_judged());
}

#[test]
fn node_that_is_told_to_stay_secondary_alone_serves_until_it_has_a_peer() {
    let alone = Settings { status: HaStatus::StaySecondary, ..Settings::default() };
    let mut bench = Bench::with(alone.clone());
    bench.wait(ms(50));
    assert_eq!(bench.role(), RoleName::Primary);
    bench.feed(Event::Settings(Settings { node_id: 2, paired: true, ..alone }));
    assert_eq!((bench.role(), bench.serving), (RoleName::Secondary, Term::NONE));
}

#[test]
fn forced_failover_is_refused_with_the_public_code_for_every_state_that_forbids_it() {
    let refused = |bench: &mut Bench, force| {
        bench.feed(Event::Force { force });
        bench.answer().expect("answered").expect_err("refused").code()
    };
    assert_eq!(refused(&mut Bench::with(Settings::default()), false), 363);

    let mut alone = Bench::new(1, HaStatus::Enabled);
    alone.wait(ms(100));
    assert_eq!(refused(&mut alone, true), 364, "the peer is dead");

    let mut prefers = Bench::new(1, HaStatus::StayPrimary);
    prefers.hear(peer(PEER_TERM), ms(50));
    assert_eq!(refused(&mut prefers, true), 1441);

    let mut stays = Bench::new(1, HaStatus::StaySecondary);
    stays.hear(peer(PEER_TERM), ms(50));
    assert_eq!(refused(&mut stays, true), 364);

    let mut ill = Bench::new(1, HaStatus::Enabled);
    ill.hear(peer(PEER_TERM), ms(50));
    ill.feed(Event::Health(Health { interfaces: Interfaces::SomeFail, ..Health::WELL }));
    assert_eq!(refused(&mut ill, false), 365);

    let mut primary = Bench::new(1, HaStatus::Enabled);
    primary.wait(ms(100));
    let ill_peer = Extension { standing: Standing { merits: 0, ..peer(Term::NONE).standing }, ..peer(Term::NONE) };
    primary.hear(ill_peer, ms(20));
    assert_eq!(refused(&mut primary, false), 1449);
    let dumb = Extension { flags: flags::STAYS_SECONDARY, ..peer(Term::NONE) };
    primary.hear(dumb, ms(20));
    assert_eq!(refused(&mut primary, true), 364);
    primary.hear(peer(Term::NONE), ms(20));
    primary.feed(Event::Force { force: false });
    assert_eq!(primary.role(), RoleName::HandingOver);
    assert_eq!(refused(&mut primary, false), 366, "one at a time");
}

#[test]
fn hand_over_that_is_not_taken_is_aborted_under_a_new_term() {
    let mut bench = Bench::new(1, HaStatus::Enabled);
    bench.wait(ms(100));
    let before = bench.serving;
    bench.hear(peer(Term::NONE), ms(20));
    bench.feed(Event::Force { force: false });
    assert!(bench.done.contains(&Action::Consent(before)));
    bench.hear(peer(Term::NONE), ms(1_100));
    assert_eq!((bench.role(), bench.answer()), (RoleName::Primary, Some(Err(Refusal::TimedOut))));
    assert!(bench.serving > before, "a grant over the old term counts no more");
}

#[test]
fn frames_with_an_unknown_key_keep_a_node_from_claiming() {
    let mut bench = Bench::new(2, HaStatus::Enabled);
    bench.view.unknown_key_serves = true;
    for _ in 0..400 {
        bench.view.unknown_key_at = bench.now;
        bench.wait(ms(5));
    }
    assert_eq!(bench.role(), RoleName::Secondary);
    bench.feed(Event::Force { force: false });
    assert_eq!(bench.answer(), Some(Err(Refusal::PeerUnknown)));
    bench.feed(Event::Force { force: true });
    assert_eq!((bench.role(), bench.answer()), (RoleName::Primary, Some(Ok(()))), "the operator insists");
}

#[test]
fn of_two_nodes_that_wait_for_each_others_key_the_lower_address_claims() {
    for (id, role) in [(1, RoleName::Primary), (2, RoleName::Secondary)] {
        let mut bench = Bench::new(id, HaStatus::Enabled);
        for turn in 0..60 {
            bench.view.unknown_key_at = bench.now;
            bench.wait(ms(5));
            if turn < 14 {
                assert_eq!(bench.role(), RoleName::Secondary, "three dead intervals have not passed");
            }
        }
        assert_eq!(bench.role(), role);
    }
}

#[test]
fn terms_are_reserved_before_they_are_used_and_never_used_twice() {
    let mut used = 100;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let settings = Settings { node_id: 1, paired: true, dead: DEAD, hello: ms(10), ..Settings::default() };
        let mut bench = Bench::with(settings);
        bench.machine = Machine::new(bench.now, bench.machine.settings().clone(), used, used + TERM_BLOCK, Term::NONE);
        bench.feed(Event::Health(Health::WELL));
        bench.wait(ms(100));
        let reserved = bench.done.iter().filter_map(|action| match action {
            Action::Reserve(upto) => Some(*upto),
            _ => None,
        });
        used = reserved.max().unwrap_or(used + TERM_BLOCK);
        assert!(bench.serving.counter() <= used);
        assert!(!seen.contains(&bench.serving));
        seen.push(bench.serving);
    }
}

#[test]
fn restarted_daemon_that_does_not_know_its_health_yet_keeps_the_role() {
    let own = Term::new(9, 1);
    let settings = Settings { node_id: 1, paired: true, hello: ms(10), dead: DEAD, ..Settings::default() };
    let now = Nanos(1_000_000_000_000);
    let machine = Machine::new(now, settings, 100, 100 + TERM_BLOCK, own);
    let mut bench = Bench { now, machine, done: Vec::new(), serving: own, view: PeerView::default() };
    bench.feed(Event::MirrorReady(true));
    bench.hear(peer(Term::NONE), ms(300));
    assert_eq!(bench.machine.role().0, RoleName::Primary);
    assert_eq!(bench.serving, own);
}

#[test]
fn isolated_node_does_not_claim() {
    let mut bench = Bench::new(1, HaStatus::Enabled);
    bench.feed(Event::Health(Health { interfaces: Interfaces::AllFail, connected: false, ..Health::WELL }));
    bench.wait(ms(1_000));
    assert_eq!((bench.role(), bench.machine.said().node_state), (RoleName::Secondary, 7));
}

#[test]
fn forced_failover_to_an_unwell_peer_happens_when_the_operator_insists_and_is_answered_either_way() {
    let mut bench = Bench::new(1, HaStatus::Enabled);
    bench.wait(ms(100));
    let unwell =
        Extension { standing: Standing { merits: 0, ..peer(Term::NONE).standing }, flags: flags::WILLING, ..peer(Term::NONE) };
    bench.hear(unwell, ms(20));
    bench.feed(Event::Force { force: true });
    assert_eq!(bench.role(), RoleName::HandingOver);
    assert!(bench.flag(flags::FORCED));
    bench.hear(unwell, ms(1_200));
    assert_eq!(bench.answer(), Some(Err(Refusal::TimedOut)), "a peer that does not come is answered, not waited for");
    bench.hear(peer(Term::NONE), ms(2_000));
    assert_eq!(bench.role(), RoleName::Primary, "and nothing of it is left to happen later");
}

#[test]
fn unwell_secondary_takes_over_when_the_operator_insists_on_the_primary() {
    let mut bench = Bench::new(1, HaStatus::Enabled);
    bench.feed(Event::Health(Health { interfaces: Interfaces::SomeFail, ..Health::WELL }));
    let hands_over = |insists: u16| Extension { flags: peer(PEER_TERM).flags | flags::HANDS_OVER | insists, ..peer(PEER_TERM) };
    bench.hear(hands_over(0), ms(50));
    assert_eq!(bench.role(), RoleName::Secondary);
    bench.hear(hands_over(flags::FORCED), ms(5));
    assert_eq!(bench.role(), RoleName::Claiming);
}

#[test]
fn machine_that_can_send_nothing_does_not_spin_and_calls_nobody_dead() {
    let mut bench = Bench::new(1, HaStatus::Enabled);
    bench.hear(peer(PEER_TERM), ms(100));
    let (mut turns, end) = (0, bench.now + ms(1_000));
    while bench.now < end {
        bench.now = bench.machine.poll_timeout(bench.now).max(bench.now + Duration::from_micros(20));
        let view = Box::new(bench.view.clone());
        bench.machine.handle_event(bench.now, Event::Heard { view, serving: Term::NONE });
        bench.machine.handle_timeout(bench.now);
        while bench.machine.poll_action().is_some() {}
        turns += 1;
    }
    assert!(turns < 5_000, "{turns} turns in a second");
    assert_eq!((bench.role(), bench.machine.peer_alive(bench.now)), (RoleName::Secondary, None));
}

#[test]
fn node_that_comes_up_without_a_link_waits_longer_for_its_peer() {
    let mut bench = Bench::new(1, HaStatus::Enabled);
    bench.feed(Event::Health(Health { linked: false, ..Health::WELL }));
    bench.wait(ms(2_900));
    assert_eq!(bench.role(), RoleName::Secondary, "an interface may still be coming up");
    bench.wait(ms(200));
    assert_eq!(bench.role(), RoleName::Primary);
}

#[test]
fn hand_over_that_times_out_is_judged_on_a_fresh_look_at_the_kernel_only() {
    let mut bench = Bench::new(1, HaStatus::Enabled);
    bench.wait(ms(100));
    bench.hear(peer(Term::NONE), ms(20));
    bench.feed(Event::Force { force: false });
    assert_eq!(bench.role(), RoleName::HandingOver);
    let (term, steps) = (bench.serving, bench.done.len());
    // The daemon comes late: the hand-over has timed out, and in the same moment the kernel has yielded to the peer's claim.
    bench.now = bench.now + ms(1_100);
    bench.feed(Event::Ruled(Ruling::Yielded(term)));
    bench.feed(Event::Health(Health::WELL));
    bench.feed(Event::MirrorReady(true));
    assert_eq!(bench.role(), RoleName::HandingOver, "what was read a turn ago decides nothing");
    let taken =
        PeerView { said: Some(peer(Term::new(900, 2))), echo_at: bench.now, request_at: bench.now, ..bench.view.clone() };
    bench.feed(Event::Heard { view: Box::new(taken), serving: Term::NONE });
    assert_eq!((bench.role(), bench.answer()), (RoleName::Secondary, Some(Ok(()))));
    let raised = bench.done[steps..].iter().any(|action| matches!(action, Action::SetRole(new) if *new > term));
    assert!(!raised, "the role is not taken back from a peer that has it");
}

#[test]
fn claim_does_not_go_on_alone_beside_a_peer_whose_key_became_unknown() {
    let claiming = || {
        let mut bench = Bench::new(1, HaStatus::Enabled);
        let hands_over = Extension { flags: peer(PEER_TERM).flags | flags::HANDS_OVER, ..peer(PEER_TERM) };
        bench.hear(hands_over, ms(20));
        assert_eq!(bench.role(), RoleName::Claiming);
        bench
    };
    let mut dead = claiming();
    dead.wait(ms(100));
    assert_eq!(dead.role(), RoleName::Primary, "silence is death");

    let mut changed = claiming();
    changed.view.unknown_key_serves = true;
    for _ in 0..400 {
        changed.view.unknown_key_at = changed.now;
        changed.wait(ms(5));
        assert_eq!(changed.serving, Term::NONE, "somebody is alive there");
    }
}
