// Package logs finds a node's event logs, reads them and serves their bytes. It hands them on as they are, trimmed at their real end, and parses only to find
// that end and to tell whether there is a log at all: judging is a verifier's business.
//
// Two programs share it. Collect runs once a boot as root, reads what only root may read and leaves a snapshot of it in a directory. A Store runs in the
// daemon without privileges and serves that snapshot, or, where there is none, whatever it may read itself.
//
// The sources, each below a root directory that tests and containers choose:
//
//   - txt: the TXT heap that tboot filled, through /dev/mem. Older launches leave one log a bank: txt-sha1, txt-sha256 and so on.
//   - slaunch: Linux's Secure Launch, /sys/kernel/security/slaunch/eventlog
//   - firmware: /sys/kernel/security/tpm*/binary_bios_measurements
//   - any other: a plain file that the operator names; it also takes the place of one of the above if it has its name
//
// BUG: A log that grows while the host runs, such as IMA's, is not served: it is another log at each look.
package logs
