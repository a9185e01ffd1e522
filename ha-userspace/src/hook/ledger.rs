//! What is still to be delivered, for whoever waits for the end of it.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<Entries>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Entries {
    /// Notices that are queued or in a thread's hands.
    open: usize,
    /// When the last transition that was told happened.
    transition: Option<SystemTime>,
}

impl Ledger {
    /// One more is queued.
    pub fn open(&self) {
        self.entries().open += 1;
    }

    /// One less, delivered or not.
    pub fn close(&self) {
        self.entries().open -= 1;
        self.changed.notify_all();
    }

    /// The transition of `when` is queued for everybody who is to be told of it.
    pub fn told(&self, when: SystemTime) {
        self.entries().transition = Some(when);
        self.changed.notify_all();
    }

    /// Waits until the transition of `last` was told and nothing is open; whether that is so before `limit` is over.
    pub fn wait(&self, last: Option<SystemTime>, limit: Duration) -> bool {
        let is_open = |entries: &mut Entries| entries.open != 0 || last.is_some_and(|last| entries.transition != Some(last));
        let waited = self.changed.wait_timeout_while(self.entries(), limit, is_open);
        !waited.unwrap_or_else(|poisoned| poisoned.into_inner()).1.timed_out()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_the_last_transition_was_told_and_nothing_is_open() {
        let (ledger, last) = (Ledger::default(), SystemTime::UNIX_EPOCH);
        let is_over = || ledger.wait(Some(last), Duration::ZERO);
        assert!(ledger.wait(None, Duration::ZERO), "nothing happened");
        assert!(!is_over(), "it is not even queued");
        ledger.open();
        ledger.told(last);
        assert!(!is_over(), "it is under way");
        ledger.close();
        assert!(is_over());
    }

    #[test]
    fn whoever_waits_is_woken() {
        let ledger = Ledger::default();
        ledger.open();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ledger.wait(None, Duration::from_secs(60)));
            ledger.close();
            assert!(waiting.join().unwrap());
        });
    }
}
