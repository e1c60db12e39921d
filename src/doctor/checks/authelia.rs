//! The identity provider's side.

use super::{Answer, fail, hidden, no_mas_config, not_found, pass, unknown};
use crate::doctor::facts::{Facts, at};
use crate::doctor::found::{AutheliaClient, Given, ProviderFacts};
use crate::doctor::tree::Said;
use crate::doctor::{Flaw, Shape};
use crate::guide::Setting;

const GIVE_CONFIG: &str = "give the ConfigMap or Secret that holds Authelia's configuration.yml with --manifests";

fn providers(facts: &Facts) -> Result<Vec<&ProviderFacts>, Answer> {
    let Some(mas) = facts.mas_facts() else { return Err(no_mas_config()) };
    let providers: Vec<&ProviderFacts> = mas.providers.iter().filter(|provider| provider.enabled).collect();
    if providers.is_empty() {
        return Err(fail(
            "MAS's config has no upstream_oauth2.providers that is enabled",
            "add the provider: id (a ULID), issuer, client_id, client_secret_file, scope",
        ));
    }
    Ok(providers)
}

/// Crockford's base 32 without I, L, O, U; 26 characters, the first at most 7 (ULID spec).
fn is_ulid(text: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() && !b"ILOUilou".contains(&byte);
    text.len() == 26 && text.bytes().all(ok) && text.as_bytes().first().is_some_and(|first| *first <= b'7')
}

pub(in crate::doctor) fn provider_id(facts: &Facts) -> Answer {
    if facts.mas.is_none()
        && let Some(bad) = guide_id(facts)
    {
        return bad;
    }
    let providers = match providers(facts) {
        Ok(providers) => providers,
        Err(answer) => return answer,
    };
    for provider in &providers {
        match provider.id.text() {
            Some(id) if is_ulid(id) => {}
            Some(id) => {
                return fail(
                    format!("{}the provider's id is {id}, which is no ULID: MAS does not start", at(&provider.place)),
                    "give it a ULID (26 characters, for example of `ulid`), and keep it: the redirect URI holds it",
                );
            }
            None if provider.id == Said::No => {
                return fail(format!("{}the provider has no id", at(&provider.place)), "give it a ULID");
            }
            None => return hidden("upstream_oauth2.providers[].id", &provider.id, "give it"),
        }
    }
    pass(format!("{} providers, each with a ULID", providers.len()))
}

/// The guide's `id: authelia`, where no config of MAS shows what a chart makes of it.
fn guide_id(facts: &Facts) -> Option<Answer> {
    let (id, cite) = facts.values.as_ref()?.providers.iter().find_map(|provider| match &provider.id {
        Setting::Known(id, cite) if !is_ulid(id) => Some((id, cite)),
        _ => None,
    })?;
    Some(fail(
        format!("{}{} is {id}, which is no ULID: MAS does not start with it", at(&cite.place), cite.key),
        "give it a ULID, as upstream_oauth2.providers[].id of MAS's config must have",
    ))
}

pub(in crate::doctor) fn issuer(facts: &Facts) -> Answer {
    let providers = match providers(facts) {
        Ok(providers) => providers,
        Err(answer) => return answer,
    };
    for provider in providers {
        let Some(issuer) = provider.issuer.text() else {
            return hidden(
                "upstream_oauth2.providers[].issuer",
                &provider.issuer,
                "give it, or discovery_mode: disabled with all endpoints",
            );
        };
        if !issuer.starts_with("https://") {
            return fail(
                format!("{}the issuer is not https", at(&provider.place)),
                "use the provider's public https URL",
            );
        }
        let authelia = !facts.found.authelia.is_empty();
        if authelia && issuer.ends_with('/') {
            return fail(
                format!(
                    "{}the issuer ends with a slash; Authelia's own has none, and both must be equal byte for byte",
                    at(&provider.place)
                ),
                "take the slash away",
            );
        }
    }
    pass("the issuers are https URLs")
}

/// The client at Authelia that a provider of MAS names.
fn pair(facts: &Facts) -> Result<(&ProviderFacts, &AutheliaClient), Answer> {
    let providers = providers(facts)?;
    if facts.found.authelia.is_empty() {
        return Err(not_found(facts, "Authelia's configuration.yml", GIVE_CONFIG));
    }
    let clients = || facts.found.authelia.iter().flat_map(|authelia| &authelia.clients);
    let found = providers.iter().find_map(|provider| {
        let id = provider.client_id.text()?;
        Some((*provider, clients().find(|client| client.id.text() == Some(id))?))
    });
    found.ok_or_else(|| {
        let place = providers.first().map_or_else(String::new, |provider| at(&provider.place));
        fail(
            format!("{place}no client of Authelia has the client_id that MAS uses"),
            "add a client to identity_providers.oidc.clients with the same client_id",
        )
    })
}

pub(in crate::doctor) fn client(facts: &Facts) -> Answer {
    match pair(facts) {
        Err(answer) => answer,
        Ok((_, client)) if client.public => {
            fail(format!("{}the client is public: MAS authenticates with a secret", at(&client.place)), "public: false")
        }
        Ok((_, client)) => pass(format!("{}Authelia knows MAS's client_id", at(&client.place))),
    }
}

pub(in crate::doctor) fn redirect(facts: &Facts) -> Answer {
    let (provider, client) = match pair(facts) {
        Ok(pair) => pair,
        Err(answer) => return answer,
    };
    let base = facts.mas_facts().and_then(|mas| mas.public_base.text());
    let (Some(base), Some(id)) = (base, provider.id.text()) else {
        return unknown("http.public_base or the provider's id is not known", "see public-base and provider-id");
    };
    let wanted = format!("{}/upstream/callback/{id}", base.trim_end_matches('/'));
    if client.redirect_uris.iter().any(|uri| uri.text() == Some(&wanted)) {
        return pass(format!("{}redirect_uris has {wanted}", at(&client.place)));
    }
    if client.redirect_uris.iter().any(|uri| matches!(uri, Said::Hidden(..))) {
        return unknown(
            format!("{}an entry of redirect_uris is filled in later", at(&client.place)),
            format!("it must be {wanted}"),
        );
    }
    fail(
        format!("{}redirect_uris has no {wanted} (the guide's /oauth2/callback is no path of MAS)", at(&client.place)),
        format!("redirect_uris: [{wanted}]"),
    )
}

pub(in crate::doctor) fn claims(facts: &Facts) -> Answer {
    match pair(facts) {
        Err(answer) => answer,
        Ok((provider, _)) if provider.fetch_userinfo => pass(format!("{}fetch_userinfo is true", at(&provider.place))),
        Ok((_, client)) if client.claims_policy => pass(format!("{}a claims_policy is set", at(&client.place))),
        Ok((provider, _)) => fail(
            format!(
                "{}neither fetch_userinfo nor a claims_policy: since 4.39 Authelia's ID token has no name and no email",
                at(&provider.place)
            ),
            "set fetch_userinfo: true in MAS, or a claims_policy with preferred_username, email and name in Authelia",
        ),
    }
}

/// Authelia's scopes when a client names none.
const SCOPES: [&str; 4] = ["openid", "profile", "email", "groups"];

pub(in crate::doctor) fn scopes(facts: &Facts) -> Answer {
    let (provider, client) = match pair(facts) {
        Ok(pair) => pair,
        Err(answer) => return answer,
    };
    if !client.grant_types.is_empty() && !client.grant_types.iter().any(|g| g.text() == Some("authorization_code")) {
        return fail(format!("{}grant_types has no authorization_code", at(&client.place)), "add it");
    }
    let Some(asked) = provider.scope.text() else {
        return match provider.scope {
            Said::No => {
                fail(format!("{}the provider has no scope", at(&provider.place)), "scope: \"openid profile email\"")
            }
            _ => hidden("upstream_oauth2.providers[].scope", &provider.scope, "give it"),
        };
    };
    let given = |scope: &str| {
        if client.scopes.is_empty() {
            SCOPES.contains(&scope)
        } else {
            client.scopes.iter().any(|s| s.text() == Some(scope))
        }
    };
    let missing: Vec<&str> = asked.split_whitespace().filter(|scope| !given(scope)).collect();
    if !asked.split_whitespace().any(|scope| scope == "openid") {
        return fail(format!("{}scope has no openid", at(&provider.place)), "scope: \"openid profile email\"");
    }
    if missing.is_empty() {
        return pass(format!("{}Authelia grants what MAS asks for", at(&client.place)));
    }
    fail(
        format!("{}MAS asks for {}, which the client may not have", at(&client.place), missing.join(", ")),
        "add it to the client's scopes",
    )
}

pub(in crate::doctor) fn hash(facts: &Facts) -> Answer {
    let make = "authelia crypto hash generate pbkdf2, of the value that MAS has as client_secret";
    let client = match pair(facts) {
        Ok((_, client)) => client,
        Err(answer) => return answer,
    };
    match &client.secret {
        Given::Here(presence, place) => match (presence.flaw, presence.shape) {
            (Some(Flaw::Placeholder), _) => fail(format!("{}the client's secret is a placeholder", at(place)), make),
            (Some(flaw), _) => fail(format!("{}the client's secret {}", at(place), flaw.words()), make),
            (None, Shape::Hash) => pass(format!(
                "{}the client's secret is a hash; that it fits MAS's is seen at the first login",
                at(place)
            )),
            (None, _) => fail(format!("{}the client's secret is not hashed", at(place)), make),
        },
        Given::File(_, place) | Given::Hidden(_, place) => unknown(
            format!("{}the client's secret is filled in later", at(place)),
            "see that it is a hash of MAS's client_secret",
        ),
        Given::No => fail(format!("{}the client has no secret", at(&client.place)), make),
    }
}

#[cfg(test)]
mod tests {
    use super::is_ulid;

    #[test]
    fn ulids() {
        for good in ["01HFVBY12TMNTYTBV8W921M5FA", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "0000000000000000000SYNAPSE"] {
            assert!(is_ulid(good), "{good}");
        }
        for bad in
            ["authelia", "", "01HFVBY12TMNTYTBV8W921M5F", "81HFVBY12TMNTYTBV8W921M5FA", "01HFVBY12TMNTYTBV8W921M5FU"]
        {
            assert!(!is_ulid(bad), "{bad}");
        }
    }
}
