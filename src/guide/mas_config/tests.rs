use super::*;
use crate::guide::DatabaseServer;
use crate::source::yaml;

fn documents(texts: &[&str]) -> Vec<Document> {
    let mut all = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let (documents, error) = yaml::parse(&Arc::from(format!("{}.yaml", ["a", "b", "c"][index])), text);
        assert_eq!(error, None);
        all.extend(documents);
    }
    all
}

fn config(texts: &[&str]) -> MasConfig {
    let (config, findings) = read(&documents(texts)).unwrap();
    assert_eq!(findings, []);
    config
}

#[track_caller]
fn check_error(texts: &[&str], expect: &str) {
    let got = read(&documents(texts)).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(got, Err(expect.to_owned()), "{texts:?}");
}

#[test]
fn later_files_win_and_lists_are_joined() {
    let merged = config(&[
        "matrix: {endpoint: 'http://a', secret_file: /s}\nemail: {transport: smtp, mode: tls, hostname: h}\nupstream_oauth2: {providers: [{id: x, issuer: 'https://x'}]}",
        "matrix: {endpoint: 'http://b'}\nemail: {port: 2525}\nupstream_oauth2: {providers: [{id: z, issuer: 'https://z'}]}",
        "http: {listeners: [{resources: [{name: oauth}], binds: [{port: 1}]}]}\nemail: {mode: plain}",
    ]);
    let Setting::Known(endpoint, cite) = &merged.endpoint else { panic!("{:?}", merged.endpoint) };
    assert_eq!((endpoint.as_str(), cite.place.to_string()), ("http://b", "b.yaml:1:20".to_owned()));
    assert_eq!(merged.email.mode.known(), Some(&SmtpMode::Plain));
    assert_eq!(merged.email.port.known(), Some(&2525));
    assert_eq!(merged.email.hostname.known(), Some(&MailHost::Host("h".into())));
    let ids: Vec<_> = merged.providers.iter().map(|p| p.cite.key.as_str()).collect();
    assert_eq!(ids, ["upstream_oauth2.providers[0]", "upstream_oauth2.providers[1]"]);
    let places: Vec<String> = merged.providers.iter().map(|p| p.cite.place.to_string()).collect();
    assert_eq!(places, ["a.yaml:3:31", "b.yaml:3:31"]);
}

#[test]
fn the_database_has_one_way_to_be_named() {
    let refused =
        |field: &str| format!("`database.uri` and `database.{field}` are both given: MAS refuses that, keep one");
    for field in ["host: db", "port: 1", "socket: /s", "username: u", "password: p", "password_file: /p", "database: m"]
    {
        let name = field.split(':').next().unwrap();
        let text = format!("database: {{uri: 'postgresql://db', {field}}}");
        check_error(&[&text], &format!("a.yaml:1:17: {}", refused(name)));
    }
    // Also when the two stand in two files, which MAS merges first.
    check_error(
        &["database: {uri: 'postgresql://db'}", "database: {host: db}"],
        &format!("a.yaml:1:17: {}", refused("host")),
    );
    let fine = config(&["database: {uri: 'postgresql://db', ssl_mode: require, max_connections: 5}"]);
    assert_eq!(fine.database.server.known(), Some(&DatabaseServer::Host("db".into())));
}

#[test]
fn binds_are_read_in_serdes_order() {
    let bind = |text: &str| {
        let text = format!("http: {{listeners: [{{resources: [{{name: oauth}}], binds: [{text}]}}]}}");
        let read = config(&[&text]);
        let Setting::Known(listeners, _) = read.listeners else { panic!("{text}") };
        match &listeners[0].binds[0] {
            Bind::Port(port, _) => format!("{port}"),
            Bind::Loopback(port, _) => format!("loopback {port}"),
            Bind::Unix(_) => "unix".to_owned(),
            Bind::Unknown(_) => "unknown".to_owned(),
        }
    };
    assert_eq!(bind("{address: '[::]:8080'}"), "8080");
    assert_eq!(bind("{address: '0.0.0.0:8080'}"), "8080");
    assert_eq!(bind("{address: 'localhost:8080'}"), "loopback 8080");
    assert_eq!(bind("{address: '[::1]:8080'}"), "loopback 8080");
    assert_eq!(bind("{port: 1}"), "1");
    assert_eq!(bind("{host: '', port: 1}"), "1");
    assert_eq!(bind("{host: '::', port: 1}"), "1");
    assert_eq!(bind("{host: localhost, port: 1}"), "loopback 1");
    assert_eq!(bind("{host: 127.1.2.3, port: 1}"), "loopback 1");
    assert_eq!(bind("{port: 1, address: 'localhost:2'}"), "1");
    assert_eq!(bind("{socket: /s}"), "unix");
    assert_eq!(bind("{fd: 0}"), "unknown");
    assert_eq!(bind("{}"), "unknown");
}

#[test]
fn what_is_no_config_is_refused() {
    check_error(&["text"], "a.yaml:1:1: MAS's config is a mapping; this is none");
    check_error(
        &["apiVersion: v1\nkind: ConfigMap"],
        "a.yaml:1:1: this is a Kubernetes object, not MAS's config: give the config.yaml that it carries",
    );
    check_error(
        &["database: {port: '5432'}"],
        "a.yaml:1:18: database.port: expected a port from 1 to 65535, found text",
    );
    check_error(
        &["email: {transport: aws}"],
        "a.yaml:1:20: email.transport: expected one of blackhole, smtp, sendmail",
    );
    check_error(
        &["http: {listeners: [{binds: [{address: '[::]'}]}]}"],
        "a.yaml:1:39: http.listeners[0].binds[0].address: expected host:port, for example [::]:8080",
    );
    check_error(
        &["upstream_oauth2: {providers: {}}"],
        "a.yaml:1:30: upstream_oauth2.providers: expected a list, found a mapping",
    );
    // Nothing at all is a config too: MAS has a default for everything that edges depend on.
    assert_eq!(config(&[]), MasConfig::default());
}

#[test]
fn unknown_keys_and_hidden_values_are_findings() {
    let text = "databse: {}\nemail: ENC[x]\nhttp:\n  listeners:\n    - resources: [{name: '${R}'}]\n      binds: [{address: '${A}'}, {host: '${H}', port: 1}]\n    - '${L}'\npasswords: {enabled: '${P}'}\n";
    let (config, findings) = read(&documents(&[text])).unwrap();
    let shown: Vec<String> =
        findings.iter().map(|f| format!("{} {} {}", f.code.code(), f.place.as_ref().unwrap(), f.object)).collect();
    assert_eq!(
        shown,
        [
            "PR026 a.yaml:1:1 MAS's config",
            "PR028 a.yaml:5:26 http.listeners[0].resources[0].name",
            "PR028 a.yaml:6:25 http.listeners[0].binds[0].address",
            "PR028 a.yaml:6:41 http.listeners[0].binds[1].host",
            "PR028 a.yaml:7:7 http.listeners[1]",
            "PR028 a.yaml:2:8 email.transport",
            "PR028 a.yaml:8:22 passwords.enabled",
        ]
    );
    assert!(findings[0].message.contains("did you mean `database`?"), "{}", findings[0].message);
    assert!(matches!(config.email.transport, Setting::Hidden(_)));
}

#[test]
fn errors_never_show_a_secret() {
    let secret = "CANARY-SECRET";
    for text in [
        format!("database: {{uri: 'postgresql://u:{secret}'}}"),
        format!("database: {{uri: 'postgresql://u:{secret}/x@db/m'}}"),
        format!("database: {{uri: '{secret}'}}"),
        format!("database: {{password: {secret}, port: {secret}}}"),
        format!("telemetry: {{sentry: {{dsn: {secret}}}}}"),
        format!("matrix: {{secret: {secret}, endpoint: '{secret}'}}"),
        format!("matrix: {{secret: {secret}, endpoint: [{secret}]}}"),
        format!("matrix: {{secret: {secret}, secret: {secret}}}"),
        format!("matrix: {{secret: {secret}\n\tendpoint: x"),
        secret.to_owned(),
    ] {
        let (documents, error) = yaml::parse(&Arc::from("c.yaml"), &text);
        let result = read(&documents);
        assert!(error.is_some() || result.is_err(), "{text} is broken");
        let all = format!("{error:?} {result:?}");
        assert!(!all.contains(secret), "{all}");
    }
}
