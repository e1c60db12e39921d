use super::*;
use crate::source::yaml;

const GUIDE: &str = include_str!("../../../policies/guide-values.yaml");

fn document(text: &str) -> Document {
    let (mut documents, error) = yaml::parse(&Arc::from("v.yaml"), text);
    assert_eq!(error, None);
    documents.remove(0)
}

fn read_text(text: &str) -> Result<(GuideValues, Vec<String>), String> {
    let shown = |f: &Finding| format!("{} {} {}", f.code.code(), f.place.as_ref().unwrap(), f.message);
    read(&document(text))
        .map(|(values, findings)| (values, findings.iter().map(shown).collect()))
        .map_err(|error| error.to_string())
}

#[test]
fn the_block_is_found_wherever_it_stands() {
    let plain = read_text(GUIDE).unwrap();
    assert_eq!(plain.1, Vec::<String>::new());
    let indented = |by: usize| GUIDE.lines().map(|line| " ".repeat(by) + line).collect::<Vec<_>>().join("\n");
    let in_values = format!("synapse: {{replicas: 1}}\nmas2: x\n{GUIDE}");
    let release =
        format!("apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec:\n  values:\n{}", indented(4));
    let matrix = format!(
        "apiVersion: portreeve.io/v1alpha1\nkind: TrafficMatrix\nspec:\n  guide:\n    values:\n{}",
        indented(6)
    );
    for (text, key) in [(in_values, "mas"), (release, "spec.values.mas"), (matrix, "spec.guide.values.mas")] {
        let (values, findings) = read_text(&text).unwrap();
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(values.block.key, key);
        assert_eq!(values.synapse_endpoint.known(), plain.0.synapse_endpoint.known());
        assert_eq!(values.providers.len(), 1);
    }
}

#[track_caller]
fn check_error(text: &str, expect: &str) {
    assert_eq!(read_text(text).map(|_| ()), Err(expect.to_owned()), "{text}");
}

#[test]
fn what_is_no_block_is_refused() {
    check_error("a: 1", "v.yaml:1:1: no `mas:` block here: the guide's values have `mas` as a top-level key");
    check_error("just text", "v.yaml:1:1: the guide's values are a mapping with the key `mas`; this is none");
    check_error("- mas: {}", "v.yaml:1:1: the guide's values are a mapping with the key `mas`; this is none");
    check_error("mas:", "v.yaml:1:4: the `mas:` block is empty: paste the guide's values below it");
    check_error("mas: 1", "v.yaml:1:6: mas: expected a mapping, found a number");
    check_error(
        "mas: {{ toYaml .Values.mas }}",
        "v.yaml:1:6: the whole `mas:` block is a template: give a file that holds its values",
    );
    check_error(
        "kind: HelmRelease\nspec: {valuesFrom: []}",
        "v.yaml:1:1: this HelmRelease has no spec.values.mas: give the values file that it refers to",
    );
    check_error(
        "kind: Secret",
        "v.yaml:1:1: this is a Kubernetes object without a `mas:` block: give the chart's values",
    );
}

#[test]
fn wrong_types_are_errors_without_the_value() {
    // Proven clean first; then one thing is broken at a time.
    let clean = "mas:\n  enabled: true\n  service: {targetPort: 8080}\n  ingress: {host: a.b}\n  synapse: {endpoint: 'http://a'}\n  email: {mode: tls, port: 25}\n";
    assert_eq!(read_text(clean).unwrap().1, Vec::<String>::new());
    let check = |from: &str, to: &str, expect: &str| {
        assert!(clean.contains(from), "{from}");
        check_error(&clean.replace(from, to), expect);
    };
    check("enabled: true", "enabled: 'true'", "v.yaml:2:12: mas.enabled: expected true or false, found text");
    check(
        "targetPort: 8080",
        "targetPort: 0",
        "v.yaml:3:25: mas.service.targetPort: expected a number from 1 to 65535 or a port's name",
    );
    check(
        "targetPort: 8080",
        "targetPort: [1]",
        "v.yaml:3:25: mas.service.targetPort: expected a number from 1 to 65535 or a port's name, found a list",
    );
    check("host: a.b", "host: 'a b'", "v.yaml:4:19: mas.ingress.host: this is no host name");
    check("host: a.b", "host: 1", "v.yaml:4:19: mas.ingress.host: expected text, found a number: put it in quotes");
    check(
        "'http://a'",
        "a:8008",
        "v.yaml:5:23: mas.synapse.endpoint: expected a URL that begins with http:// or https://",
    );
    check("mode: tls", "mode: ssl", "v.yaml:6:17: mas.email.mode: expected one of plain, starttls, tls");
    check("port: 25", "port: 0", "v.yaml:6:28: mas.email.port: expected a port from 1 to 65535");
    check("port: 25", "port: 70000", "v.yaml:6:28: mas.email.port: expected a port from 1 to 65535");
    check("service: {targetPort: 8080}", "service: 1", "v.yaml:3:12: mas.service: expected a mapping, found a number");
}

#[test]
fn unknown_keys_and_hidden_values_are_findings() {
    let (values, findings) = read_text(
        "mas:\n  enabeld: true\n  synapse:\n    endpoint: ${SYNAPSE}\n    sharedSecret: ENC[x]\n  email: {{ .Values.email }}\n  oidc:\n    providers:\n      - {id: a, isuer: x, issuer: 'ENC[y]'}\n      - ENC[z]\n",
    )
    .unwrap();
    assert_eq!(
        findings,
        [
            "PR026 v.yaml:2:3 mas: unknown key `enabeld`: did you mean `enabled`?",
            "PR026 v.yaml:9:17 mas.oidc.providers[0]: unknown key `isuer`: did you mean `issuer`?",
            "PR028 v.yaml:9:35 `mas.oidc.providers[0].issuer` is encrypted, so what it says is not known here",
            "PR028 v.yaml:10:9 `mas.oidc.providers[1]` is encrypted, so what it says is not known here",
            "PR028 v.yaml:4:15 `mas.synapse.endpoint` is a ${VARIABLE}, so what it says is not known here",
            "PR028 v.yaml:6:10 `mas.email.enabled` is a template, so what it says is not known here",
        ]
    );
    assert!(matches!(values.synapse_endpoint, Setting::Hidden(_)));
    assert_eq!(values.providers.len(), 2);
    assert!(matches!(values.providers[1].issuer, Setting::Hidden(_)));
}

#[test]
fn broken_yaml_never_shows_a_secret() {
    let secret = "CANARY-SECRET";
    for text in [
        format!("mas:\n  synapse:\n    sharedSecret: {secret}\n\tendpoint: x\n"),
        format!("mas:\n  synapse: {{sharedSecret: {secret}, sharedSecret: {secret}}}\n"),
        format!("mas:\n  secrets: {{encryptionSecret: {secret}\n"),
        format!("mas:\n  synapse: {{sharedSecret: {secret}, endpoint: '{secret}'}}\n"),
        format!(
            "mas:\n  secrets: {{encryptionSecret: {secret}}}\n  database: {{password: {secret}, port: {secret}}}\n"
        ),
        format!("mas:\n  database: {{uri: 'postgresql://u:{secret}'}}\n"),
        format!("mas:\n  database: {{uri: '{secret}'}}\n"),
        format!("mas: {secret}\n"),
        format!("{secret}\n"),
    ] {
        let (documents, error) = yaml::parse(&Arc::from("v.yaml"), &text);
        let results: Vec<_> = documents.iter().map(read).collect();
        let all = format!("{error:?} {error:#?} {results:?}");
        assert!(error.is_some() || results.iter().all(Result::is_err), "every one of these is broken: {all}");
        assert!(!all.contains(secret), "{all}");
    }
}
