/* Sweeps over the connection table: a dump on one netlink socket, read as the loop finds time, and deletions on
 * another, since a socket that dumps cannot do anything else. */
#include "proxy/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "proxy/clock.h"

#define SLICE_BYTES         (32 * 1024)
#define REST_FACTOR         4.0
#define FAMILY_COUNT        2
#define FILTER_BY_PROTO_NUM (1u << 3) /* of CTA_FILTER_ORIG_FLAGS; since kernel 5.8, ignored before */

static const int families[FAMILY_COUNT] = {AF_INET, AF_INET6};

struct conntrack {
	struct ev_loop *loop;
	struct conntrack_owner owner;
	struct mnl_socket *dump, *edit;
	struct ev_io readable;
	struct ev_timer rest;
	bool wanted[FAMILY_COUNT];
	int sweeping; /* family; 0: none */
	uint32_t sequence;
	uint64_t deleted;
	double begun_s;
	_Alignas(8) char slice[SLICE_BYTES];
};

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events);
static void on_rested(struct ev_loop *loop, ev_timer *watcher, int events);

static struct mnl_socket *open_socket(void)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (socket && mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		(void)mnl_socket_close(socket);
		return NULL;
	}
	return socket;
}

struct conntrack *conntrack_new(struct ev_loop *loop, const struct conntrack_owner *owner, struct err *err)
{
	struct conntrack *conntrack = calloc(1, sizeof(*conntrack));

	if (!conntrack) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	conntrack->loop = loop;
	conntrack->owner = *owner;
	conntrack->dump = open_socket();
	conntrack->edit = conntrack->dump ? open_socket() : NULL;
	if (!conntrack->edit) {
		(void)err_set(err, -errno, "cannot open a netfilter netlink socket: %s", strerror(errno));
		return conntrack_free(conntrack);
	}
	ev_io_init(&conntrack->readable, on_readable, mnl_socket_get_fd(conntrack->dump), EV_READ);
	ev_timer_init(&conntrack->rest, on_rested, 0., 0.);
	conntrack->readable.data = conntrack->rest.data = conntrack;
	return conntrack;
}

struct conntrack *conntrack_free(struct conntrack *conntrack)
{
	if (!conntrack)
		return NULL;
	ev_io_stop(conntrack->loop, &conntrack->readable);
	ev_timer_stop(conntrack->loop, &conntrack->rest);
	if (conntrack->dump)
		(void)mnl_socket_close(conntrack->dump);
	if (conntrack->edit)
		(void)mnl_socket_close(conntrack->edit);
	free(conntrack);
	return NULL;
}

/* ---- messages ---- */

static struct nlmsghdr *message(struct conntrack *conntrack, char *buffer, uint16_t type, uint16_t flags,
				int family)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
	struct nfgenmsg *body;

	header->nlmsg_type = (uint16_t)((NFNL_SUBSYS_CTNETLINK << 8) | type);
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	header->nlmsg_seq = ++conntrack->sequence;
	body = mnl_nlmsg_put_extra_header(header, sizeof(*body));
	body->nfgen_family = (uint8_t)family;
	body->version = NFNETLINK_V0;
	return header;
}

static int send_message(struct mnl_socket *socket, const struct nlmsghdr *header)
{
	return mnl_socket_sendto(socket, header, header->nlmsg_len) < 0 ? -errno : 0;
}

static int request_dump(struct conntrack *conntrack, int family)
{
	char buffer[512] = {0};
	struct nlmsghdr *header = message(conntrack, buffer, IPCTNL_MSG_CT_GET, NLM_F_DUMP, family);
	struct nlattr *tuple, *protocol, *filter;

	tuple = mnl_attr_nest_start(header, CTA_TUPLE_ORIG);
	protocol = mnl_attr_nest_start(header, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(header, CTA_PROTO_NUM, IPPROTO_UDP);
	mnl_attr_nest_end(header, protocol);
	mnl_attr_nest_end(header, tuple);
	filter = mnl_attr_nest_start(header, CTA_FILTER);
	mnl_attr_put_u32(header, CTA_FILTER_ORIG_FLAGS, FILTER_BY_PROTO_NUM);
	mnl_attr_put_u32(header, CTA_FILTER_REPLY_FLAGS, 0);
	mnl_attr_nest_end(header, filter);
	return send_message(conntrack->dump, header);
}

/* Was the deletion done? The kernel answers within the send; an entry that has just expired is no error. */
static bool deletion_acknowledged(struct conntrack *conntrack)
{
	char buffer[1024];
	ssize_t len = mnl_socket_recvfrom(conntrack->edit, buffer, sizeof(buffer));

	return len > 0 && mnl_cb_run(buffer, (size_t)len, conntrack->sequence,
				     mnl_socket_get_portid(conntrack->edit), NULL, NULL) >= MNL_CB_STOP;
}

/* Deletes the connection with the entry's original tuple. */
static void delete_entry(struct conntrack *conntrack, const struct nf_conntrack *entry)
{
	char buffer[2048] = {0};
	struct nlmsghdr *header = message(conntrack, buffer, IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
					  nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO));
	struct nf_conntrack *original = nfct_new();

	if (!original)
		return;
	nfct_copy(original, entry, NFCT_CP_ORIG);
	if (nfct_attr_is_set(entry, ATTR_ZONE))
		nfct_set_attr_u16(original, ATTR_ZONE, nfct_get_attr_u16(entry, ATTR_ZONE));
	if (!nfct_nlmsg_build(header, original) && !send_message(conntrack->edit, header) &&
	    deletion_acknowledged(conntrack))
		conntrack->deleted++;
	nfct_destroy(original);
}

static struct endpoint_addr address_of(const struct nf_conntrack *entry, int family,
				       enum nf_conntrack_attr attr_4, enum nf_conntrack_attr attr_6,
				       enum nf_conntrack_attr attr_port)
{
	struct endpoint_addr addr = {.ip = {.family = (uint16_t)family},
				     .port = ntohs(nfct_get_attr_u16(entry, attr_port))};
	const void *bytes = nfct_get_attr(entry, family == AF_INET ? attr_4 : attr_6);

	if (bytes)
		memcpy(addr.ip.bytes, bytes, ip_len(&addr.ip));
	return addr;
}

static void check_entry(struct conntrack *conntrack, const struct nlmsghdr *header)
{
	struct nf_conntrack *entry = nfct_new();
	int family = conntrack->sweeping;

	if (!entry)
		return;
	if (!nfct_nlmsg_parse(header, entry) && nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO) == family &&
	    nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO) == IPPROTO_UDP) {
		struct conntrack_entry found = {
		    .to =
			address_of(entry, family, ATTR_ORIG_IPV4_DST, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_DST),
		    .server =
			address_of(entry, family, ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV6_SRC, ATTR_REPL_PORT_SRC),
		};

		if (conntrack->owner.stale(conntrack->owner.ctx, &found))
			delete_entry(conntrack, entry);
	}
	nfct_destroy(entry);
}

/* ---- a sweep ---- */

static void begin_next(struct conntrack *conntrack)
{
	for (size_t i = 0; i < FAMILY_COUNT; i++) {
		int code;

		if (!conntrack->wanted[i])
			continue;
		conntrack->wanted[i] = false;
		conntrack->sweeping = families[i];
		conntrack->deleted = 0;
		conntrack->begun_s = monotonic_s();
		conntrack->owner.begin(conntrack->owner.ctx, families[i]);
		code = request_dump(conntrack, families[i]);
		if (!code) {
			ev_io_start(conntrack->loop, &conntrack->readable);
			return;
		}
		conntrack->sweeping = 0;
		log_warn("connection table cannot be read", L_STR("reason", strerror(-code)));
	}
}

static void end_sweep(struct conntrack *conntrack)
{
	double took_s = monotonic_s() - conntrack->begun_s;
	int family = conntrack->sweeping;

	ev_io_stop(conntrack->loop, &conntrack->readable);
	conntrack->sweeping = 0;
	conntrack->owner.end(conntrack->owner.ctx, family, conntrack->deleted, took_s);
	ev_timer_set(&conntrack->rest, took_s > 0 ? took_s * REST_FACTOR : 0., 0.);
	ev_timer_start(conntrack->loop, &conntrack->rest);
}

static void on_rested(struct ev_loop *loop, ev_timer *watcher, int events)
{
	struct conntrack *conntrack = watcher->data;

	(void)loop;
	(void)events;
	begin_next(conntrack);
}

/* True at the end of the dump. An interrupted dump (NLM_F_DUMP_INTR) is good enough: it has read most of the table, and
 * the next change sweeps again. */
static bool read_slice(struct conntrack *conntrack, size_t len_bytes)
{
	const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)conntrack->slice;

	for (int left = (int)len_bytes; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
		if (header->nlmsg_type == NLMSG_DONE)
			return true;
		if (header->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *error = mnl_nlmsg_get_payload(header);

			log_warn("connection table cannot be read", L_STR("reason", strerror(-error->error)));
			return true;
		}
		check_entry(conntrack, header);
	}
	return false;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
	struct conntrack *conntrack = watcher->data;
	ssize_t len = mnl_socket_recvfrom(conntrack->dump, conntrack->slice, sizeof(conntrack->slice));

	(void)loop;
	(void)events;
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len < 0)
		log_warn("connection table not read to its end", L_STR("reason", strerror(errno)));
	if (len <= 0 || read_slice(conntrack, (size_t)len))
		end_sweep(conntrack);
}

void conntrack_sweep(struct conntrack *conntrack, int family)
{
	conntrack->wanted[family == AF_INET ? 0 : 1] = true;
	if (!conntrack->sweeping && !ev_is_active(&conntrack->rest))
		begin_next(conntrack);
}
