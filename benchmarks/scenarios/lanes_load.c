/* Asks a Redis with the decision library for decisions as a gateway of four loops under load does: a connection each, two
 * batches in flight on it. Prints how many decisions were made, how many of them admitted, and how many batches came with
 * the wrong period. The batches are built beforehand: what is measured is Redis.
 *
 *   lanes-load SOCKET flat|three|together BATCH KEYS SECONDS function|SHA-OF-THE-SCRIPT [BATCHES-A-SECOND]
 *
 * Without a rate, as many as Redis answers.
 *
 * flat:     every decision has one level, a rate, of a random key
 * three:    a minute's window of one of eight tenants, a rate and a day's quota of a random key
 * together: three rates of three random keys, so that no two levels of a batch are the same */
#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { LOOPS = 4, IN_FLIGHT = 2, LANES = 16, ROUND = 1024, MOST = 2048 };
static const char ID[] = "0123456789012345678901234567890123456789";
static uint64_t seed = 88172645463325252ull;

static uint64_t next(void) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return seed;
}

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)(t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

/* The field of counter `n`: any 12 bytes, well mixed. */
static void field(char *to, uint64_t n) {
  uint64_t a = (n + 1) * 0x9e3779b97f4a7c15ull, b = (a ^ a >> 29) * 0xbf58476d1ce4e5b9ull;
  memcpy(to, &a, 8), memcpy(to + 8, &b, 4);
}

typedef struct {
  char *bytes;
  int length, reply;
} command;

static command build(int mode, int lane, int batch, long keys, const char *how) {
  static char names[11][80], fields[MOST * 12];
  static uint16_t places[MOST];
  static double numbers[64];
  const char *argv[32];
  size_t lengths[32];
  int argc = 0, keycount = 0, at = 2, slots = 0, refs = 0;
  char keycount_text[8];
  double now = now_us(), minute = 60e6, day = 86400e6, generation = 64e6;
  snprintf(names[keycount++], 80, "sluice:bench:{rl:%d}:m", lane);
#define CLASS(letter, period)                                                                                 \
  for (int i = -1; i <= 1; i++)                                                                               \
  snprintf(names[keycount++], 80, "sluice:bench:{rl:%d}:%c%.0f:%.0f", lane, letter, (period) / 1e6,           \
           (double)((int64_t)(now / (period)) + i))
#define HEAD(kind, period, guess, scale) \
  numbers[at++] = kind, numbers[at++] = period, numbers[at++] = guess, numbers[at++] = scale, numbers[at++] = 1
#define POLICY(unit, room, count) \
  numbers[at++] = unit, numbers[at++] = room, numbers[at++] = 0, numbers[at++] = 0, numbers[at++] = count
  /* A thousand a second and as many at once. */
  int fieldcount = mode == 1 ? 3 * batch : batch;
  CLASS('g', generation);
  HEAD(1, generation, (double)(int64_t)(now / generation), 1000);
  POLICY(1e6, 1e9, fieldcount);
  for (; slots < fieldcount; slots++) field(fields + 12 * slots, (next() % (keys / LANES)) * LANES + lane);
  if (mode == 2) {
    CLASS('w', minute);
    HEAD(2, minute, (double)(int64_t)(now / minute), 0);
    POLICY(1, 1e9, 8);
    for (int i = 0; i < 8; i++) field(fields + 12 * slots++, 1ull << 40 | i << 8 | lane);
    double start = (double)(int64_t)(now / day) * day;
    snprintf(names[keycount++], 80, "sluice:bench:{rl:%d}:c:%.0f-%.0f", lane, start / 1e6, (start + day) / 1e6);
    HEAD(4, start, start + day, 0);
    POLICY(1, 1e9, batch);
    for (int i = 0; i < batch; i++, slots++) memcpy(fields + 12 * slots, fields + 12 * i, 12);
  }
  numbers[0] = mode == 2 ? 3 : 1, numbers[1] = 1;
  numbers[at++] = 0, numbers[at++] = 1;
  numbers[at++] = mode == 0 ? 1 : 3, numbers[at++] = batch, numbers[at++] = mode == 0;
  for (int i = 0; i < (mode == 0 ? 1 : 3); i++) numbers[at++] = mode == 2 ? i + 1 : 1, numbers[at++] = 1;
  for (int i = 0; mode > 0 && i < batch; i++) {
    places[refs++] = mode == 2 ? 1 + i : 1 + 3 * i;
    places[refs++] = mode == 2 ? batch + 1 + (int)(next() % 8) : 2 + 3 * i;
    places[refs++] = mode == 2 ? batch + 9 + i : 3 + 3 * i;
  }
#define ARGUMENT(p, n) argv[argc] = (const char *)(p), lengths[argc++] = (size_t)(n)
  int is_function = strcmp(how, "function") == 0;
  ARGUMENT(is_function ? "FCALL" : "EVALSHA", is_function ? 5 : 7);
  ARGUMENT(is_function ? "gwrl_1" : how, is_function ? 6 : 40);
  ARGUMENT(keycount_text, snprintf(keycount_text, sizeof keycount_text, "%d", keycount));
  for (int i = 0; i < keycount; i++) { ARGUMENT(names[i], strlen(names[i])); }
  ARGUMENT("apply", 5);
  ARGUMENT(ID, 40);
  ARGUMENT("bench-01", 8);
  ARGUMENT(numbers, at * 8);
  ARGUMENT(fields, slots * 12);
  ARGUMENT(places, refs * 2);
  command c = {0};
  c.length = redisFormatCommandArgv(&c.bytes, argc, argv, lengths);
  return c;
}

int main(int argc, char **argv) {
  if (argc < 7) return 2;
  int mode = strcmp(argv[2], "flat") == 0 ? 0 : strcmp(argv[2], "together") == 0 ? 1 : 2, batch = atoi(argv[3]);
  long keys = atol(argv[4]), begun = 0;
  double pause = argc > 7 ? 1e6 / atof(argv[7]) : 0, start = now_us();
  double seconds = atof(argv[5]);
  redisContext *loops[LOOPS];
  for (int i = 0; i < LOOPS; i++) {
    loops[i] = redisConnectUnix(argv[1]);
    if (loops[i] == NULL || loops[i]->err) return fprintf(stderr, "no connection\n"), 1;
  }
  static command round[ROUND];
  static double built[ROUND];
  long decisions = 0, admitted = 0, retries = 0, waiting = 0, sent = 0;
  double end = now_us() + seconds * 1e6, stale = 0;
  for (long n = 0; now_us() < end || waiting > 0; n++) {
    double due = start + (double)begun * pause;
    if (pause > 0 && waiting == 0 && due > now_us()) usleep((useconds_t)(due - now_us()));
    if (now_us() < end && waiting < LOOPS * IN_FLIGHT) {
      int wanted = pause > 0 ? waiting == 0 || due <= now_us() : waiting == 0 ? LOOPS * IN_FLIGHT : 1;
      for (; wanted > 0; wanted--, sent++, begun++, waiting++) {
        redisContext *c = loops[sent % LOOPS];
        int i = (int)(sent % ROUND);
        /* Names hold the time: each is built anew every ten seconds. */
        if (built[i] <= stale || now_us() > built[i] + 10e6) {
          free(round[i].bytes);
          round[i] = build(mode, i % LANES, batch, keys, argv[6]);
          built[i] = now_us();
        }
        redisAppendFormattedCommand(c, round[i].bytes, round[i].length);
        for (int done = 0; !done;) redisBufferWrite(c, &done);
      }
    }
    if (waiting == 0) continue;
    redisReply *reply;
    redisContext *c = loops[n % LOOPS];
    if (redisGetReply(c, (void **)&reply) != REDIS_OK) return fprintf(stderr, "%s\n", c->errstr), 1;
    waiting--;
    if (reply->type == REDIS_REPLY_STRING && reply->str[0] == 'A') {
      decisions += batch;
      for (int i = 0; i < batch; i++) admitted += reply->str[17 + i];
    } else if (reply->type == REDIS_REPLY_STRING && reply->str[0] == 'G') {
      stale = now_us(), retries++;
    } else {
      return fprintf(stderr, "answer: %.*s\n", (int)reply->len, reply->str), 1;
    }
    freeReplyObject(reply);
  }
  printf("%ld %ld %ld\n", decisions, admitted, retries);
  return 0;
}
