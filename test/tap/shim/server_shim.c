/* What a test cannot do to the machine, done to one server: preloaded by the dynamic linker, it puts the clock wherever the test
 * wants it, and lets a disk be full.
 *
 *   SHIM_CLOCK   file of eight bytes: seconds that the wall clock is ahead, as an int64; may change at any time
 *   SHIM_FULL    a path: while it exists, no file below SHIM_DISK can grow
 *   SHIM_DISK
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*next) (clockid_t, struct timespec *);
	int			result;

	if (!next)
		next = dlsym(RTLD_NEXT, "clock_gettime");
	result = next(clock, now);
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		now->tv_sec += ahead();
	return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	static int (*next) (struct timeval *, void *);
	int			result;

	if (!next)
		next = dlsym(RTLD_NEXT, "gettimeofday");
	result = next(now, zone);
	now->tv_sec += ahead();
	return result;
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
