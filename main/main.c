/* fairlead: the subcommands, their arguments, and where errors at the top are told. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "conf/node_write.h"
#include "main/check.h"
#include "main/flags.h"
#include "main/host.h"
#include "main/serve.h"

static const char usage[] = "usage: fairlead COMMAND [FLAG...]\n"
			    "\n"
			    "    proxy      the node's service proxy, in place of kube-proxy\n"
			    "    ingress    the HTTP(S) front, in place of ingress-nginx\n"
			    "    run        both in one process\n"
			    "    check      says what in manifests would not work\n"
			    "    version    prints the version\n"
			    "\n"
			    "Each command explains its flags with --help.\n";

static void set_up_log(const struct flags *flags)
{
	enum log_level least = flags->verbosity >= 4 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;

	log_setup(least, (enum log_format)flags->log_format);
}

static void tell_of_odd_flags(const struct options_result *result)
{
	for (size_t i = 0; i < result->unknown.count; i++)
		log_warn("unknown flag", L_STR("flag", result->unknown.items[i]));
	for (size_t i = 0; i < result->ignored.count; i++)
		log_warn("flag has no effect, see --help", L_STR("flag", result->ignored.items[i]));
	for (size_t i = 0; i < result->positional.count; i++)
		log_warn("argument has no meaning here", L_STR("argument", result->positional.items[i]));
}

static int write_config(const struct flags *flags, struct arena *arena, struct err *err)
{
	const struct node *document = flags_as_proxy_config(flags, arena);
	cleanup(buf_done) struct buf text = {0};
	FILE *file;
	bool written;

	if (!document || node_write_yaml(document, &text) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	file = fopen(flags->write_config_to, "we");
	if (!file)
		return err_set(err, -errno, "%s: %s", flags->write_config_to, strerror(errno));
	written = fwrite(buf_head(&text), 1, buf_len(&text), file) == buf_len(&text);
	if (fclose(file) != 0 || !written)
		return err_set(err, -EIO, "%s: %s", flags->write_config_to, strerror(errno));
	return 0;
}

static int run_servers(struct flags *flags, struct serve_halves halves, struct options_result *result,
		       struct err *err)
{
	int code = 0;

	if (flags->proxy_config)
		code = flags_read_proxy_config(flags, flags->proxy_config, &result->arena, err);
	if (code < 0)
		return code;
	set_up_log(flags);
	tell_of_odd_flags(result);
	code = flags_validate(flags, err);
	if (code < 0)
		return code;
	if (flags->write_config_to)
		return write_config(flags, &result->arena, err);
	if (flags->cleanup)
		return host_clean_up(err);
	if (flags->init_only) {
		(void)host_set_conntrack(flags, true);
		return 0;
	}
	return serve(flags, halves, err);
}

struct command {
	const char *name, *usage;
	const struct option_group *groups;
	struct serve_halves halves;
};

static const struct command commands[] = {
    {"proxy",
     "usage: fairlead proxy [FLAG...]\n\nThe node's service proxy: Services and endpoints in, nftables rules "
     "out.\n",
     flags_proxy,
     {.proxy = true}},
    {"ingress",
     "usage: fairlead ingress [FLAG...]\n\nThe HTTP(S) front: Ingresses, Services and Secrets in, requests "
     "routed.\n",
     flags_ingress,
     {.ingress = true}},
    {"run",
     "usage: fairlead run [FLAG...]\n\nBoth the service proxy and the ingress in one process.\n",
     flags_run,
     {.proxy = true, .ingress = true}},
    {"check",
     "usage: fairlead check [FLAG...] PATH...\n\n"
     "Reads manifests (files or directories) and prints what would not work, a line each:\n"
     "    file:line: kind namespace/name: field: why\n"
     "Exit status 0: clean, 1: findings, 2: something could not be read.\n",
     flags_check,
     {0}},
};

static int run_command(const struct command *command, int arg_count, char **args)
{
	struct flags flags = flags_default;
	struct options_result result;
	struct err err = {0};
	int status = 2;

	if (options_parse(command->groups, arg_count, args, &flags, &result, &err) < 0) {
		(void)fprintf(stderr, "fairlead %s: %s\n", command->name, err.text);
		return 2;
	}
	if (result.help) {
		options_help(stdout, command->usage, command->groups, &flags_default);
		status = 0;
	} else if (command->halves.proxy || command->halves.ingress) {
		int code = run_servers(&flags, command->halves, &result, &err);

		status = code == 0 ? 0 : 1;
		if (code < 0)
			log_error("failed", L_STR("why", err.text));
	} else {
		status = check(&flags, &result.positional);
	}
	options_result_done(&result);
	return status;
}

int main(int arg_count, char **args)
{
	const char *name = arg_count > 1 ? args[1] : "";

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].name) == 0)
			return run_command(&commands[i], arg_count - 2, args + 2);
	if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
		(void)printf("fairlead %s\n", FAIRLEAD_VERSION);
		return 0;
	}
	bool asked = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0;
	(void)fputs(usage, asked ? stdout : stderr);
	return asked ? 0 : 2;
}
