/*
 * test.h - what every unit test includes first: cmocka with the headers it
 * wants before it, and the check for a call that must succeed.
 */
#ifndef CM_TEST_H
#define CM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cachemount/error.h>

/* Fails the test with the error's text if `call` did not return 0. */
#define assert_ok(call, err)                                                   \
	do {                                                                   \
		int ok_r_ = (call);                                            \
		if (ok_r_ != 0)                                                \
			fail_msg("%s: %s (%s)", #call, (err)->text,            \
				 cm_status_name((enum cm_status)ok_r_));       \
	} while (0)

/* Fails the test unless `call` returned `want` and `err` says so too. */
#define assert_fails(call, want, err)                                          \
	do {                                                                   \
		int fail_r_ = (call);                                          \
		if (fail_r_ != (int)(want))                                    \
			fail_msg("%s: %s, not %s", #call,                      \
				 cm_status_name((enum cm_status)fail_r_),      \
				 cm_status_name(want));                        \
		assert_int_equal((err)->status, want);                         \
		assert_string_not_equal((err)->text, "");                      \
	} while (0)

#endif
