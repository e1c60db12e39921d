//! `portreeve plan`: the one write that there is to be made, what follows from it, and what speaks against it.

use std::fmt::Write;

use anyhow::Context;
use serde_json::{Value, json};

use super::args::{self, DialectArg, GIVE_WORLD, IntentArgs, WorldArgs};
use super::diff::{changes, line, rows, summary};
use super::output::{self, Style, Table};
use super::{Done, Exit};
use crate::act::plan::{Effect, Held, Orders, Plan, Situation, Step, plan};
use crate::finding::Finding;
use crate::judge::Declared;
use crate::load::inputs::Inputs;
use crate::matrix::traffic_matrix::Mode;
use crate::policy::render::remove_command;
use crate::source::emit;

#[derive(Debug, clap::Args)]
#[command(after_help = "The plan is what the controller would carry out, by the same rules:\n  \
        - one NetworkPolicy for the subject, in one write, so that no edge is cut between two writes;\n  \
        - held back where a needed connection that is allowed now, or not known, would be denied;\n  \
        - nothing that somebody else wrote under the policy's name is touched, unless `adopt` names it;\n  \
        - in mode Audit, and where Git owns the policies, it is only shown.\n\n\
        portreeve plan --cluster                                        by the TrafficMatrix in the cluster\n  \
        portreeve plan --guide values.yaml --cluster                    as if everything were enforced\n  \
        portreeve plan --matrix matrix.yaml --cluster -o yaml | kubectl apply -f -\n\n\
        Exit codes: 0 nothing is to be done; 1 something is, or is held back; 2 wrong usage or input. With -o yaml: 0 the policy was printed; 1 it was not.")]
pub(super) struct Args {
    #[command(flatten)]
    intent: IntentArgs,
    #[command(flatten)]
    world: WorldArgs,
    #[command(flatten)]
    dialect: DialectArg,
    /// With -o yaml, print the policy also where a needed connection is not known to work afterwards
    #[arg(long)]
    allow_unknown: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON object
    Json,
    /// The policy as it should stand, for `kubectl apply`; nothing if it is held back or not known to be safe; the rest on standard error
    Yaml,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Done> {
    let inputs = args::read(&args.intent, &args.world, &[])?;
    let world = inputs.world.as_ref().with_context(|| format!("a plan needs to know what is there: {GIVE_WORLD}"))?;
    let orders = inputs.matrix.as_ref().map_or_else(Orders::default, Orders::of);
    let situation = Situation {
        name: &inputs.name,
        intent: &inputs.intent,
        intended: &inputs.resolution,
        world,
        policies: &inputs.policies,
        dialect: args.dialect.dialect,
    };
    let plan = plan(&situation, &orders);
    let style = Style::detect();
    let text = match args.output {
        Format::Text => text(&plan, &inputs, style),
        Format::Json => output::json(&json_of(&plan, &inputs))?,
        Format::Yaml => return Ok(manifest(&plan, &inputs, args.allow_unknown)),
    };
    Ok(Done { text, exit: Exit::findings_if(plan.step != Step::Nothing || !plan.held.is_empty()) })
}

/// What can be applied as often as one likes, if anything can; people are told on standard error.
fn manifest(plan: &Plan, inputs: &Inputs, allow_unknown: bool) -> Done {
    let mut told = text(plan, inputs, Style::plain());
    let is_safe = plan.held.is_empty() && (allow_unknown || plan.unproven.is_empty());
    if plan.held.is_empty() && !is_safe {
        told.push_str(
            "\nThe policy is not printed, as it is not known to be safe: --allow-unknown prints it all the same\n",
        );
    }
    let _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
    let wanted = plan.wanted.as_ref().filter(|_| is_safe).map(emit::to_yaml);
    let exit = Exit::findings_if(wanted.is_none());
    Done { text: wanted.unwrap_or_default(), exit }
}

fn text(plan: &Plan, inputs: &Inputs, style: Style) -> String {
    let mut out = headline(plan, style);
    for held in &plan.held {
        line(&mut out, 2, &format!("held back: {}", why(held, plan)));
    }
    if !plan.unproven.is_empty() {
        let edges = plan.unproven.join(", ");
        line(
            &mut out,
            2,
            &format!(
                "not known afterwards: {edges}; with rollout.strategy Confirm agents prove it or it is taken back"
            ),
        );
    }
    if inputs.matrix.is_none() {
        line(&mut out, 2, "there is no TrafficMatrix: planned as if its mode were Enforce");
    }
    if !plan.effects.is_empty() {
        out.push('\n');
        out.push_str(&effects(&plan.effects, style));
    }
    if let Some(found) = &plan.difference {
        out.push('\n');
        if inputs.world.as_ref().is_some_and(|world| world.unread().is_some()) {
            out.push_str("new connections: not known, since not every file can be read\n");
        } else {
            let _ = writeln!(out, "{}", summary(found));
        }
        rows(&mut out, found);
    }
    let wrong: Vec<Finding> = plan.wrong().cloned().chain(inputs.left_out()).collect();
    for missing in output::not_covered(&inputs.coverage, &wrong) {
        line(&mut out, 2, &format!("not covered: {missing}"));
    }
    if !wrong.is_empty() {
        out.push('\n');
        out.push_str(&output::findings(&wrong, style));
    }
    out
}

fn headline(plan: &Plan, style: Style) -> String {
    let policy = &plan.policy;
    let said = match (&plan.step, plan.held.is_empty()) {
        (Step::Nothing, true) => format!("{}  NetworkPolicy {policy} is as it should be", style.bold("nothing to do")),
        (Step::Nothing, false) => format!("{}  NetworkPolicy {policy}", style.bold("no plan")),
        (step, true) => format!("{}  NetworkPolicy {policy}", style.bold(step.as_str())),
        (step, false) => format!("{}  NetworkPolicy {policy}, held back", style.bold(step.as_str())),
    };
    let off = plan.mode == Mode::Off && plan.step == Step::Nothing;
    if off {
        return format!(
            "{}  mode is Off, and there is no NetworkPolicy {policy} of ours\n",
            style.bold("nothing to do")
        );
    }
    format!("{said}\n")
}

fn why(held: &Held, plan: &Plan) -> String {
    match held {
        Held::Audit { frozen: false } => "the mode is Audit, which writes no policy; `mode: Enforce` does".to_owned(),
        Held::Audit { frozen: true } => format!(
            "the mode is Audit: the policy that is there stays, and is not repaired; `{}` removes it",
            remove_command(&plan.policy.namespace, &plan.policy.name)
        ),
        Held::Git => "Git owns the policies (policies.owner): commit what `portreeve render` prints".to_owned(),
        Held::Unread(key) => format!(
            "{key} is not read here, and the connections that it asks for would be cut: give the values with --guide, or MAS's config with --mas-config"
        ),
        Held::Unseen(gap) => format!(
            "{gap}: whether a policy of this name is there, and whose, is not known"
        ),
        Held::NoEdge => "no needed connection is known, and the policy would cut them all: say what MAS needs in `guide`, `peers` or `edges`".to_owned(),
        Held::Wrong(finding) => format!("{} {}", finding.code, finding.edge.as_deref().unwrap_or(&finding.object)),
    }
}

fn effects(effects: &[Effect], style: Style) -> String {
    let mut table = Table::new(&["EDGE", "NOW", "AFTERWARDS", "WHY"]);
    for effect in effects {
        let (before, after) = (effect.before.as_str().to_owned(), effect.after.as_str().to_owned());
        let why = if effect.after == Declared::Allowed { String::new() } else { effect.because.clone() };
        table.row(vec![effect.edge.clone(), before, after, why]);
    }
    table.render(style, |row, column, cell| match (column, effects.get(row)) {
        (1, Some(effect)) => style.declared(effect.before == Declared::Allowed, effect.before, cell),
        (2, Some(effect)) => style.declared(effect.after == Declared::Allowed, effect.after, cell),
        _ => cell.to_owned(),
    })
}

fn json_of(plan: &Plan, inputs: &Inputs) -> Value {
    let held = |held: &Held| match held {
        Held::Audit { frozen } => json!({ "why": "mode", "frozen": frozen }),
        Held::Git => json!({ "why": "owner" }),
        Held::Unread(key) => json!({ "why": "unread", "key": key }),
        Held::Unseen(gap) => json!({ "why": "unseen", "gap": gap }),
        Held::NoEdge => json!({ "why": "noEdge" }),
        Held::Wrong(finding) => json!({ "why": "finding", "finding": finding }),
    };
    let effect = |effect: &Effect| {
        let Effect { edge, before, after, because } = effect;
        json!({ "edge": edge, "before": before.as_str(), "after": after.as_str(), "because": because })
    };
    json!({
        "matrix": inputs.name.to_string(),
        "mode": format!("{:?}", plan.mode),
        "step": plan.step.as_str(),
        "writes": plan.writes(),
        "object": format!("NetworkPolicy/{}", plan.policy),
        "policy": plan.step.policy(),
        "held": plan.held.iter().map(held).collect::<Vec<_>>(),
        "edges": plan.effects.iter().map(effect).collect::<Vec<_>>(),
        "unproven": plan.unproven,
        "changes": plan.difference.as_ref().map(changes).unwrap_or_default(),
        "findings": inputs.left_out(),
        "coverage": inputs.coverage,
    })
}
