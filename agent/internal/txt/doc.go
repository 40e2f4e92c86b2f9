// Package txt finds what Intel TXT leaves in a host's physical memory: the event logs that tboot's heap points to, and the public registers. It finds and
// checks where things are; what is in a log it does not look at.
//
// Everything that is read is taken for hostile: no pointer leads out of the heap, and no length is believed before it is held against what is there.
//
// Source: Intel TXT Measured Launch Environment Developer's Guide, 315168-013, cited as MLE, appendices B (registers) and C (heap).
//
// BUG: TPM 1.2 hosts (element type 5) are out of scope. A heap that Secure Launch set up may point to a log outside of it; that log is read from
// securityfs, not here.
package txt
