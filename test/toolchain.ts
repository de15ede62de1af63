/** Whether a tool that some tests need is on this machine. */
export type ToolPresence = { available: true } | { available: false; reason: string };

/**
 * One rule for missing tools: a person's machine skips those tests and says why; a CI machine (`CI=true`) fails,
 * because there a skipped proof is a missing one.
 *
 * @throws Error under CI when the tool is missing
 */
export function requireToolchain(tool: string, presence: ToolPresence): { skip: boolean } {
  if (presence.available) return { skip: false };
  const sentence = `tests with ${tool} cannot run here: ${presence.reason}`;
  if (process.env.CI === 'true') throw new Error(sentence);
  process.stderr.write(`skipped: ${sentence}\n`);
  return { skip: true };
}
