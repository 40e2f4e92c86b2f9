// Package pollhosts answers OpenAttestation's PollHosts, which OpenStack's TrustedFilter asks (nova/scheduler/filters/trusted_filter.py, Folsom to Pike).
//
// That filter dies of answers that others would shrug off: a status 204, a body that is no JSON, an entry without vtime or with one that is no string. It waits for ever for an
// answer that does not come. So every request of a known caller is answered at once, from what is stored, with one entry for each name.
package pollhosts
