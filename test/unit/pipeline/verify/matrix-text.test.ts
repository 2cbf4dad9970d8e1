import { expect, test } from "vitest";
import { junitXml } from "../../../../ci/view/junit.js";
import { verifyJson, verifyMatrix } from "../../../../dagger/src/pipeline/verify/matrix-text.js";
import { stageNames } from "../../../../dagger/src/pipeline/common/stage.js";
import type { CacheReport, CaseResult } from "../../../../dagger/src/pipeline/verify/case-result.js";

const stages = (...did: CaseResult["stages"][number]["did"][]): CaseResult["stages"] =>
  stageNames.map((stage, at) => ({ stage, did: did[at]!, key: "k", moved: false, steps: null, layers: null }));
const passed: CaseResult = {
  id: "code",
  title: "a line of code",
  verdict: "pass",
  proof: "build",
  says: "main.py has a line more",
  stages: stages("reused", "reused", "assembled", "reused"),
  evidence: "no engine; 1 of 10 layers new",
  why: null,
  faults: [],
  seconds: 0.41,
};
const none = { stages: [], proof: null, evidence: "", says: "", faults: [], seconds: 0 } as const;
const report: CacheReport = {
  format: 1,
  image: "it",
  platform: "linux/amd64",
  seconds: 61.5,
  cases: [
    passed,
    {
      ...passed,
      id: "mode",
      title: "the executable bit of a file",
      verdict: "fail",
      says: "<main.py> is executable now",
      faults: [
        { fault: "key-stayed", stage: "application", key: "0123456789abcdef", because: "<main.py> is executable now" },
        { fault: "not-arrived", path: "a\u0007&b" },
      ],
    },
    { ...passed, ...none, id: "setup-py", title: "setup.py", verdict: "not-applicable", why: "no setup.py" },
    {
      ...passed,
      id: "dependency-removed",
      title: "a dependency removed",
      verdict: "not-tested",
      proof: "plan",
      stages: stages("reuse", "execute", "reuse", "assemble"),
      evidence: "3 of 4 keys moved",
      why: "no index",
    },
    {
      ...passed,
      id: "base",
      title: "the base",
      proof: "plan",
      stages: stages("execute", "execute", "reuse", "assemble"),
      evidence: "4 of 4 keys moved",
      why: "made up",
    },
    {
      ...passed,
      id: "tool",
      title: "a tool",
      proof: "plan",
      stages: stages("execute", "execute", "reuse", "assemble"),
      evidence: "4 of 4 keys moved",
      why: "made up",
    },
  ],
};

test("the matrix", () => {
  expect(verifyMatrix(report)).toBe(`it for linux/amd64
  changed                       base-tools  dependencies  application  runtime   by     evidence                       verdict
  a line of code                reused      reused        assembled    reused    build  no engine; 1 of 10 layers new  PASS
  the executable bit of a file  reused      reused        assembled    reused    build  no engine; 1 of 10 layers new  FAIL
  setup.py                      -           -             -            -         -      -                              n/a
  a dependency removed          reuse       execute       reuse        assemble  plan   3 of 4 keys moved              not tested
  the base                      execute     execute       reuse        assemble  plan   4 of 4 keys moved              PASS
  a tool                        execute     execute       reuse        assemble  plan   4 of 4 keys moved              PASS
  FAIL the executable bit of a file
      <main.py> is executable now
      → application: its key 0123456789ab stayed, although <main.py> is executable now
      → a\u0007&b: what was changed in it is in no layer
  not tested: a dependency removed: no index
  n/a: setup.py: no setup.py
  on plans, made up: the base, a tool
3 passed (1 by building, 2 on plans), 1 failed, 1 not tested, 1 n/a; 1 min 2 s
`);
});

test("JUnit XML", () => {
  expect(junitXml({ ...report, cases: report.cases.slice(0, 4) })).toBe(`<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="verify:cache" tests="4" failures="1" errors="0" skipped="2" time="61.500">
  <testsuite name="verify:cache it linux/amd64" tests="4" failures="1" errors="0" skipped="2" time="61.500">
    <testcase classname="verify:cache.it" name="code: a line of code" time="0.410">
      <system-out>main.py has a line more
base-tools reused, dependencies reused, application assembled, runtime reused
no engine; 1 of 10 layers new</system-out>
    </testcase>
    <testcase classname="verify:cache.it" name="mode: the executable bit of a file" time="0.410">
      <failure type="key-stayed" message="application: its key 0123456789ab stayed, although &lt;main.py&gt; is executable now">application: its key 0123456789ab stayed, although &lt;main.py&gt; is executable now
a\ufffd&amp;b: what was changed in it is in no layer</failure>
      <system-out>&lt;main.py&gt; is executable now
base-tools reused, dependencies reused, application assembled, runtime reused
no engine; 1 of 10 layers new</system-out>
    </testcase>
    <testcase classname="verify:cache.it" name="setup-py: setup.py" time="0.000">
      <skipped message="not applicable: no setup.py"/>
    </testcase>
    <testcase classname="verify:cache.it" name="dependency-removed: a dependency removed" time="0.410">
      <skipped message="not tested: no index"/>
      <system-out>main.py has a line more
base-tools reuse, dependencies execute, application reuse, runtime assemble
3 of 4 keys moved</system-out>
    </testcase>
  </testsuite>
</testsuites>
`);
});

test("JSON holds each fault as data and in words", () => {
  const { format, cases } = JSON.parse(verifyJson(report)) as {
    format: number;
    cases: { faults: { fault: string; text: string }[] }[];
  };
  expect(format).toBe(1);
  expect(cases[1]!.faults[0]).toMatchObject({
    fault: "key-stayed",
    stage: "application",
    text: expect.stringContaining("its key 0123456789ab stayed"),
  });
});
