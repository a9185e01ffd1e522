use std::net::Ipv4Addr;
use std::time::Instant;

use super::*;
use crate::net::announce::Announcers;

const TERM: Term = Term::new(1, 1);

fn roll(count: u32) -> Arc<Roll> {
    let loopback = nix::net::if_::if_nametoindex("lo").expect("there is a loopback interface");
    let address = |n| Subject::Address(Ipv4Addr::from_bits(0x7f00_1000 + n).into());
    let announcements = (0..count).map(|n| Announcement { ifindex: loopback, vlan: 0, subject: address(n) });
    let macs = [(loopback, [[2, 0, 0, 0, 0, 9]; 2])].into();
    Arc::new(Roll { announcements: announcements.collect(), macs, ..Roll::default() })
}

fn nobody() -> Outcome {
    Arc::new(|_, _| {})
}

fn handled(announcements: &Gratuitous) -> u64 {
    let Counts { sent, failed } = announcements.counts();
    sent + failed
}

fn wait_for(announcements: &Gratuitous, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while handled(announcements) < count {
        assert!(Instant::now() < deadline, "only {} of {count} frames in five seconds", handled(announcements));
        std::thread::yield_now();
    }
}

/// Frames count as handled whether or not this test may open raw sockets.
#[test]
fn stopping_leaves_the_queue_unsent_and_starting_begins_anew() {
    let announcements = Gratuitous::spawn(Pace { burst: 1, ..Pace::default() }, drop).unwrap();
    announcements.announce(TERM, &roll(5_000), nobody());
    wait_for(&announcements, 3);
    announcements.withdraw();
    let after_stop = handled(&announcements);
    assert!(after_stop < 5_000);
    announcements.announce(TERM, &roll(1), nobody());
    // At most the one frame that was in the thread's hands when it was stopped, then the new list's first.
    wait_for(&announcements, after_stop + 1);
    assert!(handled(&announcements) <= after_stop + 2);
}

fn outcome_of(roll: &Arc<Roll>) -> (Term, bool) {
    let (told, outcome) = mpsc::channel();
    let announcements = Gratuitous::spawn(Pace::default(), drop).unwrap();
    announcements.announce(TERM, roll, Arc::new(move |term, done| told.send((term, done)).expect("is listened to")));
    outcome.recv_timeout(Duration::from_secs(5)).expect("told after the first round")
}

#[test]
fn a_round_that_left_is_done_and_one_on_an_interface_that_is_not_there_has_failed() {
    assert_eq!(outcome_of(&Arc::default()), (TERM, true), "nothing to announce");
    let mut nowhere = roll(3);
    Arc::make_mut(&mut nowhere).announcements[1].ifindex = 9_999;
    assert_eq!(outcome_of(&nowhere), (TERM, false));
}

const GOOD: u32 = 1;
const BAD: u32 = 2;

/// Tells of each frame on which leg it left; one leg refuses them as long as it shall.
#[derive(Clone)]
struct Legs {
    left: Sender<u32>,
    refuses: Arc<AtomicBool>,
}

impl Wire for Legs {
    fn send(&mut self, ifindex: u32, _: &[u8]) -> io::Result<()> {
        if ifindex == BAD && self.refuses.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let _ = self.left.send(ifindex);
        Ok(())
    }
}

fn legs() -> (Legs, Receiver<u32>) {
    let (left, on) = mpsc::channel();
    (Legs { left, refuses: Arc::new(AtomicBool::new(true)) }, on)
}

fn roll_on(legs: &[u32]) -> Arc<Roll> {
    let subject = Subject::Address(Ipv4Addr::new(10, 1, 0, 100).into());
    let announcements = legs.iter().map(|&ifindex| Announcement { ifindex, vlan: 0, subject }).collect();
    Arc::new(Roll { announcements, macs: legs.iter().map(|&leg| (leg, [[2; 6]; 2])).collect(), ..Roll::default() })
}

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn a_leg_that_refuses_frames_keeps_no_other_from_its_rounds_and_its_refresh_and_is_done_when_it_recovers() {
    let (wire, on) = legs();
    let refuses = Arc::clone(&wire.refuses);
    let pace = Pace { round_gap: Duration::from_millis(5), refresh: Duration::from_millis(20), ..Pace::default() };
    let (told, outcome) = mpsc::channel();
    let (news, logged) = mpsc::channel();
    let gratuitous = Gratuitous::spawn_on(pace, wire, move |told| news.send(told).unwrap()).unwrap();
    let all = Announcers::new(vec![Box::new(gratuitous)], Arc::new(move |term, done| told.send((term, done)).unwrap()));
    let roll = roll_on(&[BAD, GOOD]);
    all.announce(TERM, &roll);
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok((TERM, false)));
    for _ in 0..pace.rounds + 3 {
        assert_eq!(on.recv_timeout(PATIENCE), Ok(GOOD));
        // As the machine does each second after a failure.
        all.announce(TERM, &roll);
    }
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok((TERM, true)));
    drop(all);
    let logged: Vec<News> = logged.iter().collect();
    assert!(matches!(logged[..], [News::Begun(2), News::Failed(Announcement { ifindex: BAD, .. }, _)]), "{logged:?}");
}

#[test]
fn what_failed_in_the_last_round_leaves_soon_after_its_leg_recovers() {
    let (wire, on) = legs();
    let refuses = Arc::clone(&wire.refuses);
    // One round, and a refresh that no test waits for.
    let pace = Pace { rounds: 1, refresh: Duration::from_secs(3_600), ..Pace::default() };
    let (told, outcome) = mpsc::channel();
    let gratuitous = Gratuitous::spawn_on(pace, wire, drop).unwrap();
    gratuitous.announce(TERM, &roll_on(&[BAD, GOOD]), Arc::new(move |term, done| told.send((term, done)).unwrap()));
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok((TERM, false)));
    refuses.store(false, Ordering::SeqCst);
    assert_eq!(outcome.recv_timeout(PATIENCE), Ok((TERM, true)));
    assert_eq!(on.try_iter().collect::<Vec<_>>(), [GOOD, BAD]);
}

#[test]
fn an_order_that_was_overtaken_does_not_silence_the_newer_one() {
    let (wire, on) = legs();
    let mut worker = Worker::new(Pace::default(), wire, Box::new(drop));
    let shared = Shared { epoch: AtomicU64::new(2), ..Shared::default() };
    let start = |epoch, roll| Order::Start { epoch, roll, term: TERM, outcome: nobody() };
    worker.take(start(2, roll_on(&[GOOD])));
    worker.take(start(1, roll_on(&[GOOD, GOOD])));
    worker.send_due(&shared);
    assert_eq!(on.try_iter().count(), 1);
    assert!(worker.schedule.poll_timeout().is_some(), "there are rounds to come");
}
