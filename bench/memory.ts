import { type Contender, runOnce } from "./interleave.js";

/**
 * Runs its arguments, then asks getrusage(2) for RUSAGE_CHILDREN: on Linux `ru_maxrss` is the largest resident set, in KiB, of any
 * one process that the command started and waited for. Python, because Node does not tell it of children, and `./task` needs
 * Python anyway.
 */
const wrapper = `
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print("ru_maxrss", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
`;

/** Peak resident memory of the largest process of a command, in bytes. @throws Error when the command fails */
export const peakMemory = ({ command, cwd, env = {} }: Pick<Contender, "command" | "cwd" | "env">): number => {
  const { stdout } = runOnce({ command: ["python3", "-c", wrapper, ...command], cwd, env });
  const kibibytes = /^ru_maxrss (\d+)$/m.exec(stdout)?.[1];
  if (kibibytes === undefined) throw new Error(`python3 printed no ru_maxrss:\n${stdout}`);
  return Number(kibibytes) * 1024;
};
