"""The toolbox in a cluster: a Deployment to open a shell in, and a CronJob that checks the enrolment file."""

from dataclasses import dataclass

from cdk8s import ApiObject, ApiObjectMetadata, Chart, JsonPatch
from constructs import Construct


@dataclass(frozen=True)
class ToolboxOptions:
    image: str
    namespace: str = "ci"
    replicas: int = 1
    #: cron notation, in the cluster's time zone
    schedule: str = "17 3 * * *"


class Toolbox(Chart):
    def __init__(self, scope: Construct, name: str, options: ToolboxOptions) -> None:
        labels = {"app.kubernetes.io/name": "image-factory-toolbox"}
        super().__init__(scope, name, namespace=options.namespace, labels=labels)
        self._object("deployment", "apps/v1", "Deployment", {
            "replicas": options.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod(options.image, ["sleep", "infinity"], probe=True)},
        })
        job = {"backoffLimit": 1, "template": {"spec": pod(options.image, ["image-factory", "check"]) | {"restartPolicy": "Never"}}}
        self._object("nightly-check", "batch/v1", "CronJob", {
            "schedule": options.schedule,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": job},
        })

    def _object(self, name: str, api_version: str, kind: str, spec: dict[str, object]) -> None:
        made = ApiObject(self, name, api_version=api_version, kind=kind, metadata=ApiObjectMetadata(name=f"toolbox-{name}"))
        # ApiObject knows no fields beyond metadata; a patch is its documented way to any other.
        made.add_json_patch(JsonPatch.add("/spec", spec))


def pod(image: str, command: list[str], *, probe: bool = False) -> dict[str, object]:
    """A pod that runs under any user id, as OpenShift gives one: nothing of it needs root."""
    container: dict[str, object] = {
        "name": "toolbox",
        "image": image,
        "command": command,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    }
    if probe:
        container["livenessProbe"] = {"exec": {"command": ["image-factory", "health"]}, "periodSeconds": 30, "timeoutSeconds": 5}
    return {"automountServiceAccountToken": False, "securityContext": {"runAsNonRoot": True}, "containers": [container]}
