/* Memory that held tokens, passwords or keys is wiped before it is given back. */
#ifndef CONF_KUBE_SECRET_H
#define CONF_KUBE_SECRET_H

#include <stdlib.h>

#include <openssl/crypto.h>

#include "base/buf.h"

static inline void secret_wipe(void *data, size_t len_bytes)
{
	if (len_bytes > 0)
		OPENSSL_cleanse(data, len_bytes);
}

static inline void secret_buf_done(struct buf *buf)
{
	secret_wipe(buf->data, buf->data ? buf->size : 0);
	buf_done(buf);
}

static inline char *secret_free(char *text)
{
	secret_wipe(text, text ? strlen(text) : 0);
	free(text);
	return NULL;
}

#endif
