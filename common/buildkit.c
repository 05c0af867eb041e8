/* buildkit.c - telling BuildKit's build caches, and those it cannot read. */
#include <string.h>

#include <cachemount/buildkit.h>

const struct cm_descriptor *cm_buildkit_config(const struct cm_manifest *m)
{
	for (size_t i = 0; i < m->descriptors_len; i++)
		if (m->descriptors[i].kind != CM_REF_LAYER &&
		    strcmp(m->descriptors[i].media_type,
			   CM_MEDIA_BUILDKIT_CACHE) == 0)
			return &m->descriptors[i];
	return NULL;
}

bool cm_buildkit_unreadable(const struct cm_manifest *m, int64_t manifest_size,
			    int64_t *ret_size)
{
	const struct cm_descriptor *config = cm_buildkit_config(m);

	if (!config)
		return false;
	*ret_size = config->size > manifest_size ? config->size : manifest_size;
	return *ret_size > CM_BUILDKIT_READ_MAX;
}
