//! The modes by which MAS speaks to its database and its mail relay.

use serde::{Deserialize, Serialize};

/// `ssl_mode` of MAS's database section; libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// `disable`
    Disable,
    /// `allow`
    Allow,
    /// `prefer`: sqlx's default.
    #[default]
    Prefer,
    /// `require`
    Require,
    /// `verify-ca`
    VerifyCa,
    /// `verify-full`
    VerifyFull,
}

/// `email.mode` of MAS's config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpMode {
    /// No TLS; port 25 by default.
    Plain,
    /// TLS after STARTTLS; port 587 by default.
    StartTls,
    /// TLS from the first byte; port 465 by default.
    Tls,
}

impl SmtpMode {
    /// The port that MAS uses when none is configured (`crates/config/src/sections/email.rs`).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Plain => 25,
            Self::StartTls => 587,
            Self::Tls => 465,
        }
    }
}
