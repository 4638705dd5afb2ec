/* posix_spawn with input from a memory file and output through a pipe: nobody can wait for the other for ever. */
#include "proxy/program.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

static int input_file(struct str input)
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (input.len > 0) {
		ssize_t len = write(fd, input.p, input.len);

		if (len < 0) {
			(void)close(fd);
			return -errno;
		}
		input = (struct str){input.p + len, input.len - (size_t)len};
	}
	(void)lseek(fd, 0, SEEK_SET);
	return fd;
}

static int spawn(const char *const *args, int input, int output, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	int code = posix_spawn_file_actions_init(&actions);

	if (code)
		return -code;
	(void)posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	code = posix_spawnp(ret, args[0], &actions, NULL, (char *const *)(const void *)args, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -code;
}

/* To the end; what does not fit is read and dropped, so that the program can end. */
static int read_all(int fd, struct buf *output)
{
	char room[16384];
	int code = 0;

	for (;;) {
		ssize_t len = read(fd, room, sizeof(room));

		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			return len < 0 ? -errno : code;
		if (!output || code < 0)
			continue;
		if (buf_len(output) + (size_t)len > PROGRAM_OUTPUT_MAX)
			code = -EFBIG;
		else
			code = buf_append(output, room, (size_t)len);
	}
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

int program_run(const char *const *args, struct str input, struct buf *output)
{
	cleanup_close int in = input_file(input);
	int ends[2], code, ended;
	pid_t pid = -1;

	if (in < 0)
		return in;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	code = spawn(args, in, ends[1], &pid);
	(void)close(ends[1]);
	if (code == 0) {
		code = read_all(ends[0], output);
		ended = wait_for(pid);
		code = code < 0 ? code : ended;
	}
	(void)close(ends[0]);
	return code;
}
