"""Writes the measured part of docs/compare-engines.md: what cyclonus answers to the corpus, beside what is expected.

    table.py ANSWERS.jsonl PORTREEVE PAGE [--check]

Everything between the two marks of the page is replaced; with --check a difference is an error instead.
"""

import collections
import json
import pathlib
import subprocess
import sys

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
CORPUS = pathlib.Path("tests/corpus")
# One case for each thing that engines disagree about, and some on which they should not.
CASES = """
defaults/policy-types-absent-empty-egress
defaults/rule-empty
defaults/protocol-absent
ports/protocol-only-udp
ports/named-egress
ports/end-port
selectors/not-in-missing-key
selectors/subject-not-in-missing-key
selectors/namespace-not-in-missing-key
selectors/match-labels-empty-value
peers/and
peers/both-ends-different-ports
ipblock/pod-address-egress
ipblock/except-overlap-other-policy
ipblock/host-bits
nodes/host-network-subject
nodes/host-network-peer-selector
nodes/own-node-in
self/own-address
lifecycle/pending-every-address
invalid/block-beside-selector
invalid/except-outside
invalid/in-without-values
invalid/end-port-below-port
unknown/reference-only-namespace
sctp/sctp-only-isolates-tcp
""".split()


def ours(binary, case):
    files = [f"{CORPUS / case}.yaml", f"{CORPUS / case}.expect.yaml"]
    run = subprocess.run([binary, "verify", "-o", "json", "--manifests", *files], capture_output=True, text=True, check=False)
    found = json.loads(run.stdout)["assertions"]
    return [a["verdict"] if a["holds"] else f"**{a['verdict']}**" for a in found]


def judge(answer):
    """agrees, differs, panics, none (no notion of it) or guesses (where nobody can know)."""
    if answer["says"] in ("panics", "none"):
        return answer["says"]
    if answer["says"] == answer["expect"]:
        return "agrees"
    return "guesses" if answer["expect"] == "unknown" else "differs"


def words(answers):
    """One engine's answers to the assertions of a case."""
    if {answer["says"] for answer in answers} == {"panics"}:
        note = answers[0]["note"]
        return "panics¹" if "need at least 1 type" in note else f"panics: {note}"
    told = [f"**{a['says']}**" if judge(a) not in ("agrees", "none") else ("–" if a["says"] == "none" else a["says"]) for a in answers]
    return ", ".join(told)


def source(case):
    lines = (CORPUS / f"{case}.yaml").read_text().splitlines()
    why = lines[0].removeprefix("# ")
    where = lines[1].removeprefix("# Source: ").removeprefix("kubernetes/kubernetes ")
    quote = " ".join(line.removeprefix("#   ") for line in lines[2:] if line.startswith("#   "))
    return why, f"{quote} ({where})"


def measured(results, binary):
    out = [BEGIN, "", "| case | asked | expected | portreeve | cyclonus 0.5.6 | decided by |", "|---|---|---|---|---|---|"]
    for case in CASES:
        found = results[case]
        asked = "<br>".join(f"{a['from']} → {a['to']} {a['port']}/{a['protocol']}" for a in found["asIs"])
        expected = ", ".join(a["expect"] for a in found["asIs"])
        theirs = words(found["asIs"])
        if "defaulted" in found and theirs.startswith("panics"):
            theirs += f"; then {words(found['defaulted'])}"
        why, sentence = source(case)
        row = [f"`{case}`: {why}", asked, expected, ", ".join(ours(binary, case)), theirs, sentence]
        out.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    out += ["", "¹ `need at least 1 type`: asked again with policyTypes filled in."]
    out += ["", "The whole corpus, in assertions, with policyTypes filled in where the library would panic without:", ""]
    out += ["| area | agrees | differs | panics | guesses | no notion |", "|---|---|---|---|---|---|"]
    areas = collections.defaultdict(collections.Counter)
    bare = 0
    for case, found in results.items():
        bare += any(a["says"] == "panics" for a in found["asIs"])
        for answer in found.get("defaulted", found["asIs"]):
            areas[case.split("/")[0]][judge(answer)] += 1
    total = sum(areas.values(), collections.Counter())
    for area, count in [*sorted(areas.items()), ("all", total)]:
        name = "**all**" if area == "all" else f"`{area}`"
        out.append("| " + " | ".join([name, *(str(count[k]) for k in ("agrees", "differs", "panics", "guesses", "none"))]) + " |")
    out += ["", f"Of the {len(results)} files as they are it panics at {bare}.", "", END]
    return "\n".join(out)


def main():
    answers, binary, page, *rest = sys.argv[1:]
    results = {}
    for line in pathlib.Path(answers).read_text().splitlines():
        found = json.loads(line)
        results[found["case"]] = found
    path = pathlib.Path(page)
    text = path.read_text()
    head, tail = text.index(BEGIN), text.index(END) + len(END)
    fresh = text[:head] + measured(results, binary) + text[tail:]
    if rest == ["--check"]:
        if fresh != text:
            sys.exit(f"{page} is out of date: run tests/rivals/run.sh")
        print(f"{page}: the measured part is current, {len(results)} cases")
    else:
        path.write_text(fresh)


main()
