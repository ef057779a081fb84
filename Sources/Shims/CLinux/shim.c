#define _GNU_SOURCE
#include "CLinux.h"
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int sluice_epoll_wait(int epoll, struct epoll_event *events, int limit, int64_t nanoseconds) {
  // 441 on every architecture; old headers do not name it.
  struct timespec limit_time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  int count = (int)syscall(441, epoll, events, limit, &limit_time, (void *)0, (size_t)8);
  if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
  int64_t milliseconds = (nanoseconds + 999999) / 1000000;
  return epoll_wait(epoll, events, limit, milliseconds > 86400000 ? 86400000 : (int)milliseconds);
}

void sluice_wake_punctually(void) { (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }
