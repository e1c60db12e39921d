mod crd;

use super::*;
use crate::source::yaml;
use crate::world::Protocol;

const HEAD: &str = "apiVersion: portreeve.io/v1alpha1\nkind: TrafficMatrix\nmetadata: {name: mas, namespace: matrix}\n";

fn read_text(text: &str) -> Result<(TrafficMatrix, Vec<Finding>), String> {
    let (documents, error) = yaml::parse(&Arc::from("t.yaml"), text);
    match error {
        Some(error) => Err(error.to_string()),
        None => read(&documents[0]).map_err(|error| error.to_string()),
    }
}

fn spec(text: &str) -> Result<(TrafficMatrix, Vec<Finding>), String> {
    read_text(&format!("{HEAD}spec: {text}\n"))
}

/// Everything of product.md §4.
const FULL: &str = "apiVersion: portreeve.io/v1alpha1
kind: TrafficMatrix
metadata: {name: mas, namespace: matrix, labels: {a: b}}
spec:
  guide:
    values: {mas: {enabled: true, synapse: {endpoint: 'http://s', sharedSecret: ''}}}
    valuesFrom: [{kind: ConfigMap, name: values, path: values.yaml}]
  masConfigFrom: [{kind: ConfigMap, name: mas-config}]
  subject: matrix/deploy/mas
  peers:
    smtp: {host: smtp.example.org, port: 587, allowPrivate: [10.0.0.0/8]}
    postgres: {service: postgres/matrix-db-rw}
    otlp: {cidrs: [192.0.2.0/24, 2001:db8::1], port: 4318}
    synapse: {selector: {namespace: matrix, podSelector: {matchLabels: {app: synapse}}}, port: http}
  edges:
    - {name: a, from: subject, to: world, port: 443}
  forbid:
    - {name: stranger-to-mas, from: any-pod, to: subject, port: 8080/tcp, protocol: TCP}
  mode: Enforce
  directions: [Egress]
  policies: {owner: Git}
  rollout: {strategy: Immediate, window: 1m30s}
  deletionPolicy: Remove
  probe: {interval: 5s, deepInterval: 10m, caConfigMap: roots}
  names: {grace: 2h, max: 7}
  adopt: [old-policy]
status: {anything: [1]}
";

#[test]
fn all_of_it_is_read() {
    let (matrix, findings) = read_text(FULL).unwrap();
    assert_eq!(findings, []);
    assert_eq!(matrix.name.to_string(), "matrix/mas");
    assert_eq!(matrix.guide.as_ref().unwrap().synapse_endpoint.known().unwrap().host, "s");
    assert_eq!(matrix.values_from[0].kind, ValuesKind::ConfigMap);
    assert_eq!(matrix.mas_config_from[0].key, "config.yaml");
    assert_eq!(matrix.subject.as_ref().unwrap().0.to_string(), "matrix/deploy/mas");
    let peers: Vec<String> = matrix
        .peers
        .iter()
        .map(|p| {
            let parties: Vec<String> = p.parties.iter().map(ToString::to_string).collect();
            format!("{} {} {:?}", p.key, parties.join(" & "), p.port.as_ref().map(ToString::to_string))
        })
        .collect();
    assert_eq!(
        peers,
        [
            "otlp 192.0.2.0/24 & 2001:db8::1/128 Some(\"4318\")",
            "postgres postgres/svc/matrix-db-rw None",
            "smtp smtp.example.org Some(\"587\")",
            "synapse pods app=synapse in matrix Some(\"http\")",
        ]
    );
    assert_eq!(matrix.edges[0].cite.place.to_string(), "t.yaml:16:7");
    assert_eq!(matrix.forbid.as_ref().unwrap()[0].protocol, Protocol::Tcp);
    assert_eq!(
        (matrix.mode, matrix.owner, matrix.deletion_policy),
        (Mode::Enforce, Owner::Git, DeletionPolicy::Remove)
    );
    assert_eq!(matrix.directions, Directions { ingress: false, egress: true });
    assert_eq!(matrix.rollout, Rollout { strategy: Strategy::Immediate, window: Duration::from_secs(90) });
    assert_eq!(matrix.probe.ca_config_map.as_deref(), Some("roots"));
    assert_eq!(matrix.names, NamesSpec { grace: Duration::from_hours(2), max: 7 });
    assert_eq!(matrix.adopt, ["old-policy"]);
}

#[test]
fn nothing_means_the_defaults() {
    for text in [format!("{HEAD}spec: {{}}"), HEAD.to_owned(), format!("{HEAD}spec:\n")] {
        let (matrix, findings) = read_text(&text).unwrap();
        assert_eq!(findings, []);
        assert_eq!(
            (matrix.mode, matrix.owner, matrix.deletion_policy),
            (Mode::Audit, Owner::Controller, DeletionPolicy::Keep)
        );
        assert_eq!(matrix.directions, Directions { ingress: true, egress: true });
        assert_eq!(matrix.rollout, Rollout { strategy: Strategy::Confirm, window: Duration::from_mins(2) });
        assert_eq!(matrix.probe.interval, Duration::from_secs(15));
        assert_eq!(matrix.probe.deep_interval, Duration::from_mins(5));
        assert_eq!(matrix.names, NamesSpec { grace: Duration::from_hours(1), max: 100 });
        assert!(matrix.forbid.is_none() && matrix.guide.is_none() && matrix.subject.is_none());
    }
}

/// Breaks one thing of the full example, which is proven clean above.
#[track_caller]
fn check(from: &str, to: &str, expect: &str) {
    assert!(FULL.contains(from), "{from} is not in the example");
    let got = read_text(&FULL.replacen(from, to, 1)).map(|_| ());
    assert_eq!(got, Err(expect.to_owned()));
}

#[test]
fn broken_settings() {
    check(
        "kind: TrafficMatrix",
        "kind: Trafficmatrix",
        "t.yaml:1:1: not a TrafficMatrix: apiVersion portreeve.io/v1alpha1 and kind TrafficMatrix are expected",
    );
    check(
        "name: mas, namespace",
        "nam: mas, namespace",
        "t.yaml:1:1: metadata.name is missing: name the TrafficMatrix",
    );
    check("status:", "staus:", "t.yaml:27:1: unknown key `staus`: did you mean `status`?");
    check("  mode:", "  mod:", "t.yaml:19:3: spec: unknown key `mod`: did you mean `mode`?");
    check("mode: Enforce", "mode: enforce", "t.yaml:19:9: spec.mode: expected one of Off, Audit, Enforce");
    check("mode: Enforce", "mode: Off", "t.yaml:19:9: spec.mode: expected text, found a boolean: put it in quotes");
    check("[Egress]", "[]", "t.yaml:20:15: spec.directions: the list is empty: name Ingress, Egress or both");
    check("1m30s", "90", "t.yaml:22:42: spec.rollout.window: expected text, found a number: put it in quotes");
    check(
        "1m30s",
        "1x",
        "t.yaml:22:42: spec.rollout.window: a duration is expected, for example 15s, 5m or 1h30m, more than nothing",
    );
    check("interval: 5s", "interval: 500ms", "t.yaml:24:21: spec.probe.interval: a duration from 1s to 1h is expected");
    check(
        "deepInterval: 10m",
        "deepInterval: 25h",
        "t.yaml:24:39: spec.probe.deepInterval: a duration from 1s to 24h is expected",
    );
    check("max: 7", "max: 0", "t.yaml:25:27: spec.names.max: a limit of 0 would allow no address at all");
}

#[test]
fn broken_peers() {
    check(
        "subject: matrix/deploy/mas",
        "subject: world",
        "t.yaml:9:12: spec.subject: a workload is expected, for example matrix/deploy/mas",
    );
    check(
        "subject: matrix/deploy/mas",
        "subject: mas",
        "t.yaml:9:12: spec.subject: `mas` is no endpoint: write ns/pod, ns/deploy/name, ns/svc/name, an address, a CIDR, node/name, subject, any-pod or world",
    );
    check(
        "{service: postgres/matrix-db-rw}",
        "{}",
        "t.yaml:12:15: spec.peers.postgres: exactly one of service, selector, host and cidrs is expected",
    );
    check(
        "{service: postgres/matrix-db-rw}",
        "{service: a/b, host: c}",
        "t.yaml:12:15: spec.peers.postgres: exactly one of service, selector, host and cidrs is expected",
    );
    check(
        "{service: postgres/matrix-db-rw}",
        "{service: db}",
        "t.yaml:12:25: spec.peers.postgres.service: a Service is expected, for example postgres/matrix-db-rw",
    );
    check(
        "service: postgres/matrix-db-rw",
        "service: a/b, allowPrivate: [10.0.0.0/8]",
        "t.yaml:12:15: spec.peers.postgres: allowPrivate is for a host's addresses: it needs `host`",
    );
    check(
        "host: smtp.example.org",
        "host: 'smtp.example.org:587'",
        "t.yaml:11:18: spec.peers.smtp.host: a host name or address is expected, without scheme and port",
    );
    check(
        "port: 587,",
        "port: 587/tcp,",
        "t.yaml:11:42: spec.peers.smtp.port: write the port alone: the edge knows its protocol",
    );
    check(
        "192.0.2.0/24",
        "192.0.2.1/24",
        "t.yaml:13:20: spec.peers.otlp.cidrs[0]: `192.0.2.1/24` has host bits set: write 192.0.2.0/24",
    );
    check(
        "[192.0.2.0/24, 2001:db8::1]",
        "[]",
        "t.yaml:13:19: spec.peers.otlp.cidrs: the list is empty: name at least one range",
    );
    check(
        "{matchLabels: {app: synapse}}",
        "{}",
        "t.yaml:14:25: spec.peers.synapse.selector: podSelector.matchLabels is empty: that would be every pod of the namespace",
    );
    check(
        "matchLabels",
        "matchExpressions",
        "t.yaml:14:59: spec.peers.synapse.selector.podSelector: unknown key `matchExpressions`: known are matchLabels",
    );
}

#[test]
fn broken_edges() {
    check(
        "name: a, from",
        "name: A, from",
        "t.yaml:16:7: spec.edges[0].name: a name has lower-case letters, digits and `-`, at most 63",
    );
    check(
        "name: stranger-to-mas",
        "name: a",
        "t.yaml:18:7: spec.forbid[0].name: two edges have this name: names are unique in a matrix",
    );
    check("to: world, port: 443", "to: world", "t.yaml:16:7: spec.edges[0]: `port` is missing");
    check(
        "to: world, port: 443",
        "to: world, port: https",
        "t.yaml:16:49: spec.edges[0].port: only pods and Services have named ports: write a number",
    );
    check(
        "to: world, port: 443",
        "to: world, port: 0",
        "t.yaml:16:49: spec.edges[0].port: expected a port from 1 to 65535",
    );
    check("to: world", "to: wrld", "t.yaml:16:36: spec.edges[0].to: `wrld` is no endpoint: did you mean `world`?");
    check(
        "8080/tcp",
        "8080/udp",
        "t.yaml:18:65: spec.forbid[0].port: the port and `protocol` name different protocols: keep one",
    );
    check(
        "kind: ConfigMap, name: mas-config",
        "kind: Secret, name: mas-config",
        "t.yaml:8:19: spec.masConfigFrom[0].kind: only ConfigMaps are read, never Secrets: `portreeve init` writes their hosts into peers",
    );
    check("values: {mas: {", "values: {max: {", "t.yaml:6:13: spec.guide.values: there is no `mas:` block in it");
    check(
        "endpoint: 'http://s'",
        "endpoint: s",
        "t.yaml:6:55: spec.guide.values.mas.synapse.endpoint: expected a URL that begins with http:// or https://",
    );
}

#[test]
fn roots_that_are_no_mapping_are_refused() {
    let expect = "t.yaml:1:1: a TrafficMatrix is a mapping with apiVersion, kind, metadata and spec; this is none";
    assert_eq!(read_text("text").map(|_| ()), Err(expect.to_owned()));
    assert_eq!(read_text("[1]").map(|_| ()), Err(expect.to_owned()));
}

#[test]
fn hidden_values_are_findings_and_change_nothing() {
    let (matrix, findings) = spec(
        "{mode: '${MODE}', subject: 'ENC[x]', peers: {smtp: {host: '${SMTP}'}, dns: '${D}'}, edges: [{name: a, from: subject, to: '${TO}', port: 1}]}",
    )
    .unwrap();
    let objects: Vec<&str> = findings.iter().map(|finding| finding.object.as_str()).collect();
    assert_eq!(objects, ["spec.subject", "spec.peers.dns", "spec.peers.smtp.host", "spec.edges[0].to", "spec.mode"]);
    assert_eq!((matrix.mode, matrix.edges.len(), matrix.peers.len()), (Mode::Audit, 0, 2));
    assert!(matrix.peers.iter().all(|peer| peer.parties.is_empty()));
}

#[test]
fn a_secret_in_the_guides_values_is_refused() {
    let secret = "CANARY-SECRET";
    let refused = |values: &str| {
        let result = spec(&format!("{{guide: {{values: {{mas: {values}}}}}}}"));
        let text = format!("{result:?}");
        assert!(!text.contains(secret), "{text}");
        result.map(|_| ())
    };
    for (values, key) in [
        (format!("{{synapse: {{sharedSecret: {secret}}}}}"), "synapse.sharedSecret"),
        (format!("{{secrets: {{encryptionSecret: {secret}}}}}"), "secrets.encryptionSecret"),
        (format!("{{secrets: {{signing: {secret}}}}}"), "secrets.signing"),
        (format!("{{secrets: {{rsa: {{pem: {secret}}}}}}}"), "secrets.rsa.pem"),
        (format!("{{oidc: {{providers: [{{clientSecret: {secret}}}]}}}}"), "oidc.providers[0].clientSecret"),
        (format!("{{email: {{password: {secret}}}}}"), "email.password"),
        ("{email: {password: 12345}}".to_owned(), "email.password"),
        (format!("{{email: {{password: 'ENC[{secret}]'}}}}"), "email.password"),
        (format!("{{email: {{password: '${{{secret}}}'}}}}"), "email.password"),
        (format!("{{database: {{uri: 'postgresql://u:{secret}@d'}}}}"), "database.uri"),
        (format!("{{synapse: {{endpoint: 'http://u:{secret}@s'}}}}"), "synapse.endpoint"),
        (format!("{{whatever: {{admin_token: {secret}}}}}"), "whatever.admin_token"),
    ] {
        let error = refused(&values).unwrap_err();
        assert!(
            error.ends_with(&format!("spec.guide.values.mas.{key}: leave it empty, portreeve never needs it")),
            "{error}"
        );
    }
    for values in [
        "{synapse: {sharedSecret: ''}, secrets: {encryptionSecret: ''}}",
        "{synapse: {sharedSecret: null}}",
        "{ingress: {tls: {secretName: mas-tls}}}",
        "{secrets: {existingSecret: x}, database: {existingSecret: y}}",
        "{features: {passwordReset: true, passwordChange: true}}",
    ] {
        assert_eq!(refused(values), Ok(()), "{values}");
    }
}

#[test]
fn durations_are_gos() {
    let check =
        |text: &str, millis: Option<u64>| assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
    check("120s", Some(120_000));
    check("1h30m", Some(5_400_000));
    check("250ms", Some(250));
    for text in ["", "0s", "5", "s", "-5s", "1.5s", "5 s", "99999999999999999999s", "18446744073709551615h"] {
        check(text, None);
    }
}
