/* One nftables batch for each of IPv4 and IPv6: new TCP connections to our listener, DNS to our socket, everything else refused at once. */
#include "netlink.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>

#define TABLE "nemoclaw"
/* Questions a second that reach the data plane, of each family, and as many at once. It answers half as many, so that it sees when there are too many, and says so on record; what a flood has beyond that would keep it from other sandboxes only to be thrown away. */
#define QUESTIONS 1000
#define MESSAGE(type) ((uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (type)))

/* What differs between the families; one batch at a time is built. */
static struct {
  uint8_t family;
  uint32_t destination, length; /* of the address in the network header */
  const unsigned char *own;     /* loopback */
  size_t loopback;              /* bytes of it that all of loopback share */
  unsigned char unreachable;    /* ICMP code */
} ip;

static const unsigned char own4[4] = {127, 0, 0, 1};
static const unsigned char own6[16] = {[15] = 1};

static void begin(struct batch *b, int type, uint16_t flags) {
  struct nfgenmsg header = {.nfgen_family = ip.family, .version = NFNETLINK_V0};
  batch_begin(b, MESSAGE(type), flags, &header, sizeof header);
}

static void boundary(struct batch *b, uint16_t type, uint16_t flags) {
  struct nfgenmsg header = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
  batch_begin(b, type, flags, &header, sizeof header);
  batch_end(b);
}

static void chain(struct batch *b, const char *name, const char *type, uint32_t hook, int priority) {
  begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  batch_string(b, NFTA_CHAIN_TABLE, TABLE);
  batch_string(b, NFTA_CHAIN_NAME, name);
  batch_open(b, NFTA_CHAIN_HOOK);
  batch_u32(b, NFTA_HOOK_HOOKNUM, hook);
  batch_u32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
  batch_close(b);
  batch_u32(b, NFTA_CHAIN_POLICY, NF_ACCEPT);
  batch_string(b, NFTA_CHAIN_TYPE, type);
  batch_end(b);
}

static void rule(struct batch *b, const char *name) {
  begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  batch_string(b, NFTA_RULE_TABLE, TABLE);
  batch_string(b, NFTA_RULE_CHAIN, name);
  batch_open(b, NFTA_RULE_EXPRESSIONS);
}

static void rule_end(struct batch *b) {
  batch_close(b);
  batch_end(b);
}

static void expression(struct batch *b, const char *name) {
  batch_open(b, NFTA_LIST_ELEM);
  batch_string(b, NFTA_EXPR_NAME, name);
  batch_open(b, NFTA_EXPR_DATA);
}

static void expression_end(struct batch *b) {
  batch_close(b);
  batch_close(b);
}

static void value(struct batch *b, uint16_t attribute, const void *data, size_t length) {
  batch_open(b, attribute);
  batch_attr(b, NFTA_DATA_VALUE, data, length);
  batch_close(b);
}

static void load(struct batch *b, uint32_t base, uint32_t offset, uint32_t length) {
  expression(b, "payload");
  batch_u32(b, NFTA_PAYLOAD_DREG, NFT_REG_1);
  batch_u32(b, NFTA_PAYLOAD_BASE, base);
  batch_u32(b, NFTA_PAYLOAD_OFFSET, offset);
  batch_u32(b, NFTA_PAYLOAD_LEN, length);
  expression_end(b);
}

static void equals(struct batch *b, const void *data, size_t length) {
  expression(b, "cmp");
  batch_u32(b, NFTA_CMP_SREG, NFT_REG_1);
  batch_u32(b, NFTA_CMP_OP, NFT_CMP_EQ);
  value(b, NFTA_CMP_DATA, data, length);
  expression_end(b);
}

static void immediate(struct batch *b, uint32_t reg, const void *data, size_t length) {
  expression(b, "immediate");
  batch_u32(b, NFTA_IMMEDIATE_DREG, reg);
  value(b, NFTA_IMMEDIATE_DATA, data, length);
  expression_end(b);
}

static void verdict(struct batch *b, int code) {
  expression(b, "immediate");
  batch_u32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
  batch_open(b, NFTA_IMMEDIATE_DATA);
  batch_open(b, NFTA_DATA_VERDICT);
  batch_u32(b, NFTA_VERDICT_CODE, (uint32_t)code);
  batch_close(b);
  batch_close(b);
  expression_end(b);
}

static void to_loopback(struct batch *b, size_t bytes) {
  load(b, NFT_PAYLOAD_NETWORK_HEADER, ip.destination, (uint32_t)bytes);
  equals(b, ip.own, bytes);
}

static void protocol(struct batch *b, unsigned char number) {
  expression(b, "meta");
  batch_u32(b, NFTA_META_DREG, NFT_REG_1);
  batch_u32(b, NFTA_META_KEY, NFT_META_L4PROTO);
  expression_end(b);
  equals(b, &number, 1);
}

/* Only the SYN: a SYN-ACK passes prerouting of the same loopback and must not be taken for a new connection. */
static void first_packet(struct batch *b) {
  unsigned char mask = 0x12, zero = 0, syn = 0x02;
  load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);
  expression(b, "bitwise");
  batch_u32(b, NFTA_BITWISE_SREG, NFT_REG_1);
  batch_u32(b, NFTA_BITWISE_DREG, NFT_REG_1);
  batch_u32(b, NFTA_BITWISE_LEN, 1);
  value(b, NFTA_BITWISE_MASK, &mask, 1);
  value(b, NFTA_BITWISE_XOR, &zero, 1);
  expression_end(b);
  equals(b, &syn, 1);
}

static void to_port(struct batch *b, uint16_t port) {
  uint16_t at = htons(port);
  load(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
  equals(b, &at, sizeof at);
}

/* To the listener, whatever the address; the packet keeps it. */
static void to_listener(struct batch *b, uint16_t port) {
  uint16_t at = htons(port);
  immediate(b, NFT_REG_2, &at, sizeof at);
  expression(b, "tproxy");
  batch_u32(b, NFTA_TPROXY_FAMILY, ip.family);
  batch_u32(b, NFTA_TPROXY_REG_PORT, NFT_REG_2);
  expression_end(b);
  verdict(b, NF_ACCEPT);
}

static void capture_tcp(struct batch *b, uint16_t port, uint16_t dns_port) {
  rule(b, "in"); /* questions over TCP, also to an address of loopback */
  protocol(b, IPPROTO_TCP);
  first_packet(b);
  to_port(b, dns_port);
  to_listener(b, port);
  rule_end(b);
  rule(b, "in");
  to_loopback(b, ip.loopback);
  verdict(b, NF_ACCEPT);
  rule_end(b);
  rule(b, "in");
  protocol(b, IPPROTO_TCP);
  first_packet(b);
  to_listener(b, port);
  rule_end(b);
}

/* Matches what comes faster than that. */
static void faster(struct batch *b, uint32_t per_second) {
  expression(b, "limit");
  batch_u64(b, NFTA_LIMIT_RATE, per_second);
  batch_u64(b, NFTA_LIMIT_UNIT, 1);
  batch_u32(b, NFTA_LIMIT_BURST, per_second);
  batch_u32(b, NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
  expression_end(b);
}

static void capture_dns(struct batch *b, uint16_t port) {
  uint16_t at = htons(port);
  rule(b, "dns"); /* already ours, no translation needed */
  to_loopback(b, ip.length);
  verdict(b, NFT_RETURN);
  rule_end(b);
  rule(b, "dns");
  protocol(b, IPPROTO_UDP);
  to_port(b, port);
  immediate(b, NFT_REG_1, &at, sizeof at);
  expression(b, "redir");
  batch_u32(b, NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1);
  expression_end(b);
  rule_end(b);
}

static void reject(struct batch *b, uint32_t type, const unsigned char *code) {
  expression(b, "reject");
  batch_u32(b, NFTA_REJECT_TYPE, type);
  batch_attr(b, NFTA_REJECT_ICMP_CODE, code, 1);
  expression_end(b);
}

/* Lost as on any network: whoever asked asks again. */
static void limit_dns(struct batch *b, uint16_t port) {
  rule(b, "late");
  protocol(b, IPPROTO_UDP);
  to_port(b, port);
  faster(b, QUESTIONS);
  verdict(b, NF_DROP);
  rule_end(b);
}

static void refuse_rest(struct batch *b, uint16_t port) {
  rule(b, "out"); /* our listener takes what is captured, and nothing that asks for it */
  to_loopback(b, ip.loopback);
  protocol(b, IPPROTO_TCP);
  first_packet(b);
  to_port(b, port);
  reject(b, NFT_REJECT_TCP_RST, &ip.unreachable);
  rule_end(b);
  rule(b, "out");
  to_loopback(b, ip.loopback);
  verdict(b, NF_ACCEPT);
  rule_end(b);
  rule(b, "out");
  protocol(b, IPPROTO_TCP);
  verdict(b, NF_ACCEPT);
  rule_end(b);
  rule(b, "out");
  protocol(b, IPPROTO_UDP);
  verdict(b, NF_ACCEPT);
  rule_end(b);
  rule(b, "out");
  reject(b, NFT_REJECT_ICMP_UNREACH, &ip.unreachable);
  rule_end(b);
  rule(b, "late");
  to_loopback(b, ip.loopback);
  verdict(b, NF_ACCEPT);
  rule_end(b);
  rule(b, "late"); /* refused where it arrives: the sender learns it from ICMP, as from a host without the port, and QUIC falls back to TCP at once */
  protocol(b, IPPROTO_UDP);
  reject(b, NFT_REJECT_ICMP_UNREACH, &ip.unreachable);
  rule_end(b);
}

/* The translation of DNS needs connection tracking; TCP does not and is spared its cost. */
static void spare_tcp(struct batch *b) {
  rule(b, "raw");
  protocol(b, IPPROTO_TCP);
  expression(b, "notrack");
  expression_end(b);
  rule_end(b);
}

static void table(struct batch *b, int type, uint16_t flags) {
  begin(b, type, flags);
  batch_string(b, NFTA_TABLE_NAME, TABLE);
  batch_end(b);
}

int nftables_capture(int family, uint16_t tcp_port, uint16_t dns_port, bool again, struct fault *f) {
  struct batch b = {.length = 0};
  ip.family = family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
  ip.destination = family == AF_INET6 ? 24 : 16;
  ip.length = family == AF_INET6 ? sizeof own6 : sizeof own4;
  ip.own = family == AF_INET6 ? own6 : own4;
  ip.loopback = family == AF_INET6 ? sizeof own6 : 1;
  ip.unreachable = family == AF_INET6 ? 4 : 3; /* port unreachable */
  boundary(&b, NFNL_MSG_BATCH_BEGIN, 0);
  table(&b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
  if (again) {
    table(&b, NFT_MSG_DELTABLE, 0);
    table(&b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
  }
  chain(&b, "raw", "filter", NF_INET_LOCAL_OUT, -300);
  chain(&b, "in", "filter", NF_INET_PRE_ROUTING, -150);
  chain(&b, "dns", "nat", NF_INET_LOCAL_OUT, -100);
  chain(&b, "out", "filter", NF_INET_LOCAL_OUT, 0);
  chain(&b, "late", "filter", NF_INET_LOCAL_IN, 0);
  spare_tcp(&b);
  capture_tcp(&b, tcp_port, dns_port);
  capture_dns(&b, dns_port);
  limit_dns(&b, dns_port);
  refuse_rest(&b, tcp_port);
  boundary(&b, NFNL_MSG_BATCH_END, NLM_F_ACK);
  if (b.overflow) return fault(f, "internal", 0, "network: batch too long");
  int e = netlink_exchange(NETLINK_NETFILTER, b.bytes, b.length);
  return e != 0 ? fault(f, "network", -e, "network: nftables for IPv%d%s", family == AF_INET6 ? 6 : 4, e == -ENOENT ? " (the kernel lacks one of tproxy, redir, reject, notrack, limit)" : "") : 0;
}
