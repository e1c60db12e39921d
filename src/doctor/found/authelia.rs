//! Authelia's `configuration.yml`, as far as MAS is its client.

use std::hash::BuildHasher;

use super::super::tree::{Given, Layers, Said};
use crate::source::Place;

/// Authelia's OpenID Connect clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutheliaFacts {
    /// The file.
    pub place: Place,
    /// `identity_providers.oidc.clients`.
    pub clients: Vec<AutheliaClient>,
}

/// One client. The names before 4.38 are still mapped (`internal/configuration/deprecation.go`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutheliaClient {
    /// `client_id`, formerly `id`.
    pub id: Said,
    /// `client_secret`, formerly `secret`.
    pub secret: Given,
    /// `public`.
    pub public: bool,
    /// `redirect_uris`.
    pub redirect_uris: Vec<Said>,
    /// `scopes`; empty means the default `openid profile email groups`.
    pub scopes: Vec<Said>,
    /// `grant_types`; empty means the default `authorization_code`.
    pub grant_types: Vec<Said>,
    /// `claims_policy` is given.
    pub claims_policy: bool,
    /// Where.
    pub place: Place,
}

impl AutheliaFacts {
    pub(super) fn of(layers: &Layers<'_>, file: &str, seal: &impl BuildHasher) -> Self {
        let clients = layers.items("identity_providers/oidc/clients");
        Self { place: Place::whole(file), clients: clients.iter().filter_map(|one| client(one, seal)).collect() }
    }
}

fn client(client: &Layers<'_>, seal: &impl BuildHasher) -> Option<AutheliaClient> {
    let (document, node) = client.0.first()?;
    let either = |new: &str, old: &str| match client.said(new) {
        Said::No => client.said(old),
        said => said,
    };
    let secret = match client.given("client_secret", "client_secret/path", seal) {
        Given::No => client.given("secret", "secret/path", seal),
        given => given,
    };
    Some(AutheliaClient {
        id: either("client_id", "id"),
        secret,
        public: client.flag("public") == Some(true),
        redirect_uris: client.texts("redirect_uris"),
        scopes: client.texts("scopes"),
        grant_types: client.texts("grant_types"),
        claims_policy: client.has("claims_policy"),
        place: document.place(node),
    })
}
