/* One pass over the saved text: a doomed chain is declared (which empties it) and deleted at the table's end; a rule of
 * another chain that jumps to it is deleted by its own words. */
#include "proxy/legacy_rules.h"

#include <errno.h>

#include "base/cleanup.h"

struct rewriting {
	bool (*doomed)(const char *chain);
	struct buf *out;
	struct buf rules, deletions; /* of the table being read */
	size_t count;
};

static bool is_doomed(const struct rewriting *rewriting, struct str name)
{
	char text[64];

	if (name.len == 0 || name.len >= sizeof(text))
		return false;
	memcpy(text, name.p, name.len);
	text[name.len] = '\0';
	return rewriting->doomed(text);
}

/* ":KUBE-SERVICES - [0:0]" */
static void read_chain(struct rewriting *rewriting, struct str line)
{
	struct str name;

	(void)str_cut((struct str){line.p + 1, line.len - 1}, ' ', &name);
	if (!is_doomed(rewriting, name))
		return;
	rewriting->count++;
	(void)buf_printf(rewriting->out, ":%.*s - [0:0]\n", (int)name.len, name.p);
	(void)buf_printf(&rewriting->deletions, "-X %.*s\n", (int)name.len, name.p);
}

/* What stands behind "-j" or "-g" at the end of a rule; a comment may hold anything, but not behind that. */
static struct str target_of(struct str rule)
{
	struct str last = {0}, word = {0}, before = {0};

	while (rule.p) {
		rule = str_cut(rule, ' ', &word);
		if (str_is(before, "-j") || str_is(before, "-g"))
			last = word;
		before = word;
	}
	return last;
}

/* "-A PREROUTING -m comment ... -j KUBE-SERVICES" */
static void read_rule(struct rewriting *rewriting, struct str line)
{
	struct str rest = {line.p + 3, line.len - 3}, chain;

	(void)str_cut(rest, ' ', &chain);
	if (!is_doomed(rewriting, chain) && is_doomed(rewriting, target_of(rest)))
		(void)buf_printf(&rewriting->rules, "-D %.*s\n", (int)rest.len, rest.p);
}

static void end_table(struct rewriting *rewriting)
{
	(void)buf_append_str(rewriting->out, buf_str(&rewriting->rules));
	(void)buf_append_str(rewriting->out, buf_str(&rewriting->deletions));
	(void)buf_append_text(rewriting->out, "COMMIT\n");
	buf_clear(&rewriting->rules);
	buf_clear(&rewriting->deletions);
}

static void read_line(struct rewriting *rewriting, struct str line)
{
	if (line.len == 0)
		return;
	if (line.p[0] == '*')
		(void)buf_printf(rewriting->out, "%.*s\n", (int)line.len, line.p);
	else if (line.p[0] == ':')
		read_chain(rewriting, line);
	else if (str_has_prefix(line, STR_LIT("-A ")))
		read_rule(rewriting, line);
	else if (str_is(line, "COMMIT"))
		end_table(rewriting);
}

int legacy_rules_removal(struct str saved, bool (*doomed)(const char *chain), struct buf *out,
			 size_t *ret_count)
{
	struct rewriting rewriting = {.doomed = doomed, .out = out};
	bool failed;

	while (saved.p) {
		struct str line;

		saved = str_cut(saved, '\n', &line);
		read_line(&rewriting, str_trim(line));
	}
	failed = buf_failed(out) || buf_failed(&rewriting.rules) || buf_failed(&rewriting.deletions);
	buf_done(&rewriting.rules);
	buf_done(&rewriting.deletions);
	if (!failed)
		*ret_count = rewriting.count;
	return failed ? -ENOMEM : 0;
}
