//! From configs that are proven clean, one thing is broken a row. Every secret in them is a canary.

use super::*;
use crate::source::yaml;
use crate::world::objects;

const MAS: &str = "\
http:
  public_base: https://auth.example.org/
  listeners:
  - name: web
    resources: [{name: discovery}, {name: human}, {name: oauth}]
    binds: [{address: \"[::]:8080\"}]
  - name: internal
    resources: [{name: health}]
    binds: [{host: \"0.0.0.0\", port: 8081}]
database: {uri: \"postgresql://mas:CANARY%2Fx@db:5432/mas\"}
matrix: {homeserver: example.org, endpoint: \"http://synapse:8008/\", secret: CANARY}
secrets: {encryption: CANARYCANARY, keys: [{kid: a, key: CANARY}]}
upstream_oauth2:
  providers:
  - {id: 01HFVBY12TMNTYTBV8W921M5FA, issuer: \"https://sso.example.org\", client_id: mas, client_secret: CANARY}
";

const SYNAPSE: &str = "\
server_name: example.org
matrix_authentication_service: {enabled: true, endpoint: \"http://mas:8080/\", secret: CANARY}
experimental_features: {msc4108_enabled: true}
";

const AUTHELIA: &str = "\
identity_providers:
  oidc:
    hmac_secret: CANARY
    clients:
    - client_id: grafana
      redirect_uris: [\"https://grafana.example.org/login\"]
    - client_id: mas
      client_secret: CANARY
      redirect_uris: [\"https://auth.example.org/upstream/callback/01HFVBY12TMNTYTBV8W921M5FA\"]
";

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: mas, namespace: matrix}
spec:
  template:
    spec:
      containers:
      - image: proxy
        livenessProbe: {tcpSocket: {port: 1}}
      - image: ghcr.io/element-hq/matrix-authentication-service:1.22.0
        ports: [{name: health, containerPort: 8081}]
        livenessProbe: {httpGet: {path: /health, port: health}}
        readinessProbe: {tcpSocket: {port: 8080}}
";

fn config_map(key: &str, text: &str) -> String {
    let indented = text.lines().fold(String::new(), |all, line| all + "    " + line + "\n");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {key}, namespace: matrix}}\ndata:\n  {key}: |\n{indented}"
    )
}

fn clean() -> [String; 4] {
    [
        config_map("config.yaml", MAS),
        config_map("homeserver.yaml", SYNAPSE),
        config_map("configuration.yml", AUTHELIA),
        DEPLOYMENT.to_owned(),
    ]
}

fn look(files: &[String], public_host: Option<&str>) -> Vec<Finding> {
    let mut collector = Collector::default();
    for text in files {
        let (documents, error) = yaml::parse(&Arc::from("world.yaml"), text);
        assert_eq!(error, None, "{text}");
        for object in documents.into_iter().flat_map(|document| objects(document, &mut Vec::new())) {
            collector.add(&object);
        }
    }
    assert!(!format!("{collector:?}").contains("CANARY"), "{collector:?}");
    let findings = collector.finish(public_host);
    assert!(!format!("{findings:?}").contains("CANARY"), "{findings:#?}");
    findings
}

/// Replaces text in the clean files, and says which one finding that must give: `Name object place`, and a part of its message.
#[track_caller]
fn broken(from: &str, to: &str, expect: &str, message: &str) -> Finding {
    let files = clean().map(|text| text.replace(from, to));
    assert_ne!(files, clean(), "{from} is in none of them");
    let findings = look(&files, None);
    let said: Vec<String> =
        findings.iter().map(|f| format!("{} {} {}", f.code.name(), f.object, f.place.as_ref().unwrap())).collect();
    assert_eq!(said, [expect], "{findings:#?}");
    assert!(findings[0].message.contains(message), "{}", findings[0].message);
    findings[0].clone()
}

#[test]
fn sound_configs_are_clean() {
    assert_eq!(look(&clean(), None), Vec::new());
    assert_eq!(look(&clean(), Some("other.example.org")), Vec::new());
}

#[test]
fn synapse_delegates_in_todays_form() {
    let msc = "experimental_features: {msc3861: {enabled: true, issuer: \"https://auth.example.org/\", client_secret: CANARY}}";
    broken(
        "experimental_features: {msc4108_enabled: true}",
        msc,
        "Msc3861Used ConfigMap/matrix/homeserver.yaml world.yaml:6:5",
        "`experimental_features.msc3861` (line 3 of homeserver.yaml) is the old way",
    );
    for none in ["experimental_features: {msc3861: {}}", "experimental_features: {msc3861: null}"] {
        let files = clean().map(|text| text.replace("experimental_features: {msc4108_enabled: true}", none));
        assert_eq!(look(&files, None), Vec::new());
    }
}

#[test]
fn authelia_knows_where_to_send_people_back() {
    let right = "https://auth.example.org/upstream/callback/01HFVBY12TMNTYTBV8W921M5FA";
    let place = "RedirectMismatch ConfigMap/matrix/configuration.yml world.yaml:6:5";
    for wrong in [
        "https://auth.example.org/oauth2/callback",
        "https://auth.example.org/upstream/callback/",
        "http://auth.example.org/upstream/callback/01HFVBY12TMNTYTBV8W921M5FA",
    ] {
        let finding = broken(
            right,
            wrong,
            place,
            "`identity_providers.oidc.clients[1].redirect_uris` (line 9 of configuration.yml)",
        );
        assert!(finding.fix.contains(right), "{}", finding.fix);
    }
    // With the guide's host only, the form is known and the id is not.
    let only =
        |uri: &str| look(&[config_map("configuration.yml", AUTHELIA).replace(right, uri)], Some("auth.example.org"));
    assert_eq!(only("https://auth.example.org/upstream/callback/01HFVBY12TMNTYTBV8W921M5FB"), Vec::new());
    assert_eq!(only("https://auth.example.org/oauth2/callback").len(), 1);
    assert_eq!(only("https://elsewhere.example.org/oauth2/callback"), Vec::new());
}

#[test]
fn secrets_are_there_and_real() {
    let place = "ConfigMap/matrix/config.yaml world.yaml:6:5";
    let missing = ", keys: [{kid: a, key: CANARY}]";
    broken(missing, "", &format!("SigningKeyMissing {place}"), "`secrets` (line 12 of config.yaml) has neither");
    broken(missing, ", keys: []", &format!("SigningKeyMissing {place}"), "`secrets`");
    let placeholder = format!("PlaceholderSecret {place}");
    for word in ["<secret1>", "changeme", "CHANGE_ME please", "\"\"", "null", "password"] {
        broken("CANARYCANARY", word, &placeholder, "`secrets.encryption` (line 12 of config.yaml) is ");
    }
    broken(
        "client_secret: CANARY}\n",
        "client_secret: <secret2>}\n",
        &placeholder,
        "`upstream_oauth2.providers.0.client_secret`",
    );
    // Encrypted or templated values come from somewhere.
    for other in ["\"ENC[AES256_GCM,data:x]\"", "\"{{ .Values.key }}\""] {
        let files = clean().map(|text| text.replace("CANARYCANARY", other));
        assert_eq!(look(&files, None), Vec::new());
    }
}

#[test]
fn variables_are_not_expanded() {
    let text = MAS.replace("CANARYCANARY", "\"${KEY} CANARY\"");
    let findings = look(&[config_map("mas.yaml", &text)], None);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(
        (findings[0].code, findings[0].object.as_str()),
        (Code::VariableNotExpanded, "ConfigMap/matrix/mas.yaml")
    );
    // Whose config it is stands in its content, whatever its name.
    assert_eq!(look(&[config_map("other.yaml", &text)], None).len(), 1);
    let mut collector = Collector::default();
    collector.mas_config(&yaml::parse(&Arc::from("config.yaml"), &text).0);
    let findings = collector.finish(None);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!(findings[0].message, "`secrets.encryption` holds a variable, which MAS does not expand");
    assert_eq!(findings[0].place.as_ref().unwrap().to_string(), "config.yaml:12:23");
}

#[test]
fn the_database_uri_can_be_read() {
    let place = "DatabaseUriBroken ConfigMap/matrix/config.yaml world.yaml:6:5";
    for (uri, why) in [
        ("CANARY/x@db", "an `@` stands after the host"),
        ("CANARY#x@db", "an `@` stands after the host"),
        ("CANARY%x@db", "a percent sign"),
    ] {
        broken("CANARY%2Fx@db", uri, place, why);
    }
}

#[test]
fn a_providers_id_is_a_ulid() {
    broken(
        "id: 01HFVBY12TMNTYTBV8W921M5FA, issuer",
        "id: authelia, issuer",
        "ProviderIdInvalid ConfigMap/matrix/config.yaml world.yaml:6:5",
        "`upstream_oauth2.providers[0].id` (line 15 of config.yaml) is no ULID",
    );
}

#[test]
fn the_kubelet_reaches_what_it_probes() {
    let health = "ProbeUnreachable Deployment/matrix/mas world.yaml:12:56";
    broken(
        "host: \"0.0.0.0\"",
        "host: localhost",
        health,
        "the livenessProbe of MAS asks port 8081, where MAS listens on localhost only",
    );
    broken("port: 8081}]", "port: 8082}]", health, "where MAS does not listen");
    broken("[{name: health}]\n", "[{name: prometheus}]\n", health, "does not serve `health`");
    // Without `http.listeners`, MAS's own default is localhost.
    let at = MAS.find("  listeners:").unwrap()..MAS.find("database:").unwrap();
    let default = [config_map("config.yaml", &MAS.replace(&MAS[at], "")), DEPLOYMENT.to_owned()];
    let findings = look(&default, None);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert!(findings[0].message.contains("listens on localhost only"), "{}", findings[0].message);
    // What is not shown is not judged.
    let hidden = clean().map(|text| text.replace("binds: [{host: \"0.0.0.0\", port: 8081}]", "binds: [{fd: 0}]"));
    assert!(look(&hidden, None).iter().all(|finding| finding.code != Code::ProbeUnreachable));
    assert_eq!(look(&[DEPLOYMENT.to_owned()], None), Vec::new());
}

#[test]
fn files_of_their_own_are_cited_to_the_line_and_merge() {
    let read = |name: &str, text: &str| yaml::parse(&Arc::from(name), text).0.remove(0);
    let check = |documents: &[Document]| {
        let mut collector = Collector::default();
        collector.mas_config(documents);
        collector.finish(None)
    };
    let without = MAS.replace(", keys: [{kid: a, key: CANARY}]", "");
    let findings = check(&[read("config.yaml", &without)]);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let place = findings[0].place.as_ref().unwrap().to_string();
    assert_eq!((findings[0].object.as_str(), place.as_str()), ("secrets", "config.yaml:12:10"));
    let keys = read("keys.yaml", "secrets: {keys_dir: /keys}\n");
    assert_eq!(check(&[read("config.yaml", &without), keys]), Vec::new());
}

#[test]
fn secrets_and_large_values_are_not_read() {
    let secret =
        config_map("config.yaml", &MAS.replace("CANARYCANARY", "changeme")).replace("kind: ConfigMap", "kind: Secret");
    assert_eq!(look(&[secret], None), Vec::new());
    let large = format!("{}note: {}\n", MAS.replace("CANARYCANARY", "changeme"), "x".repeat(configs::MAX_TEXT));
    assert_eq!(look(&[config_map("config.yaml", &large)], None), Vec::new());
    assert_eq!(look(&[config_map("other.yaml", "server_name: [\nbroken")], None), Vec::new());
}
