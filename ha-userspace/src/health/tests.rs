use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

fn quick() -> Settings {
    Settings {
        interval: Duration::from_millis(5),
        response_timeout: Duration::from_millis(500),
        retries: 2,
        down_time: Duration::from_millis(5),
        success_retries: 1,
    }
}

fn targets(address: SocketAddr) -> HashMap<String, Target> {
    HashMap::from([("s1".to_owned(), Target { address, settings: quick() })])
}

async fn next(changes: &mut mpsc::UnboundedReceiver<Change>) -> Verdict {
    timeout(Duration::from_secs(5), changes.recv()).await.expect("a change within five seconds").unwrap().verdict
}

#[tokio::test]
async fn service_rises_falls_and_rises_again_with_its_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, mut changes) = mpsc::unbounded_channel();
    let mut monitors = Monitors::new(sender);
    monitors.watch(&targets(address), |_| Verdict::Unknown);
    assert_eq!(next(&mut changes).await, Verdict::Up);
    drop(listener);
    assert_eq!(next(&mut changes).await, Verdict::Down);
    let stats = monitors.stats("s1").unwrap();
    assert!(stats.probes > stats.failed && stats.failed >= 2, "{stats:?}");
    assert!(stats.last_response.unwrap().starts_with("Failure - Connection refused"));
    let _listener = TcpListener::bind(address).await.unwrap();
    assert_eq!(next(&mut changes).await, Verdict::Up);
    assert_eq!(monitors.stats("s1").unwrap().last_response.unwrap(), "Success - TCP syn+ack received");
    assert_eq!(monitors.stats("s2"), None);
}

#[tokio::test]
async fn verdict_of_before_a_restart_stands_until_probes_speak_against_it() {
    let refused = { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let (sender, mut changes) = mpsc::unbounded_channel();
    let mut monitors = Monitors::new(sender);
    let settings = Settings { retries: 3, ..quick() };
    let target = HashMap::from([("s1".to_owned(), Target { address: refused, settings })]);
    let started = clock::now();
    monitors.watch(&target, |_| Verdict::Up);
    assert_eq!(next(&mut changes).await, Verdict::Down);
    assert!(clock::now().since(started) >= settings.interval * 2, "three probes, two intervals");
}

#[tokio::test]
async fn a_service_that_is_no_longer_configured_is_no_longer_probed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (sender, mut changes) = mpsc::unbounded_channel();
    let mut monitors = Monitors::new(sender);
    monitors.watch(&targets(listener.local_addr().unwrap()), |_| Verdict::Unknown);
    assert_eq!(next(&mut changes).await, Verdict::Up);
    monitors.watch(&HashMap::new(), |_| Verdict::Unknown);
    drop(monitors);
    assert_eq!(timeout(Duration::from_secs(5), changes.recv()).await.unwrap(), None, "every task has ended");
}

#[tokio::test]
async fn hurrying_does_not_wait_for_the_next_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (sender, _changes) = mpsc::unbounded_channel();
    let mut monitors = Monitors::new(sender);
    let settings = Settings { interval: Duration::from_secs(3600), ..quick() };
    let target = Target { address: listener.local_addr().unwrap(), settings };
    monitors.watch(&HashMap::from([("s1".to_owned(), target)]), |_| Verdict::Unknown);
    listener.accept().await.unwrap();
    // The monitor may still be finishing that probe, in which case the call is for the next one.
    monitors.hurry();
    timeout(Duration::from_secs(5), listener.accept()).await.expect("a second probe").unwrap();
}

#[test]
fn only_this_hosts_own_refusals_say_nothing_of_the_service() {
    assert_eq!(outcome_of(ErrorKind::NetworkUnreachable), Outcome::NotAsked);
    assert_eq!(outcome_of(ErrorKind::HostUnreachable), Outcome::Bad);
    assert_eq!(outcome_of(ErrorKind::ConnectionRefused), Outcome::Bad);
}

#[test]
fn first_probes_are_spread() {
    let spreads: std::collections::BTreeSet<_> = (0..100).map(|n| spread(&format!("s{n}"))).collect();
    assert!(spreads.len() > 90 && spreads.iter().all(|spread| *spread < FIRST_SPREAD));
}
