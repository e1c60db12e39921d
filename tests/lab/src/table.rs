//! The table in the kernel of this network namespace.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Hands a text to `nft`, which applies the whole of it or nothing.
pub fn apply(text: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("nft does not start; the Debian package is nftables")?;
    // It reads all before it writes, so neither end waits for the other. If it ends early, its status says more than the broken pipe.
    if let Some(mut stdin) = nft.stdin.take() {
        let _ = stdin.write_all(text.as_bytes());
    }
    let outcome = nft.wait_with_output().context("nft did not end")?;
    if !outcome.status.success() {
        bail!("nft refused the table: {}\n{text}", String::from_utf8_lossy(&outcome.stderr).trim());
    }
    Ok(())
}
