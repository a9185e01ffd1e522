//! A small FTP server (RFC 959, RFC 2428): as much of it as a client needs to fetch a file, in passive and active mode, told by either pair of
//! commands. As careful servers do, it connects to nobody but who gave the command, from port 20.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use super::netns::Netns;

/// Where active data connections come from.
const DATA_PORT: u16 = 20;
/// How long a client may take with its next step.
const WITHIN: Duration = Duration::from_secs(10);

/// Serves `content` under any name at `address` of `netns`, until the test ends.
///
/// # Errors
/// When the address cannot be listened on.
pub fn serve(netns: &Netns, address: SocketAddr, content: Vec<u8>) -> Result<()> {
    let listener = netns.run(|| TcpListener::bind(address).with_context(|| format!("listen on {address}")))?;
    let path = netns.path();
    std::thread::Builder::new().name("ftp".into()).spawn(move || {
        // Sockets of sessions belong to where their thread is.
        let inside = std::fs::File::open(path).map_err(anyhow::Error::from).and_then(|namespace| {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).context("enter the server's namespace")
        });
        if let Err(error) = inside {
            eprintln!("ftp: {error:#}");
            return;
        }
        for control in listener.incoming().flatten() {
            let content = content.clone();
            std::thread::spawn(move || {
                if let Err(error) = (Session { data: None, content }).run(&control) {
                    eprintln!("ftp: {error:#}");
                }
            });
        }
    })?;
    Ok(())
}

/// How data goes to the client.
enum Data {
    /// It connects here.
    Passive(TcpListener),
    /// It is connected to there.
    Active(SocketAddr),
}

struct Session {
    data: Option<Data>,
    content: Vec<u8>,
}

impl Session {
    fn run(mut self, control: &TcpStream) -> Result<()> {
        control.set_read_timeout(Some(WITHIN))?;
        let mut out = control.try_clone()?;
        let (local, peer) = (control.local_addr()?, control.peer_addr()?);
        out.write_all(b"220 ready\r\n")?;
        for line in BufReader::new(control).lines() {
            let line = line?;
            let (command, argument) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
            let reply = match command.to_ascii_uppercase().as_str() {
                "USER" => "331 password?".to_owned(),
                "PASS" => "230 in".to_owned(),
                "PWD" => "257 \"/\"".to_owned(),
                "TYPE" | "CWD" | "NOOP" => "200 fine".to_owned(),
                "SIZE" => format!("213 {}", self.content.len()),
                "EPSV" => {
                    let port = self.listen(local.ip())?;
                    format!("229 Entering Extended Passive Mode (|||{port}|)")
                }
                "PASV" => {
                    let IpAddr::V4(ip) = local.ip() else { bail!("PASV over IPv6") };
                    let [high, low] = self.listen(local.ip())?.to_be_bytes();
                    format!("227 Entering Passive Mode ({},{high},{low})", ip.to_string().replace('.', ","))
                }
                "EPRT" => self.call(extended(argument)?, peer),
                "PORT" => self.call(plain(argument)?, peer),
                "RETR" => {
                    out.write_all(b"150 here it comes\r\n")?;
                    match self.send(local.ip()) {
                        Ok(()) => "226 done".to_owned(),
                        Err(error) => format!("425 {error:#}"),
                    }
                }
                "QUIT" => {
                    out.write_all(b"221 bye\r\n")?;
                    return Ok(());
                }
                _ => "502 unknown".to_owned(),
            };
            out.write_all(format!("{reply}\r\n").as_bytes())?;
        }
        Ok(())
    }

    fn listen(&mut self, ip: IpAddr) -> Result<u16> {
        let listener = TcpListener::bind((ip, 0))?;
        let port = listener.local_addr()?.port();
        self.data = Some(Data::Passive(listener));
        Ok(port)
    }

    fn call(&mut self, to: SocketAddr, peer: SocketAddr) -> String {
        if to.ip() != peer.ip() {
            return format!("500 {} is not you, {}", to.ip(), peer.ip());
        }
        self.data = Some(Data::Active(to));
        "200 I will call".to_owned()
    }

    fn send(&mut self, local: IpAddr) -> Result<()> {
        let mut stream = match self.data.take().context("neither PASV nor PORT was said")? {
            Data::Passive(listener) => {
                listener.set_nonblocking(true)?;
                let deadline = std::time::Instant::now() + WITHIN;
                loop {
                    match listener.accept() {
                        Ok((stream, _)) => break stream,
                        Err(_) if std::time::Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                        Err(error) => return Err(error).context("nobody came for the data"),
                    }
                }
            }
            Data::Active(to) => {
                let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                socket.bind(&SocketAddr::new(local, DATA_PORT).into())?;
                socket.connect_timeout(&to.into(), WITHIN).with_context(|| format!("call {to}"))?;
                socket.into()
            }
        };
        stream.set_nonblocking(false)?;
        stream.write_all(&self.content)?;
        Ok(())
    }
}

/// `|1|10.1.0.2|4711|`.
fn extended(argument: &str) -> Result<SocketAddr> {
    let parts: Vec<&str> = argument.split('|').collect();
    ensure!(parts.len() == 5, "EPRT {argument}");
    Ok(SocketAddr::new(parts[2].parse()?, parts[3].parse()?))
}

/// `10,1,0,2,18,103`.
fn plain(argument: &str) -> Result<SocketAddr> {
    let bytes: Vec<u8> = argument.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let [a, b, c, d, high, low] = bytes[..] else { bail!("PORT {argument}") };
    Ok(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
}
