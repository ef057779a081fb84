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

#define BYTES(a, b, c, d) ((uint64_t)(a) | (uint64_t)(b) << 8 | (uint64_t)(c) << 16 | (uint64_t)(d) << 24)
#define SHORT(a, b, c) \
  ((a) ? BYTES(a + '0', b + '0', c + '0', 3) : (b) ? BYTES(b + '0', c + '0', 0, 2) : BYTES(c + '0', 0, 0, 1))
#define TEXT(a, b, c) (SHORT(a, b, c) | BYTES(a + '0', b + '0', c + '0', 0) << 32)
#define TEN(a, b) \
  TEXT(a, b, 0), TEXT(a, b, 1), TEXT(a, b, 2), TEXT(a, b, 3), TEXT(a, b, 4), TEXT(a, b, 5), TEXT(a, b, 6), \
      TEXT(a, b, 7), TEXT(a, b, 8), TEXT(a, b, 9)
#define HUNDRED(a) \
  TEN(a, 0), TEN(a, 1), TEN(a, 2), TEN(a, 3), TEN(a, 4), TEN(a, 5), TEN(a, 6), TEN(a, 7), TEN(a, 8), TEN(a, 9)

const uint64_t sluice_decimal_texts[1000] = {HUNDRED(0), HUNDRED(1), HUNDRED(2), HUNDRED(3), HUNDRED(4),
                                             HUNDRED(5), HUNDRED(6), HUNDRED(7), HUNDRED(8), HUNDRED(9)};
