/* Which Ingresses are ours (design: Ingress a.5). Pure.
 *
 *     spec.ingressClassName    served if that IngressClass is ours; the annotation is not looked at
 *     else the annotation      kubernetes.io/ingress.class, served if it is --ingress-class
 *     else                     with --watch-ingress-without-class, or while an IngressClass of ours is the
 * default one
 *
 * An IngressClass is ours if its spec.controller is --controller-class or, with --ingress-class-by-name, its
 * name is
 * --ingress-class. */
#ifndef INGRESS_BUILD_CLASS_H
#define INGRESS_BUILD_CLASS_H

#include "conf/store.h"

struct class_rules {
	bool any;                     /* all Ingresses are ours */
	const char *ingress_class;    /* value of the annotation */
	const char *controller_class; /* spec.controller */
	bool by_name, without_class;
	const char *namespace_only; /* NULL: all */
};

bool class_serves(const struct class_rules *rules, const struct store *store, const struct ingress *ingress);

#endif
