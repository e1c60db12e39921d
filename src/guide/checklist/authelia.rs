//! Authelia's clients: does it know where MAS sends people back to?

use super::Config;
use super::mas::Mas;
use crate::finding::{Code, Finding};
use crate::guide::Url;
use crate::source::{Node, Place};

/// One entry of `identity_providers.oidc.clients`. Its secret is not kept.
#[derive(Debug)]
pub(super) struct Client {
    /// `client_id`; `id` before Authelia 4.38.
    id: Option<String>,
    /// Those of `redirect_uris` that are web addresses.
    redirects: Vec<Url>,
    name: String,
    object: String,
    place: Place,
}

pub(super) fn clients(config: &Config<'_>) -> Vec<Client> {
    let list = config.document.root.at_path("/identity_providers/oidc/clients").map_or(&[][..], Node::items);
    let client = |(index, node): (usize, &Node)| {
        let redirects = node.get("redirect_uris");
        let uris = redirects.map_or(&[][..], Node::items).iter().filter_map(Node::text);
        let path = format!("identity_providers.oidc.clients[{index}].redirect_uris");
        Client {
            id: ["client_id", "id"].iter().find_map(|key| node.get(key)?.text().map(str::to_owned)),
            redirects: uris.filter_map(|uri| Url::parse(uri).ok()).collect(),
            name: config.name(&path, redirects.unwrap_or(node)),
            object: config.object(&path),
            place: config.place(redirects.unwrap_or(node)),
        }
    };
    list.iter().enumerate().map(client).collect()
}

impl Client {
    /// `bases` are MAS's public addresses, without a slash at the end.
    pub(super) fn check(&self, mas: &[Mas], bases: &[String]) -> Option<Finding> {
        let providers = || mas.iter().flat_map(|mas| &mas.providers);
        let mine = |client: &Option<String>| client.is_some() && *client == self.id;
        let by_id = providers().any(|(_, client)| mine(client));
        let hosts: Vec<String> = bases.iter().filter_map(|base| Some(Url::parse(base).ok()?.host)).collect();
        if bases.is_empty() || !(by_id || self.redirects.iter().any(|url| hosts.contains(&url.host))) {
            return None;
        }
        // MAS docs/setup/sso.md: `https://<public base>/upstream/callback/<id>`.
        let ids: Vec<&str> =
            providers().filter(|(_, client)| !by_id || mine(client)).filter_map(|(id, _)| id.as_deref()).collect();
        let expected: Vec<String> =
            bases.iter().flat_map(|base| ids.iter().map(move |id| format!("{base}/upstream/callback/{id}"))).collect();
        let callback =
            |url: &Url| bases.iter().any(|base| url.as_str().starts_with(&format!("{base}/upstream/callback/")));
        let fits = self.redirects.iter().any(|url| {
            if expected.is_empty() { callback(url) } else { expected.iter().any(|wanted| wanted == url.as_str()) }
        });
        if fits {
            return None;
        }
        let base = bases.first()?;
        let wanted =
            expected.first().cloned().unwrap_or_else(|| format!("{base}/upstream/callback/<the provider's ULID>"));
        let message =
            format!("{} lacks the address to which MAS sends people back: every login through it fails", self.name);
        let fix = format!("add `{wanted}` to this client's redirect_uris");
        Some(Finding::new(Code::RedirectMismatch, self.object.clone(), message, fix).at(self.place.clone()))
    }
}
