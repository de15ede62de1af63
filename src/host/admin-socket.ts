/** Name of the operator's socket in the socket directory. Apart, so that a client needs nothing of the host to find it. */
export const ADMIN_SOCKET = 'admin.sock';
