//! Gives back what it hears, over TCP and UDP, over IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Binds every port and returns; serves as long as the runtime lives.
///
/// A host with several addresses must name them: an answer over UDP comes from the address that the socket has, and else from one that the route chooses.
pub async fn start(addresses: &[IpAddr], ports: &[u16]) -> Result<()> {
    for &port in ports {
        for &address in addresses {
            serve(bind(address, port).await.with_context(|| format!("{address} port {port}"))?);
        }
        if addresses.is_empty() {
            // A socket of IPv6 takes both families; where that family is off, one of IPv4 takes its own.
            serve(match bind(Ipv6Addr::UNSPECIFIED.into(), port).await {
                Ok(pair) => pair,
                Err(_) => bind(Ipv4Addr::UNSPECIFIED.into(), port).await.with_context(|| format!("port {port}"))?,
            });
        }
    }
    Ok(())
}

fn serve((listener, socket): (TcpListener, UdpSocket)) {
    tokio::spawn(accept(listener));
    tokio::spawn(answer(socket));
}

async fn bind(address: IpAddr, port: u16) -> std::io::Result<(TcpListener, UdpSocket)> {
    let address = SocketAddr::new(address, port);
    Ok((TcpListener::bind(address).await?, UdpSocket::bind(address).await?))
}

async fn accept(listener: TcpListener) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    }
}

async fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(buffer.get(..count).unwrap_or_default()).await.is_err() {
            break;
        }
    }
}

async fn answer(socket: UdpSocket) {
    let mut buffer = [0; 256];
    loop {
        // An ICMP message about an earlier answer may be reported here.
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        let _ = socket.send_to(buffer.get(..count).unwrap_or_default(), from).await;
    }
}
