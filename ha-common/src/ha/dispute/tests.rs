//! Two kernels that both serve, fed frame by frame.

use super::*;
use crate::ha::hearing::compose;

/// A kernel that serves.
struct Kernel {
    node: Node,
    fence: Fence,
}

impl Kernel {
    fn new(id: u32, term: Term) -> Kernel {
        let mut node = Node { node_id: id, peer_id: 3 - id, boot_nonce: id.into(), ..Node::default() };
        node.groups[0].role_term = term;
        node.standing.id = id.into();
        node.dead = 30_000_000;
        node.controller_at = Nanos(u64::MAX);
        let fence = Fence::default();
        store(&fence.peer_term, if id == 1 { Term::new(5, 2).0 } else { Term::new(4, 1).0 });
        Kernel { node, fence }
    }

    fn request(&self, now: Nanos) -> Extension {
        let mut frame = Extension { kind: kind::REQUEST, ..Extension::default() };
        compose(&self.node, &self.fence, &mut frame, now);
        frame
    }

    /// Takes in a request; what it decides, and the echo.
    fn hear(&self, frame: &Extension, now: Nanos) -> (Ruling, Extension) {
        store(&self.fence.peer_said_at, frame.said_at);
        let ruling = judge(&self.node, &self.fence, frame, 0, now, self.before(now));
        (ruling, Extension { kind: kind::ECHO, ..self.request(now) })
    }

    /// The peer has served under its term for long.
    fn before(&self, now: Nanos) -> Before {
        let term = Term(load(&self.fence.peer_term));
        let heard_at = Nanos(load(&self.fence.peer_heard_at));
        store(&self.fence.peer_heard_at, now.0);
        Before { heard_at, term }
    }

    fn serves(&self) -> bool {
        !self.fence.serving_term(&self.node, 0).is_none()
    }
}

fn at(ms: u64) -> Nanos {
    Nanos(1_000_000_000 + ms * 1_000_000)
}

/// Node 1 serves longer and would win.
fn both_serve() -> (Kernel, Kernel) {
    (Kernel::new(1, Term::new(4, 1)), Kernel::new(2, Term::new(5, 2)))
}

#[test]
fn node_that_cannot_be_heard_stops_and_keeps_no_verdict_that_could_arrive_when_the_link_begins_to_work() {
    let (mut first, second) = both_serve();
    first.node.hears = 1;
    for ms in 0..5 {
        assert_eq!(first.hear(&second.request(at(ms)), at(ms)).0, Ruling::Stands, "its echo may be on its way");
    }
    // The link begins to work while these two frames cross.
    let (mine, theirs) = (first.request(at(6)), second.request(at(6)));
    assert_eq!(second.hear(&mine, at(6)).0, Ruling::Stands);
    assert!(matches!(first.hear(&theirs, at(6)).0, Ruling::Unheard(_)));
    assert_eq!((first.serves(), second.serves()), (false, true));
}

#[test]
fn lower_id_decides_nothing_while_its_peer_may_be_about_to_stop() {
    let (mut first, mut second) = both_serve();
    // The deaf one would lose the dispute.
    second.node.hears = 1;
    second.node.standing.merits = 1;
    assert_eq!(second.hear(&first.request(at(0)), at(0)).0, Ruling::Stands);
    let (mine, theirs) = (first.request(at(6)), second.request(at(6)));
    assert_eq!(first.hear(&theirs, at(6)).0, Ruling::Stands);
    assert!(matches!(second.hear(&mine, at(6)).0, Ruling::Unheard(_)));
    assert_eq!((first.serves(), second.serves()), (true, false));
    first.node.hears = 1;
    assert_eq!(first.hear(&second.request(at(7)), at(7)).0, Ruling::Stands, "nobody else serves any more");
}

#[test]
fn dispute_after_a_cut_ends_with_one_as_soon_as_each_has_proved_that_it_hears() {
    let (mut first, mut second) = both_serve();
    for exchange in 0..3 {
        let now = at(exchange);
        let (_, of_second) = second.hear(&first.request(now), now);
        let (_, of_first) = first.hear(&second.request(now), now);
        first.hear(&of_second, now);
        second.hear(&of_first, now);
        // Their daemons look.
        (first.node.hears, second.node.hears) = (1, 1);
    }
    assert_eq!((first.serves(), second.serves()), (true, false), "the older claim wins");
}

#[test]
fn lower_id_decides_over_a_peer_whose_daemon_is_gone() {
    let (mut first, second) = both_serve();
    first.node.hears = 1;
    for exchange in 0..3 {
        let (_, echo) = second.hear(&first.request(at(exchange)), at(exchange));
        first.hear(&echo, at(exchange));
    }
    assert_eq!((first.serves(), second.serves()), (true, false));
}

#[test]
fn two_that_hear_nothing_of_each_other_do_not_both_stop_when_the_link_begins_to_work() {
    let (first, second) = both_serve();
    first.hear(&second.request(at(0)), at(0));
    second.hear(&first.request(at(0)), at(0));
    // Then neither heard anything for long.
    let (mine, theirs) = (first.request(at(900)), second.request(at(900)));
    assert_eq!(first.hear(&theirs, at(900)).0, Ruling::Stands);
    assert_eq!(second.hear(&mine, at(900)).0, Ruling::Stands);
}

/// Node `id`, Primary of old, and its peer, which took over under a newer term.
fn paused_and_new(id: u32) -> (Kernel, Kernel) {
    let old = Kernel::new(id, Term::new(4, id as u8));
    store(&old.fence.peer_term, Term::NONE.0);
    let mut new = Kernel::new(3 - id, Term::new(5, 3 - id as u8));
    new.node.said_flags = flags::OVER_SILENCE.into();
    (old, new)
}

#[test]
fn machine_that_was_paused_stops_at_the_first_frame_of_the_new_primary() {
    for id in [1, 2] {
        let (old, new) = paused_and_new(id);
        // Its clock stood still, too: it thinks that it heard the peer a moment ago.
        store(&old.fence.peer_heard_at, at(990).0);
        assert!(matches!(old.hear(&new.request(at(1000)), at(1000)).0, Ruling::Overslept(_)), "node {id}");
        // Its clock ran on, its daemon did not.
        let (mut old, new) = paused_and_new(id);
        store(&old.fence.peer_heard_at, at(10).0);
        old.node.controller_at = at(12);
        assert!(matches!(old.hear(&new.request(at(1000)), at(1000)).0, Ruling::Overslept(_)), "node {id}");
        // The daemon was quicker than the frame, and said so.
        let (mut old, new) = paused_and_new(id);
        store(&old.fence.peer_heard_at, at(10).0);
        old.node.said_flags = flags::WAS_AWAY.into();
        assert!(matches!(old.hear(&new.request(at(1000)), at(1000)).0, Ruling::Overslept(_)), "node {id}");
    }
}

#[test]
fn cut_of_a_dead_interval_is_no_absence() {
    for id in [1, 2] {
        let (old, new) = paused_and_new(id);
        store(&old.fence.peer_heard_at, at(10).0);
        assert_eq!(old.hear(&new.request(at(1000)), at(1000)).0, Ruling::Stands, "node {id}");
    }
}

#[test]
fn peer_that_did_not_take_the_role_over_silence_is_judged_by_the_order() {
    for id in [1, 2] {
        // A daemon that was stopped between a decision and its deed: its kernel has answered all the while.
        let (old, mut new) = paused_and_new(id);
        new.node.said_flags = 0;
        store(&old.fence.peer_heard_at, at(990).0);
        let ruling = old.hear(&new.request(at(1000)), at(1000)).0;
        assert!(!matches!(ruling, Ruling::Overslept(_)), "node {id}: {ruling:?}");
    }
}

#[test]
fn lower_id_does_not_compare_before_its_peer_has_heard_that_it_serves() {
    let (mut new, old) = both_serve();
    (new.node.groups[0].role_term, new.node.groups[0].since) = (Term::new(6, 1), at(5));
    store(&new.fence.peer_term, Term::new(5, 2).0);
    // An echo that the old Primary composed before: compared, it would win by its older term, and stop all the same on what it hears next.
    let late = Extension { kind: kind::ECHO, heard_at: at(2).0, ..old.request(at(3)) };
    assert_eq!(new.hear(&late, at(6)).0, Ruling::Stands);
}
