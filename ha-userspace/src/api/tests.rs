//! The socket's life, and what it does with peers that misbehave.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use super::{BindError, MAX_REQUEST_BYTES, Socket, ask, serve, times};
use crate::command::Executor;
use crate::command::runtime::recorder::{Asked, Recorder};
use crate::config::Config;

/// A socket path of its own for one test; its directory goes with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("understudy-{}-api-{test}", std::process::id())))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("run/understudy.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Serves a recorded node while `client` runs on a thread of its own, which has to end with `stop`.
fn served(test: &str, client: impl FnOnce(&Path) + Send + 'static) -> Recorder {
    let place = Place::new(test);
    let recorder = Recorder::default();
    runtime().block_on(async {
        let socket = Socket::bind(&place.socket()).unwrap();
        let executor = Rc::new(RefCell::new(Executor::new(Config::default(), recorder.clone())));
        let path = place.socket();
        let client = thread::spawn(move || client(&path));
        serve(socket.listener(), executor).await;
        client.join().unwrap();
    });
    recorder
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn stop(socket: &Path) {
    assert_eq!(ask(socket, words("stop -force")).unwrap().text, " Done\n");
}

#[test]
fn a_command_is_answered_and_stop_ends_the_server_after_its_reply() {
    let recorder = served("answers", |socket| {
        assert_eq!(ask(socket, words("set ns hostName a")).unwrap().text, " Done\n");
        assert_eq!(ask(socket, vec!["show ns hostName".into()]).unwrap().json["nshostname"][0]["hostname"], "a");
        let refused = ask(socket, words("rm service x")).unwrap();
        assert_eq!((refused.exit, refused.json["errorcode"].as_u64()), (1, Some(258)));
        stop(socket);
    });
    assert_eq!(recorder.asked.borrow().last(), Some(&Asked::Stop(true)));
}

#[test]
fn only_a_stat_says_how_often_it_is_asked() {
    for (line, asked) in [
        ("stat ha node -ntimes 3", 3),
        ("stat node -detail -n 12", 12),
        ("stat ha node", 1),
        ("stat ha node -ntimes 0", 1),
        ("show ha node -ntimes 3", 1),
        ("frobnicate -ntimes 3", 1),
    ] {
        assert_eq!((times(&words(line)), times(&[line.to_owned()])), (asked, asked), "{line}");
    }
}

#[test]
fn a_refused_stop_does_not_end_the_server() {
    let recorder = Recorder::default();
    recorder.errors.borrow_mut().push(crate::command::CommandError::refused("no peer is fit"));
    let place = Place::new("refused");
    runtime().block_on(async {
        let socket = Socket::bind(&place.socket()).unwrap();
        let executor = Rc::new(RefCell::new(Executor::new(Config::default(), recorder)));
        let path = place.socket();
        let client = thread::spawn(move || {
            assert_eq!(ask(&path, words("stop now")).unwrap().exit, 1, "a word too many");
            assert_eq!(ask(&path, words("stop -force")).unwrap().exit, 1);
            stop(&path);
        });
        serve(socket.listener(), executor).await;
        client.join().unwrap();
    });
}

#[test]
fn peers_that_talk_nonsense_or_too_much_or_nothing_are_survived() {
    served("nonsense", |socket| {
        let mut silent = UnixStream::connect(socket).unwrap();
        let mut half = UnixStream::connect(socket).unwrap();
        half.write_all(b"{\"words\":").unwrap();
        let answer = |bytes: &[u8]| {
            let mut stream = UnixStream::connect(socket).unwrap();
            // A server that has heard enough closes before all of it is written.
            let _ = stream.write_all(bytes);
            let mut line = String::new();
            let _ = BufReader::new(stream).read_line(&mut line);
            line
        };
        assert!(answer(b"what?\n").contains("the request is not understood"));
        assert!(answer(b"{\"words\":[]}\n").contains("No command"));
        assert!(answer(b"{\"words\":[\"set \\\"\"]}\n").contains("no closing"));
        let long = vec![b'x'; usize::try_from(MAX_REQUEST_BYTES).unwrap()];
        assert!(answer(&long).contains("longer than 65536 bytes"));
        drop(half);
        stop(socket);
        assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0, "closed with the server");
    });
}

#[test]
fn only_owner_and_group_may_connect_and_a_stale_socket_is_replaced() {
    let place = Place::new("modes");
    let path = place.socket();
    let runtime = runtime();
    let _entered = runtime.enter();
    let first = Socket::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(matches!(Socket::bind(&path), Err(BindError::Taken(_))));
    drop(first);
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "as a killed daemon leaves it");
    drop(Socket::bind(&path).unwrap());
}

#[test]
fn without_a_daemon_the_client_says_where_it_looked_and_how_to_start_one() {
    let error = ask(Path::new("/nonexistent/understudy.sock"), words("show ha node")).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/understudy.sock") && error.contains("understudy run --config FILE"), "{error}");
}
