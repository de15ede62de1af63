/* Ways to the network and to other sockets of the machine. */
#include "probe.h"

#include <arpa/inet.h>
#include <linux/if_alg.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sys/time.h>

static int opens(int family, int type, int protocol) {
  int fd = socket(family, type | SOCK_CLOEXEC, protocol);
  if (fd == -1) return errno;
  close(fd);
  return 0;
}

static int connects(int fd, const void *address, socklen_t length) {
  if (fd == -1) return errno;
  int answer = connect(fd, address, length) == -1 ? errno : 0;
  close(fd);
  return answer;
}

static struct sockaddr_in loopback(const char *port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)number(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static int tcp_loopback(void) {
  const struct sockaddr_in address = loopback("tcpport");
  return connects(socket(AF_INET, SOCK_STREAM, 0), &address, sizeof address);
}

static int tcp6_loopback(void) {
  const struct sockaddr_in6 address = {
      .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)number("tcpport")), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  return connects(socket(AF_INET6, SOCK_STREAM, 0), &address, sizeof address);
}

/* TCP Fast Open connects without connect(2). */
static int tcp_fast_open(void) {
  const struct sockaddr_in address = loopback("tcpport");
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  TRY(fd);
  TRY(sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (const struct sockaddr *)&address, sizeof address));
  return 0;
}

/* The host's echo answers: what was sent has arrived. */
static int udp_loopback(void) {
  const struct sockaddr_in address = loopback("udpport");
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  TRY(fd);
  const struct timeval patience = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  TRY(sendto(fd, "ping", 4, 0, (const struct sockaddr *)&address, sizeof address));
  char text[16];
  ssize_t length = recv(fd, text, sizeof text, 0);
  TRY(length);
  found(text, (size_t)length);
  return 0;
}

static int listen_tcp(void) {
  const struct sockaddr_in address = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  TRY(fd);
  TRY(bind(fd, (const struct sockaddr *)&address, sizeof address));
  TRY(listen(fd, 1));
  close(fd);
  return 0;
}

static int connects_unix(const char *path, int is_abstract, int type) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (length + 1 >= sizeof address.sun_path) return ENAMETOOLONG;
  memcpy(address.sun_path + is_abstract, path, length);
  return connects(socket(AF_UNIX, type, 0), &address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (size_t)is_abstract));
}
/* Some servers bind the name alone, some with zeros up to the end of the address. */
static int abstract_socket(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path + 1, param("abstract"), sizeof address.sun_path - 2);
  if (connects(socket(AF_UNIX, SOCK_STREAM, 0), &address, sizeof address) == 0) return 0;
  return connects_unix(param("abstract"), 1, SOCK_STREAM);
}
static int other_module_socket(void) { return connects_unix(param("othersocket"), 0, SOCK_STREAM); }
static int admin_socket(void) { return connects_unix(param("adminsocket"), 0, SOCK_STREAM); }

static int socket_through_proc(const char *pid, const char *path) {
  char through[4096];
  snprintf(through, sizeof through, "/proc/%s/root%s", pid, path);
  /* A socket's path has room for 107 bytes: by a short link to the long way. */
  const char *link = own_path("s");
  unlink(link);
  TRY(symlink(through, link));
  int answer = connects_unix(link, 0, SOCK_STREAM);
  unlink(link);
  return answer;
}
static int admin_socket_by_proc(void) { return socket_through_proc(param("hostpid"), param("adminsocket")); }
static int other_socket_by_proc(void) { return socket_through_proc(param("hostpid"), param("othersocket")); }

/* Not an escape: it must work on both sides, or the refusals around it say nothing. */
static int own_socket(void) {
  char path[4096];
  snprintf(path, sizeof path, "%s/module.sock", param("socketdir"));
  return connects_unix(path, 0, SOCK_STREAM);
}

static int netlink_route(void) { return opens(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }
static int netlink_events(void) { return opens(AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT); }
static int netlink_diagnosis(void) { return opens(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG); }
static int netlink_audit(void) { return opens(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT); }
static int netlink_firewall(void) { return opens(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER); }
static int packet_socket(void) { return opens(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)); }
static int raw_socket(void) { return opens(AF_INET, SOCK_RAW, IPPROTO_ICMP); }
static int raw6_socket(void) { return opens(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6); }
static int multipath_socket(void) { return opens(AF_INET, SOCK_STREAM, 262); }
static int vsock_socket(void) { return opens(AF_VSOCK, SOCK_STREAM, 0); }
static int vsock_host(void) {
  /* To the machine that this one is a guest of. */
  const struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = 4242};
  int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK, 0);
  int answer = connects(fd, &address, sizeof address);
  return answer == EINPROGRESS ? 0 : answer;
}
static int crypto_socket(void) { return opens(AF_ALG, SOCK_SEQPACKET, 0); }
static int bluetooth_socket(void) { return opens(AF_BLUETOOTH, SOCK_RAW, 1); }
static int express_socket(void) { return opens(AF_XDP, SOCK_RAW, 0); }
static int can_socket(void) { return opens(AF_CAN, SOCK_RAW, 1); }
static int tipc_socket(void) { return opens(AF_TIPC, SOCK_STREAM, 0); }
static int key_socket(void) { return opens(AF_KEY, SOCK_RAW, 2); }
static int reliable_datagrams(void) { return opens(AF_RDS, SOCK_SEQPACKET, 0); }

static int pair_of_family(void) {
  int pair[2];
  /* IP has no pairs: the kernel says EOPNOTSUPP, the filter does not let it come that far. */
  TRY(socketpair(AF_INET, SOCK_STREAM, 0, pair));
  return 0;
}

/*
 * A socket of the host's network is a way into it even when it listens or is connected: it can be dissolved and
 * connected anew, to the host's own loopback for instance.
 */
static int reaim_inherited_socket(void) {
  const struct sockaddr_in address = loopback("tcpport");
  int answer = ENOTSOCK;
  for (int fd = 0; fd < 1024; fd++) {
    int family = 0;
    socklen_t length = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) == -1) continue;
    if (family != AF_INET && family != AF_INET6) continue;
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    if (connect(fd, &none, sizeof none) == -1) answer = errno;
    else answer = connect(fd, (const struct sockaddr *)&address, sizeof address) == -1 ? errno : 0;
    if (answer == EINPROGRESS) answer = 0;
    if (answer == 0) break;
  }
  return answer;
}

const struct probe socket_probes[] = {
    {"tcp-host-loopback", tcp_loopback},
    {"tcp6-host-loopback", tcp6_loopback},
    {"tcp-fast-open", tcp_fast_open},
    {"udp-host-loopback", udp_loopback},
    {"tcp-listen", listen_tcp},
    {"abstract-socket", abstract_socket},
    {"other-module-socket", other_module_socket},
    {"admin-socket", admin_socket},
    {"admin-socket-by-proc", admin_socket_by_proc},
    {"other-module-socket-by-proc", other_socket_by_proc},
    {"control-own-socket", own_socket},
    {"netlink-route", netlink_route},
    {"netlink-events", netlink_events},
    {"netlink-diagnosis", netlink_diagnosis},
    {"netlink-audit", netlink_audit},
    {"netlink-firewall", netlink_firewall},
    {"packet-socket", packet_socket},
    {"raw-socket", raw_socket},
    {"raw6-socket", raw6_socket},
    {"multipath-socket", multipath_socket},
    {"vsock-socket", vsock_socket},
    {"vsock-host", vsock_host},
    {"crypto-socket", crypto_socket},
    {"bluetooth-socket", bluetooth_socket},
    {"xdp-socket", express_socket},
    {"can-socket", can_socket},
    {"tipc-socket", tipc_socket},
    {"key-socket", key_socket},
    {"rds-socket", reliable_datagrams},
    {"socketpair-inet", pair_of_family},
    {"reaim-inherited-socket", reaim_inherited_socket},
    {NULL, NULL},
};
