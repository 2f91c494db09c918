/* What a test cannot do to the machine, done to one server: preloaded by the dynamic linker, it puts the clock wherever the test
 * wants it, lets time run faster, a disk be full, and new processes be slow to start.
 *
 *   SHIM_CLOCK   file of eight bytes: seconds that the wall clock is ahead, as an int64; may change at any time
 *   SHIM_FULL    a path: while it exists, no file below SHIM_DISK can grow
 *   SHIM_DISK
 *   SHIM_FORK    a path: while it exists, a new process does nothing
 *   SHIM_SPEED   so many times faster do all clocks run, from the server's start on; what is waited for takes as much less
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int64_t ahead(void)
{
	static volatile int64_t *seconds;
	static int64_t none;

	if (seconds == NULL)
	{
		const char *path = getenv("SHIM_CLOCK");
		int			file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		void	   *page = file >= 0 ? mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;

		if (file >= 0)
			close(file);
		seconds = page == MAP_FAILED ? &none : page;
	}
	return *seconds;
}

static int64_t speed(void)
{
	static int64_t factor;

	if (factor == 0)
	{
		const char *text = getenv("SHIM_SPEED");

		factor = text && atoll(text) > 1 ? atoll(text) : 1;
	}
	return factor;
}

static int real_clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*next) (clockid_t, struct timespec *);

	if (!next)
		next = dlsym(RTLD_NEXT, "clock_gettime");
	return next(clock, now);
}

/* Of all the server's processes: the first one to ask leaves to the others when that was. */
static int64_t started(clockid_t clock)
{
	const char *name = clock == CLOCK_MONOTONIC ? "SHIM_STARTED_MONOTONIC" : "SHIM_STARTED_REALTIME";
	struct timespec now;
	char		text[32];

	if (!getenv(name))
	{
		real_clock_gettime(clock, &now);
		snprintf(text, sizeof text, "%lld", (long long) now.tv_sec);
		setenv(name, text, 0);
	}
	return atoll(getenv(name));
}

__attribute__((constructor)) static void start(void)
{
	started(CLOCK_MONOTONIC);
	started(CLOCK_REALTIME);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int			result = real_clock_gettime(clock, now);
	clockid_t	kind = clock == CLOCK_REALTIME_COARSE ? CLOCK_REALTIME : clock == CLOCK_MONOTONIC_COARSE ? CLOCK_MONOTONIC : clock;

	if (kind != CLOCK_REALTIME && kind != CLOCK_MONOTONIC)
		return result;
	if (speed() > 1)
	{
		int64_t		since = started(kind);
		__int128	ns = ((__int128) (now->tv_sec - since) * 1000000000 + now->tv_nsec) * speed();

		now->tv_sec = since + (int64_t) (ns / 1000000000);
		now->tv_nsec = (long) (ns % 1000000000);
	}
	if (kind == CLOCK_REALTIME)
		now->tv_sec += ahead();
	return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec precise;
	int			result = clock_gettime(CLOCK_REALTIME, &precise);

	(void) zone;
	now->tv_sec = precise.tv_sec;
	now->tv_usec = precise.tv_nsec / 1000;
	return result;
}

/* Milliseconds; never none where some were asked for. */
static int shorter(int timeout)
{
	return timeout <= 0 ? timeout : (int) ((timeout + speed() - 1) / speed());
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
	static int (*next) (int, struct epoll_event *, int, int);

	if (!next)
		next = dlsym(RTLD_NEXT, "epoll_wait");
	return next(epoll, events, most, shorter(timeout));
}

int poll(struct pollfd *files, nfds_t count, int timeout)
{
	static int (*next) (struct pollfd *, nfds_t, int);

	if (!next)
		next = dlsym(RTLD_NEXT, "poll");
	return next(files, count, shorter(timeout));
}

int select(int count, fd_set *restrict read, fd_set *restrict write, fd_set *restrict except, struct timeval *restrict timeout)
{
	static int (*next) (int, fd_set *, fd_set *, fd_set *, struct timeval *);
	struct timeval less;

	if (!next)
		next = dlsym(RTLD_NEXT, "select");
	if (timeout)
	{
		int64_t		us = ((int64_t) timeout->tv_sec * 1000000 + timeout->tv_usec + speed() - 1) / speed();

		less.tv_sec = us / 1000000;
		less.tv_usec = us % 1000000;
	}
	return next(count, read, write, except, timeout ? &less : NULL);
}

pid_t fork(void)
{
	static pid_t (*next) (void);
	const char *flag = getenv("SHIM_FORK");
	pid_t		child;

	if (!next)
		next = dlsym(RTLD_NEXT, "fork");
	child = next();
	if (child == 0)
		while (flag && access(flag, F_OK) == 0)
			usleep(5000);
	return child;
}

time_t time(time_t *where)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (where)
		*where = now.tv_sec;
	return now.tv_sec;
}

/* True, and errno, when FILE would have to grow for what is written to END, and cannot. */
static int full(int file, off_t end)
{
	const char *flag = getenv("SHIM_FULL"), *disk = getenv("SHIM_DISK");
	char		link[64], path[4096];
	ssize_t		length;
	struct stat is;

	if (!flag || !disk || access(flag, F_OK) != 0)
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	length = readlink(link, path, sizeof path - 1);
	if (length < 0 || fstat(file, &is) != 0 || end <= is.st_size)
		return 0;
	path[length] = '\0';
	if (strstr(path, disk) == NULL)
		return 0;
	errno = ENOSPC;
	return 1;
}

#define PWRITE(name, offset_type) \
	ssize_t name(int file, const void *bytes, size_t count, offset_type at) \
	{ \
		static ssize_t (*next) (int, const void *, size_t, offset_type); \
		if (!next) next = dlsym(RTLD_NEXT, #name); \
		return full(file, at + count) ? -1 : next(file, bytes, count, at); \
	}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define PWRITEV(name, offset_type) \
	ssize_t name(int file, const struct iovec *parts, int count, offset_type at) \
	{ \
		static ssize_t (*next) (int, const struct iovec *, int, offset_type); \
		if (!next) next = dlsym(RTLD_NEXT, #name); \
		return full(file, at + 1) ? -1 : next(file, parts, count, at); \
	}
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

#define FALLOCATE(name, offset_type) \
	int name(int file, offset_type at, offset_type count) \
	{ \
		static int (*next) (int, offset_type, offset_type); \
		if (!next) next = dlsym(RTLD_NEXT, #name); \
		return full(file, at + count) ? ENOSPC : next(file, at, count); \
	}
FALLOCATE(posix_fallocate, off_t)
FALLOCATE(posix_fallocate64, off64_t)
