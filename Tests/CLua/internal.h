#ifndef SLUICE_CLUA_INTERNAL_H
#define SLUICE_CLUA_INTERNAL_H

#include <lua5.1/lua.h>
#include <lua5.1/lauxlib.h>
#include <lua5.1/lualib.h>

#include "CLua.h"

/* Bytes that grow. */
typedef struct {
  char *bytes;
  size_t count, room;
} clua_buffer;

void clua_append(clua_buffer *buffer, const char *bytes, size_t count);

/* Pushes what one reply says and returns what lies behind it; NULL where it is cut off. */
const char *clua_push_reply(lua_State *lua, const char *from, const char *end);
/* Writes the value on top of the stack as a reply, and pops it. */
void clua_write_value(lua_State *lua, clua_buffer *buffer, int depth);

/* Redis's own libraries. Each leaves its table on the stack. */
int clua_open_struct(lua_State *lua);
int clua_open_json(lua_State *lua);
int clua_open_bit(lua_State *lua);

#endif
