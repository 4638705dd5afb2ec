/* What may be called what: the name rules of the Kubernetes API, and host names. All pure. */
#ifndef CONF_NAMES_H
#define CONF_NAMES_H

#include "base/str.h"

#define NAME_LABEL_MAX     63
#define NAME_SUBDOMAIN_MAX 253

bool name_is_label(struct str name);     /* DNS-1123 label: "web-1" */
bool name_is_subdomain(struct str name); /* DNS-1123 subdomain: labels with dots between them */
bool name_is_port(struct str name);      /* IANA service name: "http" */

/* The same in words, for complaints. */
#define NAME_LABEL_TEXT     "a name of at most 63 lower-case letters, digits and '-'"
#define NAME_SUBDOMAIN_TEXT "a name of lower-case letters, digits, '-' and '.'"
#define NAME_PORT_TEXT      "a name of at most 15 lower-case letters, digits and '-', with a letter"

#endif
