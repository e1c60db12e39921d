//! The peer: answers, is silent, or drips, in a namespace of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::cells::{DRIP, DROP, LOSS, OPEN, PROHIBITED, REJECT, RESET, SILENT};

/// Serves until it is killed.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // One socket takes both families.
        let any = |port| SocketAddr::new("::".parse().unwrap(), port);
        for port in [DROP, REJECT, PROHIBITED, RESET, LOSS, SILENT, DRIP, OPEN] {
            let listener = TcpListener::bind(any(port)).await.unwrap();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(converse(stream, port));
                }
            });
            if port != DRIP {
                tokio::spawn(answer_datagrams(UdpSocket::bind(any(port)).await.unwrap(), port));
            }
        }
        std::future::pending::<()>().await;
    });
}

/// An echo with the bit for "response" set is an answer without records (RFC 1035 §4.1.1).
fn answer(message: &mut [u8]) {
    if let Some(flags) = message.get_mut(2) {
        *flags |= 0x80;
    }
}

async fn converse(mut stream: TcpStream, port: u16) {
    match port {
        SILENT => {
            // Hears all, until the other end goes.
            while matches!(stream.read(&mut [0; 512]).await, Ok(1..)) {}
        }
        DRIP => {
            // A length of 65,535, then a byte now and then.
            while stream.write_all(&[0xff]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        _ => {
            let mut buffer = [0; 512];
            let Ok(count @ 2..) = stream.read(&mut buffer).await else { return };
            answer(&mut buffer[2..count]);
            let _ = stream.write_all(&buffer[..count]).await;
        }
    }
}

async fn answer_datagrams(socket: UdpSocket, port: u16) {
    let mut buffer = [0; 512];
    loop {
        // An ICMP message about an earlier answer may be reported here.
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        if port != SILENT {
            answer(&mut buffer[..count]);
            let _ = socket.send_to(&buffer[..count], from).await;
        }
    }
}
