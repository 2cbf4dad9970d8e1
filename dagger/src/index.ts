/**
 * A builder image in four stages, planned before anything runs: `dagger call build` in a project with an images.yaml.
 */
import {
  argument,
  type Container,
  check,
  dag,
  type Directory,
  type File,
  func,
  object,
  type Secret,
  type Workspace,
} from "@dagger.io/dagger";
import { builtImage } from "./module/build.js";
import { asUserErrors, openRequest } from "./module/request.js";
import { stageContainer } from "./module/stage.js";
import { asLayout, lintCall, testImage } from "./module/lint.js";
import { explainCall } from "./module/explain.js";
import { oneOf } from "./pipeline/config/arguments.js";
import { renderedFiles } from "./pipeline/render/rendered-files.js";
import { planJsonText, planText, textFile } from "./module/plan.js";
import { publishCall } from "./module/publish.js";
import { imageReport } from "./module/report.js";
import { cacheModes } from "./module/image-repository.js";

// The functions that `dagger call` offers: each reads its arguments and hands on. Longer than other files: Dagger reads its functions from one class of one file, each argument with a comment of its own.

/** What no image holds (wanted.ts), as the text that Dagger reads here. */
const neverSent = ["**/.git", "**/.factory"];

/** A builder image in four stages: base-tools, dependencies, application, runtime. */
@object()
export class ImageFactory {
  /**
   * The stage base-tools: the base, its packages and pinned tools.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @func({ cache: "session" })
  async baseTools(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<Container> {
    return asUserErrors(() =>
      stageContainer(dag, { workspace, source, image, platform, buildArgs, secrets, ca, noCache }, "base-tools"),
    );
  }

  /**
   * The stage dependencies: what the Python projects require, on base-tools.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @func({ cache: "session" })
  async dependencies(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<Container> {
    return asUserErrors(() =>
      stageContainer(dag, { workspace, source, image, platform, buildArgs, secrets, ca, noCache }, "dependencies"),
    );
  }

  /**
   * The stage application: the project's own files, on dependencies.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @func({ cache: "session" })
  async application(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<Container> {
    return asUserErrors(() =>
      stageContainer(dag, { workspace, source, image, platform, buildArgs, secrets, ca, noCache }, "application"),
    );
  }

  /**
   * The stage runtime: user, directories and config, on application. The same container as `build`.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @func({ cache: "session" })
  async runtime(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<Container> {
    return asUserErrors(() =>
      stageContainer(dag, { workspace, source, image, platform, buildArgs, secrets, ca, noCache }, "runtime"),
    );
  }

  /**
   * Any stage by its name.
   * @param name base-tools, dependencies, application or runtime
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @func({ cache: "session" })
  async stage(
    name: string,
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<Container> {
    return asUserErrors(() => stageContainer(dag, { workspace, source, image, platform, buildArgs, secrets, ca, noCache }, name));
  }

  /**
   * The whole image as a container of the engine: chain `terminal`, `export` or `as-tarball`. Config and root filesystem are those of
   * `image` and `publish`; its digest is the engine's own, because an engine writes times of its own into each config.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @func({ cache: "session" })
  async build(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<Container> {
    return asUserErrors(() =>
      stageContainer(dag, { workspace, source, image, platform, buildArgs, secrets, ca, noCache }, "runtime"),
    );
  }

  /**
   * The image as an OCI layout: executed stages by the engine, the rest assembled, with the digest that `publish` has.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64, linux/arm64, both with a comma, or all; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @func({ cache: "session" })
  async image(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<Directory> {
    return asUserErrors(async () => {
      const call = await openRequest(dag, { workspace, source, image, platform, buildArgs });
      return asLayout(call, await builtImage(call, { secrets, ca, noCache }));
    });
  }

  /**
   * Publishes the image: blobs first, tags last. Answers registry/repository@digest.
   * Executed stages that the repository holds are neither run nor pulled; an image that is published already only gets its tags.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64, linux/arm64, both with a comma, or all; all of images.yaml when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities for the steps' downloads and for the registry; no layer holds it
   * @param noCache run every step again although the engine remembers it
   * @param registry registry and namespace, such as ghcr.io/acme; that of images.yaml when absent
   * @param repository repository below it; that of images.yaml when absent
   * @param tags tags that are moved to the image when everything is there; without any it is known by its digest
   * @param username who the token belongs to; without both the registry is spoken to anonymously
   * @param token a password or token that may push: env:NAME or file:PATH
   * @param plainHttp speak to the registry without TLS
   * @param cache off, read or write: whether executed stages are looked for in the repository, and kept there
   */
  @func({ cache: "never" })
  async publish(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
    registry?: string,
    repository?: string,
    tags: string[] = [],
    username?: string,
    token?: Secret,
    plainHttp: boolean = false,
    cache: string = "write",
  ): Promise<string> {
    return asUserErrors(() => {
      const target = { registry, repository, tags, username, token, plainHttp, cache: oneOf("cache", cache, cacheModes) };
      return publishCall(dag, { workspace, source, image, platform, buildArgs, secrets, ca, noCache }, target);
    });
  }

  /**
   * The four stages with their keys, and what of the context is sent. Nothing runs.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64, linux/arm64, both with a comma, or all; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   */
  @func({ cache: "session" })
  async plan(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
  ): Promise<string> {
    return asUserErrors(async () => planText(await openRequest(dag, { workspace, source, image, platform, buildArgs })));
  }

  /**
   * What decides each stage, as it is or beside another state of the project: every reason, and the ingredients that differ. Nothing runs.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param stage only this stage: base-tools, dependencies, application or runtime; all four when absent
   * @param since the folder of images.yaml in another state, such as https://github.com/acme/x#main or (in a subfolder) …#main:services/x
   * @param all show what did not change too
   */
  @func({ cache: "session" })
  async explain(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    stage?: string,
    @argument({ ignore: neverSent }) since?: Directory,
    all: boolean = false,
  ): Promise<string> {
    return asUserErrors(() => explainCall(dag, { workspace, source, image, platform, buildArgs }, { stage, since, all }));
  }

  /**
   * The plan for programs: plan.json, whose `format` counts its shape.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64, linux/arm64, both with a comma, or all; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   */
  @func({ cache: "session" })
  async planJson(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
  ): Promise<File> {
    return asUserErrors(async () =>
      textFile(dag, "plan.json", planJsonText(await openRequest(dag, { workspace, source, image, platform, buildArgs }))),
    );
  }

  /**
   * The image's Dockerfile, for docker, buildah and podman; every platform of the image in one file.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   */
  @func({ cache: "session" })
  async dockerfile(workspace: Workspace, @argument({ ignore: neverSent }) source?: Directory, image?: string): Promise<File> {
    return asUserErrors(async () => {
      const call = await openRequest(dag, { workspace, source, image, platform: "all", buildArgs: [] });
      const [{ text }] = renderedFiles(call.source.spec, call.open.name, call.plans, call.open.wanted);
      return textFile(dag, "Dockerfile", text);
    });
  }

  /**
   * Checks inside the assembled image that it is what the plan promises: tools and their versions, Python packages, user, home, healthcheck.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @check()
  @func({ cache: "never" })
  async testImage(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<void> {
    await asUserErrors(async () => {
      const call = await openRequest(dag, { workspace, source, image, platform, buildArgs });
      const made = await builtImage(call, { secrets, ca, noCache });
      for (const plan of call.plans) await testImage(dag, plan, made, call.scratch);
    });
  }

  /**
   * What the image consists of: sizes by stage, largest folders and files, what is held more than once, its packages. Executes what the engine
   * does not remember.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   * @param secrets secrets that images.yaml declares, by the place that it names: env:NAME or file:PATH; no layer holds them
   * @param ca a bundle of certificate authorities that steps trust for their downloads; no layer holds it
   * @param noCache run every step again although the engine remembers it
   */
  @func({ cache: "session" })
  async report(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
    secrets: Secret[] = [],
    ca?: Secret,
    noCache: boolean = false,
  ): Promise<string> {
    return asUserErrors(() => imageReport(dag, { workspace, source, image, platform, buildArgs, secrets, ca, noCache }));
  }

  /**
   * Proves on plans that keys hold: in a copy of the declared inputs each kind of change is made, and what it moves is held against what
   * it may move. Answers the report; fails naming the stage and the ingredient. Nothing runs: `./task verify:cache` builds too.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   * @param image an image of images.yaml; the first one when absent
   * @param platform linux/amd64 or linux/arm64; the engine's own when absent
   * @param buildArgs TOOL_VERSION=…: another locked version of a tool
   */
  @check()
  @func({ cache: "never" })
  async verify(
    workspace: Workspace,
    @argument({ ignore: neverSent }) source?: Directory,
    image?: string,
    platform?: string,
    buildArgs: string[] = [],
  ): Promise<string> {
    // Some twenty files that only a proof needs.
    const { verifyCall } = await import("./module/verify.js");
    return asUserErrors(() => verifyCall(dag, { workspace, source, image, platform, buildArgs }));
  }

  /**
   * Checks without building: every image plans on every platform, images.lock is up to date, committed Dockerfiles are current.
   * @param workspace where the function is called: Dagger fills it in
   * @param source the folder that holds images.yaml; without it the nearest one above the folder where this is called, of which only declared inputs are sent
   */
  @check()
  @func({ cache: "never" })
  async lint(workspace: Workspace, @argument({ ignore: neverSent }) source?: Directory): Promise<void> {
    await asUserErrors(() => lintCall(workspace, source));
  }
}
