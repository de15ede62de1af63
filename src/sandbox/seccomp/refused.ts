/**
 * Calls that a module never needs and that reach into the machine, into other processes, or into parts of the kernel
 * where most escapes were found. Most of them are refused by the kernel as well, for want of a privilege: the filter is
 * the second wall, and the one that stands when the kernel's own check has a hole.
 */
export const REFUSED: readonly string[] = [
  // What is seen of the file systems.
  ...['mount', 'umount2', 'pivot_root', 'chroot', 'open_tree', 'move_mount', 'fsopen', 'fsconfig', 'fsmount', 'fspick'],
  ...['mount_setattr', 'quotactl', 'quotactl_fd', 'swapon', 'swapoff', 'sysfs', 'ustat'],
  // Files past their paths and permissions.
  ...['open_by_handle_at', 'name_to_handle_at', 'fanotify_init', 'fanotify_mark', 'lookup_dcookie', 'nfsservctl'],
  // Namespaces.
  ...['unshare', 'setns', 'sethostname', 'setdomainname'],
  // Other processes, their memory and their descriptors.
  ...['ptrace', 'process_vm_readv', 'process_vm_writev', 'process_madvise', 'process_mrelease', 'kcmp', 'pidfd_getfd'],
  ...['mbind', 'set_mempolicy', 'set_mempolicy_home_node', 'migrate_pages', 'move_pages'],
  // Programs for the kernel to run, and its least guarded doors.
  ...['bpf', 'perf_event_open', 'userfaultfd', 'io_uring_setup', 'io_uring_enter', 'io_uring_register'],
  ...['keyctl', 'add_key', 'request_key', 'lsm_set_self_attr', 'modify_ldt', 'iopl', 'ioperm', 'vhangup', 'uselib'],
  ...['kexec_load', 'kexec_file_load', 'init_module', 'finit_module', 'delete_module', 'create_module'],
  ...['get_kernel_syms', 'query_module', '_sysctl', 'vserver'],
  // The machine itself.
  ...['reboot', 'acct', 'syslog', 'settimeofday', 'clock_settime', 'clock_adjtime', 'adjtimex'],
];

/**
 * Calls that are said not to exist, because programs then take an older way: clone3 keeps its flags in memory, which a
 * filter cannot read; the list of mounts stands in /proc as well, for the caller's own namespace alone.
 */
export const ABSENT: readonly string[] = ['clone3', 'statmount', 'listmount'];
