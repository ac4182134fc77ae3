/* Does a list of operations, each on names of its own, and prints how each ended: its errno by number, 0 for success. Lines of stdin: operation TAB path TAB second path. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each call by its plain name where the machine has one: this is what an agent's program may use as well as the *at calls of the C library. */
static int opened(int fd) {
	if (fd < 0) return errno;
	close(fd);
	return 0;
}

static int outcome(long result) { return result < 0 ? errno : 0; }

/* The program's own start is reported through a pipe that a successful exec closes. */
static int execution(const char *path) {
	int ends[2], code = 0;
	if (pipe2(ends, O_CLOEXEC) < 0) return errno;
	pid_t pid = fork();
	if (pid < 0) return errno;
	if (pid == 0) {
		char *argv[] = {(char *)path, NULL}, *env[] = {NULL};
		int nothing = open("/dev/null", O_RDWR);
		dup2(nothing, 0);
		dup2(nothing, 1);
		dup2(nothing, 2);
		execve(path, argv, env);
		code = errno;
		if (write(ends[1], &code, sizeof code) < 0) _exit(126);
		_exit(127);
	}
	close(ends[1]);
	if (read(ends[0], &code, sizeof code) != sizeof code) code = 0;
	close(ends[0]);
	waitpid(pid, NULL, 0);
	return code;
}

static int connection(const char *path) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path) return ENAMETOOLONG;
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) return errno;
	int code = outcome(connect(fd, (struct sockaddr *)&address, sizeof address));
	close(fd);
	return code;
}

/* In the sandbox's private folders nobody outside can lay out what an operation needs. */
static int prepare(const char *kind, const char *path, const char *content) {
	if (strcmp(kind, "folder") == 0) return outcome(mkdir(path, 0755));
	if (strcmp(kind, "socket") == 0) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		strncpy(address.sun_path, path, sizeof address.sun_path - 1);
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		/* stays open: somebody must listen */
		return fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 8) < 0 ? errno : 0;
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0755), program = open(content, O_RDONLY);
	char bytes[16384];
	ssize_t n = program < 0 ? 0 : read(program, bytes, sizeof bytes);
	int code = fd < 0 || (n > 0 && write(fd, bytes, (size_t)n) != n) ? errno : 0;
	close(program);
	close(fd);
	return code;
}

static int perform(const char *op, const char *path, const char *to) {
	if (strcmp(op, "read") == 0) return opened(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
	if (strcmp(op, "write") == 0) return opened(open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK));
	if (strcmp(op, "create") == 0) return opened(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
	if (strcmp(op, "mkdir") == 0) return outcome(mkdir(path, 0755));
	if (strcmp(op, "delete") == 0) return outcome(unlink(path));
	if (strcmp(op, "delete-folder") == 0) return outcome(rmdir(path));
	if (strcmp(op, "rename") == 0) return outcome(rename(path, to));
	if (strcmp(op, "link") == 0) return outcome(link(path, to));
	if (strcmp(op, "truncate") == 0) return outcome(truncate(path, 0));
	if (strcmp(op, "chmod") == 0) return outcome(chmod(path, 0700));
	if (strcmp(op, "exec") == 0) return execution(path);
	if (strcmp(op, "connect") == 0) return connection(path);
	if (strncmp(op, "prepare-", 8) == 0) return prepare(op + 8, path, to);
	return -1;
}

int main(void) {
	char *line = NULL;
	size_t size = 0;
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	while (getline(&line, &size, stdin) > 0) {
		line[strcspn(line, "\n")] = 0;
		char *rest = line, *op = strsep(&rest, "\t"), *path = strsep(&rest, "\t"), *to = strsep(&rest, "\t");
		printf("%d\n", perform(op, path ? path : "", to ? to : ""));
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
