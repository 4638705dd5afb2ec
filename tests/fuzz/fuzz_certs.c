/* Certificates and keys of any bytes: refused with a reason, or usable. A NUL parts tls.crt from tls.key. */
/* LINK: ingress/certs.c conf/object.c base/arena.c base/err.c base/str.c */
/* LIBS: -lssl -lcrypto */
#include <stdint.h>
#include <stdlib.h>

#include "ingress/certs.h"

static void must(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str chain, key = str_cut((struct str){(const char *)data, size}, '\0', &chain);
	struct err err = {""};
	struct certificate *certificate = certificate_from_pem(chain, key.p ? key : STR_LIT(""), &err);
	char text[64];

	if (!certificate) {
		must(err.text[0] != '\0');
		return 0;
	}
	must(certificate->ctx != NULL);
	for (size_t i = 0; i < certificate->name_count; i++)
		must(certificate_covers(certificate, str_of(certificate->names[i])));
	(void)certificate_time_problem(certificate, 1700000000, text, sizeof(text));
	certificate_unref(certificate);
	return 0;
}
