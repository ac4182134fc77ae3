/* PID 1 of the guest: loads modules, mounts the disks and the kernel's file systems, runs one script, reports its exit code to the host, powers off. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MODULE_INIT_COMPRESSED_FILE
#define MODULE_INIT_COMPRESSED_FILE 4
#endif

/* The virtio port whose other end the host reads; the console until it is there. */
static int host = 2;

static void say(const char *format, ...) {
	char line[512];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (n > 0 && write(host, line, n < (int)sizeof line ? n : (int)sizeof line - 1) < 0) return;
}

static void power_off(int code) {
	say("\x1eGUEST EXIT %d\n", code);
	sync();
	usleep(20000);
	reboot(RB_POWER_OFF);
	for (;;) pause();
}

static void die(const char *what) {
	say("guest init: %s: %s\n", what, strerror(errno));
	power_off(255);
}

static void mount_at(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
	mkdir(target, 0755);
	if (mount(source, target, type, flags, data) < 0) {
		say("guest init: mount %s on %s: %s\n", type, target, strerror(errno));
	}
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

/* Files are named NN-name.ko or NN-name.ko.xz, in loading order. */
static void load_modules(void) {
	struct dirent **names;
	int n = scandir("/modules", &names, NULL, by_name);
	for (int i = 0; i < n; i++) {
		char path[300];
		if (names[i]->d_name[0] == '.') continue;
		snprintf(path, sizeof path, "/modules/%s", names[i]->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC), flags = strstr(path, ".xz") ? MODULE_INIT_COMPRESSED_FILE : 0;
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", flags) < 0 && errno != EEXIST)) say("guest init: module %s: %s\n", names[i]->d_name, strerror(errno));
		close(fd);
	}
}

/* Devices appear a little after their driver. */
static int wait_open(const char *path, int flags) {
	for (int i = 0; i < 500; i++) {
		int fd = open(path, flags | O_CLOEXEC);
		if (fd >= 0) return fd;
		usleep(10000);
	}
	return -1;
}

static void kernel_file_systems(void) {
	mount_at("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_at("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_at("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL);
	mount_at("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
	mount_at("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	mount_at("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV, NULL);
	mount_at("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
	mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate,memory_recursiveprot");
	mount_at("bpf", "/sys/fs/bpf", "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700");
	mount_at("securityfs", "/sys/kernel/security", "securityfs", 0, NULL);
	mount_at("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

static void write_file(const char *path, const char *text) {
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) say("guest init: %s: %s\n", path, strerror(errno));
	if (fd >= 0) close(fd);
}

/* As systemd leaves a machine: controllers on for the children of the root, this program in a child of its own. */
static void control_groups(void) {
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory +cpu +pids");
	mkdir("/sys/fs/cgroup/init.scope", 0755);
	write_file("/sys/fs/cgroup/init.scope/cgroup.procs", "1");
}

static void loopback_up(void) {
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0) say("guest init: loopback: %s\n", strerror(errno));
	close(fd);
}

static pid_t start_script(void) {
	pid_t pid = fork();
	if (pid) return pid;
	setsid();
	int nothing = open("/dev/null", O_RDONLY);
	dup2(nothing, 0);
	dup2(host, 1);
	dup2(host, 2);
	chdir("/extra");
	char *argv[] = {"/bin/bash", "/extra/run.sh", NULL};
	char *env[] = {"PATH=/nemoclaw/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb", "LANG=C.UTF-8", "NODE_DISABLE_COMPILE_CACHE=1", "NEMOCLAW_GUEST=1", "NEMOCLAW_TEST_PATIENCE=20", NULL};
	execve(argv[0], argv, env);
	say("guest init: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

int main(void) {
	mkdir("/dev", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL);
	int port = wait_open("/dev/vport0p1", O_RDWR);
	if (port >= 0) host = port;
	load_modules();
	int disk = wait_open("/dev/vda", O_RDONLY);
	if (disk < 0) die("no root disk");
	close(disk);
	mkdir("/root", 0755);
	if (mount("/dev/vda", "/root", "ext4", MS_NOATIME, NULL) < 0) die("root disk");
	if (mount("/dev/vdb", "/root/nemoclaw", "ext4", MS_NOATIME, NULL) < 0) die("disk of the checkout");
	if (mount("/root/node_modules", "/root/nemoclaw/node_modules", NULL, MS_BIND, NULL) < 0) die("node_modules");
	if (mount("/dev/vdc", "/root/extra", "ext4", MS_NOATIME, NULL) < 0) die("disk of extra files");
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) die("change of root");
	kernel_file_systems();
	mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL);
	control_groups();
	loopback_up();
	sethostname("guest", 5);
	struct rlimit files = {1024, 524288};
	setrlimit(RLIMIT_NOFILE, &files);
	pid_t script = start_script();
	for (;;) {
		int status;
		pid_t ended = wait(&status);
		if (ended < 0 && errno == ECHILD) die("the script is gone");
		if (ended == script) power_off(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
}
