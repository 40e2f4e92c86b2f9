// Package webhook tells others of changes of verdicts: it POSTs each to an address, signed as Standard Webhooks has it (https://www.standardwebhooks.com, specification 1.0.0).
//
// Each Hook is told by one server at a time, in the order of the changes and at least once: the database knows how far it was told. A change that it does not take is tried again, with growing pauses,
// until it is too old; those after it wait. No hook waits for another.
package webhook
