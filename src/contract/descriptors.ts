import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createFileRegistry, type FileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

/**
 * Directory of the package: the nearest folder above this file that holds `gen/modhost.binpb`.
 * The compiler does not copy the descriptor set, so sources and build read the same file.
 */
export function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const parent = dirname(dir);
    if (parent === dir) throw new Error('gen/modhost.binpb not found above the modhost package');
    dir = parent;
    if (existsSync(join(dir, 'gen', 'modhost.binpb'))) return dir;
  }
}

/** Bytes of the descriptor set of the whole contract, as `buf build` wrote them. */
export function readDescriptorSet(): Uint8Array {
  return readFileSync(join(packageRoot(), 'gen', 'modhost.binpb'));
}

/** Registry of every message, enum, service and option of the contract. */
export function createContractRegistry(): FileRegistry {
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, readDescriptorSet()));
}

/** The registry by the name that other rooms use; they need no protobuf library for it. */
export type ContractRegistry = FileRegistry;
