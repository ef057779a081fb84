#ifndef SLUICE_CLUA_H
#define SLUICE_CLUA_H

/* Lua 5.1 as Redis embeds it, for a model of Redis in tests: scripts and functions run as they are, and what they call of
   Redis is carried out by a host. Everything that crosses this border is bytes; errors of Lua, which jump over frames, stay
   on this side of it. Never linked into the product. */

#include <stddef.h>

typedef struct clua_engine clua_engine;

enum {
  /* redis.call and redis.pcall: the arguments are a command; the host answers in RESP2. */
  CLUA_CALL = 0,
  /* redis.sha1hex: the host answers with the digits, as a bulk string. */
  CLUA_SHA1 = 1,
  /* redis.register_function: the argument is the function's name. No answer. */
  CLUA_REGISTER = 2
};

/* What a host does for a script. The arguments are lent for the time of the call. */
typedef void (*clua_host)(
  void *context, int verb, int count, const char *const *arguments, const size_t *lengths);

/* An interpreter for scripts, or with `libraries` for functions. */
clua_engine *clua_open(int libraries, clua_host host, void *context);
void clua_close(clua_engine *engine);

/* Appends to the host's answer; only while the host is called. */
void clua_answer(clua_engine *engine, const char *bytes, size_t count);

/* Compiles a script and keeps it under `name`; loads a library, whose functions the host is told of. 1 where that went
   well, otherwise 0, and the result is what Lua says. */
int clua_define(clua_engine *engine, const char *name, const char *source, size_t length);

/* Removes a script or a function. */
void clua_forget(clua_engine *engine, const char *name);

/* Runs a script or a function with these keys and, behind them, arguments. The result is its answer in RESP2. */
void clua_run(
  clua_engine *engine, const char *name, int keys, int count, const char *const *arguments, const size_t *lengths);

/* The result of the last clua_define or clua_run; valid until the next. */
const char *clua_result(const clua_engine *engine, size_t *count);

#endif
