import type {
  StorageOperation,
  StoragePrecondition,
  StorageRange,
  StorageServiceService,
} from '../../../gen/ts/modhost/v1/storage.js';
import { HostError } from '../../contract/error.js';
import type { ServiceImpl } from '../../contract/service.js';
import { atMost, requireBytes, requireList, requireMessage } from '../check.js';
import type { Precondition, Step } from './apply.js';
import type { StorageHold } from './desk.js';
import {
  MAX_KEY_BYTES,
  MAX_OPERATIONS,
  MAX_PRECONDITIONS,
  MAX_RANGES,
  MAX_STORAGE_KEYS,
  MAX_VALUE_BYTES,
} from './limits.js';

/** How a tree may be called; a new name that breaks it is refused, an old one cannot be there. */
const TREE_NAME = /^[a-z][a-z0-9_]{0,63}$/;

/** Answers what one module asks of its storage. @param hold the way to the storage of the module behind the session */
export function createStorageService(hold: StorageHold): ServiceImpl<typeof StorageServiceService> {
  const get = async (tree: string, key: Uint8Array): Promise<Buffer | undefined> => {
    const [name, place] = [requireTreeName(tree), requireKey(key)];
    return (await hold.store()).get(name, place);
  };

  return {
    async get({ tree, key }) {
      const value = await get(tree, key);
      return { found: value !== undefined, value: value ?? Buffer.alloc(0) };
    },
    async contains({ tree, key }) {
      return { found: (await get(tree, key)) !== undefined };
    },
    async *scan(request) {
      const { prefix, start, end } = request;
      const tree = requireTreeName(request.tree);
      if (prefix.byteLength > 0 && start.byteLength + end.byteLength > 0) {
        throw new HostError('INVALID_REQUEST', 'a scan has a prefix, or start and end, not both');
      }
      for (const [field, bound] of Object.entries({ prefix, start, end })) requireBound(bound, field);
      yield* (await hold.store()).scan({ ...request, tree });
    },
    async put({ tree, key, value }, { signal }) {
      const step = putStep(requireTreeName(tree), key, value, '');
      const store = await hold.store();
      return { commit: await store.write({ kind: 'write', preconditions: [], steps: [step] }, signal) };
    },
    async delete({ tree, key }, { signal }) {
      const step: Step = { kind: 'delete', tree: requireTreeName(tree), key: requireKey(key) };
      const store = await hold.store();
      return { commit: await store.write({ kind: 'write', preconditions: [], steps: [step] }, signal) };
    },
    async write(request, { signal }) {
      const preconditions = atMost(request.preconditions, MAX_PRECONDITIONS, 'preconditions').map(toPrecondition);
      const steps = requireList(request.operations, MAX_OPERATIONS, 'operations').map(toStep);
      if (steps.filter(({ kind }) => kind === 'range').length > MAX_RANGES) {
        throw new HostError('OUT_OF_RANGE', `a batch removes at most ${MAX_RANGES} ranges`);
      }
      const store = await hold.store();
      return { commit: await store.write({ kind: 'write', preconditions, steps }, signal) };
    },
    async openTree({ name }, { signal }) {
      if (!TREE_NAME.test(name)) {
        throw new HostError('INVALID_REQUEST', 'a tree is named by 1 to 64 of a-z, 0-9 and _, a letter first');
      }
      const store = await hold.store();
      return { created: await store.openTree(name, signal) };
    },
    async deleteTree({ name }, { signal }) {
      const store = await hold.store();
      return { commit: await store.write({ kind: 'deleteTree', name: requireTreeName(name) }, signal) };
    },
    async listTrees() {
      const store = await hold.store();
      return { names: (await store.usage()).trees.map(({ name }) => name) };
    },
    async getUsage() {
      const { bytes, keys, quotaBytes, trees } = await (await hold.store()).usage();
      return {
        usedBytes: BigInt(bytes),
        quotaBytes: BigInt(quotaBytes),
        keys: BigInt(keys),
        maxKeys: BigInt(MAX_STORAGE_KEYS),
        trees: trees.map((tree) => ({
          name: tree.name,
          usedBytes: BigInt(tree.bytes),
          quotaBytes: BigInt(tree.quotaBytes),
          keys: BigInt(tree.keys),
        })),
      };
    },
    async setQuota({ tree, quotaBytes }, { signal }) {
      const name = requireTreeName(tree);
      const store = await hold.store();
      const { quotaBytes: total } = await store.usage();
      if (quotaBytes > BigInt(total)) {
        throw new HostError('OUT_OF_RANGE', `quota_bytes is more than the module's total of ${total}`);
      }
      await store.write({ kind: 'setQuota', name, quotaBytes: Number(quotaBytes) }, signal);
      return {};
    },
  };
}

function requireTreeName(name: string): string {
  if (name === '') throw new HostError('FIELD_REQUIRED', 'the name of the tree is required');
  return name;
}

function requireKey(key: Uint8Array, field = 'key'): Uint8Array {
  return requireBytes(key, MAX_KEY_BYTES, field);
}

function requireBound(bound: Uint8Array, field: string): Uint8Array {
  return bound.byteLength === 0 ? bound : requireKey(bound, field);
}

function requireValue(value: Uint8Array, field: string): Uint8Array {
  if (value.byteLength > MAX_VALUE_BYTES) {
    throw new HostError(
      'OUT_OF_RANGE',
      `${field} has ${value.byteLength} bytes, at most ${MAX_VALUE_BYTES} are allowed`,
    );
  }
  return value;
}

function putStep(tree: string, key: Uint8Array, value: Uint8Array, at: string): Step {
  return { kind: 'put', tree, key: requireKey(key, `${at}key`), value: requireValue(value, `${at}value`) };
}

function toPrecondition({ tree, key, condition }: StoragePrecondition, index: number): Precondition {
  const at = `preconditions[${index}].`;
  const { value: holds } = requireMessage(condition, `${at}condition`);
  if (typeof holds !== 'boolean') requireValue(holds, `${at}value`);
  return { tree: requireTreeName(tree), key: requireKey(key, `${at}key`), holds };
}

function toStep({ tree, operation }: StorageOperation, index: number): Step {
  const at = `operations[${index}].`;
  const name = requireTreeName(tree);
  const { $case, value } = requireMessage(operation, `${at}operation`);
  if ($case === 'put') return putStep(name, value.key, value.value, at);
  if ($case === 'delete') return { kind: 'delete', tree: name, key: requireKey(value, `${at}delete`) };
  return rangeStep(name, value, at);
}

function rangeStep(tree: string, { start, end }: StorageRange, at: string): Step {
  return { kind: 'range', tree, start: requireBound(start, `${at}start`), end: requireBound(end, `${at}end`) };
}
