//! What the operator wrote: the guide's values and MAS's own config, read without keeping a single secret.
//!
//! Every value that can ask for an edge comes out as a [`Setting`]: absent, known with its place, or hidden (encrypted, templated) with its place.
//! Passwords, keys and client secrets are passed over while reading, so no type here can print one.
//! Pure.

pub mod checklist;
pub mod configs;
mod database;
pub mod mas_config;
mod modes;
mod setting;
mod url;
pub mod values;

pub(crate) use database::ssl_mode;
pub use database::{Database, DatabaseServer, DatabaseUri};
pub use mas_config::{MasConfig, is_loopback};
pub use modes::{Login, SmtpMode, SslMode, SslNegotiation};
pub use setting::{Cite, Setting};
pub(crate) use setting::{setting, under};
pub use url::{Scheme, Url, host_name};
pub use values::GuideValues;
