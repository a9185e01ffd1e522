//! The live time line: one letter per 10 ms, one line per second.
//!
//! `a` or `b`: that node answered the probes; `.`: nobody did; `:` some were lost; `X`: both nodes answered one question. In front stand the
//! roles as the nodes themselves tell them: `P`rimary, `S`econdary, `-` neither, `?` no answer.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use super::client::{Client, Role};
use super::lab::Lab;
use super::prober::ANSWER_WITHIN;
use super::tally::{Question, Tally};
use super::topology::Host;

const PROBES_PER_LETTER: u32 = 10;
const LETTERS_PER_LINE: u32 = 100;
/// Distance of two looks at the roles, and how long an answer may take.
const ASK_EVERY: Duration = Duration::from_millis(250);
const DRAW_EVERY: Duration = Duration::from_millis(50);
/// Probes that are drawn later, when their answers have had time.
const BEHIND: u32 = ANSWER_WITHIN.as_millis() as u32 + 20;

/// Running time line; ends when dropped.
pub struct Screen {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Screen {
    /// Draws `tally` and the roles of `lab`'s nodes to standard output.
    pub fn start(lab: &Lab, tally: Arc<Tally>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let roles = Arc::new(Host::BOTH.map(|host| AtomicU8::new(role_letter(&lab.node(host).client()))));
        let mut screen = Self { stop: stop.clone(), threads: Vec::new() };
        for host in Host::BOTH {
            let (client, roles, stop) = (lab.node(host).client(), roles.clone(), stop.clone());
            let ask = move || ask(&client, &roles[host as usize], &stop);
            screen.threads.push(std::thread::Builder::new().name("roles".into()).spawn(ask)?);
        }
        screen.threads.push(std::thread::Builder::new().name("screen".into()).spawn(move || draw(&tally, &roles, &stop))?);
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("lab: a screen thread panicked");
            }
        }
    }
}

fn ask(client: &Client, shown: &AtomicU8, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        shown.store(role_letter(client), Ordering::Relaxed);
        std::thread::sleep(ASK_EVERY);
    }
}

fn role_letter(client: &Client) -> u8 {
    match client.role(ASK_EVERY) {
        Ok(Role::Primary) => b'P',
        Ok(Role::Secondary) => b'S',
        Ok(Role::Other) => b'-',
        Err(_) => b'?',
    }
}

fn draw(tally: &Tally, roles: &[AtomicU8; 2], stop: &AtomicBool) {
    let mut out = std::io::stdout();
    let mut drawn = 0;
    loop {
        let last = stop.load(Ordering::Relaxed);
        let ready = if last { tally.sent() } else { tally.sent().saturating_sub(BEHIND) };
        let mut text = String::new();
        while (drawn + 1) * PROBES_PER_LETTER <= ready {
            if drawn % LETTERS_PER_LINE == 0 {
                let [a, b] = [0, 1].map(|index: usize| roles[index].load(Ordering::Relaxed) as char);
                text += &format!("\n{:4} s  a={a} b={b}  ", drawn / LETTERS_PER_LINE);
            }
            text.push(letter(tally, drawn * PROBES_PER_LETTER));
            drawn += 1;
        }
        if last {
            text.push('\n');
        }
        // A closed terminal must not end the lab.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        if last {
            return;
        }
        std::thread::sleep(DRAW_EVERY);
    }
}

fn letter(tally: &Tally, first: u32) -> char {
    let probes = first..first + PROBES_PER_LETTER;
    if probes.clone().any(|index| tally.is_answered_by_both(index)) {
        return 'X';
    }
    match probes.clone().filter(|index| tally.is_answered(*index)).count() as u32 {
        0 => '.',
        PROBES_PER_LETTER => {
            let by_b = probes.clone().rev().any(|index| tally.is_seen(index, Question::Echo, Host::B));
            let by_a = probes.clone().any(|index| tally.is_seen(index, Question::Echo, Host::A));
            match (by_a, by_b) {
                (true, false) => 'a',
                (_, true) => 'b',
                (false, false) => '?',
            }
        }
        _ => ':',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_tells_loss_and_conflict_before_who_answered() {
        let tally = Tally::default();
        for index in 0..4 * PROBES_PER_LETTER {
            tally.send(Duration::from_millis(u64::from(index)), Duration::ZERO).unwrap();
        }
        for index in (0..10).chain(10..15).chain(30..40) {
            tally.seen(index, Question::Echo, Host::A);
            tally.answered(index);
        }
        tally.seen(35, Question::Echo, Host::B);
        assert_eq!([0, 10, 20, 30].map(|first| letter(&tally, first)), ['a', ':', '.', 'X']);
    }
}
