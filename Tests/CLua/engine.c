#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct clua_engine {
  lua_State *lua;
  clua_host host;
  void *context;
  clua_buffer answer, result;
  int libraries;
};

static char engine_key, functions_key, everything_key, loading_key;

void clua_append(clua_buffer *buffer, const char *bytes, size_t count) {
  if (buffer->count + count > buffer->room) {
    buffer->room = (buffer->count + count) * 2 + 64;
    buffer->bytes = realloc(buffer->bytes, buffer->room);
    if (!buffer->bytes) abort();
  }
  memcpy(buffer->bytes + buffer->count, bytes, count);
  buffer->count += count;
}

void clua_answer(clua_engine *engine, const char *bytes, size_t count) { clua_append(&engine->answer, bytes, count); }

static clua_engine *engine_of(lua_State *lua) {
  lua_pushlightuserdata(lua, &engine_key);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  clua_engine *engine = lua_touserdata(lua, -1);
  lua_pop(lua, 1);
  return engine;
}

/* MARK: redis.… */

static void push_error(lua_State *lua, const char *text) {
  lua_newtable(lua);
  lua_pushstring(lua, text);
  lua_setfield(lua, -2, "err");
}

/* Hands the arguments to the host and pushes its answer. */
static void ask(lua_State *lua, int verb) {
  enum { most = 8192 };
  int count = lua_gettop(lua);
  if (count == 0) luaL_error(lua, "Please specify at least one argument for this redis lib call");
  if (count > most) luaL_error(lua, "too many arguments");
  /* Garbage of Lua, so that nothing leaks where an error jumps. */
  const char **arguments = lua_newuserdata(lua, sizeof(char *) * (size_t)count);
  size_t *lengths = lua_newuserdata(lua, sizeof(size_t) * (size_t)count);
  for (int i = 0; i < count; i++) {
    if (lua_type(lua, i + 1) == LUA_TNUMBER) {
      /* As Redis writes numbers: all digits of a double. */
      char text[64];
      int length = snprintf(text, sizeof text, "%.17g", (double)lua_tonumber(lua, i + 1));
      lua_pushlstring(lua, text, (size_t)length);
      lua_replace(lua, i + 1);
    } else if (lua_type(lua, i + 1) != LUA_TSTRING) {
      luaL_error(lua, "Lua redis lib command arguments must be strings or integers");
    }
    arguments[i] = lua_tolstring(lua, i + 1, &lengths[i]);
  }
  clua_engine *engine = engine_of(lua);
  engine->answer.count = 0;
  engine->host(engine->context, verb, count, arguments, lengths);
  if (verb == CLUA_REGISTER) return;
  if (!clua_push_reply(lua, engine->answer.bytes, engine->answer.bytes + engine->answer.count)) {
    luaL_error(lua, "the host's answer is cut off");
  }
}

static int is_error(lua_State *lua) {
  if (!lua_istable(lua, -1)) return 0;
  lua_getfield(lua, -1, "err");
  int found = lua_isstring(lua, -1);
  lua_pop(lua, 1);
  return found;
}

static int redis_call(lua_State *lua) {
  ask(lua, CLUA_CALL);
  return is_error(lua) ? lua_error(lua) : 1;
}

static int redis_pcall(lua_State *lua) {
  ask(lua, CLUA_CALL);
  return 1;
}

static int redis_sha1(lua_State *lua) {
  luaL_checkstring(lua, 1);
  lua_settop(lua, 1);
  ask(lua, CLUA_SHA1);
  return 1;
}

static int redis_log(lua_State *lua) {
  (void)lua;
  return 0;
}

static int single_field(lua_State *lua, const char *name) {
  luaL_checkstring(lua, 1);
  lua_newtable(lua);
  lua_pushvalue(lua, 1);
  lua_setfield(lua, -2, name);
  return 1;
}

static int redis_error(lua_State *lua) {
  const char *text = luaL_checkstring(lua, 1);
  /* A reply without a code gets one. */
  if (text[0] == '-') {
    lua_pushstring(lua, text + 1);
    lua_replace(lua, 1);
  } else if (!strchr(text, ' ')) {
    lua_pushfstring(lua, "ERR %s", text);
    lua_replace(lua, 1);
  }
  return single_field(lua, "err");
}

static int redis_status(lua_State *lua) { return single_field(lua, "ok"); }

static int redis_register(lua_State *lua) {
  if (lua_istable(lua, 1)) {
    lua_getfield(lua, 1, "function_name");
    lua_getfield(lua, 1, "callback");
  } else {
    lua_pushvalue(lua, 1);
    lua_pushvalue(lua, 2);
  }
  luaL_checktype(lua, -2, LUA_TSTRING);
  luaL_checktype(lua, -1, LUA_TFUNCTION);
  lua_pushlightuserdata(lua, &functions_key);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  lua_pushvalue(lua, -3);
  lua_pushvalue(lua, -3);
  lua_rawset(lua, -3);
  lua_pushvalue(lua, -3);
  lua_replace(lua, 1);
  lua_settop(lua, 1);
  ask(lua, CLUA_REGISTER);
  return 0;
}

/* MARK: Globals */

static int no_such_global(lua_State *lua) {
  return luaL_error(lua, "Script attempted to access nonexistent global variable '%s'", lua_tostring(lua, 2));
}

static int no_new_global(lua_State *lua) {
  return luaL_error(lua, "Attempt to modify a readonly table");
}

static void protect(lua_State *lua) {
  lua_newtable(lua);
  lua_pushcfunction(lua, no_such_global);
  lua_setfield(lua, -2, "__index");
  lua_setmetatable(lua, -2);
}

static void open_libraries(lua_State *lua) {
  static const luaL_Reg known[] = {
    {"", luaopen_base},       {"table", luaopen_table}, {"string", luaopen_string}, {"math", luaopen_math},
    {"struct", clua_open_struct}, {"cjson", clua_open_json}, {"bit", clua_open_bit},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    lua_pushcfunction(lua, known[i].func);
    lua_pushstring(lua, known[i].name);
    lua_call(lua, 1, 1);
    if (i >= 4) lua_setglobal(lua, known[i].name); else lua_pop(lua, 1);
  }
  /* Not there in Redis, or different in every run. */
  static const char *const gone[] = {"dofile", "loadfile", "print", "collectgarbage", "newproxy", "module", "require"};
  for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
    lua_pushnil(lua);
    lua_setglobal(lua, gone[i]);
  }
  lua_getglobal(lua, "math");
  lua_pushnil(lua);
  lua_setfield(lua, -2, "random");
  lua_pushnil(lua);
  lua_setfield(lua, -2, "randomseed");
  lua_pop(lua, 1);
}

static void add_redis(lua_State *lua, const luaL_Reg *functions) {
  static const char *const levels[] = {"LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING"};
  lua_newtable(lua);
  for (; functions->name; functions++) {
    lua_pushcfunction(lua, functions->func);
    lua_setfield(lua, -2, functions->name);
  }
  for (int i = 0; i < 4; i++) {
    lua_pushinteger(lua, i);
    lua_setfield(lua, -2, levels[i]);
  }
}

/* What names without `local` mean from now on. */
static void use_globals(clua_engine *engine, void *key) {
  lua_State *lua = engine->lua;
  lua_pushvalue(lua, LUA_GLOBALSINDEX);
  lua_getmetatable(lua, -1);
  lua_pushlightuserdata(lua, key);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  lua_setfield(lua, -2, "__index");
  lua_pop(lua, 2);
}

clua_engine *clua_open(int libraries, clua_host host, void *context) {
  static const luaL_Reg running[] = {
    {"call", redis_call},         {"pcall", redis_pcall},         {"sha1hex", redis_sha1}, {"log", redis_log},
    {"error_reply", redis_error}, {"status_reply", redis_status}, {NULL, NULL},
  };
  static const luaL_Reg loading[] = {{"register_function", redis_register}, {"log", redis_log}, {NULL, NULL}};
  clua_engine *engine = calloc(1, sizeof *engine);
  lua_State *lua = luaL_newstate();
  if (!engine || !lua) abort();
  *engine = (clua_engine){.lua = lua, .host = host, .context = context, .libraries = libraries};
  lua_pushlightuserdata(lua, &engine_key);
  lua_pushlightuserdata(lua, engine);
  lua_rawset(lua, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(lua, &functions_key);
  lua_newtable(lua);
  lua_rawset(lua, LUA_REGISTRYINDEX);
  open_libraries(lua);
  add_redis(lua, running);
  lua_setglobal(lua, "redis");
  /* What scripts see while they run, and what libraries see while they are loaded: functions change from one to the other,
     since both share an empty table of globals that looks things up elsewhere. */
  lua_pushlightuserdata(lua, &everything_key);
  lua_pushvalue(lua, LUA_GLOBALSINDEX);
  protect(lua);
  lua_rawset(lua, LUA_REGISTRYINDEX);
  lua_pushlightuserdata(lua, &loading_key);
  lua_newtable(lua);
  add_redis(lua, loading);
  lua_setfield(lua, -2, "redis");
  protect(lua);
  lua_rawset(lua, LUA_REGISTRYINDEX);
  lua_newtable(lua);
  lua_newtable(lua);
  lua_pushcfunction(lua, no_new_global);
  lua_setfield(lua, -2, "__newindex");
  lua_setmetatable(lua, -2);
  lua_replace(lua, LUA_GLOBALSINDEX);
  use_globals(engine, &everything_key);
  return engine;
}

void clua_close(clua_engine *engine) {
  lua_close(engine->lua);
  free(engine->answer.bytes);
  free(engine->result.bytes);
  free(engine);
}

/* MARK: Running */

/* The result is an error reply of what lies on the stack, which is popped. */
static void fail(clua_engine *engine) {
  lua_State *lua = engine->lua;
  const char *code = "ERR ";
  if (is_error(lua)) {
    lua_getfield(lua, -1, "err");
    lua_remove(lua, -2);
    code = "";
  }
  size_t length = 0;
  const char *text = lua_tolstring(lua, -1, &length);
  engine->result.count = 0;
  clua_append(&engine->result, "-", 1);
  clua_append(&engine->result, code, strlen(code));
  for (size_t i = 0; text && i < length; i++) {
    clua_append(&engine->result, text[i] == '\r' || text[i] == '\n' ? " " : &text[i], 1);
  }
  clua_append(&engine->result, "\r\n", 2);
  lua_settop(lua, 0);
}

int clua_define(clua_engine *engine, const char *name, const char *source, size_t length) {
  lua_State *lua = engine->lua;
  engine->result.count = 0;
  if (luaL_loadbuffer(lua, source, length, engine->libraries ? "@user_function" : "@user_script")) {
    fail(engine);
    return 0;
  }
  if (engine->libraries) {
    use_globals(engine, &loading_key);
    int failed = lua_pcall(lua, 0, 0, 0);
    use_globals(engine, &everything_key);
    if (failed) fail(engine);
    return !failed;
  }
  lua_pushlightuserdata(lua, &functions_key);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  lua_insert(lua, -2);
  lua_setfield(lua, -2, name);
  lua_pop(lua, 1);
  return 1;
}

void clua_forget(clua_engine *engine, const char *name) {
  lua_State *lua = engine->lua;
  lua_pushlightuserdata(lua, &functions_key);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  lua_pushnil(lua);
  lua_setfield(lua, -2, name);
  lua_pop(lua, 1);
}

static void push_list(
  lua_State *lua, int from, int to, const char *const *arguments, const size_t *lengths) {
  lua_createtable(lua, to - from, 0);
  for (int i = from; i < to; i++) {
    lua_pushlstring(lua, arguments[i], lengths[i]);
    lua_rawseti(lua, -2, i - from + 1);
  }
}

void clua_run(
  clua_engine *engine, const char *name, int keys, int count, const char *const *arguments, const size_t *lengths) {
  lua_State *lua = engine->lua;
  engine->result.count = 0;
  lua_pushlightuserdata(lua, &functions_key);
  lua_rawget(lua, LUA_REGISTRYINDEX);
  lua_getfield(lua, -1, name);
  lua_remove(lua, -2);
  push_list(lua, 0, keys, arguments, lengths);
  push_list(lua, keys, count, arguments, lengths);
  if (!engine->libraries) {
    /* Scripts find them by name. */
    lua_pushlightuserdata(lua, &everything_key);
    lua_rawget(lua, LUA_REGISTRYINDEX);
    lua_insert(lua, -3);
    lua_setfield(lua, -3, "ARGV");
    lua_setfield(lua, -2, "KEYS");
    lua_pop(lua, 1);
  }
  if (lua_pcall(lua, engine->libraries ? 2 : 0, 1, 0)) return fail(engine);
  clua_write_value(lua, &engine->result, 0);
}

const char *clua_result(const clua_engine *engine, size_t *count) {
  *count = engine->result.count;
  return engine->result.bytes;
}
