/* The library `cjson` as far as scripts use it: encode, decode and null. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { deepest = 1000 };

/* MARK: Encoding */


/* Written to bytes of our own: a buffer of Lua would move what lies on the stack. */
static void encode(lua_State *lua, clua_buffer *out, int value, int depth);

static void encode_text(clua_buffer *out, const char *text, size_t length) {
  clua_append(out, "\"", 1);
  for (size_t i = 0; i < length; i++) {
    unsigned char byte = (unsigned char)text[i];
    char escape[8];
    switch (byte) {
    case '"': clua_append(out, "\\\"", 2); break;
    case '\\': clua_append(out, "\\\\", 2); break;
    case '/': clua_append(out, "\\/", 2); break;
    case '\b': clua_append(out, "\\b", 2); break;
    case '\f': clua_append(out, "\\f", 2); break;
    case '\n': clua_append(out, "\\n", 2); break;
    case '\r': clua_append(out, "\\r", 2); break;
    case '\t': clua_append(out, "\\t", 2); break;
    default:
      if (byte < 32 || byte == 127) {
        clua_append(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", byte));
      } else {
        clua_append(out, &text[i], 1);
      }
    }
  }
  clua_append(out, "\"", 1);
}

/* How many elements an array has; -1 where the table is none. An empty one is none. */
static int array_length(lua_State *lua, int table) {
  int count = 0, most = 0;
  lua_pushnil(lua);
  while (lua_next(lua, table)) {
    lua_pop(lua, 1);
    double key = lua_type(lua, -1) == LUA_TNUMBER ? lua_tonumber(lua, -1) : 0;
    if (key < 1 || floor(key) != key) {
      lua_pop(lua, 1);
      return -1;
    }
    if (key > most) most = (int)key;
    count++;
  }
  if (most > 10 && most > count * 2) luaL_error(lua, "Cannot serialise table: excessively sparse array");
  return count ? most : -1;
}

static void encode_number(lua_State *lua, clua_buffer *out, double number) {
  char text[64];
  if (isnan(number) || isinf(number)) luaL_error(lua, "Cannot serialise number: must not be NaN or Inf");
  clua_append(out, text, (size_t)snprintf(text, sizeof text, "%.14g", number));
}

static void encode_table(lua_State *lua, clua_buffer *out, int table, int depth) {
  int length = array_length(lua, table), first = 1;
  if (length > 0) {
    clua_append(out, "[", 1);
    for (int i = 1; i <= length; i++) {
      if (i > 1) clua_append(out, ",", 1);
      lua_rawgeti(lua, table, i);
      encode(lua, out, lua_gettop(lua), depth + 1);
      lua_pop(lua, 1);
    }
    clua_append(out, "]", 1);
    return;
  }
  clua_append(out, "{", 1);
  lua_pushnil(lua);
  while (lua_next(lua, table)) {
    if (!first) clua_append(out, ",", 1);
    first = 0;
    if (lua_type(lua, -2) == LUA_TNUMBER) {
      clua_append(out, "\"", 1);
      encode_number(lua, out, lua_tonumber(lua, -2));
      clua_append(out, "\"", 1);
    } else if (lua_type(lua, -2) == LUA_TSTRING) {
      size_t size;
      const char *key = lua_tolstring(lua, -2, &size);
      encode_text(out, key, size);
    } else {
      luaL_error(lua, "Cannot serialise table: table key must be a number or string");
    }
    clua_append(out, ":", 1);
    encode(lua, out, lua_gettop(lua), depth + 1);
    lua_pop(lua, 1);
  }
  clua_append(out, "}", 1);
}

static void encode(lua_State *lua, clua_buffer *out, int value, int depth) {
  size_t length;
  const char *text;
  luaL_checkstack(lua, 8, "deep value");
  if (depth > deepest) luaL_error(lua, "Cannot serialise, excessive depth (%d)", depth);
  switch (lua_type(lua, value)) {
  case LUA_TSTRING:
    text = lua_tolstring(lua, value, &length);
    encode_text(out, text, length);
    break;
  case LUA_TNUMBER: encode_number(lua, out, lua_tonumber(lua, value)); break;
  case LUA_TBOOLEAN:
    if (lua_toboolean(lua, value)) clua_append(out, "true", 4); else clua_append(out, "false", 5);
    break;
  case LUA_TTABLE: encode_table(lua, out, value, depth); break;
  case LUA_TNIL: clua_append(out, "null", 4); break;
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(lua, value)) luaL_error(lua, "Cannot serialise userdata");
    clua_append(out, "null", 4);
    break;
  default: luaL_error(lua, "Cannot serialise %s: type not supported", luaL_typename(lua, value));
  }
}

static int release(lua_State *lua) {
  clua_buffer *buffer = lua_touserdata(lua, 1);
  free(buffer->bytes);
  return 0;
}

static int json_encode(lua_State *lua) {
  luaL_checkany(lua, 1);
  lua_settop(lua, 1);
  /* Released by Lua, also where an error jumps. */
  clua_buffer *buffer = lua_newuserdata(lua, sizeof *buffer);
  memset(buffer, 0, sizeof *buffer);
  lua_newtable(lua);
  lua_pushcfunction(lua, release);
  lua_setfield(lua, -2, "__gc");
  lua_setmetatable(lua, -2);
  encode(lua, buffer, 1, 1);
  lua_pushlstring(lua, buffer->bytes, buffer->count);
  return 1;
}

/* MARK: Decoding */

typedef struct {
  const char *next, *end;
  int depth;
} cursor;

static void skip(cursor *at) {
  while (at->next < at->end && strchr(" \t\r\n", *at->next)) at->next++;
}

static int wrong(lua_State *lua) { return luaL_error(lua, "Expected value but found invalid token"); }

static int accept(cursor *at, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(at->end - at->next) < length || memcmp(at->next, word, length)) return 0;
  at->next += length;
  return 1;
}

static unsigned digits(lua_State *lua, cursor *at) {
  if (at->end - at->next < 4) wrong(lua);
  char text[5] = {at->next[0], at->next[1], at->next[2], at->next[3], 0}, *end;
  unsigned value = (unsigned)strtoul(text, &end, 16);
  if (*end) wrong(lua);
  at->next += 4;
  return value;
}

static void add_scalar(luaL_Buffer *out, unsigned scalar) {
  if (scalar < 0x80) {
    luaL_addchar(out, (char)scalar);
  } else if (scalar < 0x800) {
    luaL_addchar(out, (char)(0xc0 | scalar >> 6));
    luaL_addchar(out, (char)(0x80 | (scalar & 63)));
  } else if (scalar < 0x10000) {
    luaL_addchar(out, (char)(0xe0 | scalar >> 12));
    luaL_addchar(out, (char)(0x80 | (scalar >> 6 & 63)));
    luaL_addchar(out, (char)(0x80 | (scalar & 63)));
  } else {
    luaL_addchar(out, (char)(0xf0 | scalar >> 18));
    luaL_addchar(out, (char)(0x80 | (scalar >> 12 & 63)));
    luaL_addchar(out, (char)(0x80 | (scalar >> 6 & 63)));
    luaL_addchar(out, (char)(0x80 | (scalar & 63)));
  }
}

static void decode_text(lua_State *lua, cursor *at) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  luaL_Buffer out;
  luaL_buffinit(lua, &out);
  if (!accept(at, "\"")) wrong(lua);
  for (;;) {
    if (at->next >= at->end || (unsigned char)*at->next < 32) wrong(lua);
    char letter = *at->next++;
    if (letter == '"') break;
    if (letter != '\\') {
      luaL_addchar(&out, letter);
      continue;
    }
    if (at->next >= at->end) wrong(lua);
    letter = *at->next++;
    const char *known = letter ? strchr(from, letter) : NULL;
    if (known) {
      luaL_addchar(&out, to[known - from]);
    } else if (letter == 'u') {
      unsigned scalar = digits(lua, at);
      if (scalar >= 0xd800 && scalar < 0xdc00 && accept(at, "\\u")) {
        scalar = 0x10000 + ((scalar & 0x3ff) << 10) + (digits(lua, at) & 0x3ff);
      }
      add_scalar(&out, scalar);
    } else {
      wrong(lua);
    }
  }
  luaL_pushresult(&out);
}

static void decode(lua_State *lua, cursor *at) {
  luaL_checkstack(lua, 8, "deep text");
  if (++at->depth > deepest) luaL_error(lua, "Found too many nested data structures");
  skip(at);
  if (accept(at, "{")) {
    lua_newtable(lua);
    skip(at);
    for (int first = 1; !accept(at, "}"); first = 0) {
      if (!first && !accept(at, ",")) wrong(lua);
      skip(at);
      decode_text(lua, at);
      skip(at);
      if (!accept(at, ":")) wrong(lua);
      decode(lua, at);
      lua_rawset(lua, -3);
      skip(at);
    }
  } else if (accept(at, "[")) {
    lua_newtable(lua);
    skip(at);
    for (int i = 1; !accept(at, "]"); i++) {
      if (i > 1 && !accept(at, ",")) wrong(lua);
      decode(lua, at);
      lua_rawseti(lua, -2, i);
      skip(at);
    }
  } else if (accept(at, "true")) {
    lua_pushboolean(lua, 1);
  } else if (accept(at, "false")) {
    lua_pushboolean(lua, 0);
  } else if (accept(at, "null")) {
    lua_pushlightuserdata(lua, NULL);
  } else if (at->next < at->end && *at->next == '"') {
    decode_text(lua, at);
  } else {
    char *end;
    double number = strtod(at->next, &end);
    if (end == at->next || end > at->end) wrong(lua);
    at->next = end;
    lua_pushnumber(lua, number);
  }
  at->depth--;
}

static int json_decode(lua_State *lua) {
  size_t length;
  const char *text = luaL_checklstring(lua, 1, &length);
  cursor at = {text, text + length, 0};
  decode(lua, &at);
  skip(&at);
  if (at.next != at.end) luaL_error(lua, "Expected the end but found invalid token");
  return 1;
}

int clua_open_json(lua_State *lua) {
  static const luaL_Reg functions[] = {{"encode", json_encode}, {"decode", json_decode}, {NULL, NULL}};
  lua_newtable(lua);
  luaL_register(lua, NULL, functions);
  lua_pushlightuserdata(lua, NULL);
  lua_setfield(lua, -2, "null");
  return 1;
}
