/* The library `struct` as scripts of Redis know it: numbers and texts packed into bytes. */

#include <stdint.h>
#include <string.h>

#include "internal.h"

typedef struct {
  const char *next;
  int is_big;
} format;

/* One element: its letter and its size. Sizes of numbers are 1 to 8; of texts anything. */
static char take(lua_State *lua, format *format, size_t *size) {
  for (;;) {
    char letter = *format->next++;
    size_t count = 0;
    int has_count = 0;
    if (letter == 'i' || letter == 'I' || letter == 'c') {
      while (*format->next >= '0' && *format->next <= '9') {
        count = count * 10 + (size_t)(*format->next++ - '0');
        has_count = 1;
      }
    }
    switch (letter) {
    case '<': format->is_big = 0; continue;
    case '>': format->is_big = 1; continue;
    case ' ': case '=': continue;
    case 'b': case 'B': case 'x': *size = 1; return letter;
    case 'h': case 'H': *size = 2; return letter;
    case 'l': case 'L': case 'T': case 'd': *size = 8; return letter;
    case 'f': *size = 4; return letter;
    case 'i': case 'I':
      *size = has_count ? count : 4;
      if (*size < 1 || *size > 8) luaL_error(lua, "integral size %d is larger than limit of 8", (int)*size);
      return letter;
    case 'c': *size = has_count ? count : 1; return letter;
    case 's': case '\0': *size = 0; return letter;
    default: luaL_error(lua, "invalid format option '%c'", letter);
    }
  }
}

static void reorder(char *bytes, size_t size, int is_big) {
  if (!is_big) return;
  for (size_t i = 0; i < size / 2; i++) {
    char other = bytes[i];
    bytes[i] = bytes[size - 1 - i];
    bytes[size - 1 - i] = other;
  }
}

static int pack(lua_State *lua) {
  format format = {luaL_checkstring(lua, 1), 0};
  luaL_Buffer buffer;
  int argument = 2;
  char letter, bytes[8];
  size_t size, length;
  /* The buffer keeps parts of itself on the stack: arguments are addressed from the bottom. */
  luaL_buffinit(lua, &buffer);
  while ((letter = take(lua, &format, &size))) {
    switch (letter) {
    case 'x': luaL_addchar(&buffer, '\0'); break;
    case 'd': {
      double number = luaL_checknumber(lua, argument++);
      memcpy(bytes, &number, 8);
      reorder(bytes, 8, format.is_big);
      luaL_addlstring(&buffer, bytes, 8);
      break;
    }
    case 'f': {
      float number = (float)luaL_checknumber(lua, argument++);
      memcpy(bytes, &number, 4);
      reorder(bytes, 4, format.is_big);
      luaL_addlstring(&buffer, bytes, 4);
      break;
    }
    case 's': case 'c': {
      const char *text = luaL_checklstring(lua, argument++, &length);
      if (letter == 's' || size == 0) size = length;
      luaL_argcheck(lua, length >= size, argument, "string too short");
      luaL_addlstring(&buffer, text, size);
      if (letter == 's') luaL_addchar(&buffer, '\0');
      break;
    }
    default: {
      double number = luaL_checknumber(lua, argument++);
      uint64_t word = number < 0 ? (uint64_t)(int64_t)number : (uint64_t)number;
      memcpy(bytes, &word, 8);
      reorder(bytes, size, format.is_big);
      luaL_addlstring(&buffer, bytes, size);
    }
    }
  }
  luaL_pushresult(&buffer);
  return 1;
}

static lua_Number number_of(const char *from, size_t size, char letter, int is_big) {
  char bytes[8] = {0};
  memcpy(bytes, from, size);
  reorder(bytes, size, is_big);
  uint64_t word;
  memcpy(&word, bytes, 8);
  int is_signed = letter == 'b' || letter == 'h' || letter == 'l' || letter == 'i';
  if (!is_signed) return (lua_Number)word;
  int unused = 64 - 8 * (int)size;
  return (lua_Number)((int64_t)(word << unused) >> unused);
}

static int unpack(lua_State *lua) {
  format format = {luaL_checkstring(lua, 1), 0};
  size_t length, size;
  const char *data = luaL_checklstring(lua, 2, &length);
  size_t position = (size_t)luaL_optinteger(lua, 3, 1) - 1;
  char letter;
  lua_settop(lua, 2);
  while ((letter = take(lua, &format, &size))) {
    luaL_argcheck(lua, size <= length && position <= length - size, 2, "data string too short");
    luaL_checkstack(lua, 2, "too many results");
    switch (letter) {
    case 'x': break;
    case 'd': {
      double number;
      char bytes[8];
      memcpy(bytes, data + position, 8);
      reorder(bytes, 8, format.is_big);
      memcpy(&number, bytes, 8);
      lua_pushnumber(lua, number);
      break;
    }
    case 'f': {
      float number;
      char bytes[4];
      memcpy(bytes, data + position, 4);
      reorder(bytes, 4, format.is_big);
      memcpy(&number, bytes, 4);
      lua_pushnumber(lua, number);
      break;
    }
    case 'c':
      if (size == 0) {
        /* As long as the number before it says. */
        if (!lua_isnumber(lua, -1)) luaL_error(lua, "format `c0' needs a previous size");
        size = (size_t)lua_tonumber(lua, -1);
        lua_pop(lua, 1);
        luaL_argcheck(lua, size <= length && position <= length - size, 2, "data string too short");
      }
      lua_pushlstring(lua, data + position, size);
      break;
    case 's': {
      const char *end = memchr(data + position, '\0', length - position);
      if (!end) luaL_error(lua, "unfinished string in data");
      size = (size_t)(end - (data + position)) + 1;
      lua_pushlstring(lua, data + position, size - 1);
      break;
    }
    default: lua_pushnumber(lua, number_of(data + position, size, letter, format.is_big));
    }
    position += size;
  }
  lua_pushinteger(lua, (lua_Integer)position + 1);
  return lua_gettop(lua) - 2;
}

static int size_of(lua_State *lua) {
  format format = {luaL_checkstring(lua, 1), 0};
  size_t size, sum = 0;
  char letter;
  while ((letter = take(lua, &format, &size))) {
    if (letter == 's' || (letter == 'c' && size == 0)) luaL_error(lua, "variable-size format in sizeof");
    sum += size;
  }
  lua_pushinteger(lua, (lua_Integer)sum);
  return 1;
}

int clua_open_struct(lua_State *lua) {
  static const luaL_Reg functions[] = {{"pack", pack}, {"unpack", unpack}, {"size", size_of}, {NULL, NULL}};
  lua_newtable(lua);
  luaL_register(lua, NULL, functions);
  return 1;
}

/* MARK: bit */

static uint32_t word(lua_State *lua, int argument) {
  return (uint32_t)(int64_t)luaL_checknumber(lua, argument);
}

static int push_word(lua_State *lua, uint32_t word) {
  lua_pushnumber(lua, (lua_Number)(int32_t)word);
  return 1;
}

static int bit_and(lua_State *lua) {
  uint32_t all = word(lua, 1);
  for (int i = 2; i <= lua_gettop(lua); i++) all &= word(lua, i);
  return push_word(lua, all);
}

static int bit_or(lua_State *lua) {
  uint32_t all = word(lua, 1);
  for (int i = 2; i <= lua_gettop(lua); i++) all |= word(lua, i);
  return push_word(lua, all);
}

static int bit_xor(lua_State *lua) {
  uint32_t all = word(lua, 1);
  for (int i = 2; i <= lua_gettop(lua); i++) all ^= word(lua, i);
  return push_word(lua, all);
}

static int bit_not(lua_State *lua) { return push_word(lua, ~word(lua, 1)); }
static int bit_left(lua_State *lua) { return push_word(lua, word(lua, 1) << (word(lua, 2) & 31)); }
static int bit_right(lua_State *lua) { return push_word(lua, word(lua, 1) >> (word(lua, 2) & 31)); }
static int bit_number(lua_State *lua) { return push_word(lua, word(lua, 1)); }

int clua_open_bit(lua_State *lua) {
  static const luaL_Reg functions[] = {
    {"band", bit_and},    {"bor", bit_or},       {"bxor", bit_xor},    {"bnot", bit_not},
    {"lshift", bit_left}, {"rshift", bit_right}, {"tobit", bit_number}, {NULL, NULL},
  };
  lua_newtable(lua);
  luaL_register(lua, NULL, functions);
  return 1;
}
