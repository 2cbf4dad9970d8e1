import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cdk8s import Testing  # noqa: E402

from image_factory_charts.toolbox import Toolbox, ToolboxOptions  # noqa: E402

IMAGE = "registry.example/toolbox@sha256:" + "0" * 64


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        made = Testing.synth(Toolbox(Testing.app(), "toolbox", ToolboxOptions(image=IMAGE, replicas=2)))
        cls.by_kind = {manifest["kind"]: manifest for manifest in made}

    def test_kinds(self) -> None:
        self.assertEqual(sorted(self.by_kind), ["CronJob", "Deployment"])

    def test_selector_finds_the_pods(self) -> None:
        spec = self.by_kind["Deployment"]["spec"]
        self.assertEqual(spec["replicas"], 2)
        self.assertEqual(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"])

    def test_both_run_the_same_image_without_root(self) -> None:
        pods = [
            self.by_kind["Deployment"]["spec"]["template"]["spec"],
            self.by_kind["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        ]
        self.assertEqual([pod["containers"][0]["image"] for pod in pods], [IMAGE, IMAGE])
        self.assertTrue(all(pod["securityContext"]["runAsNonRoot"] for pod in pods))


if __name__ == "__main__":
    unittest.main()
