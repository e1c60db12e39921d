//! Synapse's `homeserver.yaml`, as far as MAS is concerned.

use std::hash::BuildHasher;

use super::super::tree::{Given, Layers, Said};
use crate::source::Place;

/// One file of Synapse's config, reduced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynapseFacts {
    /// The file.
    pub place: Place,
    /// `server_name`.
    pub server_name: Said,
    /// `experimental_features.msc3861` is there and not empty.
    pub msc3861: Option<Place>,
    /// `matrix_authentication_service`, if it is there.
    pub mas: Option<MasSection>,
    /// Settings that Synapse refuses beside MAS.
    pub conflicts: Vec<&'static str>,
}

/// `matrix_authentication_service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasSection {
    /// `enabled`; absent means false.
    pub enabled: Option<bool>,
    /// `endpoint`.
    pub endpoint: Said,
    /// `secret` or `secret_path`.
    pub secret: Given,
    /// Where.
    pub place: Place,
}

/// What stops Synapse's start beside MAS, when true (`synapse/config/mas.py`, `MasConfigModel` conflicts).
const FLAGS: [(&str, &str); 8] = [
    ("enable_registration", "enable_registration"),
    ("password_config/enabled", "password_config.enabled"),
    ("saml2_config/enabled", "saml2_config"),
    ("cas_config/enabled", "cas_config"),
    ("jwt_config/enabled", "jwt_config"),
    ("enable_registration_captcha", "enable_registration_captcha"),
    ("login_via_existing_session/enabled", "login_via_existing_session"),
    ("enable_3pid_changes", "enable_3pid_changes"),
];
/// The same, when given at all.
const FILLED: [(&str, &str); 3] = [
    ("oidc_providers", "oidc_providers"),
    ("oidc_config", "oidc_config"),
    ("refresh_token_lifetime", "refresh_token_lifetime"),
];

impl SynapseFacts {
    pub(super) fn of(layers: &Layers<'_>, file: &str, seal: &impl BuildHasher) -> Self {
        const OLD: &str = "experimental_features/msc3861";
        let section = layers.find("matrix_authentication_service").map(|(document, node)| MasSection {
            enabled: layers.flag("matrix_authentication_service/enabled"),
            endpoint: layers.url("matrix_authentication_service/endpoint"),
            secret: layers.given(
                "matrix_authentication_service/secret",
                "matrix_authentication_service/secret_path",
                seal,
            ),
            place: document.place(node),
        });
        let flags = FLAGS.iter().filter(|(path, _)| layers.flag(path) == Some(true));
        let filled = FILLED.iter().filter(|(path, _)| layers.is_filled(path));
        Self {
            place: Place::whole(file),
            server_name: layers.said("server_name"),
            msc3861: layers.find(OLD).filter(|_| layers.is_filled(OLD)).map(|(document, node)| document.place(node)),
            mas: section,
            conflicts: flags.chain(filled).map(|(_, name)| *name).collect(),
        }
    }
}
