/** Wire type of what carries its length in front. */
const LENGTH = 2;
/** Longest varint that is read here, bytes: a tag and a length are numbers of 32 bits. */
const MAX_VARINT_BYTES = 5;

/**
 * Cuts an encoded message of nothing but repeated fields into messages that say the same, one after the other.
 *
 * @param most size of a part in bytes; a single element that is larger is a part by itself
 * @returns    views of the bytes; the whole when it is no such message, for the decoder to say what is wrong with it
 * @see        protobuf.dev/programming-guides/encoding, "Last One Wins": messages one after the other are one message
 */
export function splitMessage(bytes: Buffer, most: number): Buffer[] {
  const parts: Buffer[] = [];
  let start = 0;
  for (let at = 0; at < bytes.length; ) {
    const tag = varint(bytes, at);
    const length = tag === undefined || tag.value % 8 !== LENGTH ? undefined : varint(bytes, tag.next);
    if (length === undefined) return [bytes];
    const end = length.next + length.value;
    if (end > bytes.length) return [bytes];
    if (end - start > most && at > start) {
      parts.push(bytes.subarray(start, at));
      start = at;
    }
    at = end;
  }
  parts.push(bytes.subarray(start));
  return parts;
}

function varint(bytes: Buffer, start: number): { value: number; next: number } | undefined {
  let value = 0;
  for (let i = 0; i < MAX_VARINT_BYTES; i += 1) {
    const byte = bytes[start + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, next: start + i + 1 };
  }
  return undefined;
}
