import contextlib
import io
import json
import os
import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from image_factory_app import cli  # noqa: E402
from image_factory_app.enrolment import locate  # noqa: E402

DATA = Path(__file__).parent / "data"


def call(*argv: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(argv)
    return code, out.getvalue(), err.getvalue()


class Good(unittest.TestCase):
    def command(self, *argv: str) -> tuple[int, str, str]:
        return call("--file", str(DATA / "images.yaml"), *argv)

    def test_list(self) -> None:
        code, out, _ = self.command("list")
        self.assertEqual(code, 0)
        self.assertEqual(
            out.splitlines(),
            [
                "image           repository            platforms                base",
                "builder         image-factory         linux/amd64,linux/arm64  registry.access.redhat.com/ubi9/ubi:9.6",
                "builder-debian  image-factory-debian  linux/amd64,linux/arm64  debian bookworm (bootstrapped)",
            ],
        )

    def test_show_follows_anchors_and_merges(self) -> None:
        code, out, _ = self.command("show", "builder-debian", "--json")
        image = json.loads(out)
        self.assertEqual(code, 0)
        self.assertEqual(image["stages"]["base-tools"], {"packages": 2, "tools": 2})
        self.assertEqual(image["budgets"], {"size": "1.5GB", "stages.application": "10MB"})

    def test_show_unknown(self) -> None:
        code, _, err = self.command("show", "biulder")
        self.assertEqual(code, 64)
        self.assertIn("there are: builder, builder-debian", err)

    def test_check(self) -> None:
        code, out, err = self.command("check", "--context", str(DATA))
        self.assertEqual((code, err), (0, ""))
        self.assertIn("2 images, no mistakes", out)

    def test_paths_are_looked_for_only_where_a_context_is_given(self) -> None:
        self.assertEqual(self.command("check")[0], 0)
        code, _, err = self.command("check", "--context", "/nowhere")
        self.assertEqual(code, 65)
        self.assertIn("images.yaml:4:28: builder.stages.dependencies.python: 'project/pyproject.toml' does not exist", err)


class Broken(unittest.TestCase):
    def test_every_mistake_has_its_place(self) -> None:
        code, out, err = call("--file", str(DATA / "broken.yaml"), "check", "--context", str(DATA))
        self.assertEqual((code, out), (65, ""))
        found = [line.removeprefix(f"{DATA}/") for line in err.splitlines()]
        places = [line.split(": ")[0] for line in found]
        self.assertEqual(
            places,
            [f"broken.yaml:{place}" for place in ("2:3", "3:5", "4:30", "5:20", "7:32", "7:56", "8:43", "8:55", "9:7", "10:22")],
        )
        self.assertIn("did you mean 'platforms'?", found[1])

    def test_no_yaml(self) -> None:
        with mock.patch.dict(os.environ, {"IMAGE_FACTORY_FILE": str(DATA / "not-there.yaml")}):
            code, _, err = call("check")
        self.assertEqual(code, 66)
        self.assertIn("No such file", err)


class Health(unittest.TestCase):
    def test_a_named_file_must_be_there(self) -> None:
        code, out, _ = call("--file", str(DATA / "not-there.yaml"), "health")
        self.assertEqual(code, 1)
        self.assertIn("FAIL  enrolment", out)

    def test_tools_are_looked_for(self) -> None:
        with mock.patch.dict(os.environ, {"PATH": str(DATA)}):
            code, out, _ = call("--file", str(DATA / "images.yaml"), "health", "--tools")
        self.assertEqual(code, 1)
        self.assertIn("FAIL  kubectl            not on PATH", out)


class Locate(unittest.TestCase):
    def test_order(self) -> None:
        source = Path("/nowhere/app/src/image_factory_app/cli.py")
        self.assertEqual(locate("a.yaml", {"IMAGE_FACTORY_FILE": "b.yaml"}, DATA, source), Path("a.yaml"))
        self.assertEqual(locate(None, {"IMAGE_FACTORY_FILE": "b.yaml"}, DATA, source), Path("b.yaml"))
        self.assertEqual(locate(None, {}, DATA / "project", source), DATA / "images.yaml")
        self.assertIsNone(locate(None, {}, Path("/nowhere"), source))


if __name__ == "__main__":
    unittest.main()
