/**
 * Whether an image is tested between its push by digest and its tags. off: no. when-possible: where all its bytes are and something can run
 * it; what cannot be tried is told and holds nothing up. required: its bytes are fetched, and without a pass no tag moves.
 */
export const testPolicies = ["off", "when-possible", "required"] as const;
export type TestPolicy = (typeof testPolicies)[number];
