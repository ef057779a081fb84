/* Replies as values of Lua and back, as Redis turns the one into the other. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

const char *clua_push_reply(lua_State *lua, const char *from, const char *end) {
  const char *line = from ? memchr(from, '\n', (size_t)(end - from)) : NULL;
  if (!line || line - from < 2) return NULL;
  size_t length = (size_t)(line - from) - 2;
  long long number = strtoll(from + 1, NULL, 10);
  const char *next = line + 1;
  switch (*from) {
  case ':': lua_pushnumber(lua, (lua_Number)number); return next;
  case '+':
  case '-':
    lua_newtable(lua);
    lua_pushlstring(lua, from + 1, length);
    lua_setfield(lua, -2, *from == '+' ? "ok" : "err");
    return next;
  case '$':
    if (number < 0) {
      lua_pushboolean(lua, 0);
      return next;
    }
    if (end - next < number + 2) return NULL;
    lua_pushlstring(lua, next, (size_t)number);
    return next + number + 2;
  case '*':
    if (number < 0) {
      lua_pushboolean(lua, 0);
      return next;
    }
    luaL_checkstack(lua, 4, "deep reply");
    lua_createtable(lua, (int)number, 0);
    for (int i = 1; i <= number && next; i++) {
      next = clua_push_reply(lua, next, end);
      if (next) lua_rawseti(lua, -2, i);
    }
    return next;
  default: return NULL;
  }
}

static void line(clua_buffer *buffer, char kind, long long number) {
  char text[32];
  clua_append(buffer, text, (size_t)snprintf(text, sizeof text, "%c%lld\r\n", kind, number));
}

/* Writes a table's field as a line of its own, if it is a text. */
static int write_field(lua_State *lua, clua_buffer *buffer, const char *name, char kind) {
  lua_pushstring(lua, name);
  lua_rawget(lua, -2);
  int found = lua_type(lua, -1) == LUA_TSTRING;
  if (found) {
    size_t length;
    const char *text = lua_tolstring(lua, -1, &length);
    clua_append(buffer, &kind, 1);
    clua_append(buffer, text, length);
    clua_append(buffer, "\r\n", 2);
  }
  lua_pop(lua, 1);
  return found;
}

static void write_table(lua_State *lua, clua_buffer *buffer, int depth) {
  if (write_field(lua, buffer, "err", '-') || write_field(lua, buffer, "ok", '+')) return;
  int count = 0;
  /* Up to the first nil. */
  for (;; count++) {
    lua_rawgeti(lua, -1, count + 1);
    int is_nil = lua_isnil(lua, -1);
    lua_pop(lua, 1);
    if (is_nil) break;
  }
  line(buffer, '*', count);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(lua, -1, i);
    clua_write_value(lua, buffer, depth + 1);
  }
}

void clua_write_value(lua_State *lua, clua_buffer *buffer, int depth) {
  enum { deepest = 32 };
  size_t length;
  const char *text;
  luaL_checkstack(lua, 4, "deep value");
  switch (lua_type(lua, -1)) {
  case LUA_TSTRING:
    text = lua_tolstring(lua, -1, &length);
    line(buffer, '$', (long long)length);
    clua_append(buffer, text, length);
    clua_append(buffer, "\r\n", 2);
    break;
  case LUA_TNUMBER: line(buffer, ':', (long long)lua_tonumber(lua, -1)); break;
  case LUA_TBOOLEAN:
    if (lua_toboolean(lua, -1)) line(buffer, ':', 1); else line(buffer, '$', -1);
    break;
  case LUA_TTABLE:
    if (depth > deepest) line(buffer, '$', -1); else write_table(lua, buffer, depth);
    break;
  default: line(buffer, '$', -1);
  }
  lua_pop(lua, 1);
}
