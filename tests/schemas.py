"""Validates what `portreeve render` prints against the JSON schemas of Kubernetes 1.25 to 1.37.

Usage: schemas.py PORTREEVE. Run by `tests/run schemas`.
"""

import subprocess
import sys

import kubernetes_validate
import yaml

CASES = [
    ["render", "--matrix", "policies/traffic-matrix.yaml", "--manifests", "policies/cluster", "--counterparts"],
    ["render", "--guide", "policies/guide-values.yaml", "--manifests", "tests/fixtures/guide-world", "--counterparts"],
]


def main(portreeve: str) -> int:
    checked = failed = 0
    for case in CASES:
        run = subprocess.run([portreeve, *case], capture_output=True, text=True)
        if run.returncode == 2:
            print(f"{' '.join(case)}: exit 2\n{run.stderr}")
            return 1
        objects = [d for d in yaml.safe_load_all(run.stdout) if d]
        if not objects:
            print(f"{' '.join(case)}: printed no object")
            return 1
        for minor in range(25, 38):
            for obj in objects:
                checked += 1
                try:
                    kubernetes_validate.validate(obj, f"1.{minor}", strict=True)
                except kubernetes_validate.ValidationError as error:
                    failed += 1
                    print(f"1.{minor} {obj['metadata']['name']}: {error}")
    print(f"{checked} validations against 1.25 to 1.37, {failed} failed")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
