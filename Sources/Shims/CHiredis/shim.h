#ifndef SLUICE_CHIREDIS_H
#define SLUICE_CHIREDIS_H

/* Its reader and its formatter are what the product uses; the sockets are Net's. Debian has 0.14.1: RESP2, no TLS. */
#include <hiredis/hiredis.h>

#endif
