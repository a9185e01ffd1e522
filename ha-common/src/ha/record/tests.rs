use super::*;
use crate::ha::event::{Health, RoleName, Said};
use crate::ha::settings::Settings;

const START: Nanos = Nanos(1_000_000_000);

/// A node without a peer comes up, serves, and turns a few times.
fn record() -> Vec<Entry> {
    let settings = Settings { node_id: 1, ..Settings::default() };
    let mut node = Recorded::new(Machine::new(START, settings, 0, 1024, Term::NONE));
    node.begin_page(START, Duration::from_secs(1), true, 0);
    let mut now = START;
    let mut serving = Term::NONE;
    node.handle_event(now, Event::Health(Health::WELL));
    for _ in 0..5 {
        node.handle_event(now, Event::Heard { view: Box::default(), serving });
        node.handle_timeout(now);
        while let Some(action) = node.poll_action() {
            if let Action::SetRole(term) = action {
                serving = term;
            }
        }
        now = node.poll_timeout(now);
    }
    assert_eq!(node.role().0, RoleName::Primary);
    node.take_page()
}

fn replay(entries: &[Entry]) -> Result<(), (usize, Box<Difference>)> {
    let mut replay = Replay::default();
    entries.iter().enumerate().try_for_each(|(at, entry)| replay.take(entry).map_err(|difference| (at, difference)))
}

#[test]
fn a_record_replays_to_the_same_actions() {
    let entries = record();
    assert!(entries.iter().any(|entry| matches!(entry, Entry::Action(Action::Record(_)))));
    assert!(entries.iter().any(|entry| matches!(entry, Entry::HeardAgain { .. })), "what did not change is not repeated");
    assert_eq!(replay(&entries), Ok(()));
}

#[test]
fn another_action_is_found_where_it_is() {
    let mut entries = record();
    let at = entries.iter().position(|entry| matches!(entry, Entry::Action(Action::SetRole(_)))).expect("the role is set");
    entries[at] = Entry::Action(Action::Publish(Said::default()));
    assert!(
        matches!(replay(&entries), Err((found, difference)) if found == at && matches!(*difference, Difference::Action { .. }))
    );
}

#[test]
fn an_action_that_is_missing_is_found() {
    let mut entries = record();
    let last = entries.iter().rposition(|entry| matches!(entry, Entry::Action(_))).expect("an action");
    entries.remove(last);
    assert!(
        matches!(replay(&entries), Err((_, difference)) if matches!(*difference, Difference::Action { .. } | Difference::Surplus(_)))
    );
}

#[test]
fn an_input_at_another_time_is_found() {
    let mut entries = record();
    let at = entries.iter().rposition(|entry| matches!(entry, Entry::Wait { .. })).expect("a wait");
    let Entry::Wait { at: when, .. } = &mut entries[at] else { unreachable!() };
    when.0 += 1;
    assert!(
        matches!(replay(&entries), Err((found, difference)) if found == at && matches!(*difference, Difference::Wait { .. }))
    );
}

#[test]
fn a_later_page_starts_from_its_own_state_and_proves_the_one_before() {
    let mut node = Recorded::new(Machine::new(START, Settings::default(), 0, 1024, Term::NONE));
    node.begin_page(START, Duration::ZERO, true, 0);
    node.handle_timeout(START);
    while node.poll_action().is_some() {}
    let mut entries = node.take_page();
    node.begin_page(START, Duration::ZERO, false, 0);
    let mut second = node.take_page();
    assert_eq!(replay(&second), Ok(()), "it can be the first");
    entries.append(&mut second);
    assert_eq!(replay(&entries), Ok(()));
    let timeout = entries.iter().position(|entry| matches!(entry, Entry::Timeout { .. })).expect("a timeout");
    let Entry::Timeout { at } = &mut entries[timeout] else { unreachable!() };
    at.0 += 1_000_000_000;
    assert!(replay(&entries).is_err(), "an input that was changed shows in the next state at the latest");
}

#[test]
fn what_was_lost_ends_the_comparison_until_the_next_state() {
    let mut entries = record();
    entries.drain(1..4);
    entries.insert(1, Entry::Lost(3));
    assert_eq!(replay(&entries), Err((2, Box::new(Difference::NoState))));
}
