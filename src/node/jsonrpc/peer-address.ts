/** Host of `host:port`, `[v6]:port`, a bare address or a subnet; what a ban is about. */
export function hostOf(address: string): string {
  const bracketed = /^\[([^\]]+)\](?::[0-9]+)?$/.exec(address);
  if (bracketed?.[1] !== undefined) return bracketed[1];
  // More than one colon without brackets is a bare IPv6 address.
  const parts = address.split(':');
  return parts.length === 2 && parts[0] !== undefined ? parts[0] : address;
}
