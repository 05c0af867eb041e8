/* figures.c - a second, small engine beside the main one. */
#include <stdlib.h>

#include <cachemount/cleanup.h>

#include "auth.h"
#include "faces/faces.h"
#include "figures.h"
#include "health.h"
#include "listen.h"
#include "log.h"
#include "router.h"

#define CONNECTIONS_MAX 64

struct cm_figures {
	const struct cm_face *faces[2];
	struct cm_router *router;
	struct cm_auth *auth;
	struct cm_http *http;
};

void cm_figures_stop(struct cm_figures *f)
{
	if (!f)
		return;
	cm_http_stop(f->http);
	cm_auth_free(f->auth);
	cm_router_free(f->router);
	free(f);
}

CM_DEFINE_CLEANUP(figures, struct cm_figures, cm_figures_stop);

static int serve(struct cm_figures *f, const char *address,
		 const struct cm_http_options *main_options,
		 struct cm_http *main, struct cm_error *err)
{
	struct cm_http_options options = *main_options;
	char text[CM_ADDRESS_TEXT_SIZE];
	struct cm_address wanted, bound;
	cm_autofd int fd = -1;
	int rc = cm_address_parse(address, &wanted, err);

	if (rc == 0)
		rc = cm_listen(&wanted, &fd, &bound, err);
	if (rc < 0)
		return rc;
	options.listen_fd = fd;
	options.threads = 1;
	options.max_connections = CONNECTIONS_MAX;
	options.router = f->router;
	options.auth = f->auth;
	options.main = main;
	rc = cm_http_start(&options, &f->http, err);
	if (rc < 0)
		return rc;
	cm_take_fd(&fd);
	cm_log(CM_LOG_INFO, "metrics-listening", "http://%s/metrics",
	       cm_address_format((const struct sockaddr *)&bound.storage,
				 text));
	return 0;
}

int cm_figures_start(const char *address, const struct cm_http_options *options,
		     struct cm_http *main, struct cm_figures **ret,
		     struct cm_error *err)
{
	cm_auto(figures) struct cm_figures *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return cm_error_nomem(err);
	f->faces[0] = &cm_metrics_face;
	f->faces[1] = &cm_health_face;
	rc = cm_router_new(f->faces, 2, &f->router, err);
	if (rc == 0)
		rc = cm_auth_new(NULL, CM_PERM_ADMIN, &f->auth, err);
	if (rc == 0)
		rc = serve(f, address, options, main, err);
	if (rc < 0)
		return cm_error_wrap(err, "metrics-listen");
	*ret = cm_take_ptr(f);
	return 0;
}
