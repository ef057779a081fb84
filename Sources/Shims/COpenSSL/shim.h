#ifndef SLUICE_COPENSSL_H
#define SLUICE_COPENSSL_H

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// What OpenSSL offers only as macros.

static inline void sluice_ssl_set_versions(SSL_CTX *context, int least, int most) {
  (void)SSL_CTX_set_min_proto_version(context, least);
  (void)SSL_CTX_set_max_proto_version(context, most);
}

static inline void sluice_ssl_set_mode(SSL_CTX *context, long mode) { (void)SSL_CTX_set_mode(context, mode); }

static inline void sluice_ssl_set_cache(SSL_CTX *context, long mode) {
  (void)SSL_CTX_set_session_cache_mode(context, mode);
}

static inline void sluice_ssl_set_longest_chain(SSL_CTX *context, long bytes) {
  (void)SSL_CTX_set_max_cert_list(context, bytes);
}

static inline int sluice_ssl_set_groups(SSL_CTX *context, const char *list) {
  return SSL_CTX_set1_groups_list(context, list) == 1;
}

static inline int sluice_ssl_add_chain(SSL_CTX *context, X509 *certificate) {
  return SSL_CTX_add1_chain_cert(context, certificate) == 1;
}

static inline void sluice_ssl_on_server_name(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument) {
  (void)SSL_CTX_set_tlsext_servername_callback(context, callback);
  (void)SSL_CTX_set_tlsext_servername_arg(context, argument);
}

static inline void sluice_ssl_on_status(SSL_CTX *context, int (*callback)(SSL *, void *), void *argument) {
  (void)SSL_CTX_set_tlsext_status_cb(context, callback);
  (void)SSL_CTX_set_tlsext_status_arg(context, argument);
}

/// Takes over `response`, which OPENSSL_malloc made.
static inline void sluice_ssl_set_status(SSL *session, void *response, long count) {
  (void)SSL_set_tlsext_status_ocsp_resp(session, response, count);
}

static const uint64_t sluice_ssl_server_options =
    SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;

static const uint64_t sluice_ssl_client_options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION;

static const uint64_t sluice_ssl_no_tickets = SSL_OP_NO_TICKET;

static const uint64_t sluice_ssl_no_anti_replay = SSL_OP_NO_ANTI_REPLAY;

static inline void sluice_bio_clear_retry(BIO *bio) { BIO_clear_retry_flags(bio); }

static inline void sluice_bio_retry_read(BIO *bio) { BIO_set_retry_read(bio); }

static inline int sluice_error_reason(unsigned long code) { return ERR_GET_REASON(code); }

static inline int sluice_error_library(unsigned long code) { return ERR_GET_LIB(code); }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
/// SHA-256 of `count` bytes, 32 bytes written to `digest`; 1 for success. OpenSSL calls this interface old; the new one
/// reaches the same code, and takes 24 ns more of every digest to get there.
static inline int sluice_sha256(const void *bytes, size_t count, unsigned char *digest) {
  SHA256_CTX context;
  return SHA256_Init(&context) == 1 && SHA256_Update(&context, bytes, count) == 1 &&
         SHA256_Final(digest, &context) == 1;
}
#pragma GCC diagnostic pop

#endif
