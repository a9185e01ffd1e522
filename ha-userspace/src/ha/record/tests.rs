use std::path::PathBuf;

use ha_common::abi::Term;
use ha_common::ha::event::{Event, Health};
use ha_common::ha::record::Replay;
use ha_common::ha::settings::Settings;

use super::*;

/// A directory of this test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("understudy-record-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a scratch directory");
        Scratch(dir)
    }

    fn segments(&self, bytes: u64) -> Segments {
        Segments::new(&self.0, bytes)
    }

    fn entries(&self, file: &str) -> Result<Vec<Entry>, Damaged> {
        read(&self.0.join(file))?.collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const START: Nanos = Nanos(1_000_000_000);

fn recorded() -> Recorded {
    Recorded::new(Machine::new(START, Settings { node_id: 1, ..Settings::default() }, 0, 1024, Term::NONE))
}

/// A page that starts with the state, of `turns` turns.
fn page(node: &mut Recorded, now: &mut Nanos, turns: usize) -> Vec<Entry> {
    node.begin_page(*now, Duration::ZERO, *now == START, 0);
    for _ in 0..turns {
        node.handle_event(*now, Event::Health(Health::WELL));
        node.handle_timeout(*now);
        while node.poll_action().is_some() {}
        *now = node.poll_timeout(*now);
    }
    node.take_page()
}

fn replays(entries: &[Entry]) -> bool {
    let mut replay = Replay::default();
    entries.iter().all(|entry| replay.take(entry).is_ok())
}

#[test]
fn what_is_written_is_read_and_replays() {
    let dir = Scratch::new("whole");
    let (mut node, mut now) = (recorded(), START);
    let (first, second) = (page(&mut node, &mut now, 20), page(&mut node, &mut now, 20));
    let mut segments = dir.segments(1 << 20);
    assert!(!segments.append(&first).expect("written") && !segments.append(&second).expect("written"));
    let read = dir.entries("record").expect("whole");
    assert_eq!(read, [first, second].concat());
    assert!(replays(&read));
}

#[test]
fn every_flipped_bit_is_found() {
    let dir = Scratch::new("flipped");
    let (mut node, mut now) = (recorded(), START);
    dir.segments(1 << 20).append(&page(&mut node, &mut now, 3)).expect("written");
    let path = dir.0.join("record");
    let whole = std::fs::read(&path).expect("there");
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).expect("written");
        let found = dir.entries("record").map_or(true, |entries| !replays(&entries));
        assert!(found, "bit {bit} of {} was flipped and nobody noticed", whole.len() * 8);
    }
}

#[test]
fn full_segment_is_kept_and_the_next_one_starts_by_itself() {
    let dir = Scratch::new("rotated");
    let (mut node, mut now) = (recorded(), START);
    let mut segments = dir.segments(2000);
    let mut asked = 0;
    for _ in 0..20 {
        let page = page(&mut node, &mut now, 20);
        asked += usize::from(segments.append(&page).expect("written"));
    }
    assert!(asked > 0, "a state was asked for when the segment was full");
    for file in ["record", "record.old"] {
        let entries = dir.entries(file).expect("whole");
        assert!(matches!(entries[0], Entry::State { .. }) && replays(&entries), "{file} replays by itself");
        let len = std::fs::metadata(dir.0.join(file)).expect("there").len();
        assert!(len < 4000, "{file} has {len} bytes");
    }
    let both = [dir.entries("record.old").expect("whole"), dir.entries("record").expect("whole")].concat();
    assert!(replays(&both), "the state at the start of the second is where the first one leads to");
}

#[test]
fn next_daemon_goes_on_behind_a_whole_record_and_puts_a_torn_one_aside() {
    let dir = Scratch::new("resumed");
    let (mut node, mut now) = (recorded(), START);
    let page = page(&mut node, &mut now, 5);
    dir.segments(1 << 20).append(&page).expect("written");
    dir.segments(1 << 20).append(&page).expect("written behind it");
    assert_eq!(dir.entries("record").expect("whole").len(), 2 * page.len());
    let path = dir.0.join("record");
    let whole = std::fs::read(&path).expect("there");
    std::fs::write(&path, &whole[..whole.len() - 3]).expect("torn");
    dir.segments(1 << 20).append(&page).expect("written");
    assert_eq!(dir.entries("record").expect("whole").len(), page.len());
    assert!(matches!(dir.entries("record.old"), Err(Damaged::Page { page: 2, .. })));
}

#[test]
fn driver_that_is_faster_than_the_disk_loses_pages_and_says_so() {
    let (queue, pages) = sync_channel(1);
    let to_thread = Pages { queue, wants_state: Arc::default() };
    let machine = Machine::new(START, Settings::default(), 0, 1024, Term::NONE);
    let mut recorder = Recorder::new(START, machine, Some(to_thread));
    let mut now = START;
    let turn = |recorder: &mut Recorder, now: &mut Nanos| {
        recorder.handle_timeout(*now);
        while recorder.poll_action().is_some() {}
        recorder.poll_timeout(*now);
        *now = *now + PAGE_AGE;
    };
    for _ in 0..5 {
        turn(&mut recorder, &mut now);
    }
    let mut read = pages.try_recv().expect("the first page");
    turn(&mut recorder, &mut now);
    read.extend(pages.try_recv().expect("the page after the loss"));
    assert!(read.iter().any(|entry| matches!(entry, Entry::Lost(lost) if *lost > 0)));
    assert!(replays(&read));
}
