/* base64.c - base64, both ways. */
#include <stdint.h>

#include "base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			       "abcdefghijklmnopqrstuvwxyz0123456789+/";

size_t cm_base64_size(size_t n)
{
	return (n + 2) / 3 * 4;
}

void cm_base64_encode(const void *bytes, size_t n, char *out)
{
	const uint8_t *in = bytes;
	uint32_t v;

	for (; n >= 3; n -= 3, in += 3) {
		v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = alphabet[v >> 6 & 63];
		*out++ = alphabet[v & 63];
	}
	if (n == 0)
		return;
	v = (uint32_t)in[0] << 16 | (n == 2 ? (uint32_t)in[1] << 8 : 0);
	out[0] = alphabet[v >> 18];
	out[1] = alphabet[v >> 12 & 63];
	out[2] = '=';
	if (n == 2)
		out[2] = alphabet[v >> 6 & 63];
	out[3] = '=';
}

/* The six bits of a character, or 64 for one outside the alphabet. */
static uint32_t bits_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (uint32_t)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (uint32_t)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0') + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : 64;
}

/* Decodes four characters, of which the last `pad` are "="; -1 if it can't. */
static int decode_quad(const char *text, unsigned pad, uint8_t *out)
{
	uint32_t v = 0, bits;

	for (unsigned i = 0; i < 4 - pad; i++) {
		bits = bits_of(text[i]);
		if (bits > 63)
			return -1;
		v |= bits << (18 - 6 * i);
	}
	if (v & ((1u << (8 * pad)) - 1))
		return -1;
	out[0] = (uint8_t)(v >> 16);
	if (pad < 2)
		out[1] = (uint8_t)(v >> 8);
	if (pad < 1)
		out[2] = (uint8_t)v;
	return 0;
}

int cm_base64_decode(const char *text, size_t len, void *out, size_t *ret_n)
{
	uint8_t *to = out, piece[3];
	unsigned pad;

	if (len % 4 != 0)
		return -1;
	for (size_t i = 0; i < len; i += 4) {
		pad = 0;
		if (i + 4 == len)
			pad = text[i + 3] != '='   ? 0
			      : text[i + 2] != '=' ? 1
						   : 2;
		if (decode_quad(text + i, pad, piece) < 0)
			return -1;
		for (unsigned j = 0; j < 3 - pad; j++)
			*to++ = piece[j];
	}
	*ret_n = (size_t)(to - (uint8_t *)out);
	return 0;
}
