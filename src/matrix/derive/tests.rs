mod rules;

use std::fmt::Write as _;
use std::sync::Arc;

use super::*;
use crate::source::{Document, InputError, yaml};
use crate::{guide, matrix::traffic_matrix};

const GUIDE: &str = include_str!("../../../policies/guide-values.yaml");

fn documents(file: &str, text: &str) -> Vec<Document> {
    let (documents, error) = yaml::parse(&Arc::from(file), text);
    assert_eq!(error, None);
    documents
}

fn guide_values(text: &str) -> Result<(guide::GuideValues, Vec<Finding>), InputError> {
    guide::values::read(&documents("guide.yaml", text)[0])
}

fn sources(values: Option<&str>, config: Option<&str>, matrix: Option<&str>) -> (Sources, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut keep = |(value, mut found): (_, Vec<Finding>)| {
        findings.append(&mut found);
        value
    };
    let values = values.map(|text| keep(guide_values(text).unwrap()));
    let mas_config = config.map(|text| {
        let (config, mut found) = guide::mas_config::read(&documents("mas.yaml", text)).unwrap();
        findings.append(&mut found);
        config
    });
    let matrix = matrix.map(|text| {
        let head = "apiVersion: portreeve.io/v1alpha1\nkind: TrafficMatrix\nmetadata: {name: mas, namespace: matrix}\n";
        let text = format!("{head}{text}");
        let (matrix, mut found) = traffic_matrix::read(&documents("tmx.yaml", &text)[0]).unwrap();
        findings.append(&mut found);
        matrix
    });
    (Sources { values, mas_config, matrix }, findings)
}

fn port_text(port: &Port) -> String {
    match port {
        Port::Client(port) => format!("{port}"),
        Port::Pod(port) => format!("pod:{port}"),
        Port::Unknown { default: Some(default) } => format!("{default}?"),
        Port::Unknown { default: None } => "?".to_owned(),
    }
}

/// `name: from > to port protocol tier exchange`, deny edges with a `!`.
fn line(edge: &Edge) -> String {
    let from: Vec<String> = edge.from.iter().map(ToString::to_string).collect();
    let to: Vec<String> = edge.to.iter().map(|t| format!("{} {}", t.party, port_text(&t.port))).collect();
    let deny = if edge.expect == Expect::Deny { "!" } else { "" };
    format!("{deny}{}: {} > {} {} t{}", edge.name, from.join(" & "), to.join(" & "), edge.protocol, edge.tier)
}

fn show(intent: &Intent) -> String {
    let mut out = String::new();
    for edge in &intent.edges {
        let _ = writeln!(out, "{}\n    {:?}", line(edge), edge.exchange);
        for p in &edge.provenance {
            let place = p.place.as_ref().map_or("-".to_owned(), ToString::to_string);
            let _ = writeln!(out, "    {place} {} [{}]", p.says, p.section);
        }
    }
    for finding in &intent.findings {
        let place = finding.place.as_ref().map_or("-".to_owned(), ToString::to_string);
        let _ =
            writeln!(out, "{} {place} {}: {}", finding.code, finding.edge.as_deref().unwrap_or("-"), finding.message);
    }
    for note in &intent.notes {
        let _ = writeln!(out, "note: {note}");
    }
    out
}

#[test]
fn the_guide_verbatim_asks_for_eight_edges_and_closes_two() {
    let (sources, findings) = sources(Some(GUIDE), None, None);
    assert_eq!(findings, []);
    insta::assert_snapshot!(show(&derive(&sources)), @r#"
    traefik-to-mas: the ingress controller of auth.waadoo.ovh > subject pod:8080 TCP t0
        MasPublic { url: "https://auth.waadoo.ovh/", issuer: "https://auth.waadoo.ovh/" }
        guide.yaml:17:17 mas.service.targetPort [guide: NetworkPolicy Considerations, Ingress: From Traefik (port 8080)]
        guide.yaml:22:11 mas.ingress.host [guide: NetworkPolicy Considerations, Ingress: From Traefik (port 8080)]
    synapse-to-mas: matrix-synapse-synapse > subject pod:8080 TCP t0
        Whoami
        guide.yaml:17:17 mas.service.targetPort [guide: NetworkPolicy Considerations, Ingress: From Synapse (port 8080)]
        guide.yaml:37:15 mas.synapse.endpoint [guide: NetworkPolicy Considerations, Ingress: From Synapse (port 8080)]
    mas-to-postgres: subject > unknown (peers.postgres) 5432? TCP t0
        Postgres { ssl_mode: Prefer, negotiation: Postgres, login: Some(Login { user: "mas", database: "mas" }) }
        guide.yaml:30:5 mas.database [guide: NetworkPolicy Considerations, Egress: To PostgreSQL (port 5432)]
    mas-to-synapse: subject > matrix-synapse-synapse 8008 TCP t0
        Synapse { endpoint: "http://matrix-synapse-synapse:8008" }
        guide.yaml:37:15 mas.synapse.endpoint [guide: NetworkPolicy Considerations, Egress: To Synapse (port 8008)]
    mas-to-authelia: subject > authelia.waadoo.ovh 443 TCP t0
        Oidc { issuer: "https://authelia.waadoo.ovh" }
        guide.yaml:54:17 mas.oidc.providers[0].issuer [guide: NetworkPolicy Considerations, Egress: To Authelia (port 443)]
    mas-to-dns-udp: subject > the cluster's DNS 53 UDP t0
        DnsUdp
        guide.yaml:37:15 mas.synapse.endpoint [guide: NetworkPolicy Considerations, Egress: To DNS (port 53)]
    mas-to-dns-tcp: subject > the cluster's DNS 53 TCP t1
        DnsTcp
        guide.yaml:37:15 mas.synapse.endpoint [guide: NetworkPolicy Considerations, Egress: To DNS (port 53)]
    mas-to-smtp: subject > unknown (peers.smtp) 587? TCP t2
        Smtp { mode: StartTls, auth: false }
        guide.yaml:77:5 mas.email [guide: NetworkPolicy Considerations, Egress: To SMTP (port 587)]
    !stranger-to-mas: any-pod > subject pod:8080 TCP t1
        Tcp
        - what no source asks for [portreeve: closed by default]
    !mas-to-stranger: subject > the stranger pod:9691 TCP t1
        Tcp
        - what no source asks for [portreeve: closed by default]
    PR030 GuideUnsound guide.yaml:37:15 mas-to-synapse: `mas.synapse.endpoint` dials port 8008, but the Service of the guide's own chart listens on 80
    PR030 GuideUnsound guide.yaml:52:13 mas-to-authelia: `mas.oidc.providers[0].id` is no ULID: MAS refuses a config with it and does not start
    note: `mas.enabled` is false, which changes nothing here
    "#);
}

/// Sources → edges by name with their ends, then findings (code and edge) and notes that begin with a word.
#[track_caller]
fn check(values: Option<&str>, config: Option<&str>, matrix: Option<&str>, expect: &[&str]) {
    let (sources, found) = sources(values, config, matrix);
    let intent = derive(&sources);
    let mut got: Vec<String> = intent
        .edges
        .iter()
        .filter(|edge| !matches!(edge.name.as_str(), "mas-to-dns-udp" | "mas-to-dns-tcp" | "mas-to-stranger"))
        .map(line)
        .collect();
    for finding in found.iter().chain(&intent.findings) {
        got.push(format!("{} {}", finding.code, finding.edge.as_deref().unwrap_or(&finding.object)));
    }
    got.extend(intent.notes.iter().map(|note| format!("note {note}")));
    assert_eq!(got, expect, "\n{}", got.join("\n"));
    let mut names: Vec<&str> = intent.edges.iter().map(|edge| edge.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), intent.edges.len(), "names are unique");
}

/// The edges of one rule: those whose name holds `about`, and the findings and notes about them.
#[track_caller]
fn check_about(about: &str, values: &str, config: &str, expect: &[&str]) {
    let some = |text: &'static str| (!text.is_empty()).then_some(text);
    let leak = |text: &str| some(Box::leak(text.to_owned().into_boxed_str()));
    let (sources, found) = sources(leak(values), leak(config), None);
    let intent = derive(&sources);
    let mut got: Vec<String> = intent.edges.iter().filter(|edge| edge.name.contains(about)).map(line).collect();
    let findings = found.iter().chain(&intent.findings);
    got.extend(
        findings
            .filter(|f| f.edge.as_deref().is_none_or(|edge| edge.contains(about)))
            .map(|f| format!("{} {}", f.code.name(), f.object)),
    );
    got.extend(intent.notes.iter().filter(|note| note.contains(about)).cloned());
    assert_eq!(got, expect, "\n{}", got.join("\n"));
}

#[test]
fn an_almost_empty_block_still_asks_for_the_guides_edges() {
    check(
        Some("mas: {}"),
        None,
        None,
        &[
            "traefik-to-mas: the ingress controller > subject 8080? TCP t0",
            "synapse-to-mas: unknown (peers.synapse) > subject 8080? TCP t0",
            "mas-to-postgres: subject > unknown (peers.postgres) 5432? TCP t0",
            "mas-to-synapse: subject > unknown (peers.synapse) 8008? TCP t0",
            "mas-to-smtp: subject > unknown (peers.smtp) 587? TCP t2",
            "!stranger-to-mas: any-pod > subject 8080? TCP t1",
        ],
    );
}

#[test]
fn a_config_alone_names_every_target() {
    let config = "
http:
  public_base: https://auth.example.com/
  listeners:
    - resources: [{name: discovery}, {name: human}, {name: oauth}, {name: compat}]
      binds: [{address: '0.0.0.0:8082'}, {address: '[::]:8082'}]
    - resources: [{name: health}, {name: prometheus}]
      binds: [{port: 8081}]
database: {uri: 'postgresql://mas:pw@db.postgres.svc:6432/mas?sslmode=verify-full'}
matrix: {kind: synapse, homeserver: example.com, secret_file: /s, endpoint: 'http://synapse.matrix.svc.cluster.local'}
email: {transport: smtp, mode: tls, hostname: mail.example.com}
upstream_oauth2:
  providers:
    - {id: 01HFVBY12TMNTYTBV8W921M5FA, human_name: My SSO!, issuer: 'https://sso.example.com:8443/realms/x', client_id: c, scope: openid}
telemetry:
  tracing: {exporter: otlp, endpoint: 'http://otel.monitoring:4318'}
  metrics: {exporter: prometheus}
  sentry: {dsn: 'https://key@sentry.example.com/1'}
captcha: {service: hcaptcha, site_key: a, secret_key: b}
";
    check(
        None,
        Some(config),
        None,
        &[
            "traefik-to-mas: the ingress controller of auth.example.com > subject pod:8082 TCP t0",
            "synapse-to-mas: synapse.matrix.svc.cluster.local > subject pod:8082 TCP t0",
            "mas-to-postgres: subject > db.postgres.svc 6432 TCP t0",
            "mas-to-synapse: subject > synapse.matrix.svc.cluster.local 80 TCP t0",
            "mas-to-my-sso: subject > sso.example.com 8443 TCP t0",
            "mas-to-smtp: subject > mail.example.com 465 TCP t2",
            "prometheus-to-mas: unknown (peers.prometheus) > subject pod:8081 TCP t2",
            "mas-to-otlp: subject > otel.monitoring 4318 TCP t2",
            "mas-to-sentry: subject > sentry.example.com 443 TCP t2",
            "mas-to-captcha: subject > api.hcaptcha.com 443 TCP t2",
            "!stranger-to-mas: any-pod > subject pod:8082 TCP t1",
        ],
    );
}

#[test]
fn contradictions_keep_both_targets_and_cite_both_places() {
    let guide = "mas:\n  synapse: {endpoint: 'http://a:8008'}\n  database: {host: db}\n  email: {hostname: m, mode: tls}\n  oidc: {providers: [{id: authelia, issuer: 'https://x'}]}\n";
    let config = "matrix: {endpoint: 'http://b'}\ndatabase: {host: db.postgres}\nemail: {transport: blackhole}\nupstream_oauth2: {providers: [{id: authelia, issuer: 'https://y'}]}\n";
    let (sources, _) = sources(Some(guide), Some(config), None);
    let intent = derive(&sources);
    let line_of = |name: &str| intent.edges.iter().find(|edge| edge.name == name).map(line).unwrap_or_default();
    assert_eq!(line_of("mas-to-synapse"), "mas-to-synapse: subject > a 8008 & b 80 TCP t0");
    assert_eq!(line_of("mas-to-postgres"), "mas-to-postgres: subject > db 5432 & db.postgres 5432 TCP t0");
    assert_eq!(line_of("mas-to-smtp"), "mas-to-smtp: subject > m 465 TCP t2");
    assert_eq!(line_of("mas-to-authelia"), "mas-to-authelia: subject > x 443 & y 443 TCP t0");
    let said: Vec<String> = intent
        .findings
        .iter()
        .filter(|f| f.code == Code::SourcesContradict)
        .map(|f| format!("{} {}", f.place.as_ref().unwrap(), f.message))
        .collect();
    assert_eq!(
        said,
        [
            "guide.yaml:2:23 guide.yaml:2:23 (`mas.synapse.endpoint`) says a port 8008, but mas.yaml:1:20 (`matrix.endpoint`) says b port 80; both stay allowed",
            "guide.yaml:5:45 guide.yaml:5:45 (`mas.oidc.providers[0].issuer`) says x port 443, but mas.yaml:4:54 (`upstream_oauth2.providers[0].issuer`) says y port 443; both stay allowed",
            "guide.yaml:4:21 guide.yaml:4:21 (`mas.email.hostname`) says m port 465, but `email.transport` throws mails away (mas.yaml:3:20)",
        ]
    );
}

#[test]
fn one_target_said_twice_has_two_witnesses() {
    let guide = "mas: {synapse: {endpoint: 'http://s.matrix.svc:8008'}, email: {enabled: true}}";
    let config = "matrix: {endpoint: 'http://s.matrix.svc.cluster.local:8008/'}\nemail: {transport: smtp, mode: tls, hostname: m}";
    let intent = derive(&sources(Some(guide), Some(config), None).0);
    assert_eq!(intent.findings, []);
    for name in ["mas-to-synapse", "mas-to-smtp"] {
        let edge = intent.edges.iter().find(|edge| edge.name == name).unwrap();
        assert_eq!((edge.to.len(), edge.provenance.len()), (1, 2), "{name}");
    }
    // Mail switched on without a relay, and a config that throws it away: no edge, but not without a word.
    check_about(
        "smtp",
        "mas: {email: {enabled: true}}",
        "email: {transport: blackhole}",
        &["SourcesContradict mas-to-smtp", "no edge mas-to-smtp: `email.transport` throws mails away (mas.yaml:1:20)"],
    );
}

const PEERS: &str = "
spec:
  peers:
    postgres: {service: postgres/matrix-db-rw}
    smtp: {host: smtp.example.org, port: 587, allowPrivate: [10.0.0.0/8]}
    synapse: {selector: {namespace: matrix, podSelector: {matchLabels: {app: synapse}}}, port: 8008}
    authelia: {cidrs: [192.0.2.1, 198.51.100.0/24], port: 443}
    traefik: {selector: {namespace: kube-system, podSelector: {matchLabels: {app: traefik}}}}
    dns: {host: 169.254.20.10}
";

#[test]
fn peers_say_who_the_other_ends_are() {
    check(
        Some(GUIDE),
        None,
        Some(PEERS),
        &[
            "traefik-to-mas: pods app=traefik in kube-system > subject pod:8080 TCP t0",
            "synapse-to-mas: pods app=synapse in matrix > subject pod:8080 TCP t0",
            "mas-to-postgres: subject > postgres/svc/matrix-db-rw 5432? TCP t0",
            "mas-to-synapse: subject > pods app=synapse in matrix pod:8008 TCP t0",
            "mas-to-authelia: subject > 192.0.2.1/32 443 & 198.51.100.0/24 443 TCP t0",
            "mas-to-smtp: subject > smtp.example.org 587 TCP t2",
            "!stranger-to-mas: any-pod > subject pod:8080 TCP t1",
            "PR030 GuideUnsound mas-to-authelia",
            "note `mas.enabled` is false, which changes nothing here",
        ],
    );
}

#[test]
fn peers_alone_describe_a_deployment() {
    check(
        None,
        None,
        Some(&PEERS.replace("    dns: {host: 169.254.20.10}\n", "")),
        &[
            "traefik-to-mas: pods app=traefik in kube-system > subject 8080? TCP t0",
            "synapse-to-mas: pods app=synapse in matrix > subject 8080? TCP t0",
            "mas-to-postgres: subject > postgres/svc/matrix-db-rw 5432? TCP t0",
            "mas-to-synapse: subject > pods app=synapse in matrix pod:8008 TCP t0",
            "mas-to-smtp: subject > smtp.example.org 587 TCP t2",
            "mas-to-authelia: subject > 192.0.2.1/32 443 & 198.51.100.0/24 443 TCP t1",
            "!stranger-to-mas: any-pod > subject 8080? TCP t1",
        ],
    );
}

#[test]
fn a_named_peer_settles_a_contradiction() {
    check(
        Some("mas: {synapse: {endpoint: 'http://a'}, email: {enabled: false}}"),
        Some("matrix: {endpoint: 'http://b'}"),
        Some("spec: {peers: {synapse: {service: matrix/synapse, port: http}, smtp: {host: m}, postgers: {host: x}}}"),
        &[
            "traefik-to-mas: the ingress controller > subject pod:8080 TCP t0",
            "synapse-to-mas: matrix/svc/synapse > subject pod:8080 TCP t0",
            "mas-to-postgres: subject > unknown (peers.postgres) 5432? TCP t0",
            "mas-to-synapse: subject > matrix/svc/synapse http TCP t0",
            "!stranger-to-mas: any-pod > subject pod:8080 TCP t1",
            "PR026 UnknownKey spec.peers.postgers",
            "note no edge mas-to-smtp: `mas.email.enabled` is false (guide.yaml:1:57)",
            "note `spec.peers.smtp` is not used: no source asks for such an edge",
        ],
    );
}

#[test]
fn the_matrix_adds_edges_and_forbids_others() {
    let matrix = "
spec:
  subject: matrix/deploy/mas
  edges:
    - {name: admin-to-mas, from: tools/deploy/admin, to: subject, port: http}
    - {name: mas-to-proxy, from: subject, to: net/svc/squid, port: 3128/tcp}
    - {name: mas-to-resolver, from: subject, to: 192.0.2.53, port: 53, protocol: udp}
    - {name: mas-to-smtp, from: subject, to: 192.0.2.0/24, port: 25}
  forbid:
    - {name: mas-to-world, from: subject, to: world, port: 80}
";
    let edges = [
        "admin-to-mas: tools/deploy/admin > subject pod:http TCP t1",
        "mas-to-proxy: subject > net/svc/squid 3128 TCP t1",
        "mas-to-resolver: subject > 192.0.2.53 53 UDP t1",
        "mas-to-smtp: subject > 192.0.2.0/24 25 TCP t1",
        "!mas-to-world: subject > world 80 TCP t1",
        "note no guide, MAS config or peers: only the TrafficMatrix's own edges are intended",
    ];
    check(None, None, Some(matrix), &edges);
    let (with_matrix, _) = sources(None, None, Some(matrix));
    assert_eq!(
        derive(&with_matrix).subject.clone(),
        SubjectRule::Named(crate::matrix::parse_endpoint("matrix/deploy/mas").unwrap())
    );
    // Beside the guide a name that is taken gets a number.
    let (both, _) = sources(Some("mas: {}"), None, Some(matrix));
    let intent = derive(&both);
    assert!(intent.edges.iter().any(|edge| edge.name == "mas-to-smtp-2"));
    assert_eq!(intent.edges.last().map(|edge| edge.name.as_str()), Some("mas-to-stranger"));
}

#[test]
fn the_subject_is_found_by_image_unless_it_is_another_one() {
    let rule = |values: &str| derive(&sources(Some(values), None, None).0).subject;
    assert_eq!(rule(GUIDE), SubjectRule::ByImage);
    assert_eq!(rule("mas: {}"), SubjectRule::ByImage);
    assert_eq!(
        rule("mas: {image: {registry: r.example, repository: own/mas}}"),
        SubjectRule::Image("r.example/own/mas".into())
    );
    assert_eq!(rule("mas: {image: {registry: '', repository: own/mas}}"), SubjectRule::Image("own/mas".into()));
}

#[test]
fn what_only_the_controller_follows_is_noted() {
    let matrix =
        "spec: {guide: {valuesFrom: [{kind: HelmRelease, name: x, path: a.b}]}, masConfigFrom: [{name: mas-config}]}";
    let intent = derive(&sources(None, None, Some(matrix)).0);
    assert_eq!(intent.notes.len(), 2);
    let intent = derive(&sources(Some("mas: {}"), Some("{database: {host: d}}"), Some(matrix)).0);
    assert_eq!(intent.notes, Vec::<String>::new());
    // The guide's values may stand in the TrafficMatrix itself.
    let matrix = "spec: {guide: {values: {mas: {database: {host: db}}}}}";
    let intent = derive(&sources(None, None, Some(matrix)).0);
    assert_eq!(
        line(intent.edges.iter().find(|e| e.name == "mas-to-postgres").unwrap()),
        "mas-to-postgres: subject > db 5432 TCP t0"
    );
}

#[test]
fn no_secret_leaves_the_sources() {
    let secret = "CANARY-SECRET";
    let values = format!(
        "# {secret}\nmas:\n  x{secret}: 1\n  synapse: {{endpoint: 'http://u:{secret}@s/?t={secret}', sharedSecret: {secret}}}\n  secrets: {{encryptionSecret: {secret}}}\n  database: {{uri: 'postgresql://u:{secret}@d/m?password={secret}', password: {secret}}}\n  email: {{password: {secret}, username: {secret}}}\n  oidc: {{providers: [{{id: a, issuer: 'https://{secret}:x@i#{secret}', clientSecret: {secret}, clientId: {secret}}}]}}\n"
    )
    .replace(&format!("  x{secret}: 1\n"), "");
    let config = format!(
        "secrets: {{encryption: {secret}, keys: [{{key: {secret}}}]}}\nclients: [{{client_secret: {secret}}}]\nmatrix: {{secret: {secret}, endpoint: 'http://u:{secret}@s2/'}}\ndatabase: {{host: d2, username: mas, password: {secret}, database: m, ssl_key: {secret}}}\nemail: {{transport: smtp, mode: tls, hostname: h, username: {secret}, password: {secret}}}\nupstream_oauth2: {{providers: [{{id: b, issuer: 'https://i2', client_secret: {secret}, sign_in_with_apple: {{private_key: {secret}}}, token_endpoint: 'https://{secret}@t/'}}]}}\ncaptcha: {{service: hcaptcha, secret_key: {secret}}}\ntelemetry: {{sentry: {{dsn: 'https://{secret}@sentry/1'}}, tracing: {{exporter: otlp, endpoint: 'https://u:{secret}@o/'}}}}\nhttp: {{listeners: [{{resources: [{{name: oauth}}], binds: [{{port: 1}}], tls: {{key: {secret}, password: {secret}}}}}]}}\n"
    );
    let (sources, findings) = sources(Some(&values), Some(&config), None);
    let intent = derive(&sources);
    assert!(intent.edges.len() > 10 && !intent.findings.is_empty(), "the canaries pass through every rule");
    let all = format!("{sources:?} {findings:?} {intent:?} {}", show(&intent));
    assert!(!all.contains(secret), "{all}");
}

/// Every source there is, to be mangled line by line.
const CONFIG_LINES: &str = "http:
  public_base: https://auth.waadoo.ovh/
  listeners:
    - resources: [{name: discovery}, {name: human}, {name: oauth}, {name: prometheus}]
      binds:
        - address: '[::]:8080'
database:
  host: db
  port: 5432
matrix:
  endpoint: http://synapse:8008
email:
  transport: smtp
  mode: tls
  hostname: mail.example.org
upstream_oauth2:
  providers:
    - id: 01HFVBY12TMNTYTBV8W921M5FA
      issuer: https://authelia.waadoo.ovh
      discovery_mode: oidc
      token_endpoint: https://token.example.org/
telemetry:
  metrics: {exporter: prometheus}
  tracing: {exporter: otlp, endpoint: 'http://o:4318'}
";

/// Drops, hides or replaces lines.
fn mangle(text: &str, cuts: &[(usize, u8)]) -> String {
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    for (at, how) in cuts {
        let count = lines.len();
        let line = &mut lines[at % count];
        let key = line.split_once(": ").map(|(key, _)| key.to_owned());
        *line = match (how % 5, key) {
            (0, _) => String::new(),
            (1, Some(key)) => format!("{key}: ${{HIDDEN}}"),
            (2, Some(key)) => format!("{key}: localhost"),
            (3, Some(key)) => format!("{key}:"),
            (_, Some(key)) => format!("{key}: 1"),
            (_, None) => continue,
        };
    }
    lines.join("\n")
}

proptest::proptest! {
    #[test]
    fn mangled_sources_are_refused_or_give_a_whole_intent(
        guide_cuts in proptest::collection::vec((0..100_usize, 0..5_u8), 0..6),
        config_cuts in proptest::collection::vec((0..100_usize, 0..5_u8), 0..6),
    ) {
        let read = |file: &str, text: &str| yaml::parse(&Arc::from(file), text).0;
        let guide = read("guide.yaml", &mangle(GUIDE, &guide_cuts));
        let config = read("mas.yaml", &mangle(CONFIG_LINES, &config_cuts));
        let values = guide.first().and_then(|document| guide::values::read(document).ok()).map(|(values, _)| values);
        let mas_config = guide::mas_config::read(&config).ok().map(|(config, _)| config);
        let described = values.is_some() || mas_config.is_some();
        let intent = derive(&Sources { values, mas_config, matrix: None });
        let mut names: Vec<&str> = intent.edges.iter().map(|edge| edge.name.as_str()).collect();
        // DNS and the built-in deny edges are there whatever the sources look like.
        for name in ["mas-to-dns-udp", "mas-to-dns-tcp"] {
            proptest::prop_assert_eq!(names.contains(&name), described);
        }
        proptest::prop_assert!(names.ends_with(&["stranger-to-mas", "mas-to-stranger"]));
        proptest::prop_assert!(intent.edges.iter().all(|edge| !edge.from.is_empty() && !edge.to.is_empty()));
        proptest::prop_assert!(intent.edges.iter().all(|edge| !edge.provenance.is_empty()));
        names.sort_unstable();
        names.dedup();
        proptest::prop_assert_eq!(names.len(), intent.edges.len());
    }
}
