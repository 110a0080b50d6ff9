"""Checks Kubernetes manifests against the models of the API, without a cluster.

usage: manifests.py FILE...

The models are those of the official client, generated from the API's schema: an unknown field, a
missing one, or a value of the wrong kind is reported with its location, and the exit status is 1.
"""

import sys

import kubernetes.client.models as models
import yaml

KINDS = {
    ("v1", "ConfigMap"): "V1ConfigMap",
    ("v1", "Service"): "V1Service",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
}


def problems(path):
    """Yields what is wrong with the documents of a file."""
    with open(path, encoding="utf-8") as file:
        documents = list(yaml.safe_load_all(file))
    for document in documents:
        kind = document.get("kind")
        model = KINDS.get((document.get("apiVersion"), kind))
        if model is None:
            yield f"{path}: {kind}: unknown"
            continue
        try:
            getattr(models, model).model_validate(document)
        except ValueError as error:
            yield f"{path}: {kind}: {error}"


if __name__ == "__main__":
    found = [problem for path in sys.argv[1:] for problem in problems(path)]
    print("\n".join(found) or "ok")
    sys.exit(1 if found else 0)
