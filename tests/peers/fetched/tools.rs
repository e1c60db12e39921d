//! Where `tests/run peers` put what it fetched, and one plain HTTP question.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use crate::DEADLINE;

/// A file below the folder of tools.
pub(crate) fn tool(path: &str) -> PathBuf {
    let folder = std::env::var_os("PORTREEVE_PEERS").expect("PORTREEVE_PEERS names no folder: run tests/run peers");
    let file = PathBuf::from(folder).join(path);
    assert!(file.exists(), "{} is not there: run tests/run peers", file.display());
    file
}

/// Status and body of a GET.
pub(crate) fn get(address: SocketAddr, path: &str, bearer: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {bearer}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
