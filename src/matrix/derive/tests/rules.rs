//! One table per derivation rule of facts/mas-edges.md §4.

use super::super::*;
use super::{check_about, line, sources};

#[test]
fn mail_follows_transport_mode_and_host() {
    let check = |email: &str, expect: &[&str]| check_about("smtp", &format!("mas: {{email: {email}}}"), "", expect);
    check("{}", &["mas-to-smtp: subject > unknown (peers.smtp) 587? TCP t2"]);
    check("{transport: smtp, hostname: m, mode: plain}", &["mas-to-smtp: subject > m 25 TCP t2"]);
    check("{transport: smtp, hostname: m, mode: starttls}", &["mas-to-smtp: subject > m 587 TCP t2"]);
    check("{transport: smtp, hostname: m, mode: tls}", &["mas-to-smtp: subject > m 465 TCP t2"]);
    check("{transport: smtp, hostname: m, mode: plain, port: 2525}", &["mas-to-smtp: subject > m 2525 TCP t2"]);
    check("{hostname: m}", &["mas-to-smtp: subject > m 587? TCP t2"]);
    check("{hostname: 10.0.0.9, port: 25}", &["mas-to-smtp: subject > 10.0.0.9 25 TCP t2"]);
    check("{mode: tls}", &["mas-to-smtp: subject > unknown (peers.smtp) 465? TCP t2"]);
    check("{port: 2525}", &["mas-to-smtp: subject > unknown (peers.smtp) 2525 TCP t2"]);
    check("{enabled: false}", &["no edge mas-to-smtp: `mas.email.enabled` is false (guide.yaml:1:24)"]);
    check(
        "{transport: blackhole}",
        &["no edge mas-to-smtp: `mas.email.transport` throws mails away (guide.yaml:1:26)"],
    );
    check(
        "{transport: sendmail}",
        &["no edge mas-to-smtp: `mas.email.transport` sends by a local program (guide.yaml:1:26)"],
    );
    check(
        "{hostname: ''}",
        &["no edge mas-to-smtp: `mas.email.hostname` is empty, so no mail is configured (guide.yaml:1:25)"],
    );
    check(
        "{hostname: localhost}",
        &["no edge mas-to-smtp: `mas.email.hostname` stays inside the pod (guide.yaml:1:25)"],
    );
    check(
        "{hostname: '${RELAY}', mode: tls}",
        &["mas-to-smtp: subject > unknown (peers.smtp) 465? TCP t2", "ValueUnknown mas.email.hostname"],
    );
}

#[test]
fn features_that_need_mail_miss_it() {
    let off = "email: {enabled: false}";
    let note = "no edge mas-to-smtp: `mas.email.enabled` is false (guide.yaml:1:";
    let check = |values: &str, config: &str, missing: &[&str]| {
        let (sources, _) =
            sources(Some(values).filter(|v| !v.is_empty()), Some(config).filter(|c| !c.is_empty()), None);
        let intent = derive(&sources);
        let got: Vec<&str> =
            intent.findings.iter().filter(|f| f.code == Code::MailMissing).map(|f| f.message.as_str()).collect();
        assert_eq!(got, missing, "{values}{config}");
    };
    check(
        &format!("mas: {{features: {{passwordReset: true, emailVerification: true}}, {off}}}"),
        "",
        &["`mas.features.emailVerification` and `mas.features.passwordReset` are on and need mail, but MAS sends none"],
    );
    check(&format!("mas: {{features: {{passwordReset: false}}, {off}}}"), "", &[]);
    check(&format!("mas: {{{off}}}"), "", &[]);
    check("mas: {features: {passwordReset: true}}", "", &[]);
    check("mas: {features: {passwordReset: true}, email: {transport: sendmail}}", "", &[]);
    check(
        "",
        "account: {password_recovery_enabled: true}",
        &["`account.password_recovery_enabled` is on and needs mail, but MAS sends none"],
    );
    check(
        "",
        "account: {password_registration_enabled: true}\nemail: {transport: blackhole}",
        &["`account.password_registration_enabled` is on and needs mail, but MAS sends none"],
    );
    check("", "account: {password_registration_enabled: true, password_registration_email_required: false}", &[]);
    check("", "account: {password_recovery_enabled: true}\nemail: {transport: smtp, mode: tls, hostname: m}", &[]);
    assert!(derive(&sources(Some(&format!("mas: {{{off}}}")), None, None).0).notes[0].starts_with(note));
}

#[test]
fn databases_are_servers_sockets_or_unknown() {
    let check = |database: &str, expect: &[&str]| check_about("postgres", "", &format!("database: {database}"), expect);
    check("{host: db}", &["mas-to-postgres: subject > db 5432 TCP t0"]);
    check("{host: DB.Example., port: 6432}", &["mas-to-postgres: subject > db.example 6432 TCP t0"]);
    check("{uri: 'postgresql://u:p@10.1.2.3/mas'}", &["mas-to-postgres: subject > 10.1.2.3 5432 TCP t0"]);
    check("{uri: 'postgresql://u:p@[fd00::1]/mas'}", &["mas-to-postgres: subject > fd00::1 5432 TCP t0"]);
    check("{uri: 'postgresql:///mas?host=db&port=1'}", &["mas-to-postgres: subject > db 1 TCP t0"]);
    check("{uri: 'postgresql:///mas'}", &["mas-to-postgres: subject > unknown (peers.postgres) 5432? TCP t0"]);
    check("{port: 6432}", &["mas-to-postgres: subject > unknown (peers.postgres) 6432 TCP t0"]);
    check(
        "{socket: /run/postgresql}",
        &["no edge mas-to-postgres: `database.socket` is a Unix socket (mas.yaml:1:20)"],
    );
    check(
        "{uri: 'postgresql://%2Frun%2Fpostgresql/mas'}",
        &["no edge mas-to-postgres: `database.uri` is a Unix socket (mas.yaml:1:17)"],
    );
    check(
        "{host: 127.0.0.1}",
        &["no edge mas-to-postgres: `database.host` stays inside the pod (127.0.0.1) (mas.yaml:1:18)"],
    );
    check(
        "{uri: 'ENC[x]'}",
        &["mas-to-postgres: subject > unknown (peers.postgres) 5432? TCP t0", "ValueUnknown database.uri"],
    );
    check("{host: db, port: '${PORT}'}", &["mas-to-postgres: subject > db 5432? TCP t0", "ValueUnknown database.port"]);
    check("ENC[x]", &["mas-to-postgres: subject > unknown (peers.postgres) 5432? TCP t0", "ValueUnknown database.uri"]);
}

#[test]
fn ssl_mode_comes_from_the_config_then_the_guide() {
    let mode = |values: Option<&str>, config: Option<&str>| {
        let intent = derive(&sources(values, config, None).0);
        intent.edges.iter().find(|edge| edge.name == "mas-to-postgres").map(|edge| edge.exchange.clone())
    };
    let expect = |ssl_mode| Some(Exchange::postgres(ssl_mode));
    let guide = Some("mas: {database: {host: a, sslMode: require}}");
    assert_eq!(mode(guide, None), expect(crate::matrix::SslMode::Require));
    assert_eq!(mode(guide, Some("database: {host: a}")), expect(crate::matrix::SslMode::Require));
    let config = Some("database: {uri: 'postgresql://a/b?sslmode=disable'}");
    assert_eq!(mode(guide, config), expect(crate::matrix::SslMode::Disable));
    let config = Some("database: {uri: 'postgresql://a/b?sslmode=disable', ssl_mode: verify-ca}");
    assert_eq!(mode(None, config), expect(crate::matrix::SslMode::VerifyCa));
}

#[test]
fn synapse_is_where_the_endpoint_says() {
    let check = |matrix: &str, expect: &[&str]| check_about("mas-to-synapse", "", &format!("matrix: {matrix}"), expect);
    check("{endpoint: 'http://s'}", &["mas-to-synapse: subject > s 80 TCP t0"]);
    check("{endpoint: 'https://s/x'}", &["mas-to-synapse: subject > s 443 TCP t0"]);
    check("{endpoint: 'http://[fd00::8]:8008/'}", &["mas-to-synapse: subject > fd00::8 8008 TCP t0"]);
    check("{secret: x}", &["mas-to-synapse: subject > unknown (peers.synapse) 8008? TCP t0"]);
    check(
        "{endpoint: 'http://localhost:8008'}",
        &["no edge mas-to-synapse: `matrix.endpoint` stays inside the pod (localhost) (mas.yaml:1:20)"],
    );
    check(
        "{endpoint: '{{ .Values.x }}'}",
        &["mas-to-synapse: subject > unknown (peers.synapse) 8008? TCP t0", "ValueUnknown matrix.endpoint"],
    );
}

#[test]
fn the_port_trap_is_reported_until_a_config_confirms_the_port() {
    let guide = "mas: {synapse: {endpoint: 'http://matrix-synapse-synapse:8008'}}";
    let edge = "mas-to-synapse: subject > matrix-synapse-synapse 8008 TCP t0";
    check_about("mas-to-synapse", guide, "", &[edge, "GuideUnsound mas.synapse.endpoint"]);
    check_about("mas-to-synapse", guide, "matrix: {endpoint: 'http://matrix-synapse-synapse:8008/'}", &[edge]);
    let other = "mas: {synapse: {endpoint: 'http://synapse:8008'}}";
    check_about("mas-to-synapse", other, "", &["mas-to-synapse: subject > synapse 8008 TCP t0"]);
}

#[track_caller]
fn same(check: impl Fn(&str, &[&str]), listeners: &str, edges: &[String]) {
    check(listeners, &edges.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn ingress_edges_reach_the_listener_that_serves_them() {
    const WEB: &str = "resources: [{name: discovery}, {name: human}, {name: oauth}]";
    let check = |listeners: &str, expect: &[&str]| {
        check_about("-to-mas", "", &format!("http: {{listeners: [{listeners}]}}"), expect);
    };
    let edges = |traefik: &str, synapse: &str| {
        [
            format!("traefik-to-mas: the ingress controller > {traefik} TCP t0"),
            format!("synapse-to-mas: unknown (peers.synapse) > {synapse} TCP t0"),
            format!("!stranger-to-mas: any-pod > {traefik} TCP t1"),
        ]
    };
    let one = |port: &str| edges(&format!("subject {port}"), &format!("subject {port}"));
    same(check, &format!("{{{WEB}, binds: [{{address: '[::]:8090'}}]}}"), &one("pod:8090"));
    same(check, &format!("{{{WEB}, binds: [{{host: 0.0.0.0, port: 8090}}]}}"), &one("pod:8090"));
    same(check, &format!("{{{WEB}, binds: [{{port: 8090}}, {{address: '127.0.0.1:9'}}]}}"), &one("pod:8090"));
    same(check, &format!("{{{WEB}, binds: [{{fd: 0}}]}}"), &one("8080?"));
    // Health elsewhere does not matter.
    let health = "{resources: [{name: health}], binds: [{host: localhost, port: 8081}]}";
    same(check, &format!("{health}, {{{WEB}, binds: [{{port: 8090}}]}}"), &one("pod:8090"));
    // An internal listener for Synapse beside the public one.
    let api = "{resources: [{name: discovery}, {name: oauth}], binds: [{port: 8082}]}";
    same(
        check,
        &format!("{api}, {{{WEB}, binds: [{{port: 8090}}]}}"),
        &edges("subject pod:8090", "subject pod:8082 & subject pod:8090"),
    );
    // Split over two listeners: both are needed.
    let split =
        "{resources: [{name: discovery}], binds: [{port: 1}]}, {resources: [{name: oauth}], binds: [{port: 2}]}";
    same(check, split, &edges("subject pod:1 & subject pod:2", "subject pod:1 & subject pod:2"));
    // Nobody gets there: an error instead of edges.
    let closed =
        ["!stranger-to-mas: any-pod > subject pod:8080 TCP t1", "UnreachableBind http.listeners[0].binds[0].port"];
    for host in ["localhost", "127.0.0.2", "'::1'", "'::ffff:127.0.0.1'"] {
        check(&format!("{{{WEB}, binds: [{{host: {host}, port: 8080}}]}}"), &closed);
    }
    let closed = ["!stranger-to-mas: any-pod > subject pod:8080 TCP t1", "UnreachableBind http.listeners[0].binds[0]"];
    check(&format!("{{{WEB}, binds: [{{socket: /s, mode: '600'}}]}}"), &closed);
    let closed = ["!stranger-to-mas: any-pod > subject pod:8080 TCP t1", "UnreachableBind http.listeners"];
    check(health, &closed);
}

#[test]
fn the_guides_edge_stays_when_the_config_shuts_peers_out() {
    let config =
        "http: {listeners: [{resources: [{name: discovery}, {name: oauth}], binds: [{address: 'localhost:8080'}]}]}";
    let edge = "traefik-to-mas: the ingress controller > subject 8080? TCP t0";
    check_about("traefik-to-mas", "mas: {}", config, &[edge, "UnreachableBind http.listeners[0].binds[0].address"]);
}

#[test]
fn the_guides_port_and_the_listener_are_one_target_or_a_contradiction() {
    let config = "http: {public_base: 'https://a.b', listeners: [{resources: [{name: discovery}, {name: oauth}, {name: human}], binds: [{port: 8090}, {port: 8091}]}]}";
    let edge = |port: &str| format!("traefik-to-mas: the ingress controller of a.b > {port} TCP t0");
    let guide = |port: &str| format!("mas: {{service: {{targetPort: {port}}}}}");
    check_about("traefik-to-mas", &guide("8090"), config, &[&edge("subject pod:8090")]);
    check_about("traefik-to-mas", &guide("http"), config, &[&edge("subject pod:8090 & subject pod:8091")]);
    check_about("traefik-to-mas", "mas: {}", config, &[&edge("subject pod:8090 & subject pod:8091")]);
    let both = edge("subject pod:8080 & subject pod:8090 & subject pod:8091");
    check_about("traefik-to-mas", &guide("8080"), config, &[&both, "SourcesContradict traefik-to-mas"]);
    let hosts = "traefik-to-mas: the ingress controller of x.y & the ingress controller of a.b > subject pod:8090 & subject pod:8091 TCP t0";
    check_about("traefik-to-mas", "mas: {ingress: {host: X.Y}}", config, &[hosts, "SourcesContradict traefik-to-mas"]);
}

#[test]
fn providers_are_named_by_id_name_or_host_and_matched_by_issuer() {
    let values = |providers: &str| format!("mas: {{oidc: {{providers: [{providers}]}}}}");
    let config = |providers: &str| format!("upstream_oauth2: {{providers: [{providers}]}}");
    let names = |values: &str, config: &str| {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (v, c) = (given(values), given(config));
        let intent = derive(&sources(v.as_deref(), c.as_deref(), None).0);
        let known = ["postgres", "synapse", "dns-udp", "dns-tcp", "smtp", "stranger"];
        let mine = |edge: &&Edge| edge.name.strip_prefix("mas-to-").is_some_and(|name| !known.contains(&name));
        intent.edges.iter().filter(mine).map(line).collect::<Vec<_>>()
    };
    let ulid = "01HFVBY12TMNTYTBV8W921M5FA";
    assert_eq!(names(&values("{id: authelia, issuer: 'https://a'}"), ""), ["mas-to-authelia: subject > a 443 TCP t0"]);
    assert_eq!(
        names(&values(&format!("{{id: {ulid}, name: Waadoo SSO, issuer: 'http://a'}}")), ""),
        ["mas-to-waadoo-sso: subject > a 80 TCP t0"]
    );
    assert_eq!(
        names(&values(&format!("{{id: {ulid}, name: '…', issuer: 'https://Id.Example:9091'}}")), ""),
        ["mas-to-id-example: subject > id.example 9091 TCP t0"]
    );
    // Two sources, one issuer: one edge, the guide's name.
    let one = names(
        &values("{id: authelia, issuer: 'https://a'}"),
        &config(&format!("{{id: {ulid}, human_name: Other, issuer: 'https://a/'}}")),
    );
    assert_eq!(one, ["mas-to-authelia: subject > a 443 TCP t0"]);
    // Two providers of one name, and one that is called like a fixed edge.
    let three = "{id: x, issuer: 'https://a'}, {id: X, issuer: 'https://b'}, {id: smtp, issuer: 'https://c'}";
    assert_eq!(
        names(&values(three), ""),
        [
            "mas-to-x: subject > a 443 TCP t1",
            "mas-to-x-2: subject > b 443 TCP t1",
            "mas-to-smtp-idp: subject > c 443 TCP t1"
        ]
    );
    // Switched off, by entry or as a whole.
    assert!(names(&values("{id: x, enabled: false, issuer: 'https://a'}"), "").is_empty());
    assert!(names("mas: {oidc: {enabled: false, providers: [{id: x, issuer: 'https://a'}]}}", "").is_empty());
    assert!(names("", &config("{id: x, enabled: false, issuer: 'https://a'}")).is_empty());
    // Hidden.
    assert_eq!(
        names(&values("{id: x, issuer: 'ENC[q]'}"), ""),
        ["mas-to-x: subject > unknown (peers.issuer) 443? TCP t0"]
    );
}

#[test]
fn endpoints_on_other_hosts_get_edges_of_their_own() {
    let check = |provider: &str, expect: &[&str]| {
        check_about(
            "mas-to-p",
            "",
            &format!(
                "database: {{socket: /s}}\nupstream_oauth2: {{providers: [{{id: 01HFVBY12TMNTYTBV8W921M5FA, human_name: p, {provider}}}]}}"
            ),
            expect,
        );
    };
    let main = "mas-to-p: subject > a 443 TCP t0";
    let note = "no edge mas-to-postgres: `database.socket` is a Unix socket (mas.yaml:1:20)";
    check("issuer: 'https://a', token_endpoint: 'https://a/t', jwks_uri: 'https://a:443/j'", &[main, note]);
    check(
        "issuer: 'https://a', token_endpoint: 'https://t/t', jwks_uri: 'https://a:8443/j'",
        &[main, "mas-to-p-token: subject > t 443 TCP t0", "mas-to-p-jwks: subject > a 8443 TCP t0", note],
    );
    check(
        "issuer: 'https://a', token_endpoint: 'https://t/t', jwks_uri: 'https://t/j'",
        &[main, "mas-to-p-token: subject > t 443 TCP t0", note],
    );
    check("issuer: 'https://a', authorization_endpoint: 'https://browser/'", &[main, note]);
    check("issuer: 'https://a', userinfo_endpoint: 'https://u/'", &[main, note]);
    check(
        "issuer: 'https://a', userinfo_endpoint: 'https://u/', fetch_userinfo: true",
        &[main, "mas-to-p-userinfo: subject > u 443 TCP t0", note],
    );
    check(
        "issuer: 'https://a', discovery_mode: disabled, token_endpoint: 'https://t/', jwks_uri: 'https://j/', authorization_endpoint: 'https://browser/'",
        &["mas-to-p: subject > t 443 TCP t0", "mas-to-p-jwks: subject > j 443 TCP t0", note],
    );
    check("discovery_mode: disabled", &["mas-to-p: subject > unknown (peers.issuer) 443? TCP t0", note]);
    check("issuer: 'https://a', discovery_mode: insecure", &[main, note]);
}

#[test]
fn a_provider_is_tier_0_while_it_may_be_the_only_way_in() {
    let tier = |config: &str| {
        let intent = derive(&sources(None, Some(config), None).0);
        intent.edges.iter().filter(|edge| edge.name.starts_with("mas-to-p")).map(|edge| edge.tier).collect::<Vec<_>>()
    };
    let one = "database: {host: localhost}\nupstream_oauth2: {providers: [{id: p, issuer: 'https://a'}]}\n";
    assert_eq!(tier(one), [0]);
    assert_eq!(tier(&format!("{one}passwords: {{enabled: false}}")), [0]);
    assert_eq!(tier(&format!("{one}passwords: {{enabled: true}}")), [1]);
    let two = "database: {host: localhost}\nupstream_oauth2: {providers: [{id: p, issuer: 'https://a'}, {id: p2, issuer: 'https://b'}]}\n";
    assert_eq!(tier(two), [1, 1]);
    assert_eq!(tier(&format!("{two}passwords: {{enabled: false}}")), [1, 1]);
}

#[test]
fn telemetry_that_stays_inside_the_pod_needs_no_edge() {
    let check = |telemetry: &str, expect: &[&str]| check_about("otlp", "", &format!("telemetry: {telemetry}"), expect);
    let e = "endpoint: 'https://o.x:4318/v1'";
    check(&format!("{{tracing: {{exporter: otlp, {e}}}}}"), &["mas-to-otlp: subject > o.x 4318 TCP t2"]);
    check(&format!("{{metrics: {{exporter: otlp, {e}}}}}"), &["mas-to-otlp: subject > o.x 4318 TCP t2"]);
    check(
        &format!("{{tracing: {{exporter: otlp, {e}}}, metrics: {{exporter: otlp, {e}}}}}"),
        &["mas-to-otlp: subject > o.x 4318 TCP t2"],
    );
    check(
        &format!("{{tracing: {{exporter: otlp, {e}}}, metrics: {{exporter: otlp, endpoint: 'http://m.x'}}}}"),
        &["mas-to-otlp: subject > o.x 4318 TCP t2", "mas-to-otlp-metrics: subject > m.x 80 TCP t2"],
    );
    check(&format!("{{tracing: {{exporter: stdout, {e}}}}}"), &[]);
    check(&format!("{{tracing: {{{e}}}}}"), &[]);
    let note = "no edge mas-to-otlp: `telemetry.tracing.exporter` sends to MAS's default, https://localhost:4318, inside the pod (mas.yaml:1:33)";
    check("{tracing: {exporter: otlp}}", &[note]);
}
