// What Linux has and Swift's Glibc module does not show, and the byte scans that need a vector instruction.
//
// _GNU_SOURCE must not be defined and <emmintrin.h> must not be included in a header that Swift imports
// (both break Glibc's own module), hence the hand-declared accept4 and the compiler's vector extensions.
#ifndef SLUICE_CLINUX_H
#define SLUICE_CLINUX_H

#include <stdint.h>
#include <stddef.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

/// The affinity of a thread (0: the caller) as bits in `mask`; sched.h shows it only with _GNU_SOURCE.
extern int sched_getaffinity(pid_t thread, size_t size, void *mask);
extern int accept4(int socket, struct sockaddr *address, socklen_t *length, int flags);
/// Gives free pages of the heap back to the kernel; <malloc.h> is not part of Glibc's module.
extern int malloc_trim(size_t kept);
extern int pthread_setname_np(unsigned long thread, const char *name);

/// recvfrom and sendto without the C library's marks for the cancellation of threads, which nobody here uses and which cost
/// more instructions than everything else around the call. The result is a count or a negative error number.
static inline ssize_t sluice_transfer(long call, int socket, const void *bytes, size_t count, int flags) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = flags;
  register long r8 __asm__("r8") = 0;
  register long r9 __asm__("r9") = 0;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(call), "D"((long)socket), "S"(bytes), "d"(count), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#else
  ssize_t result = call == SYS_recvfrom ? recv(socket, (void *)bytes, count, flags) : send(socket, bytes, count, flags);
  return result < 0 ? -errno : result;
#endif
}

/// Receives at most `count` bytes: how many, 0 at the end of the stream, or a negative error number.
static inline ssize_t sluice_receive(int socket, void *bytes, size_t count) {
  return sluice_transfer(SYS_recvfrom, socket, bytes, count, 0);
}

/// Sends what the kernel takes: how many bytes, or a negative error number. A lost peer is EPIPE, never a signal.
static inline ssize_t sluice_send(int socket, const void *bytes, size_t count) {
  return sluice_transfer(SYS_sendto, socket, bytes, count, MSG_NOSIGNAL);
}

/// One system call for two runs of bytes, otherwise like sluice_send.
static inline ssize_t sluice_send2(int socket, const void *first, size_t first_count, const void *second,
                                   size_t second_count) {
  struct iovec parts[2] = {{(void *)first, first_count}, {(void *)second, second_count}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t result = sendmsg(socket, &message, MSG_NOSIGNAL);
  return result < 0 ? -errno : result;
}

/// epoll_wait with a time limit in nanoseconds, or in milliseconds (rounded up) where the kernel has no epoll_pwait2.
int sluice_epoll_wait(int epoll, struct epoll_event *events, int limit, int64_t nanoseconds);

/// Asks for wake-ups of the calling thread at the moment asked for; else Linux may be 50 microseconds late on purpose.
void sluice_wake_punctually(void);

/// Begins to fetch the line of the cache at `p`; any address will do.
static inline void sluice_prefetch(const void *p) { __builtin_prefetch(p); }

typedef char sluice_v16 __attribute__((vector_size(16), aligned(1)));

/// A bit for each of the 16 bytes at `p` that equals `byte`.
static inline uint32_t sluice_equal16(const uint8_t *p, uint8_t byte) {
  sluice_v16 v = *(const sluice_v16 *)p, k = {0};
  k += (char)byte;
#if defined(__x86_64__)
  return (uint32_t)__builtin_ia32_pmovmskb128((sluice_v16)(v == k));
#else
  uint32_t mask = 0;
  for (int i = 0; i < 16; i++) mask |= (uint32_t)(p[i] == byte) << i;
  return mask;
#endif
}

/// A bit for each of the 64 bytes at `p` that equals `byte`; all 64 bytes must be readable.
static inline uint64_t sluice_equal64(const uint8_t *p, uint8_t byte) {
  return (uint64_t)sluice_equal16(p, byte) | (uint64_t)sluice_equal16(p + 16, byte) << 16 |
         (uint64_t)sluice_equal16(p + 32, byte) << 32 | (uint64_t)sluice_equal16(p + 48, byte) << 48;
}

typedef unsigned char sluice_bytes16 __attribute__((vector_size(16), aligned(1)));
typedef signed char sluice_signed16 __attribute__((vector_size(16), aligned(1)));

/// The top bit of each of 16 bytes, as 16 bits.
static inline uint32_t sluice_top_bits16(sluice_bytes16 v) {
#if defined(__x86_64__)
  return (uint32_t)__builtin_ia32_pmovmskb128((sluice_v16)v);
#else
  uint32_t mask = 0;
  for (int i = 0; i < 16; i++) mask |= (uint32_t)(v[i] >> 7) << i;
  return mask;
#endif
}

/// A bit for each of the 16 bytes at `p` that is a control byte: below 0x20 (so also TAB, CR, LF), or 0x7f.
static inline uint32_t sluice_control16(const uint8_t *p) {
  sluice_bytes16 v = *(const sluice_bytes16 *)p;
  return sluice_top_bits16((sluice_bytes16)(v < 0x20) | (sluice_bytes16)(v == 0x7f));
}

/// A bit for each of the 64 bytes at `p` that is a control byte; all 64 bytes must be readable.
static inline uint64_t sluice_control64(const uint8_t *p) {
  return (uint64_t)sluice_control16(p) | (uint64_t)sluice_control16(p + 16) << 16 |
         (uint64_t)sluice_control16(p + 32) << 32 | (uint64_t)sluice_control16(p + 48) << 48;
}

/// A bit for each of the 32 bytes at `p` that is not printable ASCII: up to 0x1f and from 0x7f on.
static inline uint32_t sluice_unprintable32(const uint8_t *p) {
  // Adding one wraps 0x7f to the smallest signed byte; what is less than 0x21 then is negative once that is taken away.
  sluice_signed16 bound = (sluice_signed16){0} + 0x21;
  sluice_signed16 low = (sluice_signed16)(*(const sluice_bytes16 *)p + 1);
  sluice_signed16 high = (sluice_signed16)(*(const sluice_bytes16 *)(p + 16) + 1);
  return sluice_top_bits16((sluice_bytes16)__builtin_elementwise_sub_sat(low, bound)) |
         sluice_top_bits16((sluice_bytes16)__builtin_elementwise_sub_sat(high, bound)) << 16;
}

/// The index of the lowest bit in `mask`, which must not be 0.
static inline uint32_t sluice_lowest(uint32_t mask) { return (uint32_t)__builtin_ctz(mask); }

/// A bit for each of the 16 bytes at `p` that is the one at `pattern` once 0x20 is OR-ed into it; `pattern` lies at a
/// multiple of 16.
static inline uint32_t sluice_folded_equal16(const uint8_t *p, const void *pattern) {
  typedef unsigned char aligned16 __attribute__((vector_size(16)));
  sluice_bytes16 folded = *(const sluice_bytes16 *)p | 0x20;
  return sluice_top_bits16((sluice_bytes16)(*(const aligned16 *)pattern == folded));
}

/// A bit for each of the 16 bytes at `p` that is no letter, digit, `-`, `.`, `/` or `_`.
static inline uint32_t sluice_path_stop16(const uint8_t *p) {
  sluice_bytes16 v = *(const sluice_bytes16 *)p;
  // Signed comparisons, for SSE has no others: 'a' and '-' are moved to the smallest signed byte.
  return 0xffff ^ sluice_top_bits16((sluice_bytes16)((sluice_signed16)((v | 0x20) + (0x80 - 'a')) < -128 + 26) |
                                    (sluice_bytes16)((sluice_signed16)(v + (0x80 - '-')) < -128 + 13) |
                                    (sluice_bytes16)(v == '_'));
}

/// A bit for each of the 16 bytes at `p` that is `.` or `/`.
static inline uint32_t sluice_dot_or_slash16(const uint8_t *p) {
  return sluice_top_bits16((sluice_bytes16)((*(const sluice_bytes16 *)p | 1) == '/'));
}

/// A bit for each of the 16 bytes at `p` that cannot stand in a request target without being looked at:
/// anything up to 0x20 or from 0x7f, and `"` `#` `<` `>` `\` `^` `` ` `` `{` `}`.
static inline uint32_t sluice_target_stop16(const uint8_t *p) {
  sluice_bytes16 v = *(const sluice_bytes16 *)p;
  sluice_bytes16 two = v | 2;
  return sluice_top_bits16((sluice_bytes16)((sluice_signed16)v < 0x21) | (sluice_bytes16)((v & 0xfe) == 0x22) |
                           (sluice_bytes16)(two == 0x3e) | (sluice_bytes16)(two == 0x5e) |
                           (sluice_bytes16)(v == 0x60) | (sluice_bytes16)(two == 0x7f) |
                           (sluice_bytes16)((v | 4) == 0x7f));
}

/// A bit for each of the 16 bytes at `p` that is no letter, digit, `-`, `.` or `_`.
static inline uint32_t sluice_host_stop16(const uint8_t *p) {
  sluice_bytes16 v = *(const sluice_bytes16 *)p;
  // As above; between '-' and '9' stands one more, the slash.
  return 0xffff ^ sluice_top_bits16((sluice_bytes16)((sluice_signed16)((v | 0x20) + (0x80 - 'a')) < -128 + 26) |
                                    ((sluice_bytes16)((sluice_signed16)(v + (0x80 - '-')) < -128 + 13) &
                                     (sluice_bytes16)(v != '/')) |
                                    (sluice_bytes16)(v == '_'));
}

/// Copies sixteen bytes. Returns a bit for each that cannot stand in a JSON string as it is or would move a terminal:
/// control characters, DEL, the quotation mark, the backslash, and what is beyond ASCII.
static inline uint32_t sluice_json_copy16(const uint8_t *from, uint8_t *to) {
  sluice_bytes16 v = *(const sluice_bytes16 *)from;
  *(sluice_bytes16 *)to = v;
  // One more makes a negative number of DEL, as all beyond ASCII but 0xff are; that becomes 0.
  return sluice_top_bits16((sluice_bytes16)((sluice_signed16)(v + 1) < 0x21) | (sluice_bytes16)(v == 0x22) |
                           (sluice_bytes16)(v == 0x5c));
}

/// Writes the sixteen lower-case hexadecimal digits of `value` to `to`.
static inline void sluice_hexadecimal16(uint64_t value, uint8_t *to) {
  typedef uint64_t pair __attribute__((vector_size(16)));
  value = __builtin_bswap64(value);
  sluice_bytes16 high = (sluice_bytes16)(pair){value >> 4 & 0x0f0f0f0f0f0f0f0f, 0};
  sluice_bytes16 low = (sluice_bytes16)(pair){value & 0x0f0f0f0f0f0f0f0f, 0};
  sluice_bytes16 v = __builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  *(sluice_bytes16 *)to = v + '0' + ((sluice_bytes16)((sluice_signed16)v > 9) & ('a' - '0' - 10));
}

/// Writes the 32 lower-case hexadecimal digits of two numbers to `to`.
static inline void sluice_hexadecimal32(uint64_t high, uint64_t low, uint8_t *to) {
  typedef uint64_t pair __attribute__((vector_size(16)));
  pair both = {__builtin_bswap64(high), __builtin_bswap64(low)};
  sluice_bytes16 first = (sluice_bytes16)(both >> 4) & 15, second = (sluice_bytes16)both & 15;
  sluice_bytes16 front = __builtin_shufflevector(first, second, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  sluice_bytes16 back =
      __builtin_shufflevector(first, second, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  *(sluice_bytes16 *)to = front + '0' + ((sluice_bytes16)((sluice_signed16)front > 9) & ('a' - '0' - 10));
  *(sluice_bytes16 *)(to + 16) = back + '0' + ((sluice_bytes16)((sluice_signed16)back > 9) & ('a' - '0' - 10));
}

/// The decimal texts of the numbers below 1000: from the lowest byte on up to three digits without leading zeros, then in
/// the fourth byte how many, then three digits with leading zeros. A load is a quarter of what it takes to work them out.
extern const uint64_t sluice_decimal_texts[];
static inline uint64_t sluice_decimal_text(uint64_t value) { return sluice_decimal_texts[value]; }

#endif
