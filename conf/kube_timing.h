/* The Kubernetes client's times, in seconds, all in one place; tests give shorter ones. */
#ifndef CONF_KUBE_TIMING_H
#define CONF_KUBE_TIMING_H

struct kube_timing {
	double connect_s; /* TCP and TLS to one address */
	double head_s;    /* from a request sent to its answer's head */
	double answer_s;  /* from a short request sent to its answer's end */
	double idle_s;    /* a pooled connection is kept for so long */
	double silence_s; /* no byte of a list, or of a stream's initial events, for so long: given up */
	double
	    watch_least_s; /* the server is asked to end a watch after a random time between these two ... */
	double watch_most_s;
	double watch_grace_s; /* ... and the watch is dropped when it did not do so this much later */
	double retry_first_s; /* back-off: about this after the first failure, twice as much after each other
				 ... */
	double retry_most_s;  /* ... up to this */
	double apart_s;       /* two tries of one reflector begin at least this far apart, whatever happens */
	double lived_s;       /* a watch that lasted so long was a success, delivered or not */
	double probe_s;       /* a server that is away is looked for this often, by one connection for all */
	double absent_s;      /* a kind the server does not have is looked for again after this */
	double poll_s;        /* wanted objects beyond the watches allowed are fetched again this often */
	double token_file_s;  /* a token file is read again after this */
	double exec_s;        /* a credential plugin may run for so long */
	double exec_apart_s;  /* and is not started again sooner than this after it failed */
};

extern const struct kube_timing kube_default_timing;

#endif
