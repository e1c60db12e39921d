//! A small program for the inside of a pod's network namespace: it listens, or it connects and says what came of it.

#![allow(clippy::print_stdout, reason = "what it says is what it is for")]

use std::io::{BufRead, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use portreeve_lab::connect::{Target, attempt};
use portreeve_lab::listen;

/// Listens and connects inside a network namespace.
#[derive(Debug, Parser)]
enum Command {
    /// Gives back what it hears on these ports, over TCP and UDP. Prints `ready`, and ends with its standard input.
    Listen {
        /// The ports.
        #[arg(required = true)]
        ports: Vec<u16>,
        /// The addresses; any, if none is given.
        #[arg(long)]
        address: Vec<IpAddr>,
    },
    /// Reads targets, a line each (`tcp ADDRESS PORT`), tries all of them at once, and prints an outcome for each.
    Connect {
        /// How long to wait for an answer.
        #[arg(long, default_value_t = 1500, value_name = "MS")]
        timeout: u64,
    },
    /// Keeps one TCP connection. Prints `open`; then for each line it reads, whether the connection still carries bytes: `alive` or `dead`.
    Hold {
        /// The other end.
        address: IpAddr,
        /// Its port.
        port: u16,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Listen { ports, address } => listen(&address, &ports),
        Command::Connect { timeout } => connect(Duration::from_millis(timeout)),
        Command::Hold { address, port } => hold(address, port),
    }
}

fn listen(addresses: &[IpAddr], ports: &[u16]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        listen::start(addresses, ports).await?;
        println!("ready");
        // Whoever started it holds the other end of its input, and lets go of it by ending.
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
        Ok(())
    })
}

fn connect(timeout: Duration) -> Result<()> {
    let targets: Result<Vec<Target>, String> =
        std::io::stdin().lock().lines().map_while(Result::ok).map(|line| line.parse()).collect();
    for outcome in attempt(&targets.map_err(anyhow::Error::msg)?, timeout) {
        println!("{outcome}");
    }
    Ok(())
}

fn hold(address: IpAddr, port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((address, port)).context("it does not connect")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    println!("open");
    for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
        let mut byte = [0];
        let back = stream.write_all(b"?").and_then(|()| stream.read_exact(&mut byte));
        println!("{}", if back.is_ok() { "alive" } else { "dead" });
    }
    Ok(())
}
