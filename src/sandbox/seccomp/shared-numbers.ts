/**
 * Newest call that the filters know: `mseal` of Linux 6.10. Whoever raises it reads what every number in between does
 * and adds to `REFUSED` what a module must not have.
 */
export const NEWEST = 462;

/** Calls from 424 on have one number on all architectures (Linux 5.1 and later). */
export const SHARED_NUMBERS: readonly (readonly [string, number])[] = [
  ['io_uring_setup', 425],
  ['io_uring_enter', 426],
  ['io_uring_register', 427],
  ['open_tree', 428],
  ['move_mount', 429],
  ['fsopen', 430],
  ['fsconfig', 431],
  ['fsmount', 432],
  ['fspick', 433],
  ['clone3', 435],
  ['pidfd_getfd', 438],
  ['process_madvise', 440],
  ['mount_setattr', 442],
  ['quotactl_fd', 443],
  ['process_mrelease', 448],
  ['set_mempolicy_home_node', 450],
  ['statmount', 457],
  ['listmount', 458],
  ['lsm_set_self_attr', 460],
];
