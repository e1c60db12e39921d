//! The stranger's listener: whoever connects reads one line, which proves that bytes came through.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::demo::net::Serve;

/// A stand-in for the stranger.
pub(super) struct Stranger;

impl Serve for Stranger {
    fn connection(self: Arc<Self>, mut stream: TcpStream) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>> {
        Box::pin(async move {
            stream.write_all(b"portreeve stranger\r\n").await?;
            stream.shutdown().await
        })
    }
}
