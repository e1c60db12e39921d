//! The list of all checks, in the guide's order. docs/doctor.md has a line for each.

use super::checks::{
    self, Answer, authelia, database, deployment, dns, policies, prerequisites, secrets, synapse, testing,
};
use super::{Facts, Phase};

/// One check.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name.
    pub id: &'static str,
    /// Where it belongs.
    pub phase: Phase,
    /// What holds when it passes.
    pub title: &'static str,
    /// The guide's section.
    pub section: &'static str,
    pub(super) run: fn(&Facts) -> checks::Answer,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Check({})", self.id)
    }
}

const fn check(
    phase: Phase,
    section: &'static str,
    id: &'static str,
    title: &'static str,
    run: fn(&Facts) -> Answer,
) -> Check {
    Check { id, phase, title, section, run }
}

const BEFORE: &str = "Prerequisites";
const VALUES: &str = "Phase 1: Configuration Structure";
const TEMPLATES: &str = "Phase 2: Create Templates";
const SYNAPSE: &str = "Phase 3: Update Synapse Configuration";
const DATABASE: &str = "Phase 4: Database Setup";
const AUTHELIA: &str = "Phase 5: Configure Authelia";
const TESTING: &str = "Phase 6: Testing Checklist";
const SECRETS: &str = "Required Secrets";
const DNS: &str = "DNS Requirements";
const POLICIES: &str = "NetworkPolicy Considerations";

/// All checks.
#[rustfmt::skip]
pub const CATALOGUE: &[Check] = &[
    check(Phase::Prerequisites, BEFORE, "synapse-works", "Synapse runs", prerequisites::synapse),
    check(Phase::Prerequisites, BEFORE, "synapse-version", "Synapse is 1.136 or newer", prerequisites::synapse_version),
    check(Phase::Prerequisites, BEFORE, "postgres-works", "PostgreSQL runs", prerequisites::postgres),
    check(Phase::Prerequisites, BEFORE, "ingress-host", "an Ingress leads the auth host to MAS", prerequisites::ingress),
    check(Phase::Prerequisites, BEFORE, "tls-secret", "the certificate's Secret is whole and of its type", prerequisites::tls_secret),
    check(Phase::Prerequisites, BEFORE, "tls-expiry", "the auth host's certificate is valid for two weeks and more", prerequisites::tls_expiry),
    check(Phase::Prerequisites, BEFORE, "mas-subdomain", "all sources name one public host for MAS", prerequisites::subdomain),
    check(Phase::Prerequisites, BEFORE, "mail-configured", "mail is configured where features need it", prerequisites::mail),
    check(Phase::Prerequisites, BEFORE, "mail-relay", "the mail relay speaks SMTP and its TLS is valid", prerequisites::mail_answers),
    check(Phase::Database, DATABASE, "database-named", "MAS's config says where the database is", database::named),
    check(Phase::Database, DATABASE, "database-uri", "the database's URI can be read", database::uri),
    check(Phase::Database, DATABASE, "database-collation", "the database's locale and encoding fit", database::collation),
    check(Phase::Database, DATABASE, "database-owner", "mas owns its database", database::owner),
    check(Phase::Database, DATABASE, "database-pooler", "no transaction pooler stands before it", database::pooler),
    check(Phase::Database, DATABASE, "database-login", "mas can log in and create tables", database::login),
    check(Phase::Database, DATABASE, "database-answers", "the database answers", database::answers),
    check(Phase::Secrets, SECRETS, "encryption-secret", "the encryption key is 64 hexadecimal digits", secrets::encryption),
    check(Phase::Secrets, SECRETS, "synapse-shared-secret", "the shared secret is there and long", secrets::shared),
    check(Phase::Secrets, SECRETS, "shared-secret-matches", "Synapse and MAS have the same shared secret", secrets::same),
    check(Phase::Secrets, SECRETS, "database-password", "the database's password is there", secrets::database),
    check(Phase::Secrets, SECRETS, "oidc-client-secret", "the client secret for Authelia is there", secrets::client),
    check(Phase::Secrets, SECRETS, "signing-keys", "an RSA signing key is configured", secrets::signing),
    check(Phase::Secrets, SECRETS, "config-variables", "MAS's config has no ${VARIABLE}", secrets::variables),
    check(Phase::Deployment, TEMPLATES, "mas-config", "MAS's config can be read", deployment::config),
    check(Phase::Deployment, TEMPLATES, "mas-workload", "MAS's pods are found for certain", deployment::workload),
    check(Phase::Deployment, VALUES, "mas-image", "MAS is 0.20 or newer", deployment::image),
    check(Phase::Deployment, TEMPLATES, "mas-listener", "MAS listens where peers reach it", deployment::listener),
    check(Phase::Deployment, TEMPLATES, "mas-resources", "the listener serves all that is needed", deployment::resources),
    check(Phase::Deployment, TEMPLATES, "mas-health", "the kubelet's probe reaches MAS's health", deployment::health),
    check(Phase::Deployment, TEMPLATES, "mas-service", "MAS's Service leads to its listener", deployment::service),
    check(Phase::Deployment, VALUES, "public-base", "http.public_base is an https URL that fits", deployment::public_base),
    check(Phase::Deployment, TEMPLATES, "compat-routes", "login, logout and refresh of the Matrix host go to MAS", deployment::compat),
    check(Phase::Deployment, TEMPLATES, "trusted-proxies", "MAS trusts the ingress controller's addresses", deployment::proxies),
    check(Phase::Synapse, SYNAPSE, "synapse-msc3861", "homeserver.yaml does not use the dead msc3861", synapse::msc3861),
    check(Phase::Synapse, SYNAPSE, "synapse-mas-enabled", "matrix_authentication_service is enabled", synapse::enabled),
    check(Phase::Synapse, SYNAPSE, "synapse-mas-endpoint", "Synapse's endpoint is MAS's Service", synapse::endpoint),
    check(Phase::Synapse, SYNAPSE, "synapse-conflicts", "nothing is set that Synapse refuses beside MAS", synapse::conflicts),
    check(Phase::Synapse, SYNAPSE, "server-name", "MAS and Synapse say the same server name", synapse::server_name),
    check(Phase::Synapse, VALUES, "mas-synapse-endpoint", "MAS's endpoint is a port of Synapse's Service", synapse::mas_endpoint),
    check(Phase::Synapse, SYNAPSE, "mas-synapse-kind", "MAS uses Synapse's modern API", synapse::kind),
    check(Phase::Synapse, BEFORE, "synapse-answers", "Synapse answers MAS", synapse::answers),
    check(Phase::Authelia, AUTHELIA, "provider-id", "the provider's id is a ULID", authelia::provider_id),
    check(Phase::Authelia, AUTHELIA, "provider-issuer", "the issuer is Authelia's own", authelia::issuer),
    check(Phase::Authelia, AUTHELIA, "authelia-client", "Authelia has MAS as a client", authelia::client),
    check(Phase::Authelia, AUTHELIA, "authelia-redirect", "the client's redirect URI is MAS's", authelia::redirect),
    check(Phase::Authelia, AUTHELIA, "authelia-scopes", "the client may have the scopes and the grant", authelia::scopes),
    check(Phase::Authelia, AUTHELIA, "authelia-claims", "MAS gets name and email", authelia::claims),
    check(Phase::Authelia, AUTHELIA, "authelia-secret", "the client's secret is a hash", authelia::hash),
    check(Phase::Testing, TESTING, "test-pod-starts", "MAS pod starts successfully", testing::pod_starts),
    check(Phase::Testing, TESTING, "test-database", "MAS can connect to PostgreSQL", testing::database),
    check(Phase::Testing, TESTING, "test-provider", "MAS can reach Authelia OIDC endpoints", testing::provider),
    check(Phase::Testing, TESTING, "test-synapse", "Synapse can communicate with MAS", testing::synapse),
    check(Phase::Testing, TESTING, "test-public", "MAS answers at its public URL with its issuer", testing::public),
    check(Phase::Testing, TESTING, "test-element", "Element Web redirects to MAS for login", testing::element),
    check(Phase::Testing, TESTING, "test-sso", "SSO login through MAS and Authelia works", testing::sso),
    check(Phase::Testing, TESTING, "test-password", "Password login works (if enabled)", testing::password),
    check(Phase::Testing, TESTING, "test-second-factor", "2FA enrollment works", testing::second_factor),
    check(Phase::Testing, TESTING, "test-reset", "Password reset flow works", testing::reset),
    check(Phase::Testing, TESTING, "test-verification", "Email verification works", testing::verification),
    check(Phase::Testing, TESTING, "test-account", "Account management UI accessible", testing::account),
    check(Phase::Dns, DNS, "ingress-address", "the ingress controller has an address", dns::address),
    check(Phase::Dns, DNS, "dns-record", "the auth host's record leads to it", dns::record),
    check(Phase::Dns, DNS, "dns-search", "the search list of MAS's pod is no longer than usual", dns::search),
    check(Phase::Policies, POLICIES, "policy-from-traefik", "the ingress controller reaches MAS", policies::from_ingress),
    check(Phase::Policies, POLICIES, "policy-from-synapse", "Synapse reaches MAS", policies::from_synapse),
    check(Phase::Policies, POLICIES, "policy-to-postgres", "MAS reaches PostgreSQL", policies::to_postgres),
    check(Phase::Policies, POLICIES, "policy-to-synapse", "MAS reaches Synapse", policies::to_synapse),
    check(Phase::Policies, POLICIES, "policy-to-authelia", "MAS reaches the identity provider", policies::to_provider),
    check(Phase::Policies, POLICIES, "policy-to-dns", "MAS reaches DNS, over UDP and TCP", policies::to_dns),
    check(Phase::Policies, POLICIES, "policy-to-smtp", "MAS reaches the mail relay", policies::to_smtp),
    check(Phase::Policies, POLICIES, "policy-nothing-else", "nothing else reaches MAS or is reached by it", policies::nothing_else),
];
