"""Writes dist/toolbox.k8s.yaml. The image comes from TOOLBOX_IMAGE: a reference, best with a digest."""

import os

from cdk8s import App

from image_factory_charts.toolbox import Toolbox, ToolboxOptions


def synthesize(outdir: str | None = None) -> None:
    app = App(outdir=outdir) if outdir else App()
    image = os.environ.get("TOOLBOX_IMAGE", "ghcr.io/acme/image-factory:1")
    Toolbox(app, "toolbox", ToolboxOptions(image=image))
    app.synth()


if __name__ == "__main__":
    synthesize(os.environ.get("CDK8S_OUTDIR"))
