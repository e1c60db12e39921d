//! Two demos on one machine, and tests that run side by side, must not bind each other's ports.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

use crate::demo::world::{Lab, POD_NET};

/// The port that stands for "this lab is taken", on the node's address. Nobody sends there.
const PORT: u16 = 9690;

/// A lab that is ours for as long as this lives. The kernel gives it back whatever becomes of the process.
#[derive(Debug)]
pub struct LabClaim {
    lab: Lab,
    _held: UdpSocket,
}

impl LabClaim {
    /// The first lab that nobody has claimed.
    pub fn first_free() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for lab in 0..=u8::MAX {
            match UdpSocket::bind((Ipv4Addr::new(127, POD_NET, lab, 1), PORT)) {
                Ok(held) => return Ok(Self { lab: Lab(lab), _held: held }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The lab.
    pub fn lab(&self) -> Lab {
        self.lab
    }
}
