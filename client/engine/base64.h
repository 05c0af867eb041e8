/*
 * base64.h - RFC 4648 base64 with padding, decoded strictly: what OpenSSL's
 * decoder lets pass (blanks, stray bits) would let two texts name one path.
 */
#ifndef CM_ENGINE_BASE64_H
#define CM_ENGINE_BASE64_H

#include <stddef.h>

/* Characters that `n` bytes take, without a NUL. */
size_t cm_base64_size(size_t n);

/* Writes cm_base64_size(n) characters to `out`, no NUL. */
void cm_base64_encode(const void *bytes, size_t n, char *out);

/*
 * Decodes `len` characters into `out`, which may be `text` itself. Returns 0
 * and the number of bytes, or -1 if the text is not canonical base64.
 */
int cm_base64_decode(const char *text, size_t len, void *out, size_t *ret_n);

#endif
