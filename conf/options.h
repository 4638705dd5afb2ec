/* Command-line flags as a table, in the manner of Go's pflag, which the users of kube-proxy and ingress-nginx
 * know:
 * --name=value, --name value, --bool, --bool=false, -v 2, -v=2, lists repeated or separated by commas.
 *
 * Invariants
 *  1. Values go straight into the caller's struct, at the row's offset; what is not given keeps its default
 * there.
 *  2. An unknown flag is no error: it is collected, so that a drop-in's argument list starts and is warned
 * of. A wrong value is one, and names the flag.
 *  3. Everything allocated lives in the result's arena; plain strings point into argv. */
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "base/arena.h"
#include "base/err.h"

struct option_strings {
	const char **items;
	size_t count;
};

struct option_cidrs {
	struct cidr *items;
	size_t count;
};

enum option_type {
	OPTION_BOOL,         /* bool */
	OPTION_STRING,       /* const char * */
	OPTION_U32,          /* uint32_t */
	OPTION_I32,          /* int32_t */
	OPTION_PORT,         /* uint16_t, 0 to 65535 */
	OPTION_DURATION,     /* double, seconds; Go text: "5s", "1m30s", "250ms"; a bare number is seconds */
	OPTION_SIZE,         /* uint64_t, bytes; nginx text: "8k", "1m", "2g", "0" */
	OPTION_STRINGS,      /* struct option_strings, each use adds one */
	OPTION_LIST,         /* struct option_strings, each use adds what stands between its commas */
	OPTION_CIDRS,        /* struct option_cidrs, comma separated */
	OPTION_IP,           /* struct ip */
	OPTION_ADDR,         /* struct endpoint_addr */
	OPTION_CHOICE,       /* unsigned, index into choices */
	OPTION_IGNORED,      /* accepted with or without a value, has no effect; `help` says why */
	OPTION_IGNORED_BOOL, /* the same, but never takes the next argument as its value */
};

struct option {
	const char *name;
	char letter; /* 0: none */
	enum option_type type;
	size_t offset;              /* of the destination in the caller's struct */
	const char *argument;       /* what --help calls the value; NULL: made from the type */
	const char *help;           /* one line, no period */
	const char *const *choices; /* OPTION_CHOICE: NULL-terminated */
};

/* Rows of one heading in --help; a table of groups ends with a NULL title. */
struct option_group {
	const char *title;
	const struct option *options;
	size_t count;
};

struct options_result {
	struct option_strings positional; /* what is no flag, and everything after "--" */
	struct option_strings unknown;    /* flags nobody knows, as written */
	struct option_strings ignored;    /* names of OPTION_IGNORED flags that were given */
	bool help;                        /* --help or -h */
	struct arena arena;
};

/* args: without the program's and the subcommand's name. 0, -EINVAL with *err, -ENOMEM. */
int options_parse(const struct option_group *groups, int arg_count, char *const *args, void *config,
		  struct options_result *ret, struct err *err);
void options_result_done(struct options_result *result);

/* One flag by name, for configuration files that name the same settings. -ENOENT when there is none. */
int options_set(const struct option_group *groups, const char *name, const char *value, void *config,
		struct arena *arena, struct err *err);

/* The row of that name, or NULL. */
const struct option *options_find(const struct option_group *groups, const char *name);

/* usage, then each group; defaults: a config as it is before parsing. At most 100 columns wide. */
void options_help(FILE *out, const char *usage, const struct option_group *groups, const void *defaults);

/* "1h30m0s", "250ms": what duration_parse and Go read back, at the precision of a millisecond. */
const char *duration_format(double seconds, char buffer[static 48]);

/* Go's time.ParseDuration for durations of zero and more; a bare number is seconds. 0 or -EINVAL. */
int duration_parse(struct str text, double *ret_seconds);

#endif
