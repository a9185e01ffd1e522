use super::*;
use crate::net::announce::{Announcer, ArpForm, Outcome};

/// What was begun, or none for what was withdrawn.
type Step = Option<(Term, ArpForm)>;

#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Vec<Step>>>);

impl Announcer for Begun {
    fn announce(&self, term: Term, roll: &Arc<Roll>, _: Outcome) {
        self.0.lock().unwrap().push(Some((term, roll.form)));
    }

    fn withdraw(&self) {
        self.0.lock().unwrap().push(None);
    }
}

/// What came of orders that were given in this order.
fn begun(given: Vec<Helper>) -> Vec<Step> {
    let begun = Begun::default();
    let announcers = Announcers::new(vec![Box::new(begun.clone())], Arc::new(|_, _| {}));
    let (floating, changes) = (Mutex::default(), watch::Sender::new(0));
    let shared = Arc::new(Shared { announcers, floating, term: AtomicU64::new(Term::NONE.0), changes });
    let (orders, received) = channel();
    given.into_iter().for_each(|order| orders.send(order).unwrap());
    drop(orders);
    Role { shared, roll: Arc::default() }.follow(&received, &channel().0);
    Arc::into_inner(begun.0).unwrap().into_inner().unwrap()
}

fn replies() -> Helper {
    Helper::Roll(Arc::new(Roll { form: ArpForm::Reply, ..Roll::default() }))
}

const TERM: Term = Term::new(1, 1);

#[test]
fn a_new_roll_and_an_operator_begin_nothing_on_a_node_that_ceased_to_serve() {
    let after = vec![Helper::Repeat, Helper::Announce(TERM), Helper::Withdraw, replies(), Helper::Repeat];
    assert_eq!(begun(after), [Some((TERM, ArpForm::Request)), None]);
}

#[test]
fn a_primary_announces_a_new_roll_and_once_more_on_request_but_not_because_it_is_asked_again() {
    let given = vec![replies(), Helper::Announce(TERM), Helper::Announce(TERM), Helper::Repeat, replies()];
    assert_eq!(begun(given), [Some((TERM, ArpForm::Reply)); 2]);
    let given = vec![Helper::Announce(TERM), replies(), Helper::Announce(TERM)];
    assert_eq!(begun(given), [Some((TERM, ArpForm::Request)), Some((TERM, ArpForm::Reply))]);
}
