use super::*;

#[track_caller]
fn check_subject(rule: SubjectRule, text: &str, expect: Result<&str, &str>) {
    let world = small_world(text);
    let resolution = resolve(&Intent { subject: rule, ..Intent::default() }, Some(&world));
    let subject = resolution.subject.map(|s| {
        let names: Vec<_> = s.pods.iter().map(|id| world.pod(*id).name.name.clone()).collect();
        format!("{} {:?} {names:?}", s.namespace, s.selector)
    });
    match expect {
        Ok(expect) => assert_eq!((subject.as_deref(), resolution.findings.as_slice()), (Some(expect), &[][..])),
        Err(expect) => {
            let got: Vec<_> = resolution.findings.iter().map(|f| format!("{} {}", f.code.code(), f.message)).collect();
            assert_eq!((subject, got), (None, vec![format!("PR025 {expect}")]));
        }
    }
}

#[test]
fn the_subject_is_one_workload_or_none() {
    let pod = |name: &str, labels: &str, image: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: m, labels: {labels}}}, spec: {{containers: [{{image: side}}, {{image: '{image}'}}]}}}}\n---\n"
        )
    };
    let image = "registry.local:5000/mirror/matrix-authentication-service@sha256:00";
    let one = pod("a", "{app: mas, pod-template-hash: z}", image);
    let ok = Ok("m {\"app\": \"mas\"} [\"a\"]");
    check_subject(SubjectRule::ByImage, &one, ok);
    check_subject(SubjectRule::Image("registry.local:5000/mirror/matrix-authentication-service".into()), &one, ok);
    check_subject(
        SubjectRule::Image("docker.io/x/y:1".into()),
        &pod("a", "{app: mas, pod-template-hash: z}", "x/y:2"),
        ok,
    );
    check_subject(SubjectRule::Named(Party::Pod(ObjectName::new("m", "a"))), &one, ok);
    check_subject(
        SubjectRule::ByImage,
        "",
        Err("no pod runs an image whose path ends in matrix-authentication-service"),
    );
    check_subject(SubjectRule::Image("x/y".into()), &one, Err("no pod runs the image x/y"));
    check_subject(
        SubjectRule::ByImage,
        &pod("a", "{}", image),
        Err("m/a has no label by which a policy could select it"),
    );
    check_subject(
        SubjectRule::Named(Party::AnyPod),
        &one,
        Err("the subject must be a workload, a pod, a Service or a selector with its namespace"),
    );
    // A replica is the same workload, another label set is not.
    let replica = pod("b", "{app: mas, pod-template-hash: w}", image);
    check_subject(SubjectRule::ByImage, &[one.as_str(), &replica].concat(), Ok("m {\"app\": \"mas\"} [\"a\", \"b\"]"));
    check_subject(
        SubjectRule::ByImage,
        &[one.as_str(), &pod("c", "{app: two}", image)].concat(),
        Err("several workloads could be MAS: m/a, m/c"),
    );
    // The labels must not select anything else.
    check_subject(
        SubjectRule::ByImage,
        &[one.as_str(), &pod("d", "{app: mas, x: z}", "other")].concat(),
        Err("the labels that select MAS also select m/d"),
    );
    let labels = Labels::from([("app".to_owned(), "mas".to_owned())]);
    let selector = || SubjectRule::Named(Party::Selector { namespace: Some("m".into()), labels: labels.clone() });
    check_subject(selector(), &one, ok);
    check_subject(
        selector(),
        &[one.as_str(), &pod("d", "{app: mas}", "other")].concat(),
        Err("some of the pods run MAS's image and some do not"),
    );
    // A migration Job with the same image is not the service.
    let job = "{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: m}, spec: {template: {metadata: {labels: {job: j}}, spec: {containers: [{image: matrix-authentication-service}]}}}}";
    check_subject(SubjectRule::ByImage, &[one.as_str(), job].concat(), ok);
}
