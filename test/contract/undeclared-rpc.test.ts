import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { type FileDescriptorSet, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { ChainServiceService } from '../../gen/ts/modhost/v1/chain.js';
import { createContractRegistry, readDescriptorSet } from '../../src/contract/descriptors.js';
import { readErrorTable } from '../../src/contract/error-table.js';
import { readMethods } from '../../src/contract/methods.js';
import { createStrictWire } from '../../src/contract/strict-wire.js';
import { createSilentLogger } from '../../src/core/logger.js';
import { adaptService } from '../../src/ipc/adapt.js';
import { createStatusMapper } from '../../src/ipc/status.js';
import { createNotYetServed } from '../../src/services/not-yet-served.js';

/** The contract with one change. */
function contractWith(change: (set: FileDescriptorSet) => void) {
  const set = fromBinary(FileDescriptorSetSchema, readDescriptorSet());
  change(set);
  return createFileRegistry(set);
}

const chainService = (set: FileDescriptorSet) =>
  set.file.flatMap(({ service }) => service).find(({ name }) => name === 'ChainService');

describe('C094: an rpc without a decision', () => {
  it('is read as it is while the contract is whole', () => {
    const whole = readMethods(contractWith(() => {}));
    expect([...whole.keys()]).toEqual([...readMethods(createContractRegistry()).keys()]);
  });

  it('stops the host before it starts: a new rpc that nobody gave a permission', () => {
    const registry = contractWith((set) => {
      const methods = chainService(set)?.method ?? [];
      const [first] = methods;
      if (first === undefined) throw new Error('ChainService has no rpc');
      methods.push({ ...first, name: 'ReadEverything', options: undefined as never });
    });
    expect(() => readMethods(registry)).toThrow('/modhost.v1.ChainService/ReadEverything declares no permission');
  });

  it('stops the host before it starts: a declared rpc of any shape that loses its options', () => {
    const shapes = [
      'ChainService/GetBlock',
      'ChainService/StreamBlocks',
      'LogService/Write',
      'InvocationService/Serve',
    ];
    for (const path of shapes.map((shape) => `/modhost.v1.${shape}`)) {
      const [, service, name] = path.split('/');
      const registry = contractWith((set) => {
        for (const file of set.file) {
          for (const found of file.service.filter((one) => `${file.package}.${one.name}` === service)) {
            for (const method of found.method) if (method.name === name) method.options = undefined as never;
          }
        }
      });
      expect(() => readMethods(registry), path).toThrow(`${path} declares no permission`);
    }
  });

  it('is never served: a server is not built on a handler that nothing declares', () => {
    const registry = createContractRegistry();
    const methods = new Map(readMethods(registry));
    methods.delete('/modhost.v1.ChainService/GetBlock');
    const lane = {
      guard: {
        admit() {
          throw new Error('nothing is asked here');
        },
      },
      statuses: createStatusMapper(readErrorTable(registry)),
      wire: createStrictWire(registry),
      methods,
      log: createSilentLogger(),
    };
    expect(() => adaptService(ChainServiceService, createNotYetServed(ChainServiceService), lane)).toThrow(
      '/modhost.v1.ChainService/GetBlock has no handler or no declaration',
    );
  });
});
